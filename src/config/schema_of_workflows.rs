//! The JSON Schema of `reconciler.json`, for editors. What it says of each key is what the program
//! reads (`reconciler_core::workflow::settings`), and a test holds the two together.

use reconciler_model::duration;
use serde_json::{Value, json};

/// Its name: no address, for nobody fetches it.
pub const ID: &str = "urn:reconciler:workflow-settings:1";

/// The schema as text, as it stands in `config/reconciler-json.schema.json`.
#[must_use]
pub fn schema() -> String {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "reconciler.json",
        "description": "What the reconciler is told about a workflow, beside its workflow_param.json. JSON with // and # comments.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "$schema": { "type": "string", "description": "For editors." },
            "family": {
                "type": "string",
                "pattern": "[^*]",
                "description": "Which workflow ids are runs of this workflow; `*` stands for any characters. The workflow's own id is one of them."
            },
            "steps": {
                "type": "object",
                "description": "Switches of steps, by `step_id`.",
                "additionalProperties": switches()
            }
        }
    });
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    format!("{text}\n")
}

fn switches() -> Value {
    let strings = |description: &str| json!({ "type": "array", "items": { "type": "string" }, "description": description });
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "manual": { "type": "boolean", "description": "A person makes the image." },
            "suspend": { "type": "boolean", "description": "The step is left alone, whatever differs; steps after it wait." },
            "timeout": { "type": "string", "description": format!("Limit of a build: {}.", duration::HOW) },
            "include": strings("Files or folders from the repository's root that count and that the build may read."),
            "ignore": strings("Patterns in the step's folder that do not count and that the build does not see.")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::assert_is_up_to_date;
    use reconciler_core::workflow::settings::Settings;
    use reconciler_model::ids::WorkflowId;

    fn is_read(value: &Value) -> bool {
        let text = value.to_string();
        Settings::read("reconciler.json", text.as_bytes(), &WorkflowId::new("wf")).is_ok()
    }

    #[test]
    fn every_key_of_the_schema_is_read_and_another_is_not() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        for key in schema["properties"].as_object().unwrap().keys() {
            let value = if key == "steps" { json!({}) } else { json!("wf") };
            assert!(is_read(&json!({ key: value })), "{key}");
        }
        let step = &schema["properties"]["steps"]["additionalProperties"]["properties"];
        for (key, said) in step.as_object().unwrap() {
            let value = match said["type"].as_str() {
                Some("boolean") => json!(true),
                Some("array") => json!([]),
                _ => json!("90m"),
            };
            assert!(is_read(&json!({ "steps": { "a": { key: value } } })), "{key}");
            assert!(!is_read(&json!({ "steps": { "a": { key: 5 } } })), "{key}");
        }
        assert_eq!(step.as_object().unwrap().len(), 5, "all switches");
        assert!(!is_read(&json!({ "other": {} })));
        assert!(!is_read(&json!({ "steps": { "a": { "other": true } } })));
    }

    #[test]
    fn the_schema_in_the_repository_is_up_to_date() {
        assert_is_up_to_date("config/reconciler-json.schema.json", &schema());
    }
}
