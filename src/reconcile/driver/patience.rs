//! What went wrong a moment ago is left alone for a while, longer each time. Pure: the clock and the dice are arguments.
//!
//! For what costs no money and is in no journal: a pass that cannot be made, tags that cannot be put on, a build whose end cannot be
//! written down. When a build is started again is decided from the journal, which outlives this process.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::workflow::WorkflowKey;
use crate::ids::{BuildId, Revision, StepId};

/// The first wait.
const FIRST: Duration = Duration::from_secs(5);

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Matter {
    /// A pass over a workflow.
    Workflow(WorkflowKey),
    /// Something about a step that is no build.
    Step(WorkflowKey, StepId),
    /// Carrying a build that is over to its record or its failure.
    Build(BuildId),
}

/// What was tried, how often and until when it is left alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience {
    tried: HashMap<Matter, Tried>,
}

#[derive(Clone, Debug)]
struct Tried {
    times: u32,
    until: Timestamp,
    revision: Option<Revision>,
}

impl Patience {
    /// Something was tried, and may have to be tried again. `jitter` from 0 to 1 spreads the second half of the wait. Returns until when
    /// it is left alone.
    pub(super) fn note(
        &mut self,
        matter: Matter,
        revision: Option<&Revision>,
        now: Timestamp,
        jitter: f64,
    ) -> Timestamp {
        let tried = self.tried.entry(matter).or_insert(Tried {
            times: 0,
            until: now,
            revision: None,
        });
        if tried.revision.as_ref() != revision {
            tried.times = 0;
            tried.revision = revision.cloned();
        }
        let wait = FIRST.saturating_mul(1 << tried.times.min(16)).min(LONGEST);
        tried.times = tried.times.saturating_add(1);
        tried.until = now + wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        tried.until
    }

    /// All is well with it.
    pub(super) fn forget(&mut self, matter: &Matter) {
        self.tried.remove(matter);
    }

    /// Until when it is left alone; none: it may be tried. Another commit is another matter.
    pub(super) fn holds(
        &self,
        matter: &Matter,
        revision: Option<&Revision>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let tried = self.tried.get(matter)?;
        (tried.revision.as_ref() == revision && tried.until > now).then_some(tried.until)
    }

    /// How often it was tried in a row.
    pub(super) fn times(&self, matter: &Matter) -> u32 {
        self.tried.get(matter).map_or(0, |tried| tried.times)
    }
}

/// A throw of the dice, from 0 to 1.
pub(super) fn dice() -> f64 {
    f64::from(uuid::Uuid::now_v7().as_bytes()[15]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_goes_wrong_again_and_again_is_tried_ever_more_rarely_up_to_a_cap() {
        let mut patience = Patience::default();
        let matter = Matter::Build(BuildId::new("1"));
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..9 {
            let until = patience.note(matter.clone(), None, now, 1.0);
            assert_eq!(patience.holds(&matter, None, now), Some(until));
            assert_eq!(patience.holds(&matter, None, until), None);
            waits.push(until.duration_since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        patience.forget(&matter);
        assert_eq!(patience.times(&matter), 0);
    }

    #[test]
    fn another_commit_is_looked_at_at_once_and_counted_anew() {
        let mut patience = Patience::default();
        let matter = Matter::Workflow(("repo".into(), "wf".into()));
        let (one, two) = (Revision::new("1"), Revision::new("2"));
        for _ in 0..5 {
            patience.note(matter.clone(), Some(&one), at(0), 0.5);
        }
        assert!(patience.holds(&matter, Some(&one), at(0)).is_some());
        assert_eq!(patience.holds(&matter, Some(&two), at(0)), None);
        patience.note(matter.clone(), Some(&two), at(0), 0.5);
        assert_eq!(patience.times(&matter), 1);
    }
}
