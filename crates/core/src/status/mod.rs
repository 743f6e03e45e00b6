//! What people and programs see of the state: every step has exactly one state and one reason at
//! any time, daemon running or not.

pub mod base;
pub mod changed;
pub mod history;
pub mod history_text;
pub mod image;
pub mod images;
pub mod report;
pub mod requests;
pub mod text;
pub mod trouble;
