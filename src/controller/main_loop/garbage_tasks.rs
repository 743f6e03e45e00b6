//! When it is looked for what given-up builds left, and removed, in a task of its own: AWS may let
//! it wait for minutes, and nobody else has to.

use std::time::Duration;

use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::garbage::{due, sweep};
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::actions::HeldWorkflow;
use crate::controller::main_loop::builds_under_way::TaskResult;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::workflow_state::WorkflowKey;

/// How often it is done while neither the lease changes hands nor the journal moves.
const PAUSE: Duration = Duration::from_mins(10);

impl Controller {
    /// Begins it, at the first pass under each lease, whenever the journal has moved (a sign of
    /// life that comes late counts as an event), and now and then. It stops nothing else.
    pub(super) async fn remove_garbage(&mut self, held: &HeldWorkflow<'_>, ports: &LeasedPorts) {
        let Some(state) = self.workflows.get(held.key) else {
            return;
        };
        let Some(lease) = state.lease() else {
            return;
        };
        if state.is_removing_garbage {
            return;
        }
        let circumstances =
            Circumstances::Journal { token: held.fence.token, seq: lease.counts().of_builds() };
        let key = RetryKey::Garbage(held.key.clone());
        if self.queue.waits(&key, &circumstances, self.services.context.now()).is_some() {
            return;
        }
        let due = match due(ports, &held.key.inventory.id, held.attempts).await {
            Ok(due) if due.is_empty() => {
                return self.take_in_garbage(held.key, &circumstances, None);
            }
            Ok(due) => due,
            Err(error) => return self.take_in_garbage(held.key, &circumstances, Some(&error)),
        };
        let Some(state) = self.workflows.get_mut(held.key) else {
            return;
        };
        state.is_removing_garbage = true;
        let (workflow, fence, ports) = (held.key.clone(), held.fence.clone(), ports.clone());
        let sender = self.builds.sender();
        self.services.context.spawn(async move {
            let result = sweep(&ports, &fence, due).await;
            // The loop has ended if nobody listens; the next process begins anew.
            let _ = sender.send(TaskResult::Garbage { workflow, circumstances, result });
        });
    }

    /// Takes in that it is done, or why it could not be.
    pub(super) fn take_in_garbage(
        &mut self,
        workflow: &WorkflowKey,
        circumstances: &Circumstances,
        error: Option<&PassError>,
    ) {
        if let Some(state) = self.workflows.get_mut(workflow) {
            state.is_removing_garbage = false;
        }
        let key = RetryKey::Garbage(workflow.clone());
        match error {
            None => self.done_until(&key, &workflow.origin(), circumstances.clone(), PAUSE),
            Some(error) => {
                self.failed(&key, &workflow.origin(), circumstances, error);
            }
        }
    }
}
