//! Builds under way: each is followed in a task of its own, and the loop learns by a message what
//! it came to.

use std::sync::Arc;

use crate::controller::build_finish::{carry, take_over};
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::main_loop::actions::HeldWorkflow;
use crate::controller::main_loop::builds_under_way::{FollowedBuild, TaskResult};
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::host_fitness::Verdict;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::run_options::MOST_TRIES;
use crate::controller::main_loop::workflow_state::WorkflowKey;
use crate::controller::main_loop::{Controller, PassReport};
use reconciler_model::build::Sighting;
use reconciler_model::ids::BuildId;
use reconciler_model::images::Image;
use reconciler_model::inventory::Fence;
use reconciler_model::inventory::journal::Attempt;

/// What is to be done for a build.
pub(super) enum BuildTask {
    /// It is waited for, and carried to its record or its failure and a clean account.
    Carry(Sighting),
    /// The image that it is to make exists: it is recorded.
    TakeOver(Box<Image>),
}

impl Controller {
    /// Takes in what a task came to.
    pub(super) fn take_in(&mut self, result: &TaskResult) {
        match result {
            TaskResult::Garbage { workflow, circumstances, result } => {
                self.take_in_garbage(workflow, circumstances, result.as_ref().err());
            }
            TaskResult::Build { workflow, build_id, took_over, result } => {
                self.take_in_build(workflow, build_id, *took_over, result);
            }
        }
    }

    fn take_in_build(
        &mut self,
        workflow: &WorkflowKey,
        build_id: &BuildId,
        took_over: bool,
        result: &Result<Attempt, PassError>,
    ) {
        let had_ended = self.builds.remove(build_id).is_some_and(|one| one.had_ended);
        if let Some(state) = self.workflows.get_mut(workflow) {
            state.forget_journal();
        }
        let key = RetryKey::Build(build_id.clone());
        match result {
            Ok(attempt) => {
                self.succeeded(&key, &workflow.origin());
                if took_over {
                    self.notice(workflow, &Event::TakenOver(attempt));
                } else if !had_ended {
                    self.notice(workflow, &Event::Ended(attempt));
                }
            }
            Err(error) => {
                self.failed(&key, &workflow.origin(), &Circumstances::Any, error);
                let lacks = self.verdict_of(error).lacks;
                if lacks.is_some() {
                    let verdict = Verdict { lacks, is_partial: true };
                    self.judge(workflow, verdict);
                }
            }
        }
    }

    /// Builds of an earlier process or of another host, and those whose end or whose leftovers
    /// could not be settled, are followed again; also those of steps that left git.
    pub(super) async fn resume(
        &mut self,
        held: &HeldWorkflow<'_>,
        ports: &LeasedPorts,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let unsettled = |one: &&Attempt| !one.is_settled();
        for attempt in held.attempts.values().filter(unsettled) {
            // Seeded bug: builds-are-not-resumed
            if self.builds.contains(&attempt.build_id) {
                continue;
            }
            let key = RetryKey::Build(attempt.build_id.clone());
            let tried = self.queue.times(&key);
            if self.options.once && tried >= MOST_TRIES {
                report.errors += 1;
                continue;
            }
            if self.queue.waits(&key, &Circumstances::Any, self.services.context.now()).is_some() {
                report.verdict.is_partial = true;
                continue;
            }
            let sighting = ports.builder.find(&attempt.build_id).await?;
            if tried == 0 && !attempt.is_over() {
                self.notice(held.key, &Event::Resumed(attempt));
            }
            let state = self.workflows.get(held.key);
            let Some(ports) = state.and_then(|state| state.to_act_in(&attempt.intent.region))
            else {
                return Ok(());
            };
            let task = BuildTask::Carry(sighting);
            self.follow(held.key, &ports, held.fence, attempt.clone(), task);
            report.acted = true;
        }
        Ok(())
    }

    /// Follows a build to its end.
    pub(super) fn follow(
        &mut self,
        key: &WorkflowKey,
        ports: &LeasedPorts,
        fence: &Fence,
        attempt: Attempt,
        task: BuildTask,
    ) {
        let build_id = attempt.build_id.clone();
        let followed = FollowedBuild {
            workflow: key.clone(),
            step: attempt.step_id.clone(),
            running: match &task {
                BuildTask::Carry(Sighting::Here(running)) => Some(running.clone()),
                _ => None,
            },
            builder: Arc::clone(&ports.builder),
            is_ending: false,
            had_ended: attempt.is_over(),
        };
        let sender = self.builds.follow(build_id.clone(), followed);
        let (config, ports, fence) =
            (Arc::clone(&self.services.config), ports.clone(), fence.clone());
        let workflow = key.clone();
        self.services.context.spawn(async move {
            let took_over = matches!(task, BuildTask::TakeOver(_));
            let result = match task {
                BuildTask::Carry(sighting) => {
                    carry(&config, &ports, &fence, attempt, sighting).await
                }
                BuildTask::TakeOver(image) => take_over(&ports, &fence, attempt, &image).await,
            };
            let result = Box::new(result);
            // The loop has ended if nobody listens; the next process takes the build up from the
            // journal.
            let _ = sender.send(TaskResult::Build { workflow, build_id, took_over, result });
        });
    }
}
