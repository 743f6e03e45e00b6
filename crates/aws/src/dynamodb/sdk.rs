//! Items between the types of the SDK and ours.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use reconciler_items::{Item, Value};

/// An item as it came.
pub(super) fn item(attributes: HashMap<String, AttributeValue>) -> Item {
    let value = |value| match value {
        AttributeValue::S(text) => Value::Text(text),
        AttributeValue::N(digits) => Value::Number(digits),
        AttributeValue::Bool(is) => Value::Bool(is),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::B(_) => Value::Other("B"),
        AttributeValue::L(_) => Value::Other("L"),
        AttributeValue::M(_) => Value::Other("M"),
        _ => Value::Other("another set or kind"),
    };
    attributes.into_iter().map(|(name, its)| (name, value(its))).collect()
}

/// An item as it goes. A value of another type has no content, and none is ever made to be written.
pub(super) fn attributes(item: Item) -> HashMap<String, AttributeValue> {
    let attribute = |value| {
        Some(match value {
            Value::Text(text) => AttributeValue::S(text),
            Value::Number(digits) => AttributeValue::N(digits),
            Value::Bool(is) => AttributeValue::Bool(is),
            Value::Null => AttributeValue::Null(true),
            Value::Other(_) => return None,
        })
    };
    item.into_iter().filter_map(|(name, value)| Some((name, attribute(value)?))).collect()
}
