//! The inventory in DynamoDB: the table that the Python library knows, one for journal and leases,
//! one for signs of life, and one for what people ask. Each of the last three has other writers.
//!
//! This file is the adapter and its reads of records and journal. Formats stand in
//! `reconciler_items`, `builds` and `open` (pure), the types of the SDK in `sdk`, expressions in
//! `terms`, writes in `transaction`, leases in `leases`, signs of life in `beats`, requests in
//! `requests`, the tables themselves in `schema`. It relies on a ready client: credentials, region, endpoint and retries
//! of the network are the client's.
//!
//! # Guarantees
//!
//! * What the Python library reads and writes keeps its type and meaning; what is added has names
//!   of its own.
//! * All reads are consistent but for `records_of_step`, which goes through an index.

mod beats;
mod builds;
mod error;
mod leases;
mod open;
mod requests;
mod schema;
mod sdk;
mod terms;
mod transaction;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use error::{inventory_error, is_missing};
use reconciler_items::attributes::{text, text_value};
use reconciler_items::{Item, record};
use reconciler_model::ids::{BuildId, StepId, WorkflowId};
use reconciler_model::inventory::journal::{Attempt, BuildEvent};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::{
    Fence, Heads, Inventory, InventoryError, Journal, Lease, Malformed, Many, OpenWorkflow,
    Records, Write,
};
use schema::Missing;
use terms::{Terms, names};

/// The condition of a query for all items of one workflow.
const OF_WORKFLOW: &str = "#workflow_id = :workflow";

/// Records in one table; journal and leases, signs of life, and requests in others beside it.
pub struct DynamoDbInventory {
    client: Client,
    records: String,
    builds: String,
    beats: String,
    requests: String,
    missing: Missing,
}

impl DynamoDbInventory {
    /// Takes the table of that name, `{table}_builds`, `{table}_beats` and `{table}_requests`. With
    /// `create`, [`Inventory::prepare`] makes those that are missing.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, create: bool) -> Self {
        let records = table.into();
        Self {
            client,
            builds: format!("{records}_builds"),
            beats: format!("{records}_beats"),
            requests: format!("{records}_requests"),
            records,
            missing: if create { Missing::Create } else { Missing::Refuse },
        }
    }

    fn records_place(&self) -> String {
        schema::place(&self.records)
    }

    fn builds_place(&self) -> String {
        schema::place(&self.builds)
    }

    fn beats_place(&self) -> String {
        schema::place(&self.beats)
    }

    fn requests_place(&self) -> String {
        schema::place(&self.requests)
    }

    /// All tables, each with its schema.
    fn tables(&self) -> [(&str, schema::Schema); 4] {
        [
            (&self.records, schema::RECORDS),
            (&self.builds, schema::BUILDS),
            (&self.beats, schema::BEATS),
            (&self.requests, schema::REQUESTS),
        ]
    }

    fn malformed(&self, key: String, detail: String) -> InventoryError {
        InventoryError::Malformed { place: self.builds_place(), key, detail }
    }

    /// A consistent query, for what a condition on the keys chooses; its values are texts.
    fn query<const N: usize>(
        &self,
        table: &str,
        condition: &str,
        values: [(&str, &str); N],
    ) -> QueryFluentBuilder {
        let values = Item::from(values.map(|(name, value)| (name.to_owned(), text_value(value))));
        self.client
            .query()
            .table_name(table)
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names(condition)))
            .set_expression_attribute_values(Some(sdk::attributes(values)))
            .consistent_read(true)
    }

    /// The items of a workflow whose keys begin so, in the second table.
    async fn build_items(
        &self,
        workflow: &WorkflowId,
        prefix: &str,
    ) -> Result<Vec<Item>, InventoryError> {
        let query = self.query(
            &self.builds,
            "#workflow_id = :workflow AND begins_with(#item, :prefix)",
            [(":workflow", workflow.as_str()), (":prefix", prefix)],
        );
        self.collect(query, usize::MAX, self.builds_place()).await
    }

    /// An update of one item.
    fn update_item(&self, table: &str, key: Item, terms: &Terms) -> UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(table);
        terms.call(update.set_key(Some(sdk::attributes(key))))
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
                Err(error) => {
                    let refused = inventory_error(&error, "dynamodb:Query", &place);
                    return Err(self.explained(refused).await);
                }
            };
            items.extend(page.items.unwrap_or_default().into_iter().map(sdk::item));
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() || items.len() >= enough {
                items.truncate(enough);
                return Ok(Some(items));
            }
        }
    }

    /// A refusal because of the schema in the words of what differs.
    async fn explained(&self, refused: InventoryError) -> InventoryError {
        if !matches!(refused, InventoryError::Schema { .. }) {
            return refused;
        }
        let explained = schema::explain(&self.client, self.tables()).await;
        match explained {
            Err(differs @ InventoryError::Schema { .. }) => differs,
            _ => refused,
        }
    }

    /// The lease that stands in an item.
    fn lease_of(
        &self,
        workflow: &WorkflowId,
        item: &Item,
    ) -> Result<Option<Lease>, InventoryError> {
        builds::lease(workflow, item)
            .map_err(|detail| self.malformed(format!("lease of {workflow}"), detail))
    }

    /// The events that a query of the second table finds, newest first; of one step, if one is
    /// named.
    async fn events_from(
        &self,
        query: QueryFluentBuilder,
        step: Option<&StepId>,
        enough: usize,
        workflow: &WorkflowId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let mut query = query.scan_index_forward(false);
        if let Some(step) = step {
            query = query
                .filter_expression("#step_id = :step_id")
                .expression_attribute_names("#step_id", "step_id")
                .expression_attribute_values(
                    ":step_id",
                    AttributeValue::S(step.as_str().to_owned()),
                );
        }
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
        self.item(&self.builds, builds::key(workflow, item)).await
    }

    async fn item(&self, table: &str, key: Item) -> Result<Option<Item>, InventoryError> {
        let request = self.client.get_item().table_name(table).set_key(Some(sdk::attributes(key)));
        match request.consistent_read(true).send().await {
            Ok(answer) => Ok(answer.item.map(sdk::item)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(inventory_error(&error, "dynamodb:GetItem", &schema::place(table))),
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

/// The key of a record.
fn record_key(workflow: &WorkflowId, step: &StepId) -> Item {
    let key = [("workflow_id", workflow.as_str()), ("step_id", step.as_str())];
    key.map(|(name, value)| (name.to_owned(), text_value(value))).into()
}

fn read_record(item: &Item) -> Result<Record, Malformed> {
    record::record(item).map_err(|detail| Malformed {
        step: text(item, "step_id").ok().map(StepId::new),
        key: ["workflow_id", "step_id"].map(|name| text(item, name).unwrap_or("?")).join("/"),
        detail,
    })
}

fn attempt_of(workflow: &WorkflowId, item: &Item) -> Result<Attempt, Malformed> {
    builds::attempt(item).map_err(|detail| malformed(workflow, item, detail))
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
        schema::prepare(&self.client, self.tables(), self.missing).await
    }

    async fn examine(&self) -> Result<(), InventoryError> {
        schema::examine(&self.client, &self.records).await
    }

    /// One Query.
    async fn lease_and_attempts(
        &self,
        workflow: &WorkflowId,
    ) -> Result<(Result<Option<Lease>, InventoryError>, Many<Attempt>), InventoryError> {
        let query = self.query(
            &self.builds,
            "#workflow_id = :workflow AND #item BETWEEN :lease AND :after_steps",
            [
                (":workflow", workflow.as_str()),
                (":lease", builds::LEASE),
                (":after_steps", builds::AFTER_STEPS),
            ],
        );
        let items = self.collect(query, usize::MAX, self.builds_place()).await?;
        let lease = items.iter().find(|item| text(item, "item") == Ok(builds::LEASE));
        let lease = lease.map_or(Ok(None), |item| self.lease_of(workflow, item));
        let is_attempt = |item: &&Item| text(item, "item").is_ok_and(builds::is_attempt_key);
        let attempts = items.iter().filter(is_attempt);
        let mut attempts: Many<_> = attempts.map(|item| attempt_of(workflow, item)).collect();
        attempts.sound.retain(|attempt| !attempt.is_recorded_and_clean());
        Ok((lease, attempts))
    }

    /// One Query.
    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        let query = self.query(&self.builds, OF_WORKFLOW, [(":workflow", open::OPEN)]);
        let items = self.collect(query, usize::MAX, self.builds_place()).await?;
        let mut open: Vec<_> = items.iter().filter_map(open::read).collect();
        open.sort();
        open.dedup();
        Ok(open)
    }

    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError> {
        self.transact(&write, fence).await
    }
}

#[async_trait]
impl Records for DynamoDbInventory {
    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError> {
        let projection = record::HEAD.map(|name| format!("#{name}")).join(", ");
        let query = self
            .query(&self.records, OF_WORKFLOW, [(":workflow", workflow.as_str())])
            .set_expression_attribute_names(Some(names(&projection)))
            .projection_expression(projection);
        let found = self.collect_if_there(query, usize::MAX, self.records_place()).await?;
        let mut heads = Heads { missing: found.is_none(), ..Heads::default() };
        for item in found.unwrap_or_default() {
            match record::head(&item) {
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
        let item = self.item(&self.records, record_key(workflow, step)).await?;
        let read = item.map(|item| read_record(&item)).transpose();
        read.map_err(|wrong| wrong.error(&self.records_place()))
    }

    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError> {
        let query = self.query(&self.records, "#step_id = :step", [(":step", step.as_str())]);
        let query = query.index_name(schema::STEP_INDEX).consistent_read(false);
        self.whole(query.scan_index_forward(false)).await
    }

    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError> {
        self.whole(self.query(&self.records, OF_WORKFLOW, [(":workflow", workflow.as_str())])).await
    }
}

#[async_trait]
impl Journal for DynamoDbInventory {
    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError> {
        let items = self.build_items(workflow, builds::STEP).await?;
        Ok(items.iter().map(|item| attempt_of(workflow, item)).collect())
    }

    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let mut query = self.query(
            &self.builds,
            "#workflow_id = :workflow AND #item < :after",
            [(":workflow", workflow.as_str()), (":after", builds::AFTER_EVENTS)],
        );
        if step.is_none() {
            // Counts what is read, so it would cut a filtered page short.
            query = query.set_limit(i32::try_from(limit).ok().filter(|limit| *limit > 0));
        }
        self.events_from(query, step, limit, workflow).await
    }

    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let query = self.query(
            &self.builds,
            "#workflow_id = :workflow AND begins_with(#item, :build)",
            [(":workflow", workflow.as_str()), (":build", &format!("{build}#"))],
        );
        self.events_from(query, None, usize::MAX, workflow).await
    }

    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let query = self.query(
            &self.builds,
            "#workflow_id = :workflow AND #item BETWEEN :since AND :after",
            [
                (":workflow", workflow.as_str()),
                (":since", &BuildId::earliest(since)),
                (":after", builds::AFTER_EVENTS),
            ],
        );
        self.events_from(query, Some(step), usize::MAX, workflow).await
    }
}
