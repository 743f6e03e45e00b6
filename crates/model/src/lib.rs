//! The nouns of the reconciler and its ports: values that go from one part to another, and the
//! traits behind which the outside world is. No rule is here but the one that makes what may be
//! removed (`build_resources`), and nothing that looks or acts.

pub mod afterwards;
pub mod build;
pub mod build_phases;
pub mod build_resources;
pub mod clock;
pub mod components;
pub mod diagnostic;
pub mod digest;
pub mod duration;
#[cfg(any(test, feature = "test-support"))]
pub mod format_stability;
pub mod host_cause;
pub mod ids;
pub mod images;
pub mod inventory;
#[cfg(feature = "test-support")]
pub mod memory;
pub mod policy;
pub mod secret_text;
pub mod source;
pub mod suggest;
pub mod survey;
pub mod uses;
