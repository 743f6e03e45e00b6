//! Values of columns, and rows of which one that cannot be read hides no other.

use jiff::Timestamp;
use rusqlite::types::{FromSqlResult, ValueRef};
use rusqlite::{Connection, Params, Row};

use crate::sqlite::error::Fault;
use reconciler_model::digest::Digest;
use reconciler_model::inventory::{Malformed, Many};

/// All rows of a query, each read or told by `malformed`, which gets what is wrong with it.
pub(super) fn many<T>(
    db: &Connection,
    query: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, String>,
    malformed: impl Fn(&Row<'_>, String) -> Malformed,
) -> Result<Many<T>, Fault> {
    let mut statement = db.prepare_cached(query)?;
    let mut rows = statement.query(values)?;
    let mut all = Many::default();
    while let Some(row) = rows.next()? {
        all.add(read(row).map_err(|detail| malformed(row, detail)));
    }
    Ok(all)
}

/// A column's value, or what is wrong with it by the column's name.
pub(super) fn column<'row, T>(
    row: &'row Row<'_>,
    at: usize,
    read: impl FnOnce(&ValueRef<'row>) -> FromSqlResult<T>,
) -> Result<T, String> {
    let value = row.get_ref(at).map_err(|wrong| wrong.to_string())?;
    read(&value).map_err(|_| {
        let name = row.as_ref().column_name(at).unwrap_or("?");
        format!("{name}: unexpected {}", value.data_type())
    })
}

/// A text.
pub(super) fn text<'row>(row: &'row Row<'_>, at: usize) -> Result<&'row str, String> {
    column(row, at, ValueRef::as_str)
}

/// A number, which the file keeps as one with a sign.
pub(super) fn number(row: &Row<'_>, at: usize) -> Result<u64, String> {
    column(row, at, ValueRef::as_i64).map(i64::cast_unsigned)
}

/// A time.
pub(super) fn time(row: &Row<'_>, at: usize) -> Result<Timestamp, String> {
    let nanoseconds = column(row, at, ValueRef::as_i64)?;
    Timestamp::from_nanosecond(nanoseconds.into()).map_err(|wrong| wrong.to_string())
}

/// A digest.
pub(super) fn digest(row: &Row<'_>, at: usize) -> Result<Digest, String> {
    let bytes = column(row, at, ValueRef::as_blob)?;
    let whole = bytes.try_into().map_err(|_| format!("a digest has {} bytes, not 32", bytes.len()));
    whole.map(Digest::from_bytes)
}

/// A value that is kept as JSON text.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<T, String> {
    serde_json::from_str(text(row, at)?).map_err(|wrong| wrong.to_string())
}

/// A column's value for people, whatever its type.
pub(super) fn lossy(row: &Row<'_>, at: usize) -> String {
    match row.get_ref(at) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Real(number)) => number.to_string(),
        _ => "?".to_owned(),
    }
}

/// Nanoseconds since 1970, which 64 bits hold until the year 2262; a time beyond is held at the
/// end.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let end = if time.as_second() < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(time.as_nanosecond()).unwrap_or(end)
}

/// A value as JSON text.
pub(super) fn json_text(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|wrong| Fault::Malformed {
        key: "a value to be written".to_owned(),
        detail: wrong.to_string(),
    })
}
