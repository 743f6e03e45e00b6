//! Says what is waited for where that takes longer than people like to wait without a word.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use super::print;

/// Whether nothing is to be said: the terminal is drawn on.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Nothing is said from now on.
pub(super) fn say_nothing() {
    SILENT.store(true, Ordering::Release);
}

/// How long nothing is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that may take its time, until it is dropped.
pub(crate) struct Slow {
    _over: Sender<()>,
}

impl Slow {
    /// It begins. After a while standard error is told `still WHAT…`, once.
    pub(crate) fn begins(what: impl Into<String>) -> Self {
        let what = what.into();
        let (over, waited) = mpsc::channel();
        std::thread::spawn(move || {
            let is_slow = waited.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            if is_slow && !SILENT.load(Ordering::Acquire) {
                print::note(&format!("still {what}…"));
            }
        });
        Self { _over: over }
    }
}
