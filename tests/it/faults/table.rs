//! Which faults there are.

use serde_json::{Value, json};

use crate::harness::random_source::Dice;

/// Those that any operation can meet.
const ANY: [&str; 7] =
    ["throttle", "internal", "drop-before", "drop-after", "truncate", "denied", "expired"];

/// What Packer calls when it makes an image without a provisioner.
const PACKERS: [&str; 12] = [
    "DescribeImages",
    "CreateKeyPair",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "RunInstances",
    "DescribeInstances",
    "StopInstances",
    "CreateImage",
    "TerminateInstances",
    "DeleteSecurityGroup",
    "DeleteKeyPair",
    "DescribeVolumes",
];

/// What we call.
const OURS: [&str; 13] = [
    "DescribeImages",
    "CreateTags",
    "DescribeKeyPairs",
    "DescribeSecurityGroups",
    "DescribeInstances",
    "DescribeSnapshots",
    "DescribeTable",
    "CreateTable",
    "GetItem",
    "PutItem",
    "UpdateItem",
    "Query",
    "TransactWriteItems",
];

/// One fault of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    from: &'static str,
    operation: &'static str,
    kind: &'static str,
}

impl Fault {
    /// On one of the first calls.
    pub(super) fn rule(self, random_source: &mut Dice) -> Value {
        json!({
            "from": self.from, "operation": self.operation, "kind": self.kind, "nth": 1 + random_source.below(2),
        })
    }
}

/// All of them.
pub(super) fn faults() -> Vec<Fault> {
    let mut all = Vec::new();
    for (from, operations) in [("packer", &PACKERS[..]), ("reconciler", &OURS[..])] {
        for operation in operations {
            for kind in ANY.into_iter().chain(["duplicate"]) {
                all.push(Fault { from, operation, kind });
            }
        }
    }
    for kind in ["pending", "failed", "capacity"] {
        let operation = if kind == "capacity" { "RunInstances" } else { "CreateImage" };
        all.push(Fault { from: "packer", operation, kind });
    }
    all
}
