//! Signals of a command that runs the loop: the first SIGTERM or Ctrl-C ends it in order, the
//! second ends the process at once. SIGHUP makes a pass now; it does not read the configuration
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use reconciler::controller::main_loop::Wake;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::CommandError;

/// As a shell says it of a process that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// As a shell says it of a process that SIGTERM ended.
pub(crate) const TERMINATED: u8 = 143;

/// Whether the process was asked to end, and by what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<AtomicU8>);

impl Asked {
    /// The exit code of a command that was ended by it before it was done; none: it was not asked
    /// to end.
    pub(crate) fn code(&self) -> Option<u8> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            code => Some(code),
        }
    }
}

/// Turns signals into wakes, for as long as the process lives.
pub(crate) fn on_signals(wake: mpsc::Sender<Wake>) -> Result<Asked, CommandError> {
    let asked = Asked::default();
    let by = asked.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut ending = false;
        loop {
            let stop = tokio::select! {
                _ = terminate.recv() => Some(TERMINATED),
                _ = interrupt.recv() => Some(INTERRUPTED),
                _ = reload.recv() => None,
            };
            match (stop, ending) {
                // Builds are safe: they are the supervisors'. A lease that is not given back runs
                // out.
                (Some(code), true) => std::process::exit(i32::from(code)),
                (Some(code), false) => {
                    ending = true;
                    by.0.store(code, Ordering::Release);
                    let wake = wake.clone();
                    // Not waited for: the second signal must be heard whatever the loop does.
                    tokio::spawn(async move { wake.send(Wake::Stop).await });
                }
                // One that is on its way already is as good.
                (None, _) => drop(wake.try_send(Wake::Look)),
            }
        }
    });
    Ok(asked)
}
