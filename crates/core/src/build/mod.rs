//! What an ended build means.

mod cause;
mod failure_patterns;
pub mod verdict;
