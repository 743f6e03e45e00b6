//! What the tests are made with: a vocabulary, so that a test reads as what it claims.

pub(crate) mod by_hand;
pub(crate) mod cli;
pub(crate) mod emulator;
pub(crate) mod fake_packer;
pub(crate) mod farm;
pub(crate) mod git_http;
pub(crate) mod keys;
pub(crate) mod mounts;
pub(crate) mod python_library;
pub(crate) mod random_source;
pub(crate) mod readable;
pub(crate) mod region;
pub(crate) mod releases;
pub(crate) mod repo;
pub(crate) mod running;
pub(crate) mod sshd;
