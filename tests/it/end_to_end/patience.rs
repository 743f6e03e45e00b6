//! Never a hot loop: what cannot be done is tried more and more rarely, and what building does not
//! mend is not built again and again.

use std::time::Duration;

use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{Farm, RECORDED};

fn denied(operation: &str, nth: u32) -> serde_json::Value {
    json!([{ "operation": operation, "kind": "denied", "nth": nth, "times": 1_000_000 }])
}

#[test]
fn a_build_that_cannot_be_recorded_is_settled_more_and_more_rarely_and_built_once() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 1h\n");
    // Intent and start are written, nothing after them.
    let faults = denied("dynamodb.TransactWriteItems", 3);
    farm.faults(&faults);
    let _daemon = farm.daemon();
    farm.wait_until("a write was refused", |farm| farm.calls("dynamodb.TransactWriteItems") >= 3);
    std::thread::sleep(Duration::from_secs(8));
    let tried = farm.calls("dynamodb.TransactWriteItems");
    assert!(tried <= 6, "{tried} writes");
    let said = farm.run(&["status"]).out;
    for words in ["settling build", "does not work", "next try in"] {
        assert!(said.contains(words), "`{words}` is not in: {said}");
    }
    farm.no_faults();
    farm.wait_for_state("a", "in-sync");
    farm.wait_until("nothing is said to be amiss", |farm| {
        !farm.run(&["status"]).out.contains("does not work")
    });
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
}

#[test]
fn each_stage_of_a_build_that_cannot_be_recorded_is_written_once() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 1h\n");
    // All up to the tags is written, and the record is not.
    let faults = denied("dynamodb.TransactWriteItems", 6);
    farm.faults(&faults);
    let _daemon = farm.daemon();
    farm.wait_until("it was tried a few times", |farm| {
        farm.calls("dynamodb.TransactWriteItems") >= 8
    });
    farm.no_faults();
    farm.wait_for_state("a", "in-sync");
    farm.wait_until("it is cleaned up", |farm| farm.is_cleaned_up("a"));
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn a_trouble_that_has_passed_is_told_no_more_though_no_pass_is_due_for_long() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1h\nlease_duration: 1h\n");
    let _daemon = farm.daemon();
    farm.wait_for_state("a", "in-sync");
    farm.faults(&denied("ec2.CreateTags", 1));
    farm.workflow(&json!({ "aws_tags": { "env": "other" } }));
    farm.repo.commit("other tags");
    farm.wait_until("the trouble is told", |farm| {
        farm.run(&["status"]).out.contains("ec2:CreateTags")
    });
    farm.no_faults();
    farm.wait_for_state("a", "in-sync");
    farm.wait_until("nothing is said to be amiss", |farm| {
        !farm.run(&["status"]).out.contains("does not work")
    });
}

#[test]
fn nothing_is_built_while_what_the_last_build_left_cannot_be_removed_and_then_both_are_done() {
    // Packer fails and leaves its instance.
    let (farm, packer) = Farm::playing("[build]\nkey\ngroup\ninstance\nfailure no luck\nexit 1\n");
    farm.configure("interval: 1s\nlease_duration: 1h\n");
    farm.faults(&denied("ec2.TerminateInstances", 1));
    let _daemon = farm.daemon();
    farm.wait_until("the instance cannot be removed", |farm| {
        farm.calls("ec2.TerminateInstances") >= 1
    });
    packer.plays(&format!("[build]\n{WHOLE}"));
    farm.script("a", "echo mended\n");
    farm.repo.commit("mended");
    farm.wait_until("status names the cause", |farm| {
        let said = farm.run(&["status"]).out;
        said.contains("settling build") && said.contains("ec2:TerminateInstances")
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(packer.runs("build"), 0, "it waits for the instance to go");
    farm.no_faults();
    farm.wait_for_state("a", "in-sync");
    farm.wait_until_nothing_is_left();
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn a_remote_that_cannot_be_reached_is_told_in_status_beside_what_was_fetched_last() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    let path = farm.repo.path().to_owned();
    let url = format!("file://{}", path.display());
    farm.follow_url(&url, &["poll_interval: 1s"]);
    let _daemon = farm.daemon();
    farm.wait_until("it was fetched", |farm| farm.made_images() == 1);
    farm.wait_for_state("a", "in-sync");
    let (git, away) = (path.join(".git"), path.join("away"));
    std::fs::rename(&git, &away).unwrap();
    farm.wait_until("status says that nothing new is known", |farm| {
        farm.run(&["status"]).out.contains(&format!("fetching {url} does not work"))
    });
    assert_eq!(farm.state_of("a"), "in-sync", "what was fetched last is known");
    std::fs::rename(&away, &git).unwrap();
    farm.wait_until("status says so no more", |farm| {
        !farm.run(&["status"]).out.contains("does not work")
    });
}

#[test]
fn tags_that_may_not_be_put_on_end_apply_with_an_error() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.applies();
    farm.workflow(&json!({ "aws_tags": { "env": "production" } }));
    farm.faults(&denied("ec2.CreateTags", 1));
    farm.forget_calls();
    let ran = farm.commit_and_apply();
    ran.refuses(&["ec2:CreateTags", "allow"]);
    assert_eq!(farm.calls("ec2.CreateTags"), 1);
}

#[test]
fn an_image_that_vanishes_again_and_again_is_built_again_once_and_then_by_a_person() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    for _ in 0..2 {
        farm.applies();
        farm.deregister(&farm.image("a"));
    }
    farm.applies_in_vain();
    let step = &farm.status()["a"];
    assert_eq!(step.state, "backing-off", "{step:#?}");
    assert!(step.reason.contains("built 2 times"), "{step:#?}");
    assert!(step.next_try.is_some());
    assert_eq!(packer.runs("build"), 2);
    assert_eq!(farm.run(&["retry", "a"]).code, 0);
    farm.applies();
    assert_eq!(packer.runs("build"), 3);
}
