//! A secret value in memory: shown by no `Debug`, wiped when it is dropped.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What the name of a variable says that holds a secret.
const TELLING: [&str; 4] = ["TOKEN", "SECRET", "PASSWORD", "KEY"];

/// A value that must not appear anywhere. Written in clear only where somebody asks for it by
/// [`Self::expose`], or by the one file of a running build that its redaction needs.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<SecretText> for String {
    fn from(text: SecretText) -> Self {
        text.expose().to_owned()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Whether the name of a variable of the environment, or of Packer's, says that it holds a secret.
#[must_use]
pub fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    TELLING.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown_by_debug() {
        let all = [SecretText::from("hush")];
        assert_eq!(format!("{all:?}"), "[<redacted>]");
        assert_eq!(all[0].expose(), "hush");
    }
}
