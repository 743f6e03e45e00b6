//! `secrets` of the configuration, from what is typed to what is meant. No message quotes what
//! stands where a source is expected: it may be the secret itself.

use crate::config::load::ProcessEnvironment;
use crate::config::patterns::{SECRET_SOURCE, SOMETHING, fits};
use crate::config::raw::RawSecrets;
use crate::config::refusal::Refusal;
use crate::config::values::expand;
use crate::secrets::{SecretSource, SecretsConfig};
use reconciler_core::secrets::placeholder::is_name;
use reconciler_core::secrets::secret_names::SecretNames;

/// Checks it.
pub(super) fn check(
    raw: RawSecrets,
    around: &ProcessEnvironment,
) -> Result<SecretsConfig, Refusal> {
    let mut values = std::collections::BTreeMap::new();
    for (name, typed) in raw.values.unwrap_or_default() {
        let key = format!("secrets.values.{name}");
        if !is_name(&name) {
            return Err(Refusal::new(
                key,
                format!("`secrets.values` has {name:?}, which is no name of a secret"),
            )
            .hint("letters, digits, `_`, `-` and `.`"));
        }
        let read = source(&key, &typed, around)?;
        values.insert(name, read);
    }
    let patterns = raw.parameters.unwrap_or_default();
    if let Some(at) = patterns.iter().position(|one| !fits(SOMETHING, one)) {
        return Err(Refusal::new(
            format!("secrets.parameters[{at}]"),
            "`secrets.parameters` names nothing: \"\"",
        )
        .hint("write names of parameters; `*` stands for anything"));
    }
    let marks = SecretNames::new(&patterns).map_err(|why| {
        Refusal::new("secrets.parameters", format!("`secrets.parameters`: {why}"))
            .hint("`*` stands for anything, `?` for one character, [ab] for one of these")
    })?;
    let fingerprint_key = raw
        .fingerprint_key
        .map(|typed| source("secrets.fingerprint_key", &typed, around))
        .transpose()?;
    if fingerprint_key.is_none() && !(values.is_empty() && patterns.is_empty()) {
        return Err(Refusal::new(
            "secrets",
            "there are secrets, and `secrets.fingerprint_key` is missing",
        )
        .hint(
            "secrets count in fingerprints under a key, the same on every host; make one with `openssl rand -base64 32`, keep it in a file and write file:PATH",
        ));
    }
    Ok(SecretsConfig { fingerprint_key, marks, values })
}

fn source(key: &str, typed: &str, around: &ProcessEnvironment) -> Result<SecretSource, Refusal> {
    match typed.split_once(':').filter(|_| fits(SECRET_SOURCE, typed)) {
        Some(("env", name)) => Ok(SecretSource::Env(name.to_owned())),
        Some((_, place)) => Ok(SecretSource::File(expand(key, place, around)?)),
        None => Err(
            Refusal::new(key, format!("`{key}` does not say where the value is"))
                .secret()
                .hint("write env:NAME or file:PATH; the value itself does not belong in the configuration"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn checked(
        values: &[(&str, &str)],
        key: Option<&str>,
    ) -> Result<SecretsConfig, reconciler_model::diagnostic::Diagnostic> {
        let values: BTreeMap<_, _> = values
            .iter()
            .map(|(name, source)| ((*name).to_owned(), (*source).to_owned()))
            .collect();
        let raw = RawSecrets {
            fingerprint_key: key.map(str::to_owned),
            parameters: None,
            values: Some(values),
        };
        check(raw, &ProcessEnvironment::default()).map_err(|refusal| refusal.said)
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
