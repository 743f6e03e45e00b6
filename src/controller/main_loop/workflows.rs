//! The workflows that this process looks after, and which of them the pass that is under way has
//! come to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::controller::context::Context;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::lease::Held;
use crate::controller::main_loop::owned_workflows::{OwnedWorkflow, OwnedWorkflows};
use crate::controller::main_loop::pass_coverage::PassCoverage;
use crate::controller::main_loop::repositories::FollowedRepository;
use crate::controller::main_loop::workflow_state::{
    InventoryKey, LastError, WorkflowKey, WorkflowLocation, WorkflowState,
};
use crate::controller::wake_file::WakeFile;
use reconciler_model::ids::BuildId;
use reconciler_model::inventory::journal::{Attempt, FailureClass};

/// How often it is looked whether a heartbeat showed that a journal has moved.
const JOURNAL_LOOK: Duration = Duration::from_secs(1);

/// All of them.
pub(super) struct Workflows {
    states: BTreeMap<WorkflowKey, WorkflowState>,
    /// Those that this host has taken charge of, on disk.
    pub(super) owned: OwnedWorkflows,
    /// What the pass that is under way has seen.
    pub(super) coverage: PassCoverage,
    /// Where commands of this host say that they have asked for something.
    wake_file: WakeFile,
    /// The inventory was replaced under this process: it is opened anew, but not begun anew.
    inventory_was_replaced: bool,
}

/// What an error made of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterError {
    /// Nothing.
    Unchanged,
    /// Its lease is lost.
    LostLease,
}

impl Workflows {
    /// Of none anything is known but what a state folder holds.
    pub(super) fn of(state_dir: &Path) -> Self {
        Self {
            states: BTreeMap::new(),
            owned: OwnedWorkflows::of(state_dir),
            coverage: PassCoverage::default(),
            wake_file: WakeFile::of(state_dir),
            inventory_was_replaced: false,
        }
    }

    /// A pass over everything begins.
    pub(super) fn begin_pass(&mut self) {
        let is_woken = self.wake_file.take_in();
        for state in self.states.values_mut() {
            state.note_counts();
            state.is_planned = false;
            if is_woken {
                state.look_for_requests();
            }
        }
        self.coverage = PassCoverage::default();
    }

    pub(super) fn get(&self, key: &WorkflowKey) -> Option<&WorkflowState> {
        self.states.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &WorkflowKey) -> Option<&mut WorkflowState> {
        self.states.get_mut(key)
    }

    pub(super) fn contains(&self, key: &WorkflowKey) -> bool {
        self.states.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&WorkflowKey, &WorkflowState)> {
        self.states.iter()
    }

    /// Whether a person has accepted another commit since rewritten history was refused there.
    pub(super) fn may_follow_again(
        &self,
        location: &WorkflowLocation,
        repository: &FollowedRepository,
    ) -> bool {
        let mut states = self.states.iter().filter(|(key, _)| key.location == *location);
        states.any(|(_, state)| state.may_follow_again(repository))
    }

    pub(super) fn keys(&self) -> Vec<WorkflowKey> {
        self.states.keys().cloned().collect()
    }

    /// Takes a workflow in, in place of what is known of it. Returns the lease that was held by
    /// then.
    pub(super) fn insert(&mut self, key: &WorkflowKey, state: WorkflowState) -> Option<Held> {
        self.states.insert(key.clone(), state)?.into_lease()
    }

    /// Nothing more is to be done for a workflow. Returns its lease, to be given back.
    pub(super) fn remove(&mut self, key: &WorkflowKey) -> Option<Held> {
        self.states.remove(key)?.into_lease()
    }

    /// Takes all leases out, to be given back.
    pub(super) fn let_go_of_all(&mut self) -> Vec<Held> {
        self.states.values_mut().filter_map(WorkflowState::let_go).collect()
    }

    /// Takes in that a workflow met with an error. A lease that another has taken is not ours,
    /// whatever its time says.
    pub(super) fn take_in_error(&mut self, key: &WorkflowKey, error: &PassError) -> AfterError {
        if let Some(state) = self.states.get_mut(key) {
            state.last_error = Some(LastError {
                is_transient: error.class() == FailureClass::Transient,
                why: error.diagnostic(),
            });
        }
        if error.is_replaced() {
            // What was opened is nothing any more; the next pass opens what stands there.
            self.states.remove(key);
            self.inventory_was_replaced = true;
        } else if error.is_fenced()
            && let Some(state) = self.states.get_mut(key)
            && state.let_go().is_some()
        {
            return AfterError::LostLease;
        }
        AfterError::Unchanged
    }

    /// Whether an inventory was deleted or replaced under this process.
    pub(super) fn inventory_was_replaced(&self) -> bool {
        self.inventory_was_replaced
    }

    /// The ports to act on a workflow through; none without its lease.
    pub(super) fn to_act(&self, key: &WorkflowKey) -> Option<LeasedPorts> {
        self.get(key)?.to_act()
    }

    /// Whether this process holds the lease of a workflow.
    pub(super) fn holds(&self, key: &WorkflowKey) -> bool {
        self.get(key).is_some_and(|state| state.lease().is_some())
    }

    /// Whether the garbage of a workflow is being removed.
    pub(super) fn is_removing_garbage_of(&self, key: &WorkflowKey) -> bool {
        self.get(key).is_some_and(|state| state.is_removing_garbage)
    }

    /// Whether the garbage of any is being removed.
    pub(super) fn is_removing_garbage(&self) -> bool {
        self.states.values().any(|state| state.is_removing_garbage)
    }

    /// The newest attempts at all steps; none while something of them is not known.
    pub(super) fn newest_builds(&self) -> Option<BTreeSet<BuildId>> {
        let is_known = |state: &WorkflowState| state.lease().is_some() && state.journal().is_some();
        self.states
            .values()
            .all(is_known)
            .then(|| self.newest_attempts().map(|attempt| attempt.build_id.clone()).collect())
    }

    /// The newest attempts at all steps, as far as they are known.
    pub(super) fn newest_attempts(&self) -> impl Iterator<Item = &Attempt> {
        let journals = self.states.values().filter_map(WorkflowState::journal);
        journals.flat_map(|newest| newest.attempts.values())
    }

    /// Whether the same workflow is looked after under another location, or way to AWS, by its
    /// lease.
    pub(super) fn is_held_elsewhere(&self, key: &WorkflowKey) -> bool {
        self.states.iter().any(|(other, state)| {
            other.inventory.id == key.inventory.id && other != key && state.lease().is_some()
        })
    }

    /// Whether the inventory's workflow is looked after under any other key.
    pub(super) fn has_other(&self, key: &WorkflowKey) -> bool {
        self.states.keys().any(|other| other != key && other.inventory == key.inventory)
    }

    /// Ends when somebody else has written to a journal or asked for something, by what a heartbeat
    /// showed of it, or by the word of a command on this host.
    pub(super) async fn journal_moved(&self, context: &Context) {
        let moved = || self.states.values().any(WorkflowState::journal_moved);
        while !moved() && !self.wake_file.is_written() {
            context.sleep(JOURNAL_LOOK).await;
        }
    }
}

/// The key of a workflow that this host has taken charge of, in the repository of this name.
pub(super) fn key_of(repository: &str, owned: &OwnedWorkflow) -> WorkflowKey {
    WorkflowKey {
        location: WorkflowLocation {
            repository: repository.to_owned(),
            folder: owned.folder.clone(),
        },
        inventory: InventoryKey {
            id: owned.workflow_id.clone(),
            profile: owned.profile.clone(),
            region: owned.region.clone(),
        },
    }
}
