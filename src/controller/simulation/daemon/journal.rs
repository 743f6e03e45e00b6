//! Writing to the journal in the model, as `controller::journal_entries` does.

use crate::controller::simulation::clockwork::{Handle, Lost};
use crate::controller::simulation::daemon::Stopped;
use crate::controller::simulation::daemon::lease::Held;
use crate::controller::simulation::world::{Written, workflow};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::record::RecordHead;

pub(super) async fn append(
    at: &Handle,
    held: &Held,
    attempt: &mut Attempt,
    stage: Stage,
) -> Result<(), Stopped> {
    append_with(at, held, attempt, stage, None).await
}

pub(super) async fn append_with(
    at: &Handle,
    held: &Held,
    attempt: &mut Attempt,
    stage: Stage,
    record: Option<RecordHead>,
) -> Result<(), Stopped> {
    let event = BuildEvent {
        workflow_id: workflow(),
        step_id: attempt.step_id.clone(),
        build_id: attempt.build_id.clone(),
        seq: attempt.seq + 1,
        at: at.world().wall(at.host),
        stage,
    };
    write(at, held, &event, record).await?;
    attempt.apply(&event);
    Ok(())
}

/// A write whose answer is lost is repeated word for word, as the SDK does.
pub(super) async fn write(
    at: &Handle,
    held: &Held,
    event: &BuildEvent,
    record: Option<RecordHead>,
) -> Result<(), Stopped> {
    for _ in 0..3 {
        let (event, record, token) = (event.clone(), record.clone(), held.token);
        let written = at.call(move |world| world.write(&event, record.as_ref(), token)).await;
        match written {
            Ok(Written::Done) => return Ok(()),
            Ok(Written::Fenced) => {
                held.lost.set(true);
                return Err(Stopped);
            }
            Ok(Written::Conflict) => return Err(Stopped),
            Err(Lost) => {}
        }
    }
    Err(Stopped)
}
