//! `reconciler run`: the daemon, and what becomes of builds when it dies.

use std::time::Duration;

use serde_json::json;

use crate::harness::farm::Farm;

#[test]
fn a_push_becomes_records_and_sigterm_ends_it_in_order() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    let mut daemon = farm.daemon();
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    farm.script("c", "echo 2\n");
    farm.repo.commit("another script");
    farm.wait_until("the change is built", |farm| {
        farm.made_images() == 4 && farm.state_of("c") == "in-sync"
    });
    daemon.stops();
    assert_eq!(farm.status().held_by, None, "the lease was given back");
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_killed_daemons_build_is_carried_to_its_record_and_built_once() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    let mut first = farm.daemon();
    farm.wait_until("a build runs", |farm| {
        farm.status().steps.iter().any(|step| step.state == "building")
    });
    first.kill();
    let _daemon = farm.daemon();
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    assert_eq!(farm.made_images(), 3, "nothing was built twice");
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn an_idle_pass_is_one_query_and_one_describe_images() {
    let farm = Farm::of_three_steps();
    // A base by pattern is looked for now and then, not at every pass.
    farm.workflow(&json!({
        "root_base_ami_id": null, "root_base_ami_name": "bas*", "root_base_ami_owner_account_id": "123456789012",
    }));
    farm.commit_and_apply();
    farm.configure("interval: 1s\nlease_duration: 1h\n");
    let _daemon = farm.daemon();
    std::thread::sleep(Duration::from_secs(4));
    farm.forget_calls();
    std::thread::sleep(Duration::from_secs(5));
    let (queries, describes) = (farm.calls("dynamodb.Query"), farm.calls("ec2.DescribeImages"));
    assert!(describes >= 3, "it makes passes: {describes}");
    assert!(queries.abs_diff(describes) <= 1, "{queries} Query and {describes} DescribeImages");
    let all = farm.region.ask("calls");
    assert_eq!(all.as_object().unwrap().len(), 2, "and nothing else: {all}");
}
