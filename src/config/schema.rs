//! The JSON Schema of the configuration, generated from the types: for editors, which complete keys
//! and underline what cannot work.
//!
//! Forms of texts and bounds of numbers are the program's own (`patterns`, `validate`). What it
//! cannot say, the program alone says: how long a duration has to be, and what depends on the
//! environment or on what stands in other files.

use schemars::Schema;
use serde_json::{Value, json};

use crate::config::patterns::{ATTRIBUTE, SECRET_SOURCE};
use crate::config::raw::RawConfig;

/// Its name: no address, for nobody fetches it.
pub const ID: &str = "urn:reconciler:configuration:1";

/// The schema as text, as it stands in `config/reconciler.schema.json`.
#[must_use]
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(RawConfig).to_value();
    unwrap_descriptions(&mut schema);
    // Whose keys come in an order that people expect.
    let schema = Schema::try_from(schema).unwrap_or_default();
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    format!("{text}\n")
}

/// A description is the comment in the code, which is wrapped there; here its paragraphs are lines.
fn unwrap_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == "description" => {
                        let paragraphs = text.split("\n\n").map(|text| text.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    member => unwrap_descriptions(member),
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(unwrap_descriptions),
        _ => {}
    }
}

/// A key that is there and not null.
fn given(key: &str) -> Value {
    json!({ "required": [key], "properties": { key: { "not": { "type": "null" } } } })
}

/// As above, but with this value.
fn is(key: &str, value: &Value) -> Value {
    json!({ "required": [key], "properties": { key: { "const": value } } })
}

fn needs(schema: &mut Schema, key: &str, other: &Value) {
    rule(schema, &given(key), other);
}

fn rule(schema: &mut Schema, when: &Value, then: &Value) {
    let rule = json!({ "if": when, "then": then });
    match schema.get_mut("allOf").and_then(Value::as_array_mut) {
        Some(rules) => rules.push(rule),
        None => {
            schema.insert("allOf".to_owned(), json!([rule]));
        }
    }
}

pub(super) fn identified(schema: &mut Schema) {
    schema.insert("$id".to_owned(), json!(ID));
}

pub(super) fn path_or_url(schema: &mut Schema) {
    schema.insert("oneOf".to_owned(), json!([given("path"), given("url")]));
    let signed = is("require_signed_commits", &json!(true));
    for key in ["allowed_signers", "revoked_keys", "gpg_home"] {
        needs(schema, key, &signed);
    }
    needs(schema, "allowed_plugins", &is("deny_local_exec", &json!(true)));
    for key in ["token_env", "ssh_key"] {
        needs(schema, key, &given("url"));
    }
}

pub(super) fn table_or_path(schema: &mut Schema) {
    needs(schema, "table", &json!({ "not": given("path") }));
    for key in ["region", "create"] {
        needs(schema, key, &given("table"));
    }
}

pub(super) fn emulator_needs_endpoint(schema: &mut Schema) {
    let overrides = json!({ "properties": { "emulator": given("source_overrides") }, "required": ["emulator"] });
    rule(schema, &overrides, &given("endpoint_url"));
}

pub(super) fn secrets_need_a_key(schema: &mut Schema) {
    for (key, some) in [
        ("parameters", json!({ "type": "array", "minItems": 1 })),
        ("values", json!({ "type": "object", "minProperties": 1 })),
    ] {
        let when = json!({ "required": [key], "properties": { key: some } });
        rule(schema, &when, &given("fingerprint_key"));
    }
}

pub(super) fn secret_values(schema: &mut Schema) {
    schema.insert("propertyNames".to_owned(), json!({ "pattern": "^[A-Za-z0-9_.-]+$" }));
    schema.insert(
        "additionalProperties".to_owned(),
        json!({ "type": "string", "pattern": SECRET_SOURCE }),
    );
}

pub(super) fn attributes(schema: &mut Schema) {
    schema.insert("propertyNames".to_owned(), json!({ "pattern": ATTRIBUTE }));
}

/// A generated file of the repository is as the program makes it; `make generate` writes it.
#[cfg(test)]
pub(crate) fn assert_is_up_to_date(file: &str, generated: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("RECONCILER_UPDATE_GENERATED").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == generated, "{file} is old: run `make generate`");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_up_to_date() {
        assert_is_up_to_date("config/reconciler.schema.json", &schema());
    }
}
