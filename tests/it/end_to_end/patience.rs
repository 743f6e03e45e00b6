//! Never a hot loop: what cannot be done is tried more and more rarely, and what building does not mend is not built again and again.

use std::time::Duration;

use serde_json::json;

use super::{WHOLE, one_step};

fn denied(operation: &str, nth: u32) -> serde_json::Value {
    json!([{ "operation": operation, "kind": "denied", "nth": nth, "times": 1_000_000 }])
}

#[test]
fn a_build_that_cannot_be_recorded_is_settled_more_and_more_rarely_and_built_once() {
    let (mut farm, packer) = one_step(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 1h\n");
    // Intent and start are written, nothing after them.
    let faults = denied("dynamodb.TransactWriteItems", 3);
    farm.emulator.control_post("/_control/faults", &faults);
    farm.daemon();
    farm.wait_until("a write was refused", |farm| {
        farm.calls("dynamodb.TransactWriteItems") >= 3
    });
    std::thread::sleep(Duration::from_secs(8));
    let tried = farm.calls("dynamodb.TransactWriteItems");
    assert!(tried <= 6, "{tried} writes");
    farm.emulator.control_post("/_control/faults", &json!([]));
    farm.wait_until("it is recorded", |farm| farm.state_of("a") == "in-sync");
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
}

#[test]
fn tags_that_may_not_be_put_on_end_apply_with_an_error() {
    let (farm, _packer) = one_step(&format!("[build]\n{WHOLE}"));
    assert_eq!(farm.run(&["apply"]).code, 0);
    farm.workflow(&json!({ "aws_tags": { "env": "production" } }));
    farm.emulator
        .control_post("/_control/faults", &denied("ec2.CreateTags", 1));
    farm.forget_calls();
    let ran = farm.commit_and_apply();
    ran.refuses(&["ec2:CreateTags", "allow"]);
    assert_eq!(farm.calls("ec2.CreateTags"), 1);
}

#[test]
fn an_image_that_vanishes_again_and_again_is_built_again_once_and_then_by_a_person() {
    let (farm, packer) = one_step(&format!("[build]\n{WHOLE}"));
    for _ in 0..2 {
        let ran = farm.run(&["apply"]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        farm.deregister(&farm.image("a"));
    }
    assert_eq!(farm.run(&["apply"]).code, 1);
    let status = farm.status();
    assert_eq!(status["a"]["state"], "backing-off", "{status:#?}");
    assert!(
        status["a"]["reason"]
            .as_str()
            .unwrap()
            .contains("built 2 times"),
        "{status:#?}"
    );
    assert!(status["a"]["next_try"].is_string());
    assert_eq!(packer.runs("build"), 2);
    assert_eq!(farm.run(&["retry", "a"]).code, 0);
    let ran = farm.run(&["apply"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(packer.runs("build"), 3);
}
