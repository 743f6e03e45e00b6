//! `deploy/README.md` and the unit: what they say, in the order in which they say it, starts a
//! daemon that works.
//!
//! No systemd and no root here: paths stand below a folder of the test's, what only root can do
//! (the user, the owner) is left out, and the unit's program is started in the unit's environment
//! by hand.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::read;
use crate::harness::repo::{Repo, TEMPLATE, WORKFLOW, git};

/// The commands of the guide's first block, without their comments.
fn guide() -> Vec<String> {
    let text = read("deploy/README.md");
    let block = text.split("```").nth(1).unwrap().to_owned();
    let commands = block.lines().filter_map(|line| {
        let command = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "))?;
        Some(command.split("   #").next().unwrap_or(command).trim().to_owned())
    });
    commands.collect()
}

/// What the unit says for a key.
fn unit(key: &str) -> String {
    let text = read("deploy/reconciler.service");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
    line.unwrap_or_else(|| panic!("the unit has no {key}")).to_owned()
}

struct Root {
    folder: tempfile::TempDir,
}

impl Root {
    /// Everything that the guide installs, below a folder.
    fn installed() -> Self {
        let root = Self { folder: tempfile::tempdir().unwrap() };
        for command in guide() {
            let program = command.split(' ').next().unwrap();
            let command = match program {
                // Root's and systemd's: what follows from them is done below.
                "useradd" | "systemctl" => continue,
                // Without the compiler: what is built already is installed.
                "make" => format!(
                    "make --no-print-directory install-files DESTDIR={} BINARY={}",
                    root.folder.path().display(),
                    env!("CARGO_BIN_EXE_reconciler")
                ),
                "install" | "runuser" => root.below(&command),
                other => panic!("the guide has a command that this test does not know: {other}"),
            };
            let command = command
                .replace("runuser -u reconciler -- ", "")
                .replace("-o reconciler ", "")
                .replace("-g reconciler ", "");
            let ended = Command::new("sh")
                .args(["-c", &command])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(ended.success(), "{command}");
        }
        let config = root.config();
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, root.below(&text)).unwrap();
        std::fs::create_dir_all(root.state()).unwrap();
        root
    }

    /// A text whose paths stand below this folder.
    fn below(&self, text: &str) -> String {
        let root = self.folder.path().display();
        ["srv", "etc", "var"].iter().fold(text.to_owned(), |text, top| {
            text.replace(&format!(" /{top}/"), &format!(" {root}/{top}/"))
        })
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("etc/reconciler/reconciler.yaml")
    }

    fn state(&self) -> PathBuf {
        let name = unit("StateDirectory");
        self.folder.path().join("var/lib").join(name)
    }

    /// The unit's program as the unit starts it.
    fn service(&self) -> Command {
        let line = unit("ExecStart");
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        let mut command = Command::new(format!("{}{program}", self.folder.path().display()));
        command
            .args(words)
            .current_dir("/")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.state())
            .env("STATE_DIRECTORY", self.state())
            .env("RECONCILER_CONFIG", self.config())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(told: &UnixDatagram, word: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = told.recv(&mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if said.contains(word) {
            return said;
        }
    }
}

#[test]
fn the_guide_in_its_own_words_starts_a_service_that_follows_what_is_pushed() {
    let root = Root::installed();
    let socket = root.folder.path().join("notify");
    let told = UnixDatagram::bind(&socket).unwrap();
    told.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    // The address of nobody, so that nothing outside is asked.
    let mut service = root.service();
    service
        .env("NOTIFY_SOCKET", &socket)
        .env("RECONCILER_AWS__ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test-secret-value");
    let mut daemon = Daemon(service.spawn().unwrap());
    wait_for(&told, "READY=1");
    let repo = Repo::new();
    repo.write("packer_workspaces/workflow_param.json", WORKFLOW);
    repo.write(
        "packer_workspaces/a/step_param.json",
        "{\"step_id\": \"a\", \"previous_step_id\": null}\n",
    );
    repo.write("packer_workspaces/a/templates/.pkr.hcl", TEMPLATE);
    let revision = repo.commit("first");
    let remote = root.folder.path().join("srv/git/images.git");
    git(repo.path(), &["push", "-q", remote.to_str().unwrap(), "HEAD:main"]);
    // Whether EC2 answers is another matter: the commit is seen, and its workflow is known.
    let log = daemon.0.stderr.take().unwrap();
    let (line, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        for one in std::io::BufReader::new(log).lines().map_while(Result::ok) {
            if line.send(one).is_err() {
                return;
            }
        }
    });
    let seen = std::iter::from_fn(|| lines.recv_timeout(Duration::from_mins(1)).ok())
        .any(|line| line.contains("packer_workspaces") || line.contains(&revision.to_string()));
    assert!(seen, "the pushed commit is acted on");
    assert!(daemon.0.try_wait().unwrap().is_none(), "the daemon lives");
}

#[test]
fn a_service_that_cannot_be_configured_says_what_to_write_and_is_not_started_again() {
    let root = Root::installed();
    let text = std::fs::read_to_string(root.config()).unwrap();
    let (before, _) = text.split_once("repositories:").unwrap();
    let cases = [
        (before.to_owned(), "repositories:\n"),
        (format!("{before}repositories: []\n"), "`- path: FOLDER` or `- url: URL`"),
        (text.replace("state_dir", "state_dri"), "did you mean `state_dir`?"),
    ];
    for (config, advice) in cases {
        std::fs::write(root.config(), &config).unwrap();
        let ended = root.service().output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let never = unit("RestartPreventExitStatus");
        assert_eq!(ended.status.code(), never.parse().ok(), "{config}\n{said}");
        assert!(said.contains(advice), "{said}");
    }
    assert_eq!(unit("Restart"), "on-failure");
}

#[test]
fn the_installed_configuration_names_the_state_folder_of_the_unit() {
    let text = read("deploy/reconciler.yaml");
    let named = format!("state_dir: /var/lib/{}\n", unit("StateDirectory"));
    assert!(text.contains(&named), "{text}");
    assert!(
        text.starts_with("# yaml-language-server: $schema=reconciler.schema.json\n"),
        "editors know it"
    );
    let installs = guide()
        .iter()
        .any(|command| command.ends_with("deploy/reconciler.yaml /etc/reconciler/reconciler.yaml"));
    assert!(installs && Path::new("deploy/reconciler.yaml").is_file());
    let user = unit("User");
    assert!(
        guide().iter().any(|command| command.starts_with("useradd") && command.ends_with(&user)),
        "the unit's user is made"
    );
}
