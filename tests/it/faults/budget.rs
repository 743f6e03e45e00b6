//! What this program may use at once holds under load: calls of AWS in a second, and builds.

use std::time::Instant;

use serde_json::Value;

use crate::harness::emulator::Emulator;
use crate::harness::plot::{Plot, Store};

/// A plot on an emulator of its own: calls are counted over all regions.
fn plot() -> Plot {
    let emulator = std::sync::Arc::new(Emulator::start());
    let endpoint = emulator.endpoint();
    Plot::within(emulator, "us-east-1", Store::DynamoDb, endpoint)
}

#[test]
fn no_more_calls_are_made_in_a_second_than_the_budget_says() {
    let plot = plot();
    for step in ["a", "b", "c", "d"] {
        plot.step(step, None, "echo 1");
    }
    plot.configure("max_concurrent_builds: 4\n");
    std::fs::write(
        plot.folder.path().join("reconciler.yaml"),
        plot.configuration().replace("aws: {", "aws: {max_calls_per_second: 8, "),
    )
    .unwrap();
    plot.repo.commit("four steps");
    let begin = Instant::now();
    plot.converge(3).unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    // The four supervisors, which are processes of their own, give their signs of life beside the
    // budget: half as much again is allowed for them. Counted where they arrive, over ten seconds:
    // on a busy machine the calls of two seconds may arrive in one.
    let rate = plot.emulator.control_get("/_control/rate?from=reconciler&seconds=10");
    let (calls, most) = (rate["calls"].as_f64().unwrap(), rate["most"].as_f64().unwrap());
    assert!(calls > 100.0, "there is work for more than ten seconds: {rate}");
    assert!(calls <= 8.0 * 1.5 * seconds, "{calls} calls in {seconds} s");
    assert!(most <= 8.0 * 1.5 * 10.0, "{rate}");
}

/// Builds every step of every workflow, at most two at once, with images that are pending for so
/// long. How many builds there were, and how many of them at once.
fn builds(workflows: &[&str], steps: &[&str], pending_seconds: u32) -> (i32, i32) {
    let plot = plot();
    plot.emulator
        .control_post("/_control/pending", &serde_json::json!({ "seconds": pending_seconds }));
    for workflow in workflows {
        for step in steps {
            plot.step(&format!("{workflow}/{step}"), None, "echo 1");
            plot.repo.write(
                &format!("packer_workspaces/{workflow}/{step}/step_param.json"),
                format!("{{\"step_id\": \"{step}\", \"previous_step_id\": null}}"),
            );
        }
        let params =
            std::fs::read_to_string(plot.repo.path().join("packer_workspaces/workflow_param.json"))
                .unwrap();
        plot.repo.write(
            &format!("packer_workspaces/{workflow}/workflow_param.json"),
            params.replace("wf-1", workflow),
        );
    }
    plot.repo.remove("packer_workspaces/workflow_param.json");
    plot.configure("max_concurrent_builds: 2\n");
    plot.repo.commit("workflows with steps of the same ids");
    plot.converge(3).unwrap();
    let log = plot.emulator.control_get("/_control/log");
    let (mut running, mut most, mut all) = (0_i32, 0, 0);
    for call in log.as_array().unwrap() {
        match call.as_str().unwrap() {
            "ec2.CreateKeyPair" => {
                running += 1;
                all += 1;
            }
            "ec2.DeleteKeyPair" => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    assert_eq!(plot.ask("resources")["key_pairs"], Value::Array(vec![]));
    (all, most)
}

#[test]
fn no_more_builds_run_at_once_than_allowed_over_all_workflows() {
    // Images that are pending for a moment let two builds overlap on a busy machine too.
    let (all, most) = builds(&["one", "two", "three"], &["a", "b", "c"], 2);
    assert_eq!(all, 9, "every step is built");
    assert_eq!(most, 2);
}

#[test]
fn a_step_does_not_wait_for_one_of_the_same_id_in_another_workflow() {
    assert_eq!(builds(&["one", "two"], &["a"], 6), (2, 2));
}
