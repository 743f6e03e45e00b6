//! What is built, what Packer says of a build, and what an ended build means.

mod cause;
mod failure_patterns;
pub mod instance;
pub mod job;
pub mod output;
pub mod phase_comparison;
pub mod phases;
pub mod verdict;
