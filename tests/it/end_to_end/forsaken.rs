//! Hosts that are lost with all that they knew, and come back: the inventory itself tells what is
//! open.

use std::path::Path;

use reconciler::packer::process::ProcessId;
use rustix::process::Signal;
use serde_json::Value;

use super::lost_host::{one_step as real_step, signal_builds};
use super::one_step;
use crate::harness::farm::Farm;

const QUICK: &str = "lease_duration: 2s\ninterval: 1s\nretry:\n  initial: 1h\n  max: 1h\n";

/// The daemon and its builds end as in a power loss.
fn ends(farm: &mut Farm, daemon: usize, host: &str) {
    farm.signal(daemon, Signal::KILL);
    signal_builds(farm, host, Signal::KILL);
    farm.child(daemon).wait().unwrap();
}

fn rename_workflow(farm: &Farm) {
    let params = "packer_workspaces/workflow_param.json";
    let text = std::fs::read_to_string(farm.repo.path().join(params)).unwrap();
    farm.repo.write(params, text.replace("wf-1", "wf-2"));
    farm.repo.write("packer_workspaces/a/step_param.json", "{");
    farm.repo.commit("another workflow, whose step is broken");
}

#[test]
fn what_a_lost_host_began_is_settled_though_its_folder_is_gone_and_git_has_another_workflow() {
    let (mut farm, packer) =
        one_step("[build]\nkey\ngroup\ninstance\nwrite running\nwait go\nexit 1\n");
    farm.configure(QUICK);
    let one = farm.daemon_on("one");
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    farm.wait_until("what it made is told", |farm| {
        farm.forget_calls();
        std::thread::sleep(std::time::Duration::from_secs(2));
        farm.calls("dynamodb.UpdateItem") > 0
    });
    ends(&mut farm, one, "one");
    std::fs::remove_dir_all(farm.state_of_host("one")).unwrap();
    rename_workflow(&farm);
    assert_ne!(farm.leftovers(), "");
    let two = farm.daemon_on("two");
    farm.wait_until("it is settled", |farm| {
        farm.stages("a").iter().any(|stage| stage == "cleaned")
    });
    assert_eq!(farm.leftovers(), "");
    farm.wait_until("its lease is given back", |farm| {
        farm.lease_of("wf-1").is_some_and(|lease| lease.holder.is_none())
    });
    farm.signal(two, Signal::TERM);
    assert!(farm.child(two).wait().unwrap().success());
}

#[test]
fn an_image_of_a_lost_host_is_recorded_though_its_folder_is_gone_and_git_has_another_workflow() {
    let mut farm = real_step(QUICK);
    farm.emulator.control_post("/_control/pending", &serde_json::json!({ "seconds": 8 }));
    let one = farm.daemon_on("one");
    farm.wait_until("the image is on its way", |farm| farm.made_images() == 1);
    ends(&mut farm, one, "one");
    std::fs::remove_dir_all(farm.state_of_host("one")).unwrap();
    rename_workflow(&farm);
    farm.daemon_on("two");
    farm.wait_until("it is recorded", |farm| {
        farm.stages("a").iter().any(|stage| stage == "recorded")
    });
    assert_eq!(farm.made_images(), 1);
}

fn stop_supervisors(farm: &Farm, host: &str) {
    let read = |folder: &Path| -> Option<Value> {
        serde_json::from_slice(&std::fs::read(folder.join("supervisor.json")).ok()?).ok()
    };
    for build in std::fs::read_dir(farm.state_of_host(host).join("builds")).unwrap() {
        let Some(supervisor) = read(&build.unwrap().path()) else {
            continue;
        };
        let process = ProcessId {
            pid: u32::try_from(supervisor["pid"].as_u64().unwrap()).unwrap(),
            start: supervisor["pid_start"].as_u64().unwrap(),
        };
        process.signal(Signal::STOP);
    }
}

#[test]
fn a_host_that_comes_back_removes_what_its_packer_made_last_of_a_build_that_was_given_up() {
    let (mut farm, packer) =
        one_step("[build]\nwrite running\nwait go\nkey\ngroup\ninstance\nwrite made\nhang\n");
    farm.configure(QUICK);
    let one = farm.daemon_on("one");
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    stop_supervisors(&farm, "one");
    packer.let_go("go");
    farm.wait_until("Packer has made something", |_| packer.wrote("made").is_some());
    ends(&mut farm, one, "one");
    let two = farm.daemon_on("two");
    farm.wait_until("the other host has given it up", |farm| {
        farm.stages("a").iter().any(|stage| stage == "cleaned")
    });
    assert_ne!(farm.leftovers(), "", "nobody was told of it");
    farm.signal(two, Signal::TERM);
    farm.child(two).wait().unwrap();
    farm.daemon_on("one");
    farm.wait_until("nothing is left", |farm| farm.leftovers().is_empty());
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn an_inventory_that_is_deleted_under_the_daemon_is_noticed_and_not_begun_anew() {
    let (mut farm, packer) =
        one_step(&format!("[build]\nwrite running\nwait go\n{}on-term\nexit 1\n", super::WHOLE));
    farm.configure_sqlite("lease_duration: 3s\ninterval: 1s\nretry:\n  initial: 1s\n");
    let daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    let file = farm.configuration().with_file_name("inventory.sqlite");
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", file.display())).unwrap();
    }
    let said = |farm: &Farm, what: &str| String::from_utf8_lossy(&farm.daemon_log()).contains(what);
    farm.wait_until("it is noticed", |farm| said(farm, "was deleted or replaced"));
    farm.wait_until("no empty one is begun", |farm| said(farm, "the inventory is gone"));
    assert!(!file.exists());
    farm.run(&["status"]).shows(&["No inventory at SQLite", "no inventory yet"]);
    // A person begins a new one: it knows nothing of the build that runs.
    drop(reconciler::sqlite::SqliteInventory::open(&file).unwrap());
    farm.wait_until("the build is ended", |farm| said(farm, "knows nothing of it"));
    packer.let_go("go");
    farm.wait_until("it is built anew", |farm| farm.state_of("a") == "in-sync");
    assert_eq!(farm.made_images(), 1);
    farm.wait_until("nothing is left", |farm| farm.leftovers().is_empty());
    farm.signal(daemon, Signal::TERM);
    assert!(farm.child(daemon).wait().unwrap().success());
}
