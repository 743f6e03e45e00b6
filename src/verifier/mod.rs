//! Programs that check signatures, of commits and of releases: each is run without this process's
//! environment, without pipes that could block, and not for ever. What is asked of them, and whom
//! they trust, is said by whoever runs them.

pub(crate) mod gnupg;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than any of them takes on a busy host.
const LIMIT: Duration = Duration::from_secs(30);

/// More of what a program says is not read.
const MOST: u64 = 64 * 1024;

/// A folder of this check's own, gone when it is dropped.
pub(crate) struct Desk(PathBuf);

/// How a program ended.
pub(crate) struct ChildOutput {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    pub(crate) fn new() -> io::Result<Self> {
        let name = format!("reconciler-{}", uuid::Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        // Fails if it exists: nobody else's folder is used.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Puts a file on it.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        self.create(name)?.write_all(content)?;
        Ok(path)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(self.0.join(name))
    }

    /// Runs a program that reads `input`, with nothing of the environment but `PATH` and what is
    /// set on it.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        input: Option<&Path>,
    ) -> io::Result<ChildOutput> {
        let stdin = match input {
            Some(path) => File::open(path)?.into(),
            None => Stdio::null(),
        };
        let mut child = command
            .current_dir(&self.0)
            .stdin(stdin)
            .stdout(self.create("out")?)
            .stderr(self.create("err")?)
            .spawn()?;
        let until = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Ok(ChildOutput { status, out: self.read("out")?, err: self.read("err")? })
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        let file = File::open(self.0.join(name))?;
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What stays is in the system's folder for temporary files, and holds nothing secret.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program with an environment of its own.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("LC_ALL", "C");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}
