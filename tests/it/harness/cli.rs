//! The program as a user starts it: in a folder, with an empty home and nothing of this process's
//! environment but the `PATH`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use super::readable::{readable, timeless};
use super::running::Running;

/// How long a call may take; the longest, of some builds one after the other, takes a minute.
const LONGEST: Duration = Duration::from_mins(5);

/// A prepared call of the program.
pub(crate) struct Cli {
    command: Command,
    home: tempfile::TempDir,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Cli {
    /// In a folder.
    pub(crate) fn within(folder: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconciler"));
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null());
        Self { command, home }
    }

    /// With an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With credentials for an emulated AWS.
    pub(crate) fn emulated(self, endpoint: &str) -> Self {
        self.env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test-secret-value")
            .env("RECONCILER_AWS__ENDPOINT_URL", endpoint)
    }

    /// For a process that goes on; its home stays until the tests end.
    pub(crate) fn into_command(self) -> Command {
        let _ = self.home.keep();
        self.command
    }

    /// Starts it; nobody reads what it says.
    pub(crate) fn start(self, arguments: &[&str]) -> Running {
        let mut command = self.into_command();
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
    }

    /// Runs it as somebody whose umask hides nothing.
    pub(crate) fn run_with_loose_umask(self, arguments: &[&str]) -> CommandOutput {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "umask 000; exec \"$0\" \"$@\""])
            .arg(self.command.get_program())
            .env_clear()
            .envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null());
        if let Some(folder) = self.command.get_current_dir() {
            shell.current_dir(folder);
        }
        Self { command: shell, home: self.home }.run(arguments)
    }

    /// Runs it. One that hangs is killed: a test that fails says more than one that never ends.
    pub(crate) fn run(mut self, arguments: &[&str]) -> CommandOutput {
        let child = self
            .command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let (ended, watched) = std::sync::mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            if watched.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(ended);
        watch.join().unwrap();
        CommandOutput {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl CommandOutput {
    /// An error for a person: exit code 1, all of these words, and neither a panic nor a backtrace.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &[&str]) -> &Self {
        assert_eq!(self.code, 1, "exit code 1\n{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is in the message:\n{}", self.err);
        }
        for never in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Os {", "Error {"] {
            assert!(!self.err.contains(never), "{never:?} is for programmers:\n{}", self.err);
        }
        self
    }

    /// An error for a person, as a snapshot holds it.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        self.refuses(&[]);
        readable(&self.err)
    }

    /// What was printed with this exit code, as a snapshot holds it.
    #[track_caller]
    pub(crate) fn printed(&self, code: i32) -> String {
        assert_eq!(self.code, code, "exit code {code}\n{self:#?}");
        timeless(&self.out)
    }

    /// Exit code 0, and all of these words on standard output.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) -> &Self {
        assert_eq!(self.code, 0, "exit code 0\n{self:#?}");
        for word in words {
            assert!(self.out.contains(word), "{word:?} is shown:\n{self:#?}");
        }
        self
    }

    /// A place with a caret.
    #[track_caller]
    pub(crate) fn points_at(&self, place: &str) -> &Self {
        assert!(self.err.contains(&format!("--> {place}")), "points at {place}:\n{}", self.err);
        assert!(self.err.contains('^'), "with a caret:\n{}", self.err);
        self
    }
}
