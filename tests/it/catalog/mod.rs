//! The catalog against an emulated EC2: the real SDK, the real wire.

mod faults;
mod images;
mod leftovers;
mod region;
mod uses;
