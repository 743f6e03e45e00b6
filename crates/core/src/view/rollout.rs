//! How far a commit is: from the first work that it asks for until all its images exist. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::plan::Plan;
use crate::plan::outcome::{Remaining, remaining_of_step};
use reconciler_model::ids::Revision;

/// A commit on its way to its images, or the last that has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// The commit that git wants.
    pub revision: Revision,
    /// When this process first saw work for it.
    pub began_at: Timestamp,
    /// When nothing was left; none: something is.
    pub ended_at: Option<Timestamp>,
    /// How many steps are not as it says.
    pub steps_left: usize,
    /// The most that were not, since it began.
    pub most_left: usize,
    /// How many of those that are left wait for a person.
    pub need_a_person: usize,
}

impl Rollout {
    /// After another look. A new commit begins a rollout, and so does work that comes back after the
    /// last one had ended: an image that is gone, say. None: there was nothing to do since this
    /// process looks.
    #[must_use]
    pub fn after(before: Option<&Self>, plan: &Plan) -> Option<Self> {
        let left = plan.steps.iter().map(|step| remaining_of_step(step, None));
        let left: Vec<_> = left.filter(|left| *left != Remaining::Nothing).collect();
        let goes_on = |before: &&Self| {
            before.revision == plan.revision && (before.ended_at.is_none() || left.is_empty())
        };
        let before = before.filter(goes_on);
        if before.is_none() && left.is_empty() {
            return None;
        }
        Some(Self {
            revision: plan.revision.clone(),
            began_at: before.map_or(plan.at, |before| before.began_at),
            ended_at: match before.and_then(|before| before.ended_at) {
                Some(ended_at) => Some(ended_at),
                None => left.is_empty().then_some(plan.at),
            },
            steps_left: left.len(),
            most_left: before.map_or(0, |before| before.most_left).max(left.len()),
            need_a_person: left.iter().filter(|left| **left == Remaining::PersonsPart).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::plan::changes::tests::plan;
    use crate::plan::decision::{Build, BuildSource, Decision, Manual, Reason};
    use reconciler_model::ids::StepId;

    fn build() -> Decision {
        let source = BuildSource::AfterBuild(StepId::new("x"));
        Decision::Build(Build { reasons: vec![Reason::NeverBuilt], source })
    }

    fn manual() -> Decision {
        Decision::AwaitingManual(Manual { reasons: vec![Reason::NeverBuilt], source: None })
    }

    fn seen(revision: &str, minute: i64, decisions: [Decision; 2]) -> Plan {
        let [a, b] = decisions;
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        Plan { revision: Revision::new(revision), at, ..plan(vec![("a", a), ("b", b)]) }
    }

    #[test]
    fn a_rollout_lasts_from_the_first_work_to_the_last_image() {
        let mut rollout = None;
        let mut look = |revision, minute, decisions| {
            rollout = Rollout::after(rollout.as_ref(), &seen(revision, minute, decisions));
            rollout.as_ref().map(|one: &Rollout| {
                let minutes = |at: Timestamp| at.as_second() / 60;
                let ended = one.ended_at.map(minutes);
                (minutes(one.began_at), ended, one.steps_left, one.most_left, one.need_a_person)
            })
        };
        let in_sync = || Decision::InSync;
        assert_eq!(look("one", 1, [in_sync(), in_sync()]), None);
        assert_eq!(look("two", 2, [build(), build()]), Some((2, None, 2, 2, 0)));
        assert_eq!(look("two", 3, [in_sync(), manual()]), Some((2, None, 1, 2, 1)));
        assert_eq!(look("two", 4, [in_sync(), in_sync()]), Some((2, Some(4), 0, 2, 0)));
        assert_eq!(look("two", 5, [in_sync(), in_sync()]), Some((2, Some(4), 0, 2, 0)));
        // An image is gone.
        assert_eq!(look("two", 6, [in_sync(), build()]), Some((6, None, 1, 1, 0)));
        assert_eq!(look("three", 7, [build(), build()]), Some((7, None, 2, 2, 0)));
        assert_eq!(look("four", 8, [in_sync(), in_sync()]), None, "it was taken back");
    }
}
