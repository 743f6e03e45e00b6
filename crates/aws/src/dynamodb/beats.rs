//! Signs of life as one item per build. A supervisor's is one update; what a reconciler changes is
//! conditioned on its fence.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValue, TransactWriteItem,
};

use crate::dynamodb::attributes::{Item, json, json_value, number_value, text, text_value};
use crate::dynamodb::error::{is_refused, told};
use crate::dynamodb::{DynamoDbInventory, builds, malformed, open};
use reconciler_model::ids::{BuildId, WorkflowId};
use reconciler_model::inventory::OpenWorkflow;
use reconciler_model::inventory::heartbeat::{Answer, BuildSignal, Heartbeat};
use reconciler_model::inventory::{Fence, InventoryError, Many};

/// Stands on the item of a build that was given up.
const GIVEN_UP: &str = "given_up";
/// Stands on the item of a build that a person wants to end.
pub(super) const CANCEL: &str = "cancel";
/// The beat itself, as JSON; missing where only the request to end came.
const BEAT: &str = "beat";
/// Its version, for the condition of giving it up.
const VERSION: &str = "version";

/// The range key of a build's beat.
pub(super) fn beat_key(build: &BuildId) -> String {
    format!("{}{build}", builds::BEAT)
}

impl DynamoDbInventory {
    pub(super) async fn put_beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        let text = json_value(beat).map_err(|detail| self.unwritable_beat(beat, &detail))?;
        let sent = self
            .client
            .update_item()
            .table_name(&self.builds)
            .set_key(Some(builds::key(&beat.workflow_id, &beat_key(&beat.build_id))))
            .update_expression("SET #beat = :beat, #version = :version")
            .condition_expression("attribute_not_exists(#given_up)")
            .expression_attribute_names("#beat", BEAT)
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":version", text_value(&beat.version))
            .expression_attribute_names("#given_up", GIVEN_UP)
            .expression_attribute_values(":beat", text)
            .return_values(ReturnValue::AllOld)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                if !item.contains_key(BEAT) {
                    self.count_first_beat(&beat.workflow_id).await;
                }
                Ok(if item.contains_key(CANCEL) { Answer::Cancel } else { Answer::GoOn })
            }
            Err(error) if is_refused(&error) => Ok(Answer::GivenUp),
            Err(error) => Err(told(&error, "dynamodb:UpdateItem", &self.builds_place())),
        }
    }

    /// The first beat of a build counts as an event: whoever holds the lease looks whether anybody
    /// needs it, for it may come late, of a build that is settled. Where it cannot be counted it is
    /// found the next time that all are looked at.
    async fn count_first_beat(&self, workflow: &WorkflowId) {
        let _ = self
            .client
            .update_item()
            .table_name(&self.builds)
            .set_key(Some(builds::key(workflow, builds::LEASE)))
            .update_expression("ADD #journal_seq :one")
            .expression_attribute_names("#journal_seq", "journal_seq")
            .expression_attribute_values(":one", number_value(1))
            .send()
            .await;
    }

    pub(super) async fn read_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        let item = self.build_item(workflow, &beat_key(build)).await?;
        match item.filter(|item| item.contains_key(BEAT)) {
            Some(item) => self.parse_beat(workflow, &item).map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn read_beats(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Heartbeat>, InventoryError> {
        let query = self
            .query(&self.builds, "workflow_id", workflow.as_str())
            .key_condition_expression("#key = :key AND begins_with(#item, :prefix)")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":prefix", text_value(builds::BEAT))
            .consistent_read(true);
        let items = self.collect(query, usize::MAX, self.builds_place()).await?;
        let read =
            |item: &Item| json(item, BEAT).map_err(|detail| malformed(workflow, item, detail));
        let told = items.iter().filter(|item| item.contains_key(BEAT));
        Ok(told.map(read).collect())
    }

    pub(super) async fn bury(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let text = json_value(beat).map_err(|detail| self.unwritable_beat(beat, &detail))?;
        let mut item = builds::key(&beat.workflow_id, &beat_key(&beat.build_id));
        item.insert(BEAT.to_owned(), text);
        item.insert(VERSION.to_owned(), text_value(&beat.version));
        item.insert(GIVEN_UP.to_owned(), AttributeValue::Bool(true));
        let put = Put::builder()
            .table_name(&self.builds)
            .set_item(Some(item))
            .expression_attribute_names("#version", VERSION);
        let put = match seen {
            None => put.condition_expression("attribute_not_exists(#version)"),
            Some(seen) => put
                .condition_expression("#version = :seen")
                .expression_attribute_values(":seen", text_value(seen)),
        };
        let put = put.build().map(|put| TransactWriteItem::builder().put(put).build());
        let reach = match &beat.sign {
            BuildSignal::GivenUp { reach, .. } => reach.clone(),
            _ => None,
        };
        let entry = OpenWorkflow { workflow_id: beat.workflow_id.clone(), reach };
        let opened =
            open::put(&self.builds, &entry, &open::of_given_up(&beat.workflow_id, &beat.build_id))
                .map_err(|detail| self.unwritable_beat(beat, &detail))?;
        match self.under_fence([put, Ok(opened)], fence).await {
            Err(conflict @ InventoryError::Conflict { .. }) => {
                // A call whose answer was lost has done it.
                match self.read_beat(&beat.workflow_id, &beat.build_id).await? {
                    Some(stands) if stands == *beat => Ok(()),
                    _ => Err(conflict),
                }
            }
            done => done,
        }
    }

    pub(super) async fn remove_beat(
        &self,
        build: &BuildId,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let delete = Delete::builder()
            .table_name(&self.builds)
            .set_key(Some(builds::key(&fence.workflow_id, &beat_key(build))))
            .build()
            .map(|delete| TransactWriteItem::builder().delete(delete).build());
        let closed = open::remove(&self.builds, &open::of_given_up(&fence.workflow_id, build));
        self.under_fence([delete, closed], fence).await
    }

    /// Changes while the fence is the newest and held; doing it twice is as doing it once.
    async fn under_fence(
        &self,
        changes: [Result<TransactWriteItem, BuildError>; 2],
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let failed = |wrong: BuildError| InventoryError::Failed {
            place: self.builds_place(),
            detail: wrong.to_string(),
        };
        let held = ConditionCheck::builder()
            .table_name(&self.builds)
            .set_key(Some(builds::key(&fence.workflow_id, builds::LEASE)))
            .condition_expression("#token = :token AND attribute_exists(#holder)")
            .expression_attribute_names("#token", "token")
            .expression_attribute_names("#holder", "holder")
            .expression_attribute_values(":token", number_value(fence.token))
            .build()
            .map_err(failed)?;
        let mut items = vec![TransactWriteItem::builder().condition_check(held).build()];
        for change in changes {
            items.push(change.map_err(failed)?);
        }
        let sent = self.client.transact_write_items().set_transact_items(Some(items)).send().await;
        let Err(error) = sent else {
            return Ok(());
        };
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        else {
            return Err(told(&error, "dynamodb:TransactWriteItems", &self.builds_place()));
        };
        // The lease comes first, the changes after it.
        let refused = cancelled
            .cancellation_reasons()
            .iter()
            .position(|reason| reason.code() == Some("ConditionalCheckFailed"));
        Err(match refused {
            Some(0) => InventoryError::Fenced { workflow: fence.workflow_id.clone() },
            Some(_) => InventoryError::Conflict { what: "the sign of life of a build".to_owned() },
            // A heartbeat came at the same moment.
            None => InventoryError::Unavailable {
                place: self.builds_place(),
                detail: "another write to the same item is under way".to_owned(),
            },
        })
    }

    fn parse_beat(&self, workflow: &WorkflowId, item: &Item) -> Result<Heartbeat, InventoryError> {
        json(item, BEAT).map_err(|detail| {
            let key = text(item, "item").unwrap_or("?");
            self.malformed(format!("{workflow}: {key}"), detail)
        })
    }

    fn unwritable_beat(&self, beat: &Heartbeat, detail: &str) -> InventoryError {
        InventoryError::Failed {
            place: self.builds_place(),
            detail: format!("the beat of {} cannot be written: {detail}", beat.build_id),
        }
    }
}
