//! What is to be done about one step, and why, in values that a person and an executor read alike.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::desired::step::SourceImage;
use crate::plan::names::Hindrance;
use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, BuildId, StepId};
use reconciler_model::images::TagChange;
use reconciler_model::inventory::journal::Failure;

/// What is to be done about one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: the recorded image is what git says.
    InSync,
    /// An image is to be built.
    Build(Build),
    /// The image that git wants exists, from an earlier build: it is recorded anew.
    TakeOver(TakeOver),
    /// An image is to be built, and its name is held by one that cannot be taken for it: a person
    /// decides.
    NameTaken(NameTaken),
    /// The image stays; its tags, its record, or both are brought up to date.
    Update(Update),
    /// A build of it runs.
    Building(Building),
    /// An ancestor has to be settled first.
    Blocked(Blocked),
    /// A person makes the image; git and the record differ.
    AwaitingManual(Manual),
    /// It failed and will be tried again by itself.
    BackingOff {
        /// When.
        until: Timestamp,
        /// What failed.
        failure: Failure,
        /// Whether it did not fail, but was built from the same inputs again and again.
        repeats: bool,
    },
    /// It failed for its own reason, which will not change until an input does or a person says so.
    Quarantined(Failure),
    /// Its parameters say to leave it alone.
    Suspended,
    /// The image that git wants is there and disabled: somebody has stopped it, and it stays so
    /// until it is enabled at EC2 or a person asks for another.
    Stopped(Stopped),
    /// A record of the Python library, which says nothing of what it was built from.
    Unverified,
    /// Its files are wrong.
    Broken(Vec<Diagnostic>),
}

impl Decision {
    /// Why the recorded image is not what git says, where it is not.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Build(build) => &build.reasons,
            Self::TakeOver(taken) => &taken.reasons,
            Self::AwaitingManual(manual) => &manual.reasons,
            _ => &[],
        }
    }
}

/// An image to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Why; at least one.
    pub reasons: Vec<Reason>,
    /// What it starts from.
    pub source: BuildSource,
}

/// An image that a person is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manual {
    /// Why; at least one.
    pub reasons: Vec<Reason>,
    /// The image that its instance is to be started from; none while its parent is built first.
    pub source: Option<SourceImage>,
}

/// An image to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// Why the recorded one is not what git says; at least one.
    pub reasons: Vec<Reason>,
    /// What it was built from.
    pub source: SourceImage,
    /// The desired state, which it fulfils.
    pub fingerprint: Fingerprint,
    /// The image.
    pub image: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// Whether it can be used; none is built on before it can.
    pub ready: bool,
    /// How many tries at this fingerprint have failed.
    pub attempt: u32,
}

/// An image that somebody has disabled at EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The image.
    pub image: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// Whether it is the recorded one; otherwise it is of an earlier build, and git wants it again.
    pub is_current: bool,
}

/// A name that a build cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTaken {
    /// The name.
    pub ami_name: AmiName,
    /// The image that has it.
    pub image: AmiId,
    /// Why that image is not taken over.
    pub why: Hindrance,
}

/// What a build starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildSource {
    /// Known: the build can start.
    Known {
        /// The image.
        source: SourceImage,
        /// The desired state.
        fingerprint: Fingerprint,
        /// The name that the new image gets.
        ami_name: AmiName,
        /// How many tries at this fingerprint have failed.
        attempt: u32,
    },
    /// Known after this step is built.
    AfterBuild(StepId),
}

/// What is to be brought up to date without a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Tags to put on and take off.
    pub tags: Option<TagChange>,
    /// All tags that the record will name as ours.
    pub all_tags: BTreeMap<String, String>,
    /// The record's metadata differs.
    pub metadata: bool,
}

/// A running build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Building {
    /// Which.
    pub build_id: BuildId,
    /// What it builds.
    pub fingerprint: Fingerprint,
    /// Since when.
    pub since: Timestamp,
    /// Whether git says something else by now.
    pub superseded: bool,
}

/// An ancestor that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The step's parent, which has to be settled first.
    pub on: StepId,
    /// What is in the way, however many steps lie between.
    pub root: Obstacle,
}

/// A step that keeps those after it from being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The step.
    pub step: StepId,
    /// Its state, by the name that every output gives it.
    pub state: &'static str,
    /// The same as a fragment of a sentence: `is quarantined`.
    pub why: &'static str,
    /// Whether it is a person's turn, and nothing has gone wrong.
    pub waits_for_a_person: bool,
}

/// One reason to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// No image was ever recorded.
    NeverBuilt,
    /// There is no inventory yet that could say.
    NoInventory,
    /// EC2 no longer has the recorded image.
    ImageGone {
        /// Its id.
        ami_id: AmiId,
    },
    /// The recorded image cannot be used.
    ImageUnusable {
        /// Its id.
        ami_id: AmiId,
        /// What EC2 says of it.
        state: String,
    },
    /// The image that it starts from is another.
    SourceImageChanged {
        /// Recorded.
        from: AmiId,
        /// Now.
        to: AmiId,
    },
    /// The image that it starts from will be another.
    SourceImageWillChange {
        /// The step that is built first.
        parent: StepId,
    },
    /// The workflow, the step's id, the region or the name is another.
    IdentityChanged,
    /// A parameter of the step.
    ParamChanged {
        /// Its key.
        name: String,
        /// How.
        change: Change,
    },
    /// A rendered file.
    TemplateChanged {
        /// The rendered file's name.
        name: String,
        /// How.
        change: Change,
    },
    /// Another file of the step, or one that it includes.
    FileChanged {
        /// From the step folder; with a leading slash from the repository's root.
        path: String,
        /// How.
        change: Change,
    },
    /// A secret that the rendered files ask for.
    SecretChanged {
        /// Its name.
        name: String,
        /// How.
        change: Change,
    },
    /// A person asked for it.
    Forced,
    /// It failed, and a person asked for another try.
    RetryRequested {
        /// Who.
        by: String,
    },
    /// The fingerprint differs and the record does not say in what.
    InputsChanged,
}

/// How an input differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content or mode is another.
    Changed,
}
