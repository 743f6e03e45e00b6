//! What a loop was told to do when it was started, and which steps of a plan that leaves. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::ids::StepId;
use crate::plan::Plan;

/// What the loop is to do.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Steps to act on, with their ancestors; all if empty.
    pub only: BTreeSet<StepId>,
    /// Steps to build whatever their state.
    pub forced: BTreeSet<StepId>,
    /// Whether to end when nothing is left to do, and to insist on the lease.
    pub once: bool,
}

impl Orders {
    /// The steps of a plan that they allow to act on: those named, with their ancestors.
    pub(super) fn wanted(&self, plan: &Plan) -> BTreeSet<StepId> {
        if self.only.is_empty() {
            return plan.steps.iter().map(|step| step.id.clone()).collect();
        }
        let parents: HashMap<&StepId, &StepId> = plan
            .steps
            .iter()
            .filter_map(|step| Some((&step.id, step.parent.as_ref()?)))
            .collect();
        let mut wanted = BTreeSet::new();
        for id in &self.only {
            let mut at = Some(id);
            while let Some(id) = at {
                if !wanted.insert(id.clone()) {
                    break;
                }
                at = parents.get(id).copied();
            }
        }
        wanted
    }
}
