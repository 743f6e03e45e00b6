//! Two real daemons on one inventory, each as if on a host of its own: one acts, the other stands
//! by and takes over.

use rustix::process::Signal;

use crate::harness::farm::{Farm, QUICK, Store};

fn a_build_runs(farm: &Farm) -> bool {
    farm.status()
        .values()
        .any(|step| step["state"] == "building" && step["build"]["stage"] == "packer runs")
}

/// `status` as JSON, without what its time changes.
fn records(farm: &Farm) -> Vec<(String, serde_json::Value)> {
    farm.status().into_iter().map(|(step, all)| (step, all["ami_id"].clone())).collect()
}

fn racing(store: Store) {
    let mut farm = Farm::of_three_steps();
    farm.keep_records_in(store).configure(QUICK);
    farm.repo.commit("three steps");
    let _daemons = ["one", "two"].map(|host| farm.daemon_on(host));
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    for (step, images) in [("a", 5), ("c", 6)] {
        farm.script(step, &format!("echo {images}\n"));
        farm.repo.commit("a change");
        farm.wait_until("the change is built", |farm| {
            farm.made_images() >= images && farm.is_in_sync()
        });
        assert_eq!(farm.made_images(), images, "nothing is built twice");
    }
    assert_eq!(farm.leftovers(), "");
    let ran = farm.run(&["status", "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let holder = report["workflows"][0]["held_by"].as_str().unwrap();
    assert!(holder.starts_with("one/") || holder.starts_with("two/"), "{holder}");
    assert!(report["workflows"][0]["lease"]["renewed_seconds_ago"].is_number(), "{report}");
}

#[test]
fn racing_on_dynamodb_they_build_every_image_once() {
    racing(Store::DynamoDb);
}

#[test]
fn racing_on_sqlite_they_build_every_image_once() {
    racing(Store::Sqlite);
}

fn frozen(store: Store) {
    let mut farm = Farm::of_three_steps();
    farm.keep_records_in(store).configure(QUICK);
    farm.repo.commit("three steps");
    // The build lasts longer than the lease.
    farm.images_are_pending_for(8);
    let one = farm.daemon_on("one");
    farm.wait_until("a build runs", a_build_runs);
    let _daemon = farm.daemon_on("two");
    farm.wait_until_said("two", "standing by");
    one.signal(Signal::STOP);
    farm.wait_until_said("two", "build followed");
    farm.images_are_pending_for(0);
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    assert_eq!(farm.made_images(), 3, "the running builds were waited for");
    let before = (records(&farm), farm.log("one").len());
    one.signal(Signal::CONT);
    farm.wait_until("the one that woke stands by", |farm| {
        farm.log("one")[before.1..].contains("standing by")
    });
    assert_eq!(records(&farm), before.0);
    assert_eq!(farm.made_images(), 3);
    assert!(
        !farm.log("one")[before.1..].contains("image recorded"),
        "the one that woke writes nothing"
    );
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn on_dynamodb_the_standby_records_what_a_frozen_daemon_built_and_the_woken_writes_nothing() {
    frozen(Store::DynamoDb);
}

#[test]
fn on_sqlite_the_standby_records_what_a_frozen_daemon_built_and_the_woken_one_writes_nothing() {
    frozen(Store::Sqlite);
}
