//! Reading and writing single attributes of an item. Pure; knows nothing of what the attributes
//! mean.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Item, Value};

/// A text.
pub fn text_value(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// A whole, positive number.
#[must_use]
pub fn number_value(number: u64) -> Value {
    Value::Number(number.to_string())
}

/// Anything, as JSON text.
pub fn json_value(value: &impl Serialize) -> Result<Value, String> {
    serde_json::to_string(value).map(Value::Text).map_err(|wrong| wrong.to_string())
}

/// A text attribute that must be there.
pub fn text<'item>(item: &'item Item, name: &str) -> Result<&'item str, String> {
    optional_text(item, name)?.ok_or_else(|| format!("attribute `{name}` is missing"))
}

/// A text attribute; one of the type NULL is as none.
pub fn optional_text<'item>(item: &'item Item, name: &str) -> Result<Option<&'item str>, String> {
    match item.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(other) => Err(format!("attribute `{name}` is of type {}, not S", other.type_name())),
    }
}

/// A whole, positive number that must be there.
pub fn number(item: &Item, name: &str) -> Result<u64, String> {
    match item.get(name) {
        None => Err(format!("attribute `{name}` is missing")),
        Some(Value::Number(digits)) => {
            digits.parse().map_err(|wrong| format!("attribute `{name}`: {wrong}"))
        }
        Some(other) => Err(format!("attribute `{name}` is of type {}, not N", other.type_name())),
    }
}

/// A value that is kept as JSON text.
pub fn json<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T, String> {
    serde_json::from_str(text(item, name)?).map_err(|wrong| format!("attribute `{name}`: {wrong}"))
}

/// A value that is kept as its own text: a digest, a time.
pub fn parsed<T>(item: &Item, name: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text(item, name)?.parse().map_err(|wrong| format!("attribute `{name}`: {wrong}"))
}

/// How the Python library (pynamodb) writes a time; it reads nothing else.
#[must_use]
pub fn python_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6f+0000").to_string()
}

/// A time as the Python library writes it, or in another form of ISO 8601 that Python knows;
/// without a zone it is UTC, as all of the library's. Digits beyond its six, which only somebody
/// else can have written, do not count: they would be lost where the record is written again, and
/// the record would differ.
pub fn read_python_time(item: &Item, name: &str) -> Result<Timestamp, String> {
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
#[must_use]
pub fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Number(text) => text.len(),
        _ => 1,
    }
}

/// The attribute that takes the most room.
#[must_use]
pub fn largest(item: &Item) -> Option<&str> {
    item.iter().max_by_key(|(_, value)| value_size(value)).map(|(name, _)| name.as_str())
}
