//! What can be told of a rendered template without Packer: that it is HCL, that it makes exactly
//! one image, whether it stays off the build host, whether it shows a secret, and what it asks of a
//! host. Pure.

mod afterwards;
mod host_access;
mod inspect;
mod known;
mod makes;
mod parser_agreement;
mod provisioners;
mod quoted;
mod requirements;
mod review;
mod secret_exposure;
mod secret_flow;
mod sensitive;
mod template;
mod wanted;

pub use host_access::{LocalExec, StepFiles};
pub use inspect::Inspection;
pub use quoted::{Quoted, Quotes};
pub use requirements::{RequiredPlugin, Requirements};
pub use review::ReviewContext;
pub use sensitive::Sensitive;
pub use template::Template;
pub use wanted::Wanted;
