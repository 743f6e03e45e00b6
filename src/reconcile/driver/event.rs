//! What the loop tells of: for logs and for people. Nothing of it is read back.

use crate::ids::{Revision, StepId};
use crate::inventory::journal::Attempt;
use crate::plan::Plan;
use crate::plan::planner::PlannedStep;
use crate::reconcile::error::PassError;

/// What happened, for logs and for people.
pub enum Event<'a> {
    /// A plan differs from the one before.
    Planned(&'a Plan),
    /// Packer runs.
    Started(&'a Attempt),
    /// A build is over.
    Ended(&'a Attempt),
    /// An image of an earlier build is taken over.
    TakenOver(&'a Attempt),
    /// Tags or a record were brought up to date.
    Updated(&'a PlannedStep),
    /// History was rewritten: the new commit does not descend from the one before.
    Rewritten {
        /// The repository.
        site: &'a str,
        /// Before.
        old: &'a Revision,
        /// Now.
        new: &'a Revision,
    },
    /// A running build is cancelled, for git says something else by now.
    Superseded(&'a StepId),
    /// A running build is cancelled, for a person asked for it.
    CancelRequested {
        /// The step.
        step: &'a StepId,
        /// Who asked.
        by: &'a str,
    },
    /// Another reconciler acts on this workflow.
    Standby(&'a str),
    /// A pass over one workflow or repository was stopped.
    Stopped(&'a str, &'a PassError),
}

/// Hears what happens.
pub trait Observer: Send + Sync {
    /// Called for each event, from the loop's own task.
    fn notice(&self, event: &Event<'_>);
}
