//! What the configuration decides about when something is built.

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
