//! What Packer says of a build, and what an ended build means.

mod cause;
mod failure_patterns;
pub mod output;
pub mod verdict;
