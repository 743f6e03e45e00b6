//! Signs of life, in a table of their own: `{table}_beats`, one item per build. A supervisor's is
//! one update, and that table is all that its credentials may write; what a reconciler changes is
//! conditioned on its fence, in one transaction over both tables. Formats are pure.
//!
//! | `build_id` | content |
//! | --- | --- |
//! | a build | `beat` (JSON), `version`, `given_up`, `cancel` |
//! | `@first` | `count`: how many builds of the workflow have given a first sign of life |

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;

use crate::dynamodb::error::{inventory_error, is_refused};
use crate::dynamodb::leases::held;
use crate::dynamodb::terms::{Change, Terms, delete};
use crate::dynamodb::transaction::{BUSY, Part, Refusal};
use crate::dynamodb::{DynamoDbInventory, builds, open, sdk};
use reconciler_items::attributes::{json, json_value, number_value, text, text_value};
use reconciler_items::{Item, Value};
use reconciler_model::ids::{BuildId, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, Heartbeat};
use reconciler_model::inventory::{
    Fence, Heartbeats, InventoryError, Malformed, Many, OpenWorkflow,
};

/// Stands on the item of a build that was given up.
const GIVEN_UP: &str = "given_up";
/// Stands on the item of a build that a person wants to end.
const CANCEL: &str = "cancel";
/// The beat itself, as JSON; missing where only the request to end came.
const BEAT: &str = "beat";
/// Its version, for the condition of giving it up.
const VERSION: &str = "version";

/// The range key of the count of first signs of life; all builds sort before it.
pub(super) const FIRST: &str = "@first";
/// The count itself.
pub(super) const COUNT: &str = "count";

/// The key of an item of the table of beats.
pub(super) fn key(workflow: &WorkflowId, item: &str) -> Item {
    Item::from([
        ("workflow_id".to_owned(), text_value(workflow.as_str())),
        ("build_id".to_owned(), text_value(item)),
    ])
}

/// Has the next beat of the build answered with the request to end.
pub(super) fn ask_to_end(table: &str, workflow: &WorkflowId, build: &BuildId) -> Change {
    let asked = Terms::change("SET #cancel = :cancel", [(":cancel", Value::Bool(true))]);
    asked.update(table, key(workflow, build.as_str()))
}

/// What is wrong with a beat.
fn malformed(workflow: &WorkflowId, item: &Item, detail: String) -> Malformed {
    let build = text(item, "build_id").unwrap_or("?");
    Malformed { step: None, key: format!("{workflow}: the beat of {build}"), detail }
}

#[async_trait]
impl Heartbeats for DynamoDbInventory {
    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        let given = Terms::change(
            "SET #beat = :beat, #version = :version",
            [(":beat", self.beat_value(beat)?), (":version", text_value(&beat.version))],
        )
        .and_only_if("attribute_not_exists(#given_up)", []);
        let key = key(&beat.workflow_id, beat.build_id.as_str());
        let update = self.update_item(&self.beats, key, &given);
        match update.return_values(ReturnValue::AllOld).send().await {
            Ok(answer) => {
                let item = sdk::item(answer.attributes.unwrap_or_default());
                if !item.contains_key(BEAT) {
                    self.count_first_beat(&beat.workflow_id).await;
                }
                Ok(if item.contains_key(CANCEL) { Answer::Cancel } else { Answer::GoOn })
            }
            Err(error) if is_refused(&error) => Ok(Answer::GivenUp),
            Err(error) => Err(inventory_error(&error, "dynamodb:UpdateItem", &self.beats_place())),
        }
    }

    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        let item = self.item(&self.beats, key(workflow, build.as_str())).await?;
        let item = item.filter(|item| item.contains_key(BEAT));
        item.map(|item| json(&item, BEAT).map_err(|detail| malformed(workflow, &item, detail)))
            .transpose()
            .map_err(|wrong| wrong.error(&self.beats_place()))
    }

    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError> {
        let query = self.query(
            &self.beats,
            "#workflow_id = :workflow AND #build_id < :first",
            [(":workflow", workflow.as_str()), (":first", FIRST)],
        );
        let items = self.collect(query, usize::MAX, self.beats_place()).await?;
        let read =
            |item: &Item| json(item, BEAT).map_err(|detail| malformed(workflow, item, detail));
        Ok(items.iter().filter(|item| item.contains_key(BEAT)).map(read).collect())
    }

    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let mut item = key(&beat.workflow_id, beat.build_id.as_str());
        item.insert(BEAT.to_owned(), self.beat_value(beat)?);
        item.insert(VERSION.to_owned(), text_value(&beat.version));
        item.insert(GIVEN_UP.to_owned(), Value::Bool(true));
        let unmoved = match seen {
            None => Terms::only_if("attribute_not_exists(#version)", []),
            Some(seen) => Terms::only_if("#version = :seen", [(":seen", text_value(seen))]),
        };
        let entry_key = open::of_given_up(&beat.workflow_id, &beat.build_id);
        let opened = OpenWorkflow::of_beat(beat)
            .map(|entry| open::item(&entry, &entry_key))
            .transpose()
            .map_err(|detail| self.unwritable_beat(beat, &detail))?;
        let opened = opened.map(|item| Terms::default().put(&self.builds, item));
        let put = unmoved.put(&self.beats, item);
        match self.under_fence([Some(put), opened], fence).await {
            Err(conflict @ InventoryError::Conflict { .. }) => {
                // A call whose answer was lost has done it.
                match self.last_beat(&beat.workflow_id, &beat.build_id).await? {
                    Some(stands) if stands == *beat => Ok(()),
                    _ => Err(conflict),
                }
            }
            done => done,
        }
    }

    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError> {
        let workflow = &fence.workflow_id;
        let forgotten = delete(&self.beats, key(workflow, build.as_str()));
        let closed = delete(&self.builds, open::key(&open::of_given_up(workflow, build)));
        self.under_fence([Some(forgotten), Some(closed)], fence).await
    }
}

impl DynamoDbInventory {
    /// The first beat of a build is counted: whoever holds the lease looks whether anybody needs it,
    /// for it may come late, of a build that is settled. Where it cannot be counted it is found the
    /// next time that all are looked at.
    async fn count_first_beat(&self, workflow: &WorkflowId) {
        let counted = Terms::change("ADD #count :one", [(":one", number_value(1))]);
        let _ = self.update_item(&self.beats, key(workflow, FIRST), &counted).send().await;
    }

    /// Changes while the fence is the newest and held; doing it twice is as doing it once.
    pub(super) async fn under_fence(
        &self,
        changes: [Option<Change>; 2],
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let lease = held(fence).check(&self.builds, builds::key(&fence.workflow_id, builds::LEASE));
        let mut parts = vec![(Part::Lease, lease)];
        parts.extend(changes.into_iter().flatten().map(|change| (Part::Heartbeat, change)));
        self.send(parts, self.builds_place()).await.map_err(|refusal| match refusal {
            Refusal::By(Part::Lease) => {
                InventoryError::Fenced { workflow: fence.workflow_id.clone() }
            }
            Refusal::By(_) => {
                InventoryError::Conflict { what: "the sign of life of a build".to_owned() }
            }
            // A heartbeat came at the same moment.
            Refusal::TryAgain => {
                InventoryError::Unavailable { place: self.builds_place(), detail: BUSY.to_owned() }
            }
            Refusal::Error(error) => error,
        })
    }

    fn beat_value(&self, beat: &Heartbeat) -> Result<Value, InventoryError> {
        json_value(beat).map_err(|detail| self.unwritable_beat(beat, &detail))
    }

    fn unwritable_beat(&self, beat: &Heartbeat, detail: &str) -> InventoryError {
        self.unwritable(&format!("the beat of {}", beat.build_id), detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// See `format_stability`: what stands in `beat` is looked at where that is.
    #[test]
    fn an_item_of_an_earlier_version_has_the_same_key_and_the_same_names() {
        let found = key(&WorkflowId::new("acore"), "01900000-0000-7000-8000-000000000000");
        let kept: Item = [
            ("workflow_id".to_owned(), text_value("acore")),
            ("build_id".to_owned(), text_value("01900000-0000-7000-8000-000000000000")),
        ]
        .into();
        assert_eq!(found, kept);
        assert_eq!((BEAT, VERSION, GIVEN_UP, CANCEL), ("beat", "version", "given_up", "cancel"));
        assert_eq!((FIRST, COUNT), ("@first", "count"));
    }
}
