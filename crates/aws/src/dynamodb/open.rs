//! Which workflows have something open, as items of a partition of their own: one Query tells,
//! whatever else the table holds.
//!
//! | `workflow_id` | `item` | stands there |
//! | --- | --- | --- |
//! | `@open` | digest of a workflow and a step | while the newest attempt at the step is not settled; written in the transaction of its events |
//! | `@open` | digest of a workflow and a build | while a build that was given up is looked after; written with its beat |

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};

use crate::dynamodb::attributes::{Item, json, json_value, text, text_value};
use crate::dynamodb::{DynamoDbInventory, builds};
use reconciler_model::digest::Encoder;
use reconciler_model::ids::{BuildId, StepId, WorkflowId};
use reconciler_model::inventory::{InventoryError, OpenWorkflow};

/// The partition. No workflow of anybody bears such an id.
const OPEN: &str = "@open";

/// The key of a step's entry.
pub(super) fn of_step(workflow: &WorkflowId, step: &StepId) -> String {
    key("step", workflow, step.as_str())
}

/// The key of the entry of a build that was given up.
pub(super) fn of_given_up(workflow: &WorkflowId, build: &BuildId) -> String {
    key("given up", workflow, build.as_str())
}

/// Ids may be as long as a key, and two of them longer.
fn key(kind: &str, workflow: &WorkflowId, of: &str) -> String {
    let mut key = Encoder::new("open");
    for part in [kind, workflow.as_str(), of] {
        key.field(part.as_bytes());
    }
    key.finish().to_string()
}

fn item(entry: &OpenWorkflow, key: &str) -> Result<Item, String> {
    let mut item = builds::key(&WorkflowId::new(OPEN), key);
    item.insert("open_workflow_id".to_owned(), text_value(entry.workflow_id.as_str()));
    if let Some(reach) = &entry.reach {
        item.insert("reach".to_owned(), json_value(reach)?);
    }
    Ok(item)
}

fn read(item: &Item) -> Option<OpenWorkflow> {
    Some(OpenWorkflow {
        workflow_id: WorkflowId::new(text(item, "open_workflow_id").ok()?),
        reach: json(item, "reach").ok(),
    })
}

/// Puts an entry, whatever stands there.
pub(super) fn put(
    table: &str,
    entry: &OpenWorkflow,
    key: &str,
) -> Result<TransactWriteItem, String> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item(entry, key)?))
        .build()
        .map_err(|wrong| wrong.to_string())?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Removes an entry; one that is not there is fine.
pub(super) fn remove(table: &str, key: &str) -> Result<TransactWriteItem, BuildError> {
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(builds::key(&WorkflowId::new(OPEN), key)))
        .build()?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

impl DynamoDbInventory {
    /// One Query. What cannot be read helps nobody.
    pub(super) async fn read_open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        let query = self.query(&self.builds, "workflow_id", OPEN).consistent_read(true);
        let items = self.collect(query, usize::MAX, self.builds_place()).await?;
        let mut open: Vec<_> = items.iter().filter_map(read).collect();
        open.sort();
        open.dedup();
        Ok(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::inventory::journal::Reach;

    /// See `format_stability`: a literal is never changed, another one is added.
    #[test]
    fn an_entry_that_an_earlier_version_wrote_is_read() {
        let reach = r#"{"profile":"ci","region":null,"own_keys":false,"hides":true}"#;
        let texts = [
            ("workflow_id", "@open"),
            ("item", "k"),
            ("open_workflow_id", "acore"),
            ("reach", reach),
        ];
        let kept: Item = texts.map(|(name, value)| (name.to_owned(), text_value(value))).into();
        let entry = OpenWorkflow {
            workflow_id: WorkflowId::new("acore"),
            reach: Some(Reach {
                profile: Some("ci".to_owned()),
                region: None,
                own_keys: false,
                hides: true,
            }),
        };
        assert_eq!(read(&kept), Some(entry.clone()));
        assert_eq!(item(&entry, "k").unwrap(), kept);
    }

    #[test]
    fn two_entries_never_share_a_key() {
        let of = |workflow, step| of_step(&WorkflowId::new(workflow), &StepId::new(step));
        assert_ne!(of("a/b", "c"), of("a", "b/c"));
        assert_ne!(of("a", "b"), of_given_up(&WorkflowId::new("a"), &BuildId::new("b")));
        let long = "x".repeat(1024);
        assert!(of(&long, &long).len() <= 1024, "a key of DynamoDB");
    }
}
