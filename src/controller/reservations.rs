//! Reservations of images that a person is about to take away, under the lease of the workflow.
//!
//! From the grant on, whoever holds the lease begins nothing that needs one of the images. What
//! destroys them is done by the person's process, with that person's credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::requests::answer;
use reconciler_core::images::reserving::{ReserveQuestion, first_reserved, may_reserve, reserved};
use reconciler_core::plan::Plan;
use reconciler_model::clock::Moment;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, Region, RequestId, StepId, WorkflowId};
use reconciler_model::images::{AssociatedSnapshots, Deregistered, ImageRemover};
use reconciler_model::inventory::journal::{BuildEvent, Deleted, Stage};
use reconciler_model::inventory::request::{DeletedImage, Outcome, Request, Wish};
use reconciler_model::inventory::reservation::{Reservation, ReservationChange};
use reconciler_model::inventory::{Fence, Removal, WHOLE_JOURNAL, Write};

/// For so long after it has asked for a reservation a person's process takes images away under it:
/// well before it ends, for clocks differ.
pub const TO_BE_DELETED: Duration = Duration::from_mins(45);

/// Takes away reserved images and no others, for the process of a person.
pub struct ReservedImages {
    ports: Ports,
    remover: Arc<dyn ImageRemover>,
    reservations: Vec<(WorkflowId, RequestId)>,
    asked: Moment,
}

impl ReservedImages {
    /// What takes away images under these reservations, which were asked for at this moment.
    pub fn new(
        ports: &Ports,
        reservations: Vec<(WorkflowId, RequestId)>,
        asked: Moment,
    ) -> Result<Self, PassError> {
        let remover = ports.image_remover().ok_or_else(|| Diagnostic::new("EC2 is not connected"));
        Ok(Self { ports: ports.clone(), remover: remover?, reservations, asked })
    }

    /// Takes an image away, if it is reserved now.
    pub async fn deregister(
        &self,
        image: &AmiId,
        snapshots: AssociatedSnapshots,
    ) -> Result<Deregistered, PassError> {
        // Seeded bug: an-image-is-deleted-without-a-reservation
        if !self.is_reserved(image).await? {
            return Err(Diagnostic::new(format!("the reservation of {image} has ended: it stays"))
                .hint("by somebody's `image release`, or for it took too long; ask again")
                .into());
        }
        Ok(self.remover.deregister(image, snapshots).await?)
    }

    async fn is_reserved(&self, image: &AmiId) -> Result<bool, PassError> {
        // Time in which the machine slept counts.
        if self.ports.context.moment().saturating_sub(self.asked) >= TO_BE_DELETED {
            return Ok(false);
        }
        let now = self.ports.context.now();
        for (workflow, id) in &self.reservations {
            let standing = self.ports.inventory.reservations(workflow).await?;
            let stands = |one: &Reservation| {
                one.id == *id && one.images.contains(image) && !one.has_ended(now)
            };
            if standing.iter().any(stands) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Refuses what needs an image that a person is about to take away.
pub async fn refuse_reserved<'a>(
    ports: &Ports,
    workflow: &WorkflowId,
    images: impl IntoIterator<Item = &'a AmiId>,
) -> Result<(), PassError> {
    let reservations = ports.inventory.reservations(workflow).await?;
    let images: BTreeSet<&AmiId> = images.into_iter().collect();
    // Seeded bug: a-reserved-image-is-built-on
    match first_reserved(&reservations, &images, ports.context.now()) {
        Some((image, by)) => Err(reserved(image, by).into()),
        None => Ok(()),
    }
}

/// Reserves images; `plan` is what is to be done, none where git has no such workflow.
pub async fn reserve(
    ports: &LeasedPorts,
    fence: &Fence,
    plan: Option<&Plan>,
    request: &Request,
    (images, run): (&[AmiId], bool),
) -> Result<(), PassError> {
    let (inventory, workflow) = (&ports.inventory, &fence.workflow_id);
    let now = ports.context.now();
    let reservations = inventory.reservations(workflow).await?;
    let question = ReserveQuestion {
        workflow,
        images,
        run,
        heads: &inventory.heads(workflow).await?,
        attempts: &inventory.attempts(workflow).await?,
        reservations: &reservations,
        seen: &ports.image_reader()?.images(images).await?,
        plan,
        now,
    };
    may_reserve(&question)?;
    for ended in reservations.into_iter().filter(|one| one.has_ended(now)) {
        let write = Write { reservation: Some(end(workflow, &ended.id)), ..Write::default() };
        inventory.write(write, Some(fence)).await?;
    }
    let reservation = Reservation {
        workflow_id: workflow.clone(),
        id: request.id.clone(),
        by: request.by.clone(),
        at: now,
        images: images.to_vec(),
        run,
    };
    let done = Outcome::Done { build: request.id.as_build() };
    let write = Write {
        answer: Some(answer(ports, fence, &request.id, done)),
        reservation: Some(ReservationChange::Begin(reservation)),
        ..Write::default()
    };
    Ok(inventory.write(write, Some(fence)).await?)
}

/// Carries out what is asked about a reservation that stands; false if the wish is another.
pub(super) async fn end_by_request(
    ports: &LeasedPorts,
    fence: &Fence,
    request: &Request,
) -> Result<bool, PassError> {
    let (id, images) = match &request.wish {
        Wish::Deleted { reservation, images } => (reservation, images.as_slice()),
        Wish::Release { reservation } => (reservation, [].as_slice()),
        _ => return Ok(false),
    };
    let all = ports.inventory.reservations(&fence.workflow_id).await?;
    let now = ports.context.now();
    let Some(stands) = all.iter().find(|one| one.id == *id && !one.has_ended(now)) else {
        return Err(Diagnostic::new(format!("there is no reservation {id} any more"))
            .hint("it has ended, by its owner's word or after an hour; ask again")
            .into());
    };
    let mut told = tell(ports, fence, request, stands, images).await?;
    let last = told.pop().unwrap_or_default();
    for write in told {
        ports.inventory.write(write, Some(fence)).await?;
    }
    let done = Outcome::Done { build: request.id.as_build() };
    let write = Write {
        answer: Some(answer(ports, fence, &request.id, done)),
        reservation: Some(end(&fence.workflow_id, id)),
        ..last
    };
    ports.inventory.write(write, Some(fence)).await?;
    Ok(true)
}

/// What is to be written about images that were taken away: an event for each, and its record goes
/// where the workflow goes as a whole. What an earlier holder of the lease has written, who came no
/// further, is not among it.
async fn tell(
    ports: &LeasedPorts,
    fence: &Fence,
    request: &Request,
    reservation: &Reservation,
    images: &[DeletedImage],
) -> Result<Vec<Write>, PassError> {
    are_gone(ports, reservation, images).await?;
    let (inventory, workflow) = (&ports.inventory, &fence.workflow_id);
    let build = request.id.as_build();
    let told = inventory.events_of_build(workflow, &build).await?;
    let heads = inventory.heads(workflow).await?;
    let mut recorded: BTreeMap<&AmiId, Vec<&StepId>> = BTreeMap::new();
    for head in heads.records.iter().filter(|_| reservation.run) {
        recorded.entry(&head.ami_id).or_default().push(&head.step_id);
    }
    let mut writes = Vec::new();
    for (seq, image) in (0..).zip(images) {
        let mut steps = recorded.remove(&image.ami_id).unwrap_or_default().into_iter();
        let remove = |step: &StepId| Removal {
            workflow_id: workflow.clone(),
            step_id: step.clone(),
            image: image.ami_id.clone(),
        };
        let event = BuildEvent {
            workflow_id: workflow.clone(),
            step_id: image.step.clone(),
            build_id: build.clone(),
            seq,
            at: ports.context.now(),
            stage: Stage::Deleted(Deleted {
                ami_id: image.ami_id.clone(),
                ami_name: image.ami_name.clone(),
                region: image.region.clone(),
                snapshots: image.snapshots.clone(),
                by: request.by.clone(),
                fence: fence.token,
            }),
        };
        let is_told = told.iter().any(|one| one.seq == seq);
        let write = Write {
            removal: steps.next().map(remove),
            event: Some(event).filter(|_| !is_told),
            ..Write::default()
        };
        let more = steps.map(|step| Write { removal: Some(remove(step)), ..Write::default() });
        writes.extend(more);
        if write.removal.is_some() || write.event.is_some() {
            writes.push(write);
        }
    }
    Ok(writes)
}

/// Where images of a workflow may be: what its records and its journal name, and its own region.
async fn regions_of(
    ports: &LeasedPorts,
    workflow: &WorkflowId,
) -> Result<BTreeSet<Region>, PassError> {
    let heads = ports.inventory.heads(workflow).await?;
    let events = ports.inventory.events(workflow, None, WHOLE_JOURNAL).await?;
    let built = heads.records.into_iter().filter_map(|head| Some(head.built?.region));
    let begun = events.into_iter().filter_map(|event| Some(event.stage.intent()?.region.clone()));
    Ok(built.chain(begun).chain([ports.region.clone()]).collect())
}

/// Who may ask is not believed: an image that EC2 shows was not taken away.
async fn are_gone(
    ports: &LeasedPorts,
    reservation: &Reservation,
    images: &[DeletedImage],
) -> Result<(), PassError> {
    let ids: Vec<AmiId> = images.iter().map(|image| image.ami_id.clone()).collect();
    if let Some(other) = ids.iter().find(|id| !reservation.images.contains(id)) {
        return Err(Diagnostic::new(format!("{other} was not reserved")).into());
    }
    let known = regions_of(ports, &reservation.workflow_id).await?;
    let mut regions: BTreeMap<_, Vec<AmiId>> = BTreeMap::new();
    for image in images {
        // Seeded bug: who-may-ask-is-believed-where-an-image-is
        if !known.contains(&image.region) {
            return Err(Diagnostic::new(format!(
                "nothing of workflow {} was ever made in {}",
                reservation.workflow_id, image.region
            ))
            .into());
        }
        regions.entry(&image.region).or_default().push(image.ami_id.clone());
    }
    for (region, ids) in regions {
        let seen = ports.in_region(Some(region)).image_reader()?.images(&ids).await?;
        if let Some(image) = seen.values().find(|image| !image.state.is_gone()) {
            return Err(Diagnostic::new(format!(
                "EC2 still shows {} ({}): it was not deleted",
                image.id, image.state
            ))
            .into());
        }
    }
    Ok(())
}

fn end(workflow: &WorkflowId, id: &RequestId) -> ReservationChange {
    ReservationChange::End { workflow_id: workflow.clone(), id: id.clone() }
}
