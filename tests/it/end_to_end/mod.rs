//! The whole way from a commit to a record, with real git, real Packer and an emulated AWS.

mod apply;
mod daemon;
mod forsaken;
mod habits;
mod lost_host;
mod one_name;
mod patience;
mod places;
mod requests;
mod said;
mod shared_id;
mod shutdown;
mod told;
mod two_daemons;
mod unread;
mod useless;
