//! The time since boot, which goes on while a process is stopped and while the machine sleeps, and
//! which nobody sets.
//!
//! Leases and signs of life are judged by it. It says nothing between hosts.

use std::time::Duration;

use reconciler_model::clock::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Now. All processes of a host see the same.
#[must_use]
pub fn now() -> Moment {
    let since = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(since.tv_sec).unwrap_or(0),
        u32::try_from(since.tv_nsec).unwrap_or(0),
    )
}
