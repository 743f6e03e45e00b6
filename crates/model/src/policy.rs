//! What the configuration decides about when something is built, and how long it is kept.

use std::time::Duration;

/// What happens when a newer base image appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseAmiPolicy {
    /// It is reported; the recorded one stays.
    Pin,
    /// The first steps are rebuilt on it.
    Follow,
}

/// How often and when failed builds are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// First wait after a transient failure; doubles with each.
    pub initial: Duration,
    /// Longest wait after a transient failure.
    pub max: Duration,
    /// Wait after a failure that a person has to mend.
    pub person: Duration,
}

/// Which folders of builds are kept on a host after the builds are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest.
    pub keep: usize,
    /// None that is over for longer.
    pub max_age: Duration,
    /// No more than this, all in all.
    pub max_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep: 500,
            max_age: Duration::from_hours(90 * 24),
            max_bytes: 4 * 1024 * 1024 * 1024,
        }
    }
}
