//! When the loop wakes by itself. Pure: the clock is an argument.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::main_loop::PassReport;
use crate::controller::main_loop::RunOptions;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::Decision;
use reconciler_model::inventory::journal::{Attempt, FailureClass, Progress};

/// The shortest pause while something is due: a hot loop is worse than a second.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest pause while another reconciler acts.
const SOON: Duration = Duration::from_secs(5);

/// So many passes may follow each other at once.
const AT_ONCE: u32 = 8;

/// A command that ends gives up after so many tries at one fingerprint.
pub(super) const MOST_TRIES: u32 = 4;

/// What the loop waits for beside its wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Whether builds are under way.
    pub(super) building: bool,
    /// How many passes in a row did something without a build that goes on.
    pub(super) busy: u32,
    /// Whether another reconciler holds a lease.
    pub(super) standby: bool,
    /// How often a pass is made when nothing happens.
    pub(super) interval: Duration,
}

/// How long the loop sleeps after a pass unless something wakes it.
pub(super) fn pause(report: &PassReport, waiting: Waiting, now: Timestamp) -> Duration {
    // What a pass did may let the next one do more. Should that never end, it is no hot loop.
    if report.acted && !waiting.building {
        let doubled = 1_u64 << waiting.busy.saturating_sub(AT_ONCE).min(16);
        return match waiting.busy {
            0..=AT_ONCE => Duration::ZERO,
            _ => Duration::from_secs(doubled).min(waiting.interval.max(SHORTEST)),
        };
    }
    let soon = if waiting.standby { SOON } else { waiting.interval };
    match report.next_try {
        Some(at) if at <= now => SHORTEST,
        Some(at) => at.duration_since(now).unsigned_abs().min(soon).max(SHORTEST),
        None => soon,
    }
}

/// When a step of the plan is to be tried again; none: nothing waits for a time.
pub(super) fn next_try(plan: &Plan, options: &RunOptions, tries: u32) -> Option<Timestamp> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.decision {
            // A command that ends waits for what mends itself, not for a person.
            Decision::BackingOff { until, failure, .. }
                if !options.once || failure.class == FailureClass::Transient =>
            {
                Some(*until)
            }
            _ => None,
        })
        .filter(|_| !options.once || tries < MOST_TRIES)
        .min()
}

/// How often the most tried of the failed attempts was tried before.
pub(super) fn most_tries<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> u32 {
    attempts
        .filter(|attempt| matches!(attempt.progress, Progress::Failed(_)))
        .map(|attempt| attempt.intent.attempt)
        .max()
        .unwrap_or(0)
}

/// The earlier of two times.
pub(super) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Waiting =
        Waiting { building: false, busy: 1, standby: false, interval: Duration::from_mins(5) };

    fn after(report: &PassReport, waiting: Waiting) -> Duration {
        pause(report, waiting, Timestamp::UNIX_EPOCH)
    }

    fn trying(seconds: i64) -> PassReport {
        PassReport {
            next_try: Some(Timestamp::from_second(seconds).unwrap()),
            ..PassReport::default()
        }
    }

    #[test]
    fn an_idle_loop_sleeps_for_its_interval_and_one_that_waits_for_another_looks_again_soon() {
        assert_eq!(after(&PassReport::default(), IDLE), IDLE.interval);
        let standby = Waiting { standby: true, ..IDLE };
        assert_eq!(after(&PassReport::default(), standby), SOON);
    }

    #[test]
    fn what_was_done_is_looked_at_at_once_unless_a_build_will_wake_the_loop() {
        let acted = PassReport { acted: true, ..PassReport::default() };
        assert_eq!(after(&acted, IDLE), Duration::ZERO);
        let building = Waiting { building: true, ..IDLE };
        assert_eq!(after(&acted, building), IDLE.interval);
        let pauses = [8, 9, 10, 40].map(|busy| after(&acted, Waiting { busy, ..IDLE }).as_secs());
        assert_eq!(pauses, [0, 2, 4, 300], "work that never ends slows down");
    }

    #[test]
    fn the_next_try_is_waited_for_but_never_in_a_hot_loop() {
        assert_eq!(after(&trying(40), IDLE), Duration::from_secs(40));
        assert_eq!(after(&trying(4000), IDLE), IDLE.interval);
        assert_eq!(after(&trying(-10), IDLE), SHORTEST);
        let hasty = Waiting { interval: Duration::ZERO, ..IDLE };
        assert_eq!(after(&trying(40), hasty), SHORTEST);
    }
}
