//! Numbers for Prometheus: what they are called and mean (`table`), what they are at a moment
//! (`state` of the view, `counts` of what happened, `process` of this process and its disk), and
//! the text of a scrape (`exposition`).
//!
//! Nothing here decides or asks anybody. The loop only sends what happened into a channel, which
//! never lets it wait; a task of its own counts. A scrape reads the newest view and the counts.

mod counts;
mod exposition;
mod process;
mod samples;
mod state;
pub mod table;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reconciler_core::view::View;
use tokio::sync::{mpsc, watch};

use counts::{Counts, Happened};
pub use counts::{Recorder, Requested};
pub(crate) use exposition::CONTENT_TYPE;
use process::ProcessFacts;
use samples::Samples;

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of how many steps each has series of its own.
    pub max_steps: usize,
    /// How often a pass is made when nothing wakes the loop.
    pub interval: Duration,
    /// Where this program keeps its files.
    pub state_dir: PathBuf,
    /// When this process began.
    pub started_at: Timestamp,
}

/// What a scrape is made from.
#[derive(Clone)]
pub struct Metrics {
    settings: Settings,
    counts: Arc<Mutex<Counts>>,
    views: watch::Receiver<Arc<View>>,
}

/// What happened and is not counted yet.
pub struct Uncounted(mpsc::UnboundedReceiver<Happened>);

/// Where is told what happened, and where it waits to be counted.
#[must_use]
pub fn recorder() -> (Recorder, Uncounted) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Recorder::new(sender), Uncounted(receiver))
}

impl Metrics {
    /// Begins to count, in a task of its own that ends when nobody tells anything any more.
    #[must_use]
    pub fn start(
        settings: Settings,
        mut uncounted: Uncounted,
        views: watch::Receiver<Arc<View>>,
    ) -> Self {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (kept, mut changes) = (Arc::clone(&counts), views.clone());
        tokio::spawn(async move {
            let mut is_published = true;
            loop {
                tokio::select! {
                    happened = uncounted.0.recv() => match happened {
                        Some(happened) => held(&kept).take_in(happened),
                        None => return,
                    },
                    changed = changes.changed(), if is_published => {
                        is_published = changed.is_ok();
                        let view = Arc::clone(&changes.borrow_and_update());
                        held(&kept).follow(&view);
                    }
                }
            }
        });
        Self { settings, counts, views }
    }

    /// The newest view.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// The text of a scrape. Reads files of `/proc` and asks for the room on the disk: not for a
    /// thread that others wait for.
    #[must_use]
    pub fn exposition(&self, now: Timestamp) -> String {
        let view = self.view();
        let mut samples = Samples::default();
        state::add(&mut samples, &view, &self.settings, now);
        ProcessFacts::of_this_process(&self.settings.state_dir).add(&mut samples);
        held(&self.counts).add(&mut samples);
        exposition::text(samples)
    }
}

fn held(counts: &Mutex<Counts>) -> std::sync::MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}
