//! When a failed build is tried again. Pure: the clock and the dice are arguments.

use std::time::Duration;

use jiff::Timestamp;

use crate::build::verdict::Fault;
use reconciler_model::inventory::journal::FailureClass;
use reconciler_model::policy::RetryConfig;

/// The time of the next try; none: not by itself.
///
/// `attempt` counts tries at the same fingerprint before this one; `jitter` from 0 to 1 spreads
/// retries over the last half of the wait, so that a fleet does not come back at once.
#[must_use]
pub fn retry_at(
    class: FailureClass,
    attempt: u32,
    policy: &RetryConfig,
    now: Timestamp,
    jitter: f64,
) -> Option<Timestamp> {
    let wait = match class {
        FailureClass::Transient => policy
            .initial
            // Seeded bug: no-backoff
            .saturating_mul(1 << attempt.min(16))
            .min(policy.max),
        // Seeded bug: quarantine-ignored
        FailureClass::Person => policy.person,
        FailureClass::Step | FailureClass::Cancelled => return None,
    };
    let spread = wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    let wait = if class == FailureClass::Transient { spread } else { wait };
    Some(now + wait.max(Duration::from_secs(1)))
}

/// The time of the next try after the reconciler itself ended a build, because git said something
/// else or it was shut down: that is no fault of the step, which is built again as soon as it is
/// wanted. Should it happen again and again, it waits as after a transient failure.
#[must_use]
pub fn after_own_cancel(
    attempt: u32,
    policy: &RetryConfig,
    now: Timestamp,
    jitter: f64,
) -> Option<Timestamp> {
    match attempt.checked_sub(1) {
        None => Some(now),
        Some(before) => retry_at(FailureClass::Transient, before, policy, now, jitter),
    }
}

/// What becomes of a build that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// What it counts as.
    pub class: FailureClass,
    /// Why, for people.
    pub cause: String,
    /// The time of the next try; none: not by itself.
    pub retry_at: Option<Timestamp>,
}

/// What a failure comes to. One whose step would be built again by itself, and that a person has
/// asked to end (`cancelled_by`), is cancelled whatever came first: the request or the failure.
#[must_use]
pub fn consequence(
    fault: &Fault,
    cancelled_by: Option<&str>,
    attempt: u32,
    policy: &RetryConfig,
    (now, jitter): (Timestamp, f64),
) -> Consequence {
    let (class, cause) = (in_view_of(attempt, fault), fault.cause.as_str());
    let (class, cause, retry_at) = match (class, cancelled_by) {
        // Seeded bug: cancelled-is-tried-again
        (FailureClass::Cancelled, Some(by)) => (class, format!("cancelled by {by}"), None),
        // Seeded bug: cancelled-too-late-is-built-again
        (FailureClass::Transient | FailureClass::Person, Some(by)) => (
            FailureClass::Cancelled,
            format!("cancelled by {by}; it had ended by itself: {cause}"),
            None,
        ),
        (FailureClass::Cancelled, None) => (
            class,
            "ended by the reconciler: git said something else, or it was shut down".to_owned(),
            after_own_cancel(attempt, policy, now, jitter),
        ),
        _ => (class, cause.to_owned(), retry_at(class, attempt, policy, now, jitter)),
    };
    Consequence { class, cause, retry_at }
}

/// So many tries may end in a failure that could be the network's as well as the step's own.
const DOUBTFUL_TRIES: u32 = 3;

/// What a failure counts as, in view of the tries before it: a machine that cannot be reached, or
/// is lost on the way, is tried again a few times; after that it is the step's own doing (a wrong
/// user name, a closed port, a reboot), and each try costs an instance. What nobody knows of AWS is
/// a person's turn then.
#[must_use]
pub fn in_view_of(attempt: u32, fault: &Fault) -> FailureClass {
    match fault.at_last {
        Some(at_last) if attempt + 1 >= DOUBTFUL_TRIES => at_last,
        _ => fault.class,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryConfig = RetryConfig {
        initial: Duration::from_secs(30),
        max: Duration::from_mins(30),
        person: Duration::from_hours(1),
    };

    fn wait(class: FailureClass, attempt: u32) -> Option<i64> {
        let now = Timestamp::UNIX_EPOCH;
        retry_at(class, attempt, &POLICY, now, 1.0).map(|at| at.duration_since(now).as_secs())
    }

    #[test]
    fn transient_failures_wait_twice_as_long_each_time_up_to_a_cap() {
        assert_eq!(
            [0, 1, 2, 40].map(|n| wait(FailureClass::Transient, n)),
            [Some(30), Some(60), Some(120), Some(1800)]
        );
    }

    #[test]
    fn a_build_that_the_reconciler_ended_is_wanted_again_at_once_but_not_in_a_loop() {
        let at = |attempt| after_own_cancel(attempt, &POLICY, Timestamp::UNIX_EPOCH, 1.0);
        let waits = [0, 1, 2, 40].map(|attempt| at(attempt).map(Timestamp::as_second));
        assert_eq!(waits, [Some(0), Some(30), Some(60), Some(1800)]);
    }

    #[test]
    fn a_machine_that_is_never_reached_is_the_steps_own_doing_in_the_end() {
        let mut fault = Fault::new(FailureClass::Transient, "it passes".to_owned());
        assert_eq!(in_view_of(9, &fault), FailureClass::Transient);
        fault.at_last = Some(FailureClass::Step);
        assert_eq!(
            [0, 1, 2, 3].map(|attempt| in_view_of(attempt, &fault)),
            [
                FailureClass::Transient,
                FailureClass::Transient,
                FailureClass::Step,
                FailureClass::Step
            ]
        );
    }

    #[test]
    fn what_a_person_asked_to_end_is_not_tried_again_by_itself_whatever_ended_it() {
        let of = |class, by| {
            let now = (Timestamp::UNIX_EPOCH, 1.0);
            let fault = Fault::new(class, "no capacity".to_owned());
            consequence(&fault, by, 0, &POLICY, now)
        };
        for class in [FailureClass::Transient, FailureClass::Person] {
            let asked = of(class, Some("ann"));
            assert_eq!(asked.class, FailureClass::Cancelled);
            assert_eq!(asked.retry_at, None, "{class:?}");
            assert!(
                asked.cause.contains("cancelled by ann") && asked.cause.contains("no capacity")
            );
            assert_eq!(of(class, None).class, class);
            assert!(of(class, None).retry_at.is_some());
        }
        let step = of(FailureClass::Step, Some("ann"));
        assert_eq!(step.class, FailureClass::Step, "it tells more");
        let cancelled = of(FailureClass::Cancelled, Some("ann"));
        assert_eq!(cancelled.cause, "cancelled by ann");
        assert!(of(FailureClass::Cancelled, None).retry_at.is_some());
    }

    proptest! {
        /// Whatever the outcomes: the starts of one fingerprint in a window stay under what the
        /// policy says.
        #[test]
        fn starts_in_a_window_stay_under_the_policy(
            outcomes in prop::collection::vec((0_u8..4, 0.0..1.0_f64, 0_i64..3600), 1..200),
        ) {
            let (mut now, mut starts) = (Timestamp::UNIX_EPOCH, Vec::new());
            for (attempt, (outcome, jitter, took)) in (0..).zip(outcomes) {
                starts.push(now.as_second());
                now += Duration::from_secs(took.unsigned_abs());
                let next = match outcome {
                    0 => retry_at(FailureClass::Transient, attempt, &POLICY, now, jitter),
                    1 => retry_at(FailureClass::Person, attempt, &POLICY, now, jitter),
                    2 => after_own_cancel(attempt, &POLICY, now, jitter),
                    // Nothing more happens by itself.
                    _ => retry_at(FailureClass::Step, attempt, &POLICY, now, jitter),
                };
                let Some(next) = next else { break };
                prop_assert!(next >= now);
                now = next;
            }
            // 30 s, doubled up to 30 min, each at least half: eight tries until the cap, then one
            // in a quarter of an hour at most.
            for (index, start) in starts.iter().enumerate() {
                let in_hour = starts[index..].iter().filter(|at| **at < start + 3600).count();
                prop_assert!(in_hour <= 8 + 4, "{in_hour} starts in an hour");
            }
        }
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        assert_eq!(wait(FailureClass::Step, 0), None);
        assert_eq!(wait(FailureClass::Cancelled, 0), None);
        assert_eq!(wait(FailureClass::Person, 5), Some(3600));
    }
}
