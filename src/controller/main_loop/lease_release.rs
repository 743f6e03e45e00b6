//! What the loop does about a host that is of no use: it gives leases back, says so, and takes them
//! again when it can act again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::controller::error::PassError;
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::host_fitness::{Verdict, Wait};
use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowState};
use reconciler_core::plan::decision::Decision;
use reconciler_core::status::trouble::Trouble;
use reconciler_model::host_cause::HostCause;

/// Which repositories cannot be fetched because of what this host lacks. Whoever fetches writes it,
/// the loop reads it.
#[derive(Debug, Default)]
pub struct Fetching {
    lacking: Mutex<BTreeMap<String, HostCause>>,
}

impl Fetching {
    /// The repository at this place was fetched, or not.
    pub fn note(&self, place: &str, lacks: Option<HostCause>) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        match lacks {
            Some(cause) => lacking.insert(place.to_owned(), cause),
            None => lacking.remove(place),
        };
    }

    fn of(&self, place: &str) -> Option<HostCause> {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.get(place).copied()
    }
}

impl Controller {
    /// What an error says of this host. Without files a name cannot be looked up and a socket not
    /// be opened, which is told in other words: so the host is looked at as well.
    pub(super) fn verdict_of(&self, error: &PassError) -> Verdict {
        let state_dir = &self.config.state_dir;
        let look = || self.context.lacks(state_dir);
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
        let state_dir = &self.config.state_dir;
        self.context.lacks(state_dir)
    }

    /// Takes in what a pass over a workflow came to. Without its lease nothing was tried.
    pub(super) fn judge(&mut self, key: &WorkflowKey, mut verdict: Verdict) {
        let state = self.workflows.get(key);
        if state.is_none_or(|state| state.lease.is_none()) {
            return;
        }
        let site = self.sites.iter().find(|site| site.name == key.location.site);
        let fetched = site.and_then(|site| self.fetching.of(&site.source.place()));
        verdict.note(fetched);
        self.useful.judge(key, verdict, self.context.moment());
    }

    /// A repository could not be read: nothing of it was done.
    pub(super) fn blame_site(&mut self, index: usize, error: &PassError) {
        let mut verdict = self.verdict_of(error);
        verdict.is_partial = true;
        let site = self.sites[index].name.clone();
        let keys: Vec<_> = self.workflows.keys().cloned().collect();
        for key in keys.iter().filter(|key| key.location.site == site) {
            self.judge(key, verdict);
        }
    }

    /// Gives back the leases with which this host could do nothing for long.
    pub(super) async fn give_back_what_does_not_work_here(&mut self) {
        let lease = self.config.lease_duration;
        let keys: Vec<_> = self.workflows.keys().cloned().collect();
        for key in keys {
            let Some(cause) = self.useful.is_useless(&key, lease) else {
                continue;
            };
            let held = self.workflows.get_mut(&key).and_then(WorkflowState::let_go);
            if let Some(held) = held {
                held.release().await;
            }
            self.useful.gave_back(&key, self.context.moment());
            self.left.insert(key.clone(), self.context.now());
            self.tell(&key, &Event::GivenBack(cause));
        }
        let given = self.useful.given_back();
        let troubles = given.map(|(key, cause)| Trouble {
            what: format!("workflow {} on this host", key.inventory.id),
            cause: format!("{cause}: its lease was given back to other hosts"),
            hint: Some(cause.hint().to_owned()),
            times: 1,
            since: self.left.get(key).copied().unwrap_or_default(),
            next_try: None,
        });
        let troubles = troubles.collect();
        self.status_file.show("host", troubles);
    }

    /// Whether a lease that was given back is not to be asked for yet.
    pub(super) fn is_left_to_others(&self, key: &WorkflowKey) -> bool {
        let wait = self.useful.wait(key, self.config.lease_duration, self.context.moment());
        let state_dir = &self.config.state_dir;
        let lacks = || self.context.lacks(state_dir).is_some();
        match wait {
            Wait::Nothing => false,
            Wait::ForOthers => true,
            Wait::ForTheHost => lacks(),
        }
    }

    /// A lease was taken: if it had been given back, this host is of use again.
    pub(super) fn note_taken_again(&mut self, key: &WorkflowKey) {
        let had_given_it_back = self.useful.given_back().any(|(given, _)| given == key);
        if had_given_it_back {
            self.useful.took_again(key);
            self.tell(key, &Event::TakenAgain);
        }
    }
}
