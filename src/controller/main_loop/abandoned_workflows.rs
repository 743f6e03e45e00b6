//! Workflows of which something is open and that nobody looks after: git has them no more, or under
//! another id, and the host that began it is lost with its state folder. The inventory lists what
//! is open (`Inventory::open_workflows`); whoever runs on it settles it.
//!
//! A workflow that is strange to this host may be another daemon's own, which is about to come
//! back. So it is watched first, without its lease: that has to be free, and every build silent or
//! over, for as long as a build may be silent. Then the lease is taken, what is open is carried to
//! its end, and the lease given back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::config::InventoryConfig;
use crate::controller::build_evidence::{Watch, here};
use crate::controller::connect::{Ports, Use, Who, silence};
use crate::controller::error::PassError;
use crate::controller::main_loop::actions::HeldWorkflow;
use crate::controller::main_loop::event::Origin;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::workflow_state::WorkflowKey;
use crate::controller::main_loop::workflows::key_of;
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::observe::newest_attempts;
use crate::sqlite::SqliteInventory;
use reconciler_core::lease_rules::UnchangedSince;
use reconciler_core::recovery::{Evidence, State, state};
use reconciler_model::build::Sighting;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::BuildId;
use reconciler_model::inventory::journal::{Attempt, Reach};
use reconciler_model::inventory::{Inventory as _, OpenWorkflow};

/// How many silences lie between two looks at the list: with leases of half a minute, ten minutes.
const SILENCES: u32 = 5;

/// The workflows of which something is open and that nobody seems to look after.
#[derive(Default)]
pub(super) struct AbandonedWorkflows {
    watched: BTreeMap<WorkflowKey, WatchedWorkflow>,
}

/// One of them, as it was watched.
struct WatchedWorkflow {
    reach: Reach,
    ports: Option<Ports>,
    lease: Option<UnchangedSince>,
    builds: HashMap<BuildId, Watch>,
}

impl AbandonedWorkflows {
    fn keys(&self) -> Vec<WorkflowKey> {
        self.watched.keys().cloned().collect()
    }

    /// Watches those that are open, and forgets those that are not, but for what is held by now.
    fn watch(
        &mut self,
        open: BTreeMap<WorkflowKey, Reach>,
        is_held: impl Fn(&WorkflowKey) -> bool,
    ) {
        self.watched.retain(|key, _| open.contains_key(key) || is_held(key));
        for (key, reach) in open {
            self.watched.entry(key).or_insert(WatchedWorkflow {
                reach,
                ports: None,
                lease: None,
                builds: HashMap::new(),
            });
        }
    }
}

impl Controller {
    /// Looks for them now and then, and after those that were found at every pass.
    pub(super) async fn settle_abandoned_workflows(&mut self, report: &mut PassReport) {
        self.look_for_abandoned_workflows().await;
        let silence = silence(&self.services.config);
        for key in self.abandoned.keys() {
            let (retry, now) = (RetryKey::OpenBuilds(key.clone()), self.services.context.now());
            if self.queue.waits(&retry, &Circumstances::Any, now).is_some() {
                continue;
            }
            match self.look_after_abandoned(&key, report).await {
                Ok(()) => {
                    self.succeeded(&retry, &key.origin());
                    let look = RetryKey::AbandonedWorkflow(key.clone());
                    self.queue.schedule(look, Circumstances::Any, now, now + silence / 4);
                }
                Err(error) => {
                    self.take_in_error(&key, &error);
                    report.errors += 1;
                    self.failed(&retry, &key.origin(), &Circumstances::Any, &error);
                }
            }
        }
    }

    async fn look_for_abandoned_workflows(&mut self) {
        let (key, now) = (RetryKey::AbandonedWorkflows, self.services.context.now());
        if self.queue.waits(&key, &Circumstances::Any, now).is_some() {
            return;
        }
        let everywhere = Origin { repository: "", folder: None, workflow: None };
        match self.open_elsewhere().await {
            Ok(open) => {
                let pause = silence(&self.services.config) * SILENCES;
                self.done_until(&key, &everywhere, Circumstances::Any, pause);
                let open = open.into_iter().map(|OpenWorkflow { workflow_id, reach }| {
                    let config = &self.services.config;
                    (WorkflowKey::without_location(workflow_id, &reach, config), reach)
                });
                let open = open.filter(|(key, _)| !self.is_at_home(key)).collect();
                self.abandoned.watch(open, |key| self.workflows.contains(key));
            }
            Err(error) => {
                self.failed(&key, &everywhere, &Circumstances::Any, &error);
            }
        }
    }

    /// What is open in the inventories that this process uses.
    async fn open_elsewhere(&self) -> Result<Vec<OpenWorkflow>, PassError> {
        if let InventoryConfig::Sqlite { path } = &self.services.config.inventory {
            return Ok(SqliteInventory::open_read_only(path)?.open_workflows().await?);
        }
        let mut asked = BTreeSet::new();
        let mut open = Vec::new();
        for (key, state) in self.workflows.iter() {
            if asked.insert((&key.inventory.profile, &key.inventory.region)) {
                open.extend(state.ports.inventory.open_workflows().await?);
            }
        }
        if asked.is_empty() {
            let who = Reach::default();
            let ports = self
                .services
                .connector
                .connect(&self.services.config, &Who::by(&who), Use::LookOffline)
                .await?;
            open = ports.inventory.open_workflows().await?;
        }
        Ok(open)
    }

    /// Whether git has it, or this host has taken charge of it: it is looked after in any case.
    fn is_at_home(&self, key: &WorkflowKey) -> bool {
        let all = self.workflows.owned.all();
        let mut owned = all
            .iter()
            .filter_map(|owned| Some(key_of(&self.repositories.of_workflow(owned)?.name, owned)));
        self.workflows.has_other(key)
            || self.workflows.coverage.has(key)
            || owned.any(|other| other.inventory == key.inventory)
    }

    async fn look_after_abandoned(
        &mut self,
        key: &WorkflowKey,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        if self.is_at_home(key) && !self.workflows.contains(key) {
            self.abandoned.watched.remove(key);
            return Ok(());
        }
        let Some(watched) = self.abandoned.watched.get(key) else {
            return Ok(());
        };
        let reach = watched.reach.clone();
        if reach.own_keys {
            return Err(Diagnostic::new(format!(
                "a build of workflow {}, which git has no more, is open, and AWS was reached for it with keys that stood in its parameters",
                key.inventory.id
            ))
            .hint("put the workflow back until the build is settled, or end what it left at AWS by hand")
            .into());
        }
        if !self.workflows.contains(key) {
            if !self.is_abandoned(key, &reach).await? {
                return Ok(());
            }
            self.connect(key, &Who::by(&reach), None).await?;
            // It was watched for as long as whoever takes a lease has to.
            let watched = self.abandoned.watched.get(key).and_then(|one| one.lease.clone());
            if let Some(state) = self.workflows.get_mut(key) {
                state.watched = watched;
            }
        }
        let Some(fence) = self.lease(key).await? else {
            self.workflows.remove(key);
            return Ok(());
        };
        let Some(ports) = self.workflows.to_act(key) else {
            return Ok(());
        };
        let newest = newest_attempts(ports.inventory.as_ref(), &key.inventory.id).await?;
        let held = HeldWorkflow { key, attempts: &newest.attempts, fence: &fence };
        let mut own = PassReport::default();
        self.look_after(&held, &ports, &mut own).await?;
        let is_removing_garbage = self.workflows.is_removing_garbage_of(key);
        let is_busy = self.builds.include_workflow(key) || is_removing_garbage || own.acted;
        if !is_busy && newest.attempts.values().all(Attempt::is_settled) {
            self.give_up(key).await;
            self.abandoned.watched.remove(key);
        }
        report.add(own);
        Ok(())
    }

    /// Whether nobody else is going to settle it: its lease was free, and each of its builds silent
    /// or over, for long enough.
    async fn is_abandoned(&mut self, key: &WorkflowKey, reach: &Reach) -> Result<bool, PassError> {
        let silence = silence(&self.services.config);
        let Some(watched) = self.abandoned.watched.get_mut(key) else {
            return Ok(false);
        };
        let ports = match watched.ports.take() {
            Some(ports) => ports,
            None => {
                self.services
                    .connector
                    .connect(&self.services.config, &Who::by(reach), Use::Look)
                    .await?
            }
        };
        let ports = watched.ports.insert(ports).clone();
        let asked = self.services.context.moment();
        let lease = ports.inventory.lease(&key.inventory.id).await?;
        let version = lease.as_ref().map_or("never held", |lease| &lease.version);
        let still = UnchangedSince::observe(
            &mut watched.lease,
            version,
            asked,
            self.services.context.moment(),
        );
        let held_by = lease.as_ref().and_then(|lease| lease.holder.as_deref());
        let mut free = held_by.is_none_or(|holder| self.services.context.is_gone(holder))
            || lease.is_some_and(|lease| still.as_secs() >= lease.duration_seconds);
        free &= still >= silence;
        let newest = newest_attempts(ports.inventory.as_ref(), &key.inventory.id).await?;
        let own = self.services.context.own_mark_with(&self.services.config.state_dir);
        for attempt in newest.attempts.values().filter(|one| !one.is_over()) {
            let sighting = ports.builder.find(&attempt.build_id).await?;
            let asked = self.services.context.moment();
            let beat = ports.inventory.last_beat(&key.inventory.id, &attempt.build_id).await?;
            let watch = watched
                .builds
                .entry(attempt.build_id.clone())
                .or_insert_with(|| Watch::begin(silence, asked));
            let seen = Evidence {
                here: here(&sighting, attempt.intent.prepared_by.as_ref(), own.as_ref()),
                told_started: attempt.is_said_to_run() && sighting != Sighting::NeverRan,
                life: watch.life(beat.as_ref(), asked, self.services.context.moment()),
                deadline: attempt.intent.deadline,
                now: self.services.context.now(),
            };
            free &= state(&seen) != State::MayRun;
        }
        Ok(free)
    }
}
