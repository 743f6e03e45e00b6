//! Writes the next entry of a build's journal.
//!
//! The holder of the lease writes a build's stages one after the other; a person may ask for
//! something at any time and without a lease, and takes the place of the next entry by that. What
//! was asked is then read and taken in, and the entry gets the place after it.

use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::{Expected, Fence, InventoryError, Write};

/// How often an entry is tried while people ask for things.
const TRIES: u32 = 5;

/// Appends the next event of a build to the journal.
pub(super) async fn append(
    ports: &Ports,
    attempt: &mut Attempt,
    fence: &Fence,
    stage: Stage,
) -> Result<(), PassError> {
    append_with(ports, attempt, fence, stage, None).await
}

/// Appends an event that depends on what people have asked for until it is written.
pub(super) async fn append_decided(
    ports: &Ports,
    attempt: &mut Attempt,
    fence: &Fence,
    stage: &(dyn Fn(&Attempt) -> Stage + Sync),
) -> Result<(), PassError> {
    append_either(ports, attempt, fence, stage, None).await
}

/// Appends the next event together with the record that it tells of: both or none.
pub(super) async fn append_with(
    ports: &Ports,
    attempt: &mut Attempt,
    fence: &Fence,
    stage: Stage,
    record: Option<(Record, Option<Expected>)>,
) -> Result<(), PassError> {
    append_either(ports, attempt, fence, &|_| stage.clone(), record).await
}

async fn append_either(
    ports: &Ports,
    attempt: &mut Attempt,
    fence: &Fence,
    stage: &(dyn Fn(&Attempt) -> Stage + Sync),
    record: Option<(Record, Option<Expected>)>,
) -> Result<(), PassError> {
    let mut tried = 0;
    loop {
        let event = next_event(ports, attempt, fence, stage(attempt));
        let write =
            Write { record: record.clone(), event: Some(event.clone()), ..Write::default() };
        match ports.inventory.write(write, Some(fence)).await {
            Ok(()) => {
                attempt.apply(&event);
                return Ok(());
            }
            Err(conflict @ InventoryError::Conflict { .. }) => {
                tried += 1;
                if tried >= TRIES || !take_in_requests(ports, attempt, fence).await? {
                    return Err(conflict.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes in what people asked for since the attempt was read. Returns whether there was anything;
/// false as well if another wrote stages.
pub(super) async fn take_in_requests(
    ports: &Ports,
    attempt: &mut Attempt,
    fence: &Fence,
) -> Result<bool, PassError> {
    let events = ports
        .inventory
        .events_of_build(&fence.workflow_id, &attempt.build_id)
        .await?
        .whole(&ports.inventory.place())?;
    let mut newer: Vec<_> = events.into_iter().filter(|event| event.seq > attempt.seq).collect();
    newer.sort_by_key(|event| event.seq);
    if !newer.iter().all(|event| event.stage.is_request()) {
        return Ok(false);
    }
    for event in &newer {
        attempt.apply(event);
    }
    Ok(!newer.is_empty())
}

fn next_event(ports: &Ports, attempt: &Attempt, fence: &Fence, stage: Stage) -> BuildEvent {
    BuildEvent {
        workflow_id: fence.workflow_id.clone(),
        step_id: attempt.step_id.clone(),
        build_id: attempt.build_id.clone(),
        seq: attempt.seq + 1,
        at: ports.context.now(),
        stage,
    }
}
