//! How far a running build is, judged by how long the last one took: in words, and as a small bar.
//! Pure.

use jiff::{SignedDuration, Timestamp};

use crate::plan::decision::Decision;
use crate::plan::planner::PlannedStep;
use crate::plan::sentences::duration_words;

/// Where a text will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// On a terminal: a bar says more than words.
    Terminal,
    /// In a file, a pipe, the log of a CI.
    Plain,
}

/// How many characters a bar has.
const WIDTH: i64 = 12;

/// A running build: how long it runs, and how long the last one took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So long it runs.
    pub elapsed: SignedDuration,
    /// So long the last one took, if there is one.
    pub last: Option<SignedDuration>,
}

impl Progress {
    /// Of a step that is building.
    #[must_use]
    pub fn of(step: &PlannedStep, now: Timestamp) -> Option<Self> {
        let Decision::Building(building) = &step.decision else {
            return None;
        };
        let built = step.record.as_ref()?.built.as_ref();
        Some(Self {
            elapsed: now.duration_since(building.since),
            last: built.and_then(|built| seconds(built.build_seconds)),
        })
    }

    /// `[=====>      ] 12m of 41m`; none where nothing is known of an earlier build.
    #[must_use]
    pub fn bar(&self) -> Option<String> {
        let last = self.last?;
        let (elapsed, whole) = (self.elapsed.as_secs().max(0), last.as_secs().max(1));
        let done = (elapsed.saturating_mul(WIDTH) / whole).min(WIDTH);
        let bar: String = (0..WIDTH)
            .map(|at| match at.cmp(&done) {
                std::cmp::Ordering::Less => '=',
                std::cmp::Ordering::Equal => '>',
                std::cmp::Ordering::Greater => ' ',
            })
            .collect();
        Some(format!("[{bar}] {} of {}", duration_words(self.elapsed), duration_words(last)))
    }
}

/// A time that was measured; a build that took no second tells nothing.
#[must_use]
pub fn seconds(seconds: u64) -> Option<SignedDuration> {
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(elapsed: i64, last: u64) -> Option<String> {
        let elapsed = SignedDuration::from_secs(elapsed);
        let last = seconds(last);
        Progress { elapsed, last }.bar()
    }

    #[test]
    fn a_bar_fills_up_with_the_time_of_the_last_build_and_no_further() {
        assert_eq!(bar(0, 2460).unwrap(), "[>           ] 0s of 41m");
        assert_eq!(bar(1230, 2460).unwrap(), "[======>     ] 20m of 41m");
        assert_eq!(bar(2460, 2460).unwrap(), "[============] 41m of 41m");
        assert_eq!(bar(9000, 2460).unwrap(), "[============] 2h30m of 41m");
        assert_eq!(bar(-3, 1).unwrap(), "[>           ] 0s of 1s");
        assert_eq!(bar(9, 0), None);
    }
}
