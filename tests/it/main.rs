//! The integration tests: one binary, one module per subject.

mod harness;
mod inventory;
mod source_git;
