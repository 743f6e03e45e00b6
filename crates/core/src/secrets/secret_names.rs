//! Which parameters are secret, by their names: AWS keys always, and what the configuration names.
//! Pure.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value};

use crate::secrets::redactor::MARK;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::secret_text::SecretText;

/// Keys that are secret in every workflow.
pub const AWS_KEYS: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

/// Names of secret parameters, at any depth.
#[derive(Clone, Debug)]
pub struct SecretNames {
    patterns: GlobSet,
    written: Vec<String>,
}

impl Default for SecretNames {
    fn default() -> Self {
        Self { patterns: GlobSet::empty(), written: Vec::new() }
    }
}

impl SecretNames {
    /// AWS keys, and names that match one of these patterns (`*_password`), upper or lower case
    /// alike.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = Glob::new(&pattern.to_ascii_lowercase());
            set.add(glob.map_err(|error| format!("{pattern:?} is no pattern: {}", error.kind()))?);
        }
        Ok(Self {
            patterns: set.build().map_err(|error| error.to_string())?,
            written: patterns.to_vec(),
        })
    }

    /// The patterns, as they were written.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.written
    }

    /// Whether a parameter of this name is secret.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        AWS_KEYS.iter().any(|key| key.eq_ignore_ascii_case(name))
            || (!self.written.is_empty() && self.patterns.is_match(name.to_ascii_lowercase()))
    }

    /// Whether a parameter is secret or has a secret part.
    #[must_use]
    pub fn concerns(&self, name: &str, value: &Value) -> bool {
        if self.is_secret(name) {
            return !value.is_null();
        }
        match value {
            Value::Object(map) => map.iter().any(|(name, value)| self.concerns(name, value)),
            Value::Array(items) => items.iter().any(|item| self.concerns("", item)),
            _ => false,
        }
    }

    /// The secret values among parameters.
    #[must_use]
    pub fn values_of(&self, values: &Map<String, Value>) -> Vec<SecretText> {
        let mut found = Vec::new();
        for (name, value) in values {
            self.collect(self.is_secret(name), value, &mut found);
        }
        found
    }

    fn collect(&self, secret: bool, value: &Value, found: &mut Vec<SecretText>) {
        match value {
            Value::String(text) if secret && !text.is_empty() => found.push(text.as_str().into()),
            Value::Number(number) if secret => found.push(number.to_string().into()),
            Value::Array(items) => {
                for item in items {
                    self.collect(secret, item, found);
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    self.collect(secret || self.is_secret(name), value, found);
                }
            }
            _ => {}
        }
    }

    /// Parameters as they may be shown.
    #[must_use]
    pub fn masked(&self, values: &Map<String, Value>) -> Map<String, Value> {
        let masked =
            values.iter().map(|(name, value)| (name.clone(), self.masked_one(name, value)));
        masked.collect()
    }

    /// One parameter as it may be shown.
    #[must_use]
    pub fn masked_one(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::Null => Value::Null,
            _ if self.is_secret(name) => Value::from(MARK),
            other => self.masked_value(other),
        }
    }

    /// The text of a parameter file, with what stands behind the name of a secret blotted out to
    /// the end of its line: for a message that quotes it. Places in it stay where they are.
    #[must_use]
    pub fn blot(&self, text: &str) -> String {
        let lines = text.split_inclusive('\n').map(|line| {
            let names = line.split('"').enumerate().skip(1).step_by(2);
            let mut at = 0;
            for (_, name) in names {
                let Some(found) = line[at..].find(name).filter(|_| !name.is_empty()) else {
                    continue;
                };
                at += found + name.len();
                if self.is_secret(name) {
                    let (kept, rest) = line.split_at((at + 1).min(line.len()));
                    let rest = rest.chars().map(|c| match c {
                        '\n' | ':' | ' ' => c.to_string(),
                        c => "*".repeat(c.len_utf8()),
                    });
                    return kept.to_owned() + &rest.collect::<String>();
                }
            }
            line.to_owned()
        });
        lines.collect()
    }

    /// A message about a parameter file, without secrets in the line that it shows.
    #[must_use]
    pub fn blotted(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if let Some(place) = &mut diagnostic.place
            && place.path.ends_with("param.json")
            && let Some(text) = &mut place.text
        {
            *text = self.blot(text).into();
        }
        diagnostic
    }

    fn masked_value(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(self.masked(map)),
            Value::Array(items) => items.iter().map(|item| self.masked_value(item)).collect(),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_that_quotes_a_line_shows_no_secret_of_it() {
        let marks = SecretNames::new(&["*_password".into()]).unwrap();
        let text = "{ \"a\": 1, \"db_password\": \"hüsh\", \n\"b\": 2 }\n";
        let blotted = marks.blot(text);
        assert!(!blotted.contains("sh"), "{blotted}");
        assert_eq!(blotted.len(), text.len());
        assert!(blotted.ends_with("\n\"b\": 2 }\n"), "{blotted}");
    }

    #[test]
    fn a_secret_is_known_by_its_name_at_any_depth_and_shown_nowhere() {
        let marks = SecretNames::new(&["*_password".into(), "pin".into()]).unwrap();
        let values = json!({
            "db_PASSWORD": "one", "pin": 1234, "open": "shown", "aws_session_token": null,
            "nested": [{ "a_password": ["two", { "x": "three" }] }], "aws_secret_access_key": "four",
        });
        let values = values.as_object().unwrap();
        let found = marks.values_of(values);
        let mut found: Vec<_> = found.iter().map(SecretText::expose).collect();
        found.sort_unstable();
        assert_eq!(found, ["1234", "four", "one", "three", "two"]);
        assert_eq!(
            Value::Object(marks.masked(values)),
            json!({
                "db_PASSWORD": MARK, "pin": MARK, "open": "shown", "aws_session_token": null,
                "nested": [{ "a_password": MARK }], "aws_secret_access_key": MARK,
            })
        );
        assert!(marks.concerns("nested", &values["nested"]));
        assert!(!marks.concerns("open", &values["open"]));
    }
}
