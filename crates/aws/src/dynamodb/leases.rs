//! Leases as one item per workflow, each change a single conditional update.

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;

use crate::dynamodb::error::{inventory_error, is_refused};
use crate::dynamodb::terms::Terms;
use crate::dynamodb::transaction::BUSY;
use crate::dynamodb::{DynamoDbInventory, builds, sdk};
use reconciler_items::attributes::{json_value, number_value, text, text_value};
use reconciler_items::{Item, Value};
use reconciler_model::ids::{Revision, WorkflowId};
use reconciler_model::inventory::heartbeat::new_version;
use reconciler_model::inventory::{Fence, InventoryError, Lease, Leases};

/// That the lease is held under this token.
pub(super) const HELD: &str = "#token = :token AND attribute_exists(#holder)";

/// That the lease of a fence is held.
pub(super) fn held(fence: &Fence) -> Terms {
    Terms::only_if(HELD, [(":token", number_value(fence.token))])
}

#[async_trait]
impl Leases for DynamoDbInventory {
    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError> {
        match self.build_item(workflow, builds::LEASE).await? {
            Some(item) => self.lease_of(workflow, &item),
            None => Ok(None),
        }
    }

    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        let version = new_version();
        let taken = Terms::change(
            "SET #holder = :holder, #token = :new_token, #version = :new_version, \
             #duration_seconds = :duration_seconds, #renewed_at = :renewed_at",
            [
                (":holder", text_value(holder)),
                (":new_token", number_value(seen.map_or(0, |lease| lease.token) + 1)),
                (":new_version", text_value(&version)),
                (":duration_seconds", number_value(duration_seconds)),
                (":renewed_at", text_value(now.to_string())),
            ],
        );
        let taken = match seen {
            None => taken.and_only_if("attribute_not_exists(#token)", []),
            Some(seen) => taken.and_only_if(
                "#token = :token AND #version = :version",
                [(":token", number_value(seen.token)), (":version", text_value(&seen.version))],
            ),
        };
        let lease = self.update_lease(workflow, &taken, &version).await?;
        lease.ok_or_else(|| InventoryError::Conflict { what: Lease::name(workflow) })
    }

    /// Conditioned on the token alone, so that one whose answer was lost can be repeated.
    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError> {
        let version = new_version();
        let renewed = Terms::change(
            "SET #version = :version, #renewed_at = :renewed_at",
            [(":version", text_value(&version)), (":renewed_at", text_value(now.to_string()))],
        )
        .and_only_if(HELD, [(":token", number_value(lease.token))]);
        let renewed = self.update_lease(&lease.workflow_id, &renewed, &version).await?;
        renewed.ok_or_else(|| InventoryError::Fenced { workflow: lease.workflow_id.clone() })
    }

    /// Doing it twice is as doing it once.
    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        let version = new_version();
        let released = Terms::change(
            "SET #version = :version REMOVE #holder",
            [(":version", text_value(&version))],
        )
        .and_only_if("#token = :token", [(":token", number_value(lease.token))]);
        match self.update_lease(&lease.workflow_id, &released, &version).await? {
            Some(_) => Ok(()),
            None => Err(InventoryError::Fenced { workflow: lease.workflow_id.clone() }),
        }
    }

    async fn note_applied(
        &self,
        workflow: &WorkflowId,
        reference: &str,
        revision: &Revision,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        let place = self.builds_place();
        for _ in 0..TRIES {
            let item = self.build_item(workflow, builds::LEASE).await?.unwrap_or_default();
            let mut applied = builds::applied(&item)
                .map_err(|detail| self.malformed(format!("lease of {workflow}"), detail))?;
            applied.insert(reference.to_owned(), revision.clone());
            let applied = json_value(&applied)
                .map_err(|detail| self.unwritable("the applied commit", &detail))?;
            let noted = noted(&item, applied, fence);
            let key = builds::key(workflow, builds::LEASE);
            match self.update_item(&self.builds, key, &noted).send().await {
                Ok(_) => return Ok(()),
                Err(error) if is_refused(&error) => {
                    let lease = self.lease(workflow).await?;
                    if let Some(fence) = fence
                        && !lease.is_some_and(|lease| lease.is_held_under(fence.token))
                    {
                        return Err(InventoryError::Fenced { workflow: workflow.clone() });
                    }
                }
                Err(error) => return Err(inventory_error(&error, "dynamodb:UpdateItem", &place)),
            }
        }
        Err(InventoryError::Unavailable { place, detail: BUSY.to_owned() })
    }
}

/// How often it is noted what was applied, while others note it too.
const TRIES: u32 = 8;

/// What was applied, where still stands what was read; under the fence, or counted as an event.
fn noted(item: &Item, applied: Value, fence: Option<&Fence>) -> Terms {
    let applied = (":applied", applied);
    let noted = match fence {
        Some(fence) => Terms::change("SET #applied = :applied", [applied])
            .and_only_if(HELD, [(":token", number_value(fence.token))]),
        // Where nobody ever held the lease it is one that was given back.
        None => Terms::change(
            "SET #applied = :applied, #token = if_not_exists(#token, :zero), \
             #version = if_not_exists(#version, :version), \
             #duration_seconds = if_not_exists(#duration_seconds, :zero), \
             #renewed_at = if_not_exists(#renewed_at, :never) ADD #journal_seq :one",
            [
                applied,
                (":one", number_value(1)),
                (":zero", number_value(0)),
                (":version", text_value(new_version())),
                (":never", text_value(Timestamp::UNIX_EPOCH.to_string())),
            ],
        ),
    };
    match item.get(builds::APPLIED) {
        Some(read) => noted.and_only_if("#applied = :read", [(":read", read.clone())]),
        None => noted.and_only_if("attribute_not_exists(#applied)", []),
    }
}

impl DynamoDbInventory {
    /// The lease as it stands after an update; none if the update was refused. A refusal by an item
    /// that carries our own new version is the answer to a repeated call whose first answer was
    /// lost.
    async fn update_lease(
        &self,
        workflow: &WorkflowId,
        terms: &Terms,
        version: &str,
    ) -> Result<Option<Lease>, InventoryError> {
        let update = self.update_item(&self.builds, builds::key(workflow, builds::LEASE), terms);
        let update = update
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let stands = match update.send().await {
            Ok(answer) => answer.attributes.map(sdk::item),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => refused
                    .item
                    .clone()
                    .map(sdk::item)
                    .filter(|item| text(item, "version") == Ok(version)),
                _ => {
                    return Err(inventory_error(
                        &error,
                        "dynamodb:UpdateItem",
                        &self.builds_place(),
                    ));
                }
            },
        };
        stands.map_or(Ok(None), |item| self.lease_of(workflow, &item))
    }
}
