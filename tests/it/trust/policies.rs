//! The policies of `deploy/iam/`: they allow every call that the program makes and a real build makes, and the daemon's no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::farm::Farm;

type Actions = BTreeSet<String>;

fn folder(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn policy(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder("deploy/iam").join(name)).unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(many) => many.iter().flat_map(texts).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    }
}

fn allowed(names: &[&str]) -> Actions {
    let statements = names.iter().flat_map(|name| policy(name));
    statements.flat_map(|one| texts(&one["Action"])).collect()
}

/// The IAM actions that an API operation needs.
fn actions(service: &str, operation: &str) -> Vec<String> {
    let needed: &[&str] = match operation {
        // Of each item, what is done with it.
        "TransactWriteItems" => &["PutItem", "UpdateItem", "ConditionCheckItem", "DeleteItem"],
        one => &[one],
    };
    needed
        .iter()
        .map(|action| format!("{service}:{action}"))
        .collect()
}

/// Every operation that the source of an adapter calls: `client.describe_images()`, over lines as rustfmt breaks them.
fn called(service: &str, place: &str) -> Actions {
    let mut found = Actions::new();
    for file in files(&folder(place)) {
        let text: String = fs::read_to_string(file)
            .unwrap()
            .split_whitespace()
            .collect();
        for (at, _) in text.match_indices("client.") {
            let rest = &text[at + "client.".len()..];
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if !rest[name.len()..].starts_with("()") || name == "config" {
                continue;
            }
            let operation: String = name
                .split('_')
                .map(|word| word[..1].to_uppercase() + &word[1..])
                .collect();
            found.extend(actions(service, &operation));
        }
    }
    found
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    });
    nested.flatten().collect()
}

#[test]
fn the_daemons_policies_allow_what_its_source_calls_and_nothing_else() {
    let mut called_by_source = called("ec2", "src/catalog/ec2");
    assert!(
        called_by_source.contains("ec2:TerminateInstances"),
        "{called_by_source:?}"
    );
    called_by_source.extend(called("dynamodb", "src/inventory/dynamodb"));
    assert_eq!(allowed(&["daemon.json", "cleanup.json"]), called_by_source);
}

#[test]
fn a_real_build_and_the_look_for_its_leftovers_need_nothing_that_the_policies_lack() {
    let farm = Farm::new();
    farm.step("a", None);
    farm.repo.commit("first");
    farm.forget_calls();
    assert_eq!(farm.run(&["apply"]).code, 0);
    farm.workflow(&serde_json::json!({ "aws_tags": { "env": "other" } }));
    assert_eq!(farm.commit_and_apply().code, 0);
    let all = allowed(&["daemon.json", "cleanup.json", "packer.json"]);
    let calls = farm.emulator.control_get("/_control/calls");
    let calls = calls.as_object().unwrap();
    assert!(calls.contains_key("ec2.RunInstances"), "{calls:?}");
    for operation in calls.keys() {
        let (service, name) = operation.split_once('.').unwrap();
        // Anybody may ask who they are.
        if operation == "sts.GetCallerIdentity" {
            continue;
        }
        for action in actions(service, name) {
            assert!(all.contains(&action), "{action} is not in deploy/iam");
        }
    }
}

#[test]
fn what_takes_away_is_held_to_what_a_build_made() {
    for name in ["daemon.json", "cleanup.json", "packer.json"] {
        for statement in policy(name) {
            for action in texts(&statement["Action"]) {
                assert!(!action.contains('*'), "{name}: {action}");
                let everything = texts(&statement["Resource"]).contains(&"*".to_owned());
                let looks = action.starts_with("ec2:Describe");
                assert!(!everything || looks, "{name}: {action} on everything");
                let condition = statement["Condition"].to_string();
                match action.as_str() {
                    "ec2:DeregisterImage" | "ec2:DeleteSnapshot" => {
                        assert!(
                            condition.contains("reconciler:fingerprint"),
                            "{name}: {action}"
                        );
                    }
                    "ec2:TerminateInstances" | "ec2:StopInstances" => {
                        assert!(condition.contains("Packer Builder"), "{name}: {action}");
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn the_documents_together_take_no_recorded_image_and_no_instance_of_anybody_else() {
    let all: Vec<Value> = ["daemon.json", "cleanup.json", "packer.json"]
        .iter()
        .flat_map(|name| policy(name))
        .collect();
    let of = |action: &str, effect: &str| -> Vec<&Value> {
        all.iter()
            .filter(|one| {
                one["Effect"] == effect && texts(&one["Action"]).contains(&action.to_owned())
            })
            .collect()
    };
    // Without its fingerprint a recorded image could be removed. A call that names no tag takes all of them.
    let fingerprint = "reconciler:fingerprint";
    let denied = of("ec2:DeleteTags", "Deny");
    assert_eq!(denied.len(), 1);
    assert_eq!(
        denied[0]["Condition"]["ForAnyValue:StringEquals"]["aws:TagKeys"],
        fingerprint
    );
    for one in of("ec2:DeleteTags", "Allow") {
        assert_eq!(one["Condition"]["Null"]["aws:TagKeys"], "false", "{one}");
        assert_eq!(one["Resource"], denied[0]["Resource"]);
    }
    // By its name an instance could be ended.
    for one in of("ec2:CreateTags", "Allow") {
        let instances = texts(&one["Resource"])
            .iter()
            .any(|of| of.contains("instance/"));
        let action = &one["Condition"]["StringEquals"]["ec2:CreateAction"];
        assert!(!instances || *action == "RunInstances", "{one}");
    }
    for shares in ["ec2:ModifyImageAttribute", "ec2:ModifySnapshotAttribute"] {
        assert!(of(shares, "Allow").is_empty(), "{shares}");
    }
}

#[test]
fn the_service_writes_no_core_which_would_hold_secrets() {
    let unit = fs::read_to_string(folder("deploy/reconciler.service")).unwrap();
    assert!(unit.lines().any(|line| line == "LimitCORE=0"));
}
