//! Secrets never leave: planted in every place that there is, and looked for in every byte that is
//! kept or shown.

mod modes;
mod nowhere;
mod planted;
mod rotation;
