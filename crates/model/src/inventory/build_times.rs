//! How long Packer took for the newest images of a step: what the time of the next build is told
//! from. Pure.
//!
//! They stand in the record, so that a plan costs no more to read.

use std::fmt;
use std::time::Duration;

/// How many are kept.
const MOST: usize = 10;

/// The times of the newest builds of a step that made an image, newest last, at most ten. Kept as
/// the text that the adapters store: most records are read by nobody who asks for times.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BuildTimes(Box<str>);

impl BuildTimes {
    /// Takes the text that [`BuildTimes::text`] gave. What is no number of seconds in it is left
    /// out: nobody decides by times.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// What is to be stored: seconds, separated by spaces.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// These and the time of one more build, in seconds. A build of no second made no image: it is
    /// not counted.
    #[must_use]
    pub fn with(&self, seconds: u64) -> Self {
        let mut times: Vec<_> = self.seconds().collect();
        times.extend(Some(seconds).filter(|seconds| *seconds > 0));
        let newest = times.split_off(times.len().saturating_sub(MOST));
        let texts: Vec<_> = newest.iter().map(u64::to_string).collect();
        Self(texts.join(" ").into())
    }

    /// The time that half of the builds do not exceed; none if there was no build.
    #[must_use]
    pub fn usual(&self) -> Option<Duration> {
        let sorted = self.sorted();
        let median = sorted.get(sorted.len().saturating_sub(1) / 2)?;
        Some(Duration::from_secs(*median))
    }

    /// The time of the slow one of ten: nine in ten builds do not exceed it. With fewer than ten
    /// known, the longest.
    #[must_use]
    pub fn slow(&self) -> Option<Duration> {
        let sorted = self.sorted();
        let slow = sorted.get((sorted.len() * 9).div_ceil(MOST).saturating_sub(1))?;
        Some(Duration::from_secs(*slow))
    }

    fn seconds(&self) -> impl Iterator<Item = u64> {
        self.0.split(' ').filter_map(|text| text.parse().ok())
    }

    fn sorted(&self) -> Vec<u64> {
        let mut times: Vec<_> = self.seconds().collect();
        times.sort_unstable();
        times
    }
}

impl fmt::Debug for BuildTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(all: &[u64]) -> BuildTimes {
        all.iter().fold(BuildTimes::default(), |times, seconds| times.with(*seconds))
    }

    fn usual_and_slow(all: &[u64]) -> [Option<u64>; 2] {
        let times = times(all);
        [times.usual(), times.slow()].map(|time| time.map(|time| time.as_secs()))
    }

    #[test]
    fn the_usual_time_is_the_median_and_the_slow_one_is_that_of_one_in_ten() {
        assert_eq!(usual_and_slow(&[]), [None, None]);
        assert_eq!(usual_and_slow(&[60]), [Some(60), Some(60)]);
        assert_eq!(usual_and_slow(&[60, 10]), [Some(10), Some(60)]);
        assert_eq!(usual_and_slow(&[60, 10, 20]), [Some(20), Some(60)]);
        assert_eq!(usual_and_slow(&[10, 9, 8, 7, 6, 5, 4, 3, 2, 100]), [Some(6), Some(10)]);
    }

    #[test]
    fn the_newest_ten_are_kept_and_come_back_word_for_word() {
        let all: Vec<_> = (1..=12).collect();
        let kept = times(&all);
        assert_eq!(kept.text(), "3 4 5 6 7 8 9 10 11 12");
        assert_eq!(BuildTimes::stored(kept.text()), kept);
        assert_eq!(kept.with(0), kept, "an adoption takes no time");
        assert_eq!(BuildTimes::stored("x 60 -1").usual(), Some(Duration::from_mins(1)));
    }
}
