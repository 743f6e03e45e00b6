//! A process of the program that a test started, and that ends with its value.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use reconciler::packer::process::ProcessId;
use rustix::process::Signal;

/// A process; killed when it is dropped.
#[must_use = "a process ends with its value"]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

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

    /// Waits for its end.
    pub(crate) fn end(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("not ended after {limit:?}"))
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

    /// Asks it to end (SIGTERM), and waits until it has, in order.
    #[track_caller]
    pub(crate) fn stops(&mut self) {
        self.signal(Signal::TERM);
        let status = self.end(Duration::from_mins(1)).unwrap();
        assert!(status.success(), "{status}");
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
