//! Workflows of which something is open and that nobody looks after: git has them no more, or under
//! another id, and the host that began it is lost with its state folder. The inventory lists what
//! is open (`Inventory::open_workflows`); whoever runs on it settles it.
//!
//! A workflow that is strange to this host may be another daemon's own, which is about to come
//! back. So it is watched first, without its lease: that has to be free, and every build silent or
//! over, for as long as a build may be silent. Then the lease is taken, what is open is carried to
//! its end, and the lease given back.

use std::collections::{BTreeSet, HashMap};

use crate::config::InventoryConfig;
use crate::controller::build_evidence::{Watch, here};
use crate::controller::connect::{Ports, Use, Who, silence};
use crate::controller::error::PassError;
use crate::controller::main_loop::actions::Charged;
use crate::controller::main_loop::backoff::BackoffKey;
use crate::controller::main_loop::event::Origin;
use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowState};
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::observe::newest_attempts;
use crate::sqlite::SqliteInventory;
use reconciler_core::lease_rules::UnchangedSince;
use reconciler_core::recovery::{Evidence, State, state};
use reconciler_model::build::Sighting;
use reconciler_model::clock::Moment;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::BuildId;
use reconciler_model::inventory::journal::{Attempt, Reach};
use reconciler_model::inventory::{Inventory as _, OpenWorkflow};

/// How many silences lie between two looks at the list: with leases of half a minute, ten minutes.
const SILENCES: u32 = 5;

/// What this process knows of workflows that are strange to it.
#[derive(Default)]
pub(super) struct AbandonedWorkflows {
    listed: Option<Moment>,
    seen: HashMap<WorkflowKey, Stranger>,
}

/// One of them, as it was watched.
struct Stranger {
    reach: Reach,
    ports: Option<Ports>,
    lease: Option<UnchangedSince>,
    lives: HashMap<BuildId, Watch>,
}

impl Controller {
    /// Looks for them now and then, and after those that were found at every pass.
    pub(super) async fn look_after_strangers(&mut self, report: &mut PassReport) {
        let (now, silence) = (self.context.moment(), silence(&self.config));
        let fresh = |listed: Moment| now.saturating_sub(listed) < silence * SILENCES;
        if !self.abandoned.listed.is_some_and(fresh) {
            self.abandoned.listed = Some(now);
            let matter = BackoffKey::AbandonedWorkflows;
            match self.open_elsewhere().await {
                Ok(open) => {
                    self.backoffs.forget(&matter);
                    self.take_in(open);
                }
                Err(error) => {
                    let everywhere = Origin { repository: "", folder: None, workflow: None };
                    self.put_off(&matter, &everywhere, None, &error);
                }
            }
        }
        let keys: Vec<_> = self.abandoned.seen.keys().cloned().collect();
        for key in keys {
            let (matter, now) = (BackoffKey::Tending(key.clone()), self.context.now());
            if let Some(until) = self.backoffs.holds(&matter, None, now) {
                report.wake_at(until);
                continue;
            }
            match self.look_after_stranger(&key, report).await {
                Ok(()) => {
                    self.settle(&matter, &key.origin());
                    report.wake_at(now + silence / 4);
                }
                Err(error) => {
                    self.lose(&key, &error);
                    report.errors += 1;
                    report.wake_at(self.put_off(&matter, &key.origin(), None, &error));
                }
            }
        }
    }

    /// What is open in the inventories that this process uses.
    async fn open_elsewhere(&self) -> Result<Vec<OpenWorkflow>, PassError> {
        if let InventoryConfig::Sqlite { path } = &self.config.inventory {
            return Ok(SqliteInventory::open_read_only(path)?.open_workflows().await?);
        }
        let mut asked = BTreeSet::new();
        let mut open = Vec::new();
        for (key, state) in &self.workflows {
            if asked.insert((&key.inventory.profile, &key.inventory.region)) {
                open.extend(state.ports.inventory.open_workflows().await?);
            }
        }
        if asked.is_empty() {
            let who = Reach::default();
            let ports =
                self.connector.connect(&self.config, &Who::by(&who), Use::LookOffline).await?;
            open = ports.inventory.open_workflows().await?;
        }
        Ok(open)
    }

    /// Keeps those that nobody here looks after.
    fn take_in(&mut self, open: Vec<OpenWorkflow>) {
        let mut found = HashMap::new();
        for OpenWorkflow { workflow_id, reach } in open {
            let key = WorkflowKey::of_stranger(workflow_id, &reach, &self.config);
            if !self.is_at_home(&key) {
                found.insert(key, reach);
            }
        }
        let held = &self.workflows;
        let seen = &mut self.abandoned.seen;
        seen.retain(|key, _| found.contains_key(key) || held.contains_key(key));
        for (key, reach) in found {
            seen.entry(key).or_insert(Stranger {
                reach,
                ports: None,
                lease: None,
                lives: HashMap::new(),
            });
        }
    }

    /// Whether git has it, or this host has taken charge of it: it is looked after in any case.
    fn is_at_home(&self, key: &WorkflowKey) -> bool {
        let mut workflows = self.workflows.keys().filter(|other| *other != key);
        let owned_workflows = self.owned_workflows.all();
        let mut owned = owned_workflows.iter().filter_map(|owned_workflow| {
            Some(self.key_of(self.site_of(owned_workflow)?, owned_workflow))
        });
        workflows.any(|other| other.inventory == key.inventory)
            || self.round.has(key)
            || owned.any(|other| other.inventory == key.inventory)
    }

    async fn look_after_stranger(
        &mut self,
        key: &WorkflowKey,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        if self.is_at_home(key) && !self.workflows.contains_key(key) {
            self.abandoned.seen.remove(key);
            return Ok(());
        }
        let Some(stranger) = self.abandoned.seen.get(key) else {
            return Ok(());
        };
        let reach = stranger.reach.clone();
        if reach.own_keys {
            return Err(Diagnostic::new(format!(
                "a build of workflow {}, which git has no more, is open, and AWS was reached for it with keys that stood in its parameters",
                key.inventory.id
            ))
            .hint("put the workflow back until the build is settled, or end what it left at AWS by hand")
            .into());
        }
        if !self.workflows.contains_key(key) {
            if !self.is_forsaken(key, &reach).await? {
                return Ok(());
            }
            self.connect(key, &Who::by(&reach), None).await?;
            // It was watched for as long as whoever takes a lease has to.
            let watched = self.abandoned.seen.get(key).and_then(|one| one.lease.clone());
            if let Some(state) = self.workflows.get_mut(key) {
                state.watched = watched;
            }
        }
        let Some(fence) = self.lease(key).await? else {
            self.workflows.remove(key);
            return Ok(());
        };
        let Some(ports) = self.workflows.get(key).and_then(WorkflowState::to_act) else {
            return Ok(());
        };
        let newest = newest_attempts(ports.inventory.as_ref(), &key.inventory.id).await?;
        let owned = Charged { key, attempts: &newest.attempts, fence: &fence };
        let mut own = PassReport::default();
        self.look_after(&owned, &ports, &mut own).await?;
        let sweeping = |state: &WorkflowState| state.sweeping.under_way;
        let busy = self.is_following(key) || self.workflows.get(key).is_some_and(sweeping);
        if !busy && !own.acted && newest.attempts.values().all(Attempt::is_settled) {
            if let Some(lease) = self.workflows.remove(key).and_then(|state| state.lease) {
                lease.release().await;
            }
            self.abandoned.seen.remove(key);
        }
        report.add(own);
        Ok(())
    }

    /// Whether nobody else is going to settle it: its lease was free, and each of its builds silent
    /// or over, for long enough.
    async fn is_forsaken(&mut self, key: &WorkflowKey, reach: &Reach) -> Result<bool, PassError> {
        let silence = silence(&self.config);
        let Some(stranger) = self.abandoned.seen.get_mut(key) else {
            return Ok(false);
        };
        let ports = match stranger.ports.take() {
            Some(ports) => ports,
            None => self.connector.connect(&self.config, &Who::by(reach), Use::Look).await?,
        };
        let ports = stranger.ports.insert(ports).clone();
        let asked = self.context.moment();
        let lease = ports.inventory.lease(&key.inventory.id).await?;
        let version = lease.as_ref().map_or("never held", |lease| &lease.version);
        let still =
            UnchangedSince::observe(&mut stranger.lease, version, asked, self.context.moment());
        let held_by = lease.as_ref().and_then(|lease| lease.holder.as_deref());
        let mut free = held_by.is_none_or(|holder| self.context.is_gone(holder))
            || lease.is_some_and(|lease| still.as_secs() >= lease.duration_seconds);
        free &= still >= silence;
        let newest = newest_attempts(ports.inventory.as_ref(), &key.inventory.id).await?;
        let own = self.context.own_mark_with(&self.config.state_dir);
        for attempt in newest.attempts.values().filter(|one| !one.is_over()) {
            let sighting = ports.builder.find(&attempt.build_id).await?;
            let asked = self.context.moment();
            let beat = ports.inventory.last_beat(&key.inventory.id, &attempt.build_id).await?;
            let watch = stranger
                .lives
                .entry(attempt.build_id.clone())
                .or_insert_with(|| Watch::begin(silence, asked));
            let seen = Evidence {
                here: here(&sighting, attempt.intent.prepared_by.as_ref(), own.as_ref()),
                told_started: attempt.is_said_to_run() && sighting != Sighting::NeverRan,
                life: watch.life(beat.as_ref(), asked, self.context.moment()),
                deadline: attempt.intent.deadline,
                now: self.context.now(),
            };
            free &= state(&seen) != State::MayRun;
        }
        Ok(free)
    }
}
