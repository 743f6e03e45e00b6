//! An AWS that is not there, refuses, or has something else than expected.

use serde_json::json;

use super::sound;
use crate::harness::cli::Cli;
use crate::harness::emulator::Emulator;

#[test]
fn no_credentials_and_no_region_say_where_was_looked() {
    let repo = sound();
    repo.commit("as it is");
    Cli::within(repo.path())
        .env("RECONCILER_AWS__ENDPOINT_URL", "http://127.0.0.1:9")
        .run(&["plan"])
        .refuses(&["credentials", "AWS_ACCESS_KEY_ID"]);
    repo.write(
        "packer_workspaces/workflow_param.json",
        super::WORKFLOW.replace("\"region_name\": \"us-east-1\",", ""),
    );
    repo.commit("no region");
    Cli::within(repo.path())
        .env("RECONCILER_AWS__ENDPOINT_URL", "http://127.0.0.1:9")
        .run(&["plan"])
        .refuses(&["region", "region_name"]);
}

#[test]
fn a_denied_call_names_its_action_and_expired_credentials_are_told() {
    let repo = sound();
    repo.commit("as it is");
    let emulator = Emulator::start();
    for (kind, words) in [
        ("denied", ["access denied", "ec2:DescribeImages"]),
        ("expired", ["credentials", "expired"]),
    ] {
        emulator.control_post(
            "/_control/faults",
            &json!([{ "operation": "DescribeImages", "kind": kind, "times": 99 }]),
        );
        Cli::within(repo.path())
            .emulated(&emulator.endpoint())
            .run(&["plan"])
            .refuses(&words);
    }
}

#[test]
fn a_base_image_that_does_not_exist_breaks_the_first_steps() {
    let repo = sound();
    repo.commit("as it is");
    let emulator = Emulator::start();
    let ran = Cli::within(repo.path())
        .emulated(&emulator.endpoint())
        .run(&["plan"]);
    ran.refuses(&["ami-0123456789abcdef0", "help:"]);
    assert!(ran.out.contains("blocked: a is broken"), "{}", ran.out);
}

#[test]
fn a_packer_that_is_missing_is_told_and_nothing_is_recorded() {
    let repo = sound();
    repo.commit("as it is");
    let emulator = Emulator::start();
    emulator.control_post(
        "/_control/base-image",
        &json!({ "name": "base", "id": "ami-0123456789abcdef0" }),
    );
    let state = tempfile::tempdir().unwrap();
    let call = || {
        Cli::within(repo.path())
            .emulated(&emulator.endpoint())
            .env("RECONCILER_PACKER__BINARY", "/nowhere/packer")
            .env("RECONCILER_STATE_DIR", state.path())
    };
    let ran = call().run(&["apply"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("Packer is not at /nowhere/packer"),
        "{ran:?}"
    );
    let status = call().run(&["status", "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(
        report["workflows"][0]["steps"][0]["ami_id"],
        serde_json::Value::Null
    );
    assert_eq!(report["workflows"][0]["steps"][0]["state"], "backing-off");
}
