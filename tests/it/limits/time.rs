//! A build has a limit, whatever Packer thinks of it.

use serde_json::{Value, json};

use super::{moody, says, wait_for};
use crate::harness::plot::Plot;

#[test]
fn a_packer_that_hangs_or_is_deaf_is_ended_at_its_limit_and_stops_nobody_else() {
    let plot = moody::plot("timeout: 15s, grace: 1s", "max_concurrent_builds: 3\n");
    plot.step("hung", None, "hang");
    plot.step("deaf", None, "deaf");
    plot.step("sound", None, "echo 1");
    plot.repo.commit("three steps");
    let _daemon = plot.start(&["run"], "", "daemon.log");
    for id in ["hung", "deaf"] {
        wait_for(&plot, id, |step| step["state"] == "building");
    }
    wait_for(&plot, "sound", |step| step["state"] == "in-sync");
    for id in ["hung", "deaf"] {
        wait_for(&plot, id, |step| step["state"] == "quarantined" && says(step, "timeout"));
        assert!(ended(&plot, "sound") < ended(&plot, id), "{id} was waited for");
    }
    // The cause is gone: so is the trouble.
    plot.step("hung", None, "echo 1");
    plot.step("deaf", None, "echo 1");
    plot.repo.commit("no moods");
    for id in ["hung", "deaf"] {
        wait_for(&plot, id, |step| step["state"] == "in-sync");
    }
    assert_eq!(plot.broken_promises(3), [] as [String; 0]);
}

/// When the only build of a step was over.
fn ended(plot: &Plot, id: &str) -> String {
    let read = |file: std::path::PathBuf| -> Option<Value> {
        serde_json::from_slice(&std::fs::read(file).ok()?).ok()
    };
    let mut of_step = plot.builds().into_iter().filter(|build| {
        let job = read(build.join("job.json")).unwrap_or_default();
        job["folder"].as_str().is_some_and(|folder| folder.ends_with(id))
    });
    let ended = read(of_step.next().unwrap().join("exit.json")).unwrap();
    ended["ended_at"].as_str().unwrap().to_owned()
}

#[test]
fn a_supervisor_that_stands_still_is_ended_and_its_step_built() {
    let plot = moody::plot("timeout: 4s, grace: 1s", "");
    plot.step("a", None, "echo 1");
    plot.repo.commit("one step");
    let order = "supervisor.packer:before=stop@2";
    let mut first = plot.start(&["apply"], order, "first.log");
    plot.wait_for_words("first.log", "failpoint supervisor.packer:before: stop").unwrap();
    first.kill();
    plot.converge(3).unwrap();
    assert_eq!(plot.broken_promises(1), [] as [String; 0]);
    let made = plot.ask("images");
    let made = made.as_array().unwrap().iter();
    assert_eq!(made.filter(|one| one["event"] == json!("made")).count(), 1);
}
