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

pub mod aws;
pub mod build;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod desired;
pub mod diagnostic;
pub mod duration;
pub mod failpoint;
#[doc(hidden)]
pub mod fuzzing;
pub mod host_cause;
pub mod ids;
pub mod inventory;
#[cfg(test)]
mod kept;
pub mod plan;
pub mod reconcile;
mod sealed;
pub mod secrets;
pub mod source;
pub mod status;
pub mod workflow;
