//! A build farm for one test: an emulated AWS, a repository, a configuration, and the real Packer.
//!
//! Everything is below one temporary folder and ends with the value: the emulator by its pipe,
//! daemons and supervisors by their ids.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reconciler::packer::process::ProcessId;
use reconciler_aws::dynamodb::DynamoDbInventory;
use reconciler_aws::session::{Session, SessionSettings, StaticKeys};
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::Heartbeat;
use reconciler_model::inventory::journal::BuildEvent;
use reconciler_model::inventory::{Inventory as _, Lease};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::cli::{Cli, Ran};
use super::emulator::Emulator;
use super::plot::Running;
use super::repo::Repo;
use super::sshd::Sshd;

const BASE: &str = "ami-0123456789abcdef0";

/// A build farm.
pub(crate) struct Farm {
    pub(crate) emulator: Emulator,
    pub(crate) repo: Repo,
    packer: PathBuf,
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
    environment: Vec<(String, String)>,
}

impl Farm {
    /// With the real Packer and a workflow that starts from a base image; no steps yet.
    pub(crate) fn new() -> Self {
        Self::with_packer(&packer())
    }

    /// With another Packer.
    pub(crate) fn with_packer(binary: &Path) -> Self {
        let emulator = Emulator::start();
        emulator.control_post("/_control/base-image", &json!({ "name": "base", "id": BASE }));
        let farm = Self {
            emulator,
            repo: Repo::new(),
            packer: binary.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            daemons: Vec::new(),
            environment: Vec::new(),
        };
        farm.workflow(&json!({}));
        farm.configure("");
        farm
    }

    /// Writes `workflow_param.json` with more keys.
    pub(crate) fn workflow(&self, more: &Value) -> &Self {
        let mut params = json!({
            "workflow_id": "wf-1", "region_name": "us-east-1", "is_default_vpc": "true",
            "root_base_ami_id": BASE, "root_base_ami_name": "base", "aws_tags": { "env": "test" },
        });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.repo.write("packer_workspaces/workflow_param.json", params.to_string());
        self
    }

    /// Writes a step that makes an image without a provisioner: half a second of Packer.
    pub(crate) fn step(&self, id: &str, parent: Option<&str>) -> &Self {
        let folder = format!("packer_workspaces/{id}");
        let params =
            json!({ "step_id": id, "previous_step_id": parent, "metadata": { "note": "first" } });
        self.repo.write(&format!("{folder}/step_param.json"), params.to_string());
        self.repo.write(&format!("{folder}/install.sh"), "echo 1\n");
        let template = r#"variable "image" { type = string }
source "amazon-ebs" "x" {
  region        = "{{ builder.workflow_param.aws_region }}"
  source_ami    = "{{ builder.source_ami_id }}"
  ami_name      = var.image
  instance_type = "t3.micro"
  communicator  = "none"
}
build {
  sources = ["source.amazon-ebs.x"]
}
"#;
        self.repo.write(&format!("{folder}/templates/.pkr.hcl"), template);
        self.repo.write(
            &format!("{folder}/templates/.pkrvars.hcl"),
            "image = \"{{ builder.output_ami_name }}\"\n",
        );
        self
    }

    /// Writes the configuration, with more lines.
    pub(crate) fn configure(&self, more: &str) -> &Self {
        self.configure_inventory("table: images", more)
    }

    /// As [`Self::configure`], with records in a file.
    pub(crate) fn configure_sqlite(&self, more: &str) -> &Self {
        let file = self.folder.path().join("inventory.sqlite");
        self.configure_inventory(&format!("path: {}", file.display()), more)
    }

    fn configure_inventory(&self, inventory: &str, more: &str) -> &Self {
        let endpoint = self.emulator.endpoint();
        let mut overrides =
            json!({ "skip_region_validation": true, "skip_metadata_api_check": true });
        if is_old(&self.packer) {
            overrides["custom_endpoint_ec2"] = json!(endpoint);
        }
        let text = format!(
            "state_dir: {}\nrepositories:\n  - name: repo\n    path: {}\ninventory:\n  {inventory}\naws:\n  endpoint_url: {endpoint}\n  emulator:\n    source_overrides: {overrides}\npacker:\n  binary: {}\n  grace: 5s\n{more}",
            self.state().display(),
            self.repo.path().display(),
            self.packer.display(),
        );
        std::fs::write(self.configuration(), text).unwrap();
        self
    }

    /// Changes the configuration.
    pub(crate) fn reconfigure(&self, edit: impl FnOnce(String) -> String) -> &Self {
        let text = std::fs::read_to_string(self.configuration()).unwrap();
        std::fs::write(self.configuration(), edit(text)).unwrap();
        self
    }

    /// Sets a variable in the environment of every call from now on.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What daemons have logged.
    pub(crate) fn daemon_log(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// The configuration's file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("reconciler.yaml")
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn cli(&self) -> Cli {
        let cli = Cli::within(self.repo.path())
            .env("RECONCILER_CONFIG", self.configuration())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test-secret-value");
        let cli = self.environment.iter().fold(cli, |cli, (name, value)| cli.env(name, value));
        match std::env::var_os("PACKER_PLUGIN_PATH") {
            Some(plugins) => cli.env("PACKER_PLUGIN_PATH", plugins),
            None => cli,
        }
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.cli().run(arguments)
    }

    /// Starts the program; nobody reads what it says.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.cli().into_command();
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
    }

    /// Runs the program with more of an environment.
    pub(crate) fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let cli = environment.iter().fold(self.cli(), |cli, (name, value)| cli.env(name, value));
        cli.run(arguments)
    }

    /// Runs the program as somebody whose umask hides nothing.
    pub(crate) fn run_with_loose_umask(&self, arguments: &[&str]) -> Ran {
        self.cli().run_with_loose_umask(arguments)
    }

    /// Commits, and applies until nothing is left to do.
    pub(crate) fn commit_and_apply(&self) -> Ran {
        self.repo.commit("a change");
        self.run(&["apply"])
    }

    /// The steps of `status --output json`, by id.
    pub(crate) fn status(&self) -> serde_json::Map<String, Value> {
        let ran = self.run(&["status", "--output", "json"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
        let steps = report["workflows"][0]["steps"].as_array().unwrap().clone();
        steps.into_iter().map(|step| (step["step_id"].as_str().unwrap().to_owned(), step)).collect()
    }

    /// A step's recorded image.
    pub(crate) fn image(&self, step: &str) -> String {
        self.status()[step]["ami_id"].as_str().unwrap_or_default().to_owned()
    }

    /// A step's state.
    pub(crate) fn state_of(&self, step: &str) -> String {
        self.status()[step]["state"].as_str().unwrap().to_owned()
    }

    /// A way to the emulator for a test that calls AWS itself.
    pub(crate) async fn session(&self) -> Session {
        let settings = SessionSettings {
            region: Some("us-east-1".to_owned()),
            endpoint_url: Some(self.emulator.endpoint()),
            keys: Some(StaticKeys {
                access_key_id: "test".to_owned(),
                secret_access_key: "test".to_owned(),
                session_token: None,
            }),
            ..SessionSettings::default()
        };
        Session::open(&settings).await.unwrap()
    }

    /// Has builds run their provisioners at an sshd, with the keys that they make, as on an
    /// instance.
    pub(crate) fn provision_at(&self, sshd: &Sshd) -> &Self {
        self.emulator.control_post(
            "/_control/authorized-keys",
            &json!(sshd.authorized_keys().display().to_string()),
        );
        let overrides = sshd.overrides().to_string();
        let more = overrides.trim_start_matches('{').trim_end_matches('}');
        self.reconfigure(|text| {
            text.replace("source_overrides: {", &format!("source_overrides: {{{more},"))
        })
    }

    /// Takes an image away, as somebody else would.
    pub(crate) fn deregister(&self, image: &str) {
        in_runtime(async {
            let client = self.session().await.ec2();
            client.deregister_image().image_id(image).send().await
        })
        .unwrap();
    }

    /// The journal of a step, oldest event first.
    pub(crate) fn events(&self, step: &str) -> Vec<BuildEvent> {
        let events = in_runtime(async {
            let client = self.session().await.dynamodb(None);
            let inventory = DynamoDbInventory::new(client, "images".to_owned(), false);
            let (workflow, step) = (WorkflowId::new("wf-1"), StepId::new(step));
            inventory.events(&workflow, Some(&step), 1000).await
        });
        let mut events = events.unwrap().sound;
        events.reverse();
        events
    }

    /// The newest sign of life of a step's newest build.
    pub(crate) fn last_beat(&self, step: &str) -> Option<Heartbeat> {
        let build = self.events(step).last()?.build_id.clone();
        in_runtime(async {
            let client = self.session().await.dynamodb(None);
            let inventory = DynamoDbInventory::new(client, "images".to_owned(), false);
            let workflow = WorkflowId::new("wf-1");
            inventory.last_beat(&workflow, &build).await
        })
        .unwrap()
    }

    /// The lease of a workflow.
    pub(crate) fn lease_of(&self, workflow: &str) -> Option<Lease> {
        in_runtime(async {
            let client = self.session().await.dynamodb(None);
            let inventory = DynamoDbInventory::new(client, "images".to_owned(), false);
            inventory.lease(&WorkflowId::new(workflow)).await
        })
        .unwrap()
    }

    /// The stages of a step's builds in the journal, oldest first, by name.
    pub(crate) fn stages(&self, step: &str) -> Vec<String> {
        self.events(step)
            .iter()
            .map(|event| match serde_json::to_value(&event.stage).unwrap() {
                Value::Object(stage) => stage.keys().next().unwrap().clone(),
                stage => stage.as_str().unwrap().to_owned(),
            })
            .collect()
    }

    /// How often each operation was called since the last [`Self::forget_calls`].
    pub(crate) fn calls(&self, operation: &str) -> u64 {
        self.emulator.control_get("/_control/calls")[operation].as_u64().unwrap_or(0)
    }

    /// Forgets the calls so far.
    pub(crate) fn forget_calls(&self) {
        self.emulator.control_post("/_control/reset-calls", &Value::Null);
    }

    /// Images that Packer made, of whatever state.
    pub(crate) fn made_images(&self) -> usize {
        let resources = self.emulator.control_get("/_control/resources");
        resources["images"].as_array().unwrap().iter().filter(|image| image["id"] != BASE).count()
    }

    /// What a build may have left behind, for people to read; empty if nothing.
    pub(crate) fn leftovers(&self) -> String {
        let resources = self.emulator.control_get("/_control/resources");
        let running = resources["instances"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|instance| instance["state"] != "terminated");
        let mut left: Vec<String> = running.map(ToString::to_string).collect();
        for kind in ["key_pairs", "security_groups"] {
            left.extend(resources[kind].as_array().unwrap().iter().map(ToString::to_string));
        }
        left.join(", ")
    }

    /// Starts the daemon; its place in `self.daemons`.
    pub(crate) fn daemon(&mut self) -> usize {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("daemon.log"))
            .unwrap();
        let mut command: Command = self.cli().into_command();
        command.arg("run").stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
        self.daemons.len() - 1
    }

    /// Starts a daemon as if on another host: of another name, with a state folder and a log of its
    /// own.
    pub(crate) fn daemon_on(&mut self, host: &str) -> usize {
        self.daemon_at(host, &[("RECONCILER_HOST", host)], &[])
    }

    /// Starts a daemon with a state folder and a log of its own, with more of an environment, as an
    /// argument of another program's if one is named.
    pub(crate) fn daemon_at(
        &mut self,
        place: &str,
        environment: &[(&str, &str)],
        within: &[&str],
    ) -> usize {
        let log =
            std::fs::File::options().create(true).append(true).open(self.log_of(place)).unwrap();
        let cli = self
            .cli()
            .env("RECONCILER_STATE_DIR", self.state_of_host(place))
            .env("RECONCILER_LOG_FORMAT", "text");
        let cli = environment.iter().fold(cli, |cli, (name, value)| cli.env(name, value));
        let mut command: Command = cli.into_command();
        if let [program, arguments @ ..] = within {
            let mut outer = Command::new(program);
            outer
                .args(arguments)
                .arg(command.get_program())
                .env_clear()
                .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .current_dir(self.repo.path());
            command = outer;
        }
        command.arg("run").stdout(Stdio::null()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
        self.daemons.len() - 1
    }

    fn log_of(&self, host: &str) -> PathBuf {
        self.folder.path().join(format!("daemon-{host}.log"))
    }

    /// What the daemon of a host has logged.
    pub(crate) fn said_on(&self, host: &str) -> String {
        std::fs::read_to_string(self.log_of(host)).unwrap_or_default()
    }

    /// What the supervisors of a host could not do, and which failpoints they came to.
    pub(crate) fn said_by_supervisors(&self, host: &str) -> String {
        let builds = std::fs::read_dir(self.state_of_host(host).join("builds"));
        let logs = builds.into_iter().flatten().flatten();
        logs.filter_map(|build| std::fs::read_to_string(build.path().join("supervisor.log")).ok())
            .collect()
    }

    /// The state folder of a host.
    pub(crate) fn state_of_host(&self, host: &str) -> PathBuf {
        self.folder.path().join(format!("state-{host}"))
    }

    /// A daemon.
    pub(crate) fn child(&mut self, daemon: usize) -> &mut Child {
        &mut self.daemons[daemon]
    }

    /// Sends a signal to a daemon.
    pub(crate) fn signal(&self, daemon: usize, signal: Signal) {
        let pid = i32::try_from(self.daemons[daemon].id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, test: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            if test(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(150));
        }
        let log =
            std::fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default();
        let hosts = ["one", "two"].map(|host| self.said_on(host)).join("\n--\n");
        panic!("not within a minute: {what}\n{:#?}\n{log}{hosts}", self.status());
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        for child in &mut self.daemons {
            let _ = child.kill();
            let _ = child.wait();
        }
        for entry in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            end_supervisors(&entry.path().join("builds"));
        }
    }
}

/// Runs what a test calls of AWS itself.
pub(crate) fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Builds outlive their daemon by design; those of a test end with it. They are found by their
/// argument: one that a test has frozen before it began has left no word of itself.
pub(crate) fn end_supervisors(builds: &Path) {
    let supervised = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.next() == Some(b"supervise")
            && words
                .next()
                .is_some_and(|folder| Path::new(OsStr::from_bytes(folder)).starts_with(builds))
    };
    let processes: Vec<_> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| supervised(*pid))
        .filter_map(ProcessId::of)
        .collect();
    for process in &processes {
        // One that a test has frozen hears nothing else, before or after.
        process.signal(Signal::CONT);
        process.signal(Signal::TERM);
        process.signal(Signal::CONT);
    }
    let end = Instant::now() + Duration::from_secs(10);
    for process in processes {
        while process.is_alive() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The Packer of the tests.
pub(crate) fn packer() -> PathBuf {
    std::env::var_os("RECONCILER_TEST_PACKER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/packer"),
        PathBuf::from,
    )
}

pub(crate) fn is_old(packer: &Path) -> bool {
    let said = Command::new(packer)
        .arg("version")
        .env("CHECKPOINT_DISABLE", "1")
        .output()
        .expect("Packer for the tests is there: run `make tools`");
    String::from_utf8_lossy(&said.stdout).contains(" v1.6.")
}
