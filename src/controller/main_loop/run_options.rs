//! What a loop was told to do when it was started, and which steps of a plan that leaves. Pure.

use std::collections::BTreeSet;

use reconciler_core::plan::Plan;
use reconciler_core::plan::selection::Selection;
use reconciler_core::workflow::unique::Claim;
use reconciler_model::ids::StepId;

/// A command that ends gives up after so many tries at one fingerprint.
pub(super) const MOST_TRIES: u32 = 4;

/// What the loop is to do.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Steps to act on, with their ancestors; all if empty.
    pub only: BTreeSet<StepId>,
    /// Steps to build whatever their state.
    pub forced: BTreeSet<StepId>,
    /// Workflows that are not to be looked at here, of whose ids those that are must differ.
    pub elsewhere: Vec<Claim>,
    /// Whether to end when nothing is left to do, and to insist on the lease.
    pub once: bool,
}

impl RunOptions {
    /// The steps of a plan that they allow to act on; none: all.
    #[must_use]
    pub fn selection(&self, plan: &Plan) -> Option<Selection> {
        Selection::of(&plan.steps, &self.only)
    }
}
