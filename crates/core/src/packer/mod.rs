//! What is decided about the Packer of a host: which file of a release is right for it, whether
//! that file is the signed one, and what a host lacks for the templates of a repository.

pub mod doctor;
pub mod keyring;
pub mod plugins;
pub mod release;
pub mod version;
