//! What is kept of builds is bounded: one log, and all of them.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::moody;
use crate::harness::farm::{Build, Farm, HASTY, Store};

#[test]
fn a_log_of_a_hundred_megabytes_is_kept_as_its_head_and_tail_and_hides_no_image() {
    let farm = moody::farm("timeout: 2m, grace: 1s, log_limit_mib: 1", "");
    farm.step("a", None).script("a", "loud\n");
    farm.repo.commit("one step");
    let mut apply = farm.start(&["apply"], "", "apply");
    let mut memory = 0;
    while apply.ended().is_none() {
        memory = memory.max(most_memory(&farm));
        std::thread::sleep(Duration::from_millis(50));
    }
    farm.converge(5).unwrap();
    assert_eq!(farm.broken_promises(1), [] as [String; 0]);
    let log = farm.builds()[0].file("packer.log");
    let size = log.metadata().unwrap().size();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        size < 1_100_000,
        "{size} bytes are kept, {:?} {:?}",
        text.find("left out here"),
        text.find('\0')
    );
    for word in [
        "reconciler: Packer",
        "MiB are left out here",
        "Creating temporary keypair: packer_01a20f55-c76d-719d-a488-ea481fb4de68",
        "artifact,0,id,",
    ] {
        assert!(text.contains(word), "{word} is kept");
    }
    assert!(memory > 0 && memory < 100_000, "the supervisor used {memory} KiB");
    let shown = farm.run(&["logs", "a"]);
    assert!(shown.out.contains("left out here"), "{}", shown.err);
}

/// The most memory that a supervisor of this farm had so far, in KiB.
fn most_memory(farm: &Farm) -> u64 {
    let of = |build: &Build| {
        let supervisor = build.supervisor()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", supervisor.pid)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    farm.builds().iter().filter_map(of).max().unwrap_or(0)
}

#[test]
fn folders_of_old_builds_go_and_those_that_a_state_speaks_of_stay() {
    let farm = Farm::hasty(Store::Sqlite);
    farm.configure(&format!("{HASTY}builds: {{keep: 2}}\n"));
    farm.step("broken", None);
    farm.template("broken", |text| text.replace("instance_type", "no_such_argument"));
    farm.repo.commit("a step that fails");
    farm.run(&["apply"]);
    let failed = farm.builds();
    assert_eq!(failed.len(), 1, "{}", farm.run(&["history"]).out);
    for change in 1..=4 {
        farm.step("a", None).script("a", &format!("echo {change}\n"));
        farm.repo.commit("a change");
        farm.run(&["apply"]);
    }
    farm.run(&["apply"]);
    let kept = farm.builds();
    assert_eq!(kept.len(), 3, "two, and the one that is needed: {kept:?}");
    assert!(kept.contains(&failed[0]));
    assert!(farm.run(&["logs", "broken"]).out.contains("no_such_argument"));
}
