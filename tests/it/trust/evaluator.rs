//! The evaluator of IAM documents in the emulator (`tests/aws/iam.py`): it judges as AWS's
//! documentation says, and nothing that it does not know.

use serde_json::{Value, json};

use crate::harness::emulator::Emulator;

const INSTANCE: &str = "arn:aws:ec2:us-east-1:123456789012:instance/i-1";

fn judged(statements: &Value, (action, resource): (&str, &str), context: &Value) -> Value {
    let documents = [json!({ "Version": "2012-10-17", "Statement": statements })];
    let asked = json!({ "documents": documents, "action": action, "resource": resource, "context": context });
    Emulator::shared().control_post("/_control/judge", &asked)
}

/// Whether one statement that allows everything under a condition allows this.
fn holds(condition: &Value, context: &Value) -> bool {
    let statement =
        json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition });
    let said = judged(&json!([statement]), ("ec2:TerminateInstances", INSTANCE), context);
    assert!(said.get("refused").is_none(), "{condition}: {said}");
    said["refusal"].is_null()
}

#[test]
fn conditions_hold_as_iam_says() {
    let name = "aws:ResourceTag/Name";
    let named = |value: &str| json!({ name: value });
    let none = json!({});
    let keys = |keys: &[&str]| json!({ "aws:TagKeys": keys });
    for (condition, context, expected) in [
        (json!({ "StringEquals": { name: "web" } }), named("web"), true),
        (json!({ "StringEquals": { name: "web" } }), named("Web"), false),
        (json!({ "StringEquals": { name: ["db", "web"] } }), named("web"), true),
        (json!({ "StringEquals": { name: "w*" } }), named("web"), false),
        (json!({ "StringEqualsIgnoreCase": { name: "WEB" } }), named("web"), true),
        (json!({ "StringLike": { name: "packer *" } }), named("packer a"), true),
        (json!({ "StringLike": { name: "packer *" } }), named("packera"), false),
        (json!({ "StringLike": { name: "packer ?" } }), named("packer ab"), false),
        // A key that is not there fits nothing, so a negation of it holds; two operators are both
        // asked, and so are two keys.
        (json!({ "StringEquals": { name: "web" } }), none.clone(), false),
        (json!({ "StringLike": { name: "*" } }), none.clone(), false),
        (json!({ "StringNotEquals": { name: "web" } }), none.clone(), true),
        (json!({ "StringNotEquals": { name: ["web", "db"] } }), named("db"), false),
        (json!({ "StringNotLike": { name: "w*" } }), named("web"), false),
        (json!({ "StringEqualsIfExists": { name: "web" } }), none.clone(), true),
        (json!({ "StringEqualsIfExists": { name: "web" } }), named("db"), false),
        (json!({ "StringLike": { name: "w*" }, "Null": { name: "true" } }), named("web"), false),
        (
            json!({ "StringEquals": { name: "web", "ec2:InstanceType": "t3.micro" } }),
            named("web"),
            false,
        ),
        (json!({ "Null": { name: "true" } }), none.clone(), true),
        (json!({ "Null": { name: "true" } }), named("web"), false),
        (json!({ "Null": { name: "false" } }), named("web"), true),
        (json!({ "Null": { "AWS:resourcetag/NAME": "false" } }), named("web"), true),
        (
            json!({ "ArnLike": { "ec2:Vpc": "arn:aws:ec2:*:*:vpc/v*" } }),
            json!({ "ec2:Vpc": "arn:aws:ec2:r:1:vpc/v1" }),
            true,
        ),
        (
            json!({ "ArnLike": { "ec2:Vpc": "arn:aws:ec2:*:vpc/v*" } }),
            json!({ "ec2:Vpc": "arn:aws:ec2:r:1:vpc/v1" }),
            false,
        ),
        (
            json!({ "ArnEquals": { "ec2:InstanceProfile": "arn:aws:iam::1:instance-profile/a" } }),
            json!({ "ec2:InstanceProfile": "arn:aws:iam::1:instance-profile/b" }),
            false,
        ),
        (json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["a", "b"] } }), keys(&["a"]), true),
        (
            json!({ "ForAllValues:StringEquals": { "aws:TagKeys": ["a", "b"] } }),
            keys(&["a", "c"]),
            false,
        ),
        // Of no values all are as they should be, and none is.
        (json!({ "ForAllValues:StringEquals": { "aws:TagKeys": "a" } }), none.clone(), true),
        (json!({ "ForAnyValue:StringEquals": { "aws:TagKeys": "a" } }), none.clone(), false),
        (
            json!({ "ForAnyValue:StringLike": { "aws:TagKeys": "reconciler:*" } }),
            keys(&["x", "reconciler:y"]),
            true,
        ),
        (json!({ "Null": { "aws:TagKeys": "false" } }), none.clone(), false),
        (
            json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": "team-a/*" } }),
            json!({ "dynamodb:LeadingKeys": ["team-b/x"] }),
            false,
        ),
    ] {
        assert_eq!(holds(&condition, &context), expected, "{condition} of {context}");
    }
}

#[test]
fn a_deny_comes_before_every_allow_and_what_nobody_allows_is_refused() {
    let allow = json!({ "Effect": "Allow", "Action": "ec2:terminate*", "Resource": "arn:aws:ec2:*:*:instance/*" });
    let deny =
        json!({ "Effect": "Deny", "Action": "ec2:TerminateInstances", "Resource": INSTANCE });
    let ended = ("ec2:TerminateInstances", INSTANCE);
    let said = |statements: Value, asked| judged(&statements, asked, &json!({}))["refusal"].clone();
    assert_eq!(said(json!([allow]), ended), Value::Null);
    let denied = said(json!([deny, allow]), ended);
    assert!(denied.as_str().unwrap().contains("explicit deny"), "{denied}");
    let refused = said(json!([allow]), ("ec2:StopInstances", INSTANCE));
    assert!(refused.as_str().unwrap().contains("no identity-based policy"), "{refused}");
    let elsewhere = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1";
    assert_ne!(said(json!([allow]), ("ec2:TerminateInstances", elsewhere)), Value::Null);
    // A call that names no resource is allowed by `*` only.
    let look = json!({ "Effect": "Allow", "Action": "ec2:DescribeImages", "Resource": "arn:aws:ec2:*::image/*" });
    assert_ne!(said(json!([look]), ("ec2:DescribeImages", "*")), Value::Null);
}

#[test]
fn a_document_with_anything_that_is_not_known_is_refused_whole() {
    let sound = json!({ "Effect": "Allow", "Action": "ec2:StopInstances", "Resource": "*", "Condition": {} });
    let with = |key: &str, value: Value| {
        let mut statement = sound.clone();
        statement[key] = value;
        judged(&json!([statement]), ("ec2:StopInstances", INSTANCE), &json!({}))
    };
    assert_eq!(with("Sid", json!("Fine"))["refusal"], Value::Null);
    for (key, value, why) in [
        ("NotAction", json!("ec2:*"), "the element NotAction"),
        ("NotResource", json!("*"), "the element NotResource"),
        ("Principal", json!("*"), "the element Principal"),
        ("Effect", json!("allow"), "the effect allow"),
        ("Action", json!("ec2:StopInstance"), "the action ec2:StopInstance"),
        ("Action", json!("s3:GetObject"), "the action s3:GetObject"),
        ("Resource", json!("arn:aws:ec2:instance/*"), "the resource"),
        ("Resource", json!("arn:aws:ec2:*:*:instance/${aws:username}"), "the resource"),
        (
            "Condition",
            json!({ "NumericLessThan": { "ec2:Vpc": "1" } }),
            "the operator NumericLessThan",
        ),
        (
            "Condition",
            json!({ "ForSomeValues:StringLike": { "aws:TagKeys": "1" } }),
            "the operator ForSomeValues",
        ),
        ("Condition", json!({ "StringEquals": { "ec2:Name": "x" } }), "the condition key ec2:Name"),
        (
            "Condition",
            json!({ "StringEquals": { "aws:ResourceTag": "x" } }),
            "the condition key aws:ResourceTag",
        ),
        ("Condition", json!({ "StringEquals": { "aws:TagKeys": "x" } }), "a key of many values"),
        (
            "Condition",
            json!({ "ForAnyValue:StringEquals": { "ec2:Vpc": "x" } }),
            "a key of many values",
        ),
        ("Condition", json!({ "Null": { "aws:TagKeys": "maybe" } }), "Null of aws:TagKeys"),
        (
            "Condition",
            json!({ "StringEquals": { "aws:ResourceTag/team": "${aws:PrincipalTag/team}" } }),
            "a policy variable",
        ),
    ] {
        let said = with(key, value.clone());
        let refused = said["refused"].as_str().unwrap_or_default();
        assert!(refused.contains(why), "{key} {value}: {said}");
    }
}
