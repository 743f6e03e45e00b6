//! A host that is lost in the middle of a build, with all of its processes, and comes back.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::farm::{Farm, QUICK};
use crate::harness::running::Running;

/// The host stands still, with its build, after that has told what it made.
#[track_caller]
fn is_lost_once_it_has_told(farm: &Farm, one: &Running) {
    farm.wait_until_told_what_was_made();
    one.signal(Signal::STOP);
    farm.signal_builds("one", Signal::STOP);
}

/// The lost host goes on: its build ends, and nothing of it is left.
#[track_caller]
fn comes_back(farm: &Farm, one: &Running) {
    farm.signal_builds("one", Signal::CONT);
    one.signal(Signal::CONT);
    farm.wait_until("the build of the lost host has ended", |farm| {
        farm.builds_on("one").iter().all(|build| build.ended().is_some())
    });
    farm.wait_until_nothing_is_left();
}

#[test]
fn its_build_is_cleaned_up_and_built_again_and_when_it_is_back_it_changes_nothing() {
    let farm = Farm::of_one_step(QUICK);
    // Packer asks for the image again and again: its instance runs meanwhile.
    farm.faults(&json!([{ "operation": "ec2.CreateImage", "kind": "throttle", "times": 100_000 }]));
    let one = farm.daemon_on("one");
    farm.wait_until("the image is asked for", |farm| {
        farm.calls("ec2.CreateImage") > 0 && farm.said_by_packer("one").contains("Instance ID")
    });
    is_lost_once_it_has_told(&farm, &one);
    farm.no_faults();
    let _daemon = farm.daemon_on("two");
    farm.wait_for_state("a", "in-sync");
    let image = farm.image("a");
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.leftovers(), "", "found by what the lost host told before");
    assert!(farm.says("two", "gave no sign of life"), "{}", farm.log("two"));
    comes_back(&farm, &one);
    assert_eq!(farm.image("a"), image);
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn a_build_is_said_to_run_once_it_has_given_a_sign_of_life() {
    let (farm, _packer) = Farm::playing("[build]\nhang\n");
    // The next beat would come in 40 seconds.
    farm.configure("lease_duration: 60s\n");
    let _daemon = farm.daemon_on("one");
    farm.wait_for_stage("a", "started");
    let first = farm.last_beat("a").expect("it has given one");
    let said = farm.events("a").last().unwrap().at;
    assert!(first.at <= said, "{} is after {said}", first.at);
}

#[test]
fn its_image_is_recorded_if_it_was_on_its_way() {
    let farm = Farm::of_one_step(QUICK);
    farm.images_are_pending_for(12);
    let one = farm.daemon_on("one");
    farm.wait_until("the image is on its way", |farm| farm.made_images() == 1);
    one.signal(Signal::STOP);
    farm.signal_builds("one", Signal::STOP);
    let _daemon = farm.daemon_on("two");
    farm.wait_for_state("a", "in-sync");
    assert_eq!(farm.made_images(), 1, "and built nothing");
    comes_back(&farm, &one);
    assert_eq!(farm.state_of("a"), "in-sync");
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn its_image_stays_recorded_though_its_packer_would_take_it_away_when_it_is_ended() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey\ngroup\ninstance\nimage\nwrite made\nwait go\non-term\nunimage\nterminate\nungroup\nunkey\nexit 1\n",
    );
    farm.configure(QUICK);
    let one = farm.daemon_on("one");
    farm.wait_for_packer(&packer, "made");
    is_lost_once_it_has_told(&farm, &one);
    let _daemon = farm.daemon_on("two");
    farm.wait_for_state("a", "in-sync");
    let image = farm.image("a");
    comes_back(&farm, &one);
    assert!(farm.said_by_packer("one").contains("Packer is killed"));
    assert_eq!((farm.image("a"), farm.made_images()), (image, 1));
    assert_eq!(farm.state_of("a"), "in-sync");
}

#[test]
fn a_build_whose_step_has_left_git_is_carried_to_its_end() {
    let farm = Farm::of_three_steps();
    farm.configure(QUICK);
    farm.repo.commit("three steps");
    farm.images_are_pending_for(3);
    let mut first = farm.daemon();
    farm.wait_for_state("c", "building");
    first.kill();
    farm.repo.git(&["rm", "-rq", "packer_workspaces/c"]);
    farm.repo.commit("without c");
    let _daemon = farm.daemon();
    farm.wait_until("its image is recorded", |farm| {
        farm.status().get("c").is_some_and(|step| step.state == "orphaned")
    });
    farm.wait_until("the others are in sync", |farm| {
        ["a", "b"].iter().all(|step| farm.state_of(step) == "in-sync")
    });
    farm.wait_until_nothing_is_left();
    assert_eq!(farm.made_images(), 3);
}
