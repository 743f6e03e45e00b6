//! Builds under way: each is followed in a task of its own, and the loop learns by a message what it came to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Driver;
use super::event::Event;
use super::workflow::WorkflowKey;
use crate::build::RunningBuild;
use crate::ids::{BuildId, StepId};
use crate::inventory::Fence;
use crate::inventory::journal::Attempt;
use crate::plan::Plan;
use crate::reconcile::error::PassError;
use crate::reconcile::finish::carry;
use crate::reconcile::ports::Ports;

/// What following a build came to.
pub(super) struct Ended {
    workflow: WorkflowKey,
    build_id: BuildId,
    result: Result<Attempt, PassError>,
}

impl Driver {
    /// Takes in what a build came to.
    pub(super) fn note(&mut self, ended: &Ended) {
        self.running.remove(&ended.build_id);
        if let Some(state) = self.workflows.get_mut(&ended.workflow) {
            state.attempts = None;
        }
        match &ended.result {
            Ok(attempt) => self.observer.notice(&Event::Ended(attempt)),
            Err(error) => self
                .observer
                .notice(&Event::Stopped(&ended.workflow.1, error)),
        }
    }

    /// Builds of an earlier process, or whose end could not be settled: they are followed again.
    pub(super) async fn resume(
        &mut self,
        key: &WorkflowKey,
        ports: &Ports,
        plan: &Plan,
        attempts: &HashMap<StepId, Attempt>,
        fence: &Fence,
    ) -> Result<bool, PassError> {
        let mut resumed = false;
        let open = |attempt: &&Attempt| !attempt.is_over();
        let known: BTreeSet<&StepId> = plan.steps.iter().map(|step| &step.id).collect();
        for attempt in attempts
            .values()
            .filter(open)
            .filter(|attempt| known.contains(&attempt.step_id))
        {
            if self.running.contains_key(&attempt.build_id) {
                continue;
            }
            let running = ports.builder.find(&attempt.build_id).await?;
            self.observer.notice(&Event::Started(attempt));
            self.follow(key, ports, fence, attempt.clone(), running);
            resumed = true;
        }
        Ok(resumed)
    }

    /// Follows a build to its end.
    pub(super) fn follow(
        &mut self,
        key: &WorkflowKey,
        ports: &Ports,
        fence: &Fence,
        attempt: Attempt,
        running: Option<RunningBuild>,
    ) {
        let build_id = attempt.build_id.clone();
        self.running
            .insert(build_id.clone(), (attempt.step_id.clone(), running.clone()));
        let (config, ports, fence) = (Arc::clone(&self.config), ports.clone(), fence.clone());
        let (ended, workflow) = (self.ended.0.clone(), key.clone());
        tokio::spawn(async move {
            let result = carry(&config, &ports, &fence, attempt, running).await;
            // The loop has ended if nobody listens; the next process takes the build up from the journal.
            let _ = ended.send(Ended {
                workflow,
                build_id,
                result,
            });
        });
    }
}
