//! When a failed build is tried again. Pure: the clock and the dice are arguments.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::RetryConfig;
use crate::inventory::journal::FailureClass;

/// The time of the next try; none: not by itself.
///
/// `attempt` counts tries at the same fingerprint before this one; `jitter` from 0 to 1 spreads retries over the last half of
/// the wait, so that a fleet does not come back at once.
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
            .saturating_mul(1 << attempt.min(16))
            .min(policy.max),
        FailureClass::Person => policy.person,
        FailureClass::Step | FailureClass::Cancelled => return None,
    };
    let spread = wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    let wait = if class == FailureClass::Transient {
        spread
    } else {
        wait
    };
    Some(now + wait.max(Duration::from_secs(1)))
}

#[cfg(test)]
mod tests {
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
    fn what_would_fail_again_is_not_tried_again() {
        assert_eq!(wait(FailureClass::Step, 0), None);
        assert_eq!(wait(FailureClass::Cancelled, 0), None);
        assert_eq!(wait(FailureClass::Person, 5), Some(3600));
    }
}
