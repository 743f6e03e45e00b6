//! The inventory of a simulated host: the one in memory, behind a network.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::controller::simulation::ports::at_once;
use crate::controller::simulation::world::{Handle, Lost, Mistake, World};
use reconciler_model::ids::{BuildId, RequestId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, Heartbeat};
use reconciler_model::inventory::journal::{Attempt, BuildEvent};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::request::{News, Request, StandingRequest};
use reconciler_model::inventory::reservation::Reservation;
use reconciler_model::inventory::{
    Fence, Heads, Heartbeats, Inventory, InventoryError, Journal, Lease, Leases, Many,
    OpenWorkflow, Records, Requests, Write,
};
use reconciler_model::memory::MemoryInventory;

pub(in crate::controller::simulation) struct SimulatedInventory {
    at: Handle,
    inner: Arc<MemoryInventory>,
}

impl From<Lost> for InventoryError {
    fn from(_: Lost) -> Self {
        Self::Unavailable { place: "memory".to_owned(), detail: "lost".to_owned() }
    }
}

impl SimulatedInventory {
    pub(in crate::controller::simulation) fn new(at: Handle) -> Self {
        let inner = Arc::clone(&at.world().inventory);
        Self { at, inner }
    }

    async fn call<T>(
        &self,
        effect: impl FnOnce(&mut World) -> Result<T, InventoryError> + Send,
    ) -> Result<T, InventoryError> {
        self.at.call(effect).await?
    }

    /// Asks, where the answer changes nothing.
    async fn read<T>(
        &self,
        answer: impl Future<Output = Result<T, InventoryError>> + Send,
    ) -> Result<T, InventoryError> {
        self.call(|_| at_once(answer)).await
    }
}

#[async_trait]
impl Records for SimulatedInventory {
    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError> {
        self.read(self.inner.heads(workflow)).await
    }

    async fn record(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Option<Record>, InventoryError> {
        self.read(self.inner.record(workflow, step)).await
    }

    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError> {
        self.read(self.inner.records_of_step(step)).await
    }

    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError> {
        self.read(self.inner.records_of_workflow(workflow)).await
    }
}

#[async_trait]
impl Journal for SimulatedInventory {
    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError> {
        self.read(self.inner.attempts(workflow)).await
    }

    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        self.read(self.inner.events(workflow, step, limit)).await
    }

    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        self.read(self.inner.events_of_build(workflow, build)).await
    }

    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        self.read(self.inner.events_since(workflow, step, since)).await
    }
}

#[async_trait]
impl Leases for SimulatedInventory {
    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError> {
        self.read(self.inner.lease(workflow)).await
    }

    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        self.call(|world| {
            let acquire = self.inner.acquire_lease(workflow, holder, duration_seconds, seen, now);
            let lease = at_once(acquire)?;
            world.took_lease(lease.token, holder);
            world.renews(self.at.host());
            Ok(lease)
        })
        .await
    }

    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError> {
        self.call(|world| {
            let renewed = at_once(self.inner.renew_lease(lease, now))?;
            world.renews(self.at.host());
            Ok(renewed)
        })
        .await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        self.call(|world| {
            world.say(|| format!("token {} is given back", lease.token));
            at_once(self.inner.release_lease(lease))
        })
        .await
    }

    async fn note_applied(
        &self,
        workflow: &WorkflowId,
        reference: &str,
        revision: &Revision,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        let note = self.inner.note_applied(workflow, reference, revision, fence);
        self.call(|_| at_once(note)).await
    }
}

#[async_trait]
impl Heartbeats for SimulatedInventory {
    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        self.call(|world| {
            let answer = at_once(self.inner.beat(beat))?;
            let is_told = answer == Answer::GivenUp && !world.has(Mistake::NeverTold);
            world.beats(&beat.build_id, is_told);
            Ok(if is_told || answer != Answer::GivenUp { answer } else { Answer::GoOn })
        })
        .await
    }

    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        let newest = self.inner.last_beat(workflow, build);
        self.call(|world| {
            world.looks_for_life(self.at.host(), build);
            at_once(newest)
        })
        .await
    }

    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError> {
        self.read(self.inner.beats(workflow)).await
    }

    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        self.call(|world| {
            at_once(self.inner.give_up(beat, seen, fence))?;
            world.gives_up(&beat.build_id);
            Ok(())
        })
        .await
    }

    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError> {
        self.call(|world| {
            world.say(|| format!("the beat of {build} is forgotten"));
            at_once(self.inner.forget_beat(build, fence))
        })
        .await
    }
}

#[async_trait]
impl Requests for SimulatedInventory {
    async fn ask(&self, request: &Request) -> Result<(), InventoryError> {
        self.call(|_| at_once(self.inner.ask(request))).await
    }

    async fn request(
        &self,
        workflow: &WorkflowId,
        id: &RequestId,
    ) -> Result<Option<StandingRequest>, InventoryError> {
        self.read(self.inner.request(workflow, id)).await
    }

    async fn requests(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<StandingRequest>, InventoryError> {
        self.read(self.inner.requests(workflow)).await
    }

    async fn news(&self, workflow: &WorkflowId) -> Result<News, InventoryError> {
        self.read(self.inner.news(workflow)).await
    }

    async fn forget_request(&self, id: &RequestId, fence: &Fence) -> Result<(), InventoryError> {
        self.call(|_| at_once(self.inner.forget_request(id, fence))).await
    }

    async fn reservations(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<Reservation>, InventoryError> {
        self.read(self.inner.reservations(workflow)).await
    }
}

#[async_trait]
impl Inventory for SimulatedInventory {
    fn place(&self) -> String {
        self.inner.place()
    }

    async fn prepare(&self) -> Result<(), InventoryError> {
        self.read(self.inner.prepare()).await
    }

    async fn examine(&self) -> Result<(), InventoryError> {
        self.read(self.inner.examine()).await
    }

    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        self.read(self.inner.open_workflows()).await
    }

    /// A write whose answer is lost is repeated word for word, as the SDK does.
    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError> {
        let mut written = Ok(());
        for _ in 0..3 {
            let (write, inner) = (write.clone(), Arc::clone(&self.inner));
            written = self.call(|world| at_once(checked_write(world, &inner, write, fence))).await;
            if !matches!(written, Err(InventoryError::Unavailable { .. })) {
                break;
            }
        }
        written
    }
}

/// Writes, and holds against the rules what is written.
async fn checked_write(
    world: &mut World,
    inner: &MemoryInventory,
    write: Write,
    fence: Option<&Fence>,
) -> Result<(), InventoryError> {
    let event = write.event.clone();
    let record = write.record.as_ref().map(|(record, _)| record.clone());
    let workflow = super::super::world::workflow();
    let before = match &event {
        Some(event) => inner.events_of_build(&workflow, &event.build_id).await?.sound,
        None => Vec::new(),
    };
    let held = fence.filter(|_| !world.has(Mistake::NoFence));
    inner.write(write, held).await?;
    if let (Some(event), Some(fence)) = (&event, fence)
        && !before.contains(event)
    {
        world.writes(event, record.as_ref(), fence.token);
    }
    Ok(())
}
