//! One workflow's part of a pass: connect, hold the lease, look, act.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::checkout::Checkout;
use crate::controller::connect::{Use, Who, reach};
use crate::controller::context::block_in_place;
use crate::controller::error::PassError;
use crate::controller::lease::{Asked, Held, ask, ask_patiently};
use crate::controller::main_loop::actions::{HeldWorkflow, PlannedWorkflow};
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::host_fitness::Verdict;
use crate::controller::main_loop::owned_workflows::OwnedWorkflow;
use crate::controller::main_loop::repositories::ReadParams;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::run_options::MOST_TRIES;
use crate::controller::main_loop::workflow_state::{WorkflowKey, WorkflowState};
use crate::controller::main_loop::{Controller, FollowedRepository, PassReport, Services};
use crate::controller::observe::{Request, look, recorded};
use crate::controller::step_cache::StepCache;
use crate::git::discover::WorkflowFolder;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::Decision;
use reconciler_model::ids::Revision;
use reconciler_model::inventory::journal::{Attempt, FailureClass, Progress, Reach};
use reconciler_model::inventory::{Fence, Lease};
use reconciler_model::source::GitTree;

/// How soon a lease is asked for again that another holds, or that is left to others.
const STANDBY: Duration = Duration::from_secs(5);

/// Where git had a workflow.
pub(super) struct Home<'a> {
    /// The repository.
    pub(super) repository: &'a FollowedRepository,
    /// The commit.
    pub(super) revision: &'a Revision,
    /// How AWS is reached for what is begun now.
    pub(super) reach: Reach,
}

impl Controller {
    /// One pass over one workflow.
    pub(super) async fn pass_workflow(
        &mut self,
        repository: &FollowedRepository,
        key: &WorkflowKey,
        tree: &Arc<dyn GitTree>,
        folder: &WorkflowFolder,
        read: ReadParams,
        report: &mut PassReport,
    ) -> Result<Verdict, PassError> {
        let params = &read.0;
        let reach = reach(&self.services.config, params);
        let home = Home { repository, revision: tree.revision(), reach };
        self.connect(key, &Who::of(params), Some(home)).await?;
        let Some(fence) = self.lease(key).await? else {
            self.workflows.coverage.served(key);
            return Ok(Verdict::default());
        };
        // What was asked before this process took the lease.
        self.answer_by_journal_of(key, report).await;
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(Verdict::default());
        };
        state.follow_history(repository, tree.revision(), &fence).await?;
        let checkout = block_in_place(|| {
            Checkout::read_further(tree, folder, read, StepCache::load(&state.cache))
        })?;
        let checkout = Arc::new(checkout.with_local_exec(&repository.local_exec));
        let reference =
            repository.revision.clone().unwrap_or_else(|| repository.source.reference());
        let searched = state.searched.take();
        let request = Request {
            repository: &repository.name,
            reference: &reference,
            forced: &self.options.forced,
            tried: self.options.once.then_some(self.builds.tried()),
            searched: searched.as_ref(),
            now: self.services.context.now(),
        };
        let (seq, known) = state.look_at_journal();
        let recorded = recorded(state.ports.inventory.as_ref(), &fence.workflow_id, known).await?;
        let Services { config, engine, observer, .. } = &self.services;
        let observed = look(config, &state.ports, &checkout, engine, &request, recorded).await?;
        state.searched = observed.searched;
        if state.last_plan.as_ref().is_none_or(|last| differs(last, &observed.plan)) {
            let before = state.last_plan.as_deref();
            let plan = &observed.plan;
            observer.notice(&key.origin(), &Event::Planned { plan, before });
        }
        let attempts = observed.newest.attempts.iter();
        let open = attempts.filter(|(_, attempt)| !attempt.is_over());
        state.open_attempts = open.map(|(step, one)| (step.clone(), one.clone())).collect();
        let mut own = PassReport::default();
        let planned = PlannedWorkflow {
            held: HeldWorkflow { key, attempts: &observed.newest.attempts, fence: &fence },
            plan: &observed.plan,
            desired: &observed.desired,
        };
        let acted = self.act(&planned, &mut own).await;
        if let Some(state) = self.workflows.get_mut(key) {
            if acted.is_ok() && !own.acted && own.errors == 0 {
                state.keep_journal(seq, observed.newest);
            }
            state.last_plan = Some(Arc::new(observed.plan.clone()));
            state.last_error = None;
            if let Some(kept) = &observed.to_keep {
                state.cache.store(kept);
            }
        }
        let verdict = own.verdict;
        report.add(own);
        self.wait_for_failed_steps(key, &observed.plan);
        report.plans.push(observed.plan);
        acted.map(|()| verdict)
    }

    /// Notes when the first of the steps whose last build failed may be built again. A command that
    /// ends waits for what mends itself, not for a person, and not for ever.
    fn wait_for_failed_steps(&mut self, key: &WorkflowKey, plan: &Plan) {
        let (retry, now) = (RetryKey::FailedSteps(key.clone()), self.services.context.now());
        let (once, tries) = (self.options.once, most_tries(self.workflows.newest_attempts()));
        match first_retry(plan, once).filter(|_| !once || tries < MOST_TRIES) {
            Some(due) => self.queue.schedule(retry, Circumstances::Any, now, due),
            None => self.queue.forget(&retry),
        };
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
        if self.workflows.get(key).is_some_and(|state| state.is_reached_by(&reach)) {
            return Ok(());
        }
        self.refuse_to_begin_anew()?;
        let ports = self.services.connector.connect(&self.services.config, who, Use::Act).await?;
        ports.inventory.prepare().await?;
        let mut scope = (String::new(), String::new());
        if let Some(home) = home {
            let source = &home.repository.source;
            scope = (source.cache_scope(), key.location.folder.clone());
            let owned = OwnedWorkflow {
                repository: source.place(),
                folder: key.location.folder.clone(),
                workflow_id: key.inventory.id.clone(),
                profile: key.inventory.profile.clone(),
                region: key.inventory.region.clone(),
                revision: home.revision.clone(),
                reach: Some(home.reach),
            };
            if let Err(error) = self.workflows.owned.keep(&owned) {
                // On a full disk, say: what was begun is settled all the same, unless git stops
                // saying anything of it.
                tracing::warn!(workflow = %key.inventory.id, "what this host takes charge of cannot be kept: {error}");
            }
        }
        let cache = StepCache::of(&self.services.config.state_dir, &scope.0, &scope.1);
        let state = WorkflowState::new(reach, ports, cache);
        if let Some(lease) = self.workflows.insert(key, state) {
            lease.release().await;
        }
        self.end_what_is_unknown(key).await
    }

    /// The lease of a workflow, asked for if it is not held; none while another holds it, or while
    /// it is to be left to others: it is asked for again soon.
    pub(super) async fn lease(&mut self, key: &WorkflowKey) -> Result<Option<Fence>, PassError> {
        let fence = self.held_lease(key).await?;
        match fence {
            Some(_) => {
                self.queue.forget(&RetryKey::Lease(key.clone()));
            }
            None => self.ask_for_lease_soon(key),
        }
        Ok(fence)
    }

    /// A lease that is not held is asked for again soon.
    pub(super) fn ask_for_lease_soon(&mut self, key: &WorkflowKey) {
        let now = self.services.context.now();
        let lease = RetryKey::Lease(key.clone());
        self.queue.schedule(lease, Circumstances::Any, now, now + STANDBY);
    }

    async fn held_lease(&mut self, key: &WorkflowKey) -> Result<Option<Fence>, PassError> {
        if self.workflows.get(key).is_some_and(|state| state.lease().is_none())
            && (self.is_in_charge_elsewhere(key) || self.is_left_to_others(key))
        {
            return Ok(None);
        }
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(None);
        };
        if let Some(fence) = state.lease().and_then(Held::fence) {
            return Ok(Some(fence));
        }
        let Services { context, config, observer, .. } = &self.services;
        let origin = key.origin();
        if let Some(lost) = state.let_go() {
            lost.release().await;
            observer.notice(&origin, &Event::Lost);
        }
        let duration = config.lease_duration;
        let (inventory, id) = (&state.ports.inventory, &key.inventory.id);
        let held = if self.options.once {
            let waiting = |lease: &Lease| observer.notice(&origin, &Event::Waiting(lease));
            let stopping = self.builds.stopping();
            let is_stopping = || stopping.is_stopping();
            let asked = ask_patiently(context, inventory, id, duration, is_stopping, waiting);
            let Some(held) = asked.await? else {
                return Ok(None);
            };
            held
        } else {
            match ask(context, inventory, id, duration, &mut state.watched).await? {
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
        observer.notice(&origin, &Event::Holding { after: after.as_deref() });
        let fence = held.fence();
        state.hold(held);
        self.note_taken_again(key);
        Ok(fence)
    }
}

/// How often the most tried of the failed attempts was tried before.
fn most_tries<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> u32 {
    attempts
        .filter(|attempt| matches!(attempt.progress, Progress::Failed(_)))
        .map(|attempt| attempt.intent.attempt)
        .max()
        .unwrap_or(0)
}

/// When the first of a plan's failed steps may be built again; none: none of them waits for a time
/// or, with `only_transient`, for what mends itself.
fn first_retry(plan: &Plan, only_transient: bool) -> Option<Timestamp> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.decision {
            Decision::BackingOff { until, failure, .. }
                if !only_transient || failure.class == FailureClass::Transient =>
            {
                Some(*until)
            }
            _ => None,
        })
        .min()
}

/// Whether two plans say different things, whenever they were made.
fn differs(old: &Plan, new: &Plan) -> bool {
    old.revision != new.revision
        || old.steps != new.steps
        || old.orphans != new.orphans
        || old.newer_base != new.newer_base
}
