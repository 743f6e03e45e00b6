//! Builds of workflows that a pass could not act on: their head is refused or broken, or git has
//! them no more. What was begun is carried to its end all the same, and what was given up is looked
//! after; nothing new is begun.

use crate::controller::checkout::read_params;
use crate::controller::connect::{Who, reach};
use crate::controller::context::block_in_place;
use crate::controller::error::PassError;
use crate::controller::main_loop::actions::Charged;
use crate::controller::main_loop::backoff::BackoffKey;
use crate::controller::main_loop::host_fitness::Verdict;
use crate::controller::main_loop::owned_workflows::OwnedWorkflow;
use crate::controller::main_loop::pass_coverage::Standing;
use crate::controller::main_loop::workflow_pass::{
    Home, InventoryKey, WorkflowKey, WorkflowLocation, WorkflowState,
};
use crate::controller::main_loop::{Controller, FollowedRepository, PassReport};
use crate::controller::observe::newest_attempts;
use crate::git::discover::workflows;
use reconciler_core::workflow::WorkflowParams;
use reconciler_model::diagnostic::Diagnostic;

impl Controller {
    /// Looks after every workflow that this host has taken charge of and that the pass did not
    /// serve.
    pub(super) async fn settle_unplanned(&mut self, report: &mut PassReport) {
        for owned_workflow in self.owned_workflows.all() {
            let Some(index) = self.site_of(&owned_workflow) else {
                continue;
            };
            let key = self.key_of(index, &owned_workflow);
            let Some(standing) = self.round.standing(&key) else {
                continue;
            };
            // The same workflow is in charge under another folder, and finds all of this one's
            // builds in the journal.
            if standing == Standing::Gone
                && !self.workflows.contains_key(&key)
                && self.round.has_moved(&key)
            {
                self.owned_workflows.forget(&owned_workflow);
                continue;
            }
            let (matter, now) = (BackoffKey::Tending(key.clone()), self.context.now());
            if let Some(until) = self.backoffs.holds(&matter, None, now) {
                report.wake_at(until);
                continue;
            }
            match self.tend_one(index, &key, &owned_workflow, standing, report).await {
                Ok(()) => {
                    self.settle(&matter, &key.origin());
                    if standing == Standing::Gone {
                        self.judge(&key, Verdict::default());
                    }
                }
                Err(error) => {
                    self.lose(&key, &error);
                    let mut verdict = self.verdict_of(&error);
                    verdict.is_partial = true;
                    self.judge(&key, verdict);
                    report.errors += 1;
                    report.wake_at(self.put_off(&matter, &key.origin(), None, &error));
                }
            }
        }
    }

    /// The repository of a workflow; of two names of one repository the one that looks where the
    /// workflow was.
    pub(super) fn site_of(&self, owned_workflow: &OwnedWorkflow) -> Option<usize> {
        let sites = || {
            let sites = self.sites.iter().enumerate();
            sites.filter(|(_, site)| site.source.place() == owned_workflow.repository)
        };
        let looks_there = |site: &FollowedRepository| {
            site.roots.iter().any(|root| is_below(root, &owned_workflow.folder))
        };
        let found = sites().find(|(_, site)| looks_there(site)).or_else(|| sites().next());
        found.map(|(index, _)| index)
    }

    async fn tend_one(
        &mut self,
        index: usize,
        key: &WorkflowKey,
        owned_workflow: &OwnedWorkflow,
        standing: Standing,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        if !self.workflows.contains_key(key)
            && !self.connect_again(index, key, owned_workflow).await?
        {
            return Ok(());
        }
        let Some(fence) = self.lease(key).await? else {
            return Ok(());
        };
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(());
        };
        let seq = state.journal_seq();
        state.looked_at = seq;
        let newest = match state.newest.take().filter(|(at, _)| *at == seq) {
            Some((_, newest)) => newest,
            None => newest_attempts(state.ports.inventory.as_ref(), &key.inventory.id).await?,
        };
        let owned = Charged { key, attempts: &newest.attempts, fence: &fence };
        let mut own = PassReport::default();
        let Some(ports) = self.workflows.get(key).and_then(WorkflowState::to_act) else {
            return Ok(());
        };
        self.look_after(&owned, &ports, &mut own).await?;
        let idle = newest.is_settled() && !self.is_following(key);
        if standing == Standing::Gone
            && idle
            && ports.inventory.beats(&key.inventory.id).await?.is_empty()
            && let Some(state) = self.workflows.remove(key)
        {
            if let Some(lease) = state.lease {
                lease.release().await;
            }
            self.owned_workflows.forget(owned_workflow);
        } else if let Some(state) = self.workflows.get_mut(key)
            && !own.acted
        {
            state.newest = Some((seq, newest));
        }
        report.add(own);
        Ok(())
    }

    /// Opens the ports of a workflow as it was. Git is asked only for what was secret then. False
    /// if the commit holds another workflow.
    async fn connect_again(
        &mut self,
        index: usize,
        key: &WorkflowKey,
        owned_workflow: &OwnedWorkflow,
    ) -> Result<bool, PassError> {
        let known = owned_workflow.reach.as_ref().filter(|reach| !reach.own_keys);
        let read = match known {
            Some(reach) if !reach.hides => Ok(None),
            _ => block_in_place(|| self.params_at(index, owned_workflow)),
        };
        let home = |reach| Some(Home { index, revision: &owned_workflow.revision, reach });
        let same = |params: &WorkflowParams| {
            WorkflowKey::new(key.location.clone(), params, &self.config) == *key
        };
        match (read, known) {
            (Ok(Some(params)), _) if same(&params) => {
                let reach = reach(&self.config, &params);
                self.connect(key, &Who::of(&params), home(reach)).await?;
            }
            (_, Some(known)) => {
                let who = Who::by(known);
                self.connect(key, &who, home(known.clone())).await?;
            }
            (Ok(_), None) => return Ok(false),
            (Err(error), None) => {
                let why = error.diagnostic();
                return Err(PassError::Person(
                    Diagnostic::new(format!(
                        "what was begun for workflow {} cannot be settled: how AWS was reached stands in commit {}, which cannot be read: {}",
                        key.inventory.id,
                        owned_workflow.revision.short(),
                        why.one_line()
                    ))
                    .hint("put the commit back, for instance under a tag"),
                ));
            }
        }
        Ok(true)
    }

    /// The parameters of a workflow at the commit at which it was read.
    fn params_at(
        &self,
        index: usize,
        owned_workflow: &OwnedWorkflow,
    ) -> Result<Option<WorkflowParams>, PassError> {
        let site = &self.sites[index];
        let tree = site.source.at(&owned_workflow.revision)?;
        let mut folders = workflows(tree.as_ref(), &site.roots, &site.exclude)?.into_iter();
        let folder = folders.find(|folder| folder.path == owned_workflow.folder);
        Ok(match folder {
            Some(folder) => Some(read_params(tree.as_ref(), &folder)?.0),
            None => None,
        })
    }

    pub(super) fn key_of(&self, index: usize, owned_workflow: &OwnedWorkflow) -> WorkflowKey {
        WorkflowKey {
            location: WorkflowLocation {
                site: self.sites[index].name.clone(),
                folder: owned_workflow.folder.clone(),
            },
            inventory: InventoryKey {
                id: owned_workflow.workflow_id.clone(),
                profile: owned_workflow.profile.clone(),
                region: owned_workflow.region.clone(),
            },
        }
    }

    /// Whether this process is still in charge of the same workflow for what was begun before its
    /// folder moved or AWS was to be reached by another profile. It is settled first, unless that
    /// turns out to be impossible.
    pub(super) fn is_charged_elsewhere(&self, key: &WorkflowKey) -> bool {
        let same = |other: &WorkflowKey| other.inventory.id == key.inventory.id && other != key;
        let held = self.workflows.iter().any(|(other, state)| same(other) && state.lease.is_some());
        let open = |owned_workflow: &OwnedWorkflow| {
            let Some(index) = self.site_of(owned_workflow) else {
                return false;
            };
            let other = self.key_of(index, owned_workflow);
            same(&other)
                && other.inventory != key.inventory
                && self.backoffs.times(&BackoffKey::Tending(other)) == 0
        };
        held || (!self.options.once && self.owned_workflows.all().iter().any(open))
    }

    pub(super) fn is_following(&self, key: &WorkflowKey) -> bool {
        let mut followed = self.running.values();
        followed.any(|one| one.workflow == *key)
    }
}

/// Whether a folder is a root, or below it.
fn is_below(root: &str, folder: &str) -> bool {
    let root = root.trim_matches('/');
    let rest = folder.strip_prefix(root);
    matches!(root, "" | ".") || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_folder_is_below_its_roots_and_not_below_their_neighbours() {
        for root in ["", ".", "a", "/a/", "a/b", "a/b/c"] {
            assert!(is_below(root, "a/b/c"), "{root}");
        }
        for root in ["a/b/c/d", "b", "a/bb", "a/b/"] {
            assert_eq!(is_below(root, "a/b/c"), root == "a/b/", "{root}");
        }
    }
}
