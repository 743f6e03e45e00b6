//! Does what a plan says, as far as it can be done now. Chooses nothing.
//!
//! What cannot be done for one step stops no other; it is tried again later, more rarely each time.

use std::collections::BTreeMap;

use crate::config::OnSuperseded;
use crate::controller::build_inputs::{BuildInputs, DecidedImage};
use crate::controller::build_start::{Started, start, take};
use crate::controller::checkout::Desired;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::main_loop::build_tasks::BuildTask;
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::workflow_state::WorkflowKey;
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::retag::update;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::{Build, Building, Decision, TakeOver, Update};
use reconciler_core::plan::forecast::build_order;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_model::build::Sighting;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::Fence;
use reconciler_model::inventory::journal::Attempt;

/// A workflow that this process holds the lease of.
pub(super) struct HeldWorkflow<'a> {
    pub(super) key: &'a WorkflowKey,
    /// The newest attempt at each step.
    pub(super) attempts: &'a BTreeMap<StepId, Attempt>,
    pub(super) fence: &'a Fence,
}

/// A held workflow with the plan of this pass.
pub(super) struct PlannedWorkflow<'a> {
    pub(super) held: HeldWorkflow<'a>,
    pub(super) plan: &'a Plan,
    /// What it was made with, and what is built is made from.
    pub(super) desired: &'a Desired,
}

/// What is begun for a step.
#[derive(Clone, Copy)]
enum Work<'a> {
    Build(&'a Build),
    TakeOver(&'a TakeOver),
}

/// What acting on a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acted {
    /// Nothing was done: something else comes first, and wakes the loop when it is over.
    Nothing,
    /// Something was begun, which is all that this step asked for.
    Begun,
    /// Something was changed that may turn out not to be as it was meant: how often it is done
    /// counts until its wait is over.
    Changed,
}

impl Controller {
    /// Does what the plan says, as far as it can be done now.
    pub(super) async fn act(
        &mut self,
        planned: &PlannedWorkflow<'_>,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let key = planned.held.key;
        let Some(ports) = self.workflows.to_act(key) else {
            return Ok(());
        };
        self.look_after(&planned.held, &ports, report).await?;
        if self.answer_by_plan(planned, &ports).await? {
            report.acted = true;
            return Ok(());
        }
        let circumstances = Circumstances::from(&planned.plan.revision);
        // Seeded bug: orphan-is-deleted
        let selection = self.options.selection(planned.plan);
        for step in build_order(planned.plan, selection.as_ref()) {
            let retry = RetryKey::Step(key.clone(), step.id.clone());
            let now = self.services.context.now();
            report.verdict.note(self.still_lacking(&step.decision));
            if !asks_for_action(&step.decision) {
                // All is well with it, or it is somebody else's turn. How often it was tried is
                // remembered for a while.
                self.is_well(&retry, &key.origin(), &circumstances, now);
                continue;
            }
            if self.queue.waits(&retry, &circumstances, now).is_some() {
                report.verdict.is_partial = true;
                continue;
            }
            match self.act_on(planned, step, &ports).await {
                Ok(Acted::Nothing) => {}
                Ok(Acted::Begun) => {
                    self.succeeded(&retry, &key.origin());
                    report.acted = true;
                }
                Ok(Acted::Changed) => {
                    let jitter = self.services.context.jitter();
                    self.queue.put_off(retry.clone(), circumstances.clone(), now, jitter);
                    let past = self.queue.did_work(&retry);
                    self.notice_recovery(&retry, &key.origin(), past);
                    report.acted = true;
                }
                Err(error) if error.is_fenced() => return Err(error),
                Err(error) => {
                    self.failed(&retry, &key.origin(), &circumstances, &error);
                    report.verdict.note(self.verdict_of(&error).lacks);
                    report.errors += 1;
                }
            }
        }
        Ok(())
    }

    /// Does what a step's decision says.
    async fn act_on(
        &mut self,
        planned: &PlannedWorkflow<'_>,
        step: &PlannedStep,
        ports: &LeasedPorts,
    ) -> Result<Acted, PassError> {
        match &step.decision {
            Decision::Update(change) => self.update(planned, step, change, ports).await,
            Decision::Building(building) => {
                self.end_superseded(planned.held.key, step, building, ports).await?;
                Ok(Acted::Nothing)
            }
            Decision::Build(build) => self.begin(planned, step, Work::Build(build), ports).await,
            Decision::TakeOver(taken) => {
                self.begin(planned, step, Work::TakeOver(taken), ports).await
            }
            _ => Ok(Acted::Nothing),
        }
    }

    /// Brings tags or a record up to date.
    async fn update(
        &mut self,
        planned: &PlannedWorkflow<'_>,
        step: &PlannedStep,
        change: &Update,
        ports: &LeasedPorts,
    ) -> Result<Acted, PassError> {
        let HeldWorkflow { key, fence, .. } = planned.held;
        update(ports, &planned.desired.checkout, step, change, fence).await?;
        self.notice(key, &Event::Updated(step));
        Ok(Acted::Changed)
    }

    /// Carries on what was begun, whatever git says by now.
    pub(super) async fn look_after(
        &mut self,
        held: &HeldWorkflow<'_>,
        ports: &LeasedPorts,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        self.resume(held, ports, report).await?;
        self.remove_garbage(held, ports).await;
        self.end_on_request(held, ports).await?;
        self.workflows.coverage.served(held.key);
        Ok(())
    }

    /// Starts one build if its source is known and there is room, or takes an image over.
    async fn begin(
        &mut self,
        planned: &PlannedWorkflow<'_>,
        step: &PlannedStep,
        work: Work<'_>,
        ports: &LeasedPorts,
    ) -> Result<Acted, PassError> {
        let HeldWorkflow { key, fence, .. } = planned.held;
        let most = self.services.config.max_concurrent_builds;
        let (has_room, decided) = match work {
            Work::Build(build) => (self.builds.have_room(most), DecidedImage::of_build(build)),
            Work::TakeOver(taken) => {
                (self.builds.have_room(usize::MAX), Some(DecidedImage::of_take_over(taken)))
            }
        };
        let Some(decided) = decided else {
            return Ok(Acted::Nothing);
        };
        // Its image is this step's source, and not on record yet.
        let parent = planned.plan.steps.iter().find(|one| Some(&one.id) == step.parent.as_ref());
        let early = parent.is_some_and(|parent| matches!(parent.decision, Decision::TakeOver(_)));
        // What an earlier build left would be forgotten with it.
        let before = planned.held.attempts.get(&step.id);
        // Seeded bug: leftovers-are-forgotten
        let is_unsettled = before.is_some_and(|before| !before.is_settled());
        let is_settling = is_unsettled || self.builds.include_step(key, &step.id);
        let is_removing_garbage = self.workflows.is_removing_garbage_of(key);
        if !has_room || early || is_settling || is_removing_garbage {
            return Ok(Acted::Nothing);
        }
        let inputs = BuildInputs::of(planned.desired, &step.id, decided)?;
        // A daemon lives for months; credentials may not.
        let ports = ports.with_fresh_credentials().await?;
        let config = &self.services.config;
        let started = match work {
            Work::Build(_) => start(config, &ports, &inputs, fence).await?,
            Work::TakeOver(taken) => take(config, &ports, &inputs, &taken.image, fence).await?,
        };
        if !matches!(started, Started::Changed) {
            self.options.forced.remove(&step.id);
        }
        match started {
            // Planned again at once.
            Started::Changed => {}
            Started::Running(attempt, running) => {
                self.notice(key, &Event::Started(&attempt));
                let task = BuildTask::Carry(Sighting::Here(running));
                self.follow(key, &ports, fence, *attempt, task);
            }
            Started::Exists(attempt, image) => {
                self.follow(key, &ports, fence, *attempt, BuildTask::TakeOver(image));
            }
            Started::Failed(attempt) => {
                self.builds.note_tried(attempt.build_id.clone());
                self.notice(key, &Event::Ended(&attempt));
            }
        }
        Ok(Acted::Begun)
    }

    /// Ends builds of this host that a person wants to end.
    async fn end_on_request(
        &mut self,
        held: &HeldWorkflow<'_>,
        ports: &LeasedPorts,
    ) -> Result<(), PassError> {
        for attempt in held.attempts.values().filter(|one| !one.is_over()) {
            if let Some(asked) = &attempt.cancel_requested
                && self.builds.cancel(&attempt.build_id, Some(ports.builder.as_ref())).await?
            {
                let event = Event::CancelRequested { step: &attempt.step_id, by: &asked.by };
                self.notice(held.key, &event);
            }
        }
        Ok(())
    }

    /// Ends a build for which git says something else by now, if that is wanted.
    async fn end_superseded(
        &mut self,
        key: &WorkflowKey,
        step: &PlannedStep,
        building: &Building,
        ports: &LeasedPorts,
    ) -> Result<(), PassError> {
        if building.superseded
            // Seeded bug: superseded-runs-on
            && self.services.config.on_superseded == OnSuperseded::Cancel
            && self.builds.cancel(&building.build_id, Some(ports.builder.as_ref())).await?
        {
            self.notice(key, &Event::Superseded(&step.id));
        }
        Ok(())
    }
}

/// Whether there is something to be done about a step now.
fn asks_for_action(decision: &Decision) -> bool {
    matches!(
        decision,
        Decision::Update(_) | Decision::Building(_) | Decision::Build(_) | Decision::TakeOver(_)
    )
}
