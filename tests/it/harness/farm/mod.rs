//! A build farm for one test: a region of an emulated AWS, a repository, a configuration, and
//! Packer.
//!
//! Everything is below one temporary folder and ends with its value: the emulator by its pipe,
//! daemons and commands with their [`Running`], supervisors by their ids when the farm is dropped.
//! What belongs to AWS, to the inventory, to builds' folders and to the promises that always hold
//! is in a file of its own.

mod aws;
mod builds;
mod journal;
mod promises;
mod reports;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) use aws::in_runtime;
pub(crate) use builds::Build;
pub(crate) use journal::{FAILED, RECORDED};
pub(crate) use reports::Planned;

use super::cli::{Cli, CommandOutput};
use super::emulator::Emulator;
use super::fake_packer::FakePacker;
use super::region::Region;
use super::repo::Repo;
use super::running::Running;
use super::sshd::Sshd;

/// The image that the first steps start from.
pub(crate) const BASE: &str = "ami-0123456789abcdef0";

/// Lines of a configuration: daemons on several hosts find out within seconds what becomes of each
/// other.
pub(crate) const QUICK: &str = "lease_duration: 2s\ninterval: 1s\nretry:\n  initial: 1s\n";

/// Lines of a configuration: all that waits, a person's turn too, waits for a second or two.
pub(crate) const HASTY: &str =
    "lease_duration: 4s\ninterval: 1s\nretry:\n  initial: 1s\n  max: 2s\n  person: 1s\n";

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    DynamoDb,
    Sqlite,
}

/// A build farm.
pub(crate) struct Farm {
    pub(crate) region: Region,
    pub(crate) repo: Repo,
    store: Store,
    packer: PathBuf,
    /// Whether its builds are told of the emulator as the first versions of Packer were.
    has_old_packer: bool,
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Farm {
    /// With the real Packer, records in DynamoDB, an emulator of its own, and a workflow that starts
    /// from a base image; no steps yet.
    pub(crate) fn new() -> Self {
        Self::with_packer(packer())
    }

    /// The same with another Packer.
    pub(crate) fn with_packer(binary: PathBuf) -> Self {
        Self::open(Region::of_its_own(), Store::DynamoDb, binary)
    }

    /// Three steps: `a`, its child `b`, and `c` beside them; not committed.
    pub(crate) fn of_three_steps() -> Self {
        let farm = Self::new();
        farm.three_steps();
        farm
    }

    /// One committed step `a` under the real Packer, with more lines of the configuration.
    pub(crate) fn of_one_step(configuration: &str) -> Self {
        let farm = Self::new();
        farm.step("a", None).configure(configuration);
        farm.repo.commit("one step");
        farm
    }

    /// One committed step `a` under a Packer that plays this transcript, with quick retries.
    pub(crate) fn playing(transcript: &str) -> (Self, FakePacker) {
        let packer = FakePacker::new(transcript);
        let farm = Self::with_packer(packer.binary());
        farm.step("a", None).configure("retry:\n  initial: 1s\n");
        farm.repo.commit("one step");
        (farm, packer)
    }

    /// In a region of an emulator that others use as well, where all that waits waits for a second
    /// or two.
    pub(crate) fn hasty(store: Store) -> Self {
        Self::hasty_in(Region::shared(), store)
    }

    /// The same, in this region.
    pub(crate) fn hasty_in(region: Region, store: Store) -> Self {
        let farm = Self::open(region, store, packer());
        farm.configure_packer("timeout: 5m, grace: 2s", HASTY);
        farm
    }

    fn open(region: Region, store: Store, packer: PathBuf) -> Self {
        region.make_image(&json!({ "name": "base", "id": BASE }));
        let farm = Self {
            region,
            repo: Repo::new(),
            store,
            has_old_packer: is_old(&packer),
            packer,
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        };
        farm.workflow(&json!({}));
        farm.configure("");
        farm
    }

    /// The emulator of its region.
    pub(crate) fn emulator(&self) -> &Arc<Emulator> {
        &self.region.emulator
    }
}

/// What is in its repository.
impl Farm {
    /// Writes `workflow_param.json` with more keys.
    pub(crate) fn workflow(&self, more: &Value) -> &Self {
        self.workflow_in("packer_workspaces", more)
    }

    /// The same, in another folder.
    pub(crate) fn workflow_in(&self, folder: &str, more: &Value) -> &Self {
        let mut params = json!({
            "workflow_id": "wf-1", "region_name": self.region.name, "is_default_vpc": "true",
            "root_base_ami_id": BASE, "root_base_ami_name": "base", "aws_tags": { "env": "test" },
        });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.repo.write(&format!("{folder}/workflow_param.json"), params.to_string());
        self
    }

    /// Writes a step that makes an image without a provisioner: half a second of Packer.
    pub(crate) fn step(&self, id: &str, parent: Option<&str>) -> &Self {
        let folder = format!("packer_workspaces/{id}");
        self.step_params(id, parent, &json!({ "metadata": { "note": "first" } }));
        self.script(id, "echo 1\n");
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

    /// Writes three steps: `a`, its child `b`, and `c` beside them.
    pub(crate) fn three_steps(&self) -> &Self {
        self.step("a", None).step("b", Some("a")).step("c", None)
    }

    /// Writes the parameters of a step, with more keys.
    pub(crate) fn step_params(&self, id: &str, parent: Option<&str>, more: &Value) -> &Self {
        let mut params = json!({ "step_id": id, "previous_step_id": parent });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.repo.write(&format!("packer_workspaces/{id}/step_param.json"), params.to_string());
        self
    }

    /// Writes a file of a step that counts.
    pub(crate) fn script(&self, id: &str, text: &str) -> &Self {
        self.repo.write(&format!("packer_workspaces/{id}/install.sh"), text);
        self
    }

    /// Changes a step's template.
    pub(crate) fn template(&self, id: &str, edit: impl FnOnce(String) -> String) -> &Self {
        self.edit(&format!("packer_workspaces/{id}/templates/.pkr.hcl"), edit)
    }

    /// Changes a file of the repository.
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(String) -> String) -> &Self {
        let text = std::fs::read_to_string(self.repo.path().join(path)).unwrap();
        self.repo.write(path, edit(text));
        self
    }
}

/// How it is configured.
impl Farm {
    /// Writes the configuration, with more lines.
    pub(crate) fn configure(&self, more: &str) -> &Self {
        self.configure_packer("grace: 5s", more)
    }

    /// Writes the configuration, with limits for Packer, and more lines.
    pub(crate) fn configure_packer(&self, limits: &str, more: &str) -> &Self {
        let endpoint = &self.region.endpoint;
        let mut overrides =
            json!({ "skip_region_validation": true, "skip_metadata_api_check": true });
        if self.has_old_packer {
            overrides["custom_endpoint_ec2"] = json!(endpoint);
        }
        let inventory = match self.store {
            Store::DynamoDb => "table: images".to_owned(),
            Store::Sqlite => format!("path: {}", self.records().display()),
        };
        let limits = limits.replace(", ", "\n  ");
        let text = format!(
            "state_dir: {}\nrepositories:\n  - name: repo\n    path: {}\ninventory:\n  {inventory}\naws:\n  endpoint_url: {endpoint}\n  emulator:\n    source_overrides: {overrides}\npacker:\n  binary: {}\n  {limits}\n{more}",
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
        let changed = edit(text.clone());
        assert_ne!(changed, text, "the configuration is another");
        std::fs::write(self.configuration(), changed).unwrap();
        self
    }

    /// Has its repository followed with these keys.
    pub(crate) fn follow_with(&self, keys: &[&str]) -> &Self {
        self.follow(&format!("path: {}", self.repo.path().display()), keys)
    }

    /// Has its repository followed by this address, with more keys.
    pub(crate) fn follow_url(&self, url: &str, keys: &[&str]) -> &Self {
        self.follow(&format!("url: {url}"), keys)
    }

    fn follow(&self, place: &str, keys: &[&str]) -> &Self {
        let path = format!("path: {}", self.repo.path().display());
        let keys = [&[place], keys].concat().join(
            "
    ",
        );
        self.reconfigure(|text| text.replacen(&path, &keys, 1))
    }

    /// Builds with another Packer of the same age from the next configuration on.
    pub(crate) fn build_with(&mut self, binary: PathBuf) -> &mut Self {
        self.packer = binary;
        self
    }

    /// Keeps records here from the next configuration on.
    pub(crate) fn keep_records_in(&mut self, store: Store) -> &mut Self {
        self.store = store;
        self
    }

    /// Sets a variable in the environment of every call from now on.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has builds run their provisioners at an sshd, with the keys that they make, as on an
    /// instance.
    pub(crate) fn provision_at(&self, sshd: &Sshd) -> &Self {
        self.emulator().control_post(
            "/_control/authorized-keys",
            &json!(sshd.authorized_keys().display().to_string()),
        );
        let overrides = sshd.overrides().to_string();
        let more = overrides.trim_start_matches('{').trim_end_matches('}');
        self.reconfigure(|text| {
            text.replace("source_overrides: {", &format!("source_overrides: {{{more},"))
        })
    }

    /// What every source is told of the emulator, by the configuration.
    fn source_overrides(&self) -> Value {
        let text = std::fs::read_to_string(self.configuration()).unwrap();
        let mut lines = text.lines();
        let told = lines.find_map(|line| line.trim().strip_prefix("source_overrides: "));
        serde_json::from_str(told.unwrap()).unwrap()
    }

    /// The folder of the configuration and of all that the farm keeps.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration's file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("reconciler.yaml")
    }

    /// The file of its records, where they are in a file.
    pub(crate) fn records(&self) -> PathBuf {
        self.folder.path().join("inventory.sqlite")
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The state folder of a host.
    pub(crate) fn state_of_host(&self, host: &str) -> PathBuf {
        self.folder.path().join(format!("state-{host}"))
    }
}

/// What is run.
impl Farm {
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
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.cli().run(arguments)
    }

    /// Runs the program with more of an environment.
    pub(crate) fn run_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> CommandOutput {
        let cli = environment.iter().fold(self.cli(), |cli, (name, value)| cli.env(name, value));
        cli.run(arguments)
    }

    /// Runs the program as somebody whose umask hides nothing.
    pub(crate) fn run_with_loose_umask(&self, arguments: &[&str]) -> CommandOutput {
        self.cli().run_with_loose_umask(arguments)
    }

    /// Runs `apply`, which does all that is to be done.
    #[track_caller]
    pub(crate) fn applies(&self) -> CommandOutput {
        let ran = self.run(&["apply"]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran
    }

    /// Runs `apply`, which fails.
    #[track_caller]
    pub(crate) fn applies_in_vain(&self) -> CommandOutput {
        let ran = self.run(&["apply"]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        ran
    }

    /// Commits, and applies until nothing is left to do.
    pub(crate) fn commit_and_apply(&self) -> CommandOutput {
        self.repo.commit("a change");
        self.run(&["apply"])
    }

    /// Starts the program, with these failpoints; what it says goes to this log.
    pub(crate) fn start(&self, arguments: &[&str], failpoints: &str, log: &str) -> Running {
        let mut cli = self.cli();
        if !failpoints.is_empty() {
            cli = cli.env("RECONCILER_FAILPOINTS", failpoints);
        }
        let log = self.open_log(log);
        let mut command = cli.into_command();
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        Running(command.spawn().unwrap())
    }

    /// Starts the daemon.
    pub(crate) fn daemon(&self) -> Running {
        let mut command = self.cli().into_command();
        command.arg("run").stdout(Stdio::null()).stderr(self.open_log("daemon"));
        Running(command.spawn().unwrap())
    }

    /// Starts a daemon as if on another host: of another name, with a state folder and a log of its
    /// own.
    pub(crate) fn daemon_on(&self, host: &str) -> Running {
        self.daemon_at(host, &[("RECONCILER_HOST", host)], &[])
    }

    /// Starts a daemon with a state folder and a log of its own, with more of an environment, as an
    /// argument of another program's if one is named.
    pub(crate) fn daemon_at(
        &self,
        place: &str,
        environment: &[(&str, &str)],
        within: &[&str],
    ) -> Running {
        let cli = self
            .cli()
            .env("RECONCILER_STATE_DIR", self.state_of_host(place))
            .env("RECONCILER_LOG_FORMAT", "text");
        let cli = environment.iter().fold(cli, |cli, (name, value)| cli.env(name, value));
        let mut command = cli.into_command();
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
        command.arg("run").stdout(Stdio::null()).stderr(self.open_log(place));
        Running(command.spawn().unwrap())
    }

    fn open_log(&self, log: &str) -> std::fs::File {
        let path = self.folder.path().join(format!("{log}.log"));
        std::fs::File::options().create(true).append(true).open(path).unwrap()
    }
}

/// What it says, and how it is waited for.
impl Farm {
    /// What a log holds: `daemon` for the daemon's, a host's name for that of the daemon there.
    pub(crate) fn log(&self, log: &str) -> String {
        let path = self.folder.path().join(format!("{log}.log"));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Whether a log holds these words.
    pub(crate) fn says(&self, log: &str, words: &str) -> bool {
        self.log(log).contains(words)
    }

    /// Waits until a log holds these words.
    #[track_caller]
    pub(crate) fn wait_until_said(&self, log: &str, words: &str) {
        self.wait_until(&format!("{log} says: {words}"), |farm| farm.says(log, words));
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
        panic!("not within a minute: {what}\n{:#?}\n{}", self.try_status(), self.all_logs());
    }

    /// Waits until a step is in a state.
    #[track_caller]
    pub(crate) fn wait_for_state(&self, step: &str, state: &str) {
        self.wait_until(&format!("{step} is {state}"), |farm| farm.state_of(step) == state);
    }

    /// Waits until no build's resource is left at EC2.
    #[track_caller]
    pub(crate) fn wait_until_nothing_is_left(&self) {
        self.wait_until("nothing is left", |farm| farm.leftovers().is_empty());
    }

    /// Waits until a sign of life was given that began after this call: it tells what Packer had
    /// made by now.
    #[track_caller]
    pub(crate) fn wait_until_told_what_was_made(&self) {
        self.wait_until("what it made is told", |farm| {
            farm.forget_calls();
            std::thread::sleep(Duration::from_secs(2));
            farm.calls("dynamodb.UpdateItem") > 0
        });
    }

    /// Waits until a Packer's transcript has come to its `write FILE`.
    #[track_caller]
    pub(crate) fn wait_for_packer(&self, packer: &FakePacker, file: &str) {
        self.wait_until(&format!("Packer has written `{file}`"), |_| packer.wrote(file).is_some());
    }

    /// All logs, for the message of a test that fails.
    fn all_logs(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let logs = paths.filter(|path| path.extension().is_some_and(|end| end == "log"));
        let texts = logs.filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            Some(format!("-- {}\n{text}", path.display()))
        });
        texts.collect()
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        builds::end_supervisors(self.folder.path());
    }
}

/// The Packer of the tests.
pub(crate) fn packer() -> PathBuf {
    std::env::var_os("RECONCILER_TEST_PACKER").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/packer"),
        PathBuf::from,
    )
}

fn is_old(packer: &Path) -> bool {
    let said = Command::new(packer)
        .arg("version")
        .env("CHECKPOINT_DISABLE", "1")
        .output()
        .expect("Packer for the tests is there: run `make tools`");
    String::from_utf8_lossy(&said.stdout).contains(" v1.6.")
}
