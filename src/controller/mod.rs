//! One pass, and the loop that makes passes: read everything anew, decide, act, end.
//!
//! A change in git, a timer, a finished build or a person only wakes the loop; none of them carries
//! an argument into it. Running a pass twice does nothing the second time.

pub mod adoption;
mod build_evidence;
pub mod build_finish;
pub mod build_inputs;
pub mod build_start;
pub mod checkout;
pub mod connect;
pub mod context;
pub mod error;
pub mod fenced;
mod garbage;
pub mod host_probe;
mod journal_entries;
pub mod lease;
pub mod lease_holder;
pub mod main_loop;
pub mod observe;
mod old_build_folders;
pub mod process_identity;
pub mod process_sight;
pub mod requests;
pub mod reservations;
pub mod retag;
#[cfg(test)]
mod simulation;
pub mod state_folder;
pub mod status_file;
pub mod step_cache;
pub mod wake_file;
