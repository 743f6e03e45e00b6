//! How an observer tells that somebody is gone, and how a holder tells that it may act: by their
//! own clocks alone. Pure: time is an argument.
//!
//! # Guarantees
//!
//! A holder believes in its lease for less time than an observer waits before it takes it: the
//! holder counts from when it *asked* for its last renewal, the observer from when it *had read*
//! the version that this renewal wrote, which is later. So however slow the answers are, and
//! whatever the clocks of the two say, they never both believe.

use std::time::Duration;

use reconciler_model::clock::Moment;

/// How long a version has stood still, as far as one observer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnchangedSince {
    version: String,
    since: Moment,
}

impl UnchangedSince {
    /// Takes in a version that was asked for at `asked` and had come at `answered`. Returns how
    /// long it is sure to have stood still.
    pub fn observe(
        seen: &mut Option<Self>,
        version: &str,
        asked: Moment,
        answered: Moment,
    ) -> Duration {
        match seen {
            Some(still) if still.version == version => asked.saturating_sub(still.since),
            _ => {
                *seen = Some(Self {
                    version: version.to_owned(),
                    // Seeded bug: stillness-by-an-early-clock
                    since: answered,
                });
                Duration::ZERO
            }
        }
    }
}

/// The time for which a holder may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseDeadline {
    until: Moment,
}

impl LeaseDeadline {
    /// By a renewal that succeeded and was asked for at `asked`. A tenth of the duration is left
    /// out: two clocks do not run equally fast.
    #[must_use]
    pub fn renewed(asked: Moment, duration: Duration) -> Self {
        Self { until: asked + duration.mul_f64(0.9) }
    }

    /// Whether the holder may still act.
    #[must_use]
    pub fn holds(self, now: Moment) -> bool {
        // Seeded bug: frozen-holder-acts
        now < self.until
    }

    /// When it ends.
    #[must_use]
    pub fn until(self) -> Moment {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_version_stands_still_from_its_first_answer_to_the_last_question() {
        let mut seen = None;
        assert_eq!(UnchangedSince::observe(&mut seen, "a", at(10), at(15)), Duration::ZERO);
        assert_eq!(
            UnchangedSince::observe(&mut seen, "a", at(40), at(90)),
            Duration::from_secs(25)
        );
        assert_eq!(UnchangedSince::observe(&mut seen, "b", at(91), at(92)), Duration::ZERO);
        assert_eq!(
            UnchangedSince::observe(&mut seen, "a", at(93), at(94)),
            Duration::ZERO,
            "it has moved"
        );
        // A slow first answer: nothing is known of the time before it.
        assert_eq!(UnchangedSince::observe(&mut seen, "a", at(94), at(94)), Duration::ZERO);
    }

    #[test]
    fn a_holder_stops_before_an_observer_may_take_the_lease() {
        let duration = Duration::from_secs(30);
        for latency in [0, 1, 29, 31, 600] {
            let lease_deadline = LeaseDeadline::renewed(at(100), duration);
            // The renewal is written at 100 or later; an observer reads it at once, and again when
            // its duration is over.
            let mut seen = None;
            let read = at(100 + latency);
            UnchangedSince::observe(&mut seen, "v", at(100), read);
            let again = read + duration;
            assert!(UnchangedSince::observe(&mut seen, "v", again, again) >= duration);
            assert!(!lease_deadline.holds(again), "latency {latency}");
        }
        assert!(LeaseDeadline::renewed(at(100), duration).holds(at(126)));
        assert!(!LeaseDeadline::renewed(at(100), duration).holds(at(128)));
    }
}
