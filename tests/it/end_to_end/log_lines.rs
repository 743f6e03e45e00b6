//! What an operator reads in the daemon's log: one line for each change, with where, why, what to
//! do and when it is tried again, and nothing in the form that programmers print values in.

use std::time::Duration;

use serde_json::Value;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::Farm;

/// The lines of the log, parsed, whose message has these words.
fn lines(farm: &Farm, words: &str) -> Vec<Value> {
    let log = farm.log("daemon");
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")))
        .filter(|line| line["message"].as_str().unwrap().contains(words))
        .collect()
}

#[track_caller]
fn is_for_people(log: &str) {
    for form in [
        "Some(",
        "Ok(",
        "Err(",
        "None",
        "\"Step\"",
        "\"Transient\"",
        "\"Person\"",
        "Timestamp",
        "Diagnostic {",
    ] {
        assert!(!log.contains(form), "{form} in\n{log}");
    }
}

#[test]
fn a_broken_commit_is_told_once_with_step_file_and_what_to_do_and_again_when_it_is_mended() {
    let farm = Farm::of_three_steps();
    farm.configure("interval: 1s\n");
    farm.repo.commit("three steps");
    let _daemon = farm.daemon();
    farm.wait_until("three images are recorded", |farm| lines(farm, "image recorded").len() == 3);
    farm.template("c", |sound| format!("{sound}\n{{{{ builder.no_such }}}}\n"));
    let broken = farm.repo.commit("a mistake");
    farm.wait_until("it is told", |farm| !lines(farm, "step is broken").is_empty());
    std::thread::sleep(Duration::from_secs(4));
    let told = lines(&farm, "step is broken");
    assert_eq!(told.len(), 1, "once, and not at each pass: {told:#?}");
    let told = &told[0];
    assert_eq!(told["level"], "ERROR");
    assert_eq!(told["repository"], "repo");
    assert_eq!((&told["workflow"], &told["step"]), (&"wf-1".into(), &"c".into()));
    assert_eq!(told["revision"], broken.as_str());
    assert_eq!(told["file"], "packer_workspaces/c/templates/.pkr.hcl");
    assert!(
        told["line"].is_u64() && told["message"].as_str().unwrap().contains("no_such"),
        "{told}"
    );
    farm.step("c", None);
    farm.repo.commit("mended");
    farm.wait_until("it is told that it is mended", |farm| lines(farm, "step mended").len() == 1);

    farm.repo.write("packer_workspaces/workflow_param.json", "{");
    farm.repo.commit("no workflow any more");
    farm.wait_until("it is told", |farm| !lines(farm, "does not work").is_empty());
    std::thread::sleep(Duration::from_secs(7));
    let told = lines(&farm, "does not work");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0]["next_try"].is_string() && told[0]["file"].is_string(), "{:#?}", told[0]);
    farm.workflow(&serde_json::json!({}));
    farm.repo.commit("a workflow again");
    farm.wait_until("it is told that it works", |farm| lines(farm, "works again").len() == 1);
    let log = farm.log("daemon");
    is_for_people(&log);
}

#[test]
fn a_build_is_told_from_its_start_to_its_record_or_its_failure_with_the_next_try() {
    let fails = "[build]\nfailure Script exited with non-zero exit status: 7\nexit 1\n";
    let (farm, _packer) = Farm::playing(&format!("{fails}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 3s\n");
    let _daemon = farm.daemon();
    farm.wait_until("it is quarantined", |farm| lines(farm, "quarantined").len() == 2);
    let failed = lines(&farm, "build failed");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!((&failed[0]["class"], &failed[0]["step"]), (&"step".into(), &"a".into()));
    assert!(failed[0]["hint"].as_str().unwrap().contains("reconciler logs a"), "{:#?}", failed[0]);
    assert_eq!(farm.run(&["retry", "a"]).code, 0);
    farm.wait_until("it is recorded", |farm| lines(farm, "image recorded").len() == 1);
    let recorded = &lines(&farm, "image recorded")[0];
    assert!(recorded["image"].as_str().unwrap().starts_with("ami-"), "{recorded:#?}");
    assert_eq!(lines(&farm, "build started").len(), 2);
    is_for_people(&farm.log("daemon"));
}

#[test]
fn a_standby_says_once_that_it_is_one_and_once_that_it_has_taken_over() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 3s\n");
    let mut first = farm.daemon_on("one");
    farm.wait_for_state("a", "in-sync");
    let _daemon = farm.daemon_on("two");
    farm.wait_until_said("two", "standing by");
    std::thread::sleep(Duration::from_secs(12));
    first.kill();
    farm.wait_until_said("two", "lease taken over");
    let said = farm.log("two");
    assert_eq!(said.matches("standing by").count(), 1, "{said}");
    assert_eq!(said.matches("lease taken").count(), 1, "{said}");
    is_for_people(&said);
    is_for_people(&farm.log("one"));
}
