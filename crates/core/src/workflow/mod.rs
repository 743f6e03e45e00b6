//! A workflow of a repository at a commit: its parameters, its steps, and the forest that they
//! form.
//!
//! Pure: trees and file contents come in as values. What is wrong with one step stays with that
//! step.

pub mod base_edit;
pub mod context;
pub mod graph;
pub mod jsonc;
pub mod odd;
pub mod params;
pub mod settings;
pub mod step;
mod switches;
pub mod unique;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use settings::Settings;

use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, StepId, WorkflowId};

/// A workflow whose parameters could be read.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Its folder, from the repository's root (`packer_workspaces`).
    pub folder: String,
    /// What `workflow_param.json` says.
    pub params: WorkflowParams,
    /// Sound steps, parents before children, otherwise in order of their ids.
    pub steps: Vec<Step>,
    /// Steps that cannot be planned, and why; their descendants among `steps` are blocked on them.
    pub broken: Vec<BrokenStep>,
    /// What is worth a word but stops nothing (secrets in parameters, a folder without parameters
    /// and templates).
    pub warnings: Vec<Diagnostic>,
}

/// `workflow_param.json`, checked.
#[derive(Clone)]
pub struct WorkflowParams {
    /// Hash key of the inventory.
    pub workflow_id: WorkflowId,
    /// `profile_name`, or `aws_profile` in older repositories.
    pub profile: Option<String>,
    /// `region_name`, if given.
    pub region: Option<String>,
    /// Where the first steps start.
    pub root_base: RootBase,
    /// Tags for every image.
    pub aws_tags: BTreeMap<String, String>,
    /// All of it, in the order of the file: what templates see.
    pub values: Map<String, Value>,
    /// What `reconciler.json` beside it says.
    pub settings: Settings,
}

/// Shows no values: credentials may be among them.
impl fmt::Debug for WorkflowParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowParams")
            .field("workflow_id", &self.workflow_id)
            .field("values", &self.values.keys())
            .finish_non_exhaustive()
    }
}

/// Where the first steps start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootBase {
    /// One image.
    Image {
        /// `root_base_ami_id`
        id: AmiId,
        /// `root_base_ami_name`
        name: String,
    },
    /// The newest image whose name matches.
    Pattern {
        /// `root_base_ami_name`
        pattern: String,
        /// `root_base_ami_owner_account_id`
        owner: String,
    },
}

/// One step.
#[derive(Clone)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// Its folder, from the repository's root (`packer_workspaces/s01-pyenv`).
    pub folder: String,
    /// Whose image it starts from; none: the root base image.
    pub parent: Option<StepId>,
    /// What `step_param.json` says, in the order of the file, less `reconciler`: what templates
    /// see.
    pub values: Map<String, Value>,
    /// The step's own switches.
    pub switches: Switches,
    /// Where its id and its parent stand; none for a step that was not read but remembered.
    pub written: Option<Box<Written>>,
}

/// Where the two keys stand that the forest is made of, so that what does not fit is shown at its
/// place.
#[derive(Clone, Debug)]
pub struct Written {
    /// The parameter file, from the repository's root.
    pub path: String,
    /// Its text, without secrets.
    pub text: Arc<str>,
    /// The value of `step_id`.
    pub id: Range<usize>,
    /// The value of `previous_step_id`.
    pub parent: Range<usize>,
    /// Whether the file has the switches as well, which the Python library does not understand.
    pub has_own_switches: bool,
}

impl Step {
    /// The parameter file, as far as it is known.
    #[must_use]
    pub fn param_file(&self) -> String {
        match &self.written {
            Some(written) => written.path.clone(),
            None => format!("{}/step_param.json", self.folder),
        }
    }

    /// A diagnostic that points at the step's id.
    #[must_use]
    pub fn wrong_id(&self, message: impl Into<String>) -> Diagnostic {
        self.wrong(message, |written| written.id.clone())
    }

    /// A diagnostic that points at the name of the step's parent.
    #[must_use]
    pub fn wrong_parent(&self, message: impl Into<String>) -> Diagnostic {
        self.wrong(message, |written| written.parent.clone())
    }

    fn wrong(&self, message: impl Into<String>, span: fn(&Written) -> Range<usize>) -> Diagnostic {
        let wrong = Diagnostic::new(message);
        match &self.written {
            Some(written) => {
                wrong.at(written.path.clone(), Arc::clone(&written.text), span(written))
            }
            None => wrong.in_file(self.param_file()),
        }
    }
}

/// Shows no values: secrets may be among them.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("id", &self.id)
            .field("folder", &self.folder)
            .field("parent", &self.parent)
            .field("values", &self.values.keys())
            .field("switches", &self.switches)
            .finish_non_exhaustive()
    }
}

/// What a person tells the reconciler about a step, in `reconciler.json` or in `step_param.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// The image is made by a person. Also set for a step without `templates/`.
    pub manual: bool,
    /// The step is left alone for now.
    pub suspend: bool,
    /// Limit of its builds.
    pub timeout: Option<Duration>,
    /// Paths outside of the step folder whose content counts, from the repository's root.
    pub include: Vec<String>,
    /// Patterns in the step folder that do not count.
    pub ignore: Vec<String>,
}

/// A step that cannot be planned.
#[derive(Clone, Debug)]
pub struct BrokenStep {
    /// Its id; its folder's name where the id could not be read.
    pub id: StepId,
    /// Its folder, from the repository's root.
    pub folder: String,
    /// Why; at least one.
    pub why: Vec<Diagnostic>,
}
