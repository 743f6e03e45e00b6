//! Signals of a command that runs the loop: the first SIGTERM or Ctrl-C ends it in order, the second ends the process at once. SIGHUP makes
//! a pass now; it does not read the configuration again.

use reconciler::reconcile::driver::Wake;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::CommandError;

/// As a shell says it of a process that SIGTERM ended.
const TERMINATED: i32 = 143;

/// Turns signals into wakes, for as long as the process lives.
pub(crate) fn on_signals(wake: mpsc::Sender<Wake>) -> Result<(), CommandError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut ending = false;
        loop {
            let stop = tokio::select! {
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                _ = reload.recv() => false,
            };
            match (stop, ending) {
                // Builds are safe: they are the supervisors'. A lease that is not given back runs out.
                (true, true) => std::process::exit(TERMINATED),
                (true, false) => {
                    ending = true;
                    let wake = wake.clone();
                    // Not waited for: the second signal must be heard whatever the loop does.
                    tokio::spawn(async move { wake.send(Wake::Stop).await });
                }
                // One that is on its way already is as good.
                (false, _) => drop(wake.try_send(Wake::Look)),
            }
        }
    });
    Ok(())
}
