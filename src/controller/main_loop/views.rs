//! Publishes after each pass what stands, for whoever shows it. The loop waits for nobody: who is
//! slow sees the newest view when it looks, and where nobody listens nothing is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::controller::error::PassError;
use crate::controller::lease::Held;
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::pass_coverage::InGit;
use crate::controller::main_loop::retry_queue::RetryKey;
use crate::controller::main_loop::workflow_state::{WorkflowKey, WorkflowLocation, WorkflowState};
use crate::controller::process_sight::sights_here;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::forecast::{BuildSlots, Outlook};
use reconciler_core::status::report::{Facts, report};
use reconciler_core::view::rollout::Rollout;
use reconciler_core::view::{RepositoryView, Slots, Standing, View, WorkflowView};
use reconciler_model::diagnostic::Diagnostic;

/// Where views are published.
pub(super) struct Views {
    sender: watch::Sender<Arc<View>>,
    rollouts: BTreeMap<WorkflowKey, Rollout>,
    /// The workflows whose inventory was not reached when it was last looked for, and why.
    unreached: BTreeMap<WorkflowKey, String>,
}

impl Views {
    /// None is published yet.
    pub(super) fn new(now: jiff::Timestamp) -> Self {
        let (sender, _) = watch::channel(Arc::new(View::of_nothing(now)));
        Self { sender, rollouts: BTreeMap::new(), unreached: BTreeMap::new() }
    }

    /// Sees every view that is published from now on, or the newest of them.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.sender.subscribe()
    }

    /// Notes whether a pass over a workflow reached its inventory, by what stopped it and whether
    /// its ports are open.
    pub(super) fn note_inventory(
        &mut self,
        key: &WorkflowKey,
        error: Option<&PassError>,
        is_open: bool,
    ) {
        match error {
            Some(error) if !is_open || error.is_of_the_way_to_the_inventory() => {
                self.unreached.insert(key.clone(), error.diagnostic().one_line());
            }
            _ => {
                self.unreached.remove(key);
            }
        }
    }
}

impl Controller {
    /// Publishes what stands after a pass that took so long, if anybody listens.
    pub(super) fn publish(&mut self, took: Duration) {
        if self.views.sender.receiver_count() == 0 {
            return;
        }
        let now = self.services.context.now();
        let limit = self.services.config.max_concurrent_builds;
        let is_there =
            |key: &WorkflowKey| self.workflows.coverage.of_unserved(key) != Some(InGit::Gone);
        let described: Vec<_> = self.workflows.iter().filter(|(key, _)| is_there(key)).collect();
        // Of what another acts on, the last plan of this process is an old one.
        let held = described.iter().filter(|(_, state)| state.fence().is_some());
        let planned: Vec<_> =
            held.filter_map(|(key, state)| Some((*key, state.last_plan.as_deref()?))).collect();
        let plans: Vec<_> = planned.iter().map(|(_, plan)| (*plan, None)).collect();
        let slots = BuildSlots { limit, taken: self.builds_that_no_plan_shows(&planned) };
        let outlooks = Outlook::of(&plans, slots, now);
        let outlooks: BTreeMap<_, _> = planned.iter().map(|(key, _)| *key).zip(&outlooks).collect();
        let before = std::mem::take(&mut self.views.rollouts);
        let rollout = |key, plan| Rollout::after(before.get(key), plan);
        let rollouts = planned.iter().filter_map(|(key, plan)| Some((*key, rollout(*key, plan)?)));
        self.views.rollouts = rollouts.map(|(key, rollout)| (key.clone(), rollout)).collect();
        let mut workflows: Vec<_> = described
            .iter()
            .map(|(key, state)| {
                let outlook = outlooks.get(*key).copied();
                let rollout = self.views.rollouts.get(*key).cloned();
                self.view_of(key, state, outlook, rollout)
            })
            .collect();
        let coverage = &self.workflows.coverage;
        self.views.unreached.retain(|key, _| coverage.of_unserved(key) != Some(InGit::Gone));
        let unopened = self.views.unreached.iter();
        let unopened = unopened.filter(|(key, _)| !self.workflows.contains(key));
        workflows.extend(unopened.map(|(key, why)| unopened_view(key, why)));
        workflows.sort_by(|a, b| (&a.repository, &a.folder).cmp(&(&b.repository, &b.folder)));
        let waiting = workflows.iter().filter_map(|workflow| workflow.report.as_ref());
        let waiting = waiting.flat_map(|report| &report.steps);
        let slots = Slots {
            limit,
            running: self.builds.ids().count(),
            waiting: waiting.filter(|step| step.place_in_line.is_some()).count(),
        };
        let view = View {
            sequence: self.views.sender.borrow().sequence + 1,
            at: now,
            took,
            repositories: self.repositories_seen(),
            workflows,
            troubles: self.host.status_file.shown(),
            slots,
        };
        self.views.sender.send_replace(Arc::new(view));
    }

    /// How many builds are followed that none of these plans shows.
    fn builds_that_no_plan_shows(&self, planned: &[(&WorkflowKey, &Plan)]) -> usize {
        let steps = planned.iter().flat_map(|(_, plan)| &plan.steps);
        let shown: BTreeSet<_> = steps
            .filter_map(|step| match &step.decision {
                Decision::Building(building) => Some(&building.build_id),
                _ => None,
            })
            .collect();
        self.builds.ids().filter(|build| !shown.contains(build)).count()
    }

    fn view_of(
        &self,
        key: &WorkflowKey,
        state: &WorkflowState,
        outlook: Option<&Outlook>,
        rollout: Option<Rollout>,
    ) -> WorkflowView {
        let lease = state.lease().map(Held::lease);
        let holds = state.fence().is_some();
        let standing = match &state.standing_by {
            _ if holds => Standing::Holds,
            Some(other) => Standing::StandsBy(other.clone()),
            None => Standing::Nobody,
        };
        let plan = state.last_plan.clone().filter(|_| holds);
        let report = plan.as_deref().map(|plan| {
            let state_dir = &self.services.config.state_dir;
            let sights = sights_here(state_dir, lease.as_ref(), &state.open_attempts);
            let facts = Facts {
                attempts: &state.open_attempts,
                lease: lease.as_ref(),
                sights: &sights,
                wanted: None,
                outlook,
            };
            report(plan, &facts)
        });
        WorkflowView {
            repository: key.location.repository.clone(),
            folder: key.location.folder.clone(),
            workflow_id: key.inventory.id.clone(),
            standing,
            report,
            reaches_inventory: !self.views.unreached.contains_key(key),
            plan,
            rollout,
            error: self.why_not_looked_at(&key.location, state),
        }
    }

    /// Why the last pass could not look at a workflow: what stopped it there, or before it came to
    /// the workflow at all.
    fn why_not_looked_at(
        &self,
        location: &WorkflowLocation,
        state: &WorkflowState,
    ) -> Option<String> {
        let before = [
            RetryKey::Workflow(location.clone()),
            RetryKey::SharedId(location.clone()),
            RetryKey::Repository(location.repository.clone()),
        ];
        let there = state.last_error.as_ref().map(|error| &error.why);
        let why = there.or_else(|| before.iter().find_map(|key| self.queue.why_not(key)));
        why.map(Diagnostic::one_line)
    }

    fn repositories_seen(&self) -> Vec<RepositoryView> {
        let followed = self.repositories.followed();
        let seen = followed.map(|repository| RepositoryView {
            name: repository.name.clone(),
            fetched_at: self.host.fetching.fetched_at(&repository.source.place()),
            poll_interval: repository.poll_interval,
        });
        seen.collect()
    }
}

/// A workflow whose ports could not be opened.
fn unopened_view(key: &WorkflowKey, why: &str) -> WorkflowView {
    WorkflowView {
        repository: key.location.repository.clone(),
        folder: key.location.folder.clone(),
        workflow_id: key.inventory.id.clone(),
        standing: Standing::Nobody,
        report: None,
        reaches_inventory: false,
        plan: None,
        rollout: None,
        error: Some(why.to_owned()),
    }
}
