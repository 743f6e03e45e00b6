//! What the pure core may know of secrets: which names there are, which parameters are marked, and
//! digests under a key.
//!
//! # Why a key
//!
//! The digests of a fingerprint stand on the record, which more people read than know the secret. A
//! plain digest of a password can be guessed offline; one under a key (HMAC-SHA256) cannot, as long
//! as the key is not there too. So the key comes from the configuration, by `env:` or `file:`, and
//! is stored nowhere: the same key on every host gives the same fingerprint.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secrets::placeholder::{Rotation, Use, is_broken};
use crate::secrets::secret_names::SecretNames;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::secret_text::SecretText;

/// Digests of secrets, and what else a fingerprint needs of them.
#[derive(Clone, Debug, Default)]
pub struct SecretDigests {
    /// Secret parameters.
    pub marks: SecretNames,
    key: Option<Result<SecretText, String>>,
    values: BTreeMap<String, Result<Digest, String>>,
    names: Names,
}

/// Which secrets a template may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Those that there are.
    #[default]
    Known,
    /// Any: this host has no configuration of secrets, and only looks whether the repository is
    /// sound.
    Any,
}

impl SecretDigests {
    /// Seals values under a key; none: no secret is configured.
    #[must_use]
    pub fn new(
        marks: SecretNames,
        key: Option<Result<SecretText, String>>,
        values: &BTreeMap<String, Result<SecretText, String>>,
    ) -> Self {
        let mut sealed = Self { marks, key, values: BTreeMap::new(), names: Names::Known };
        for (name, value) in values {
            let digest = match (&sealed.key, value) {
                (_, Err(why)) => Err(why.clone()),
                (Some(Ok(key)), Ok(value)) => {
                    Ok(hmac(key, &["secret", name.as_str(), value.expose()].map(str::as_bytes)))
                }
                (Some(Err(why)), _) => Err(format!("the fingerprint key: {why}")),
                (None, _) => Err("there is no `secrets.fingerprint_key`".to_owned()),
            };
            sealed.values.insert(name.clone(), digest);
        }
        sealed
    }

    /// For a look at the repository alone: every secret of these names has some value; without
    /// names, every name is one.
    #[must_use]
    pub fn unread(marks: SecretNames, names: impl IntoIterator<Item = String>) -> Self {
        let values: BTreeMap<_, _> =
            names.into_iter().map(|name| (name, Ok(Digest::of(b"not read")))).collect();
        Self {
            marks,
            key: None,
            names: if values.is_empty() { Names::Any } else { Names::Known },
            values,
        }
    }

    /// The names that a template may ask for.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    /// Whether only those names are secrets.
    #[must_use]
    pub fn which(&self) -> Names {
        self.names
    }

    /// Refuses a rendered file in which a filter or a method has changed what stands for a secret.
    pub fn refuse_broken(&self, path: &str, text: &str) -> Result<(), Diagnostic> {
        if (self.values.is_empty() && self.names == Names::Known) || !is_broken(text) {
            return Ok(());
        }
        Err(
            Diagnostic::new("a filter or a method is used on a secret, which is put in whole or not at all")
                .in_file(path)
                .hint("write \"{{ secret('name') }}\" within quotes, and use a function of Packer on it, such as base64encode"),
        )
    }

    /// The digest of each secret that counts among these.
    pub fn digests<'a>(
        &self,
        uses: impl IntoIterator<Item = &'a Use>,
    ) -> Result<BTreeMap<String, Digest>, Diagnostic> {
        let mut found = BTreeMap::new();
        for one in uses {
            match self.values.get(&one.name) {
                Some(Ok(_)) if one.rotation == Rotation::Keeps => {}
                Some(Ok(digest)) => {
                    found.insert(one.name.clone(), *digest);
                }
                Some(Err(why)) => return Err(unavailable(&one.name, why)),
                None if self.names == Names::Any => {}
                None => return Err(unavailable(&one.name, "no such secret is configured")),
            }
        }
        Ok(found)
    }

    /// Whether digests can be put under a key at all.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The digest of something that a secret can be guessed from, under the key; the plain digest
    /// where there is no key.
    pub fn seal(&self, what: &str, plain: Digest) -> Result<Digest, Diagnostic> {
        match &self.key {
            // Seeded bug: secret-digest-without-key
            None => Ok(plain),
            Some(Ok(key)) => Ok(hmac(key, &[what.as_bytes(), plain.as_bytes()])),
            Some(Err(why)) => Err(Diagnostic::new(format!(
                "the fingerprint of a secret parameter needs `secrets.fingerprint_key`, and {why}"
            ))),
        }
    }

    /// The digest of all of it, by which a cache knows whether its answers hold; none if no secret
    /// is configured.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        if self.key.is_none() && self.values.is_empty() && self.marks.patterns().is_empty() {
            return None;
        }
        let mut encoder = Encoder::new("sealed secrets");
        for pattern in self.marks.patterns() {
            encoder.field(pattern.as_bytes());
        }
        match &self.key {
            Some(Ok(key)) => encoder.field(hmac(key, &[b"check"]).as_bytes()),
            _ => encoder.field(b""),
        };
        for (name, digest) in &self.values {
            encoder.field(name.as_bytes());
            match digest {
                Ok(digest) => encoder.field(digest.as_bytes()),
                Err(_) => encoder.field(b""),
            };
        }
        Some(encoder.finish())
    }
}

fn unavailable(name: &str, why: &str) -> Diagnostic {
    Diagnostic::new(format!(
        "whether the image is up to date cannot be told: secret `{name}`: {why}"
    ))
    .hint("run this where the daemon runs, with the same environment and files")
}

fn hmac(key: &SecretText, parts: &[&[u8]]) -> Digest {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else {
        return Digest::of(b"");
    };
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    Digest::from_bytes(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &str, value: &str) -> SecretDigests {
        let values = BTreeMap::from([("x".to_owned(), Ok(value.into()))]);
        SecretDigests::new(SecretNames::default(), Some(Ok(key.into())), &values)
    }

    fn digest(sealed: &SecretDigests) -> Digest {
        let one = Use { name: "x".into(), rotation: Rotation::Rebuilds };
        sealed.digests([&one]).unwrap()["x"]
    }

    #[test]
    fn a_secret_counts_by_its_value_under_the_key_and_cannot_be_guessed_without_it() {
        let one = sealed("key of all hosts", "value");
        assert_eq!(digest(&one), digest(&sealed("key of all hosts", "value")));
        assert_ne!(digest(&one), digest(&sealed("key of all hosts", "other")));
        assert_ne!(digest(&one), digest(&sealed("another key", "value")));
        assert_ne!(one.digest(), sealed("key of all hosts", "other").digest());
        assert!(!format!("{one:?}").contains("key of all hosts"));
    }

    #[test]
    fn the_keyed_digest_stays_as_it_is() {
        assert_eq!(
            digest(&sealed("key", "value")).to_string(),
            "b670265c627a4144fc9ced6804ff8bc7b4833ce30c8d1b555acb5d5f786012da",
            "another digest rebuilds every image that was made with a secret"
        );
    }

    #[test]
    fn without_any_configuration_there_is_nothing_that_counts() {
        let none = SecretDigests::default();
        assert_eq!(none.digest(), None);
        let plain = Digest::of(b"p");
        assert_eq!(none.seal("params", plain).unwrap(), plain);
    }
}
