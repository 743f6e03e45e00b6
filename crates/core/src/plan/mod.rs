//! The plan: one decision and its reasons for every step, as a value that is printed, compared and
//! executed.
//!
//! Pure. What `reconciler plan` prints is the value that the daemon executes; the executor chooses
//! nothing.

pub mod changes;
pub mod decision;
pub mod forecast;
pub mod json;
pub mod names;
pub mod outcome;
pub mod planner;
pub mod progress;
pub mod reasons;
pub mod repeats;
pub mod selection;
pub mod sentences;
pub mod sight;
pub mod source;
pub mod text;
pub mod tree;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::step::SourceImage;
use decision::{BuildSource, Decision};
use planner::PlannedStep;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, Region, Revision, StepId, WorkflowId};
use selection::Selection;

/// What is to be done about one workflow at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// Its folder in the repository.
    pub folder: String,
    /// The repository's name.
    pub repository: String,
    /// The branch or tag that is followed, or what was asked for.
    pub reference: String,
    /// The commit.
    pub revision: Revision,
    /// Where images are made.
    pub region: Region,
    /// Where the first steps start.
    pub root_base: SourceImage,
    /// A newer image that matches the base's pattern and is not used.
    pub newer_base: Option<SourceImage>,
    /// Every step, parents before children.
    pub steps: Vec<PlannedStep>,
    /// Recorded images whose step is not in git.
    pub orphans: Vec<Orphan>,
    /// What is worth a word.
    pub warnings: Vec<Diagnostic>,
    /// When it was made.
    pub at: Timestamp,
    /// Whether EC2 was asked.
    pub looked_at_ec2: bool,
    /// Which inventory it was made from.
    pub records_from: RecordsFrom,
}

/// Which inventory was read, and whether anything of the workflow stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsFrom {
    /// Where it is, for people.
    pub place: String,
    /// What was found.
    pub standing: Standing,
}

/// What was found in an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Records of the workflow.
    Recorded,
    /// None.
    Nothing,
    /// The inventory itself is not there yet: another one may have been meant.
    NoInventory,
}

impl RecordsFrom {
    /// What is worth a line: two processes that mean one inventory may look at two.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        match self.standing {
            Standing::Recorded => None,
            Standing::Nothing => {
                Some(format!("Nothing of this workflow is recorded in {}.", self.place))
            }
            Standing::NoInventory => Some(format!(
                "No inventory at {} yet: if there should be one, another place is meant (`state_dir`, `inventory`).",
                self.place
            )),
        }
    }
}

/// A recorded image whose step is not in git: reported, never deleted by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The step.
    pub step_id: StepId,
    /// The image.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
}

impl Orphan {
    /// What there is to say of it.
    #[must_use]
    pub fn words(&self) -> String {
        format!("recorded, but not in git; `reconciler forget {}` removes the record", self.step_id)
    }
}

impl Plan {
    /// Steps whose build can start now.
    pub fn ready(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| {
            matches!(&step.decision, Decision::Build(build) if matches!(build.source, BuildSource::Known { .. }))
        })
    }

    /// Steps that will be built, now or after others.
    pub fn to_build(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| matches!(step.decision, Decision::Build(_)))
    }

    /// Steps whose image exists already, from an earlier build.
    pub fn to_take_over(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| matches!(step.decision, Decision::TakeOver(_)))
    }

    /// The steps that are meant.
    pub fn wanted<'a>(
        &'a self,
        selection: Option<&'a Selection>,
    ) -> impl Iterator<Item = &'a PlannedStep> {
        let wants = move |id: &StepId| selection.is_none_or(|selection| selection.wants(id));
        self.steps.iter().filter(move |step| wants(&step.id))
    }

    /// Whether anything of what is meant differs from what git says.
    #[must_use]
    pub fn has_drift(&self, selection: Option<&Selection>) -> bool {
        self.wanted(selection)
            .any(|step| !matches!(step.decision, Decision::InSync | Decision::Suspended))
    }

    /// Whether something of what is meant is wrong, and the reconciler cannot settle it by itself.
    #[must_use]
    pub fn has_errors(&self, selection: Option<&Selection>) -> bool {
        self.wanted(selection).any(|step| matches!(step.decision, Decision::Broken(_)))
    }
}
