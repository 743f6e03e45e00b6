//! What people ask of the holder of a lease: answered at the pass that a heartbeat, or a command on
//! this host, wakes the loop for.
//!
//! What needs nothing but the journal is carried out before anything is planned, so that a build
//! can be cancelled whatever keeps the workflow from being planned. The rest is carried out with
//! the plan; where there is none in this pass, it is refused with what keeps it from being made.

use std::mem::take;

use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::main_loop::actions::PlannedWorkflow;
use crate::controller::main_loop::retry_queue::{Circumstances, RetryKey};
use crate::controller::main_loop::workflow_state::WorkflowKey;
use crate::controller::main_loop::{Controller, PassReport};
use crate::controller::requests::{
    Answered, PlanOfRequest, answer_by_journal, answer_by_plan, refuse,
};
use reconciler_model::diagnostic::Diagnostic;

impl Controller {
    /// Carries out what needs nothing but the journal, in every workflow that this process holds.
    pub(super) async fn answer_by_journal(&mut self, report: &mut PassReport) {
        for key in self.workflows.keys() {
            self.answer_by_journal_of(&key, report).await;
        }
    }

    /// Carries out what needs nothing but the journal of a workflow that this process holds, and
    /// keeps what waits for a plan.
    pub(super) async fn answer_by_journal_of(
        &mut self,
        key: &WorkflowKey,
        report: &mut PassReport,
    ) {
        // Seeded bug: nobody-answers
        let Some(state) = self.workflows.get(key).filter(|state| state.may_have_requests()) else {
            return;
        };
        let Some((ports, fence)) = state.to_act().zip(state.fence()) else {
            return;
        };
        let (retry, now) = (RetryKey::Requests(key.clone()), self.services.context.now());
        let asked = state.requests_asked();
        let circumstances = Circumstances::Journal { token: fence.token, seq: asked };
        if self.queue.waits(&retry, &circumstances, now).is_some() {
            return;
        }
        match answer_by_journal(&ports, &fence).await {
            Ok(Answered { open, answered, failure }) => {
                report.acted |= answered;
                if let Some(error) = &failure {
                    self.failed(&retry, &key.origin(), &circumstances, error);
                    report.errors += 1;
                } else if open.is_empty() {
                    self.succeeded(&retry, &key.origin());
                }
                if let Some(state) = self.workflows.get_mut(key) {
                    state.keep_requests(asked, open, failure.is_none());
                    if answered {
                        state.forget_journal();
                    }
                }
            }
            Err(error) => {
                self.take_in_error(key, &error);
                self.failed(&retry, &key.origin(), &circumstances, &error);
                report.errors += 1;
            }
        }
    }

    /// Carries out one of those requests that wait for a plan: what it changes is not in the plan,
    /// so the next waits for the next one. One that cannot be answered now changes nothing, and
    /// comes last from then on. Whether one was answered.
    pub(super) async fn answer_by_plan(
        &mut self,
        planned: &PlannedWorkflow<'_>,
        ports: &LeasedPorts,
    ) -> Result<bool, PassError> {
        let (key, fence) = (planned.held.key, planned.held.fence);
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(false);
        };
        state.is_planned = true;
        let (retry, now) = (RetryKey::Requests(key.clone()), self.services.context.now());
        let asked = state.requests_asked();
        let circumstances = Circumstances::Journal { token: fence.token, seq: asked };
        if self.queue.waits(&retry, &circumstances, now).is_some() {
            return Ok(false);
        }
        let mut failure = None;
        for _ in 0..state.open_requests.len() {
            let Some(request) = state.open_requests.pop_front() else {
                break;
            };
            let by = PlanOfRequest {
                plan: planned.plan,
                desired: planned.desired,
                attempts: planned.held.attempts,
            };
            match answer_by_plan(&self.services.config, ports, fence, by, &request).await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_fenced() => return Err(error),
                Err(error) => {
                    state.open_requests.push_back(request);
                    failure = Some(error);
                }
            }
        }
        if let Some(error) = failure {
            self.failed(&retry, &key.origin(), &circumstances, &error);
        } else {
            self.succeeded(&retry, &key.origin());
        }
        Ok(false)
    }

    /// Refuses what waits for a plan that this pass could not make, unless what keeps it from being
    /// made may go away by itself.
    pub(super) async fn answer_without_plan(&mut self, report: &mut PassReport) {
        for key in self.workflows.keys() {
            let Some(state) = self.workflows.get_mut(&key) else {
                continue;
            };
            if state.open_requests.is_empty() || state.is_planned {
                continue;
            }
            let why = match &state.last_error {
                Some(error) if error.is_transient => {
                    state.look_for_requests();
                    continue;
                }
                Some(error) => Diagnostic::new(format!(
                    "workflow {} cannot be planned: {}",
                    key.inventory.id,
                    error.why.one_line()
                )),
                None => Diagnostic::new(format!(
                    "workflow {} is not planned: git has it no more, or it cannot be read",
                    key.inventory.id
                )),
            };
            let why =
                why.hint("`reconciler status` shows what is wrong; ask again once it is mended");
            let Some((ports, fence)) = state.to_act().zip(state.fence()) else {
                continue;
            };
            for request in take(&mut state.open_requests) {
                match refuse(&ports, &fence, &request.id, &why).await {
                    Ok(()) => report.acted = true,
                    Err(error) => {
                        self.take_in_error(&key, &error);
                        report.errors += 1;
                        break;
                    }
                }
            }
        }
    }
}
