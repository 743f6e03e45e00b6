//! What is new in a plan beside what is to be built: steps that somebody has to look at, and steps
//! that nobody has to any more. Pure.

use std::collections::{HashMap, HashSet};

use crate::plan::Plan;
use crate::plan::decision::Decision;
use crate::plan::planner::PlannedStep;
use reconciler_model::ids::StepId;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Somebody has to look at it, or it waits for another reason than before.
    Troubled(&'a PlannedStep),
    /// It was troubled, and is not any more.
    Mended(&'a PlannedStep),
    /// It was troubled, and has left git.
    Remaining(&'a StepId),
}

/// What is new since the plan before; of the first plan, all that is troubled. Steps that are
/// blocked are not told: what is in their way is.
#[must_use]
pub fn changes<'a>(before: Option<&'a Plan>, plan: &'a Plan) -> Vec<Change<'a>> {
    let before: HashMap<&StepId, &PlannedStep> =
        before.into_iter().flat_map(|plan| &plan.steps).map(|step| (&step.id, step)).collect();
    let of = |step: &'a PlannedStep| {
        let old = before.get(&step.id).map(|old| &old.decision);
        if is_troubled(&step.decision) {
            return (old != Some(&step.decision)).then_some(Change::Troubled(step));
        }
        // One whose time has come is told by its build.
        let was =
            old.is_some_and(|old| is_troubled(old) && !matches!(old, Decision::BackingOff { .. }));
        let settled = !matches!(step.decision, Decision::Blocked(_) | Decision::Building(_));
        (was && settled).then_some(Change::Mended(step))
    };
    let mut found: Vec<_> = plan.steps.iter().filter_map(of).collect();
    let now: HashSet<&StepId> = plan.steps.iter().map(|step| &step.id).collect();
    let mut gone: Vec<_> = before
        .values()
        .filter(|old| is_troubled(&old.decision) && !now.contains(&old.id))
        .map(|old| &old.id)
        .collect();
    gone.sort();
    found.extend(gone.into_iter().map(Change::Remaining));
    found
}

fn is_troubled(decision: &Decision) -> bool {
    matches!(
        decision,
        Decision::Broken(_)
            | Decision::Quarantined(_)
            | Decision::BackingOff { .. }
            | Decision::AwaitingManual(_)
            | Decision::NameTaken(_)
            | Decision::Stopped(_)
            | Decision::Unverified
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::desired::step::SourceImage;
    use crate::plan::decision::{Manual, Reason};
    use reconciler_model::diagnostic::Diagnostic;
    use reconciler_model::ids::{AmiId, AmiName, Region, Revision, WorkflowId};

    pub(crate) fn plan(steps: Vec<(&str, Decision)>) -> Plan {
        let of = |(id, decision)| PlannedStep {
            id: StepId::new(id),
            parent: None,
            folder: String::new(),
            decision,
            desired: None,
            record: None,
        };
        Plan {
            workflow_id: WorkflowId::new("w"),
            folder: String::new(),
            repository: String::new(),
            reference: String::new(),
            revision: Revision::new("r"),
            region: Region::new("x"),
            root_base: SourceImage { id: AmiId::new("ami-0"), name: AmiName::new("base") },
            newer_base: None,
            steps: steps.into_iter().map(of).collect(),
            orphans: Vec::new(),
            warnings: Vec::new(),
            at: jiff::Timestamp::UNIX_EPOCH,
            looked_at_ec2: true,
            records_from: crate::plan::RecordsFrom {
                place: "SQLite /s/inventory.sqlite".into(),
                standing: crate::plan::Standing::Recorded,
            },
        }
    }

    fn broken(why: &str) -> Decision {
        Decision::Broken(vec![Diagnostic::new(why)])
    }

    fn told(before: Option<&Plan>, now: &Plan) -> Vec<String> {
        let words = |change: &Change<'_>| match change {
            Change::Troubled(step) => format!("!{}", step.id),
            Change::Mended(step) => format!("={}", step.id),
            Change::Remaining(step) => format!("-{step}"),
        };
        changes(before, now).iter().map(words).collect()
    }

    #[test]
    fn trouble_is_told_when_it_begins_when_its_cause_changes_and_when_it_is_gone_and_not_between() {
        let manual =
            || Decision::AwaitingManual(Manual { reasons: vec![Reason::NeverBuilt], source: None });
        let first = plan(vec![("a", broken("x")), ("b", Decision::InSync), ("c", manual())]);
        assert_eq!(told(None, &first), ["!a", "!c"]);
        assert_eq!(told(Some(&first), &first), [""; 0]);
        let second = plan(vec![("a", broken("y")), ("b", Decision::InSync)]);
        assert_eq!(told(Some(&first), &second), ["!a", "-c"]);
        let third = plan(vec![("a", Decision::InSync), ("b", broken("z"))]);
        assert_eq!(told(Some(&second), &third), ["=a", "!b"]);
    }
}
