//! What an ended build means.

mod blame;
mod cause;
pub mod verdict;
