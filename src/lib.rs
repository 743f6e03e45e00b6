//! git says which machine images should exist; the reconciler builds exactly those that do not, and
//! never builds one twice.
//!
//! The modules stand in the order in which data flows through one pass:
//!
//! ```text
//! source -> workflow -> desired -> inventory + catalog -> plan -> build -> inventory
//!                                                          |
//!                                                          +-> status
//! ```

mod checksummed_file;
pub mod clock;
pub mod config;
pub mod controller;
pub mod failpoint;
#[doc(hidden)]
pub mod fuzzing;
pub mod git;
pub mod packer;
pub mod secrets;
pub mod sqlite;
