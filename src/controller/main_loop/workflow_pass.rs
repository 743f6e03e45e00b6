//! What the loop keeps of one workflow from pass to pass, and its part of a pass: connect, hold the
//! lease, look, act.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, InventoryConfig};
use crate::controller::checkout::Checkout;
use crate::controller::connect::{Ports, Use, Who, reach};
use crate::controller::context::{Context, block_in_place};
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::lease::{Asked, Held, Watched, ask, ask_patiently};
use crate::controller::main_loop::actions::{Acting, Charged};
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::garbage_tasks::Sweeping;
use crate::controller::main_loop::host_fitness::Verdict;
use crate::controller::main_loop::owned_workflows::OwnedWorkflow;
use crate::controller::main_loop::pass_rate::{most_tries, next_try};
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::observe::{Newest, Request, look, recorded};
use crate::controller::step_cache::StepCache;
use crate::git::discover::WorkflowFolder;
use reconciler_core::images::base_image::BaseSearch;
use reconciler_core::plan::Plan;
use reconciler_core::workflow::WorkflowParams;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{Region, Revision, WorkflowId};
use reconciler_model::inventory::journal::Reach;
use reconciler_model::inventory::{Fence, Lease};
use reconciler_model::source::GitTree;

/// Where git has a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::controller) struct WorkflowLocation {
    /// The name of the repository.
    pub(super) site: String,
    /// The folder in it.
    pub(super) folder: String,
}

/// What a workflow is in the inventory, in whatever folders git has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::controller) struct InventoryKey {
    pub(super) id: WorkflowId,
    /// The profile by which AWS is reached: it may be another account's.
    pub(super) profile: Option<String>,
    /// The region, where the inventory is in the workflow's own.
    pub(super) region: Option<String>,
}

/// A workflow, where it was found and where its records are. With another id, or records elsewhere,
/// it is another one: what was begun under the old ones is carried to its end under them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::controller) struct WorkflowKey {
    pub(super) location: WorkflowLocation,
    pub(super) inventory: InventoryKey,
}

impl WorkflowKey {
    pub(super) fn new(
        location: WorkflowLocation,
        params: &WorkflowParams,
        config: &Config,
    ) -> Self {
        let (profile, region) = (params.profile.clone(), params.region.clone());
        Self::with(location, params.workflow_id.clone(), profile, region, config)
    }

    /// A workflow that git says nothing of.
    pub(super) fn of_stranger(id: WorkflowId, reach: &Reach, config: &Config) -> Self {
        let (profile, region) = (reach.profile.clone(), reach.region.clone());
        Self::with(WorkflowLocation::default(), id, profile, region, config)
    }

    fn with(
        location: WorkflowLocation,
        id: WorkflowId,
        profile: Option<String>,
        region: Option<String>,
        config: &Config,
    ) -> Self {
        let follows = matches!(&config.inventory, InventoryConfig::DynamoDb { region: None, .. });
        let region = region.filter(|_| follows);
        Self { location, inventory: InventoryKey { id, profile, region } }
    }
}

/// One workflow, from pass to pass.
pub(super) struct WorkflowState {
    reach: Digest,
    pub(super) ports: Ports,
    pub(super) lease: Option<Held>,
    pub(super) watched: Option<Watched>,
    /// Who acts in this process's stead.
    pub(super) standing_by: Option<String>,
    pub(super) newest: Option<(u64, Newest)>,
    /// The journal's counter at the last look.
    pub(super) looked_at: u64,
    pub(super) searched: Option<BaseSearch>,
    pub(super) last_plan: Option<Plan>,
    pub(super) cache: StepCache,
    pub(super) sweeping: Sweeping,
}

impl WorkflowState {
    /// The journal's counter, as the lease sees it.
    pub(super) fn journal_seq(&self) -> u64 {
        self.lease.as_ref().map_or(0, Held::journal_seq)
    }

    /// Gives up the lease and what was known under it.
    pub(super) fn let_go(&mut self) -> Option<Held> {
        self.newest = None;
        self.lease.take()
    }

    /// The ports to look after a build of this region through: a workflow may be moved to another
    /// one.
    pub(super) fn to_act_in(&self, region: &Region) -> Option<LeasedPorts> {
        Some(self.to_act()?.in_region(Some(region)))
    }

    /// The ports to act through.
    pub(super) fn to_act(&self) -> Option<LeasedPorts> {
        Some(LeasedPorts::new(self.ports.clone(), self.lease.as_ref()?.lease_token()))
    }
}

/// Where git had a workflow.
pub(super) struct Home<'a> {
    /// The repository's place among those that are followed.
    pub(super) index: usize,
    /// The commit.
    pub(super) revision: &'a Revision,
    /// How AWS is reached for what is begun now.
    pub(super) reach: Reach,
}

impl Controller {
    /// One pass over one workflow.
    pub(super) async fn pass_workflow(
        &mut self,
        index: usize,
        key: &WorkflowKey,
        tree: &Arc<dyn GitTree>,
        folder: &WorkflowFolder,
        read: (WorkflowParams, Vec<Diagnostic>),
        report: &mut PassReport,
    ) -> Result<Verdict, PassError> {
        let params = &read.0;
        let home = Home { index, revision: tree.revision(), reach: reach(&self.config, params) };
        self.connect(key, &Who::of(params), Some(home)).await?;
        let Some(fence) = self.lease(key).await? else {
            self.round.served(key);
            return Ok(Verdict::default());
        };
        let cache = self.workflows.get(key).map(|state| &state.cache);
        let checkout = block_in_place(|| {
            let kept = cache.map(StepCache::load).unwrap_or_default();
            Checkout::read_further(tree, folder, read, kept)
        })?;
        let site = &self.sites[index];
        let checkout = Arc::new(checkout.with_local_exec(&site.local_exec));
        let reference = site.revision.clone().unwrap_or_else(|| site.source.reference());
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(Verdict::default());
        };
        let searched = state.searched.take();
        let request = Request {
            repository: &site.name,
            reference: &reference,
            forced: &self.options.forced,
            tried: self.options.once.then_some(&self.tried),
            searched: searched.as_ref(),
            now: self.context.now(),
        };
        let seq = state.journal_seq();
        state.looked_at = seq;
        let known = state.newest.take().filter(|(at, _)| *at == seq).map(|(_, newest)| newest);
        let recorded = recorded(state.ports.inventory.as_ref(), &fence.workflow_id, known).await?;
        let seen =
            look(&self.config, &state.ports, &checkout, &self.engine, &request, recorded).await?;
        state.searched = seen.searched;
        if state.last_plan.as_ref().is_none_or(|last| differs(last, &seen.plan)) {
            let before = state.last_plan.as_ref();
            let plan = &seen.plan;
            self.observer.notice(&key.origin(), &Event::Planned { plan, before });
        }
        let mut own = PassReport::default();
        let acting = Acting {
            owned: Charged { key, attempts: &seen.newest.attempts, fence: &fence },
            plan: &seen.plan,
            desired: &seen.desired,
        };
        let acted = self.act(&acting, &mut own).await;
        if let Some(state) = self.workflows.get_mut(key) {
            let unchanged = acted.is_ok() && !own.acted && own.errors == 0;
            state.newest = unchanged.then_some((seq, seen.newest));
            state.last_plan = Some(seen.plan.clone());
            if let Some(kept) = &seen.to_keep {
                state.cache.store(kept);
            }
        }
        let verdict = own.verdict;
        report.add(own);
        if let Some(at) = next_try(&seen.plan, &self.options, self.tries()) {
            report.wake_at(at);
        }
        report.plans.push(seen.plan);
        acted.map(|()| verdict)
    }

    fn tries(&self) -> u32 {
        let attempts = self.workflows.values().filter_map(|state| state.newest.as_ref());
        most_tries(attempts.flat_map(|(_, newest)| newest.attempts.values()))
    }

    /// Opens the ports of a workflow where they are not open, and takes charge of it if git has or
    /// had it.
    pub(super) async fn connect(
        &mut self,
        key: &WorkflowKey,
        who: &Who<'_>,
        home: Option<Home<'_>>,
    ) -> Result<(), PassError> {
        let reach = who.digest();
        if self.workflows.get(key).is_some_and(|state| state.reach == reach) {
            return Ok(());
        }
        self.refuse_to_begin_anew()?;
        let ports = self.connector.connect(&self.config, who, Use::Act).await?;
        ports.inventory.prepare().await?;
        let mut scope = (String::new(), String::new());
        if let Some(home) = home {
            let source = &self.sites[home.index].source;
            scope = (source.cache_scope(), key.location.folder.clone());
            let owned_workflow = OwnedWorkflow {
                repository: source.place(),
                folder: key.location.folder.clone(),
                workflow_id: key.inventory.id.clone(),
                profile: key.inventory.profile.clone(),
                region: key.inventory.region.clone(),
                revision: home.revision.clone(),
                reach: Some(home.reach),
            };
            if let Err(error) = self.owned_workflows.keep(&owned_workflow) {
                // On a full disk, say: what was begun is settled all the same, unless git stops
                // saying anything of it.
                tracing::warn!(workflow = %key.inventory.id, "what this host takes charge of cannot be kept: {error}");
            }
        }
        let state = WorkflowState {
            reach,
            ports,
            lease: None,
            watched: None,
            standing_by: None,
            newest: None,
            looked_at: 0,
            sweeping: Sweeping::default(),
            searched: None,
            last_plan: None,
            cache: StepCache::of(&self.config.state_dir, &scope.0, &scope.1),
        };
        let before = self.workflows.insert(key.clone(), state);
        if let Some(lease) = before.and_then(|before| before.lease) {
            lease.release().await;
        }
        self.end_what_is_unknown(key).await
    }

    pub(super) async fn lease(&mut self, key: &WorkflowKey) -> Result<Option<Fence>, PassError> {
        let unheld = |state: &WorkflowState| state.lease.is_none();
        if self.workflows.get(key).is_some_and(unheld)
            && (self.is_charged_elsewhere(key) || self.is_left_to_others(key))
        {
            return Ok(None);
        }
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(None);
        };
        if let Some(held) = &state.lease {
            if let Some(fence) = held.fence() {
                return Ok(Some(fence));
            }
            if let Some(lost) = state.lease.take() {
                lost.release().await;
            }
            state.newest = None;
            self.observer.notice(&key.origin(), &Event::Lost);
        }
        let duration = self.config.lease_duration;
        let inventory = &state.ports.inventory;
        let (observer, origin) = (&self.observer, key.origin());
        let held = if self.options.once {
            let told = |lease: &Lease| observer.notice(&origin, &Event::Waiting(lease));
            let asked = ask_patiently(
                &self.context,
                inventory,
                &key.inventory.id,
                duration,
                &self.stopping,
                told,
            );
            let Some(held) = asked.await? else {
                return Ok(None);
            };
            held
        } else {
            match ask(&self.context, inventory, &key.inventory.id, duration, &mut state.watched)
                .await?
            {
                Asked::Held(held) => held,
                Asked::Busy(lease) => {
                    if state.standing_by != lease.holder {
                        observer.notice(&origin, &Event::Standby(&lease));
                        state.standing_by = lease.holder;
                    }
                    return Ok(None);
                }
            }
        };
        let after = state.standing_by.take();
        let after = after.as_deref();
        observer.notice(&origin, &Event::Holding { after });
        let fence = held.fence();
        state.lease = Some(held);
        self.note_taken_again(key);
        Ok(fence)
    }
}

/// Ends when somebody else has written to a journal: a person's request, or what a heartbeat showed
/// of it.
pub(super) async fn journal_moved(
    context: &Context,
    workflows: &BTreeMap<WorkflowKey, WorkflowState>,
) {
    const LOOK: Duration = Duration::from_secs(1);
    let moved = |state: &WorkflowState| {
        let lease = state.lease.as_ref();
        lease.is_some_and(|held| held.journal_seq() != state.looked_at)
    };
    while !workflows.values().any(moved) {
        context.sleep(LOOK).await;
    }
}

/// Whether two plans say different things, whenever they were made.
fn differs(old: &Plan, new: &Plan) -> bool {
    old.revision != new.revision
        || old.steps != new.steps
        || old.orphans != new.orphans
        || old.newer_base != new.newer_base
}
