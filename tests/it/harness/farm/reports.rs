//! What the program prints as JSON, read as the types that it was printed from.

use std::ops::{Deref, Index};

use reconciler_core::status::history::BuildStory;
use reconciler_core::status::report::{Report, StepReport};
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiId, AmiName, StepId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Farm;

/// What `status` says of a workflow; a step is found by its id.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Status(Report);

impl Deref for Status {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl Status {
    /// What it says of a step, if it knows it.
    pub(crate) fn get(&self, id: &str) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.step_id.as_str() == id)
    }
}

impl Index<&str> for Status {
    type Output = StepReport;

    #[track_caller]
    fn index(&self, id: &str) -> &StepReport {
        self.get(id).unwrap_or_else(|| panic!("no step {id}: {self:#?}"))
    }
}

/// What `plan` says of a workflow, as far as tests ask: the program has no type of this form. A step
/// is found by its id.
#[derive(Debug, Deserialize)]
pub(crate) struct Planned {
    pub(crate) steps: Vec<PlannedStep>,
}

/// What `plan` says of a step.
#[derive(Debug, Deserialize)]
pub(crate) struct PlannedStep {
    pub(crate) step_id: StepId,
    pub(crate) asked_for: bool,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) desired_fingerprint: Option<Fingerprint>,
    pub(crate) source_ami: Option<AmiId>,
    pub(crate) next_ami_name: Option<AmiName>,
    pub(crate) takes_over: Option<NamedImage>,
    pub(crate) taken_by: Option<NamedImage>,
    pub(crate) stopped: Option<NamedImage>,
}

/// An image that exists.
#[derive(Debug, Deserialize)]
pub(crate) struct NamedImage {
    pub(crate) ami_id: AmiId,
    pub(crate) ami_name: AmiName,
}

impl Index<&str> for Planned {
    type Output = PlannedStep;

    #[track_caller]
    fn index(&self, id: &str) -> &PlannedStep {
        let step = self.steps.iter().find(|step| step.step_id.as_str() == id);
        step.unwrap_or_else(|| panic!("no step {id}: {self:#?}"))
    }
}

/// What `history` says of a workflow.
#[derive(Deserialize)]
struct History {
    builds: Vec<BuildStory>,
}

/// The value that is printed for the only workflow, in the list of this name; none if that is not
/// whole.
fn only<T: DeserializeOwned>(printed: &str, list: &str) -> Option<T> {
    let mut printed: Value = serde_json::from_str(printed).ok()?;
    serde_json::from_value(printed.get_mut(list)?.get_mut(0)?.take()).ok()
}

impl Farm {
    #[track_caller]
    fn printed<T: DeserializeOwned>(&self, arguments: &[&str], list: &str) -> T {
        let ran = self.run(&[arguments, &["--output", "json"]].concat());
        only(&ran.out, list).unwrap_or_else(|| panic!("{ran:#?}"))
    }

    /// What `status` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        self.printed(&["status"], "workflows")
    }

    /// What `status` says, if it can say all; else how it ended.
    pub(crate) fn try_status(&self) -> Result<Status, String> {
        let ran = self.run(&["status", "--output", "json"]);
        only(&ran.out, "workflows").ok_or_else(|| format!("no status: {ran:?}"))
    }

    /// What `plan` says, with more arguments.
    #[track_caller]
    pub(crate) fn plan(&self, more: &[&str]) -> Planned {
        self.printed(&[&["plan"], more].concat(), "plans")
    }

    /// The builds that `history` tells of, newest first, with more arguments.
    #[track_caller]
    pub(crate) fn history(&self, more: &[&str]) -> Vec<BuildStory> {
        self.printed::<History>(&[&["history"], more].concat(), "workflows").builds
    }

    /// A step's recorded image.
    #[track_caller]
    pub(crate) fn image(&self, step: &str) -> String {
        let image = self.status()[step].ami_id.clone();
        image.map(|image| image.to_string()).unwrap_or_default()
    }

    /// The name of a step's recorded image.
    #[track_caller]
    pub(crate) fn image_name(&self, step: &str) -> String {
        let name = self.status()[step].ami_name.clone();
        name.map(|name| name.to_string()).unwrap_or_default()
    }

    /// A step's state.
    #[track_caller]
    pub(crate) fn state_of(&self, step: &str) -> String {
        self.status()[step].state.to_string()
    }

    /// The states of the steps `a`, `b` and `c`.
    #[track_caller]
    pub(crate) fn states(&self) -> [String; 3] {
        let status = self.status();
        ["a", "b", "c"].map(|step| status[step].state.to_string())
    }

    /// Whether every step is as git says.
    pub(crate) fn is_in_sync(&self) -> bool {
        self.status().steps.iter().all(|step| step.state == "in-sync")
    }
}
