//! One region of an emulator that many tests share, with a repository, a state folder and tables of
//! its own: a build farm that costs no emulator. What it says of resources, calls and images is of
//! its region.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use reconciler::packer::process::ProcessId;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::cli::{Cli, Ran};
use super::emulator::Emulator;
use super::farm::{end_supervisors, is_old, packer};
use super::repo::Repo;

const BASE: &str = "ami-0123456789abcdef0";

/// Regions that the emulator and Packer know.
const REGIONS: [&str; 12] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "ap-south-1",
    "sa-east-1",
    "ca-central-1",
];

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    DynamoDb,
    Sqlite,
}

/// A region with everything that a build farm needs.
pub(crate) struct Plot {
    pub(crate) emulator: Arc<Emulator>,
    pub(crate) region: &'static str,
    pub(crate) repo: Repo,
    pub(crate) folder: tempfile::TempDir,
    store: Store,
    endpoint: String,
}

impl Plot {
    /// The next free region, of an emulator that others use as well.
    pub(crate) fn open(store: Store) -> Self {
        static FREE: Mutex<(Weak<Emulator>, usize)> = Mutex::new((Weak::new(), 0));
        let mut free = FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let emulator = match free.0.upgrade() {
            Some(emulator) if free.1 < REGIONS.len() => emulator,
            _ => {
                let emulator = Arc::new(Emulator::start());
                *free = (Arc::downgrade(&emulator), 0);
                emulator
            }
        };
        let region = REGIONS[free.1];
        free.1 += 1;
        drop(free);
        let endpoint = emulator.endpoint();
        Self::within(emulator, region, store, endpoint)
    }

    /// A region of this emulator, reached by another door.
    pub(crate) fn within(
        emulator: Arc<Emulator>,
        region: &'static str,
        store: Store,
        endpoint: String,
    ) -> Self {
        emulator.control_post(
            "/_control/base-image",
            &json!({ "name": "base", "id": BASE, "region": region }),
        );
        let plot = Self {
            emulator,
            region,
            repo: Repo::new(),
            folder: tempfile::tempdir().unwrap(),
            store,
            endpoint,
        };
        plot.workflow("test");
        plot.configure("");
        plot
    }

    /// Writes `workflow_param.json` with a tag for every image.
    pub(crate) fn workflow(&self, env: &str) {
        let params = json!({
            "workflow_id": "wf-1", "region_name": self.region, "is_default_vpc": "true",
            "root_base_ami_id": BASE, "root_base_ami_name": "base", "aws_tags": { "env": env },
        });
        self.repo.write("packer_workspaces/workflow_param.json", params.to_string());
    }

    /// Writes a step that makes an image without a provisioner.
    pub(crate) fn step(&self, id: &str, parent: Option<&str>, script: &str) {
        let folder = format!("packer_workspaces/{id}");
        let params = json!({ "step_id": id, "previous_step_id": parent });
        self.repo.write(&format!("{folder}/step_param.json"), params.to_string());
        self.repo.write(&format!("{folder}/install.sh"), script);
        self.repo.write(
            &format!("{folder}/templates/.pkr.hcl"),
            r#"source "amazon-ebs" "x" {
  region        = "{{ builder.workflow_param.aws_region }}"
  source_ami    = "{{ builder.source_ami_id }}"
  ami_name      = "{{ builder.output_ami_name }}"
  instance_type = "t3.micro"
  communicator  = "none"
}
build {
  sources = ["source.amazon-ebs.x"]
}
"#,
        );
    }

    /// Writes the configuration, with more lines at its end. Everything that waits waits for a
    /// second.
    pub(crate) fn configure(&self, more: &str) {
        self.configure_with(&packer(), "timeout: 5m, grace: 2s", more);
    }

    /// Writes the configuration for another Packer.
    pub(crate) fn configure_with(&self, packer: &Path, limits: &str, more: &str) {
        let mut overrides =
            json!({ "skip_region_validation": true, "skip_metadata_api_check": true });
        if is_old(&super::farm::packer()) {
            overrides["custom_endpoint_ec2"] = json!(self.endpoint);
        }
        let inventory = match self.store {
            Store::DynamoDb => "table: images".to_owned(),
            Store::Sqlite => format!("path: {}", self.state().join("records.sqlite").display()),
        };
        let text = format!(
            "state_dir: {}\nrepositories: [{{name: repo, path: {}}}]\ninventory: {{{inventory}}}\n\
             aws: {{endpoint_url: '{}', emulator: {{source_overrides: {overrides}}}}}\n\
             packer: {{binary: {}, {limits}}}\nlease_duration: 4s\ninterval: 1s\n\
             retry: {{initial: 1s, max: 2s, person: 1s}}\n{more}",
            self.state().display(),
            self.repo.path().display(),
            self.endpoint,
            packer.display(),
        );
        std::fs::write(self.folder.path().join("reconciler.yaml"), text).unwrap();
    }

    /// The configuration as it stands.
    pub(crate) fn configuration(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("reconciler.yaml")).unwrap()
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The folders of all builds.
    pub(crate) fn builds(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state().join("builds"));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    fn cli(&self) -> Cli {
        let cli = Cli::within(self.repo.path())
            .env("RECONCILER_CONFIG", self.folder.path().join("reconciler.yaml"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test-secret-value");
        match std::env::var_os("PACKER_PLUGIN_PATH") {
            Some(plugins) => cli.env("PACKER_PLUGIN_PATH", plugins),
            None => cli,
        }
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.cli().run(arguments)
    }

    /// Starts the program, with these failpoints; what it says goes to the file `log`.
    pub(crate) fn start(&self, arguments: &[&str], failpoints: &str, log: &str) -> Running {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(log))
            .unwrap();
        let mut cli = self.cli();
        if !failpoints.is_empty() {
            cli = cli.env("RECONCILER_FAILPOINTS", failpoints);
        }
        let mut command = cli.into_command();
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        Running(command.spawn().unwrap())
    }

    /// Starts the program by way of another one, which gets it and its arguments behind its own.
    pub(crate) fn start_within(&self, by: &[&str], arguments: &[&str], log: &str) -> Child {
        let log = std::fs::File::create(self.folder.path().join(log)).unwrap();
        let own = self.cli().into_command();
        let mut command = std::process::Command::new(by[0]);
        command
            .args(&by[1..])
            .arg(own.get_program())
            .args(arguments)
            .current_dir(self.repo.path())
            .env_clear()
            .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command.spawn().unwrap()
    }

    /// What was said in a log, and by all supervisors.
    pub(crate) fn said(&self, log: &str) -> String {
        let supervisors = self.builds().into_iter().map(|folder| folder.join("supervisor.log"));
        std::iter::once(self.folder.path().join(log))
            .chain(supervisors)
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect()
    }

    /// Waits until a log says something.
    pub(crate) fn wait_for_words(&self, log: &str, words: &str) -> Result<(), String> {
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            if self.said(log).contains(words) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Err(format!("`{words}` never happened: {}", self.said(log)))
    }

    /// Asks the emulator about this region.
    pub(crate) fn ask(&self, page: &str) -> Value {
        self.emulator.control_get(&format!("/_control/{page}?region={}", self.region))
    }

    /// Orders faults for this region.
    pub(crate) fn faults(&self, rules: &[Value]) {
        let rules: Vec<_> = rules
            .iter()
            .cloned()
            .map(|mut rule| {
                rule["region"] = json!(self.region);
                rule
            })
            .collect();
        self.emulator.control_post("/_control/add-faults", &json!(rules));
    }

    /// Applies until nothing is left to do, and says what the last try said if that is never.
    pub(crate) fn converge(&self, tries: usize) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..tries {
            let ran = self.run(&["apply"]);
            if ran.code == 0 {
                return Ok(());
            }
            last = format!("exit {}\n{}\n{}", ran.code, ran.out, ran.err);
            std::thread::sleep(Duration::from_millis(700));
        }
        Err(format!("it does not converge: {last}"))
    }

    /// The promises of ARCHITECTURE.md that hold after whatever happened, for a workflow of so many
    /// steps of which each was built once; all that are broken.
    pub(crate) fn broken_promises(&self, images: usize) -> Vec<String> {
        let mut broken = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        let status = self.run(&["status", "--output", "json"]);
        let report: Value = serde_json::from_str(&status.out).unwrap_or_default();
        let resources = self.ask("resources");
        let list = |kind: &str| resources[kind].as_array().cloned().unwrap_or_default();
        let made: Vec<_> = list("images").into_iter().filter(|image| image["id"] != BASE).collect();
        expect(made.len() == images, format!("{} images, not {images}: {made:?}", made.len()));
        for step in report["workflows"][0]["steps"].as_array().into_iter().flatten() {
            expect(step["state"] == "in-sync", format!("not in sync: {step}"));
            let Some(image) = made.iter().find(|image| image["id"] == step["ami_id"]) else {
                expect(false, format!("recorded, and not there: {step}"));
                continue;
            };
            expect(image["state"] == "available", format!("recorded, and not available: {image}"));
            for tag in ["fingerprint", "build-id", "step-id", "git-commit"] {
                expect(
                    image["tags"][format!("reconciler:{tag}")].is_string(),
                    format!("without the tag {tag}: {image}"),
                );
            }
        }
        expect(
            report["workflows"][0]["steps"].as_array().is_some_and(|steps| !steps.is_empty()),
            format!("no status: {status:?}"),
        );
        for instance in list("instances") {
            expect(instance["state"] == "terminated", format!("left: {instance}"));
        }
        for kind in ["key_pairs", "security_groups"] {
            for one in list(kind) {
                expect(false, format!("left in {kind}: {one}"));
            }
        }
        let kept: Vec<Value> = list("images")
            .iter()
            .flat_map(|image| image["snapshots"].as_array().cloned().unwrap_or_default())
            .collect();
        for snapshot in list("snapshots") {
            expect(
                kept.contains(&snapshot["id"]),
                format!("a snapshot without an image is left: {snapshot}"),
            );
        }
        for event in self.ask("images").as_array().into_iter().flatten() {
            expect(event["event"] != "refused", format!("built twice: {event}"));
            expect(event["event"] != "removed-available", format!("an image was lost: {event}"));
        }
        broken
    }

    /// Calls that write, other than the lease's.
    pub(crate) fn writes(&self) -> Value {
        let calls = self.ask("calls");
        let reads = |name: &str| {
            let operation = name.split('.').nth(1).unwrap_or_default();
            ["Describe", "Get", "Query", "Scan"].iter().any(|read| operation.starts_with(read))
                || operation == "UpdateItem"
        };
        let calls = calls.as_object().cloned().unwrap_or_default();
        calls.into_iter().filter(|(name, _)| !reads(name)).collect()
    }
}

impl Drop for Plot {
    fn drop(&mut self) {
        end_supervisors(&self.state().join("builds"));
    }
}

/// A process of the program; ends with the value.
pub(crate) struct Running(pub(super) Child);

impl Running {
    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = ProcessId::of(self.0.id()) {
            process.signal(signal);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Waits until it has ended or stands still; true if it stands still.
    pub(crate) fn ended_or_frozen(&mut self, limit: Duration) -> Result<bool, String> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.ended().is_some() {
                return Ok(false);
            }
            if is_frozen(self.0.id()) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Err(format!("neither ended nor frozen after {limit:?}"))
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Err(format!("not ended after {limit:?}"))
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process was aborted.
pub(crate) fn is_aborted(status: ExitStatus) -> bool {
    status.signal() == Some(6)
}

/// Whether a process stands still (SIGSTOP).
pub(crate) fn is_frozen(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
