//! The secrets of a workflow as they are now and as this process has known them before: a
//! connection outlives a rotation, and a build that began before it may still tell of the old
//! value.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::secrets::{OpenSecrets, SecretsConfig};
use reconciler_core::secrets::redactor::Redactor;
use reconciler_model::secret_text::SecretText;

/// Takes secrets out of what is recorded. Clones share what they know.
#[derive(Clone, Debug)]
pub struct CurrentSecrets {
    config: SecretsConfig,
    seen: Arc<Mutex<Vec<SecretText>>>,
}

impl CurrentSecrets {
    /// Those that the configuration names, and the secret ones among these parameters.
    #[must_use]
    pub fn new(config: &SecretsConfig, params: &Map<String, Value>) -> Self {
        let current = Self {
            config: config.clone(),
            seen: Arc::new(Mutex::new(config.marks.values_of(params))),
        };
        current.redactor();
        current
    }

    /// The text without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.redactor().text(text)
    }

    /// Reads them anew.
    fn redactor(&self) -> Redactor {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for value in OpenSecrets::read(&self.config).known() {
            if !seen.contains(value) {
                seen.push(value.clone());
            }
        }
        Redactor::new(seen.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::secrets::SecretSource;

    #[test]
    fn a_value_is_known_once_it_is_rotated_and_so_is_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "the first\n").unwrap();
        let config = SecretsConfig {
            values: BTreeMap::from([("x".to_owned(), SecretSource::File(path.clone()))]),
            ..SecretsConfig::default()
        };
        let current = CurrentSecrets::new(&config, &Map::new());
        std::fs::write(&path, "the second\n").unwrap();
        assert_eq!(current.text("a the first b the second"), "a <redacted> b <redacted>");
    }
}
