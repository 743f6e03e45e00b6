//! The same with the real Packer, whose local provisioner tells what it finds and waits for a word.

use std::path::Path;

use reconciler::packer::process::{Member, ProcessId};
use rustix::process::Signal;
use serde_json::Value;

use crate::harness::farm::{Farm, RECORDED};

/// One step whose build runs a command on this host.
fn running(command: &str) -> Farm {
    let farm = Farm::of_one_step("interval: 1s\non_superseded: cancel\nretry:\n  initial: 1s\n");
    let provisioner = format!(
        "  sources = [\"source.amazon-ebs.x\"]\n  provisioner \"shell-local\" {{\n    inline = [{}]\n  }}\n",
        Value::from(command)
    );
    farm.template("a", |text| {
        text.replace("  sources = [\"source.amazon-ebs.x\"]\n", &provisioner)
    });
    farm.repo.commit("with a provisioner");
    farm
}

/// Says that it runs, then waits to be let go.
fn waiting(signs: &Path) -> String {
    let signs = signs.display();
    format!("touch {signs}/running; until [ -e {signs}/go ]; do sleep 0.1; done")
}

#[test]
fn packer_finds_its_own_folder_and_a_cleared_environment() {
    let signs = tempfile::tempdir().unwrap();
    let seen = signs.path().join("seen");
    let farm = running(&format!("(pwd; find ../.. -type f; env) > {}", seen.display()));
    let ran = farm.run_with(&[("OF_THE_DAEMON", "secret")], &["apply"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("OF_THE_DAEMON") && !seen.contains("RECONCILER_"));
    let folder = seen.lines().next().unwrap();
    assert!(
        folder.ends_with("/work/packer_workspaces/a"),
        "at its path in the repository: {folder}"
    );
    let mut files: Vec<_> = seen.lines().filter(|line| line.starts_with("../../")).collect();
    files.sort_unstable();
    let own = "../../packer_workspaces/a";
    assert_eq!(
        files,
        [format!("{own}/a.pkr.hcl"), format!("{own}/a.pkrvars.hcl"), format!("{own}/install.sh")]
    );
    assert_eq!(farm.stages("a"), RECORDED);
}

#[test]
fn a_superseded_build_of_packer_is_cancelled_and_leaves_nothing() {
    let signs = tempfile::tempdir().unwrap();
    let farm = running(&waiting(signs.path()));
    let _daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| signs.path().join("running").exists());
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    farm.wait_for_stage("a", "cleaned");
    farm.failed("cancelled", "");
    std::fs::write(signs.path().join("go"), "").unwrap();
    farm.settles("a");
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_packer_whose_supervisor_was_killed_is_followed_to_its_end() {
    let signs = tempfile::tempdir().unwrap();
    let farm = running(&waiting(signs.path()));
    let _daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| signs.path().join("running").exists());
    farm.supervisor().signal(Signal::KILL);
    std::fs::write(signs.path().join("go"), "").unwrap();
    farm.settles("a");
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_packer_that_somebody_else_ended_is_built_again() {
    let signs = tempfile::tempdir().unwrap();
    let farm = running(&waiting(signs.path()));
    let _daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| signs.path().join("running").exists());
    farm.packer_processes().signal(Signal::TERM);
    farm.wait_for_stage("a", "failed");
    farm.failed("transient", "");
    std::fs::write(signs.path().join("go"), "").unwrap();
    farm.settles("a");
    assert_eq!(farm.leftovers(), "");
    assert_eq!(farm.made_images(), 1);
}

/// The processes of the only build's Packer whose command line holds this word.
fn processes_of(farm: &Farm, word: &str) -> Vec<ProcessId> {
    let all = farm.packer_processes().processes().into_iter();
    all.filter(|process| {
        let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.nth(1) == Some(word.as_bytes())
    })
    .collect()
}

#[test]
fn a_packer_one_of_whose_plugins_was_killed_is_built_again() {
    let signs = tempfile::tempdir().unwrap();
    let farm = running(&waiting(signs.path()));
    let _daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| signs.path().join("running").exists());
    let plugins = ["plugin", "start"].map(|word| processes_of(&farm, word));
    let [plugin, ..] = plugins.concat()[..] else {
        panic!("a plugin runs");
    };
    plugin.signal(Signal::KILL);
    farm.wait_for_stage("a", "failed");
    farm.failed("transient", "");
    std::fs::write(signs.path().join("go"), "").unwrap();
    farm.settles("a");
    assert_eq!((farm.leftovers(), farm.made_images()), (String::new(), 1));
}

#[test]
fn a_packer_without_its_supervisor_and_its_wrapper_is_ended_at_once() {
    let signs = tempfile::tempdir().unwrap();
    let farm = running(&waiting(signs.path()));
    let _daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| signs.path().join("running").exists());
    let session = farm.packer_processes();
    let mut members = session.members().into_iter();
    let wrapper = members.find(Member::leads).unwrap().process;
    farm.supervisor().signal(Signal::KILL);
    wrapper.signal(Signal::KILL);
    farm.wait_for_stage("a", "failed");
    farm.failed("transient", "");
    assert_eq!(session.processes(), [], "nothing of it runs on");
    std::fs::write(signs.path().join("go"), "").unwrap();
    farm.settles("a");
    assert_eq!((farm.leftovers(), farm.made_images()), (String::new(), 1));
}
