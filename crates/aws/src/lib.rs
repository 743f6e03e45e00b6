//! AWS: credentials, region and transport, what an error of AWS means, and the adapters: `ec2` for
//! images, `survey` for what people ask about them, `dynamodb` for the inventory. Nothing else of
//! the program uses an SDK of AWS.

pub mod budget;
pub mod calls;
mod credentials;
pub mod dynamodb;
pub mod ec2;
mod environment;
pub mod error;
pub mod person;
pub mod profiles;
pub mod regions;
pub mod session;
mod settings;
pub mod survey;
