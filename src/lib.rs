//! git says which machine images should exist; the reconciler builds exactly those that do not, and
//! never builds one twice.
//!
//! This package holds the edges and the loop: what reads and writes files, git, processes and the
//! network, and when. What is decided is decided in `reconciler_core`, which does none of that.
//!
//! ```text
//! git -> parameters, templates -> desired state -> records + images -> plan -> build -> record
//! ```

// Without AWS there is nobody who uses all of the rest.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

mod atomic_file;
mod checksummed_file;
pub mod clock;
pub mod config;
#[cfg(feature = "aws")]
pub mod controller;
pub mod failpoint;
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
#[cfg(feature = "aws")]
mod http;
#[cfg(feature = "aws")]
pub mod metrics;
#[cfg(feature = "aws")]
pub mod packer;
pub mod parameter_file;
pub mod secrets;
pub mod sqlite;
mod verifier;
#[cfg(feature = "aws")]
pub mod web;
