//! Points in time that nobody sets.

use std::time::Duration;

/// A point in time: how long after boot it is. It says nothing between hosts.
pub type Moment = Duration;
