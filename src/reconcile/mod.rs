//! One pass, and the loop that makes passes: read everything anew, decide, act, end.
//!
//! A change in git, a timer, a finished build or a person only wakes the loop; none of them carries an argument into it. Running a
//! pass twice does nothing the second time.

pub mod cache;
pub mod checkout;
pub mod driver;
mod entries;
pub mod error;
pub mod failure;
pub mod finish;
pub mod lease;
pub mod look;
pub mod ports;
pub mod request;
pub mod start;
pub mod update;
