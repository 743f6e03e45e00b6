//! Hosts that are lost with all that they knew, and come back: the inventory itself tells what is
//! open.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{Farm, Store};
use crate::harness::running::Running;

/// Nothing is tried again.
const ONCE: &str = "lease_duration: 2s\ninterval: 1s\nretry:\n  initial: 1h\n  max: 1h\n";

/// The daemon and its builds end as in a power loss.
fn ends(farm: &Farm, mut daemon: Running, host: &str) {
    daemon.signal(Signal::KILL);
    farm.signal_builds(host, Signal::KILL);
    daemon.kill();
}

fn rename_workflow(farm: &Farm) {
    farm.workflow(&json!({ "workflow_id": "wf-2" }));
    farm.repo.write("packer_workspaces/a/step_param.json", "{");
    farm.repo.commit("another workflow, whose step is broken");
}

#[test]
fn what_a_lost_host_began_is_settled_though_its_folder_is_gone_and_git_has_another_workflow() {
    let (farm, packer) =
        Farm::playing("[build]\nkey\ngroup\ninstance\nwrite running\nwait go\nexit 1\n");
    farm.configure(ONCE);
    let one = farm.daemon_on("one");
    farm.wait_for_packer(&packer, "running");
    farm.wait_until_told_what_was_made();
    ends(&farm, one, "one");
    std::fs::remove_dir_all(farm.state_of_host("one")).unwrap();
    rename_workflow(&farm);
    assert_ne!(farm.leftovers(), "");
    let mut two = farm.daemon_on("two");
    farm.wait_for_stage("a", "cleaned");
    assert_eq!(farm.leftovers(), "");
    farm.wait_until("its lease is given back", |farm| {
        farm.lease_of("wf-1").is_some_and(|lease| lease.holder.is_none())
    });
    two.stops();
}

#[test]
fn an_image_of_a_lost_host_is_recorded_though_its_folder_is_gone_and_git_has_another_workflow() {
    let farm = Farm::of_one_step(ONCE);
    farm.images_are_pending_for(8);
    let one = farm.daemon_on("one");
    farm.wait_until("the image is on its way", |farm| farm.made_images() == 1);
    ends(&farm, one, "one");
    std::fs::remove_dir_all(farm.state_of_host("one")).unwrap();
    rename_workflow(&farm);
    let _daemon = farm.daemon_on("two");
    farm.wait_for_stage("a", "recorded");
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn a_host_that_comes_back_removes_what_its_packer_made_last_of_a_build_that_was_given_up() {
    let (farm, packer) =
        Farm::playing("[build]\nwrite running\nwait go\nkey\ngroup\ninstance\nwrite made\nhang\n");
    farm.configure(ONCE);
    let one = farm.daemon_on("one");
    farm.wait_for_packer(&packer, "running");
    for build in farm.builds_on("one") {
        build.supervisor().unwrap().signal(Signal::STOP);
    }
    packer.let_go("go");
    farm.wait_for_packer(&packer, "made");
    ends(&farm, one, "one");
    let mut two = farm.daemon_on("two");
    farm.wait_for_stage("a", "cleaned");
    assert_ne!(farm.leftovers(), "", "nobody was told of it");
    two.stops();
    let _daemon = farm.daemon_on("one");
    farm.wait_until_nothing_is_left();
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn an_inventory_that_is_deleted_under_the_daemon_is_noticed_and_not_begun_anew() {
    let (mut farm, packer) =
        Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}on-term\nexit 1\n"));
    farm.keep_records_in(Store::Sqlite)
        .configure("lease_duration: 3s\ninterval: 1s\nretry:\n  initial: 1s\n");
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    let file = farm.records();
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", file.display())).unwrap();
    }
    farm.wait_until_said("daemon", "was deleted or replaced");
    farm.wait_until_said("daemon", "the inventory is gone");
    assert!(!file.exists());
    farm.run(&["status"]).shows(&["No inventory at SQLite", "no inventory yet"]);
    // A person begins a new one: it knows nothing of the build that runs.
    drop(reconciler::sqlite::SqliteInventory::open(&file).unwrap());
    farm.wait_until_said("daemon", "knows nothing of it");
    packer.let_go("go");
    farm.wait_for_state("a", "in-sync");
    assert_eq!(farm.made_images(), 1);
    farm.wait_until_nothing_is_left();
    daemon.stops();
}
