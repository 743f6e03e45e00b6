//! Secrets: their values, the forms in which one may turn up, and what takes them out of a text.
//!
//! A value is read at the edge ([`open`]) and leaves it in two ways only: into a file that Packer
//! reads, and into a redactor. The pure part (`desired`) knows digests and
//! placeholders. Nothing here prints a value: its type has no way to.

pub mod current;
pub mod open;
pub mod source;

pub use current::CurrentSecrets;
pub use open::{OpenSecrets, SecretsConfig};
pub use source::SecretSource;
