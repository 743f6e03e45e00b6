//! The integration tests: one binary, one module per subject.

#![expect(clippy::unwrap_used, reason = "a test stops where its set-up fails")]

mod aws_session;
mod bad_input;
mod builder;
mod catalog;
mod configuration;
mod crash_matrix;
mod documents;
mod end_to_end;
mod faults;
mod harness;
mod inventory;
mod jinja_corpus;
mod kill_loop;
mod limits;
mod packer_install;
mod python_json;
mod secrets;
mod small_inputs;
mod source_check;
mod source_git;
mod source_mirror;
mod source_remote;
mod storm;
mod trust;
mod watched_status;
mod web;
