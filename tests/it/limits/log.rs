//! What is kept of builds is bounded: one log, and all of them.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::moody;
use crate::harness::plot::{Plot, Store};

#[test]
fn a_log_of_a_hundred_megabytes_is_kept_as_its_head_and_tail_and_hides_no_image() {
    let plot = moody::plot("timeout: 2m, grace: 1s, log_limit_mib: 1", "");
    plot.step("a", None, "loud");
    plot.repo.commit("one step");
    let mut apply = plot.start(&["apply"], "", "apply.log");
    let mut memory = 0;
    while apply.ended().is_none() {
        memory = memory.max(most_memory(&plot));
        std::thread::sleep(Duration::from_millis(50));
    }
    plot.converge(5).unwrap();
    assert_eq!(plot.broken_promises(1), [] as [String; 0]);
    let log = plot.builds()[0].join("packer.log");
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
    let shown = plot.run(&["logs", "a"]);
    assert!(shown.out.contains("left out here"), "{}", shown.err);
}

/// The most memory that a supervisor of this plot had so far, in KiB.
fn most_memory(plot: &Plot) -> u64 {
    let of = |build: std::path::PathBuf| {
        let known = std::fs::read(build.join("supervisor.json")).ok()?;
        let known: serde_json::Value = serde_json::from_slice(&known).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", known["pid"])).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    plot.builds().into_iter().filter_map(of).max().unwrap_or(0)
}

#[test]
fn folders_of_old_builds_go_and_those_that_a_state_speaks_of_stay() {
    let plot = Plot::open(Store::Sqlite);
    plot.configure("builds: {keep: 2}\n");
    plot.step("broken", None, "echo 1");
    let template = "packer_workspaces/broken/templates/.pkr.hcl";
    let text = std::fs::read_to_string(plot.repo.path().join(template)).unwrap();
    plot.repo.write(template, text.replace("instance_type", "no_such_argument"));
    plot.repo.commit("a step that fails");
    plot.run(&["apply"]);
    let failed = plot.builds();
    assert_eq!(failed.len(), 1, "{}", plot.run(&["history"]).out);
    for change in 1..=4 {
        plot.step("a", None, &format!("echo {change}"));
        plot.repo.commit("a change");
        plot.run(&["apply"]);
    }
    plot.run(&["apply"]);
    let kept = plot.builds();
    assert_eq!(kept.len(), 3, "two, and the one that is needed: {kept:?}");
    assert!(kept.contains(&failed[0]));
    assert!(plot.run(&["logs", "broken"]).out.contains("no_such_argument"));
}
