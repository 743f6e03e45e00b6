//! Secrets as rules know them: names, digests and places in a text; the forms in which a value may
//! turn up, and what takes it out of a text.

pub mod fill;
pub mod forms;
pub mod placeholder;
pub mod redactor;
pub mod secret_digests;
pub mod secret_names;
pub mod shown_url;
