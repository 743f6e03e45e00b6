//! The tables: their exact schema, its check against what stands there, and their creation.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
};

use crate::dynamodb::error::{inventory_error, is_missing};
use reconciler_model::inventory::InventoryError;

/// The index over steps.
pub(super) const STEP_INDEX: &str = "step_id_index";

/// How often a table that is being made is looked at, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS: u32 = 240;

/// What a missing table leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Refuse,
}

/// The keys of a table; all are texts.
pub(super) struct Schema {
    hash: &'static str,
    range: &'static str,
    /// The index, by its name, hash key and range key.
    index: Option<(&'static str, &'static str, &'static str)>,
}

/// The table of images, which the Python library knows.
pub(super) const RECORDS: Schema = Schema {
    hash: "workflow_id",
    range: "step_id",
    index: Some((STEP_INDEX, "step_id", "create_at")),
};

/// The table of journal and leases.
pub(super) const BUILDS: Schema = Schema { hash: "workflow_id", range: "item", index: None };

/// The table of signs of life.
pub(super) const BEATS: Schema = Schema { hash: "workflow_id", range: "build_id", index: None };

/// The table of what people ask.
pub(super) const REQUESTS: Schema =
    Schema { hash: "workflow_id", range: "request_id", index: None };

/// Checks all tables, and makes those that are missing if that is wanted.
pub(super) async fn prepare<const N: usize>(
    client: &Client,
    tables: [(&str, Schema); N],
    missing: Missing,
) -> Result<(), InventoryError> {
    for (table, schema) in tables {
        let mut standing = describe(client, table).await?;
        if standing.is_none() {
            if missing == Missing::Refuse {
                return Err(wrong(
                    table,
                    "the table does not exist; check the name, the account and the region, or let it be created",
                ));
            }
            create(client, table, &schema).await?;
        }
        let mut looks = 0;
        let description = loop {
            match standing {
                Some(description) if is_usable(&description) => break description,
                _ if looks == LOOKS => {
                    return Err(InventoryError::Unavailable {
                        place: place(table),
                        detail: "the table does not become active".to_owned(),
                    });
                }
                _ if looks > 0 => tokio::time::sleep(LOOK_EVERY).await,
                _ => {}
            }
            looks += 1;
            standing = describe(client, table).await?;
        };
        refuse_differences(table, &description, &schema)?;
    }
    Ok(())
}

/// As [`prepare`], for whoever only reads: nothing is made or waited for, and a table that may not
/// be described is believed. Of the other tables every Query names both keys, and DynamoDB refuses
/// it where they are others.
pub(super) async fn examine(client: &Client, records: &str) -> Result<(), InventoryError> {
    examine_table(client, records, &RECORDS).await
}

/// What differs in the tables, where a call was refused because of it.
pub(super) async fn explain<const N: usize>(
    client: &Client,
    tables: [(&str, Schema); N],
) -> Result<(), InventoryError> {
    for (table, schema) in tables {
        examine_table(client, table, &schema).await?;
    }
    Ok(())
}

async fn examine_table(
    client: &Client,
    table: &str,
    schema: &Schema,
) -> Result<(), InventoryError> {
    match describe(client, table).await {
        Ok(Some(description)) => refuse_differences(table, &description, schema),
        Ok(None) | Err(InventoryError::Denied { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn refuse_differences(
    table: &str,
    description: &TableDescription,
    schema: &Schema,
) -> Result<(), InventoryError> {
    let differences = differences(description, schema);
    if differences.is_empty() {
        return Ok(());
    }
    let detail = format!("{}; name another table", differences.join(", "));
    Err(wrong(table, &detail))
}

/// A table, for people.
pub(super) fn place(table: &str) -> String {
    format!("DynamoDB table {table}")
}

fn wrong(table: &str, detail: &str) -> InventoryError {
    InventoryError::Schema { place: place(table), detail: detail.to_owned() }
}

fn is_usable(table: &TableDescription) -> bool {
    matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating))
}

async fn describe(
    client: &Client,
    table: &str,
) -> Result<Option<TableDescription>, InventoryError> {
    match client.describe_table().table_name(table).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(inventory_error(&error, "dynamodb:DescribeTable", &place(table))),
    }
}

async fn create(client: &Client, table: &str, schema: &Schema) -> Result<(), InventoryError> {
    let request = request(client.create_table().table_name(table), schema)
        .map_err(|wrong| self::wrong(table, &wrong.to_string()))?;
    match request.send().await {
        Ok(_) => Ok(()),
        // Somebody else was quicker.
        Err(error)
            if error
                .as_service_error()
                .is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => Err(inventory_error(&error, "dynamodb:CreateTable", &place(table))),
    }
}

fn request(
    mut request: CreateTableFluentBuilder,
    schema: &Schema,
) -> Result<CreateTableFluentBuilder, aws_sdk_dynamodb::error::BuildError> {
    request = request.billing_mode(BillingMode::PayPerRequest);
    for name in text_attributes(schema) {
        request = request.attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()?,
        );
    }
    request = request.set_key_schema(Some(keys(schema.hash, schema.range)?));
    if let Some((name, hash, range)) = schema.index {
        let projection = Projection::builder().projection_type(ProjectionType::All).build();
        request = request.global_secondary_indexes(
            GlobalSecondaryIndex::builder()
                .index_name(name)
                .set_key_schema(Some(keys(hash, range)?))
                .projection(projection)
                .build()?,
        );
    }
    Ok(request)
}

fn keys(
    hash: &str,
    range: &str,
) -> Result<Vec<KeySchemaElement>, aws_sdk_dynamodb::error::BuildError> {
    [(hash, KeyType::Hash), (range, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build())
        .collect()
}

/// The attributes that are keys, each once.
fn text_attributes(schema: &Schema) -> Vec<&'static str> {
    let index = schema.index.map(|(_, hash, range)| [hash, range]);
    let mut names: Vec<_> =
        [schema.hash, schema.range].into_iter().chain(index.into_iter().flatten()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What a table has that it should not, and the other way round, in words.
fn differences(table: &TableDescription, schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    let standing = key_names(table.key_schema());
    let wanted = format!("{} and {}", schema.hash, schema.range);
    if standing != wanted {
        found.push(format!("its keys are {standing}, not {wanted}"));
        return found;
    }
    for name in text_attributes(schema) {
        let standing = table
            .attribute_definitions()
            .iter()
            .find(|definition| definition.attribute_name() == name);
        if let Some(definition) = standing
            && definition.attribute_type() != &ScalarAttributeType::S
        {
            found.push(format!("key {name} is of type {}, not S", definition.attribute_type()));
        }
    }
    if let Some((name, hash, range)) = schema.index {
        found.extend(index_difference(table, name, &format!("{hash} and {range}")));
    }
    found
}

fn index_difference(table: &TableDescription, name: &str, wanted: &str) -> Option<String> {
    let index =
        table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(name));
    let Some(index) = index else {
        return Some(format!("it has no global index {name}"));
    };
    let standing = key_names(index.key_schema());
    if standing != wanted {
        return Some(format!("the keys of its index {name} are {standing}, not {wanted}"));
    }
    let projection = index.projection().and_then(Projection::projection_type);
    (projection != Some(&ProjectionType::All))
        .then(|| format!("its index {name} does not hold all attributes"))
}

/// `workflow_id and step_id`, hash first.
fn key_names(keys: &[KeySchemaElement]) -> String {
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by_key(|key| key.key_type() != &KeyType::Hash);
    let names: Vec<_> = keys.iter().map(|key| key.attribute_name()).collect();
    names.join(" and ")
}
