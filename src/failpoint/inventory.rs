//! An inventory with failpoints around everything that writes: `journal.STAGE`, `record.update`,
//! `lease.acquire`, `lease.renew`, `lease.release`, `lease.applied`, `beat.write`, `beat.give_up`,
//! `beat.forget`, `request.ask`, `request.answer`, `request.forget`.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::failpoint::around;
use reconciler_model::ids::{BuildId, RequestId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, Heartbeat};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::request::{News, Request, StandingRequest};
use reconciler_model::inventory::reservation::Reservation;
use reconciler_model::inventory::{
    Fence, Heads, Heartbeats, Inventory, InventoryError, Journal, Lease, Leases, Many,
    OpenWorkflow, Records, Requests, Write,
};

pub(super) struct Failing(pub(super) Arc<dyn Inventory>);

fn error(detail: String) -> InventoryError {
    InventoryError::Unavailable { place: "inventory".to_owned(), detail }
}

fn name(write: &Write) -> &'static str {
    match write.event.as_ref().map(|event| &event.stage) {
        None if write.record.is_none() => "request.answer",
        None => "record.update",
        Some(Stage::Intent(_)) => "journal.intent",
        Some(Stage::Started { .. }) => "journal.started",
        Some(Stage::ImageSeen { .. }) => "journal.image_seen",
        Some(Stage::Available) => "journal.available",
        Some(Stage::Tagged) => "journal.tagged",
        Some(Stage::Recorded { .. }) => "journal.recorded",
        Some(Stage::Failed(_)) => "journal.failed",
        Some(Stage::Adopted { .. }) => "journal.adopted",
        Some(Stage::Forgotten(_)) => "journal.forgotten",
        Some(Stage::Cleaned { .. }) => "journal.cleaned",
        Some(Stage::Deleted(_)) => "journal.deleted",
        Some(_) => "journal.other",
    }
}

#[async_trait]
impl Inventory for Failing {
    fn place(&self) -> String {
        self.0.place()
    }

    async fn prepare(&self) -> Result<(), InventoryError> {
        around("prepare", self.0.prepare(), error).await
    }

    async fn examine(&self) -> Result<(), InventoryError> {
        self.0.examine().await
    }

    fn is_in_place(&self) -> bool {
        self.0.is_in_place()
    }

    async fn lease_and_attempts(
        &self,
        workflow: &WorkflowId,
    ) -> Result<(Result<Option<Lease>, InventoryError>, Many<Attempt>), InventoryError> {
        self.0.lease_and_attempts(workflow).await
    }

    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        self.0.open_workflows().await
    }

    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError> {
        around(name(&write), self.0.write(write.clone(), fence), error).await
    }
}

#[async_trait]
impl Records for Failing {
    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError> {
        self.0.heads(workflow).await
    }

    async fn record(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Option<Record>, InventoryError> {
        self.0.record(workflow, step).await
    }

    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError> {
        self.0.records_of_step(step).await
    }

    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError> {
        self.0.records_of_workflow(workflow).await
    }
}

#[async_trait]
impl Journal for Failing {
    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError> {
        self.0.attempts(workflow).await
    }

    async fn unrecorded_attempts(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Attempt>, InventoryError> {
        self.0.unrecorded_attempts(workflow).await
    }

    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        self.0.events(workflow, step, limit).await
    }

    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        self.0.events_of_build(workflow, build).await
    }

    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        self.0.events_since(workflow, step, since).await
    }
}

#[async_trait]
impl Leases for Failing {
    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError> {
        self.0.lease(workflow).await
    }

    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        let acquire = self.0.acquire_lease(workflow, holder, duration_seconds, seen, now);
        around("lease.acquire", acquire, error).await
    }

    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError> {
        around("lease.renew", self.0.renew_lease(lease, now), error).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        around("lease.release", self.0.release_lease(lease), error).await
    }

    async fn note_applied(
        &self,
        workflow: &WorkflowId,
        reference: &str,
        revision: &Revision,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        let note = self.0.note_applied(workflow, reference, revision, fence);
        around("lease.applied", note, error).await
    }
}

#[async_trait]
impl Heartbeats for Failing {
    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        around("beat.write", self.0.beat(beat), error).await
    }

    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        self.0.last_beat(workflow, build).await
    }

    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError> {
        self.0.beats(workflow).await
    }

    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        around("beat.give_up", self.0.give_up(beat, seen, fence), error).await
    }

    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError> {
        around("beat.forget", self.0.forget_beat(build, fence), error).await
    }
}

#[async_trait]
impl Requests for Failing {
    async fn ask(&self, request: &Request) -> Result<(), InventoryError> {
        around("request.ask", self.0.ask(request), error).await
    }

    async fn request(
        &self,
        workflow: &WorkflowId,
        id: &RequestId,
    ) -> Result<Option<StandingRequest>, InventoryError> {
        self.0.request(workflow, id).await
    }

    async fn requests(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<StandingRequest>, InventoryError> {
        self.0.requests(workflow).await
    }

    async fn news(&self, workflow: &WorkflowId) -> Result<News, InventoryError> {
        self.0.news(workflow).await
    }

    async fn forget_request(&self, id: &RequestId, fence: &Fence) -> Result<(), InventoryError> {
        around("request.forget", self.0.forget_request(id, fence), error).await
    }

    async fn reservations(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<Reservation>, InventoryError> {
        self.0.reservations(workflow).await
    }
}
