//! A full disk stops builds, says so, and is forgotten when there is room again.
//!
//! The disk is a small one in a mount namespace of the daemon's own; where the machine allows none,
//! the test says so and ends.

use std::io::Write as _;
use std::path::PathBuf;

use super::wait_for;
use crate::harness::farm::{Farm, Store};
use crate::harness::mounts::may_mount;

#[test]
fn a_full_disk_is_told_and_builds_go_on_when_there_is_room() {
    let farm = Farm::hasty(Store::DynamoDb);
    let state = farm.state_of_host("one");
    std::fs::create_dir_all(&state).unwrap();
    if !may_mount(&state) {
        println!("skipped: this machine allows no mount namespace");
        return;
    }
    farm.step("a", None);
    farm.repo.commit("one step");
    let mount = format!("mount -t tmpfs -o size=4m disk '{}' && exec \"$@\"", state.display());
    let within = ["unshare", "-rm", "sh", "-c", &mount, "sh"];
    let daemon = farm.daemon_at("one", &[], &within);
    wait_for(&farm, "a", |step| step.state == "in-sync");

    // As the daemon sees it.
    let state: PathBuf = format!("/proc/{}/root{}", daemon.id(), state.display()).into();
    let filler = state.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let block = vec![b'x'; 4096];
    while file.write_all(&block).is_ok() {}
    farm.script("a", "echo 2\n");
    farm.repo.commit("a change");
    wait_for(&farm, "a", |step| {
        step.state == "backing-off" && step.reason.contains("No space left on device")
    });
    assert!(!farm.region.ask("resources").to_string().contains("\"running\""), "no money is spent");
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    wait_for(&farm, "a", |step| step.state == "in-sync");
    assert_eq!(farm.broken_promises(2), [] as [String; 0]);
}
