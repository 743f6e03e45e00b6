//! Reading and writing single attributes of an item. Pure; knows nothing of what the attributes
//! mean.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item of a table, by attribute name.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text_value(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number_value(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn json_value(value: &impl Serialize) -> Result<AttributeValue, String> {
    serde_json::to_string(value).map(AttributeValue::S).map_err(|wrong| wrong.to_string())
}

/// A text attribute that must be there.
pub(super) fn text<'item>(item: &'item Item, name: &str) -> Result<&'item str, String> {
    optional_text(item, name)?.ok_or_else(|| format!("attribute `{name}` is missing"))
}

/// A text attribute; one of the type NULL is as none.
pub(super) fn optional_text<'item>(
    item: &'item Item,
    name: &str,
) -> Result<Option<&'item str>, String> {
    match item.get(name) {
        None | Some(AttributeValue::Null(_)) => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(other) => Err(format!("attribute `{name}` is of type {}, not S", type_name(other))),
    }
}

/// A whole, positive number that must be there.
pub(super) fn number(item: &Item, name: &str) -> Result<u64, String> {
    match item.get(name) {
        None => Err(format!("attribute `{name}` is missing")),
        Some(AttributeValue::N(digits)) => {
            digits.parse().map_err(|wrong| format!("attribute `{name}`: {wrong}"))
        }
        Some(other) => Err(format!("attribute `{name}` is of type {}, not N", type_name(other))),
    }
}

/// A value that is kept as JSON text.
pub(super) fn json<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T, String> {
    serde_json::from_str(text(item, name)?).map_err(|wrong| format!("attribute `{name}`: {wrong}"))
}

/// A value that is kept as its own text: a digest, a time.
pub(super) fn parsed<T>(item: &Item, name: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text(item, name)?.parse().map_err(|wrong| format!("attribute `{name}`: {wrong}"))
}

/// How the Python library (pynamodb) writes a time; it reads nothing else.
pub(super) fn python_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string()
}

/// A time as the Python library writes it, or in another form of ISO 8601 that Python knows;
/// without a zone it is UTC, as all of the library's. Digits beyond its six, which only somebody
/// else can have written, do not count: they would be lost where the record is written again, and
/// the record would differ.
pub(super) fn read_python_time(item: &Item, name: &str) -> Result<Timestamp, String> {
    let text = text(item, name)?;
    let librarys = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text);
    librarys
        .or_else(|wrong| iso_8601(text).ok_or(wrong))
        .and_then(|time| Timestamp::from_microsecond(time.as_microsecond()))
        .map_err(|wrong| format!("attribute `{name}`: {text:?} is not a time: {wrong}"))
}

fn iso_8601(text: &str) -> Option<Timestamp> {
    let without_zone = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    text.parse().ok().or_else(without_zone)
}

/// The size of an item as DynamoDB counts it, in bytes, near enough: names and values.
/// Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats".
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        _ => 1,
    }
}

/// The attribute that takes the most room.
pub(super) fn largest(item: &Item) -> Option<&str> {
    item.iter().max_by_key(|(_, value)| value_size(value)).map(|(name, _)| name.as_str())
}

fn type_name(value: &AttributeValue) -> &'static str {
    match value {
        AttributeValue::B(_) => "B",
        AttributeValue::Bool(_) => "BOOL",
        AttributeValue::L(_) => "L",
        AttributeValue::M(_) => "M",
        AttributeValue::N(_) => "N",
        AttributeValue::S(_) => "S",
        _ => "another set or kind",
    }
}
