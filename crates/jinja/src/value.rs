//! JSON as templates see it.

use minijinja::Value;
use serde_json::Value as Json;

/// Numbers keep their text until here; an integer stays one whatever its size allows, as in Python.
#[must_use]
pub fn template_value(value: &Json) -> Value {
    match value {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(template_value).collect(),
        Json::Object(map) => {
            let members = map.iter();
            Value::from_pairs(members.map(|(key, value)| (key.as_str(), template_value(value))))
        }
        Json::Number(number) => {
            let text = number.to_string();
            if let Ok(small) = text.parse::<i64>() {
                Value::from(small)
            } else if let Ok(large) = text.parse::<i128>() {
                Value::from(large)
            } else {
                Value::from(text.parse::<f64>().unwrap_or(f64::NAN))
            }
        }
    }
}
