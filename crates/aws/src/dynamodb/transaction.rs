//! One write of the port as one transaction, and what a refusal of it means.
//!
//! The newest attempt at a step is read, folded and written on the condition that it did not change
//! meanwhile; if it did, the whole is tried again.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Put, TransactWriteItem, Update,
};

use crate::dynamodb::attributes::{Item, largest, number_value, size, text_value};
use crate::dynamodb::error::told;
use crate::dynamodb::{DynamoDbInventory, beats, builds, item, open};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::{Expected, Fence, InventoryError, OpenWorkflow, Write};

/// How often a write is tried while others write the same items.
const TRIES: u32 = 8;

/// The limit of DynamoDB for one item, in bytes. Source: Developer Guide, "Quotas".
const ITEM_LIMIT: usize = 400 * 1024;

/// What each item of the transaction is for, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Lease,
    Record,
    Event,
    Heartbeat,
    Open,
    Attempt,
}

/// How a try ended that did not write.
enum Refusal {
    /// Somebody wrote the same items at the same time.
    TryAgain,
    /// A condition does not hold.
    By(Part),
    /// Anything else.
    Error(InventoryError),
}

impl From<InventoryError> for Refusal {
    fn from(error: InventoryError) -> Self {
        Self::Error(error)
    }
}

impl DynamoDbInventory {
    /// Writes, whole or not at all.
    pub(super) async fn transact(
        &self,
        write: &Write,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        for tried in 0..TRIES {
            match self.try_to_write(write, fence).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Error(error)) => return Err(error),
                Err(Refusal::TryAgain) => {
                    tokio::time::sleep(Duration::from_millis(10 << tried)).await;
                }
                Err(Refusal::By(part)) => return self.refused(part, write, fence).await,
            }
        }
        Err(InventoryError::Unavailable {
            place: self.builds_place(),
            detail: "others keep writing the same items".to_owned(),
        })
    }

    async fn try_to_write(&self, write: &Write, fence: Option<&Fence>) -> Result<(), Refusal> {
        let parts = self.parts(write, fence).await?;
        if parts.is_empty() {
            return Ok(());
        }
        let (kinds, items): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let sent = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = sent else {
            return Ok(());
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                Err(self.cancelled(&kinds, cancelled.cancellation_reasons()))
            }
            _ => Err(Refusal::Error(told(
                &error,
                "dynamodb:TransactWriteItems",
                &self.write_place(write),
            ))),
        }
    }

    fn cancelled(&self, kinds: &[Part], reasons: &[CancellationReason]) -> Refusal {
        let failed: Vec<_> = kinds
            .iter()
            .zip(reasons)
            .filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))
            .map(|(part, _)| *part)
            .collect();
        // The lease is the first part, the attempt the last: a lost lease is said before all else.
        if let Some(part) = failed.first() {
            return match part {
                Part::Attempt => Refusal::TryAgain,
                part => Refusal::By(*part),
            };
        }
        let other = reasons.iter().find(|reason| !matches!(reason.code(), None | Some("None")));
        let code = other.and_then(CancellationReason::code).unwrap_or("no reason");
        let detail = format!(
            "the transaction was cancelled: {code}: {}",
            other.and_then(CancellationReason::message).unwrap_or_default()
        );
        match code {
            "TransactionConflict" => Refusal::TryAgain,
            "ThrottlingError" | "ProvisionedThroughputExceeded" => {
                Refusal::Error(InventoryError::Unavailable { place: self.builds_place(), detail })
            }
            _ => Refusal::Error(InventoryError::Failed { place: self.builds_place(), detail }),
        }
    }

    /// What a condition that does not hold means; an event that is there word for word was written
    /// by a call whose answer was lost.
    async fn refused(
        &self,
        part: Part,
        write: &Write,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        if part == Part::Lease
            && let Some(fence) = fence
        {
            return Err(InventoryError::Fenced { workflow: fence.workflow_id.clone() });
        }
        if let Some(event) = &write.event
            && self.has_event(event).await?
        {
            return Ok(());
        }
        Err(InventoryError::Conflict {
            what: match (part, &write.record, &write.event) {
                (Part::Record, Some((record, _)), _) => {
                    format!("record {}/{}", record.head.workflow_id, record.head.step_id)
                }
                (_, _, Some(event)) => event_name(event),
                _ => "the record".to_owned(),
            },
        })
    }

    async fn has_event(&self, event: &BuildEvent) -> Result<bool, InventoryError> {
        let key = builds::event_key(event).map_err(|detail| self.unwritable(event, &detail))?;
        let found = self.build_item(&event.workflow_id, &key).await?;
        Ok(found.is_some_and(|item| builds::event(&item).as_ref() == Ok(event)))
    }

    async fn parts(
        &self,
        write: &Write,
        fence: Option<&Fence>,
    ) -> Result<Vec<(Part, TransactWriteItem)>, Refusal> {
        // Seeded bug: fence-dropped-in-dynamodb
        let mut parts = Vec::new();
        if fence.is_some() || write.event.is_some() {
            parts.extend(
                self.lease_part(write.event.as_ref(), fence)
                    .map_err(|wrong| self.unbuilt(&wrong))?
                    .map(|part| (Part::Lease, part)),
            );
        }
        if let Some((record, expected)) = &write.record {
            let key = format!("record {}/{}", record.head.workflow_id, record.head.step_id);
            let item = item::to_item(record).map_err(|detail| InventoryError::Failed {
                place: self.records_place(),
                detail: format!("{key} cannot be written: {detail}"),
            })?;
            fits(&item, &key, self.records_place())?;
            let put = record_put(&self.records, item, expected.as_ref());
            parts.push((Part::Record, put.map_err(|wrong| self.unbuilt(&wrong))?));
        }
        if let Some(event) = &write.event {
            self.event_parts(event, &mut parts).await?;
        }
        Ok(parts)
    }

    /// Holds the fence against the lease, and counts the event.
    fn lease_part(
        &self,
        event: Option<&BuildEvent>,
        fence: Option<&Fence>,
    ) -> Result<Option<TransactWriteItem>, BuildError> {
        const HELD: &str = "#token = :token AND attribute_exists(#holder)";
        let item = TransactWriteItem::builder();
        let Some(event) = event else {
            let Some(fence) = fence else {
                return Ok(None);
            };
            let check = ConditionCheck::builder()
                .table_name(&self.builds)
                .set_key(Some(builds::key(&fence.workflow_id, builds::LEASE)))
                .condition_expression(HELD)
                .expression_attribute_names("#token", "token")
                .expression_attribute_names("#holder", "holder")
                .expression_attribute_values(":token", number_value(fence.token))
                .build()?;
            return Ok(Some(item.condition_check(check).build()));
        };
        let mut update = Update::builder()
            .table_name(&self.builds)
            .set_key(Some(builds::key(&event.workflow_id, builds::LEASE)))
            .update_expression("ADD #journal_seq :one")
            .expression_attribute_names("#journal_seq", "journal_seq")
            .expression_attribute_values(":one", number_value(1));
        if let Some(fence) = fence {
            update = update
                .condition_expression(HELD)
                .expression_attribute_names("#token", "token")
                .expression_attribute_names("#holder", "holder")
                .expression_attribute_values(":token", number_value(fence.token));
        }
        Ok(Some(item.update(update.build()?).build()))
    }

    /// The event, and the newest attempt at its step if the event changes it.
    async fn event_parts(
        &self,
        event: &BuildEvent,
        parts: &mut Vec<(Part, TransactWriteItem)>,
    ) -> Result<(), Refusal> {
        let unwritable = |detail: String| Refusal::Error(self.unwritable(event, &detail));
        let item = builds::event_item(event).map_err(unwritable)?;
        fits(&item, &event_name(event), self.builds_place())?;
        let put = new_put(&self.builds, item).map_err(|wrong| self.unbuilt(&wrong))?;
        parts.push((Part::Event, put));
        if matches!(event.stage, Stage::CancelRequested { .. }) {
            let ask = self.ask_to_end(event).map_err(|wrong| self.unbuilt(&wrong))?;
            parts.push((Part::Heartbeat, ask));
        }

        let key = builds::attempt_key(&event.step_id);
        let current = match self.build_item(&event.workflow_id, &key).await? {
            Some(item) => Some(builds::attempt(&item).map_err(|detail| {
                self.malformed(
                    format!("{}: attempt at {}", event.workflow_id, event.step_id),
                    detail,
                )
            })?),
            None => None,
        };
        if let Some(attempt) = Attempt::after(current.as_ref(), event) {
            parts.push((Part::Open, self.open_part(event, &attempt).map_err(unwritable)?));
            let item = builds::attempt_item(&event.workflow_id, &attempt).map_err(unwritable)?;
            let put = attempt_put(&self.builds, item, current.as_ref())
                .map_err(|wrong| self.unbuilt(&wrong))?;
            parts.push((Part::Attempt, put));
        }
        Ok(())
    }

    /// Keeps the list of workflows that have something open in step with the attempt.
    fn open_part(
        &self,
        event: &BuildEvent,
        attempt: &Attempt,
    ) -> Result<TransactWriteItem, String> {
        let key = open::of_step(&event.workflow_id, &event.step_id);
        if attempt.is_settled() {
            return open::remove(&self.builds, &key).map_err(|wrong| wrong.to_string());
        }
        let entry = OpenWorkflow {
            workflow_id: event.workflow_id.clone(),
            reach: attempt.intent.reach.clone(),
        };
        open::put(&self.builds, &entry, &key)
    }

    /// Has the next beat of the build answered with the request to end.
    fn ask_to_end(&self, event: &BuildEvent) -> Result<TransactWriteItem, BuildError> {
        let key = builds::key(&event.workflow_id, &beats::beat_key(&event.build_id));
        let update = Update::builder()
            .table_name(&self.builds)
            .set_key(Some(key))
            .update_expression("SET #cancel = :cancel")
            .expression_attribute_names("#cancel", beats::CANCEL)
            .expression_attribute_values(":cancel", AttributeValue::Bool(true))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn unwritable(&self, event: &BuildEvent, detail: &str) -> InventoryError {
        InventoryError::Failed {
            place: self.builds_place(),
            detail: format!("{} cannot be written: {detail}", event_name(event)),
        }
    }

    fn unbuilt(&self, wrong: &BuildError) -> InventoryError {
        InventoryError::Failed { place: self.builds_place(), detail: wrong.to_string() }
    }

    fn write_place(&self, write: &Write) -> String {
        match &write.record {
            Some(_) => self.records_place(),
            None => self.builds_place(),
        }
    }
}

fn event_name(event: &BuildEvent) -> String {
    format!("event {} of build {}", event.seq, event.build_id)
}

/// Refuses what DynamoDB would refuse, with more words.
fn fits(item: &Item, name: &str, place: String) -> Result<(), InventoryError> {
    let size = size(item);
    if size <= ITEM_LIMIT {
        return Ok(());
    }
    Err(InventoryError::Failed {
        place,
        detail: format!(
            "{name} takes {} KB, and DynamoDB holds {} KB an item; most of it is `{}`",
            size / 1024,
            ITEM_LIMIT / 1024,
            largest(item).unwrap_or_default()
        ),
    })
}

fn record_put(
    table: &str,
    item: Item,
    expected: Option<&Expected>,
) -> Result<TransactWriteItem, BuildError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = match expected {
        None => put,
        Some(Expected::Absent) => put
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", "workflow_id"),
        Some(Expected::Image(ami_id)) => put
            .condition_expression("#ami_id = :ami_id")
            .expression_attribute_names("#ami_id", "ami_id")
            .expression_attribute_values(":ami_id", text_value(ami_id.as_str())),
    };
    Ok(TransactWriteItem::builder().put(put.build()?).build())
}

fn new_put(table: &str, item: Item) -> Result<TransactWriteItem, BuildError> {
    record_put(table, item, Some(&Expected::Absent))
}

fn attempt_put(
    table: &str,
    item: Item,
    current: Option<&Attempt>,
) -> Result<TransactWriteItem, BuildError> {
    let Some(current) = current else {
        return new_put(table, item);
    };
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("#build_id = :build_id AND #seq = :seq")
        .expression_attribute_names("#build_id", "build_id")
        .expression_attribute_names("#seq", "seq")
        .expression_attribute_values(":build_id", text_value(current.build_id.as_str()))
        .expression_attribute_values(":seq", number_value(current.seq.into()))
        .build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}
