//! What may be used up is bounded, and whoever uses it up stops nobody else: time, log, disk.

mod disk;
mod log;
mod moody;
mod pushes;
mod time;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::farm::Farm;

/// A step's entry of `status`.
fn step(farm: &Farm, id: &str) -> Value {
    let ran = farm.run(&["status", "--output", "json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap_or_default();
    let steps = report["workflows"][0]["steps"].as_array().cloned();
    let mut steps = steps.unwrap_or_default().into_iter();
    steps.find(|step| step["step_id"] == id).unwrap_or_default()
}

/// Waits until a step's entry is as wanted.
#[track_caller]
fn wait_for(farm: &Farm, id: &str, what: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let seen = step(farm, id);
        if what(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "not within a minute: {seen}\n{}", farm.said("daemon"));
        std::thread::sleep(Duration::from_millis(150));
    }
}

fn says(step: &Value, word: &str) -> bool {
    step["reason"].as_str().is_some_and(|text| text.contains(word))
}
