//! What one pass came to see of git: which workflows it could act on, and which it could not or of
//! which git says nothing any more. Pure.

use std::collections::BTreeSet;

use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowLocation};

/// What a pass saw so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
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
pub(super) enum Standing {
    /// It is there, or nobody knows: only its builds are looked after.
    Unread,
    /// Git has it no more: it is given up as soon as nothing of it is open.
    Gone,
}

impl Round {
    /// The commit of a repository could be read; these folders of it are workflows.
    pub(super) fn opened(&mut self, site: &str, folders: impl Iterator<Item = WorkflowLocation>) {
        self.opened.insert(site.to_owned());
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
    pub(super) fn standing(&self, key: &WorkflowKey) -> Option<Standing> {
        if self.served.contains(key) {
            return None;
        }
        let known =
            self.opened.contains(&key.location.site) && !self.unclear.contains(&key.location);
        Some(if known && !self.seen.contains(key) { Standing::Gone } else { Standing::Unread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::main_loop::workflow_pass::InventoryKey;
    use reconciler_model::ids::WorkflowId;

    fn key(id: &str) -> WorkflowKey {
        WorkflowKey {
            location: WorkflowLocation { site: "s".into(), folder: "f".into() },
            inventory: InventoryKey { id: WorkflowId::new(id), profile: None, region: None },
        }
    }

    #[test]
    fn a_workflow_is_gone_only_if_git_could_be_read_and_has_it_no_more() {
        let mut round = Round::default();
        assert_eq!(round.standing(&key("a")), Some(Standing::Unread));
        let place = key("a").location;
        round.opened("s", [place].into_iter());
        assert_eq!(round.standing(&key("a")), Some(Standing::Unread), "unclear");
        round.seen(&key("b"));
        assert_eq!(round.standing(&key("a")), Some(Standing::Gone), "renamed");
        assert_eq!(round.standing(&key("b")), Some(Standing::Unread));
        round.served(&key("b"));
        assert_eq!(round.standing(&key("b")), None);
        let mut empty = Round::default();
        empty.opened("s", std::iter::empty());
        assert_eq!(empty.standing(&key("a")), Some(Standing::Gone), "removed");
    }
}
