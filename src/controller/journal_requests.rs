//! Writes what a person asks for into the journal of a build. Needs no lease: a request decides
//! nothing, it is read by whoever acts.

use jiff::Timestamp;

use crate::controller::error::PassError;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::WorkflowId;
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::{Inventory, InventoryError, Write};

/// How often a request is written while others write to the same build.
const TRIES: u32 = 8;

/// Appends a request to the newest build of a step. `fits` is asked again whenever the build went
/// on meanwhile.
pub async fn request(
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
    mut attempt: Attempt,
    stage: &Stage,
    fits: impl Fn(&Attempt) -> Result<(), Diagnostic>,
) -> Result<Attempt, PassError> {
    for _ in 0..TRIES {
        fits(&attempt)?;
        let event = BuildEvent {
            workflow_id: workflow.clone(),
            step_id: attempt.step_id.clone(),
            build_id: attempt.build_id.clone(),
            seq: attempt.seq + 1,
            at: Timestamp::now(),
            stage: stage.clone(),
        };
        let write = Write { record: None, event: Some(event.clone()) };
        match inventory.write(write, None).await {
            Ok(()) => {
                attempt.apply(&event);
                return Ok(attempt);
            }
            Err(InventoryError::Conflict { .. }) => {
                let attempts = inventory.attempts(workflow).await?;
                let newest = attempts.into_iter().find(|one| one.build_id == attempt.build_id);
                attempt = newest.ok_or_else(|| {
                    Diagnostic::new(format!("a newer build of {} has begun", attempt.step_id))
                        .hint("look with `reconciler status`, and ask again")
                })?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(InventoryError::Conflict { what: format!("the journal of build {}", attempt.build_id) }
        .into())
}
