//! What somebody types by habit who comes from other tools, through the real program.

use serde_json::Value;

use crate::harness::cli::Cli;
use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::Farm;

#[test]
fn short_options_and_other_folders_mean_what_they_mean_elsewhere() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    let long = farm.run(&["check", "--output", "json"]);
    assert_eq!(farm.run(&["check", "-o", "json"]).out, long.out);
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = farm.repo.path().to_str().unwrap();
    let from = |arguments: &[&str]| Cli::within(elsewhere.path()).run(arguments);
    assert_eq!(from(&["check"]).code, 1, "no repository is there");
    for arguments in [["-C", folder, "check"], ["check", "-C", folder]] {
        let ran = from(&arguments);
        assert!(ran.code == 0 && ran.out.contains("3 steps, sound"), "{ran:#?}");
    }
    // A relative file of the configuration is looked for from there.
    std::fs::write(farm.repo.path().join("mine.yaml"), "intervall: 5m\n").unwrap();
    from(&["-C", folder, "--config", "mine.yaml", "check"]).refuses(&["unknown field `intervall`"]);
    from(&["-C", "no/such/folder", "check"]).refuses(&["-C no/such/folder: No such file"]);
}

#[test]
fn the_end_of_a_log_and_some_of_the_history_are_shown_on_request() {
    let (farm, packer) = Farm::playing(&format!("[build]\nsay one\nsay two\nsay three\n{WHOLE}"));
    farm.applies();
    let whole = farm.run(&["logs", "a"]).out;
    let last: Vec<_> = whole.lines().rev().take(2).collect();
    let tail = farm.run(&["logs", "a", "--tail", "2"]);
    assert_eq!(tail.out.lines().rev().collect::<Vec<_>>(), last);
    assert_eq!(farm.run(&["logs", "a", "-n", "0"]).out, "");
    let followed = farm.run(&["logs", "a", "--tail", "2", "--follow"]);
    assert_eq!(followed.out, tail.out, "of a build that is over nothing more comes");

    packer.plays("[build]\nerror it is broken\nexit 1\n");
    farm.script("a", "echo 2\n");
    farm.repo.commit("break it");
    farm.run(&["apply"]);
    let builds = |arguments: &[&str]| -> Vec<String> {
        farm.history(arguments).iter().map(|build| build.state.to_string()).collect()
    };
    assert_eq!(builds(&[]), ["failed", "recorded"]);
    assert_eq!(builds(&["--failed"]), ["failed"]);
    assert_eq!(builds(&["--since", "1h"]), ["failed", "recorded"]);
    assert_eq!(builds(&["--since", "2199-01-01"]), [""; 0]);
    assert_eq!(builds(&["a", "--since", "2026-01-01T00:00:00Z", "-n", "1"]), ["failed"]);
    let none = farm.run(&["history", "--since", "2199-01-01"]);
    assert_eq!(none.out, "wf-1\nno such build\n", "there are builds, but none of these");
    let wrong = farm.run(&["history", "--since", "yesterday"]);
    assert_eq!(wrong.code, 64, "{wrong:#?}");
    assert!(wrong.err.contains("w (weeks), d (days)"), "{}", wrong.err);
}

#[test]
fn a_difference_is_an_exit_code_and_one_pass_a_daemon_that_ends() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    let ran = farm.run(&["run", "--once"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(farm.state_of("a"), "in-sync");
    assert_eq!(farm.run(&["diff", "a", "--exit-code"]).code, 0);
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    assert_eq!(farm.run(&["diff", "a", "--exit-code"]).code, 2);
    assert_eq!(farm.run(&["diff", "a"]).code, 0);
    farm.repo.write("packer_workspaces/a/step_param.json", "{\n");
    farm.repo.commit("break it");
    let broken = farm.run(&["run", "--once"]);
    assert_eq!(broken.code, 1, "what is broken is told by the exit code: {broken:#?}");
}

#[test]
fn apply_says_what_it_would_do_without_doing_it_and_what_it_did_for_programs() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    let json = |arguments: &[&str]| {
        let ran = farm.run(arguments);
        let said: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
        (ran.code, said)
    };
    let dry = farm.run(&["apply", "--dry-run"]);
    assert!(dry.code == 0 && dry.out.contains("+ a"), "{dry:#?}");
    let (_, plan) = json(&["apply", "--dry-run", "-o", "json"]);
    assert_eq!(plan["schema"], "reconciler.plan/1");
    assert_eq!((packer.runs("build"), farm.image("a").as_str()), (0, ""));

    let (code, done) = json(&["apply", "-o", "json"]);
    assert_eq!((code, &done["left"]), (0, &Value::from("nothing")));
    assert_eq!(done["schema"], "reconciler.apply/1");
    assert_eq!(done["ended"][0]["state"], "recorded");
    assert_eq!(done["ended"][0]["ami_id"], farm.image("a"));
    assert_eq!(done["plans"][0]["steps"][0]["state"], "in-sync");

    let dry = farm.run(&["apply", "--dry-run"]);
    assert!(dry.out.contains("in sync"), "{dry:#?}");
    let dry = farm.run(&["apply", "--dry-run", "--rebuild", "a"]);
    assert!(dry.out.contains("1 to build"), "{dry:#?}");
    assert_eq!(packer.runs("build"), 1);
    assert_eq!(farm.run(&["apply", "--dry-run", "nobody"]).code, 1);

    packer.plays("[build]\nerror it is broken\nexit 1\n");
    farm.script("a", "echo 2\n");
    farm.repo.commit("break it");
    let (code, failed) = json(&["apply", "-o", "json"]);
    assert_eq!((code, &failed["left"]), (1, &Value::from("a_failure")));
    assert_eq!(failed["ended"][0]["state"], "failed");
    assert_eq!(failed["ended"][0]["failure"]["class"], "step");
}

#[test]
fn as_much_is_said_as_is_asked_for() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    let quiet = farm.run(&["apply", "-q"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""), "{quiet:#?}");
    assert!(!quiet.out.contains("recorded"), "{}", quiet.out);
    let results = farm.run(&["status", "--quiet"]);
    assert!(results.out.contains("in sync"), "{results:#?}");
    let verbose = farm.run(&["plan", "-vv"]);
    assert!(verbose.code == 0 && verbose.err.contains("DEBUG"), "{verbose:#?}");
    assert!(!verbose.err.contains("test-secret-value"), "{verbose:#?}");
    assert_eq!(farm.run(&["plan", "-q", "-v"]).code, 64);
    let wrong = farm.run_with(&[("RECONCILER_LOG", "reconciler=loud")], &["run", "--once"]);
    assert_eq!(wrong.code, 78, "{wrong:#?}");
    assert!(wrong.err.contains("RECONCILER_LOG is no filter"), "{}", wrong.err);
}
