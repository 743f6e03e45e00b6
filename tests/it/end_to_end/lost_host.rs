//! A host that is lost in the middle of a build, with all of its processes, and comes back.

use std::path::Path;

use reconciler::packer::process::{ProcessId, Session};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::three_steps;
use crate::harness::fake_packer::FakePacker;
use crate::harness::farm::Farm;

const QUICK: &str = "lease_duration: 2s\ninterval: 1s\nretry:\n  initial: 1s\n";

pub(super) fn one_step(configuration: &str) -> Farm {
    let farm = Farm::new();
    farm.step("a", None).configure(configuration);
    farm.repo.commit("one step");
    farm
}

fn read(folder: &Path, name: &str) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(folder.join(name)).ok()?).ok()
}

/// Sends a signal to every build of a host: supervisor and Packer.
pub(super) fn signal_builds(farm: &Farm, host: &str, signal: Signal) {
    for folder in builds(farm, host) {
        let (Some(supervisor), Some(job)) =
            (read(&folder, "supervisor.json"), read(&folder, "job.json"))
        else {
            continue;
        };
        let leader = ProcessId {
            pid: u32::try_from(supervisor["pid"].as_u64().unwrap()).unwrap(),
            start: supervisor["pid_start"].as_u64().unwrap(),
        };
        let temporary = Path::new(job["temporary"].as_str().unwrap());
        leader.signal(signal);
        Session::of(leader, temporary).signal(signal);
    }
}

fn builds(farm: &Farm, host: &str) -> Vec<std::path::PathBuf> {
    let builds = std::fs::read_dir(farm.state_of_host(host).join("builds"));
    builds
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn log(farm: &Farm, host: &str) -> String {
    builds(farm, host)
        .iter()
        .filter_map(|folder| std::fs::read_to_string(folder.join("packer.log")).ok())
        .collect()
}

/// The host stands still, with its build, after that has told what it made.
#[track_caller]
fn is_lost_once_it_has_told(farm: &Farm, one: usize) {
    // The log's lines are told within a second.
    farm.wait_until("what it made is told", |farm| {
        farm.forget_calls();
        std::thread::sleep(std::time::Duration::from_secs(2));
        farm.calls("dynamodb.UpdateItem") > 0
    });
    farm.signal(one, Signal::STOP);
    signal_builds(farm, "one", Signal::STOP);
}

/// The lost host goes on: its build ends, and nothing of it is left.
#[track_caller]
fn comes_back(farm: &Farm, one: usize) {
    signal_builds(farm, "one", Signal::CONT);
    farm.signal(one, Signal::CONT);
    farm.wait_until("the build of the lost host has ended", |farm| {
        builds(farm, "one").iter().all(|folder| folder.join("exit.json").exists())
    });
    farm.wait_until("nothing is left", |farm| farm.leftovers().is_empty());
}

#[test]
fn its_build_is_cleaned_up_and_built_again_and_when_it_is_back_it_changes_nothing() {
    let mut farm = one_step(QUICK);
    // Packer asks for the image again and again: its instance runs meanwhile.
    farm.emulator.control_post(
        "/_control/faults",
        &json!([{ "operation": "ec2.CreateImage", "kind": "throttle", "times": 100_000 }]),
    );
    let one = farm.daemon_on("one");
    farm.wait_until("the image is asked for", |farm| {
        farm.calls("ec2.CreateImage") > 0 && log(farm, "one").contains("Instance ID")
    });
    is_lost_once_it_has_told(&farm, one);
    farm.emulator.control_post("/_control/faults", &json!([]));
    farm.daemon_on("two");
    farm.wait_until("the other host has built it", |farm| farm.state_of("a") == "in-sync");
    let image = farm.image("a");
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.leftovers(), "", "found by what the lost host told before");
    assert!(farm.said_on("two").contains("gave no sign of life"), "{}", farm.said_on("two"));
    comes_back(&farm, one);
    assert_eq!(farm.image("a"), image);
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn a_build_is_said_to_run_once_it_has_given_a_sign_of_life() {
    let packer = FakePacker::new("[build]\nhang\n");
    let mut farm = Farm::with_packer(&packer.binary());
    // The next beat would come in 40 seconds.
    farm.step("a", None).configure("lease_duration: 60s\n");
    farm.repo.commit("one step");
    farm.daemon_on("one");
    farm.wait_until("it is said to run", |farm| farm.stages("a").contains(&"started".to_owned()));
    let first = farm.last_beat("a").expect("it has given one");
    let said = farm.events("a").last().unwrap().at;
    assert!(first.at <= said, "{} is after {said}", first.at);
}

#[test]
fn its_image_is_recorded_if_it_was_on_its_way() {
    let mut farm = one_step(QUICK);
    farm.emulator.control_post("/_control/pending", &json!({ "seconds": 12 }));
    let one = farm.daemon_on("one");
    farm.wait_until("the image is on its way", |farm| farm.made_images() == 1);
    farm.signal(one, Signal::STOP);
    signal_builds(&farm, "one", Signal::STOP);
    farm.daemon_on("two");
    farm.wait_until("the other host has recorded it", |farm| farm.state_of("a") == "in-sync");
    assert_eq!(farm.made_images(), 1, "and built nothing");
    comes_back(&farm, one);
    assert_eq!(farm.state_of("a"), "in-sync");
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn its_image_stays_recorded_though_its_packer_would_take_it_away_when_it_is_ended() {
    let packer = FakePacker::new(
        "[build]\nkey\ngroup\ninstance\nimage\nwrite made\nwait go\non-term\nunimage\nterminate\nungroup\nunkey\nexit 1\n",
    );
    let mut farm = Farm::with_packer(&packer.binary());
    farm.step("a", None).configure(QUICK);
    farm.repo.commit("one step");
    let one = farm.daemon_on("one");
    farm.wait_until("the image is made", |_| packer.wrote("made").is_some());
    is_lost_once_it_has_told(&farm, one);
    farm.daemon_on("two");
    farm.wait_until("the other host has recorded it", |farm| farm.state_of("a") == "in-sync");
    let image = farm.image("a");
    comes_back(&farm, one);
    assert!(log(&farm, "one").contains("Packer is killed"));
    assert_eq!((farm.image("a"), farm.made_images()), (image, 1));
    assert_eq!(farm.state_of("a"), "in-sync");
}

#[test]
fn a_build_whose_step_has_left_git_is_carried_to_its_end() {
    let mut farm = three_steps();
    farm.configure(QUICK);
    farm.repo.commit("three steps");
    farm.emulator.control_post("/_control/pending", &json!({ "seconds": 3 }));
    let first = farm.daemon();
    farm.wait_until("c is built", |farm| farm.state_of("c") == "building");
    farm.signal(first, Signal::KILL);
    farm.child(first).wait().unwrap();
    farm.repo.git(&["rm", "-rq", "packer_workspaces/c"]);
    farm.repo.commit("without c");
    farm.daemon();
    farm.wait_until("its image is recorded", |farm| {
        farm.status().get("c").is_some_and(|step| step["state"] == "orphaned")
    });
    farm.wait_until("the others are in sync", |farm| {
        ["a", "b"].iter().all(|step| farm.state_of(step) == "in-sync")
    });
    farm.wait_until("nothing is left", |farm| farm.leftovers().is_empty());
    assert_eq!(farm.made_images(), 3);
}
