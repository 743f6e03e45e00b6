//! The workflows that this host has taken charge of, kept in files of the state directory, so that
//! what was begun is carried to its end even when git says nothing of its workflow any more: its
//! head is refused or broken, its folder is gone, its id is another.
//!
//! A file says how AWS is reached, and names the commit for those parameters that are secret; these
//! it never holds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::write_durably;
use reconciler_model::digest::Encoder;
use reconciler_model::ids::{Revision, WorkflowId};
use reconciler_model::inventory::journal::Reach;

/// One workflow, and where it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OwnedWorkflow {
    /// The repository's place.
    pub(super) repository: String,
    /// The workflow's folder in it.
    pub(super) folder: String,
    /// Its id.
    pub(super) workflow_id: WorkflowId,
    /// The profile by which AWS is reached for it.
    pub(super) profile: Option<String>,
    /// Its region, where its records are there.
    pub(super) region: Option<String>,
    /// The commit at which it was read.
    pub(super) revision: Revision,
    /// How AWS is reached for it: what was begun is settled though the commit is gone. None of what
    /// an earlier version kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reach: Option<Reach>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct OwnedWorkflows {
    folder: PathBuf,
    /// Those that this process took, by their files: a state folder can be removed, or be full,
    /// while what was begun goes on.
    taken: BTreeMap<PathBuf, OwnedWorkflow>,
}

impl OwnedWorkflows {
    /// Those of a state directory. Touches nothing.
    pub(super) fn of(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("workflows"), taken: BTreeMap::new() }
    }

    /// What is kept, by this process or in a file. A file that cannot be read says nothing; the
    /// commit that is read next says it again.
    pub(super) fn all(&self) -> Vec<OwnedWorkflow> {
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let files = files.map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let kept = files.filter_map(|path| {
            let owned_workflow = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some((path, owned_workflow))
        });
        let mut all: BTreeMap<PathBuf, OwnedWorkflow> = kept.collect();
        all.extend(self.taken.clone());
        let mut all: Vec<OwnedWorkflow> = all.into_values().collect();
        all.sort_by(|a, b| (&a.folder, &a.workflow_id).cmp(&(&b.folder, &b.workflow_id)));
        all
    }

    /// Keeps one, before anything is begun for it. This process knows it whether or not it can be
    /// written.
    pub(super) fn keep(&mut self, owned_workflow: &OwnedWorkflow) -> io::Result<()> {
        let file = self.file(owned_workflow);
        self.taken.insert(file.clone(), owned_workflow.clone());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        write_durably(&file, &serde_json::to_vec(owned_workflow)?)
    }

    /// Nothing of it is open, and git has it no more.
    pub(super) fn forget(&mut self, owned_workflow: &OwnedWorkflow) {
        let file = self.file(owned_workflow);
        self.taken.remove(&file);
        // One that stays is looked at once more by the next process.
        let _ = fs::remove_file(file);
    }

    fn file(&self, owned_workflow: &OwnedWorkflow) -> PathBuf {
        let mut name = Encoder::new("workflow in charge");
        name.field(owned_workflow.repository.as_bytes())
            .field(owned_workflow.folder.as_bytes())
            .field(owned_workflow.workflow_id.as_str().as_bytes())
            .field(owned_workflow.profile.as_deref().unwrap_or_default().as_bytes())
            .field(owned_workflow.region.as_deref().unwrap_or_default().as_bytes());
        let name = name.finish().to_string();
        self.folder.join(format!("{}.json", &name[..32]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::format_stability::stays_readable;

    /// See `format_stability`: a literal is never changed, another one is added.
    #[test]
    fn what_an_earlier_version_had_in_charge_stays_so() {
        stays_readable::<OwnedWorkflow>(
            &[
                r#"{
                    "repository": "/srv/x.git", "folder": "packer_workspaces", "workflow_id": "wf", "profile": null,
                    "revision": "4f2c1e9000000000000000000000000000000000"
                }"#,
                r#"{
                    "repository": "/srv/x.git", "folder": "packer_workspaces", "workflow_id": "wf", "profile": null,
                    "region": null, "revision": "4f2c1e9000000000000000000000000000000000"
                }"#,
            ],
            r#"{
                "repository": "/srv/x.git", "folder": "packer_workspaces", "workflow_id": "wf", "profile": null,
                "region": null, "revision": "4f2c1e9000000000000000000000000000000000",
                "reach": { "profile": null, "region": "us-east-1", "own_keys": false, "hides": false }
            }"#,
        );
    }

    #[test]
    fn each_id_of_a_folder_is_kept_until_it_is_forgotten() {
        let state = tempfile::tempdir().unwrap();
        let mut owned_workflows = OwnedWorkflows::of(state.path());
        assert_eq!(owned_workflows.all(), []);
        let owned_workflow = |id: &str, revision: &str| OwnedWorkflow {
            repository: "/srv/x.git".into(),
            folder: "packer_workspaces".into(),
            workflow_id: WorkflowId::new(id),
            profile: None,
            region: None,
            revision: Revision::new(revision.repeat(40)),
            reach: None,
        };
        owned_workflows.keep(&owned_workflow("a", "1")).unwrap();
        owned_workflows.keep(&owned_workflow("b", "1")).unwrap();
        owned_workflows.keep(&owned_workflow("a", "2")).unwrap();
        assert_eq!(owned_workflows.all(), [owned_workflow("a", "2"), owned_workflow("b", "1")]);
        fs::write(state.path().join("workflows/x.json"), "{").unwrap();
        owned_workflows.forget(&owned_workflow("a", "3"));
        assert_eq!(owned_workflows.all(), [owned_workflow("b", "1")]);
    }

    /// Whoever forgets an old place of a workflow with its file never lets its lease go, and never
    /// acts at the new place.
    #[test]
    fn what_this_process_took_charge_of_stays_so_though_the_state_folder_goes() {
        let state = tempfile::tempdir().unwrap();
        let mut owned_workflows = OwnedWorkflows::of(state.path());
        let owned_workflow = OwnedWorkflow {
            repository: "/srv/x.git".into(),
            folder: "packer_workspaces".into(),
            workflow_id: WorkflowId::new("a"),
            profile: None,
            region: None,
            revision: Revision::new("1".repeat(40)),
            reach: None,
        };
        owned_workflows.keep(&owned_workflow).unwrap();
        fs::remove_dir_all(state.path()).unwrap();
        assert_eq!(owned_workflows.all(), std::slice::from_ref(&owned_workflow));
        owned_workflows.forget(&owned_workflow);
        assert_eq!(owned_workflows.all(), []);
    }
}
