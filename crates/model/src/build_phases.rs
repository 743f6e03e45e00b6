//! Where the time of a build goes: the parts of one run of Packer, each with how long it took. What
//! a template's provisioners are is noted before the build, so that its log can be told apart by
//! them afterwards. How logs become phases is decided by `reconciler_core::build::phases`.
//!
//! Phases are kept in the journal, so there are few of them, their names are short, and every field
//! that says nothing is left out.

use serde::{Deserialize, Serialize};

/// How many phases are kept of a build.
pub const MOST_PHASES: usize = 48;

/// So long is the name of a phase at most, in characters.
pub const LONGEST_NAME: usize = 80;

/// What happens in a phase, in the order in which a build comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseKind {
    /// From Packer's first word to an instance that runs.
    Instance,
    /// Until the instance can be reached.
    Connection,
    /// A provisioner, or one script of it.
    Provisioner,
    /// The instance is stopped, and the image is made.
    Image,
    /// The image is copied to other regions, or encrypted.
    Copy,
    /// What the build needed is removed.
    CleanUp,
    /// A post-processor.
    PostProcessor,
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseEnd {
    /// Another came after it, or the build was done.
    #[default]
    Passed,
    /// The build failed in it, or was ended while it lasted.
    Failed,
}

impl PhaseEnd {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_passed(&self) -> bool {
        *self == Self::Passed
    }
}

/// One phase of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPhase {
    /// What happened in it.
    pub phase: PhaseKind,
    /// Whose it is, where a template builds several sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The place of its provisioner or post-processor in the template, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// What tells it from others of its kind: a script's name, a type, a way to connect.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How long it took, all tries taken together.
    pub seconds: u64,
    /// How often it was begun.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub tries: u32,
    /// How it ended.
    #[serde(default, skip_serializing_if = "PhaseEnd::is_passed")]
    pub end: PhaseEnd,
    /// How long it took in the last good build of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seconds: Option<u64>,
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_once(tries: &u32) -> bool {
    *tries == 1
}

/// A provisioner of a template, as far as it can be told without Packer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedProvisioner {
    /// Its place in its `build` block, from 1.
    pub place: u32,
    /// Its type: `shell`, `file`.
    pub kind: String,
    /// What it runs, in order: a name for each, which tells nothing secret.
    pub runs: Vec<PlannedRun>,
    /// The sources (`amazon-ebs.x`) that it is run for; none: only Packer can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
}

/// One thing that a provisioner runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedRun {
    /// Commands that stand in the template.
    Inline,
    /// A script, by the last part of its path.
    Script(String),
    /// Scripts whose names, and how many they are, only Packer can tell.
    Scripts,
    /// Nothing that has a name.
    Itself,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_stability::stays_readable;

    /// See `format_stability`.
    #[test]
    fn phases_stay_readable() {
        for phase in ["instance", "copy", "clean-up", "image"] {
            let text = format!(r#"{{ "phase": "{phase}", "seconds": 41 }}"#);
            stays_readable::<BuildPhase>(&[], &text);
        }
        for phase in [
            r#"{ "phase": "connection", "name": "SSH", "seconds": 12, "last_seconds": 13 }"#,
            r#"{ "phase": "provisioner", "source": "amazon-ebs.x", "place": 2, "name": "setup.sh", "seconds": 842, "tries": 3, "end": "failed" }"#,
            r#"{ "phase": "post-processor", "place": 1, "name": "manifest", "seconds": 0 }"#,
        ] {
            stays_readable::<BuildPhase>(&[], phase);
        }
        stays_readable::<PlannedProvisioner>(
            &[],
            r#"{ "place": 1, "kind": "shell", "runs": ["inline", { "script": "setup.sh" }, "scripts", "itself"], "sources": ["amazon-ebs.x"] }"#,
        );
    }
}
