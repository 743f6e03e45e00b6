//! The inventory: one contract suite over both adapters, and what is particular to each.

mod answers;
mod beat_rules;
mod contract;
mod dynamodb;
mod python_library;
mod request_rules;
mod rules;
mod sqlite;
mod tables;
mod values;
