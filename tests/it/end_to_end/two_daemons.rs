//! Two real daemons on one inventory, each as if on a host of its own: one acts, the other stands
//! by and takes over.

use rustix::process::Signal;
use serde_json::json;

use super::three_steps;
use crate::harness::farm::Farm;

const QUICK: &str = "lease_duration: 2s\ninterval: 1s\nretry:\n  initial: 1s\n";

fn on_dynamodb(farm: &Farm) {
    farm.configure(QUICK);
}

fn on_sqlite(farm: &Farm) {
    farm.configure_sqlite(QUICK);
}

fn in_sync(farm: &Farm) -> bool {
    farm.status().values().all(|step| step["state"] == "in-sync")
}

fn a_build_runs(farm: &Farm) -> bool {
    farm.status()
        .values()
        .any(|step| step["state"] == "building" && step["build"]["stage"] == "packer runs")
}

/// `status` as JSON, without what its time changes.
fn records(farm: &Farm) -> Vec<(String, serde_json::Value)> {
    farm.status().into_iter().map(|(step, all)| (step, all["ami_id"].clone())).collect()
}

fn racing(configure: fn(&Farm)) {
    let mut farm = three_steps();
    configure(&farm);
    farm.repo.commit("three steps");
    farm.daemon_on("one");
    farm.daemon_on("two");
    farm.wait_until("three images are recorded", in_sync);
    for (step, images) in [("a", 5), ("c", 6)] {
        farm.repo
            .write(&format!("packer_workspaces/{step}/install.sh"), format!("echo {images}\n"));
        farm.repo.commit("a change");
        farm.wait_until("the change is built", |farm| {
            farm.made_images() >= images && in_sync(farm)
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
    racing(on_dynamodb);
}

#[test]
fn racing_on_sqlite_they_build_every_image_once() {
    racing(on_sqlite);
}

fn frozen(configure: fn(&Farm)) {
    let mut farm = three_steps();
    configure(&farm);
    farm.repo.commit("three steps");
    // The build lasts longer than the lease.
    farm.emulator.control_post("/_control/pending", &json!({ "seconds": 8 }));
    let one = farm.daemon_on("one");
    farm.wait_until("a build runs", a_build_runs);
    farm.daemon_on("two");
    farm.wait_until("the other stands by", |farm| farm.said_on("two").contains("standing by"));
    farm.signal(one, Signal::STOP);
    farm.wait_until("the other has taken the build up", |farm| {
        farm.said_on("two").contains("build followed")
    });
    farm.emulator.control_post("/_control/pending", &json!({ "seconds": 0 }));
    farm.wait_until("three images are recorded", in_sync);
    assert_eq!(farm.made_images(), 3, "the running builds were waited for");
    let before = (records(&farm), farm.said_on("one").len());
    farm.signal(one, Signal::CONT);
    farm.wait_until("the one that woke stands by", |farm| {
        farm.said_on("one")[before.1..].contains("standing by")
    });
    assert_eq!(records(&farm), before.0);
    assert_eq!(farm.made_images(), 3);
    assert!(
        !farm.said_on("one")[before.1..].contains("image recorded"),
        "the one that woke writes nothing"
    );
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn on_dynamodb_the_standby_records_what_a_frozen_daemon_built_and_the_woken_writes_nothing() {
    frozen(on_dynamodb);
}

#[test]
fn on_sqlite_the_standby_records_what_a_frozen_daemon_built_and_the_woken_one_writes_nothing() {
    frozen(on_sqlite);
}
