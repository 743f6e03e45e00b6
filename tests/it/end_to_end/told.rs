//! What a person at the terminal is told: what is so now, whose turn it is, and what was not asked
//! for.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{Farm, Store};

/// A Packer that waits for the file `go`, and then makes an image.
const WAITS: &str = "[build]\nkey\ngroup\ninstance\nwrite running\nwait go\nimage\nterminate\nungroup\nunkey\nartifact\n";

const DENIED: &str = "[build]\nfailure Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation.\nexit 1\n";

fn workflow(farm: &Farm) -> Value {
    let ran = farm.run(&["status", "--output", "json"]);
    let mut told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
    told["workflows"][0].take()
}

fn build_of(farm: &Farm) -> Value {
    workflow(farm)["steps"][0]["build"].clone()
}

#[test]
fn status_says_what_this_host_sees_of_a_stopped_and_a_killed_daemon_and_of_an_ended_packer() {
    let (farm, packer) = Farm::playing(WAITS);
    farm.configure("interval: 1h\nlease_duration: 1h\n");
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    let said = farm.run(&["status"]).out;
    assert!(said.contains("reconciler runs on this host, pid "), "{said}");
    assert!(said.contains("(packer runs)"), "{said}");
    daemon.signal(Signal::STOP);
    farm.wait_until("it is seen to stand still", |farm| {
        let told = workflow(farm);
        told["lease"]["seen"] == "stopped" && told["held_by"].is_string()
    });
    let said = farm.run(&["status"]).out;
    assert!(said.contains("is stopped by a signal (SIGSTOP)"), "{said}");
    daemon.kill();

    let said = farm.run(&["status"]).out;
    assert!(
        said.contains("of this host has ended; the next `run` or `apply` takes over"),
        "{said}"
    );
    assert!(said.contains("(packer runs)") && !said.contains("heartbeat"), "{said}");
    let told = workflow(&farm);
    assert_eq!((&told["held_by"], &told["lease"]["seen"]), (&Value::Null, &json!("ended")));
    assert_eq!(build_of(&farm)["seen"], "runs");

    packer.let_go("go");
    farm.wait_until("Packer is seen to have ended", |farm| build_of(farm)["seen"] == "ended");
    let build = build_of(&farm);
    assert_eq!(build["stage"], "packer has ended", "{build}");
    assert!(build["ended_at"].is_string(), "{build}");
    for command in ["status", "plan"] {
        let said = farm.run(&[command]).out;
        assert!(
            said.contains("; Packer has ended ") && said.contains("not recorded yet"),
            "{said}"
        );
        assert!(!said.contains("packer runs"), "{said}");
    }
    let ran = farm.applies();
    assert!(ran.out.contains("a followed: build "), "{}", ran.out);
    assert!(ran.out.contains("[1/1] a recorded ami-"), "{}", ran.out);
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
    farm.wait_until("it is stopped", |farm| build_of(farm)["seen"] == "stopped");
    let said = farm.run(&["status"]).out;
    assert!(said.contains("it is stopped by a signal (SIGSTOP)"), "{said}");
    supervisor.signal(Signal::KILL);
    farm.wait_until("Packer runs alone", |farm| build_of(farm)["seen"] == "unsupervised");
    let said = farm.run(&["status"]).out;
    assert!(said.contains("its supervisor has ended, Packer runs without it"), "{said}");
    packer.let_go("go");
    farm.wait_until("nothing runs", |farm| build_of(farm)["seen"] == "gone");
    let said = farm.run(&["status"]).out;
    assert!(said.contains("have ended without a word, not settled yet"), "{said}");
    farm.applies();
}

#[test]
fn what_was_not_asked_for_is_neither_planned_nor_counted_nor_built() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    let plan = farm.run(&["plan", "b"]).out;
    for words in [
        "c    -  not asked for",
        "Asked for: b, with a, which it starts from.",
        "Plan: 2 to build, 1 not asked for.",
    ] {
        assert!(plan.contains(words), "{words:?} in\n{plan}");
    }
    let told: Value =
        serde_json::from_str(&farm.run(&["plan", "c", "--output", "json"]).out).unwrap();
    let asked: Vec<_> = told["plans"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["asked_for"].as_bool().unwrap())
        .collect();
    assert_eq!(asked.iter().filter(|asked| **asked).count(), 1, "{told:#}");

    let ran = farm.run(&["apply", "c"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.out.contains("Plan: 1 to build, 2 not asked for."), "{}", ran.out);
    assert!(ran.out.contains("[1/1] c recorded ami-"), "{}", ran.out);
    let again = farm.run(&["apply", "c"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.out.contains("Plan: 1 in sync, 2 not asked for."), "{}", again.out);
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.run(&["plan", "c", "--exit-code"]).code, 0);
    assert_eq!(farm.run(&["plan", "a", "--exit-code"]).code, 2);
    let status = farm.run(&["status", "c", "--exit-code"]);
    assert_eq!(status.code, 0, "{status:#?}");
    assert!(status.out.ends_with("1 in sync, 2 not asked for\n"), "{}", status.out);
    for command in ["plan", "status", "apply"] {
        farm.run(&[command, "cx"]).refuses(&["there is no step `cx`", "there are: a, b, c"]);
    }
    farm.step("database", None);
    farm.repo.commit("a longer name");
    farm.run(&["apply", "datebase"]).refuses(&["did you mean `database`?"]);
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
    assert!(
        ran.out.contains(
            "! a  failed; no reconciler runs: `reconciler apply` tries it at once, when that is mended"
        ),
        "{}",
        ran.out
    );
    let said = farm.run(&["status"]).out;
    assert!(said.contains("no reconciler runs: `reconciler apply` tries it at once"), "{said}");
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
