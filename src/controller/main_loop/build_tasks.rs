//! Builds under way: each is followed in a task of its own, and the loop learns by a message what
//! it came to.

use std::sync::Arc;

use crate::controller::build_finish::{carry, take_over};
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::main_loop::actions::Charged;
use crate::controller::main_loop::backoff::BackoffKey;
use crate::controller::main_loop::event::Event;
use crate::controller::main_loop::host_fitness::Verdict;
use crate::controller::main_loop::pass_rate::MOST_TRIES;
use crate::controller::main_loop::workflow_pass::WorkflowKey;
use crate::controller::main_loop::{Controller, PassReport};
use reconciler_core::build::job::ImageBuilder;
use reconciler_model::build::{RunningBuild, Sighting};
use reconciler_model::ids::{BuildId, StepId};
use reconciler_model::images::Image;
use reconciler_model::inventory::Fence;
use reconciler_model::inventory::journal::Attempt;

/// A build that is followed.
pub(super) struct Followed {
    /// Its workflow: another may have a step of the same id.
    pub(super) workflow: WorkflowKey,
    /// Its step.
    pub(super) step: StepId,
    /// Its process, if this host runs it.
    pub(super) running: Option<RunningBuild>,
    /// What can end it.
    pub(super) builder: Arc<dyn ImageBuilder>,
    /// Whether it was asked to end.
    pub(super) ending: bool,
    /// Whether it had ended before, and that was told: only what it left is looked after.
    over: bool,
}

/// What is to be done for a build.
pub(super) enum BuildTask {
    /// It is waited for, and carried to its record or its failure and a clean account.
    Carry(Sighting),
    /// The image that it is to make exists: it is recorded.
    TakeOver(Box<Image>),
}

/// What a task has to say to the loop.
pub(super) enum News {
    /// What following a build came to.
    Ended {
        workflow: WorkflowKey,
        build_id: BuildId,
        took_over: bool,
        result: Box<Result<Attempt, PassError>>,
    },
    /// What looking after builds that were given up came to.
    Swept(WorkflowKey, Result<(), PassError>),
}

impl Controller {
    /// Takes in what a task came to.
    pub(super) fn note(&mut self, news: &News) {
        let (workflow, build_id, took_over, result) = match news {
            News::Swept(key, result) => return self.note_swept(key, result),
            News::Ended { workflow, build_id, took_over, result } => {
                (workflow, build_id, *took_over, result.as_ref())
            }
        };
        let was_over = self.running.remove(build_id).is_some_and(|one| one.over);
        if let Some(state) = self.workflows.get_mut(workflow) {
            state.newest = None;
        }
        let matter = BackoffKey::Build(build_id.clone());
        match result {
            Ok(attempt) => {
                self.settle(&matter, &workflow.origin());
                if took_over {
                    self.tell(workflow, &Event::TakenOver(attempt));
                } else if !was_over {
                    self.tell(workflow, &Event::Ended(attempt));
                }
            }
            Err(error) => {
                self.put_off(&matter, &workflow.origin(), None, error);
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
        owned: &Charged<'_>,
        ports: &LeasedPorts,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let unsettled = |one: &&Attempt| !one.is_settled();
        for attempt in owned.attempts.values().filter(unsettled) {
            // Seeded bug: builds-are-not-resumed
            if self.running.contains_key(&attempt.build_id) {
                continue;
            }
            let matter = BackoffKey::Build(attempt.build_id.clone());
            let tried = self.backoffs.times(&matter);
            if self.options.once && tried >= MOST_TRIES {
                report.errors += 1;
                continue;
            }
            if let Some(until) = self.backoffs.holds(&matter, None, self.context.now()) {
                report.verdict.is_partial = true;
                report.wake_at(until);
                continue;
            }
            let sighting = ports.builder.find(&attempt.build_id).await?;
            if tried == 0 && !attempt.is_over() {
                self.tell(owned.key, &Event::Resumed(attempt));
            }
            self.tried.insert(attempt.build_id.clone());
            let state = self.workflows.get(owned.key);
            let Some(ports) = state.and_then(|state| state.to_act_in(&attempt.intent.region))
            else {
                return Ok(());
            };
            self.follow(
                owned.key,
                &ports,
                owned.fence,
                attempt.clone(),
                BuildTask::Carry(sighting),
            );
            report.acted = true;
        }
        Ok(())
    }

    /// Whether a build of this step is followed: until it is settled, the next one waits.
    pub(super) fn is_settling(&self, workflow: &WorkflowKey, step: &StepId) -> bool {
        let mut followed = self.running.values();
        followed.any(|one| one.workflow == *workflow && one.step == *step)
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
        let followed = Followed {
            workflow: key.clone(),
            step: attempt.step_id.clone(),
            running: match &task {
                BuildTask::Carry(Sighting::Here(running)) => Some(running.clone()),
                _ => None,
            },
            builder: Arc::clone(&ports.builder),
            ending: false,
            over: attempt.is_over(),
        };
        self.running.insert(build_id.clone(), followed);
        let (config, ports, fence) = (Arc::clone(&self.config), ports.clone(), fence.clone());
        let (news, workflow) = (self.news.0.clone(), key.clone());
        self.context.spawn(async move {
            let took_over = matches!(task, BuildTask::TakeOver(_));
            let result = match task {
                BuildTask::Carry(sighting) => {
                    carry(&config, &ports, &fence, attempt, sighting).await
                }
                BuildTask::TakeOver(image) => take_over(&ports, &fence, attempt, &image).await,
            };
            // The loop has ended if nobody listens; the next process takes the build up from the
            // journal.
            let _ =
                news.send(News::Ended { workflow, build_id, took_over, result: Box::new(result) });
        });
    }
}
