//! `secrets` of the configuration, from what is typed to what is meant. No message quotes what stands where a source is expected: it may
//! be the secret itself.

use std::path::PathBuf;

use crate::config::raw::RawSecrets;
use crate::diagnostic::Diagnostic;
use crate::secrets::placeholder::is_name;
use crate::secrets::{Marks, SecretSource, SecretsConfig};

/// Checks it. `path` expands a path as it is typed.
pub(super) fn check(
    raw: RawSecrets,
    path: impl Fn(&str) -> PathBuf,
) -> Result<SecretsConfig, Diagnostic> {
    let source = |key: &str, typed: &str| {
        let parsed = match typed.split_once(':') {
            Some(("env", name)) if is_variable(name) => Some(SecretSource::Env(name.to_owned())),
            Some(("file", place)) if !place.is_empty() => Some(SecretSource::File(path(place))),
            _ => None,
        };
        parsed.ok_or_else(|| {
            Diagnostic::new(format!("`{key}` does not say where the value is"))
                .hint("write env:NAME or file:PATH; the value itself does not belong in the configuration")
        })
    };
    let mut values = std::collections::BTreeMap::new();
    for (name, typed) in raw.values.unwrap_or_default() {
        if !is_name(&name) {
            return Err(Diagnostic::new(format!("{name:?} is no name of a secret"))
                .hint("letters, digits, `_`, `-` and `.`"));
        }
        let read = source(&format!("secrets.values.{name}"), &typed)?;
        values.insert(name, read);
    }
    let patterns = raw.parameters.unwrap_or_default();
    let marks = Marks::new(&patterns)
        .map_err(|why| Diagnostic::new(format!("`secrets.parameters`: {why}")))?;
    let fingerprint_key = raw
        .fingerprint_key
        .map(|typed| source("secrets.fingerprint_key", &typed))
        .transpose()?;
    if fingerprint_key.is_none() && !(values.is_empty() && patterns.is_empty()) {
        return Err(
            Diagnostic::new("there are secrets, and `secrets.fingerprint_key` is missing").hint(
                "secrets count in fingerprints under a key, the same on every host; make one with `openssl rand -base64 32`, keep it in a file and write file:PATH",
            ),
        );
    }
    Ok(SecretsConfig {
        fingerprint_key,
        marks,
        values,
    })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn checked(values: &[(&str, &str)], key: Option<&str>) -> Result<SecretsConfig, Diagnostic> {
        let values: BTreeMap<_, _> = values
            .iter()
            .map(|(name, source)| ((*name).to_owned(), (*source).to_owned()))
            .collect();
        let raw = RawSecrets {
            fingerprint_key: key.map(str::to_owned),
            parameters: None,
            values: Some(values),
        };
        check(raw, |path| PathBuf::from(path))
    }

    #[test]
    fn a_source_is_a_variable_or_a_file_and_a_value_typed_there_is_not_quoted() {
        let sound = checked(&[("a", "env:A"), ("b.c", "file:/x:y")], Some("env:KEY")).unwrap();
        assert_eq!(sound.values["a"], SecretSource::Env("A".into()));
        assert_eq!(sound.values["b.c"], SecretSource::File("/x:y".into()));
        for typed in ["hunter2", "env:", "env:hun ter2", "file:"] {
            let why = checked(&[("a", typed)], Some("env:KEY")).unwrap_err();
            assert!(why.message.contains("secrets.values.a"), "{why}");
            assert!(!why.render(false).contains("hun"), "{why}");
        }
        assert!(checked(&[("a b", "env:A")], Some("env:KEY")).is_err());
    }

    #[test]
    fn secrets_need_a_key_and_no_secrets_need_none() {
        let why = checked(&[("a", "env:A")], None).unwrap_err();
        assert!(why.message.contains("fingerprint_key"), "{why}");
        assert_eq!(checked(&[], None).unwrap(), SecretsConfig::default());
    }
}
