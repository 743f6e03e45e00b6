//! Items of any shape, read as records. Only fuzzing uses it.

use crate::record::{head, record, to_item};
use crate::{Item, Value};

/// Reads JSON, `{"attribute": {"S": "text"}}`, as an item, and the item as a record. What can be
/// read is written and read again.
pub fn item(bytes: &[u8]) {
    let Ok(serde_json::Value::Object(attributes)) = serde_json::from_slice(bytes) else {
        return;
    };
    let item: Item =
        attributes.into_iter().filter_map(|(name, typed)| Some((name, value(&typed)?))).collect();
    let (short, long) = (head(&item), record(&item));
    if let Ok(long) = &long {
        assert_eq!(short.as_ref(), Ok(&long.head), "a head is the head of its record");
        // What the library could not read is never written; reading is more lenient, for it may be
        // there.
        if let Ok(written) = to_item(long) {
            assert_eq!(record(&written).as_ref(), Ok(long), "a record survives being written");
        }
    }
}

fn value(typed: &serde_json::Value) -> Option<Value> {
    let (kind, value) = typed.as_object()?.iter().next()?;
    let text = || value.as_str().map(str::to_owned);
    Some(match kind.as_str() {
        "S" => Value::Text(text()?),
        "N" => Value::Number(text()?),
        "BOOL" => Value::Bool(value.as_bool()?),
        "NULL" => Value::Null,
        _ => return None,
    })
}
