//! The private sshd, `tests/aws/sshd.sh`: what a build's provisioners reach instead of an instance.
//! Ends with the value.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A running sshd and its folder.
pub(crate) struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
    said: Value,
}

impl Sshd {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/sshd.sh");
        let mut child = Command::new(script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line)
            .unwrap_or_else(|wrong| panic!("the sshd said {line:?}: {wrong}"));
        Self { child, folder, said }
    }

    /// Whose public keys are let in; a new line counts at the next connection.
    pub(crate) fn authorized_keys(&self) -> PathBuf {
        self.folder.path().join("authorized_keys")
    }

    /// Its port on this host.
    pub(crate) fn port(&self) -> String {
        self.said["port"].to_string()
    }

    /// What a source needs so that its provisioners come here. The key is Packer's own.
    pub(crate) fn overrides(&self) -> Value {
        json!({ "ssh_host": "127.0.0.1", "ssh_port": self.said["port"], "ssh_username": self.said["user"] })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // The script ends its sshd when its standard input closes.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
