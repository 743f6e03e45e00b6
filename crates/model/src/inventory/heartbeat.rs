//! Signs of life of a running build, which its supervisor writes and any host reads.
//!
//! A beat is the supervisor's own: it stands outside of the journal and needs no lease. It tells
//! other hosts that the build runs, what its log names so far (the log itself is on the host that
//! may be lost) and, at the end, how it went.
//!
//! Whether a build's host is gone is judged by the observer: it is, if `version` stood still for
//! `silence_seconds` by the observer's own clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::build::BuildOutcome;
use crate::build_resources::ClaimedResources;
use crate::ids::{AmiId, AmiName, BuildId, Region, StepId, WorkflowId};
use crate::inventory::journal::Reach;

/// The newest sign of life of one build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The step.
    pub step_id: StepId,
    /// The build.
    pub build_id: BuildId,
    /// The host that runs it.
    pub host: String,
    /// Another one at every beat.
    pub version: String,
    /// How long it may stand still while its host lives.
    pub silence_seconds: u64,
    /// When it was given, by its host's clock; for display only.
    pub at: Timestamp,
    /// What it tells.
    pub sign: BuildSignal,
}

impl Heartbeat {
    /// Whether it may take the place of what stands, to give its build up: that is of the version
    /// that was seen, or this one was written already.
    #[must_use]
    pub fn may_replace(&self, stands: Option<&Self>, seen: Option<&str>) -> bool {
        stands.map(|stands| stands.version.as_str()) == seen || stands == Some(self)
    }
}

/// What a beat tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildSignal {
    /// Packer runs.
    Running {
        /// What its log names so far.
        traces: ClaimedResources,
        /// The images that it says it starts from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sources: Vec<AmiId>,
    },
    /// Packer has ended.
    Over {
        /// How.
        outcome: Box<BuildOutcome>,
    },
    /// Written by a reconciler, not by the supervisor: the build was given up because its host was
    /// silent. Should the host come back, its supervisor is told; and what it may have made
    /// meanwhile is looked for once more after `until`.
    GivenUp {
        /// The name that its image has, if it made one.
        ami_name: AmiName,
        /// What its log named.
        traces: ClaimedResources,
        /// The images that its log said it started from, if the planned one is not among them: its
        /// image is nobody's then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unplanned_sources: Vec<AmiId>,
        /// Whether a person had asked for it to end. Its Packer may have been told so, and takes
        /// its image away as soon as its host comes back: that image is nobody's either.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cancelled: bool,
        /// When even a supervisor that nobody can reach has ended its build.
        until: Timestamp,
        /// Where the build is.
        region: Region,
        /// How AWS is reached for it.
        reach: Reach,
    },
}

impl BuildSignal {
    /// What the build's log names as made at AWS.
    #[must_use]
    pub fn traces(&self) -> &ClaimedResources {
        match self {
            Self::Running { traces, .. } | Self::GivenUp { traces, .. } => traces,
            Self::Over { outcome } => &outcome.traces,
        }
    }

    /// The images that the build's log says it started from; none: it says nothing of that. Of one
    /// that was given up, only those that were not planned.
    #[must_use]
    pub fn sources(&self) -> &[AmiId] {
        match self {
            Self::Running { sources, .. } => sources,
            Self::GivenUp { unplanned_sources, .. } => unplanned_sources,
            Self::Over { outcome } => &outcome.sources,
        }
    }

    /// Whether the build was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        matches!(self, Self::GivenUp { .. })
    }
}

/// What a supervisor hears for its beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is asked of it.
    GoOn,
    /// A person wants the build to end.
    Cancel,
    /// The build was given up: nobody will record what it makes.
    GivenUp,
}

/// Another version for the next beat.
#[must_use]
pub fn new_version() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_stability::stays_readable;

    /// See `format_stability`.
    #[test]
    fn a_sign_of_life_is_read() {
        let traces = r#"{
            "instances": ["i-1"], "key_pairs": ["packer_1"], "security_groups": ["packer_2"], "images": ["ami-1"], "snapshots": ["snap-1"]
        }"#;
        let running = format!(r#"{{ "running": {{ "traces": {traces} }} }}"#);
        let over = format!(
            r#"{{ "over": {{ "outcome": {{
                "stage": "build", "exit": {{ "code": 0 }}, "artifacts": [["us-east-1", "ami-1"]], "failures": ["x"], "errors": ["y"],
                "traces": {traces}, "sources": ["ami-0"], "others": [["us-east-1", "vol-1"]], "finished": true,
                "last_words": ["z"], "lost": "a plugin", "duration": {{ "secs": 60, "nanos": 5 }},
                "log": "/s/builds/1/packer.log"
            }} }} }}"#
        );
        let with_phases = over.replace(
            r#""duration""#,
            r#""phases": [{ "phase": "image", "seconds": 9 }], "duration""#,
        );
        let running_from =
            format!(r#"{{ "running": {{ "traces": {traces}, "sources": ["ami-0"] }} }}"#);
        let given_up = format!(
            r#"{{ "given_up": {{
                "ami_name": "base/wf/a/01234567", "traces": {traces}, "unplanned_sources": ["ami-9"], "cancelled": true, "until": "2026-11-25T02:00:00Z",
                "region": "us-east-1",
                "reach": {{ "profile": "ci", "region": null, "own_keys": false, "hides": false }}
            }} }}"#
        );
        let beat = |sign: &str| {
            format!(
                r#"{{
                    "workflow_id": "wf", "step_id": "a", "build_id": "1", "host": "one", "version": "v", "silence_seconds": 120,
                    "at": "2026-11-25T00:00:00Z", "sign": {sign}
                }}"#
            )
        };
        for sign in [running, running_from, over, with_phases, given_up] {
            stays_readable::<Heartbeat>(&[], &beat(&sign));
        }
    }
}
