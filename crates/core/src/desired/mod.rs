//! What git says each step's image should be: rendered files, the digests of every input, and the
//! fingerprint over them.
//!
//! Pure: templates, parameters, files and the source image come in as values; nothing is read,
//! asked or written.

pub mod ami_name;
pub mod inputs;
pub mod secrecy;
pub mod secret_function;
pub mod step;
