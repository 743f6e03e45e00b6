//! A value of the configuration that cannot be meant, and the key that it stands at.

use reconciler_model::diagnostic::Diagnostic;

/// Why a value is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// From the top of the file: `packer.timeout`, `repositories[1].url`.
    pub(super) key: String,
    /// What a person is told; without a place.
    pub(super) said: Diagnostic,
    /// Whether what stands there may be shown, or may be a secret that was typed where none
    /// belongs.
    pub(super) shown: Shown,
}

/// How the line of a refused value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As it is.
    Whole,
    /// With the value blotted out.
    WithoutValue,
}

impl Refusal {
    /// Of a key.
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), said: Diagnostic::new(message), shown: Shown::Whole }
    }

    /// The same, and its value is shown nowhere.
    pub(super) fn secret(mut self) -> Self {
        self.shown = Shown::WithoutValue;
        self
    }

    /// Says what to do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.said = self.said.hint(hint);
        self
    }
}
