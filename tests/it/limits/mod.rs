//! What may be used up is bounded, and whoever uses it up stops nobody else: time, log, disk.

mod disk;
mod log;
mod moody;
mod pushes;
mod time;

use std::time::{Duration, Instant};

use reconciler_core::status::report::StepReport;

use crate::harness::farm::Farm;

/// Waits until a step's entry of `status` is as wanted; it may not be there yet.
#[track_caller]
fn wait_for(farm: &Farm, id: &str, what: impl Fn(&StepReport) -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let status = farm.try_status();
        if status.as_ref().is_ok_and(|status| status.get(id).is_some_and(&what)) {
            return;
        }
        assert!(Instant::now() < end, "not within a minute: {status:?}\n{}", farm.said("daemon"));
        std::thread::sleep(Duration::from_millis(150));
    }
}
