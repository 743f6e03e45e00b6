//! An AWS that is not there, refuses, or has something else than expected.

use serde_json::json;

use super::sound;
use crate::harness::cli::Cli;
use crate::harness::emulator::{Emulator, python};

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
fn an_ec2_that_does_not_answer_is_named_with_region_endpoint_and_what_does_without_it() {
    let repo = sound();
    repo.commit("as it is");
    Cli::within(repo.path()).emulated("http://127.0.0.1:1").run(&["plan"]).refuses(&[
        "EC2 did not answer: ",
        "onnection refused",
        "(us-east-1, http://127.0.0.1:1)",
        "plan --offline",
    ]);
}

#[test]
fn a_profile_that_does_not_exist_is_said_with_those_that_do_and_check_warns_of_it() {
    let repo = sound();
    let with = |line: &str| super::WORKFLOW.replace("\"region_name\": \"us-east-1\",", line);
    repo.write(
        "packer_workspaces/workflow_param.json",
        with("\"region_name\": \"us-east-1\", \"profile_name\": \"opps\","),
    );
    repo.commit("a profile");
    repo.write("aws-config", "[default]\n[profile ops]\n");
    let cli = || Cli::within(repo.path()).env("AWS_CONFIG_FILE", repo.path().join("aws-config"));
    cli().run(&["plan"]).refuses(&[
        "the AWS profile `opps` does not exist",
        "aws-config and ",
        "have: default, ops",
    ]);
    let checked = cli().run(&["check"]);
    assert_eq!(checked.code, 0, "another host may have it: {checked:#?}");
    assert!(
        checked.err.contains("the AWS profile `opps` does not exist on this host"),
        "{checked:#?}"
    );
}

#[test]
fn check_refuses_what_can_be_no_region_and_warns_of_one_that_it_does_not_know() {
    let repo = sound();
    let region = |name: &str| {
        let line = format!("\"region_name\": \"{name}\",");
        let text = super::WORKFLOW.replace("\"region_name\": \"us-east-1\",", &line);
        repo.write("packer_workspaces/workflow_param.json", text);
        repo.commit(name);
        Cli::within(repo.path()).run(&["check"])
    };
    region("us-east-1a").refuses(&[
        "`us-east-1a` is an availability zone and no region",
        "packer_workspaces/workflow_param.json",
        "its region is `us-east-1`",
    ]);
    region("US East").refuses(&["`US East` is no name of an AWS region", "did you mean"]);
    let unknown = region("us-est-1");
    assert_eq!(unknown.code, 0, "{unknown:#?}");
    assert!(unknown.err.contains("did you mean `us-east-1`?"), "{unknown:#?}");
    let known = region("eu-west-3");
    assert_eq!((known.code, known.err.as_str()), (0, ""), "{known:#?}");
}

#[test]
fn a_denied_call_names_its_action_and_expired_credentials_are_told() {
    let repo = sound();
    repo.commit("as it is");
    let emulator = Emulator::start();
    for (operation, kind, words) in [
        (
            "DescribeImages",
            "denied",
            ["access denied: ec2:DescribeImages", "allow `ec2:DescribeImages` in the policy"],
        ),
        ("DescribeImages", "expired", ["is expired", "log in again"]),
        (
            "Query",
            "denied",
            ["access denied: dynamodb:Query", "allow `dynamodb:Query` in the policy"],
        ),
        ("Query", "expired", ["DynamoDB table images", "log in again"]),
    ] {
        emulator.control_post(
            "/_control/faults",
            &json!([{ "operation": operation, "kind": kind, "times": 99 }]),
        );
        for command in ["plan", "status", "apply"] {
            Cli::within(repo.path())
                .emulated(&emulator.endpoint())
                .env("RECONCILER_INVENTORY__TABLE", "images")
                .run(&[command])
                .refuses(&words);
        }
    }
}

#[test]
fn a_base_image_that_does_not_exist_breaks_the_first_steps() {
    let repo = sound();
    repo.commit("as it is");
    let emulator = Emulator::start();
    let ran = Cli::within(repo.path()).emulated(&emulator.endpoint()).run(&["plan"]);
    ran.refuses(&[
        "the base image ami-0123456789abcdef0 does not exist in us-east-1, or is not shared with this account",
        "packer_workspaces/workflow_param.json",
        "help: image ids differ from region to region",
    ]);
    assert!(ran.out.contains("blocked: a is broken"), "{}", ran.out);
}

#[test]
fn a_base_image_of_the_right_name_and_another_owner_is_none() {
    let repo = sound();
    repo.write(
        "packer_workspaces/workflow_param.json",
        "{\"workflow_id\": \"wf-1\", \"region_name\": \"us-east-1\", \"root_base_ami_name\": \"ubuntu-*\", \"root_base_ami_owner_account_id\": \"099720109477\"}",
    );
    repo.commit("as it is");
    let emulator = Emulator::start();
    emulator.control_post(
        "/_control/base-image",
        &json!({ "name": "ubuntu-24", "id": "ami-0123456789abcdef0", "owner": "666666666666" }),
    );
    let ran = Cli::within(repo.path()).emulated(&emulator.endpoint()).run(&["plan"]);
    ran.refuses(&[
        "no available image of 099720109477 in us-east-1 is called `ubuntu-*`",
        "packer_workspaces/workflow_param.json",
        "check the pattern, the owner's account id and the region",
    ]);
}

#[test]
fn a_table_of_another_schema_is_refused_and_nothing_is_written_to_it() {
    let repo = sound();
    repo.commit("as it is");
    let emulator = Emulator::start();
    emulator.control_post(
        "/_control/base-image",
        &json!({ "name": "base", "id": "ami-0123456789abcdef0" }),
    );
    let made = std::process::Command::new(python())
        .args(["-c", "
import boto3, sys
table = boto3.client('dynamodb', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='test', aws_secret_access_key='test')
table.create_table(TableName='images', BillingMode='PAY_PER_REQUEST', KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],
                   AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}])
", &emulator.endpoint()])
        .status()
        .unwrap();
    assert!(made.success());
    emulator.control_post("/_control/reset-calls", &json!(null));
    for arguments in [["plan"], ["status"], ["apply"]] {
        Cli::within(repo.path())
            .emulated(&emulator.endpoint())
            .env("RECONCILER_INVENTORY__TABLE", "images")
            .run(&arguments)
            .refuses(&["DynamoDB table images cannot be used", "docs/inventory.md"]);
    }
    let calls = emulator.control_get("/_control/calls");
    for write in ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "DeleteTable"] {
        assert_eq!(calls[format!("dynamodb.{write}")], json!(null), "{calls}");
    }
}
