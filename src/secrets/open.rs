//! Reads the values of secrets at the beginning of a pass, so that one pass sees one value of each.

use std::collections::BTreeMap;

use crate::secrets::SecretSource;
use reconciler_core::secrets::placeholder::Use;
use reconciler_core::secrets::secret_digests::SecretDigests;
use reconciler_core::secrets::secret_names::SecretNames;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::secret_text::SecretText;

/// What the configuration says of secrets.
#[derive(Clone, Debug, Default)]
pub struct SecretsConfig {
    /// The key under which secrets count in a fingerprint; the same on every host.
    pub fingerprint_key: Option<SecretSource>,
    /// Which parameters are secret, beside AWS keys.
    pub marks: SecretNames,
    /// Secrets that templates may ask for, by name.
    pub values: BTreeMap<String, SecretSource>,
}

/// Secrets with their values, as far as this host has them.
#[derive(Clone, Debug, Default)]
pub struct OpenSecrets {
    values: BTreeMap<String, Result<SecretText, String>>,
    sealed: SecretDigests,
}

impl OpenSecrets {
    /// Reads them; one that cannot be read is an error of the step that asks for it only.
    #[must_use]
    pub fn read(config: &SecretsConfig) -> Self {
        let key = config.fingerprint_key.as_ref().map(SecretSource::read);
        let values: BTreeMap<_, _> =
            config.values.iter().map(|(name, source)| (name.clone(), source.read())).collect();
        Self { sealed: SecretDigests::new(config.marks.clone(), key, &values), values }
    }

    /// Reads none: for a look at the repository alone.
    #[must_use]
    pub fn unread(config: &SecretsConfig) -> Self {
        Self {
            values: BTreeMap::new(),
            sealed: SecretDigests::unread(config.marks.clone(), config.values.keys().cloned()),
        }
    }

    /// What the pure core may know.
    #[must_use]
    pub fn sealed(&self) -> &SecretDigests {
        &self.sealed
    }

    /// All values that are known.
    pub fn known(&self) -> impl Iterator<Item = &SecretText> {
        self.values.values().filter_map(|value| value.as_ref().ok())
    }

    /// The values that rendered files ask for.
    pub fn values_of<'a>(
        &self,
        uses: impl IntoIterator<Item = &'a Use>,
    ) -> Result<BTreeMap<String, SecretText>, Diagnostic> {
        let mut found = BTreeMap::new();
        for one in uses {
            let value = match self.values.get(&one.name) {
                Some(Ok(value)) => value.clone(),
                Some(Err(why)) => return Err(missing(&one.name, why)),
                None => return Err(missing(&one.name, "no such secret is configured")),
            };
            found.insert(one.name.clone(), value);
        }
        Ok(found)
    }
}

impl PartialEq for SecretsConfig {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint_key == other.fingerprint_key
            && self.marks.patterns() == other.marks.patterns()
            && self.values == other.values
    }
}

fn missing(name: &str, why: &str) -> Diagnostic {
    Diagnostic::new(format!("secret `{name}` has no value: {why}"))
}
