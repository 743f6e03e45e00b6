//! A build has a limit, whatever Packer thinks of it.

use jiff::Timestamp;
use serde_json::json;

use super::{moody, wait_for};
use crate::harness::farm::{Build, Farm};

#[test]
fn a_packer_that_hangs_or_is_deaf_is_ended_at_its_limit_and_stops_nobody_else() {
    let farm = moody::farm("timeout: 15s, grace: 1s", "max_concurrent_builds: 3\n");
    farm.step("hung", None).script("hung", "hang\n");
    farm.step("deaf", None).script("deaf", "deaf\n");
    farm.step("sound", None);
    farm.repo.commit("three steps");
    let _daemon = farm.daemon();
    for id in ["hung", "deaf"] {
        wait_for(&farm, id, |step| step.state == "building");
    }
    wait_for(&farm, "sound", |step| step.state == "in-sync");
    for id in ["hung", "deaf"] {
        wait_for(&farm, id, |step| step.state == "quarantined" && step.reason.contains("timeout"));
        assert!(ended(&farm, "sound") < ended(&farm, id), "{id} was waited for");
    }
    // The cause is gone: so is the trouble.
    farm.step("hung", None);
    farm.step("deaf", None);
    farm.repo.commit("no moods");
    for id in ["hung", "deaf"] {
        wait_for(&farm, id, |step| step.state == "in-sync");
    }
    assert_eq!(farm.broken_promises(3), [] as [String; 0]);
}

/// When the only build of a step was over.
fn ended(farm: &Farm, id: &str) -> Timestamp {
    let builds = farm.builds();
    let of_step = |build: &&Build| build.job().is_some_and(|job| job.folder.ends_with(id));
    builds.iter().find(of_step).unwrap().ended().unwrap().ended_at
}

#[test]
fn a_supervisor_that_stands_still_is_ended_and_its_step_built() {
    let farm = moody::farm("timeout: 4s, grace: 1s", "");
    farm.step("a", None);
    farm.repo.commit("one step");
    let order = "supervisor.packer:before=stop@2";
    let mut first = farm.start(&["apply"], order, "first");
    farm.wait_for_words("first", "failpoint supervisor.packer:before: stop").unwrap();
    first.kill();
    farm.converge(3).unwrap();
    assert_eq!(farm.broken_promises(1), [] as [String; 0]);
    let made = farm.region.ask("images");
    let made = made.as_array().unwrap().iter();
    assert_eq!(made.filter(|one| one["event"] == json!("made")).count(), 1);
}
