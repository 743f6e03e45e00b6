//! What people ask of whoever holds the lease of a workflow, and what became of it.
//!
//! A request stands in a table of its own, so that whoever may ask need not be allowed to write
//! leases and the journal. The holder of the lease acts on it and puts the answer in its place, in
//! the same write as what it changes: a request is carried out exactly when it is answered, and
//! once. Where nobody holds the lease, whoever asks takes it and does the same.
//!
//! A request changes the inventory only. What destroys something at AWS is done by the process of
//! the person who asks, with that person's credentials.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::ids::{AmiId, AmiName, BuildId, Region, RequestId, StepId, WorkflowId};

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// Which request.
    pub id: RequestId,
    /// Who asks, as the person's process says it: `ada@desk`. What AWS knows of who wrote the item
    /// is in AWS's own trail.
    pub by: String,
    /// When, by the clock of the host where it was asked.
    pub at: Timestamp,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What.
    pub wish: Wish,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// What has failed is to be tried again.
    Retry {
        /// The step.
        step: StepId,
    },
    /// A build is to end.
    Cancel {
        /// The step.
        step: StepId,
        /// The build that ran when it was asked.
        build: BuildId,
    },
    /// The image of a record that says nothing of what it was made of is what git says now.
    Adopt {
        /// The step.
        step: StepId,
        /// The image that the record named when it was asked.
        image: AmiId,
    },
    /// The image of a step is to be made out of an instance that a person has prepared: the journal
    /// is to allow it, and the person's process then asks EC2.
    MakeImage {
        /// The step.
        step: StepId,
        /// The instance.
        instance: String,
        /// What EC2 said of why and when it was stopped, when it was asked.
        stopped: String,
    },
    /// An image that the step has no record of is what git says now.
    AdoptImage(ImageToAdopt),
    /// The record of a step that git has no more is to go.
    Forget {
        /// The step.
        step: StepId,
        /// The image that the record named when it was asked.
        image: AmiId,
    },
    /// Nothing is to be begun with these images: the person's process is going to take them away.
    Reserve {
        /// The images.
        images: Vec<AmiId>,
        /// Whether the workflow goes as a whole, with its records.
        #[serde(default)]
        run: bool,
    },
    /// Reserved images were taken away: the journal is to tell it, and the reservation ends.
    Deleted {
        /// The request that asked for the reservation.
        reservation: RequestId,
        /// The images.
        images: Vec<DeletedImage>,
    },
    /// A reservation is to end; nothing more is taken away under it.
    Release {
        /// The request that asked for it.
        reservation: RequestId,
    },
}

/// An image that is to become the current one of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageToAdopt {
    /// The step.
    pub step: StepId,
    /// The image.
    pub image: AmiId,
    /// The image that the step's record named when it was asked; none: there was no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<AmiId>,
    /// The earlier run of the family whose record names the image; none: no record does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<WorkflowId>,
    /// The person has seen what speaks against it, and means it.
    #[serde(default)]
    pub sure: bool,
}

/// An image that was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletedImage {
    /// The step that it was made for.
    pub step: StepId,
    /// The image.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// Where it was.
    pub region: Region,
    /// The snapshots that went with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<String>,
}

impl Wish {
    /// The step that it is about; none where it is about images.
    #[must_use]
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::Retry { step }
            | Self::Cancel { step, .. }
            | Self::Adopt { step, .. }
            | Self::Forget { step, .. }
            | Self::MakeImage { step, .. } => Some(step),
            Self::AdoptImage(wanted) => Some(&wanted.step),
            Self::Reserve { .. } | Self::Deleted { .. } | Self::Release { .. } => None,
        }
    }

    /// The images that it is about, where it is not about a step.
    #[must_use]
    pub fn images(&self) -> Vec<&AmiId> {
        match self {
            Self::Reserve { images, .. } => images.iter().collect(),
            Self::Deleted { images, .. } => images.iter().map(|image| &image.ami_id).collect(),
            _ => Vec::new(),
        }
    }

    /// The command that asks for it.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Cancel { .. } => "cancel",
            Self::Adopt { .. } | Self::AdoptImage(_) => "adopt",
            Self::Forget { .. } => "forget",
            Self::MakeImage { .. } => "image create",
            Self::Reserve { .. } => "image delete",
            Self::Deleted { .. } => "image delete (done)",
            Self::Release { .. } => "image release",
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// When, by the clock of the host that answered.
    pub at: Timestamp,
    /// Who answered: the holder of the lease.
    pub by: String,
    /// What it came to.
    pub outcome: Outcome,
}

impl Answer {
    /// An answer as it is kept. One that cannot be read, for a newer version has given it, stands
    /// all the same: it is a refusal that says so, and nobody answers again.
    #[must_use]
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|wrong| Self {
            at: Timestamp::UNIX_EPOCH,
            by: String::new(),
            outcome: Outcome::Refused {
                why: format!("the answer cannot be read: {wrong}"),
                hint: Some("a newer version of this program has given it: use that one".to_owned()),
            },
        })
    }
}

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out.
    Done {
        /// The build that it concerns, or under whose id the journal tells of it.
        build: BuildId,
    },
    /// It was not, and nothing has changed.
    Refused {
        /// Why.
        why: String,
        /// What can be done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl Outcome {
    /// A refusal in the words of a diagnostic.
    #[must_use]
    pub fn refused(why: &Diagnostic) -> Self {
        Self::Refused { why: why.one_line(), hint: why.hint.clone() }
    }
}

/// A request as it stands in the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingRequest {
    /// Which.
    pub id: RequestId,
    /// What was asked, or why it cannot be read: a newer version may have asked for what this one
    /// does not know.
    pub request: Result<Request, String>,
    /// What became of it; none: nobody has answered yet.
    pub answer: Option<Answer>,
}

impl StandingRequest {
    /// A request as it is kept under this key. One that says to be another's is none: whoever may
    /// ask may write what they like, and its answer would be given to the other one.
    #[must_use]
    pub fn read(
        workflow: &WorkflowId,
        id: RequestId,
        text: Result<&str, String>,
        answer: Option<Answer>,
    ) -> Self {
        let read = |text| serde_json::from_str(text).map_err(|wrong| wrong.to_string());
        let request = text.and_then(read).and_then(|request: Request| {
            // Seeded bug: a-request-speaks-for-another
            if request.workflow_id == *workflow && request.id == id {
                Ok(request)
            } else {
                Err(format!("it says to be request {}", request.id))
            }
        });
        Self { id, request, answer }
    }
}

/// An answer, and the request that it is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerTo {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The request.
    pub id: RequestId,
    /// What became of it.
    pub answer: Answer,
}

impl AnswerTo {
    /// Which request it is to, in words.
    #[must_use]
    pub fn name(&self) -> String {
        format!("request {}", self.id)
    }
}

/// Counts what others have written for the holder of a lease beside the journal. Numbers that stand
/// still say that nothing new is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// How often something was asked.
    pub requests: u64,
    /// How many builds have given a first sign of life, where that is not counted by the journal.
    pub first_beats: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_stability::stays_readable;

    /// See `format_stability`.
    #[test]
    fn a_request_is_read() {
        for wish in [
            r#"{ "retry": { "step": "a" } }"#,
            r#"{ "cancel": { "step": "a", "build": "01900000-0000-7000-8000-000000000000" } }"#,
            r#"{ "adopt": { "step": "a", "image": "ami-1" } }"#,
            r#"{ "make_image": { "step": "a", "instance": "i-1", "stopped": "User initiated" } }"#,
            r#"{ "adopt_image": { "step": "a", "image": "ami-1", "sure": false } }"#,
            r#"{ "adopt_image": { "step": "a", "image": "ami-1", "replaces": "ami-0", "from": "wf-0", "sure": true } }"#,
            r#"{ "forget": { "step": "a", "image": "ami-1" } }"#,
            r#"{ "reserve": { "images": ["ami-1"], "run": false } }"#,
            r#"{ "reserve": { "images": ["ami-1", "ami-2"], "run": true } }"#,
            r#"{ "deleted": { "reservation": "01900000-0000-7000-8000-000000000001", "images": [
                { "step": "a", "ami_id": "ami-1", "ami_name": "n", "region": "us-east-1", "snapshots": ["snap-1"] },
                { "step": "a", "ami_id": "ami-2", "ami_name": "m", "region": "us-east-1" }
            ] } }"#,
            r#"{ "release": { "reservation": "01900000-0000-7000-8000-000000000001" } }"#,
        ] {
            for why in ["", r#", "why": "a hotfix""#] {
                stays_readable::<Request>(
                    &[],
                    &format!(
                        r#"{{ "workflow_id": "wf", "id": "01900000-0000-7000-8000-000000000001", "by": "ada@desk",
                        "at": "2026-11-25T00:00:00Z"{why}, "wish": {wish} }}"#
                    ),
                );
            }
        }
    }

    /// See `format_stability`.
    #[test]
    fn an_answer_is_read() {
        for outcome in [
            r#"{ "done": { "build": "01900000-0000-7000-8000-000000000000" } }"#,
            r#"{ "refused": { "why": "it runs" } }"#,
            r#"{ "refused": { "why": "it runs", "hint": "wait" } }"#,
        ] {
            stays_readable::<Answer>(
                &[],
                &format!(
                    r#"{{ "at": "2026-11-25T00:00:00Z", "by": "one/1/2", "outcome": {outcome} }}"#
                ),
            );
        }
    }

    #[test]
    fn a_request_that_says_to_be_another_is_none() {
        let (workflow, id) = (WorkflowId::new("wf"), RequestId::new("1"));
        let text = |of: &str, id: &str| {
            format!(
                r#"{{"workflow_id":"{of}","id":"{id}","by":"x","at":"2026-11-25T00:00:00Z","wish":{{"retry":{{"step":"a"}}}}}}"#
            )
        };
        let read = |text: &str| StandingRequest::read(&workflow, id.clone(), Ok(text), None);
        assert!(read(&text("wf", "1")).request.is_ok());
        for other in [text("wf", "2"), text("other", "1"), "{".to_owned()] {
            assert!(read(&other).request.is_err(), "{other}");
        }
    }

    #[test]
    fn what_an_older_version_does_not_know_is_not_taken_for_something_else() {
        let wish: Result<Wish, _> = serde_json::from_str(r#"{ "dance": { "step": "a" } }"#);
        assert!(wish.is_err());
        let more: Result<Wish, _> =
            serde_json::from_str(r#"{ "retry": { "step": "a", "only_if": "x" } }"#);
        assert!(more.is_err(), "a condition that is not understood is not passed over");
    }
}
