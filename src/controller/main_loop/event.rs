//! What the loop tells of: for logs and for people, once for each change. Nothing of it is read
//! back.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::error::PassError;
use reconciler_core::plan::Plan;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_model::host_cause::HostCause;
use reconciler_model::ids::{BuildId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::Lease;
use reconciler_model::inventory::journal::Attempt;

/// Where something happened.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The repository's name.
    pub repository: &'a str,
    /// The workflow's folder, if one is meant.
    pub folder: Option<&'a str>,
    /// The workflow, if one is meant and its id could be read.
    pub workflow: Option<&'a WorkflowId>,
}

/// What happened, for logs and for people.
pub enum Event<'a> {
    /// A plan differs from the one before.
    Planned {
        /// The plan.
        plan: &'a Plan,
        /// The one before, of this process.
        before: Option<&'a Plan>,
    },
    /// Packer was started.
    Started(&'a Attempt),
    /// A build that an earlier process or another host started is followed.
    Resumed(&'a Attempt),
    /// A build is over.
    Ended(&'a Attempt),
    /// An image of an earlier build is taken over.
    TakenOver(&'a Attempt),
    /// Tags or a record were brought up to date.
    Updated(&'a PlannedStep),
    /// History was rewritten: the new commit does not descend from the one before.
    Rewritten {
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
    /// A running build is ended, for the inventory that took the place of another knows nothing of
    /// it.
    Unknown {
        /// The step.
        step: &'a StepId,
        /// The build.
        build: &'a BuildId,
    },
    /// A command waits for the lease that another holds.
    Waiting(&'a Lease),
    /// Another reconciler acts on this workflow, and this one stands by.
    Standby(&'a Lease),
    /// This reconciler acts on the workflow from now on.
    Holding {
        /// Whom it stood by before.
        after: Option<&'a str>,
    },
    /// This reconciler acts on the workflow no longer: its lease ran out, or is another's.
    Lost,
    /// The lease was given back, for this host could do nothing with it for long; another host may.
    GivenBack(HostCause),
    /// This host can act again on a workflow whose lease it gave back.
    TakenAgain,
    /// Something does not work, or for another cause than before.
    Failing(&'a Failing<'a>),
    /// What did not work does.
    Recovered {
        /// What, in words.
        what: &'a str,
        /// How often it was tried in vain.
        times: u32,
        /// Since when.
        since: Timestamp,
    },
}

/// What does not work.
pub struct Failing<'a> {
    /// What is tried, in words.
    pub what: String,
    /// The step, if one is meant.
    pub step: Option<&'a StepId>,
    /// The build, if one is meant.
    pub build: Option<&'a BuildId>,
    /// The commit, if it matters.
    pub revision: Option<&'a Revision>,
    /// Why.
    pub error: &'a PassError,
    /// How often it was tried in a row.
    pub times: u32,
    /// When it is tried again.
    pub next_try: Timestamp,
}

/// A pass over everything, once it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedPass {
    /// How long it took.
    pub took: Duration,
    /// Whether it started or changed anything.
    pub acted: bool,
    /// How many workflows or repositories it could not look at.
    pub errors: usize,
}

/// Hears what happens. It must not let the loop wait.
pub trait Observer: Send + Sync {
    /// Called for each event, from the loop's own task.
    fn notice(&self, origin: &Origin<'_>, event: &Event<'_>);

    /// Called after each pass over everything, from the loop's own task.
    fn passed(&self, _pass: &EndedPass) {}
}

/// Several who hear the same, in this order.
pub struct Observers(pub Vec<Arc<dyn Observer>>);

impl Observer for Observers {
    fn notice(&self, origin: &Origin<'_>, event: &Event<'_>) {
        for observer in &self.0 {
            observer.notice(origin, event);
        }
    }

    fn passed(&self, pass: &EndedPass) {
        for observer in &self.0 {
            observer.passed(pass);
        }
    }
}
