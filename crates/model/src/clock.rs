//! Points in time that nobody sets.

use std::time::Duration;

use jiff::SignedDuration;

/// A point in time: how long after boot it is. It says nothing between hosts.
pub type Moment = Duration;

/// How far the clock of a host may be from AWS's: calls of one that is further off are refused.
pub const OF_AWS: SignedDuration = SignedDuration::from_mins(5);

/// How far the clocks of two hosts may be apart, each of which AWS listens to.
pub const OF_TWO_HOSTS: SignedDuration = SignedDuration::from_mins(10);
