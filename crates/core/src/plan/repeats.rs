//! When something that was built is built again though nothing changed. Pure: the clock is an
//! argument.
//!
//! An image that vanishes again and again, a fingerprint that comes out differently each time, a
//! record that does not stay: building does not mend them, and each build costs an hour and money.
//! The first repetition is free, for an image may be deleted; after that they come more and more
//! rarely, whatever happens and through every restart, for the journal is what counts. A person's
//! `retry`, a commit or a rotated secret begins anew.
//!
//! What failed is not decided here: a failure carries the time of its next try.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use reconciler_model::clock;
use reconciler_model::components::Fingerprint;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, Revision};
use reconciler_model::inventory::journal::{
    Attempt, BuildEvent, Failure, FailureClass, Progress, newest_first,
};

/// Builds that ended longer ago do not count.
const MEMORY: Duration = Duration::from_hours(24 * 7);

/// Builds that began longer ago cannot count: none takes three days.
pub const HORIZON: Duration = Duration::from_hours(24 * 10);

/// The longest wait between two repetitions.
const LONGEST: Duration = Duration::from_hours(24);

/// A build that is over, as far as it counts for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// What was built.
    pub fingerprint: Fingerprint,
    /// From which commit.
    pub revision: Revision,
    /// On which image.
    pub source_ami: AmiId,
    /// With which secrets, by their digests.
    pub secrets: BTreeMap<String, Digest>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it ended in a record.
    pub recorded: bool,
}

/// What is to be built now.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The desired state.
    pub fingerprint: &'a Fingerprint,
    /// The commit.
    pub revision: &'a Revision,
    /// The image that it starts from.
    pub source_ami: &'a AmiId,
    /// The secrets that count for it, by their digests.
    pub secrets: &'a BTreeMap<String, Digest>,
}

/// Whether what was written down with this time was written by a clock that has been set back
/// since. What waits for such a time would wait as long as the clock was wrong.
#[must_use]
pub fn is_of_a_wrong_clock(at: Timestamp, now: Timestamp) -> bool {
    at > now.saturating_add(clock::OF_TWO_HOSTS).unwrap_or(Timestamp::MAX)
}

/// The builds of a step that are over, newest first, down to the last one that a person had tried
/// again. `events` as the port gives them: newest build first, in a build newest event first.
#[must_use]
pub fn past(events: &[BuildEvent]) -> Vec<Past> {
    let mut past = Vec::new();
    for build in newest_first(events) {
        let mut oldest_first = build.iter().rev();
        let Some(mut attempt) = oldest_first.next().and_then(Attempt::begin) else {
            continue;
        };
        oldest_first.for_each(|event| attempt.apply(event));
        if attempt.retry_requested.is_some() {
            break;
        }
        let recorded = match attempt.progress {
            Progress::Recorded { .. } => true,
            Progress::Failed(_) => false,
            _ => continue,
        };
        past.push(Past {
            fingerprint: attempt.intent.fingerprint,
            revision: attempt.intent.revision,
            source_ami: attempt.intent.source_ami,
            secrets: attempt
                .intent
                .promise
                .map(|promise| promise.components.secrets)
                .unwrap_or_default(),
            ended_at: attempt.updated_at,
            recorded,
        });
    }
    past
}

/// Why a step is not built again yet, and until when; none: it may be built. `unit` is the wait
/// before the second repetition; it doubles with each.
#[must_use]
pub fn held(past: &[Past], wanted: Wanted<'_>, unit: Duration, now: Timestamp) -> Option<Failure> {
    let counts = |build: &&Past| {
        let same = build.fingerprint == *wanted.fingerprint;
        let alike = build.revision == *wanted.revision
            && build.source_ami == *wanted.source_ami
            && build.secrets == *wanted.secrets;
        let remembered = now.duration_since(build.ended_at).unsigned_abs() < MEMORY;
        remembered && if same { build.recorded } else { alike }
    };
    // Seeded bug: repeated-for-ever
    let times = u32::try_from(past.iter().filter(counts).count()).unwrap_or(u32::MAX);
    // One that ended in the future was written down by a clock that was wrong: how long ago that
    // was, nobody knows.
    let ended = past.iter().filter(counts).map(|build| build.ended_at);
    let ended = ended.filter(|at| !is_of_a_wrong_clock(*at, now)).max()?;
    let wait = unit.saturating_mul(1 << times.checked_sub(2)?.min(16)).min(LONGEST.max(unit));
    let until = ended + wait;
    (until > now).then(|| Failure {
        class: FailureClass::Person,
        cause: format!(
            "built {times} times from the same commit and source image, and it differs again: find out what removes the image or changes \
             the inputs"
        ),
        details: String::new(),
        log: None,
        phases: Vec::new(),
        changed: String::new(),
        retry_at: Some(until),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIT: Duration = Duration::from_hours(1);

    fn fingerprint(n: u8) -> Fingerprint {
        Digest::of(&[n]).into()
    }

    fn build(n: u8, ended: i64, recorded: bool) -> Past {
        Past {
            fingerprint: fingerprint(n),
            revision: Revision::new("r"),
            source_ami: AmiId::new("ami-0"),
            secrets: BTreeMap::new(),
            ended_at: Timestamp::from_second(ended).unwrap(),
            recorded,
        }
    }

    fn until(past: &[Past], n: u8, revision: &str, now: i64) -> Option<i64> {
        with_secrets(past, n, revision, &BTreeMap::new(), now)
    }

    fn with_secrets(
        past: &[Past],
        n: u8,
        revision: &str,
        secrets: &BTreeMap<String, Digest>,
        now: i64,
    ) -> Option<i64> {
        let wanted = Wanted {
            fingerprint: &fingerprint(n),
            revision: &Revision::new(revision),
            source_ami: &AmiId::new("ami-0"),
            secrets,
        };
        let failure = held(past, wanted, UNIT, Timestamp::from_second(now).unwrap())?;
        Some(failure.retry_at?.as_second())
    }

    #[test]
    fn an_image_that_vanished_once_is_built_again_at_once_and_one_that_vanishes_again_waits() {
        assert_eq!(until(&[build(1, 0, true)], 1, "r", 1), None);
        let twice = [build(1, 100, true), build(1, 0, true)];
        assert_eq!(until(&twice, 1, "r", 101), Some(100 + 3600));
        assert_eq!(until(&twice, 1, "r", 3700), None);
        let thrice = [build(1, 4000, true), twice[0].clone(), twice[1].clone()];
        assert_eq!(until(&thrice, 1, "r", 4001), Some(4000 + 7200));
    }

    #[test]
    fn a_wait_is_never_as_long_as_the_clock_was_wrong() {
        // Written while the clock was ten hours ahead.
        let ahead = 36_000;
        let wrong = [build(1, ahead + 100, true), build(1, ahead, true)];
        assert_eq!(until(&wrong, 1, "r", 200), None, "nobody knows when");
        // What is built then is written by the right clock, and the next one waits; those before
        // count.
        let right = [wrong[0].clone(), wrong[1].clone(), build(1, 300, true)];
        assert_eq!(until(&right, 1, "r", 301), Some(300 + 7200));
    }

    #[test]
    fn a_fingerprint_that_comes_out_differently_each_time_is_not_built_in_a_loop() {
        let past = [build(2, 100, true), build(1, 0, false)];
        assert!(until(&past, 3, "r", 101).is_some());
        assert_eq!(until(&past, 3, "another commit", 101), None);
    }

    #[test]
    fn a_rotated_secret_is_a_change_however_often_and_an_unchanged_one_is_none() {
        let value = |n: u8| BTreeMap::from([("db".to_owned(), Digest::of(&[n]))]);
        let with = |n: u8, ended: i64| Past { secrets: value(n), ..build(n, ended, true) };
        let rotated = [with(3, 200), with(2, 100), with(1, 0)];
        assert_eq!(with_secrets(&rotated, 4, "r", &value(4), 201), None);
        // Fingerprints that differ under one value are what this is here for.
        let unrotated = [Past { secrets: value(1), ..build(2, 100, true) }, with(1, 0)];
        assert!(with_secrets(&unrotated, 3, "r", &value(1), 101).is_some());
    }

    #[test]
    fn failures_of_the_same_fingerprint_have_their_own_rule() {
        let past = [build(1, 100, false), build(1, 0, false)];
        assert_eq!(until(&past, 1, "r", 101), None);
    }

    proptest! {
        /// Whatever fingerprints come out and however the builds end: of the repetitions of one
        /// commit on one image there are few.
        #[test]
        fn repetitions_in_a_day_stay_few(outcomes in prop::collection::vec((0_u8..4, any::<bool>(), 1_i64..4000), 1..300)) {
            let (mut past, mut now, mut starts) = (Vec::<Past>::new(), 0, Vec::new());
            for (n, recorded, took) in outcomes {
                // Failures of the same fingerprint wait by their own rule, which is at least this.
                let failed = past.first().filter(|last| !last.recorded && last.fingerprint == fingerprint(n));
                now = failed.map_or(now, |last| now.max(last.ended_at.as_second() + 900));
                if let Some(at) = until(&past, n, "r", now) {
                    now = at;
                }
                starts.push(now);
                now += took;
                past.insert(0, build(n, now, recorded));
            }
            for (index, start) in starts.iter().enumerate() {
                let same_day = starts[index..].iter().filter(|at| **at < start + 86_400).count();
                prop_assert!(same_day <= 100, "{same_day} starts in a day");
            }
            let repetitions = past.iter().filter(|one| one.recorded).count();
            let days = usize::try_from(now / 86_400).unwrap() + 1;
            prop_assert!(repetitions <= 8 + 8 * days, "{repetitions} in {days} days");
        }
    }
}
