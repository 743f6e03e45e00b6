//! Every decision of the reconciler: what git wants, what differs, what is to be done about it,
//! what an ended build means and what becomes of a lost one. Pure: no file, network, clock,
//! environment or process; what a rule needs comes as values, time too.

pub mod adoption;
pub mod build;
pub mod desired;
pub mod images;
pub mod lease_rules;
pub mod name_pattern;
pub mod packer;
pub mod plan;
pub mod recovery;
pub mod requests;
pub mod retry;
pub mod secrets;
pub mod status;
pub mod view;
pub mod workflow;
