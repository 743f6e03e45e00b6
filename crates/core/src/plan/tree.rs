//! Steps in the order in which a tree is drawn, with the branches before each name.

use std::collections::{HashMap, HashSet};

use crate::plan::planner::PlannedStep;
use reconciler_model::ids::StepId;

/// A step and what is drawn before its name.
pub struct Branch<'a> {
    /// The step.
    pub step: &'a PlannedStep,
    /// For instance two spaces for each ancestor but the first.
    pub indent: String,
}

/// Orders steps depth first; a step whose parent is not among them is a root. Chains do not grow
/// the stack.
#[must_use]
pub fn branches(steps: &[PlannedStep]) -> Vec<Branch<'_>> {
    let known: HashSet<&StepId> = steps.iter().map(|step| &step.id).collect();
    let mut children: HashMap<Option<&StepId>, Vec<&PlannedStep>> = HashMap::new();
    for step in steps {
        let parent = step.parent.as_ref().filter(|parent| known.contains(parent));
        children.entry(parent).or_default().push(step);
    }
    let mut order = Vec::with_capacity(steps.len());
    let roots = children.get(&None).cloned().unwrap_or_default();
    let mut stack: Vec<(&PlannedStep, usize)> =
        roots.into_iter().rev().map(|step| (step, 0)).collect();
    while let Some((step, depth)) = stack.pop() {
        order.push(Branch { step, indent: "  ".repeat(depth.min(12)) });
        let below = children.get(&Some(&step.id)).map(Vec::as_slice).unwrap_or_default();
        stack.extend(below.iter().rev().map(|child| (*child, depth + 1)));
    }
    order
}
