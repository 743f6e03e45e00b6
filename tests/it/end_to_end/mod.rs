//! The whole way from a commit to a record, with real git, real Packer and an emulated AWS.

mod adopting;
mod apply;
mod asking;
mod base;
mod daemon;
mod forgetting;
mod forsaken;
mod habits;
mod image;
mod image_create;
mod image_delete;
mod images;
mod log_lines;
mod lost_host;
mod notices;
mod one_name;
mod patience;
mod phases;
mod places;
mod requests;
mod settings;
mod shared_id;
mod shutdown;
mod two_daemons;
mod unread;
mod useless;
