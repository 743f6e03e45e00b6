//! What is left of a plan after a command has done what it could, by whose turn it is. Pure.

use crate::plan::Plan;
use crate::plan::decision::Decision;
use crate::plan::planner::PlannedStep;
use crate::plan::selection::Selection;

/// What is left; the worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remaining {
    /// Nothing: all that was asked for is as git says.
    Nothing,
    /// A person's part only: nothing has gone wrong.
    PersonsPart,
    /// Something that is broken, has failed, or is blocked by such.
    Failure,
}

/// What is left of one step. One that its parameters suspend is done, unless it was named.
#[must_use]
pub fn remaining_of_step(step: &PlannedStep, selection: Option<&Selection>) -> Remaining {
    match &step.decision {
        Decision::Suspended if selection.is_some_and(|names| names.names(&step.id)) => {
            Remaining::PersonsPart
        }
        Decision::InSync | Decision::Suspended => Remaining::Nothing,
        Decision::AwaitingManual(_) | Decision::Unverified | Decision::Stopped(_) => {
            Remaining::PersonsPart
        }
        Decision::Blocked(blocked) if blocked.root.waits_for_a_person => Remaining::PersonsPart,
        // What a command has not built although it could is what it has given up.
        Decision::Blocked(_)
        | Decision::Build(_)
        | Decision::TakeOver(_)
        | Decision::Update(_)
        | Decision::Building(_)
        | Decision::BackingOff { .. }
        | Decision::Quarantined(_)
        | Decision::NameTaken(_)
        | Decision::Broken(_) => Remaining::Failure,
    }
}

/// What is left of all that was asked for.
#[must_use]
pub fn remaining(plan: &Plan, selection: Option<&Selection>) -> Remaining {
    let steps = plan.wanted(selection).map(|step| remaining_of_step(step, selection));
    steps.max().unwrap_or(Remaining::Nothing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::decision::{Blocked, Manual, Obstacle, Reason};
    use reconciler_model::diagnostic::Diagnostic;
    use reconciler_model::ids::StepId;

    fn step(id: &str, decision: Decision) -> PlannedStep {
        PlannedStep {
            id: StepId::new(id),
            parent: None,
            folder: String::new(),
            decision,
            desired: None,
            record: None,
        }
    }

    fn blocked(waits_for_a_person: bool) -> Decision {
        Decision::Blocked(Blocked {
            on: StepId::new("parent"),
            root: Obstacle {
                step: StepId::new("root"),
                state: "x",
                why: "is x",
                waits_for_a_person,
            },
        })
    }

    #[test]
    fn what_waits_for_a_person_only_is_no_failure_and_what_a_failure_blocks_is_one() {
        let broken = || Decision::Broken(vec![Diagnostic::new("wrong")]);
        let manual =
            || Decision::AwaitingManual(Manual { reasons: vec![Reason::NeverBuilt], source: None });
        for (decision, expected) in [
            (Decision::InSync, Remaining::Nothing),
            (Decision::Suspended, Remaining::Nothing),
            (manual(), Remaining::PersonsPart),
            (Decision::Unverified, Remaining::PersonsPart),
            (blocked(true), Remaining::PersonsPart),
            (blocked(false), Remaining::Failure),
            (broken(), Remaining::Failure),
        ] {
            assert_eq!(
                remaining_of_step(&step("a", decision.clone()), None),
                expected,
                "{decision:?}"
            );
        }
        let suspended = step("a", Decision::Suspended);
        let named: BTreeSet<_> = [StepId::new("a")].into();
        let selection = Selection::of(std::slice::from_ref(&suspended), &named);
        let named = remaining_of_step(&suspended, selection.as_ref());
        assert_eq!(named, Remaining::PersonsPart, "it was asked for, and is not done");
        assert!(
            Remaining::Failure > Remaining::PersonsPart
                && Remaining::PersonsPart > Remaining::Nothing
        );
    }
}
