//! Which workflows have something open, as items of a partition of their own: one Query tells,
//! whatever else the table holds.
//!
//! | `workflow_id` | `item` | stands there |
//! | --- | --- | --- |
//! | `@open` | digest of a workflow and a step | while the newest attempt at the step is not settled; written in the transaction of its events |
//! | `@open` | digest of a workflow and a build | while a build that was given up is looked after; written with its beat |

use crate::dynamodb::builds;
use reconciler_items::Item;
use reconciler_items::attributes::{json, json_value, text, text_value};
use reconciler_model::digest::Encoder;
use reconciler_model::ids::{BuildId, StepId, WorkflowId};
use reconciler_model::inventory::OpenWorkflow;

/// The partition. No workflow of anybody bears such an id.
pub(super) const OPEN: &str = "@open";

/// What tells a step's entry from others.
pub(super) fn of_step(workflow: &WorkflowId, step: &StepId) -> String {
    digest("step", workflow, step.as_str())
}

/// What tells the entry of a build that was given up from others.
pub(super) fn of_given_up(workflow: &WorkflowId, build: &BuildId) -> String {
    digest("given up", workflow, build.as_str())
}

/// Ids may be as long as a key, and two of them longer.
fn digest(kind: &str, workflow: &WorkflowId, of: &str) -> String {
    let mut key = Encoder::new("open");
    for part in [kind, workflow.as_str(), of] {
        key.field(part.as_bytes());
    }
    key.finish().to_string()
}

/// The key of an entry.
pub(super) fn key(entry: &str) -> Item {
    builds::key(&WorkflowId::new(OPEN), entry)
}

/// An entry as an item.
pub(super) fn item(workflow: &OpenWorkflow, entry: &str) -> Result<Item, String> {
    let mut item = key(entry);
    item.insert("open_workflow_id".to_owned(), text_value(workflow.workflow_id.as_str()));
    item.insert("reach".to_owned(), json_value(&workflow.reach)?);
    Ok(item)
}

/// An entry; what cannot be read helps nobody.
pub(super) fn read(item: &Item) -> Option<OpenWorkflow> {
    Some(OpenWorkflow {
        workflow_id: WorkflowId::new(text(item, "open_workflow_id").ok()?),
        reach: json(item, "reach").ok()?,
    })
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
            reach: Reach {
                profile: Some("ci".to_owned()),
                region: None,
                own_keys: false,
                hides: true,
            },
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
