//! `docs/parameters.md`: its tables have every key that the program reads of the two parameter
//! files, and say of each what the program does.

use std::collections::BTreeSet;
use std::sync::Arc;

use reconciler_core::workflow::settings::Settings;
use reconciler_core::workflow::step::Folder;
use reconciler_core::workflow::{params, step};
use reconciler_model::source::{EntryKind, Files, ObjectId, SourceFile};
use serde_json::{Map, Value, json};

use super::read;

/// A row of a table.
struct Row {
    key: String,
    kind: String,
    /// The third column: whether it must be there, or its default.
    third: String,
}

/// The first table below a heading.
fn table(heading: &str) -> Vec<Row> {
    let text = read("docs/parameters.md");
    let (_, below) = text.split_once(&format!("\n{heading}\n")).unwrap();
    let rows = below
        .lines()
        .skip_while(|line| !line.starts_with("| key"))
        .take_while(|line| line.starts_with('|'))
        .skip(2);
    rows.map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        Row {
            key: cells[1].trim_matches('`').to_owned(),
            kind: cells[2].to_owned(),
            third: cells[3].to_owned(),
        }
    })
    .collect()
}

/// The keys that a file of the program asks for by name.
fn asked_for(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let program = text.split("#[cfg(test)]").next().unwrap();
    let asks = r#"(?:string|get|text|contains_key|missing)\(\s*"([a-z_]+)""#;
    let named = regex_lite::Regex::new(asks).unwrap();
    let names = named.captures_iter(program);
    let listed = ["SECRETS", "SWITCHES"].into_iter().flat_map(|list| {
        let begin = program.find(&format!("const {list}: "));
        let value = begin.and_then(|at| program[at..].split(';').nth(1));
        let value = value.unwrap_or_default().to_owned();
        let words: Vec<_> = value.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        words
    });
    names.map(|name| name[1].to_owned()).chain(listed).collect()
}

fn keys(rows: &[Row]) -> BTreeSet<String> {
    rows.iter().map(|row| row.key.clone()).collect()
}

#[test]
fn every_key_that_the_program_reads_is_documented_and_no_other() {
    let mut workflow = asked_for("crates/core/src/workflow/params.rs");
    workflow.extend(asked_for("crates/aws/src/settings.rs"));
    assert_eq!(keys(&table("## `workflow_param.json`")), workflow);
    let mut both = keys(&table("## `step_param.json`"));
    both.extend(keys(&table("### Switches of a step")));
    let mut step = asked_for("crates/core/src/workflow/step.rs");
    step.extend(asked_for("crates/core/src/workflow/switches.rs"));
    assert_eq!(both, step);
    let settings: Value =
        serde_json::from_str(&read("config/reconciler-json.schema.json")).unwrap();
    let members = settings["properties"].as_object().unwrap().keys();
    assert_eq!(keys(&table("## `reconciler.json`")), members.cloned().collect());
}

#[test]
fn a_key_of_the_workflow_takes_what_is_documented_and_nothing_else() {
    let read = |values: &Map<String, Value>| {
        let bytes = serde_json::to_vec(values).unwrap();
        params::read("workflow_param.json", &bytes).map_err(|wrong| wrong.message)
    };
    let mut base = Map::new();
    base.insert("workflow_id".to_owned(), json!("w"));
    base.insert("root_base_ami_name".to_owned(), json!("ubuntu-*"));
    base.insert("root_base_ami_owner_account_id".to_owned(), json!("099720109477"));
    assert!(read(&base).is_ok(), "{:?}", read(&base));
    for Row { key, kind, third } in table("## `workflow_param.json`") {
        let with = |value: Value| {
            let mut values = base.clone();
            values.insert(key.clone(), value);
            read(&values)
        };
        let wrong = if kind.starts_with("object") { json!("x") } else { json!([1]) };
        let said = with(wrong).unwrap_err();
        assert!(said.contains(&format!("`{key}`")), "{key}: {said}");
        let mut without = base.clone();
        without.remove(&key);
        let optional = third == "no";
        assert_eq!(read(&without).is_ok(), optional, "{key} left out");
        let null = optional && key != "is_default_vpc";
        assert_eq!(with(Value::Null).is_ok(), null, "{key} null");
    }
}

fn step_of(values: &Value) -> Result<(), String> {
    let file = |content: Vec<u8>| SourceFile {
        kind: EntryKind::File,
        id: ObjectId([0; 20]),
        content: Arc::from(content),
    };
    let files = Files::from([
        ("step_param.json".to_owned(), file(serde_json::to_vec(values).unwrap())),
        ("templates/.pkr.hcl".to_owned(), file(Vec::new())),
    ]);
    match step::read("w/s", &files, &Settings::default()) {
        Folder::Step(_) => Ok(()),
        Folder::Broken(broken) => Err(broken.why[0].message.clone()),
        Folder::NoStep => Err("no step".to_owned()),
    }
}

#[test]
fn a_key_of_a_step_takes_what_is_documented_and_nothing_else() {
    let base = json!({ "step_id": "s", "previous_step_id": null });
    assert_eq!(step_of(&base), Ok(()));
    for Row { key, kind, third } in table("## `step_param.json`") {
        let mut values = base.clone();
        values[&key] = json!([1]);
        assert!(step_of(&values).is_err(), "{key}: [1]");
        let mut values = base.clone();
        values.as_object_mut().unwrap().remove(&key);
        assert_eq!(step_of(&values).is_ok(), third == "no", "{key} left out");
        values[&key] = Value::Null;
        let null = third == "no" || kind.contains("null");
        // A key that is null is one that says nothing; `metadata` has to be an object.
        if key != "metadata" {
            assert_eq!(step_of(&values).is_ok(), null, "{key} null");
        }
    }
    for Row { key, kind, .. } in table("### Switches of a step") {
        let with = |value: Value| {
            step_of(
                &json!({ "step_id": "s", "previous_step_id": null, "reconciler": { &key: value } }),
            )
        };
        let (right, wrong) = match kind.as_str() {
            "true or false" => (json!(true), json!("true")),
            "duration" => (json!("1d 12h"), json!(90)),
            "list of strings" => (json!(["a/b"]), json!("a/b")),
            other => panic!("{key}: {other}"),
        };
        assert_eq!(with(right), Ok(()), "{key}");
        assert!(with(wrong).is_err(), "{key}");
    }
    let unknown = step_of(
        &json!({ "step_id": "s", "previous_step_id": null, "reconciler": { "manul": true } }),
    );
    assert!(unknown.unwrap_err().contains("no switch `manul`"));
}
