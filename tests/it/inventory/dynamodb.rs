//! What is particular to the DynamoDB adapter: its tables, what others may have put there, and what
//! it costs.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use reconciler_model::inventory::{
    Inventory, InventoryError, Journal as _, Leases as _, Records as _,
};

use super::tables::{Tables, runtime};
use super::values::{Build, failed, minute, of_event, of_record, record, step, workflow};
use crate::harness::emulator::Emulator;

/// Runs a test on tables of its own that do not exist yet.
fn on_tables<R: Future<Output = Tables>>(test: impl FnOnce(Tables) -> R) {
    runtime().block_on(async {
        test(Tables::fresh().await).await.delete().await;
    });
}

#[test]
fn tables_that_do_not_exist_are_empty_for_readers_and_refused_to_writers() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(false);
        let (workflow, pyenv) = (workflow(), step("pyenv"));
        assert_eq!(inventory.heads(&workflow).await.unwrap().records, []);
        assert_eq!(inventory.record(&workflow, &pyenv).await.unwrap(), None);
        assert_eq!(inventory.records_of_step(&pyenv).await.unwrap(), []);
        assert_eq!(inventory.attempts(&workflow).await.unwrap(), []);
        assert_eq!(inventory.lease(&workflow).await.unwrap(), None);
        let refused = inventory.prepare().await.unwrap_err().to_string();
        assert!(refused.contains(&tables.name), "{refused}");
        assert!(refused.contains("does not exist"), "{refused}");
        let write = inventory.write(of_record(record("pyenv", "ami-1", minute(0))), None).await;
        assert!(matches!(write, Err(InventoryError::Schema { .. })), "{write:?}");
        tables
    });
}

#[test]
fn the_tables_are_made_with_the_exact_schema() {
    on_tables(|tables| async move {
        tables.inventory(true).prepare().await.unwrap();
        // A second time, and by one who may not create.
        tables.inventory(false).prepare().await.unwrap();
        let describe = |name: String| {
            let request = tables.client.describe_table().table_name(name);
            async move { request.send().await.unwrap().table.unwrap() }
        };
        let keys = |schema: &[KeySchemaElement]| -> Vec<String> {
            let mut keys: Vec<_> = schema
                .iter()
                .map(|key| format!("{} {}", key.key_type(), key.attribute_name()))
                .collect();
            keys.sort();
            keys
        };
        let records = describe(tables.name.clone()).await;
        assert_eq!(keys(records.key_schema()), ["HASH workflow_id", "RANGE step_id"]);
        let mode = records.billing_mode_summary().unwrap().billing_mode();
        assert_eq!(mode, Some(&BillingMode::PayPerRequest));
        let [index] = records.global_secondary_indexes() else {
            panic!("{records:?}");
        };
        assert_eq!(index.index_name(), Some("step_id_index"));
        assert_eq!(keys(index.key_schema()), ["HASH step_id", "RANGE create_at"]);
        let projection = index.projection().unwrap().projection_type().unwrap();
        assert_eq!(projection.as_str(), "ALL");
        assert!(
            records
                .attribute_definitions()
                .iter()
                .all(|attribute| attribute.attribute_type() == &ScalarAttributeType::S)
        );
        for (suffix, range) in
            [("builds", "item"), ("beats", "build_id"), ("requests", "request_id")]
        {
            let table = describe(format!("{}_{suffix}", tables.name)).await;
            assert_eq!(keys(table.key_schema()), ["HASH workflow_id", &format!("RANGE {range}")]);
        }
        tables
    });
}

async fn make_table(tables: &Tables, name: &str, hash: &str, range: &str) {
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
    };
    tables
        .client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(hash))
        .attribute_definitions(attribute(range))
        .key_schema(key(hash, KeyType::Hash))
        .key_schema(key(range, KeyType::Range))
        .send()
        .await
        .unwrap();
}

#[test]
fn a_table_with_other_keys_is_refused_with_what_differs() {
    on_tables(|tables| async move {
        make_table(&tables, &tables.name, "name", "version").await;
        let refused = tables.inventory(true).prepare().await.unwrap_err();
        assert!(matches!(refused, InventoryError::Schema { .. }), "{refused:?}");
        let said = refused.to_string();
        assert!(
            said.contains("its keys are name and version, not workflow_id and step_id"),
            "{said}"
        );
        let read = tables.inventory(false).heads(&workflow()).await.unwrap_err();
        assert_eq!(read.to_string(), said, "a reader is told the same");
        tables
    });
}

#[test]
fn a_second_table_with_other_keys_is_refused_to_readers_in_the_words_of_a_writer() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        make_table(&tables, &format!("{}_builds", tables.name), "workflow_id", "version").await;
        let refused = inventory.prepare().await.unwrap_err().to_string();
        assert!(
            refused.contains("its keys are workflow_id and version, not workflow_id and item"),
            "{refused}"
        );
        let read = inventory.lease_and_attempts(&workflow()).await.unwrap_err();
        assert_eq!(read.to_string(), refused);
        let read = inventory.attempts(&workflow()).await.unwrap_err();
        assert_eq!(read.to_string(), refused);
        tables
    });
}

#[test]
fn a_table_without_the_index_is_refused_with_what_is_missing() {
    on_tables(|tables| async move {
        make_table(&tables, &tables.name, "workflow_id", "step_id").await;
        let said = tables.inventory(true).prepare().await.unwrap_err().to_string();
        assert!(said.contains("no global index step_id_index"), "{said}");
        tables
    });
}

const PYTHON_RECORD: [(&str, &str); 12] = [
    ("workflow_id", "acore-ami-2024-06-13-12-00-00"),
    ("step_id", "python"),
    ("ami_id", "ami-7"),
    ("ami_name", "ubuntu/acore/python"),
    ("create_at", "2024-06-13T12:00:00.000000+0000"),
    ("aws_console_url", "https://console.aws.amazon.com/"),
    ("base_ami_id", "ami-0"),
    ("base_ami_name", "ubuntu"),
    ("root_base_ami_id", "ami-0"),
    ("root_base_ami_name", "ubuntu"),
    ("details", "{}"),
    ("metadata", "{}"),
];

#[test]
fn a_record_that_cannot_be_read_stops_no_other() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        let good = record("pyenv", "ami-1", minute(0));
        inventory.write(of_record(good.clone()), None).await.unwrap();
        let broken: Vec<_> = PYTHON_RECORD
            .iter()
            .map(|&(name, value)| match name {
                "create_at" => (name, "yesterday"),
                _ => (name, value),
            })
            .collect();
        tables.put_raw(&broken).await;
        let heads = inventory.heads(&workflow()).await.unwrap();
        assert_eq!(heads.records, [good.head]);
        let [(broken_step, said)] = &heads.malformed[..] else {
            panic!("{heads:?}");
        };
        assert_eq!(broken_step, &step("python"));
        assert!(said.contains("`create_at`") && said.contains("yesterday"), "{said}");
        let said = inventory.record(&workflow(), &step("python")).await.unwrap_err().to_string();
        assert!(said.contains("acore-ami-2024-06-13-12-00-00/python"), "{said}");
        tables
    });
}

#[test]
fn a_record_in_the_formats_of_the_python_library_is_read_and_has_nothing_of_ours() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        tables.put_raw(&PYTHON_RECORD).await;
        let heads = inventory.heads(&workflow()).await.unwrap();
        let [head] = &heads.records[..] else {
            panic!("{heads:?}");
        };
        assert_eq!(head.ami_id.as_str(), "ami-7");
        assert_eq!(head.create_at, minute(0));
        assert_eq!(head.built, None);
        tables
    });
}

#[test]
fn what_we_write_keeps_the_formats_of_the_python_library() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        let put = record("pyenv", "ami-1", minute(0));
        inventory.write(of_record(put), None).await.unwrap();
        let item = tables
            .client
            .get_item()
            .table_name(&tables.name)
            .key("workflow_id", AttributeValue::S(workflow().to_string()))
            .key("step_id", AttributeValue::S("pyenv".to_owned()))
            .send()
            .await
            .unwrap()
            .item
            .unwrap();
        let create_at = AttributeValue::S("2024-06-13T12:00:00.000000+0000".to_owned());
        assert_eq!(item["create_at"], create_at);
        for (name, _) in PYTHON_RECORD {
            assert!(matches!(item.get(name), Some(AttributeValue::S(_))), "{name}");
        }
        let ours = |name: &str| name.starts_with("reconciler_");
        assert!(
            item.keys()
                .all(|name| ours(name) || PYTHON_RECORD.iter().any(|(theirs, _)| name == theirs)),
            "{:?}",
            item.keys()
        );
        tables
    });
}

#[test]
fn a_record_too_large_for_an_item_is_refused_with_what_is_large() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        let mut put = record("pyenv", "ami-1", minute(0));
        put.metadata = format!("\"{}\"", "x".repeat(420_000));
        let said = inventory.write(of_record(put), None).await.unwrap_err().to_string();
        assert!(said.contains("400 KB") && said.contains("`metadata`"), "{said}");
        tables
    });
}

#[test]
fn events_of_several_writers_without_a_lease_are_all_kept() {
    on_tables(|tables| async move {
        let inventory = std::sync::Arc::new(tables.inventory(true));
        inventory.prepare().await.unwrap();
        let writers: Vec<_> = (0..6)
            .map(|_| {
                let inventory = std::sync::Arc::clone(&inventory);
                tokio::spawn(async move {
                    inventory.write(of_event(Build::of("pyenv").intent()), None).await
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let events = inventory.events(&workflow(), None, 100).await.unwrap();
        assert_eq!(events.len(), 6);
        assert_eq!(inventory.attempts(&workflow()).await.unwrap().len(), 1);
        tables
    });
}

#[test]
fn an_idle_look_at_the_records_is_one_query() {
    let emulator = Emulator::start();
    runtime().block_on(async {
        let tables = Tables::at(emulator.endpoint()).await;
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        for number in 0..20 {
            let put = record(&format!("step-{number}"), "ami-1", minute(number));
            inventory.write(of_record(put), None).await.unwrap();
        }
        let calls = || -> HashMap<String, u64> {
            serde_json::from_value(emulator.control_get("/_control/calls")).unwrap()
        };
        let before = calls();
        assert_eq!(inventory.heads(&workflow()).await.unwrap().records.len(), 20);
        let mut made = calls();
        made.retain(|name, count| {
            *count -= before.get(name).copied().unwrap_or_default();
            *count > 0
        });
        assert_eq!(made.values().sum::<u64>(), 1, "{made:?}");
        assert!(made.keys().all(|name| name.contains("Query")), "{made:?}");
    });
}

/// Puts something else into an attribute, as somebody in the console would.
async fn spoil(
    tables: &Tables,
    table: &str,
    key: [(&str, &str); 2],
    name: &str,
    value: AttributeValue,
) {
    let key = key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())));
    tables
        .client
        .update_item()
        .table_name(table)
        .set_key(Some(HashMap::from(key)))
        .update_expression("SET #name = :value")
        .condition_expression("attribute_exists(workflow_id)")
        .expression_attribute_names("#name", name)
        .expression_attribute_values(":value", value)
        .send()
        .await
        .unwrap();
}

#[test]
fn an_item_that_cannot_be_read_hides_no_other_and_long_texts_hide_nothing() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        inventory.prepare().await.unwrap();
        for name in ["bad", "good"] {
            let put = of_record(record(name, "ami-1", minute(0)));
            inventory.write(put, None).await.unwrap();
            let mut build = Build::of(name);
            for event in [build.intent(), build.next(failed())] {
                inventory.write(of_event(event), None).await.unwrap();
            }
        }
        let (records, builds) = (tables.name.clone(), format!("{}_builds", tables.name));
        let (id, workflow) = (workflow().to_string(), workflow());
        let of_workflow = ("workflow_id", id.as_str());
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let bad = [of_workflow, ("step_id", "bad")];
        spoil(&tables, &records, bad, "reconciler_components", text("[7]")).await;
        spoil(&tables, &records, bad, "metadata", AttributeValue::N("7".into())).await;
        let item = [of_workflow, ("item", "@step/bad")];
        spoil(&tables, &builds, item, "attempt", text("{")).await;
        let good = [of_workflow, ("step_id", "good")];
        spoil(&tables, &records, good, "create_at", text("yesterday")).await;

        let attempts = inventory.attempts(&workflow).await.unwrap();
        assert_eq!(attempts.len(), 1);
        assert!(attempts.malformed_of(&step("bad")).is_some(), "{attempts:?}");
        let read = inventory.record(&workflow, &step("bad")).await.unwrap();
        let read = read.unwrap();
        assert_eq!((&*read.metadata, read.components), ("{}", None));
        let all = inventory.records_of_workflow(&workflow).await.unwrap();
        assert_eq!((all.len(), all.malformed.len()), (1, 1));
        assert_eq!(all.malformed[0].step, Some(step("good")));
        tables
    });
}

#[test]
fn a_reader_refuses_a_table_of_another_schema_as_a_writer_does_and_a_missing_one_is_told() {
    on_tables(|tables| async move {
        let inventory = tables.inventory(true);
        inventory.examine().await.unwrap();
        assert!(inventory.heads(&workflow()).await.unwrap().missing);
        // The keys are right, and a Query finds nothing; the index is missing.
        make_table(&tables, &tables.name, "workflow_id", "step_id").await;
        let heads = inventory.heads(&workflow()).await.unwrap();
        assert!(heads.records.is_empty() && !heads.missing);
        let examined = inventory.examine().await.unwrap_err().to_string();
        assert_eq!(examined, inventory.prepare().await.unwrap_err().to_string());
        assert!(examined.contains("no global index step_id_index"), "{examined}");
        tables
    });
}
