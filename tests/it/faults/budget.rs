//! What this program may use at once holds under load: calls of AWS in a second, and builds.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::farm::{Farm, HASTY, Store};
use crate::harness::region::Region;

/// A farm on an emulator of its own: calls are counted over all regions.
fn farm() -> Farm {
    Farm::hasty_in(Region::of_its_own(), Store::DynamoDb)
}

#[test]
fn no_more_calls_are_made_in_a_second_than_the_budget_says() {
    let farm = farm();
    for step in ["a", "b", "c", "d"] {
        farm.step(step, None);
    }
    farm.configure(&format!("{HASTY}max_concurrent_builds: 4\n"));
    farm.reconfigure(|text| text.replace("aws:\n", "aws:\n  max_calls_per_second: 8\n"));
    farm.repo.commit("four steps");
    let begin = Instant::now();
    farm.converge(3).unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    // The four supervisors, which are processes of their own, give their signs of life beside the
    // budget: half as much again is allowed for them. Counted where they arrive, over ten seconds:
    // on a busy machine the calls of two seconds may arrive in one.
    let rate = farm.emulator().control_get("/_control/rate?from=reconciler&seconds=10");
    let (calls, most) = (rate["calls"].as_f64().unwrap(), rate["most"].as_f64().unwrap());
    assert!(calls > 100.0, "there is work for more than ten seconds: {rate}");
    assert!(calls <= 8.0 * 1.5 * seconds, "{calls} calls in {seconds} s");
    assert!(most <= 8.0 * 1.5 * 10.0, "{rate}");
}

/// Builds every step of every workflow, at most two at once, with images that are pending for so
/// long. How many builds there were, and how many of them at once.
fn builds(workflows: &[&str], steps: &[&str], pending_seconds: u32) -> (i32, i32) {
    let farm = farm();
    farm.images_are_pending_for(pending_seconds);
    for workflow in workflows {
        for step in steps {
            let folder = format!("{workflow}/{step}");
            farm.step(&folder, None);
            farm.step_params(&folder, None, &json!({ "step_id": step }));
        }
        farm.workflow_in(
            &format!("packer_workspaces/{workflow}"),
            &json!({ "workflow_id": workflow }),
        );
    }
    farm.repo.remove("packer_workspaces/workflow_param.json");
    farm.configure(&format!("{HASTY}max_concurrent_builds: 2\n"));
    farm.repo.commit("workflows with steps of the same ids");
    farm.converge(3).unwrap();
    let log = farm.region.ask("log");
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
    assert_eq!(farm.resources("key_pairs"), [] as [Value; 0]);
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
