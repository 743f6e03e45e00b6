//! Ports in memory, for tests of what acts through them. They keep the rules of the real ones: the
//! same contract suites run over both.

mod inventory;

pub use inventory::MemoryInventory;
