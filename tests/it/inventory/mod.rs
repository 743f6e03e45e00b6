//! The inventory: one contract suite over both adapters, and what is particular to each.

mod contract;
mod rules;
mod values;
