//! The build journal: what happened to each try at a build, in order, never changed afterwards.
//!
//! An intent is written before money is spent; each stage is written after it happened. Folding the
//! events of a build gives its [`Attempt`], which is what a plan looks at. Pure: times are
//! arguments.

use std::collections::BTreeMap;
use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::afterwards::PostImageSteps;
use crate::build_phases::BuildPhase;
use crate::components::{Components, Fingerprint};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::ids::{AmiId, AmiName, BuildId, HostMark, Region, Revision, StepId, WorkflowId};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildEvent {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The step.
    pub step_id: StepId,
    /// The build.
    pub build_id: BuildId,
    /// Its place in the build, from 0 (the intent).
    pub seq: u32,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub stage: Stage,
}

impl BuildEvent {
    /// Which it is, in words.
    #[must_use]
    pub fn name(&self) -> String {
        format!("event {} of build {}", self.seq, self.build_id)
    }
}

/// What was decided before a build started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The desired state that is to be built.
    pub fingerprint: Fingerprint,
    /// The name that the image will have; unique, for it contains the fingerprint.
    pub ami_name: AmiName,
    /// The commit.
    pub revision: Revision,
    /// The image that it starts from.
    pub source_ami: AmiId,
    /// Where.
    pub region: Region,
    /// The host that runs Packer, for people.
    pub host: String,
    /// Where that is: only a process of the same mark can tell that the build never started. None
    /// where it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared_by: Option<HostMark>,
    /// When the build is ended by force.
    pub deadline: Timestamp,
    /// The fencing token of the reconciler that decided it.
    pub fence: u64,
    /// How many tries at this fingerprint came before it.
    pub attempt: u32,
    /// What the record will say. With it a build can be carried to its record whatever has become
    /// of the commit; dropped once the build is over.
    pub promise: Option<Box<RecordDraft>>,
    /// How AWS is reached for it.
    pub reach: Reach,
    /// What the template asks Packer to do once the image exists: without it an image is not what
    /// git says.
    #[serde(default, skip_serializing_if = "PostImageSteps::is_empty")]
    pub afterwards: PostImageSteps,
    /// Who makes the image.
    #[serde(default, skip_serializing_if = "Maker::is_packer")]
    pub maker: Maker,
}

/// Who makes, or made, an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    /// Packer, under a supervisor.
    #[default]
    Packer,
    /// EC2, out of an instance that a person has prepared and stopped. The person's process asks
    /// for the image, and nobody else.
    Instance {
        /// The instance.
        id: String,
        /// What EC2 said of why and when it was stopped (`StateTransitionReason`): another text
        /// means that it was started since.
        stopped: String,
        /// Who asked.
        by: String,
    },
    /// Somebody else, before: a person has said that the image is what git says.
    Adopted {
        /// Who said so.
        by: String,
    },
}

impl Maker {
    /// Whether it is Packer.
    #[must_use]
    pub fn is_packer(&self) -> bool {
        *self == Self::Packer
    }
}

/// How AWS was reached when a build was decided, without any secret: enough to settle it though git
/// says nothing of its workflow any more, or the commit is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reach {
    /// The profile that the workflow names.
    pub profile: Option<String>,
    /// The region that it names.
    pub region: Option<String>,
    /// Whether it was reached with keys that stand in the commit: without that nobody has them.
    pub own_keys: bool,
    /// Whether some parameters of the workflow are secret: without the commit nobody knows what to
    /// take out of what EC2 says.
    pub hides: bool,
}

/// All that a record will need and that is known before the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDraft {
    /// The name of the image that it starts from.
    pub source_ami_name: AmiName,
    /// Where the workflow starts.
    pub root_base_ami_id: AmiId,
    /// That image's name.
    pub root_base_ami_name: AmiName,
    /// The digests under the fingerprint.
    pub components: Components,
    /// The workflow's own tags for every image.
    pub aws_tags: BTreeMap<String, String>,
    /// JSON text of the step's metadata.
    pub metadata: String,
    /// Its digest.
    pub metadata_digest: Digest,
}

/// One stage of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Written before Packer starts.
    Intent(Intent),
    /// Packer runs.
    Started {
        /// Process id of the supervisor.
        pid: u32,
    },
    /// EC2 shows an image of the build's name.
    ImageSeen {
        /// Its id.
        ami_id: AmiId,
    },
    /// The image can be used.
    Available,
    /// Its tags are on it.
    Tagged,
    /// The record names it. The build has succeeded.
    Recorded {
        /// Its id.
        ami_id: AmiId,
        /// How long Packer took.
        build_seconds: u64,
        /// Where its time went; empty if no Packer ran, or nobody could tell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        phases: Vec<BuildPhase>,
    },
    /// The build has failed.
    Failed(Failure),
    /// An image that was there became the current one of its step, by a person's word: the whole
    /// story of it, for nothing was built.
    Adopted {
        /// What git says of it.
        intent: Intent,
        /// The image.
        ami_id: AmiId,
    },
    /// The record of a step that git has no more was removed, by a person's word; its image stays.
    /// The whole story: it begins no attempt.
    Forgotten(Forgotten),
    /// An image was taken away by a person, under a reservation; where its workflow went as a whole,
    /// its record went as well. It begins no attempt: its build id is that of the request.
    Deleted(Deleted),
    /// What it left at AWS is gone.
    Cleaned {
        /// Ids of what was removed.
        removed: Vec<String>,
    },
    /// A person asked to try the step again whatever failed before.
    RetryRequested {
        /// Who asked.
        by: String,
    },
    /// A person asked for the running build to end.
    CancelRequested {
        /// Who asked.
        by: String,
    },
}

impl Stage {
    /// What was decided, of a stage with which a story begins.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        match self {
            Self::Intent(intent) | Self::Adopted { intent, .. } => Some(intent),
            _ => None,
        }
    }

    /// The image that is, or was, the current one of its step by this word.
    #[must_use]
    pub fn recorded_image(&self) -> Option<&AmiId> {
        match self {
            Self::Recorded { ami_id, .. } | Self::Adopted { ami_id, .. } => Some(ami_id),
            // Seeded bug: a-forgotten-image-is-nobodys
            Self::Forgotten(forgotten) => Some(&forgotten.ami_id),
            _ => None,
        }
    }

    /// The image that EC2 showed of the build, or that the record names by it.
    #[must_use]
    pub fn shown_image(&self) -> Option<&AmiId> {
        match self {
            Self::ImageSeen { ami_id } => Some(ami_id),
            stage => stage.recorded_image(),
        }
    }

    /// The fencing token under which a story began; none of a stage in the middle of one.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        match self {
            Self::Forgotten(forgotten) => Some(forgotten.fence),
            Self::Deleted(deleted) => Some(deleted.fence),
            stage => stage.intent().map(|intent| intent.fence),
        }
    }

    /// Whether a person asked for something, at any time and without a lease. All other stages are
    /// written by the holder of the lease, one after the other.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self, Self::RetryRequested { .. } | Self::CancelRequested { .. })
    }
}

/// What a record said that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The image, which stays at EC2.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// The image that it was built on.
    pub source_ami: AmiId,
    /// The desired state that it fulfilled; none on a record of the Python library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The build that made it; none on a record of the Python library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// The commit that it was built from; none on a record of the Python library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Where it is.
    pub region: Region,
    /// Who asked.
    pub by: String,
    /// The fencing token under which the record was removed.
    pub fence: u64,
}

/// An image that a person has taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The image.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// Where it was.
    pub region: Region,
    /// The snapshots that went with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<String>,
    /// Who has taken it away.
    pub by: String,
    /// The fencing token under which this was written.
    pub fence: u64,
}

/// What a person asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who.
    pub by: String,
    /// When, by the clock of the host where it was asked.
    pub at: Timestamp,
}

/// The builds of one workflow's or one step's events, each with its own, newest first as the
/// journal has them: by the fencing token under which each was decided, for two hosts' clocks
/// differ and ids follow their host's clock; under one token one process made the ids. `events`
/// come as the port gives them. A build whose intent is not among them was cut off, and comes last.
#[must_use]
pub fn newest_first(events: &[BuildEvent]) -> Vec<&[BuildEvent]> {
    let mut builds: Vec<_> = events.chunk_by(|one, other| one.build_id == other.build_id).collect();
    builds.sort_by_cached_key(|build| {
        let fence = build.last().and_then(|event| event.stage.fence());
        std::cmp::Reverse((fence, build[0].build_id.clone()))
    });
    builds
}

/// Why a build failed and what that means for the next try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its consequence.
    pub class: FailureClass,
    /// One line a person can act on.
    pub cause: String,
    /// More of it, for whoever looks closer; empty if the line says all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// The kept log, if one was written.
    pub log: Option<String>,
    /// Where its time went, beside that of the last good build of the step; empty if no Packer ran,
    /// or nobody could tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<BuildPhase>,
    /// Which inputs are others than those of the last good build of the step, in short: `nothing`
    /// if none is; empty where there was none, or nobody could tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub changed: String,
    /// When the next try may start; none: not by itself.
    pub retry_at: Option<Timestamp>,
}

/// Failures by consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// AWS or the network; retried with backoff.
    Transient,
    /// The step's own: the same inputs will fail again.
    Step,
    /// Somebody has to do something (permission, quota, missing image); tried again slowly.
    Person,
    /// Ended on request.
    Cancelled,
}

impl FailureClass {
    /// Its name, as the journal and every output write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Step => "step",
            Self::Person => "person",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The events of one build, folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The step.
    pub step_id: StepId,
    /// The build.
    pub build_id: BuildId,
    /// What was decided.
    pub intent: Intent,
    /// When it was decided.
    pub started_at: Timestamp,
    /// The place of the newest event.
    pub seq: u32,
    /// When the newest event happened.
    pub updated_at: Timestamp,
    /// The newest stage other than the intent, `Cleaned` and what a person asked for.
    pub progress: Progress,
    /// The image, once EC2 showed it.
    pub ami_id: Option<AmiId>,
    /// Whether what it left at AWS is known to be gone.
    pub cleaned: bool,
    /// Somebody wants it to end.
    pub cancel_requested: Option<Asked>,
    /// Somebody wants the step to be tried again.
    pub retry_requested: Option<Asked>,
}

/// An attempt that is not over, with what its record will say.
#[derive(Debug)]
pub struct OpenAttempt {
    attempt: Attempt,
    draft: Box<RecordDraft>,
}

/// Whether an attempt is over.
#[derive(Debug)]
pub enum Phase {
    /// It is not: it is to be carried to a record or a failure.
    Open(OpenAttempt),
    /// It is: what it left is to go.
    Over(Attempt),
}

impl OpenAttempt {
    /// What its record will say.
    #[must_use]
    pub fn draft(&self) -> &RecordDraft {
        &self.draft
    }

    /// The attempt, to take in what does not end it.
    pub fn attempt_mut(&mut self) -> &mut Attempt {
        &mut self.attempt
    }

    /// The attempt, about to end.
    #[must_use]
    pub fn into_attempt(self) -> Attempt {
        self.attempt
    }
}

impl Deref for OpenAttempt {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.attempt
    }
}

/// How far a build has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Decided, not known to have started.
    Intended,
    /// Packer runs.
    Started {
        /// Process id of the supervisor.
        pid: u32,
    },
    /// An image exists.
    ImageSeen,
    /// It can be used.
    Available,
    /// Its tags are on it.
    Tagged,
    /// Done.
    Recorded {
        /// How long Packer took.
        build_seconds: u64,
    },
    /// Failed.
    Failed(Failure),
}

impl Attempt {
    /// Begins with an intent, or is told whole by an adoption; `None` if the event is neither.
    #[must_use]
    pub fn begin(event: &BuildEvent) -> Option<Self> {
        let intent = event.stage.intent()?;
        let mut attempt = Self {
            step_id: event.step_id.clone(),
            build_id: event.build_id.clone(),
            intent: intent.clone(),
            started_at: event.at,
            seq: event.seq,
            updated_at: event.at,
            progress: Progress::Intended,
            ami_id: None,
            cleaned: false,
            cancel_requested: None,
            retry_requested: None,
        };
        if let Stage::Adopted { ami_id, .. } = &event.stage {
            attempt.ami_id = Some(ami_id.clone());
            attempt.progress = Progress::Recorded { build_seconds: 0 };
            // Nobody built it, so nothing was left.
            attempt.cleaned = true;
        }
        Some(attempt)
    }

    /// Whether it is over, with what is known only of one that is not.
    pub fn phase(mut self) -> Result<Phase, Diagnostic> {
        if self.is_over() {
            return Ok(Phase::Over(self));
        }
        match self.intent.promise.take() {
            Some(draft) => Ok(Phase::Open(OpenAttempt { attempt: self, draft })),
            None => Err(Diagnostic::new(format!(
                "the journal does not tell what the record of build {} is to say",
                self.build_id
            ))),
        }
    }

    /// Whether the journal's newest word is that Packer runs. Once an image was seen it does not:
    /// that is written of a build that has ended, or of an image that was there before and is taken
    /// over without one.
    #[must_use]
    pub fn is_said_to_run(&self) -> bool {
        matches!(self.progress, Progress::Started { .. })
    }

    /// Takes in the next event of the same build.
    pub fn apply(&mut self, event: &BuildEvent) {
        self.seq = event.seq;
        self.updated_at = event.at;
        match &event.stage {
            // The last two are of no build.
            Stage::Intent(_) | Stage::Adopted { .. } | Stage::Forgotten(_) | Stage::Deleted(_) => {}
            Stage::Started { pid } => self.progress = Progress::Started { pid: *pid },
            Stage::ImageSeen { ami_id } => {
                self.ami_id = Some(ami_id.clone());
                self.progress = Progress::ImageSeen;
            }
            Stage::Available => self.progress = Progress::Available,
            Stage::Tagged => self.progress = Progress::Tagged,
            // Of all that are recorded, phases would be read at each pass: the journal has them.
            Stage::Recorded { ami_id, build_seconds, phases: _ } => {
                self.ami_id = Some(ami_id.clone());
                self.intent.promise = None;
                self.progress = Progress::Recorded { build_seconds: *build_seconds };
            }
            Stage::Failed(failure) => {
                self.progress = Progress::Failed(failure.clone());
                self.intent.promise = None;
            }
            Stage::Cleaned { .. } => self.cleaned = true,
            Stage::RetryRequested { by } => {
                self.retry_requested = Some(Asked { by: by.clone(), at: event.at });
            }
            Stage::CancelRequested { by } => {
                self.cancel_requested = Some(Asked { by: by.clone(), at: event.at });
            }
        }
    }

    /// The newest attempt at a step after `event`; none if the event does not change which that is,
    /// or what it says. An intent always takes the place of an older build: ids of two hosts need
    /// not sort as they were written.
    #[must_use]
    pub fn after(current: Option<&Self>, event: &BuildEvent) -> Option<Self> {
        match current {
            Some(attempt) if attempt.build_id == event.build_id => {
                if event.seq <= attempt.seq {
                    return None;
                }
                let mut attempt = attempt.clone();
                attempt.apply(event);
                Some(attempt)
            }
            _ => Self::begin(event),
        }
    }

    /// Whether it ended in a record.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        matches!(self.progress, Progress::Recorded { .. })
    }

    /// Whether it ended in a record, and what it left is gone: all is well.
    #[must_use]
    pub fn is_recorded_and_clean(&self) -> bool {
        self.is_recorded() && self.cleaned
    }

    /// Whether nothing more will happen to it by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Recorded { .. } | Progress::Failed(_))
    }

    /// Whether it is over and what it left is gone.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_over() && self.cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_stability::stays_readable;

    const INTENT: &str = r#"{
        "fingerprint": "DIGEST", "ami_name": "base/wf/a/01234567", "revision": "4f2c1e9", "source_ami": "ami-0", "region": "us-east-1",
        "host": "one", "prepared_by": "0123456789abcdef", "deadline": "2026-11-25T02:00:00Z", "fence": 7, "attempt": 1,
        "reach": { "profile": "ci", "region": null, "own_keys": false, "hides": true },
        "promise": {
            "source_ami_name": "base", "root_base_ami_id": "ami-0", "root_base_ami_name": "base",
            "components": {
                "identity": "DIGEST", "params": { "size": "DIGEST" }, "templates": { "a.pkr.hcl": "DIGEST" },
                "files": { "wf/a/install.sh": "DIGEST" }, "source_ami": "ami-0", "secrets": { "db": "DIGEST" }
            },
            "aws_tags": { "env": "test" }, "metadata": "{}", "metadata_digest": "DIGEST"
        }
    }"#;

    fn whole(text: &str) -> String {
        text.replace("DIGEST", &"0123456789abcdef".repeat(4))
    }

    /// See `format_stability`.
    #[test]
    fn a_journal_is_read() {
        let event = |stage: &str| {
            whole(&format!(
                r#"{{ "workflow_id": "wf", "step_id": "a", "build_id": "1", "seq": 3, "at": "2026-11-25T00:00:00.123456789Z", "stage": {stage} }}"#
            ))
        };
        stays_readable::<BuildEvent>(&[], &event(&format!(r#"{{ "intent": {INTENT} }}"#)));
        for maker in [
            r#"{ "instance": { "id": "i-1", "stopped": "User initiated", "by": "ada@desk" } }"#,
            r#"{ "adopted": { "by": "ada@desk" } }"#,
        ] {
            let intent = INTENT.trim_end().trim_end_matches('}');
            let intent = format!(r#"{intent}, "maker": {maker} }}"#);
            stays_readable::<BuildEvent>(&[], &event(&format!(r#"{{ "intent": {intent} }}"#)));
            stays_readable::<BuildEvent>(
                &[],
                &event(&format!(r#"{{ "adopted": {{ "intent": {intent}, "ami_id": "ami-1" }} }}"#)),
            );
        }
        for more in ["", r#""fingerprint": "DIGEST", "build_id": "1", "revision": "4f2c1e9", "#] {
            let forgotten = r#""ami_id": "ami-1", "ami_name": "a/1", "source_ami": "ami-0""#;
            stays_readable::<BuildEvent>(
                &[],
                &event(&format!(
                    r#"{{ "forgotten": {{ {forgotten}, {more}"region": "us-east-1", "by": "ada@desk", "fence": 7 }} }}"#
                )),
            );
        }
        for stage in [
            r#"{ "started": { "pid": 4242 } }"#,
            r#"{ "image_seen": { "ami_id": "ami-1" } }"#,
            r#""available""#,
            r#""tagged""#,
            r#"{ "recorded": { "ami_id": "ami-1", "build_seconds": 60 } }"#,
            r#"{ "recorded": { "ami_id": "ami-1", "build_seconds": 60, "phases": [{ "phase": "instance", "seconds": 41 }] } }"#,
            r#"{ "failed": { "class": "step", "cause": "x", "log": null, "phases": [{ "phase": "provisioner", "place": 1, "name": "a.sh", "seconds": 2, "end": "failed", "last_seconds": 1 }], "changed": "file changed: a.sh", "retry_at": null } }"#,
            r#"{ "failed": { "class": "transient", "cause": "x", "log": "/s/packer.log", "retry_at": "2026-11-25T00:00:30Z" } }"#,
            r#"{ "failed": { "class": "step", "cause": "x", "log": null, "retry_at": null } }"#,
            r#"{ "failed": { "class": "person", "cause": "x", "log": null, "retry_at": null } }"#,
            r#"{ "failed": { "class": "cancelled", "cause": "x", "log": null, "retry_at": null } }"#,
            r#"{ "failed": { "class": "step", "cause": "x", "details": "y\nz", "log": null, "retry_at": null } }"#,
            r#"{ "cleaned": { "removed": ["i-1"] } }"#,
            r#"{ "deleted": { "ami_id": "ami-1", "ami_name": "n", "region": "us-east-1", "snapshots": ["snap-1"], "by": "ada@one", "fence": 7 } }"#,
            r#"{ "deleted": { "ami_id": "ami-1", "ami_name": "n", "region": "us-east-1", "by": "ada@one", "fence": 7 } }"#,
            r#"{ "retry_requested": { "by": "ada@one" } }"#,
            r#"{ "cancel_requested": { "by": "ada@one" } }"#,
        ] {
            stays_readable::<BuildEvent>(&[], &event(stage));
        }
    }

    /// See `format_stability`.
    #[test]
    fn an_attempt_is_carried_on() {
        let attempt = |intent: &str, progress: &str, more: &str| {
            whole(&format!(
                r#"{{
                    "step_id": "a", "build_id": "1", "intent": {intent}, "started_at": "2026-11-25T00:00:00Z", "seq": 2,
                    "updated_at": "2026-11-25T00:01:00Z", "progress": {progress}, "ami_id": null, "cleaned": false{more}
                }}"#
            ))
        };
        let asked = r#", "cancel_requested": { "by": "ada@one", "at": "2026-11-25T00:02:00Z" }, "retry_requested": null"#;
        for progress in [
            r#""intended""#,
            r#"{ "started": { "pid": 4242 } }"#,
            r#""image_seen""#,
            r#""available""#,
            r#""tagged""#,
            r#"{ "recorded": { "build_seconds": 60 } }"#,
            r#"{ "failed": { "class": "step", "cause": "x", "log": null, "retry_at": null } }"#,
        ] {
            stays_readable::<Attempt>(&[], &attempt(INTENT, progress, asked));
        }
    }

    /// So what builds left is never taken for garbage where it is an image of such a record.
    #[test]
    fn the_image_of_a_record_that_was_removed_is_still_known_as_recorded_and_no_attempt_changes() {
        let forgotten = Forgotten {
            ami_id: AmiId::new("ami-1"),
            ami_name: AmiName::new("n"),
            source_ami: AmiId::new("ami-0"),
            fingerprint: None,
            build_id: None,
            revision: None,
            region: Region::new("us-east-1"),
            by: "ada@desk".to_owned(),
            fence: 7,
        };
        let event = BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new("1"),
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            stage: Stage::Forgotten(forgotten),
        };
        assert_eq!(event.stage.recorded_image(), Some(&AmiId::new("ami-1")));
        assert_eq!(event.stage.fence(), Some(7));
        assert_eq!(Attempt::after(None, &event), None);
    }

    #[test]
    fn only_an_attempt_that_is_not_over_is_open_and_it_tells_what_its_record_will_say() {
        let intent: Intent = serde_json::from_str(&whole(INTENT)).unwrap();
        let event = |seq, stage| BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new("1"),
            seq,
            at: Timestamp::UNIX_EPOCH,
            stage,
        };
        let attempt = Attempt::begin(&event(0, Stage::Intent(intent.clone()))).unwrap();
        let after = |stages: &[Stage]| {
            let mut attempt = attempt.clone();
            for (seq, stage) in (1..).zip(stages) {
                attempt.apply(&event(seq, stage.clone()));
            }
            attempt.phase()
        };
        for stages in [&[][..], &[Stage::Started { pid: 1 }, Stage::Available]] {
            let Ok(Phase::Open(open)) = after(stages) else { panic!("{stages:?}") };
            assert_eq!(Some(open.draft()), intent.promise.as_deref());
        }
        let recorded =
            Stage::Recorded { ami_id: AmiId::new("ami-1"), build_seconds: 1, phases: vec![] };
        assert!(matches!(after(&[recorded]), Ok(Phase::Over(_))));
        let mut without = attempt.clone();
        without.intent.promise = None;
        assert!(without.phase().unwrap_err().to_string().contains("build 1"));
    }
}
