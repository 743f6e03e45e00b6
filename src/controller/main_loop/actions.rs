//! Does what a plan says, as far as it can be done now. Chooses nothing.
//!
//! What cannot be done for one step stops no other; it is tried again later, more rarely each time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::config::OnSuperseded;
use crate::controller::build_inputs::{BuildInputs, DecidedImage};
use crate::controller::build_start::{Started, start, take};
use crate::controller::checkout::Desired;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::main_loop::backoff::BackoffKey;
use crate::controller::main_loop::build_tasks::BuildTask;
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowState};
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::retag::update;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::{Build, Building, Decision, TakeOver};
use reconciler_core::plan::planner::PlannedStep;
use reconciler_model::build::Sighting;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::Fence;
use reconciler_model::inventory::journal::Attempt;

/// A workflow that this process holds the lease of.
pub(super) struct Charged<'a> {
    pub(super) key: &'a WorkflowKey,
    /// The newest attempt at each step.
    pub(super) attempts: &'a BTreeMap<StepId, Attempt>,
    pub(super) fence: &'a Fence,
}

/// Its part of a pass, once it is planned.
pub(super) struct Acting<'a> {
    pub(super) owned: Charged<'a>,
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

impl Controller {
    /// Does what the plan says, as far as it can be done now.
    pub(super) async fn act(
        &mut self,
        acting: &Acting<'_>,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let Charged { key, fence, .. } = acting.owned;
        let Some(ports) = self.workflows.get(key).and_then(WorkflowState::to_act) else {
            return Ok(());
        };
        self.look_after(&acting.owned, &ports, report).await?;
        // Seeded bug: orphan-is-deleted
        let selection = self.options.selection(acting.plan);
        for step in acting.plan.wanted(selection.as_ref()) {
            let matter = BackoffKey::Step(key.clone(), step.id.clone());
            let revision = Some(&acting.plan.revision);
            let now = self.context.now();
            if !asks_for_action(&step.decision) {
                // All is well with it, or it is somebody else's turn. How often it was tried is
                // remembered for a while.
                self.absolve(&matter, &key.origin(), revision, now);
                continue;
            }
            if let Some(until) = self.backoffs.holds(&matter, revision, now) {
                report.verdict.is_partial = true;
                report.try_again(until, &self.options);
                continue;
            }
            report.verdict.note(self.still_lacking(&step.decision));
            let done = match &step.decision {
                Decision::Update(change) => {
                    // What is brought up to date and differs again at once is not mended by doing
                    // it faster.
                    self.backoffs.note(matter.clone(), revision, now, self.context.jitter());
                    let done = update(&ports, &acting.desired.checkout, step, change, fence).await;
                    if done.is_ok() {
                        let past = self.backoffs.exonerate(&matter);
                        self.tell_of_past(&matter, &key.origin(), past);
                    }
                    done.map(|()| {
                        self.tell(key, &Event::Updated(step));
                        true
                    })
                }
                Decision::Building(building) => {
                    self.end_superseded(key, step, building, &ports).await.map(|()| false)
                }
                Decision::Build(build) => {
                    let work = Work::Build(build);
                    self.begin(acting, step, work, &ports).await
                }
                Decision::TakeOver(taken) => {
                    let work = Work::TakeOver(taken);
                    self.begin(acting, step, work, &ports).await
                }
                _ => Ok(false),
            };
            match done {
                Ok(done) => {
                    if done && matches!(step.decision, Decision::Build(_) | Decision::TakeOver(_)) {
                        self.settle(&matter, &key.origin());
                    }
                    report.acted |= done;
                }
                Err(error) if error.is_fenced() => return Err(error),
                Err(error) => {
                    let until = self.put_off(&matter, &key.origin(), revision, &error);
                    report.verdict.note(self.verdict_of(&error).lacks);
                    report.try_again(until, &self.options);
                    report.errors += 1;
                }
            }
        }
        Ok(())
    }

    /// Carries on what was begun, whatever git says by now.
    pub(super) async fn look_after(
        &mut self,
        owned: &Charged<'_>,
        ports: &LeasedPorts,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        self.resume(owned, ports, report).await?;
        self.sweep(owned, ports).await;
        self.end_on_request(owned, ports).await?;
        self.round.served(owned.key);
        Ok(())
    }

    /// Starts one build if its source is known and there is room, or takes an image over. Returns
    /// whether anything was done.
    async fn begin(
        &mut self,
        acting: &Acting<'_>,
        step: &PlannedStep,
        work: Work<'_>,
        ports: &LeasedPorts,
    ) -> Result<bool, PassError> {
        let Charged { key, fence, .. } = acting.owned;
        let stopping = self.stopping.load(Ordering::Acquire);
        let (full, decided) = match work {
            Work::Build(build) => (
                self.running.len() >= self.config.max_concurrent_builds,
                DecidedImage::of_build(build),
            ),
            Work::TakeOver(taken) => (false, Some(DecidedImage::of_take_over(taken))),
        };
        let Some(decided) = decided else {
            return Ok(false);
        };
        // Its image is this step's source, and not on record yet.
        let parent = acting.plan.steps.iter().find(|one| Some(&one.id) == step.parent.as_ref());
        let early = parent.is_some_and(|parent| matches!(parent.decision, Decision::TakeOver(_)));
        // What an earlier build left would be forgotten with it.
        let before = acting.owned.attempts.get(&step.id);
        let unsettled =
            // Seeded bug: leftovers-are-forgotten
            self.is_settling(key, &step.id) || before.is_some_and(|before| !before.is_settled());
        let state = self.workflows.get(key);
        let sweeping = state.is_some_and(|state| state.sweeping.under_way);
        if stopping || full || early || unsettled || sweeping {
            return Ok(false);
        }
        let inputs = BuildInputs::of(acting.desired, &step.id, decided)?;
        // A daemon lives for months; credentials may not.
        let ports = ports.with_fresh_credentials().await?;
        let started = match work {
            Work::Build(_) => start(&self.config, &ports, &inputs, fence).await?,
            Work::TakeOver(taken) => {
                take(&self.config, &ports, &inputs, &taken.image, fence).await?
            }
        };
        if !matches!(started, Started::Changed) {
            self.options.forced.remove(&step.id);
        }
        match started {
            // Planned again at once.
            Started::Changed => {}
            Started::Running(attempt, running) => {
                self.tried.insert(attempt.build_id.clone());
                self.tell(key, &Event::Started(&attempt));
                let task = BuildTask::Carry(Sighting::Here(running));
                self.follow(key, &ports, fence, *attempt, task);
            }
            Started::Exists(attempt, image) => {
                self.tried.insert(attempt.build_id.clone());
                self.follow(key, &ports, fence, *attempt, BuildTask::TakeOver(image));
            }
            Started::Failed(attempt) => {
                self.tried.insert(attempt.build_id.clone());
                self.tell(key, &Event::Ended(&attempt));
            }
        }
        Ok(true)
    }

    /// Ends builds of this host that a person wants to end.
    async fn end_on_request(
        &mut self,
        owned: &Charged<'_>,
        ports: &LeasedPorts,
    ) -> Result<(), PassError> {
        for attempt in owned.attempts.values().filter(|one| !one.is_over()) {
            let Some(asked) = &attempt.cancel_requested else {
                continue;
            };
            if let Some(followed) = self.running.get_mut(&attempt.build_id)
                && let Some(running) = &followed.running
                && !followed.ending
            {
                ports.builder.cancel(running).await?;
                followed.ending = true;
                let event = Event::CancelRequested { step: &attempt.step_id, by: &asked.by };
                self.tell(owned.key, &event);
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
            && self.config.on_superseded == OnSuperseded::Cancel
            && let Some(followed) = self.running.get_mut(&building.build_id)
            && let Some(running) = &followed.running
            && !followed.ending
        {
            ports.builder.cancel(running).await?;
            followed.ending = true;
            self.tell(key, &Event::Superseded(&step.id));
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
