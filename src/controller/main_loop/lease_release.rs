//! What the loop does about a host that is of no use: it gives leases back, says so, and takes them
//! again when it can act again.

use crate::controller::error::PassError;
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::host_fitness::{Verdict, Wait};
use crate::controller::main_loop::workflow_state::{WorkflowKey, WorkflowState};
use crate::controller::main_loop::{Controller, FollowedRepository};
use reconciler_core::plan::decision::Decision;
use reconciler_core::status::trouble::Trouble;
use reconciler_model::host_cause::HostCause;

impl Controller {
    /// What an error says of this host. Without files a name cannot be looked up and a socket not
    /// be opened, which is told in other words: so the host is looked at as well.
    pub(super) fn verdict_of(&self, error: &PassError) -> Verdict {
        let state_dir = &self.services.config.state_dir;
        let look = || self.services.context.lacks(state_dir);
        Verdict { lacks: error.host_cause().or_else(look), is_partial: false }
    }

    /// What this host still lacks of what kept a build from working, which is in the journal and is
    /// waited for.
    pub(super) fn still_lacking(&self, decision: &Decision) -> Option<HostCause> {
        let Decision::BackingOff { failure, .. } = decision else {
            return None;
        };
        // Another host may have met with it, or an instance: the words alone say nothing of this
        // host.
        HostCause::of(&failure.cause)?;
        let state_dir = &self.services.config.state_dir;
        self.services.context.lacks(state_dir)
    }

    /// Takes in what a pass over a workflow came to. Without its lease nothing was tried.
    pub(super) fn judge(&mut self, key: &WorkflowKey, mut verdict: Verdict) {
        if !self.workflows.holds(key) {
            return;
        }
        let repository = self.repositories.named(&key.location.repository);
        let fetched = repository.and_then(|one| self.host.fetching.of(&one.source.place()));
        verdict.note(fetched);
        self.host.fitness.judge(key, verdict, self.services.context.moment());
    }

    /// A repository could not be read: nothing of it was done.
    pub(super) fn judge_unreadable(&mut self, repository: &FollowedRepository, error: &PassError) {
        let mut verdict = self.verdict_of(error);
        verdict.is_partial = true;
        for key in self.workflows.keys() {
            if key.location.repository == repository.name {
                self.judge(&key, verdict);
            }
        }
    }

    /// Gives back the leases with which this host could do nothing for long.
    pub(super) async fn give_back_what_does_not_work_here(&mut self) {
        let lease = self.services.config.lease_duration;
        for key in self.workflows.keys() {
            let Some(cause) = self.host.fitness.is_useless(&key, lease) else {
                continue;
            };
            let held = self.workflows.get_mut(&key).and_then(WorkflowState::let_go);
            if let Some(held) = held {
                held.release().await;
            }
            let context = &self.services.context;
            self.host.fitness.gave_back(&key, context.moment(), context.now());
            self.notice(&key, &Event::GivenBack(cause));
            self.ask_for_lease_soon(&key);
        }
        let given = self.host.fitness.given_back();
        let troubles = given.map(|(key, given)| Trouble {
            what: format!("workflow {} on this host", key.inventory.id),
            cause: format!("{}: its lease was given back to other hosts", given.cause),
            hint: Some(given.cause.hint().to_owned()),
            times: 1,
            since: given.since,
            next_try: None,
        });
        let troubles = troubles.collect();
        self.host.status_file.show("host", troubles);
    }

    /// Whether a lease that was given back is not to be asked for yet.
    pub(super) fn is_left_to_others(&self, key: &WorkflowKey) -> bool {
        let wait = self.host.fitness.wait(
            key,
            self.services.config.lease_duration,
            self.services.context.moment(),
        );
        let state_dir = &self.services.config.state_dir;
        let lacks = || self.services.context.lacks(state_dir).is_some();
        match wait {
            Wait::Nothing => false,
            Wait::ForOthers => true,
            Wait::ForTheHost => lacks(),
        }
    }

    /// A lease was taken: if it had been given back, this host is of use again.
    pub(super) fn note_taken_again(&mut self, key: &WorkflowKey) {
        let had_given_it_back = self.host.fitness.given_back().any(|(given, _)| given == key);
        if had_given_it_back {
            self.host.fitness.took_again(key);
            self.notice(key, &Event::TakenAgain);
        }
    }
}
