//! The emulator's front (`tests/aws/front.py`): the process that is killed in the emulator's place,
//! for its state must live on.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::emulator::{Emulator, python};

pub(super) struct Front {
    child: Child,
    port: u16,
    backend: u16,
}

impl Front {
    /// Before this emulator, on a port of its own.
    pub(super) fn start(emulator: &Emulator) -> Self {
        let (child, port) = spawn(0, emulator.port());
        Self { child, port, backend: emulator.port() }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: every call that is under way is cut.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same port again.
    pub(super) fn restart(&mut self) {
        (self.child, self.port) = spawn(self.port, self.backend);
    }
}

fn spawn(port: u16, backend: u16) -> (Child, u16) {
    let mut child = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/aws/front.py"))
        .args([port.to_string(), backend.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
    (child, port.expect("the front says its port"))
}

impl Drop for Front {
    fn drop(&mut self) {
        self.kill();
    }
}
