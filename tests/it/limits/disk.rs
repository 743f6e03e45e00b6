//! A full disk stops builds, says so, and is forgotten when there is room again.
//!
//! The disk is a small one in a mount namespace of the daemon's own; where the machine allows none,
//! the test says so and ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Child;

use super::{says, wait_for};
use crate::harness::mounts::may_mount;
use crate::harness::plot::{Plot, Store};

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_full_disk_is_told_and_builds_go_on_when_there_is_room() {
    let plot = Plot::open(Store::DynamoDb);
    std::fs::create_dir_all(plot.state()).unwrap();
    if !may_mount(&plot.state()) {
        println!("skipped: this machine allows no mount namespace");
        return;
    }
    plot.step("a", None, "echo 1");
    plot.repo.commit("one step");
    let mount =
        format!("mount -t tmpfs -o size=4m disk '{}' && exec \"$@\"", plot.state().display());
    let daemon =
        plot.start_within(&["unshare", "-rm", "sh", "-c", &mount, "sh"], &["run"], "daemon.log");
    let daemon = Daemon(daemon);
    wait_for(&plot, "a", |step| step["state"] == "in-sync");

    // As the daemon sees it.
    let state: PathBuf = format!("/proc/{}/root{}", daemon.0.id(), plot.state().display()).into();
    let filler = state.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let block = vec![b'x'; 4096];
    while file.write_all(&block).is_ok() {}
    plot.step("a", None, "echo 2");
    plot.repo.commit("a change");
    wait_for(&plot, "a", |step| {
        step["state"] == "backing-off" && says(step, "No space left on device")
    });
    assert!(!plot.ask("resources").to_string().contains("\"running\""), "no money is spent");
    std::fs::remove_file(&filler).unwrap();
    drop(file);
    wait_for(&plot, "a", |step| step["state"] == "in-sync");
    assert_eq!(plot.broken_promises(2), [] as [String; 0]);
}
