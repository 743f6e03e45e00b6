//! When builds that were given up are looked after, in a task of its own: AWS may let it wait for minutes, and nobody else has to.

use std::time::Duration;

use super::Driver;
use super::act::Charged;
use super::follow::News;
use super::patience::Matter;
use super::workflow::WorkflowKey;
use crate::clock::{self, Moment};
use crate::reconcile::error::PassError;
use crate::reconcile::ports::Ports;
use crate::reconcile::sweep::{due, sweep};

/// How often it is done while the lease stays.
const PAUSE: Duration = Duration::from_mins(10);

/// What is known of it for one workflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweeping {
    /// Under which token, and when, it was done last.
    last: Option<(u64, Moment)>,
    /// Whether it is under way: no build of the workflow starts then, for it may take an image over that is about to go.
    pub(super) under_way: bool,
}

impl Driver {
    /// Begins it, at the first pass under each lease and now and then. It stops nothing else.
    pub(super) async fn sweep(&mut self, charged: &Charged<'_>, ports: &Ports) {
        let Some(state) = self.workflows.get_mut(charged.key) else {
            return;
        };
        let (now, token) = (clock::now(), charged.fence.token);
        let fresh = |(of, at): (u64, Moment)| of == token && now.saturating_sub(at) < PAUSE;
        if state.sweeping.under_way || state.sweeping.last.is_some_and(fresh) {
            return;
        }
        state.sweeping.last = Some((token, now));
        let due = match due(ports, &charged.key.id, charged.attempts).await {
            Ok(due) if due.is_empty() => return,
            Ok(due) => due,
            Err(error) => return self.note_swept(charged.key, &Err(error)),
        };
        state.sweeping.under_way = true;
        let (key, ports, fence) = (charged.key.clone(), ports.clone(), charged.fence.clone());
        let news = self.news.0.clone();
        tokio::spawn(async move {
            let result = sweep(&ports, &fence, due).await;
            // The loop has ended if nobody listens; the next process sweeps anew.
            let _ = news.send(News::Swept(key, result));
        });
    }

    /// Takes in that it is done.
    pub(super) fn note_swept(&mut self, key: &WorkflowKey, result: &Result<(), PassError>) {
        if let Some(state) = self.workflows.get_mut(key) {
            state.sweeping.under_way = false;
        }
        let matter = Matter::Sweeping(key.clone());
        match result {
            Ok(()) => self.settle(&matter, &key.origin()),
            Err(error) => {
                self.put_off(&matter, &key.origin(), None, error);
            }
        }
    }

    /// Whether it is under way for any workflow.
    pub(super) fn is_sweeping(&self) -> bool {
        let mut states = self.workflows.values();
        states.any(|state| state.sweeping.under_way)
    }
}
