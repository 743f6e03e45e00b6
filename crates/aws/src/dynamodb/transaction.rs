//! One write of the port as one transaction, and what a refusal of it means.
//!
//! The newest attempt at a step is read, folded and written on the condition that it did not change
//! meanwhile; if it did, the whole is tried again.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;

use crate::dynamodb::error::inventory_error;
use crate::dynamodb::leases::{HELD, held};
use crate::dynamodb::terms::{Change, Terms, delete};
use crate::dynamodb::{DynamoDbInventory, beats, builds, open, record_key, requests};
use reconciler_items::Item;
use reconciler_items::attributes::{largest, number_value, size, text_value};
use reconciler_items::record;
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::reservation::ReservationChange;
use reconciler_model::inventory::{
    Expected, Fence, InventoryError, OpenWorkflow, Removal, Requests as _, Write,
};

/// How often a write is tried while others write the same items.
const TRIES: u32 = 8;

/// The limit of DynamoDB for one item, in bytes. Source: Developer Guide, "Quotas".
const ITEM_LIMIT: usize = 400 * 1024;

/// What is said where another write of the same item came at the same moment.
pub(super) const BUSY: &str = "another write to the same item is under way";

/// What each item of a transaction is for, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Lease,
    Record,
    Removal,
    Event,
    Heartbeat,
    Open,
    Request,
    Reservation,
    Attempt,
}

/// How a try ended that did not write.
pub(super) enum Refusal {
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
        let place = match (&write.record, &write.removal) {
            (None, None) => self.builds_place(),
            _ => self.records_place(),
        };
        if parts.is_empty() { Ok(()) } else { self.send(parts, place).await }
    }

    /// Makes all changes of a transaction, or none of them.
    pub(super) async fn send(
        &self,
        parts: Vec<(Part, Change)>,
        place: String,
    ) -> Result<(), Refusal> {
        let (kinds, items): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let items = items.into_iter().collect::<Result<_, _>>().map_err(|wrong| {
            InventoryError::Failed { place: place.clone(), detail: wrong.to_string() }
        })?;
        let sent = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = sent else {
            return Ok(());
        };
        Err(match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                self.cancelled(&kinds, cancelled.cancellation_reasons())
            }
            _ => Refusal::Error(inventory_error(&error, "dynamodb:TransactWriteItems", &place)),
        })
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
        let happened = match (&write.event, &write.answer) {
            (Some(event), _) => self.has_event(event).await?,
            (None, Some(answer)) => {
                let stands = self.request(&answer.workflow_id, &answer.id).await?;
                stands.and_then(|stands| stands.answer).as_ref() == Some(&answer.answer)
            }
            (None, None) => false,
        };
        if happened {
            return Ok(());
        }
        Err(InventoryError::Conflict {
            what: match (part, &write.record, &write.event, &write.answer) {
                (Part::Record, Some((record, _)), ..) => record.head.name(),
                (Part::Removal, ..) => {
                    write.removal.as_ref().map(Removal::name).unwrap_or_default()
                }
                (Part::Request, .., Some(answer)) => answer.name(),
                (_, _, Some(event), _) => event.name(),
                _ => "the record".to_owned(),
            },
        })
    }

    async fn has_event(&self, event: &BuildEvent) -> Result<bool, InventoryError> {
        let key =
            builds::event_key(event).map_err(|detail| self.unwritable(&event.name(), &detail))?;
        let found = self.build_item(&event.workflow_id, &key).await?;
        Ok(found.is_some_and(|item| builds::event(&item).as_ref() == Ok(event)))
    }

    async fn parts(
        &self,
        write: &Write,
        fence: Option<&Fence>,
    ) -> Result<Vec<(Part, Change)>, Refusal> {
        // Seeded bug: fence-dropped-in-dynamodb
        let mut parts = Vec::new();
        parts.extend(self.lease_part(write.event.as_ref(), fence));
        if let Some((record, expected)) = &write.record {
            let name = record.head.name();
            let item = record::to_item(record).map_err(|detail| InventoryError::Failed {
                place: self.records_place(),
                detail: format!("{name} cannot be written: {detail}"),
            })?;
            fits(&item, &name, self.records_place())?;
            let terms = match expected {
                None => Terms::default(),
                Some(Expected::Absent) => new(),
                Some(Expected::Image(ami_id)) => {
                    Terms::only_if("#ami_id = :ami_id", [(":ami_id", text_value(ami_id.as_str()))])
                }
            };
            parts.push((Part::Record, terms.put(&self.records, item)));
        }
        if let Some(removal) = &write.removal {
            let named = [(":ami_id", text_value(removal.image.as_str()))];
            // Seeded bug: any-record-is-removed-in-dynamodb
            let terms = Terms::only_if("#ami_id = :ami_id", named);
            let key = record_key(&removal.workflow_id, &removal.step_id);
            parts.push((Part::Removal, terms.delete(&self.records, key)));
        }
        if let Some(to) = &write.answer {
            let given = requests::answer(&self.requests, to);
            let given = given.map_err(|detail| self.unwritable(&to.name(), &detail))?;
            parts.push((Part::Request, given));
        }
        match &write.reservation {
            Some(ReservationChange::Begin(begins)) => {
                let name = begins.name();
                let item = builds::reservation_item(begins)
                    .map_err(|detail| self.unwritable(&name, &detail))?;
                fits(&item, &name, self.builds_place())?;
                parts.push((Part::Reservation, Terms::default().put(&self.builds, item)));
            }
            Some(ReservationChange::End { workflow_id, id }) => {
                let key = builds::reservation_key(workflow_id, id);
                parts.push((Part::Reservation, delete(&self.builds, key)));
            }
            None => {}
        }
        // The attempt comes last.
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
    ) -> Option<(Part, Change)> {
        let part = match (event, fence) {
            (None, None) => return None,
            (None, Some(fence)) => {
                held(fence).check(&self.builds, builds::key(&fence.workflow_id, builds::LEASE))
            }
            (Some(event), fence) => {
                let mut counted = builds::one_more_event();
                if let Some(fence) = fence {
                    counted = counted.and_only_if(HELD, [(":token", number_value(fence.token))]);
                }
                counted.update(&self.builds, builds::key(&event.workflow_id, builds::LEASE))
            }
        };
        Some((Part::Lease, part))
    }

    /// The event, and the newest attempt at its step if the event changes it.
    async fn event_parts(
        &self,
        event: &BuildEvent,
        parts: &mut Vec<(Part, Change)>,
    ) -> Result<(), Refusal> {
        let (workflow, table) = (&event.workflow_id, &self.builds);
        let unwritable = |detail: String| self.unwritable(&event.name(), &detail);
        let item = builds::event_item(event).map_err(unwritable)?;
        fits(&item, &event.name(), self.builds_place())?;
        parts.push((Part::Event, new().put(table, item)));
        if matches!(event.stage, Stage::CancelRequested { .. }) {
            let asked = beats::ask_to_end(&self.beats, workflow, &event.build_id);
            parts.push((Part::Heartbeat, asked));
        }

        let stands = self.build_item(workflow, &builds::attempt_key(&event.step_id)).await?;
        let current = stands.map(|item| builds::attempt(&item)).transpose().map_err(|detail| {
            self.malformed(format!("{workflow}: attempt at {}", event.step_id), detail)
        })?;
        if let Some(attempt) = Attempt::after(current.as_ref(), event) {
            let key = open::of_step(workflow, &event.step_id);
            let opened = match OpenWorkflow::of_attempt(workflow, &attempt) {
                Some(entry) => {
                    Terms::default().put(table, open::item(&entry, &key).map_err(unwritable)?)
                }
                None => delete(table, open::key(&key)),
            };
            parts.push((Part::Open, opened));
            let item = builds::attempt_item(workflow, &attempt).map_err(unwritable)?;
            let unchanged = current.map_or_else(new, |current| {
                Terms::only_if(
                    "#build_id = :build_id AND #seq = :seq",
                    [
                        (":build_id", text_value(current.build_id.as_str())),
                        (":seq", number_value(current.seq.into())),
                    ],
                )
            });
            parts.push((Part::Attempt, unchanged.put(table, item)));
        }
        Ok(())
    }

    pub(super) fn unwritable(&self, what: &str, detail: &str) -> InventoryError {
        InventoryError::Failed {
            place: self.builds_place(),
            detail: format!("{what} cannot be written: {detail}"),
        }
    }
}

/// That there is no such item yet.
fn new() -> Terms {
    Terms::only_if("attribute_not_exists(#workflow_id)", [])
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
