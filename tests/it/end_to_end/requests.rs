//! What a person asks for: `retry`, `cancel`, `history`; with the daemon and without.

use std::time::{Duration, Instant};

use reconciler_model::ids::AmiId;
use reconciler_model::inventory::journal::FailureClass;
use rustix::process::Signal;

use crate::harness::fake_packer::{ENDLESS, WHOLE};
use crate::harness::farm::Farm;

const FAILS: &str = "[build]\nkey\nunkey\nfailure Script exited with non-zero exit status: 7. Allowed exit codes are: [0]\nexit 1\n";

#[test]
fn what_failed_is_tried_again_when_a_person_asks_and_its_history_tells_why() {
    let (farm, packer) = Farm::playing(&format!("{FAILS}[build 2]\n{WHOLE}"));
    farm.applies_in_vain();
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  no reconciler runs
      a  quarantined  -  -  quarantined: Script exited with non-zero exit status: 7. Allowed exit codes are: [0]; while its instance came up, after [duration]; waits for a changed input or `reconciler retry a`
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 quarantined
    ");
    insta::assert_snapshot!(farm.run(&["retry", "b"]).refusal(), @"
    error: there is no step `b`
     |
     = help: there are: a
    ");
    insta::assert_snapshot!(farm.run(&["retry", "a"]).printed(0), @"retry of a after build [build]; no reconciler runs: `reconciler apply a` or `reconciler run` tries it");
    insta::assert_snapshot!(farm.run(&["plan"]).printed(0), @"
    wf-1  main@[commit]
      + a  -  build (try 2): retry requested by uid [number]@[host], no image yet
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    Plan: 1 to build.
    ");
    assert_eq!(farm.state_of("a"), "build");
    insta::assert_snapshot!(farm.run(&["retry", "a"]).refusal(), @"
    error: there is nothing to retry: a has not failed: build (try 2): retry requested by uid [number]@[host], no image yet
     |
     = help: `reconciler apply --rebuild a` builds it though nothing changed
    ");

    farm.applies();
    assert_eq!(packer.runs("build"), 2);
    insta::assert_snapshot!(farm.run(&["retry", "a"]).refusal(), @"
    error: there is nothing to retry: a has not failed: in sync
     |
     = help: `reconciler apply --rebuild a` builds it though nothing changed
    ");
    insta::assert_snapshot!(farm.run(&["history"]).printed(0), @"
    wf-1

      a  recorded  ami-[id]  [duration] ago, took [duration]
        build [build]  commit [commit]  try 2  on [host]
        image base/wf-1/a/[fingerprint] from ami-0123456789abcdef0
        [time] UTC  decided
        [time] UTC  Packer started (supervisor [number])
        [time] UTC  image seen: ami-[id]
        [time] UTC  image available
        [time] UTC  tagged
        [time] UTC  recorded: ami-[id]
        [time] UTC  cleaned up: nothing was left

      a  failed  -  [duration] ago, took [duration]
        build [build]  commit [commit]  try 1  on [host]
        image base/wf-1/a/[fingerprint] from ami-0123456789abcdef0
        [time] UTC  decided
        [time] UTC  Packer started (supervisor [number])
        [time] UTC  failed (step): Script exited with non-zero exit status: 7. Allowed exit codes are: [0]
        [time] UTC  cleaned up: nothing was left
        [time] UTC  retry requested by uid [number]@[host]
        time: instance up [duration] failed, clean-up [duration]
        log: [folder]/state/builds/[build]/packer.log (on [host])
    ");

    let told = farm.history(&[]);
    let states: Vec<_> = told.iter().map(|build| build.state.as_ref()).collect();
    assert_eq!(states, ["recorded", "failed"]);
    assert_eq!(told[1].failure.as_ref().unwrap().class, FailureClass::Step);
    assert_eq!(told[0].ami_id, Some(AmiId::new(farm.image("a"))));
    let names: Vec<_> = told[1].stages.iter().map(|one| one.stage.as_str()).collect();
    assert_eq!(names, ["intent", "started", "failed", "cleaned", "retry_requested"]);
    its_history_stays_when_it_leaves_git(&farm);
}

#[track_caller]
fn its_history_stays_when_it_leaves_git(farm: &Farm) {
    farm.step("c", None);
    farm.repo.git(&["rm", "-rq", "packer_workspaces/a"]);
    farm.repo.commit("another step");
    assert!(farm.history(&[]).iter().all(|build| !build.in_git));
    insta::assert_snapshot!(farm.run(&["history", "a", "--limit", "1"]).printed(0), @"
    wf-1

      a  recorded  ami-[id]  [duration] ago, took [duration]  (no longer in git)
        build [build]  commit [commit]  try 2  on [host]
        image base/wf-1/a/[fingerprint] from ami-0123456789abcdef0
        [time] UTC  decided
        [time] UTC  Packer started (supervisor [number])
        [time] UTC  image seen: ami-[id]
        [time] UTC  image available
        [time] UTC  tagged
        [time] UTC  recorded: ami-[id]
        [time] UTC  cleaned up: nothing was left
    ");
    insta::assert_snapshot!(farm.run(&["history", "c"]).refusal(), @"
    error: no build of step `c` is known. Looked in DynamoDB table images in us-east-1
     |
     = help: `reconciler history` shows every build, `reconciler status` every step
    ");
}

#[test]
fn a_daemon_notices_at_a_heartbeat_that_a_person_asked() {
    let (farm, packer) = Farm::playing(&format!("{FAILS}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1h\nlease_duration: 3s\n");
    let _daemon = farm.daemon();
    farm.wait_for_state("a", "quarantined");
    let asked = farm.run(&["retry", "a"]);
    assert!(asked.out.contains("at its next pass"), "{asked:#?}");
    let since = Instant::now();
    farm.wait_for_state("a", "in-sync");
    // The repository is polled every half a minute, which would be too late.
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert_eq!(packer.runs("build"), 2);
}

#[test]
fn a_running_build_is_ended_cleanly_on_request_and_waits_for_a_person() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{ENDLESS}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 3s\n");
    farm.run(&["cancel", "a"]).refuses(&["no build of step `a` is known"]);
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    let ran = farm.run(&["cancel", "a"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.out.contains("is asked to end") && ran.out.contains("cancelled by uid"),
        "{}",
        ran.out
    );
    farm.wait_until("it is cleaned up", |farm| farm.is_cleaned_up("a"));
    assert_eq!(farm.stages("a"), ["intent", "started", "cancel_requested", "failed", "cleaned"]);
    assert_eq!(farm.leftovers(), "");
    assert_eq!(farm.state_of("a"), "quarantined");
    assert_eq!(packer.runs("build"), 1);
    farm.run(&["cancel", "a"]).refuses(&["nothing to cancel"]);
    farm.run(&["retry", "a"]);
    farm.wait_for_state("a", "in-sync");
}

#[test]
fn a_build_that_failed_before_the_request_was_heard_is_cancelled_all_the_same() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\nwrite running\nwait go\nfailure InsufficientInstanceCapacity: no capacity\n\
         error Build 'x' errored: InsufficientInstanceCapacity: no capacity\nexit 1\n[build 2]\n{WHOLE}"
    ));
    farm.configure("interval: 1s\nretry:\n  initial: 1s\n");
    let daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.signal(Signal::STOP);
    packer.let_go("go");
    farm.wait_until("Packer has failed", |farm| farm.only_build().ended().is_some());
    let ran = farm.run(&["cancel", "a", "--no-wait"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    daemon.signal(Signal::CONT);
    farm.wait_until("it is cleaned up", |farm| farm.is_cleaned_up("a"));
    farm.failed("cancelled", "no capacity");
    farm.wait_for_state("a", "quarantined");
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn a_build_is_cancelled_though_no_daemon_runs() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{ENDLESS}"));
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.kill();
    let ran = farm.run(&["cancel", "a"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.out.contains("cancelled by uid"), "{}", ran.out);
    assert_eq!(farm.stages("a"), ["intent", "started", "cancel_requested", "failed", "cleaned"]);
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_of_another_host_is_ended_on_request_though_its_daemon_is_dead() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{ENDLESS}"));
    // Signs of life every second or two.
    farm.configure("interval: 1h\nlease_duration: 2s\n");
    let mut one = farm.daemon_on("one");
    farm.wait_for_packer(&packer, "running");
    farm.wait_until("its start is in the journal", |farm| {
        farm.stages("a") == ["intent", "started"]
    });
    one.kill();
    let state = farm.state_of_host("two").display().to_string();
    let two = [("RECONCILER_HOST", "two"), ("RECONCILER_STATE_DIR", state.as_str())];
    // The lease of the dead daemon runs out first.
    std::thread::sleep(Duration::from_secs(3));
    let ran = farm.run_with(&two, &["cancel", "a"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.out.contains("on one is asked to end"), "{}", ran.out);
    farm.wait_until("it is cleaned up", |farm| farm.is_cleaned_up("a"));
    assert_eq!(farm.state_of("a"), "quarantined");
    assert_eq!(farm.leftovers(), "");
    assert_eq!(packer.runs("build"), 1);
}
