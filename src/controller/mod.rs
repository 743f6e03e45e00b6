//! One pass, and the loop that makes passes: read everything anew, decide, act, end.
//!
//! A change in git, a timer, a finished build or a person only wakes the loop; none of them carries
//! an argument into it. Running a pass twice does nothing the second time.

pub mod board;
pub mod checkout;
pub mod driver;
mod entries;
pub mod error;
mod evidence;
pub mod finish;
pub mod guard;
pub mod holder;
pub mod host;
mod housekeeping;
pub mod lease;
pub mod look;
pub mod ports;
pub mod probe;
pub mod request;
pub mod sight;
#[cfg(test)]
mod simulation;
pub mod start;
pub mod state_folder;
pub mod step_cache;
mod sweep;
pub mod update;
