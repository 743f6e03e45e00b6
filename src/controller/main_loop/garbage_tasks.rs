//! When builds that were given up are looked after, in a task of its own: AWS may let it wait for
//! minutes, and nobody else has to.

use std::time::Duration;

use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::garbage::{due, sweep};
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::actions::Charged;
use crate::controller::main_loop::backoff::BackoffKey;
use crate::controller::main_loop::build_tasks::News;
use crate::controller::main_loop::workflow_pass::WorkflowKey;
use reconciler_model::clock::Moment;

/// How often it is done while the lease stays.
const PAUSE: Duration = Duration::from_mins(10);

/// What is known of it for one workflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweeping {
    /// When it was done last, and what was so then.
    last: Option<Last>,
    /// Whether it is under way: no build of the workflow starts then, for it may take an image over
    /// that is about to go.
    pub(super) under_way: bool,
}

/// When, under which token, and how many events the journal had: a sign of life that comes late
/// counts as one.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Moment,
    token: u64,
    journal_seq: u64,
}

impl Last {
    fn is_fresh(self, now: Moment, token: u64, journal_seq: u64) -> bool {
        self.token == token
            && self.journal_seq == journal_seq
            && now.saturating_sub(self.at) < PAUSE
    }
}

impl Controller {
    /// Begins it, at the first pass under each lease, whenever the journal has moved, and now and
    /// then. It stops nothing else.
    pub(super) async fn sweep(&mut self, owned: &Charged<'_>, ports: &LeasedPorts) {
        let Some(state) = self.workflows.get_mut(owned.key) else {
            return;
        };
        let Some(lease) = &state.lease else {
            return;
        };
        let (now, token, seq) = (self.context.moment(), owned.fence.token, lease.journal_seq());
        let last = state.sweeping.last;
        if state.sweeping.under_way || last.is_some_and(|last| last.is_fresh(now, token, seq)) {
            return;
        }
        state.sweeping.last = Some(Last { at: now, token, journal_seq: seq });
        let due = match due(ports, &owned.key.inventory.id, owned.attempts).await {
            Ok(due) if due.is_empty() => return,
            Ok(due) => due,
            Err(error) => return self.note_swept(owned.key, &Err(error)),
        };
        let Some(state) = self.workflows.get_mut(owned.key) else {
            return;
        };
        state.sweeping.under_way = true;
        let (key, fence, ports) = (owned.key.clone(), owned.fence.clone(), ports.clone());
        let news = self.news.0.clone();
        self.context.spawn(async move {
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
        let matter = BackoffKey::Sweeping(key.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_again_when_the_journal_moves_the_lease_changes_hands_or_time_has_passed() {
        let at = Moment::from_secs(7);
        let last = Last { at, token: 3, journal_seq: 9 };
        assert!(last.is_fresh(at, 3, 9));
        assert!(!last.is_fresh(at, 3, 10), "a late sign of life");
        assert!(!last.is_fresh(at, 4, 9));
        assert!(!last.is_fresh(at + PAUSE, 3, 9));
    }
}
