//! What a person asks for: `retry`, `cancel`, `history`; with the daemon and without.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::fake_packer::{ENDLESS, WHOLE};
use crate::harness::farm::Farm;

const FAILS: &str = "[build]\nkey\nunkey\nfailure Script exited with non-zero exit status: 7. Allowed exit codes are: [0]\nexit 1\n";

fn history(farm: &Farm) -> Vec<Value> {
    let ran = farm.run(&["history", "--output", "json"]);
    let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
    assert_eq!(told["schema"], "reconciler.history/1");
    told["workflows"][0]["builds"].as_array().unwrap().clone()
}

#[test]
fn what_failed_is_tried_again_when_a_person_asks_and_its_history_tells_why() {
    let (farm, packer) = Farm::playing(&format!("{FAILS}[build 2]\n{WHOLE}"));
    farm.applies_in_vain();
    let status = farm.run(&["status"]);
    assert!(status.out.contains("`reconciler retry a`"), "{status:#?}");
    farm.run(&["retry", "b"]).refuses(&["no step `b`"]);

    let asked = farm.run(&["retry", "a"]);
    assert_eq!(asked.code, 0, "{asked:#?}");
    assert!(asked.out.contains("no reconciler runs"), "{}", asked.out);
    let plan = farm.run(&["plan"]);
    assert!(plan.out.contains("retry requested by uid"), "{}", plan.out);
    assert_eq!(farm.state_of("a"), "build");
    farm.run(&["retry", "a"]).refuses(&["nothing to retry", "retry requested by"]);

    farm.applies();
    assert_eq!(packer.runs("build"), 2);
    farm.run(&["retry", "a"]).refuses(&["nothing to retry", "in sync"]);

    let told = history(&farm);
    let states: Vec<_> = told.iter().map(|build| build["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["recorded", "failed"]);
    assert_eq!(told[1]["failure"]["class"], "step");
    assert_eq!(told[0]["ami_id"], farm.image("a").as_str());
    let stages = told[1]["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|one| one["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["intent", "started", "failed", "cleaned", "retry_requested"]);

    farm.step("c", None);
    farm.repo.git(&["rm", "-rq", "packer_workspaces/a"]);
    farm.repo.commit("another step");
    assert!(history(&farm).iter().all(|build| build["in_git"] == false));
    let text = farm.run(&["history", "a", "--limit", "1"]);
    assert!(text.out.contains("no longer in git"), "{}", text.out);
    assert!(!text.out.contains("exit status: 7"), "one build only: {}", text.out);
    farm.run(&["history", "c"]).refuses(&["no build of step `c`"]);
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
    let status = farm.status();
    assert_eq!(status["a"]["state"], "quarantined", "{status:#?}");
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
