//! The configuration as editors and people see it.

mod schema;
