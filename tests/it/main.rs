//! The integration tests: one binary, one module per subject.

#![expect(clippy::unwrap_used, reason = "a test stops where its set-up fails")]

mod aws_session;
mod bad_input;
mod builder;
mod catalog;
mod end_to_end;
mod harness;
mod inventory;
mod jinja_corpus;
mod secrets;
mod source_git;
mod source_remote;
mod trust;
mod watched_status;
