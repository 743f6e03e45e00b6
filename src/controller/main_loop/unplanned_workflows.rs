//! Builds of workflows that a pass could not act on: their head is refused or broken, or git has
//! them no more. What was begun is carried to its end all the same, and what was given up is looked
//! after; nothing new is begun.

use crate::controller::connect::{Who, reach};
use crate::controller::context::block_in_place;
use crate::controller::error::PassError;
use crate::controller::main_loop::actions::HeldWorkflow;
use crate::controller::main_loop::host_fitness::Verdict;
use crate::controller::main_loop::owned_workflows::OwnedWorkflow;
use crate::controller::main_loop::pass_coverage::InGit;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::workflow_pass::Home;
use crate::controller::main_loop::workflow_state::WorkflowKey;
use crate::controller::main_loop::workflows::key_of;
use crate::controller::main_loop::{Controller, FollowedRepository, PassReport};
use crate::controller::observe::newest_attempts;
use reconciler_core::workflow::WorkflowParams;
use reconciler_model::diagnostic::Diagnostic;

impl Controller {
    /// Looks after every workflow that this host has taken charge of and that the pass did not
    /// serve.
    pub(super) async fn settle_unplanned_workflows(&mut self, report: &mut PassReport) {
        for owned in self.workflows.owned.all() {
            let Some(repository) = self.repositories.of_workflow(&owned).cloned() else {
                continue;
            };
            let key = key_of(&repository.name, &owned);
            let Some(in_git) = self.workflows.coverage.of_unserved(&key) else {
                continue;
            };
            // The same workflow is in charge under another folder, and finds all of this one's
            // builds in the journal.
            if in_git == InGit::Gone
                && !self.workflows.contains(&key)
                && self.workflows.coverage.has_moved(&key)
            {
                self.workflows.owned.forget(&owned);
                continue;
            }
            let (retry, now) = (RetryKey::OpenBuilds(key.clone()), self.services.context.now());
            if self.queue.waits(&retry, &Circumstances::Any, now).is_some() {
                continue;
            }
            match self.settle_unplanned(&repository, &key, &owned, in_git, report).await {
                Ok(()) => {
                    self.succeeded(&retry, &key.origin());
                    if in_git == InGit::Gone {
                        self.judge(&key, Verdict::default());
                    }
                }
                Err(error) => {
                    self.take_in_error(&key, &error);
                    let mut verdict = self.verdict_of(&error);
                    verdict.is_partial = true;
                    self.judge(&key, verdict);
                    report.errors += 1;
                    self.failed(&retry, &key.origin(), &Circumstances::Any, &error);
                }
            }
        }
    }

    async fn settle_unplanned(
        &mut self,
        repository: &FollowedRepository,
        key: &WorkflowKey,
        owned: &OwnedWorkflow,
        in_git: InGit,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        if !self.workflows.contains(key) && !self.connect_again(repository, key, owned).await? {
            return Ok(());
        }
        let Some(fence) = self.lease(key).await? else {
            return Ok(());
        };
        self.answer_by_journal_of(key, report).await;
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(());
        };
        let Some(ports) = state.to_act() else {
            return Ok(());
        };
        let (seq, known) = state.look_at_journal();
        let newest = match known {
            Some(newest) => newest,
            None => newest_attempts(ports.inventory.as_ref(), &key.inventory.id).await?,
        };
        let held = HeldWorkflow { key, attempts: &newest.attempts, fence: &fence };
        let mut own = PassReport::default();
        self.look_after(&held, &ports, &mut own).await?;
        let idle = newest.is_settled() && !self.builds.include_workflow(key);
        if in_git == InGit::Gone
            && idle
            && ports.inventory.beats(&key.inventory.id).await?.is_empty()
        {
            self.give_up(key).await;
            self.workflows.owned.forget(owned);
        } else if let Some(state) = self.workflows.get_mut(key)
            && !own.acted
        {
            state.keep_journal(seq, newest);
        }
        report.add(own);
        Ok(())
    }

    /// Nothing more is to be done for a workflow: its lease goes back.
    pub(super) async fn give_up(&mut self, key: &WorkflowKey) {
        if let Some(lease) = self.workflows.remove(key) {
            lease.release().await;
        }
        self.queue.forget(&RetryKey::Garbage(key.clone()));
    }

    /// Opens the ports of a workflow as it was. Git is asked only for what was secret then. False
    /// if the commit holds another workflow.
    async fn connect_again(
        &mut self,
        repository: &FollowedRepository,
        key: &WorkflowKey,
        owned: &OwnedWorkflow,
    ) -> Result<bool, PassError> {
        let known = owned.reach.as_ref().filter(|reach| !reach.own_keys);
        let read = match known {
            Some(reach) if !reach.hides => Ok(None),
            _ => block_in_place(|| repository.params_at(owned)),
        };
        let home = |reach| Some(Home { repository, revision: &owned.revision, reach });
        let config = &self.services.config;
        let same = |params: &WorkflowParams| {
            WorkflowKey::new(key.location.clone(), params, config) == *key
        };
        match (read, known) {
            (Ok(Some(params)), _) if same(&params) => {
                let reach = reach(config, &params);
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
                        owned.revision.short(),
                        why.one_line()
                    ))
                    .hint("put the commit back, for instance under a tag"),
                ));
            }
        }
        Ok(true)
    }

    /// Whether this process is still in charge of the same workflow for what was begun before its
    /// folder moved or AWS was to be reached by another profile. It is settled first, unless that
    /// turns out to be impossible.
    pub(super) fn is_in_charge_elsewhere(&self, key: &WorkflowKey) -> bool {
        let is_open = |owned: &OwnedWorkflow| {
            let Some(repository) = self.repositories.of_workflow(owned) else {
                return false;
            };
            let other = key_of(&repository.name, owned);
            other.inventory.id == key.inventory.id
                && other.inventory != key.inventory
                && self.queue.times(&RetryKey::OpenBuilds(other)) == 0
        };
        self.workflows.is_held_elsewhere(key)
            || (!self.options.once && self.workflows.owned.all().iter().any(is_open))
    }
}
