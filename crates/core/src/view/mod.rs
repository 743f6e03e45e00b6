//! All that stands after a pass, as one value: what pages, metrics and messages are made from.
//! Pure.
//!
//! Nothing that reads it decides anything: it may ask or wake, as a command does.

pub mod readiness;
pub mod rollout;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::plan::Plan;
use crate::status::report::Report;
use crate::status::trouble::Trouble;
use reconciler_model::ids::WorkflowId;
use rollout::Rollout;

/// What stands after a pass over everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Grows with each view of one process; the first is 1.
    pub sequence: u64,
    /// When the pass ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The repositories that are followed, in the order of the configuration.
    pub repositories: Vec<RepositoryView>,
    /// The workflows that git describes, in the order of their folders.
    pub workflows: Vec<WorkflowView>,
    /// What is tried again and again without success.
    pub troubles: Vec<Trouble>,
    /// The build slots of this host.
    pub slots: Slots,
}

/// A repository that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositoryView {
    /// Its name.
    pub name: String,
    /// When it was last read or fetched; none: not since the start.
    pub fetched_at: Option<Timestamp>,
    /// How often that is done.
    pub poll_interval: Duration,
}

/// A workflow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkflowView {
    /// The repository.
    pub repository: String,
    /// Its folder.
    pub folder: String,
    /// Its id.
    pub workflow_id: WorkflowId,
    /// Who acts on it.
    pub standing: Standing,
    /// What stands at it, as `status` says it; none where this process has not looked yet, or stands
    /// by.
    pub report: Option<Report>,
    /// Whether the inventory that its records are in was reached when it was last looked for.
    pub reaches_inventory: bool,
    /// What it was made from.
    #[serde(skip)]
    pub plan: Option<Arc<Plan>>,
    /// How far the commit that git wants is.
    pub rollout: Option<Rollout>,
    /// Why the last pass could not look at it; none if it could.
    pub error: Option<String>,
}

/// Who acts on a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", content = "holder", rename_all = "snake_case")]
pub enum Standing {
    /// This process.
    Holds,
    /// Another, and this one stands by: `host/pid/start-mark`.
    StandsBy(String),
    /// Nobody, as far as this process knows.
    Nobody,
}

/// The build slots of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Slots {
    /// How many builds may run at once.
    pub limit: usize,
    /// How many this process follows.
    pub running: usize,
    /// How many wait for one.
    pub waiting: usize,
}

impl View {
    /// Before the first pass.
    #[must_use]
    pub fn of_nothing(at: Timestamp) -> Self {
        Self {
            sequence: 0,
            at,
            took: Duration::ZERO,
            repositories: Vec::new(),
            workflows: Vec::new(),
            troubles: Vec::new(),
            slots: Slots::default(),
        }
    }

    /// The reports, in the order of the workflows.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.workflows.iter().filter_map(|workflow| workflow.report.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acts_is_told_in_words() {
        let json = |standing: &Standing| serde_json::to_value(standing).unwrap().to_string();
        assert_eq!(json(&Standing::Holds), r#"{"standing":"holds"}"#);
        let other = Standing::StandsBy("vm/1/2-3".to_owned());
        assert_eq!(json(&other), r#"{"standing":"stands_by","holder":"vm/1/2-3"}"#);
    }
}
