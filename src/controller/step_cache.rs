//! What was worked out of a workflow's step folders before: git has hashed every input already, so
//! an unchanged tree needs no reading, no parsing and no rendering.
//!
//! A row holds for the tree that it was made from; its fingerprint only on the same workflow
//! parameters, settings, included objects and source image. One file holds a workflow: a plan over
//! ten thousand unchanged steps reads it in one go. It can be deleted at any time; what cannot be
//! read or written, was damaged, or was written by another build of this program is worked out
//! anew.

mod format;
#[cfg(test)]
mod key;

use std::fs;
use std::path::{Path, PathBuf};

use reconciler_core::plan::planner::Outline;
use reconciler_model::components::Fingerprint;
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::ids::{AmiId, AmiName};
use reconciler_model::source::{Entry, ObjectId};

/// Part of every key: a program that works things out differently must not trust another's rows.
/// `build.rs` marks what differs.
const FORMAT: &str = concat!(
    "reconciler step cache 3, program ",
    env!("CARGO_PKG_VERSION"),
    " ",
    env!("RECONCILER_LOGIC")
);

/// What is known of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its sub-folders, in git's order.
    pub rows: Vec<Row>,
    /// The blob of the `reconciler.json` that they were read with.
    pub settings: Option<ObjectId>,
    /// Whether the steps among them are all, are sound, and stand in the order of their ranks.
    pub ordered: bool,
}

/// What is known of one sub-folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in the workflow's folder.
    pub name: String,
    /// The tree that this was made from.
    pub tree: ObjectId,
    /// The step; none if the folder is no step.
    pub step: Option<KeptStep>,
}

/// What is known of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStep {
    /// The step; its folder is filled in by the reader.
    pub outline: Outline,
    /// What `include` names.
    pub includes: Vec<String>,
    /// Whether its own file has switches, which is said each time.
    pub has_own_switches: bool,
    /// Its place among the workflow's steps, parents before children.
    pub rank: u32,
    /// The fingerprint, and on what it holds.
    pub known: Option<Known>,
}

/// A fingerprint and what it was made on, beside the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Workflow parameters, settings and included objects.
    pub inputs: Digest,
    /// The image that the step starts from.
    pub source_ami: AmiId,
    /// Its name, which a template may render.
    pub source_name: AmiName,
    /// The answer.
    pub fingerprint: Fingerprint,
}

/// The file of one workflow.
#[derive(Clone, Debug)]
pub struct StepCache {
    file: PathBuf,
    key: Digest,
}

impl StepCache {
    /// The cache of one workflow of one repository. Touches nothing.
    #[must_use]
    pub fn of(state_dir: &Path, place: &str, folder: &str) -> Self {
        Self::of_program(FORMAT, state_dir, place, folder)
    }

    fn of_program(program: &str, state_dir: &Path, place: &str, folder: &str) -> Self {
        let mut workflow = Encoder::new("step cache file");
        workflow.field(place.as_bytes()).field(folder.as_bytes());
        let workflow = workflow.finish();
        let mut key = Encoder::new(program);
        key.field(workflow.as_bytes());
        let name = &workflow.to_string()[..32];
        Self { file: state_dir.join("cache").join(name), key: key.finish() }
    }

    /// What is kept; nothing if that cannot be read.
    #[must_use]
    pub fn load(&self) -> Kept {
        fs::read(&self.file)
            .ok()
            .and_then(|bytes| format::decode(&bytes, &self.key))
            .unwrap_or_default()
    }

    /// Keeps this and forgets what was kept before.
    pub fn store(&self, kept: &Kept) {
        // A cache that cannot be written is slow, not wrong.
        let _ = format::encode(kept, &self.key).write(&self.file);
    }
}

/// The digest of everything beside the step's tree and its source image that its fingerprint
/// depends on.
#[must_use]
pub fn inputs_digest(workflow: &Digest, included: &[Entry]) -> Digest {
    if included.is_empty() {
        return *workflow;
    }
    let mut encoder = Encoder::new("step inputs");
    encoder.field(workflow.as_bytes());
    for entry in included {
        encoder.field(entry.name.as_bytes()).number(entry.kind as u64).field(&entry.id.0);
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::ids::StepId;

    fn row(name: &str, known: Option<Known>) -> Row {
        let outline = Outline {
            id: StepId::new(name),
            folder: String::new(),
            parent: Some(StepId::new("parent")),
            manual: true,
            suspend: false,
            metadata_digest: Digest::of(b"m"),
        };
        Row {
            name: name.into(),
            tree: ObjectId([7; 20]),
            step: Some(KeptStep {
                outline,
                includes: vec!["a/b".into(), "c".into()],
                has_own_switches: true,
                rank: 3,
                known,
            }),
        }
    }

    fn kept() -> Kept {
        let known = |inputs: &[u8]| Known {
            inputs: Digest::of(inputs),
            source_ami: AmiId::new("ami-1"),
            source_name: AmiName::new("base"),
            fingerprint: Digest::of(b"f").into(),
        };
        let no_step = Row { name: "ünrelated\n".into(), tree: ObjectId([8; 20]), step: None };
        Kept {
            rows: vec![
                row("a", Some(known(b"i"))),
                row("b", None),
                row("c", Some(known(b"j"))),
                no_step,
            ],
            settings: Some(ObjectId([9; 20])),
            ordered: true,
        }
    }

    #[test]
    fn rows_come_back_as_they_were_and_another_workflow_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        StepCache::of(folder.path(), "repo", "w").store(&kept());
        assert_eq!(StepCache::of(folder.path(), "repo", "w").load(), kept());
        for (place, workflow) in [("repo", "other"), ("rep", "ow")] {
            let other = StepCache::of(folder.path(), place, workflow);
            assert_eq!(other.load(), Kept::default());
        }
    }

    #[test]
    fn what_another_build_of_the_program_has_kept_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        StepCache::of_program("an older one", folder.path(), "repo", "w").store(&kept());
        let ours = StepCache::of(folder.path(), "repo", "w");
        assert!(ours.file.is_file(), "it is the same file");
        assert_eq!(ours.load(), Kept::default());
    }

    #[test]
    fn a_damaged_file_is_no_cache_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let cache = StepCache::of(folder.path(), "repo", "w");
        cache.store(&kept());
        let whole = fs::read(&cache.file).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&cache.file, &damaged).unwrap();
            assert_eq!(cache.load(), Kept::default(), "byte {at}");
            fs::write(&cache.file, &whole[..at]).unwrap();
            assert_eq!(cache.load(), Kept::default(), "cut at {at}");
        }
        fs::remove_file(&cache.file).unwrap();
        fs::create_dir(&cache.file).unwrap();
        cache.store(&kept());
        assert_eq!(cache.load(), Kept::default());
        let left = fs::read_dir(folder.path().join("cache")).unwrap().count();
        assert_eq!(left, 1, "nothing half written stays behind");
    }
}
