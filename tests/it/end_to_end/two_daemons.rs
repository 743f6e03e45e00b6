//! Two real daemons on one inventory, each as if on a host of its own: one acts, the other stands
//! by and takes over.

use rustix::process::Signal;

use crate::harness::farm::{Farm, QUICK, Store};
use reconciler_model::ids::{AmiId, StepId};

fn a_build_runs(farm: &Farm) -> bool {
    let status = farm.status();
    let mut builds = status.steps.iter().filter_map(|step| step.build.as_ref());
    builds.any(|build| build.stage == "packer runs")
}

/// The image of each step.
fn records(farm: &Farm) -> Vec<(StepId, Option<AmiId>)> {
    farm.status().steps.iter().map(|step| (step.step_id.clone(), step.ami_id.clone())).collect()
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
    let status = farm.status();
    let holder = status.held_by.as_deref().unwrap();
    assert!(holder.starts_with("one/") || holder.starts_with("two/"), "{holder}");
    assert!(status.lease.is_some(), "{status:?}");
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
