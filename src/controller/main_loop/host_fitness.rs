//! Whether this host is of use to a workflow that it holds the lease of. Pure: what went wrong and
//! the time are arguments.
//!
//! A lease says that its holder lives, not that it gets anything done. What this host alone is in
//! want of (files, disk, memory) another host may have, so after a while the lease goes back. What
//! every host would meet with (EC2 does not answer, git cannot be reached) is no reason: nobody
//! could do better.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::main_loop::workflow_state::WorkflowKey;
use reconciler_model::clock::Moment;
use reconciler_model::host_cause::HostCause;

/// So many lease durations nothing works before a lease is given back, and as long it is left to
/// others.
const PATIENCE: u32 = 3;

/// What a pass over a workflow came to, as far as this host matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What this host lacked.
    pub(super) lacks: Option<HostCause>,
    /// Something that went wrong before was left alone this time: the pass says nothing of it.
    pub(super) is_partial: bool,
}

impl Verdict {
    /// Something could not be done.
    pub(super) fn note(&mut self, lacks: Option<HostCause>) {
        self.lacks = self.lacks.or(lacks);
    }
}

/// The workflows that do not work on this host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostFitness {
    hindered: BTreeMap<WorkflowKey, Hindered>,
}

/// What keeps a workflow from working here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hindered {
    pub(super) cause: HostCause,
    since: Moment,
    /// When it last did not work. What is not tried says nothing.
    last: Moment,
    given_back: Option<(Moment, GivenBack)>,
}

/// A lease that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenBack {
    /// What this host lacks.
    pub(super) cause: HostCause,
    /// When it was given back.
    pub(super) since: Timestamp,
}

impl HostFitness {
    /// Takes in what a pass came to.
    pub(super) fn judge(&mut self, key: &WorkflowKey, verdict: Verdict, now: Moment) {
        match verdict.lacks {
            Some(cause) => {
                let hindered = self.hindered.entry(key.clone()).or_insert(Hindered {
                    cause,
                    since: now,
                    last: now,
                    given_back: None,
                });
                hindered.cause = cause;
                hindered.last = now;
            }
            None if verdict.is_partial => {}
            None => {
                self.hindered.remove(key);
            }
        }
    }

    /// Whether the lease of a workflow goes back now, and for what.
    pub(super) fn is_useless(&self, key: &WorkflowKey, lease: Duration) -> Option<HostCause> {
        let hindered = self.hindered.get(key)?;
        let long = hindered.last.saturating_sub(hindered.since) >= lease * PATIENCE;
        // Seeded bug: lease-kept-by-the-useless
        (long && hindered.given_back.is_none()).then_some(hindered.cause)
    }

    /// The lease was given back, at this time by the clock and by the calendar.
    pub(super) fn gave_back(&mut self, key: &WorkflowKey, moment: Moment, since: Timestamp) {
        if let Some(hindered) = self.hindered.get_mut(key) {
            hindered.given_back = Some((moment, GivenBack { cause: hindered.cause, since }));
        }
    }

    /// Whether the lease may be asked for as far as time goes; whether the host can do again what
    /// it could not has to be looked at as well.
    pub(super) fn wait(&self, key: &WorkflowKey, lease: Duration, now: Moment) -> Wait {
        let hindered = self.hindered.get(key);
        match hindered.and_then(|hindered| hindered.given_back) {
            None => Wait::Nothing,
            Some((at, _)) if now.saturating_sub(at) >= lease * PATIENCE => Wait::ForTheHost,
            Some(_) => Wait::ForOthers,
        }
    }

    /// The lease is held again: what was before does not count.
    pub(super) fn took_again(&mut self, key: &WorkflowKey) {
        self.hindered.remove(key);
    }

    /// The workflows whose leases were given back.
    pub(super) fn given_back(&self) -> impl Iterator<Item = (&WorkflowKey, GivenBack)> {
        let hindered = self.hindered.iter();
        hindered.filter_map(|(key, hindered)| Some((key, hindered.given_back?.1)))
    }
}

/// What has to be waited for before a lease is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It was not given back.
    Nothing,
    /// Others are to have the time to take it.
    ForOthers,
    /// The host must be able again to do what it could not.
    ForTheHost,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::main_loop::workflow_state::{InventoryKey, WorkflowLocation};
    use reconciler_model::ids::WorkflowId;

    const LEASE: Duration = Duration::from_secs(10);

    fn key() -> WorkflowKey {
        WorkflowKey {
            location: WorkflowLocation { repository: "s".into(), folder: "f".into() },
            inventory: InventoryKey { id: WorkflowId::new("wf"), profile: None, region: None },
        }
    }

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn lacks(cause: HostCause) -> Verdict {
        Verdict { lacks: Some(cause), is_partial: false }
    }

    fn useless(judged: &[(u64, Verdict)]) -> Option<u64> {
        let mut fitness = HostFitness::default();
        let mut judged = judged.iter().peekable();
        (0..200).find(|second| {
            while let Some((_, verdict)) = judged.next_if(|(when, _)| when == second) {
                fitness.judge(&key(), *verdict, at(*second));
            }
            fitness.is_useless(&key(), LEASE).is_some()
        })
    }

    #[test]
    fn a_lease_goes_back_after_three_of_its_durations_in_which_this_host_could_do_nothing() {
        let files = lacks(HostCause::Files);
        assert_eq!(useless(&[(5, files), (34, files), (40, files)]), Some(40));
        assert_eq!(useless(&[(5, files), (35, lacks(HostCause::Disk))]), Some(35));
        assert_eq!(useless(&[(5, files)]), None, "it was not tried again");
        let left_alone = Verdict { lacks: None, is_partial: true };
        let between = |verdict| [(5, files), (10, verdict), (35, files), (45, files)];
        assert_eq!(useless(&between(left_alone)), Some(35));
        assert_eq!(useless(&between(Verdict::default())), None, "in a row");
    }

    #[test]
    fn what_every_host_would_meet_with_gives_no_lease_back() {
        let elsewhere = [(5, Verdict::default()), (100, Verdict::default())];
        assert_eq!(useless(&elsewhere), None);
    }

    #[test]
    fn a_lease_that_was_given_back_is_left_to_others_and_then_asked_for_by_a_host_that_is_well() {
        let mut fitness = HostFitness::default();
        for second in [0, 30] {
            fitness.judge(&key(), lacks(HostCause::Files), at(second));
        }
        assert_eq!(fitness.wait(&key(), LEASE, at(100)), Wait::Nothing);
        assert_eq!(fitness.is_useless(&key(), LEASE), Some(HostCause::Files));
        fitness.gave_back(&key(), at(30), Timestamp::UNIX_EPOCH);
        assert_eq!(fitness.is_useless(&key(), LEASE), None, "only once");
        assert_eq!(fitness.wait(&key(), LEASE, at(59)), Wait::ForOthers);
        assert_eq!(fitness.wait(&key(), LEASE, at(60)), Wait::ForTheHost);
        assert_eq!(fitness.given_back().count(), 1);
        fitness.took_again(&key());
        assert_eq!(fitness.wait(&key(), LEASE, at(61)), Wait::Nothing);
        assert_eq!(fitness.given_back().count(), 0);
    }
}
