//! How AWS is reached: credentials, region, transport, and what an error of its means.
//!
//! The only folder that loads AWS configuration; `catalog::ec2` and `inventory::dynamodb` take the
//! clients made here.

pub mod budget;
mod credentials;
pub mod dynamodb;
pub mod ec2;
mod environment;
pub mod error;
pub mod profiles;
pub mod regions;
pub mod session;
mod settings;
