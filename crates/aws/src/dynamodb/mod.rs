//! The inventory in DynamoDB: the table that the Python library knows, and a second one for journal
//! and leases.
//!
//! This file is the adapter and its reads. Formats stand in `item` and `builds` (pure), writes in
//! `transaction`, leases in `leases`, the tables themselves in `schema`. It relies on a ready
//! client: credentials, region, endpoint and retries of the network are the client's.
//!
//! # Guarantees
//!
//! * What the Python library reads and writes keeps its type and meaning; what is added has names
//!   of its own.
//! * All reads are consistent but for `records_of_step`, which goes through an index.

mod attributes;
mod beats;
mod builds;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod item;
mod leases;
mod open;
mod schema;
mod transaction;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use jiff::Timestamp;

use attributes::{Item, text, text_value};
use error::{is_missing, told};
use reconciler_model::ids::{BuildId, StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, Heartbeat};
use reconciler_model::inventory::journal::{Attempt, BuildEvent};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::{
    Fence, Heads, Inventory, InventoryError, Lease, Malformed, Many, OpenWorkflow, Write,
};
use schema::Missing;

/// Records in one table, journal and leases in a second one.
pub struct DynamoDbInventory {
    client: Client,
    records: String,
    builds: String,
    missing: Missing,
}

impl DynamoDbInventory {
    /// Takes the table of that name and `{table}_builds`. With `create`, [`Inventory::prepare`]
    /// makes those that are missing.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, create: bool) -> Self {
        let records = table.into();
        Self {
            client,
            builds: format!("{records}_builds"),
            records,
            missing: if create { Missing::Create } else { Missing::Refuse },
        }
    }

    fn records_place(&self) -> String {
        format!("DynamoDB table {}", self.records)
    }

    fn builds_place(&self) -> String {
        format!("DynamoDB table {}", self.builds)
    }

    fn malformed(&self, key: String, detail: String) -> InventoryError {
        InventoryError::Malformed { place: self.builds_place(), key, detail }
    }

    /// A query for all items with one hash key, which the caller narrows.
    fn query(&self, table: &str, key: &str, value: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(table)
            .key_condition_expression("#key = :key")
            .expression_attribute_names("#key", key)
            .expression_attribute_values(":key", text_value(value))
    }

    /// All pages of a query, or so many that `enough` items came; a missing table is empty.
    async fn collect(
        &self,
        query: QueryFluentBuilder,
        enough: usize,
        place: String,
    ) -> Result<Vec<Item>, InventoryError> {
        let found = self.collect_if_there(query, enough, place).await?;
        Ok(found.unwrap_or_default())
    }

    /// As [`Self::collect`]; none if the table is missing.
    async fn collect_if_there(
        &self,
        query: QueryFluentBuilder,
        enough: usize,
        place: String,
    ) -> Result<Option<Vec<Item>>, InventoryError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let page = query.clone().set_exclusive_start_key(start.take()).send().await;
            let page = match page {
                Ok(page) => page,
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(told(&error, "dynamodb:Query", &place)),
            };
            items.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() || items.len() >= enough {
                items.truncate(enough);
                return Ok(Some(items));
            }
        }
    }

    /// The events that a query of the second table finds.
    async fn events_from(
        &self,
        query: QueryFluentBuilder,
        enough: usize,
        workflow: &WorkflowId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let items = self.collect(query, enough, self.builds_place()).await?;
        let read = |item: &Item| {
            builds::event(item).map_err(|detail| Malformed {
                step: text(item, "step_id").ok().map(StepId::new),
                ..malformed(workflow, item, detail)
            })
        };
        Ok(items.iter().map(read).collect())
    }

    /// One item of the second table; none as well if there is no table.
    async fn build_item(
        &self,
        workflow: &WorkflowId,
        item: &str,
    ) -> Result<Option<Item>, InventoryError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.builds)
            .set_key(Some(builds::key(workflow, item)))
            .consistent_read(true);
        match request.send().await {
            Ok(answer) => Ok(answer.item),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(told(&error, "dynamodb:GetItem", &self.builds_place())),
        }
    }

    /// Whole records, newest image first.
    async fn whole(&self, query: QueryFluentBuilder) -> Result<Many<Record>, InventoryError> {
        let items = self.collect(query, usize::MAX, self.records_place()).await?;
        let mut records: Many<Record> = items.iter().map(read_record).collect();
        let order = |record: &Record| {
            let head = &record.head;
            (head.create_at, head.workflow_id.clone(), head.step_id.clone())
        };
        records.sound.sort_by_cached_key(|record| std::cmp::Reverse(order(record)));
        Ok(records)
    }
}

fn read_record(item: &Item) -> Result<Record, Malformed> {
    item::record(item).map_err(|detail| Malformed {
        step: text(item, "step_id").ok().map(StepId::new),
        key: ["workflow_id", "step_id"].map(|name| text(item, name).unwrap_or("?")).join("/"),
        detail,
    })
}

/// What is wrong with an item of the second table.
fn malformed(workflow: &WorkflowId, item: &Item, detail: String) -> Malformed {
    let key = text(item, "item").unwrap_or("?");
    Malformed {
        step: key.strip_prefix(builds::STEP).map(StepId::new),
        key: format!("{workflow}: {key}"),
        detail,
    }
}

#[async_trait]
impl Inventory for DynamoDbInventory {
    fn place(&self) -> String {
        // Of one name there may be a table in each region.
        match self.client.config().region() {
            Some(region) => format!("{} in {region}", self.records_place()),
            None => self.records_place(),
        }
    }

    async fn prepare(&self) -> Result<(), InventoryError> {
        schema::prepare(&self.client, &self.records, &self.builds, self.missing).await
    }

    async fn examine(&self) -> Result<(), InventoryError> {
        schema::examine(&self.client, &self.records, &self.builds).await
    }

    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        self.read_open_workflows().await
    }

    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError> {
        let mut query =
            self.query(&self.records, "workflow_id", workflow.as_str()).consistent_read(true);
        let aliases: Vec<_> = (0..item::HEAD.len()).map(|at| format!("#a{at}")).collect();
        for (alias, name) in aliases.iter().zip(item::HEAD) {
            query = query.expression_attribute_names(alias, name);
        }
        let query = query.projection_expression(aliases.join(", "));
        let mut heads = Heads::default();
        let found = self.collect_if_there(query, usize::MAX, self.records_place()).await?;
        heads.missing = found.is_none();
        for item in found.unwrap_or_default() {
            match item::head(&item) {
                Ok(head) => heads.records.push(head),
                Err(detail) => {
                    let step = text(&item, "step_id").unwrap_or("?");
                    heads.malformed.push((StepId::new(step), detail));
                }
            }
        }
        Ok(heads)
    }

    async fn record(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Option<Record>, InventoryError> {
        let request = self
            .client
            .get_item()
            .table_name(&self.records)
            .key("workflow_id", text_value(workflow.as_str()))
            .key("step_id", text_value(step.as_str()))
            .consistent_read(true);
        match request.send().await {
            Ok(answer) => {
                let read = answer.item.map(|item| read_record(&item)).transpose();
                read.map_err(|wrong| wrong.error(&self.records_place()))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(told(&error, "dynamodb:GetItem", &self.records_place())),
        }
    }

    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError> {
        let query = self
            .query(&self.records, "step_id", step.as_str())
            .index_name(schema::STEP_INDEX)
            .scan_index_forward(false);
        self.whole(query).await
    }

    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError> {
        let query =
            self.query(&self.records, "workflow_id", workflow.as_str()).consistent_read(true);
        self.whole(query).await
    }

    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError> {
        self.transact(&write, fence).await
    }

    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError> {
        let query = self
            .query(&self.builds, "workflow_id", workflow.as_str())
            .key_condition_expression("#key = :key AND begins_with(#item, :prefix)")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":prefix", text_value(builds::STEP))
            .consistent_read(true);
        let items = self.collect(query, usize::MAX, self.builds_place()).await?;
        let read =
            |item: &Item| builds::attempt(item).map_err(|detail| malformed(workflow, item, detail));
        Ok(items.iter().map(read).collect())
    }

    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let mut query = self
            .query(&self.builds, "workflow_id", workflow.as_str())
            .key_condition_expression("#key = :key AND #item < :after")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":after", text_value(builds::AFTER_EVENTS))
            .scan_index_forward(false)
            .consistent_read(true);
        query = match step {
            Some(step) => query
                .filter_expression("#step_id = :step_id")
                .expression_attribute_names("#step_id", "step_id")
                .expression_attribute_values(":step_id", text_value(step.as_str())),
            // Counts what is read, so it would cut a filtered page short.
            None => query.set_limit(i32::try_from(limit).ok().filter(|limit| *limit > 0)),
        };
        self.events_from(query, limit, workflow).await
    }

    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let query = self
            .query(&self.builds, "workflow_id", workflow.as_str())
            .key_condition_expression("#key = :key AND begins_with(#item, :build)")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":build", text_value(format!("{build}#")))
            .scan_index_forward(false)
            .consistent_read(true);
        self.events_from(query, usize::MAX, workflow).await
    }

    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let query = self
            .query(&self.builds, "workflow_id", workflow.as_str())
            .key_condition_expression("#key = :key AND #item BETWEEN :since AND :after")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":since", text_value(BuildId::earliest(since)))
            .expression_attribute_values(":after", text_value(builds::AFTER_EVENTS))
            .filter_expression("#step_id = :step_id")
            .expression_attribute_names("#step_id", "step_id")
            .expression_attribute_values(":step_id", text_value(step.as_str()))
            .scan_index_forward(false)
            .consistent_read(true);
        self.events_from(query, usize::MAX, workflow).await
    }

    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError> {
        self.read_lease(workflow).await
    }

    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        self.take_lease(workflow, holder, duration_seconds, seen, now).await
    }

    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError> {
        self.renew(lease, now).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        self.give_back(lease).await
    }

    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        self.put_beat(beat).await
    }

    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        self.read_beat(workflow, build).await
    }

    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError> {
        self.read_beats(workflow).await
    }

    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        self.bury(beat, seen, fence).await
    }

    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError> {
        self.remove_beat(build, fence).await
    }
}
