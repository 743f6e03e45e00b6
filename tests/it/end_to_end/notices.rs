//! What a person at the terminal is told: what is so now, whose turn it is, and what was not asked
//! for.

use std::time::Duration;

use reconciler_core::plan::sight::{BuildProcess, Process};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{Farm, Store};

/// A Packer that waits for the file `go`, and then makes an image.
const WAITS: &str = "[build]\nkey\ngroup\ninstance\nwrite running\nwait go\nimage\nterminate\nungroup\nunkey\nartifact\n";

const DENIED: &str = "[build]\nfailure Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation.\nexit 1\n";

/// What can be seen of the build that runs.
fn seen_of_build(farm: &Farm) -> Option<BuildProcess> {
    farm.status()["a"].build.as_ref().map(|build| build.seen)
}

#[test]
fn status_says_what_this_host_sees_of_a_stopped_and_a_killed_daemon_and_of_an_ended_packer() {
    let (farm, packer) = Farm::playing(WAITS);
    farm.configure("interval: 1h\nlease_duration: 1h\n");
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  reconciler runs on this host, pid [number]; last heartbeat [duration] ago
      a  building  -  -  building for [duration] (packer runs)
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    daemon.signal(Signal::STOP);
    farm.wait_until("it is seen to stand still", |farm| {
        let told = farm.status();
        told.held_by.is_some()
            && told.lease.as_ref().is_some_and(|lease| lease.seen == Process::Stopped)
    });
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  pid [number] of this host is stopped by a signal (SIGSTOP) and does nothing; `kill -CONT [number]` lets it go on
      a  building  -  -  building for [duration] (packer runs)
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    daemon.kill();
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  pid [number] of this host has ended; the next `run` or `apply` takes over
      a  building  -  -  building for [duration] (packer runs)
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    let told = farm.status();
    let seen = told.lease.as_ref().map(|lease| lease.seen);
    assert_eq!((&told.held_by, seen), (&None, Some(Process::Ended)));
    assert_eq!(seen_of_build(&farm), Some(BuildProcess::Runs));

    packer.let_go("go");
    farm.wait_until("Packer is seen to have ended", |farm| {
        seen_of_build(farm) == Some(BuildProcess::Ended)
    });
    let build = farm.status()["a"].build.clone().unwrap();
    assert_eq!(build.stage, "packer has ended", "{build:?}");
    assert!(build.ended_at.is_some(), "{build:?}");
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  pid [number] of this host has ended; the next `run` or `apply` takes over
      a  building  -  -  building for [duration]; Packer has ended [duration] ago, not recorded yet
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    insta::assert_snapshot!(farm.run(&["plan"]).printed(0), @"
    wf-1  main@[commit]
      > a  -  building for [duration]; Packer has ended [duration] ago, not recorded yet
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    Plan: 1 building.
    ");
    insta::assert_snapshot!(farm.run(&["apply"]).printed(0), @"
    wf-1  main@[commit]
      > a  -  building for [duration]
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    Plan: 1 building.
    [0/1] a followed: build [build] of base/wf-1/a/[fingerprint]
    [1/1] a recorded ami-[id] [duration]
    Applied: 1 image recorded in [duration].
    ");
}

#[test]
fn status_sees_a_packer_without_its_supervisor_one_that_stands_still_and_one_that_is_gone() {
    let (farm, packer) = Farm::playing(WAITS);
    farm.configure("interval: 1h\nlease_duration: 1h\n");
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.kill();
    let supervisor = farm.supervisor();
    supervisor.signal(Signal::STOP);
    farm.wait_until("it is stopped", |farm| seen_of_build(farm) == Some(BuildProcess::Stopped));
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  pid [number] of this host has ended; the next `run` or `apply` takes over
      a  building  -  -  building for [duration]; it is stopped by a signal (SIGSTOP) and does nothing
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    supervisor.signal(Signal::KILL);
    farm.wait_until("Packer runs alone", |farm| {
        seen_of_build(farm) == Some(BuildProcess::Unsupervised)
    });
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  pid [number] of this host has ended; the next `run` or `apply` takes over
      a  building  -  -  building for [duration]; its supervisor has ended, Packer runs without it
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    packer.let_go("go");
    farm.wait_until("nothing runs", |farm| seen_of_build(farm) == Some(BuildProcess::Gone));
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  pid [number] of this host has ended; the next `run` or `apply` takes over
      a  building  -  -  building for [duration]; Packer and its supervisor have ended without a word, not settled yet
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 building
    ");
    farm.applies();
}

#[test]
fn what_was_not_asked_for_is_neither_planned_nor_counted_nor_built() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    insta::assert_snapshot!(farm.run(&["plan", "b"]).printed(0), @"
    wf-1  main@[commit]
      + a  -  build: no inventory yet
      +  b  -  build: no inventory yet (after a)
        c  -  not asked for
    No inventory at DynamoDB table images in us-east-1 yet: if there should be one, another place is meant (`state_dir`, `inventory`).
    Asked for: b, with a, which it starts from.
    Plan: 2 to build, 1 not asked for.
    ");
    let plan = farm.plan(&["c"]);
    assert_eq!(plan.steps.iter().filter(|step| step.asked_for).count(), 1, "{plan:#?}");

    insta::assert_snapshot!(farm.run(&["apply", "c"]).printed(0), @"
    wf-1  main@[commit]
        a  -  not asked for
          b  -  not asked for
      + c  -  build: no image yet
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    Asked for: c.
    Plan: 1 to build, 2 not asked for.
    [0/1] c started: build [build] of base/wf-1/c/[fingerprint]
    [1/1] c recorded ami-[id] [duration]
    Applied: 1 image recorded in [duration].
    ");
    insta::assert_snapshot!(farm.run(&["apply", "c"]).printed(0), @"
    wf-1  main@[commit]
        a  -  not asked for
          b  -  not asked for
      = c  ami-[id]  in sync
    Asked for: c.
    Plan: 1 in sync, 2 not asked for.
    ");
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.run(&["plan", "c", "--exit-code"]).code, 0);
    assert_eq!(farm.run(&["plan", "a", "--exit-code"]).code, 2);
    insta::assert_snapshot!(farm.run(&["status", "c", "--exit-code"]).printed(0), @"
    wf-1  main@[commit]  no reconciler runs
      c  in-sync  ami-[id]  [duration]
    1 in sync, 2 not asked for
    ");
    insta::assert_snapshot!(farm.run(&["plan", "cx"]).refusal(), @"
    error: there is no step `cx`
     |
     = help: there are: a, b, c
    ");
    for command in ["plan", "status", "apply"] {
        farm.run(&[command, "cx"]).refuses(&["there is no step `cx`", "there are: a, b, c"]);
    }
    farm.step("database", None);
    farm.repo.commit("a longer name");
    insta::assert_snapshot!(farm.run(&["apply", "datebase"]).refusal(), @"
    error: there is no step `datebase`
     |
     = help: did you mean `database`?
    ");
}

#[test]
fn apply_prints_the_plan_once_and_then_a_line_for_each_change() {
    let farm = Farm::of_three_steps();
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.out.matches("Plan: ").count(), 1, "{}", ran.out);
    let changes: Vec<_> = ran.out.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(changes.len(), 6, "{}", ran.out);
    assert!(
        changes[0].starts_with("[0/3] ") && changes[0].contains(" started: build "),
        "{}",
        ran.out
    );
    let last = changes[5];
    assert!(last.starts_with("[3/3] ") && last.contains(" recorded ami-"), "{}", ran.out);
    assert!(
        ran.out.lines().last().unwrap().starts_with("Applied: 3 images recorded in "),
        "{}",
        ran.out
    );
}

#[test]
fn the_exit_code_tells_a_persons_part_from_a_failure_and_names_what_is_in_the_way() {
    let farm = Farm::of_three_steps();
    farm.step_params("a", None, &json!({ "reconciler": { "manual": true } }));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.out.contains(". b  blocked: a waits for a person"), "{}", ran.out);
    insta::assert_snapshot!(farm.run(&["plan"]).printed(0), @"
    wf-1  main@[commit]
      . a  -  a person makes this image: no image yet; start an instance from ami-0123456789abcdef0, change it, stop it, then: reconciler image create --step a --instance-id i-…
      .  b  -  blocked: a waits for a person to make its image
      = c  ami-[id]  in sync
    Plan: 1 blocked, 1 awaiting a person, 1 in sync.
    ");
    assert_eq!(farm.run(&["apply", "c"]).code, 0);
    assert_eq!(farm.run(&["apply", "b"]).code, 3);
    farm.step("d", Some("b")).step("e", Some("d"));
    farm.repo.write("packer_workspaces/b/templates/.pkr.hcl", "{{ no_such_name }}");
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 3, "what is wrong with b shows when a is there: {ran:#?}");
    farm.repo.write("packer_workspaces/a/step_param.json", "{");
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 1, "{ran:#?}");
}

#[test]
fn a_command_that_meets_a_holder_says_so_at_once_and_ends_by_a_signal_with_its_code() {
    let farm = Farm::hasty(Store::Sqlite);
    farm.reconfigure(|text| text.replace("lease_duration: 4s", "lease_duration: 60s"));
    farm.step("a", None);
    farm.repo.commit("one step");
    let mut daemon = farm.daemon();
    farm.wait_for_words("daemon", "lease taken").unwrap();
    for (signal, code, log) in [(Signal::INT, 130, "int"), (Signal::TERM, 143, "term")] {
        let mut apply = farm.start(&["apply"], "", log);
        farm.wait_for_words(log, "waiting: reconciler on ").unwrap();
        farm.wait_for_words(log, "holds the lease of workflow wf-1").unwrap();
        farm.wait_for_words(log, "reconciler status --watch").unwrap();
        apply.signal(signal);
        let ended = apply.end(Duration::from_secs(5)).unwrap();
        assert_eq!(ended.code(), Some(code), "{}", farm.said(log));
    }
    daemon.stops();
}

#[test]
fn a_command_that_ends_while_it_builds_has_the_code_of_its_signal_and_the_next_one_carries_on() {
    let (farm, packer) = Farm::playing(WAITS);
    let mut apply = farm.start(&["apply"], "", "apply");
    farm.wait_for_packer(&packer, "running");
    apply.signal(Signal::INT);
    let ended = apply.end(Duration::from_secs(10)).unwrap();
    assert_eq!(ended.code(), Some(130));
    packer.let_go("go");
    farm.applies();
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn what_was_a_persons_turn_is_tried_at_once_by_apply_and_once_only() {
    let (farm, packer) =
        Farm::playing(&format!("{DENIED}[build 2]\n{}[build 3]\n{WHOLE}", &DENIED[8..]));
    let ran = farm.run(&["apply"]);
    assert_eq!((ran.code, packer.runs("build")), (1, 1), "{ran:#?}");
    insta::assert_snapshot!(ran.printed(1), @"
    wf-1  main@[commit]
      + a  -  build: no image yet
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    Plan: 1 to build.
    [0/1] a started: build [build] of base/wf-1/a/[fingerprint]
    [1/1] a failed: Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation. (`reconciler logs a`)
    ! a  failed; no reconciler runs: `reconciler apply` tries it at once, when that is mended
    ");
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  no reconciler runs
      a  backing-off  -  -  failed: Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation.; no reconciler runs: `reconciler apply` tries it at once, when that is mended
    Nothing of this workflow is recorded in DynamoDB table images in us-east-1.
    1 backing off
    ");
    let still = farm.run(&["apply"]);
    assert_eq!((still.code, packer.runs("build")), (1, 2), "{still:#?}");
    let mended = farm.run(&["apply"]);
    assert_eq!((mended.code, packer.runs("build")), (0, 3), "{mended:#?}");
}

#[test]
fn an_image_that_is_not_there_yet_is_shown_by_a_name_that_stands_for_it() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    for arguments in [["diff", "b"], ["render", "b"]] {
        let ran = farm.run(&arguments);
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert!(ran.out.contains("\"ami-known-after-build\""), "{}", ran.out);
        assert!(
            ran.err.contains("`a` has no image yet; `ami-known-after-build` stands for it"),
            "{}",
            ran.err
        );
    }
    let told: Value =
        serde_json::from_str(&farm.run(&["diff", "b", "--output", "json"]).out).unwrap();
    assert_eq!(told["source_stands_for"], "a", "{told:#}");
}

#[test]
fn a_build_is_named_by_a_begin_that_only_it_has_and_an_unknown_step_before_credentials() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.applies();
    farm.run(&["apply", "--rebuild", "a"]);
    farm.run(&["logs", "a", "--build", "zzz"])
        .refuses(&["no build of step a begins with `zzz`", "there are, newest first: 0"]);
    farm.run(&["logs", "a", "--build", "0"])
        .refuses(&["`0` is the begin of 2 builds of step a", "write more of it"]);
    let build = farm.events("a")[0].build_id.clone();
    let ran = farm.run(&["logs", "a", "--build", build.as_str()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let nobody = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    for command in ["retry", "cancel", "logs", "history"] {
        farm.run(&[command, "nope"]).refuses(&["there is no step `nope`", "there are: a"]);
        farm.run_with(&nobody, &[command, "nope"]).refuses(&["there is no step `nope`"]);
    }
}
