//! What one pass came to see of git: which workflows it could act on, and which it could not or of
//! which git says nothing any more. Pure.

use std::collections::BTreeSet;

use crate::controller::main_loop::workflow_state::{WorkflowKey, WorkflowLocation};

/// What a pass saw so far.
#[derive(Clone, Debug, Default)]
pub(super) struct PassCoverage {
    /// Repositories whose commit could be read.
    opened: BTreeSet<String>,
    /// Folders of which it is not known whose they are.
    unclear: BTreeSet<WorkflowLocation>,
    /// Workflows that git has.
    seen: BTreeSet<WorkflowKey>,
    /// Workflows whose builds were looked after.
    served: BTreeSet<WorkflowKey>,
}

/// What git says of a workflow that was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InGit {
    /// It is there, or nobody knows: only its builds are looked after.
    Unknown,
    /// Git has it no more: it is given up as soon as nothing of it is open.
    Gone,
}

impl PassCoverage {
    /// The commit of a repository could be read; these folders of it are workflows.
    pub(super) fn opened(
        &mut self,
        repository: &str,
        folders: impl Iterator<Item = WorkflowLocation>,
    ) {
        self.opened.insert(repository.to_owned());
        self.unclear.extend(folders);
    }

    /// A folder's parameters could be read: it is this workflow.
    pub(super) fn seen(&mut self, key: &WorkflowKey) {
        self.unclear.remove(&key.location);
        self.seen.insert(key.clone());
    }

    /// Whether git has this workflow.
    pub(super) fn has(&self, key: &WorkflowKey) -> bool {
        self.seen.iter().any(|seen| seen.inventory == key.inventory)
    }

    /// A workflow's builds were looked after.
    pub(super) fn served(&mut self, key: &WorkflowKey) {
        self.served.insert(key.clone());
    }

    /// Whether git has this workflow in another folder.
    pub(super) fn has_moved(&self, old: &WorkflowKey) -> bool {
        let mut seen = self.seen.iter();
        seen.any(|key| key.inventory == old.inventory && key != old)
    }

    /// What is to be thought of a workflow that is known from before; none if it was served.
    pub(super) fn of_unserved(&self, key: &WorkflowKey) -> Option<InGit> {
        if self.served.contains(key) {
            return None;
        }
        let known =
            self.opened.contains(&key.location.repository) && !self.unclear.contains(&key.location);
        Some(if known && !self.seen.contains(key) { InGit::Gone } else { InGit::Unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::main_loop::workflow_state::InventoryKey;
    use reconciler_model::ids::WorkflowId;

    fn key(id: &str) -> WorkflowKey {
        WorkflowKey {
            location: WorkflowLocation { repository: "s".into(), folder: "f".into() },
            inventory: InventoryKey { id: WorkflowId::new(id), profile: None, region: None },
        }
    }

    #[test]
    fn a_workflow_is_gone_only_if_git_could_be_read_and_has_it_no_more() {
        let mut coverage = PassCoverage::default();
        assert_eq!(coverage.of_unserved(&key("a")), Some(InGit::Unknown));
        let place = key("a").location;
        coverage.opened("s", [place].into_iter());
        assert_eq!(coverage.of_unserved(&key("a")), Some(InGit::Unknown), "unclear");
        coverage.seen(&key("b"));
        assert_eq!(coverage.of_unserved(&key("a")), Some(InGit::Gone), "renamed");
        assert_eq!(coverage.of_unserved(&key("b")), Some(InGit::Unknown));
        coverage.served(&key("b"));
        assert_eq!(coverage.of_unserved(&key("b")), None);
        let mut empty = PassCoverage::default();
        empty.opened("s", std::iter::empty());
        assert_eq!(empty.of_unserved(&key("a")), Some(InGit::Gone), "removed");
    }
}
