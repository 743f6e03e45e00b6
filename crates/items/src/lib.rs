//! Items of DynamoDB as plain values, and records as items in the very formats of the Python
//! library.
//!
//! Pure, and without the SDK of AWS: `reconciler_aws` turns its types into these and back. So what
//! others wrote into a table can be fuzzed without a compiled SDK.

pub mod attributes;
#[doc(hidden)]
pub mod fuzz;
pub mod record;

use std::collections::HashMap;

/// An item of a table, by attribute name.
pub type Item = HashMap<String, Value>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of the type S.
    Text(String),
    /// Of the type N, in digits.
    Number(String),
    /// Of the type BOOL.
    Bool(bool),
    /// Of the type NULL.
    Null,
    /// Of a type that this program does not write, by the name of the type.
    Other(&'static str),
}

impl Value {
    /// The name of its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "S",
            Self::Number(_) => "N",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::Other(name) => name,
        }
    }
}
