//! Rules about images: which base image is meant, and the tags that they carry.

pub mod base_image;
pub mod base_search;
pub mod console_url;
pub mod deletion;
pub mod in_use;
pub mod lineage;
pub mod reserving;
pub mod tags;

#[cfg(test)]
mod histories;
