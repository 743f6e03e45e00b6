//! What stands for a secret in a rendered file until it is laid out for Packer:
//! `[reconciler-secret:NAME]`. Pure.
//!
//! Everything that shows, compares or digests a rendered file sees this text and never the value.

use std::collections::BTreeSet;

const BEGIN: &str = "[reconciler-secret:";
const KEPT: &str = ":kept";

/// What a changed secret means for an image that was made with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rotation {
    /// It is built anew.
    Rebuilds,
    /// It stays: `secret("name", rotate=false)`.
    Keeps,
}

/// A secret that a rendered file asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Its name.
    pub name: String,
    /// What a change of it means.
    pub rotation: Rotation,
}

/// Whether a secret may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// The text that stands for a secret.
#[must_use]
pub fn placeholder(name: &str, rotation: Rotation) -> String {
    match rotation {
        Rotation::Rebuilds => format!("{BEGIN}{name}]"),
        Rotation::Keeps => format!("{BEGIN}{name}{KEPT}]"),
    }
}

/// The secrets that a rendered file asks for, each with the places of its placeholders.
#[must_use]
pub fn places(text: &str) -> Vec<(Use, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices(BEGIN) {
        let inside = &text[start + BEGIN.len()..];
        let Some(length) = inside.find(']') else {
            continue;
        };
        let (name, rotation) = match inside[..length].strip_suffix(KEPT) {
            Some(name) => (name, Rotation::Keeps),
            None => (&inside[..length], Rotation::Rebuilds),
        };
        if is_name(name) {
            let one = Use { name: name.to_owned(), rotation };
            found.push((one, start..start + BEGIN.len() + length + 1));
        }
    }
    found
}

/// The secrets that rendered files ask for.
#[must_use]
pub fn uses<'a>(rendered: impl IntoIterator<Item = &'a String>) -> BTreeSet<Use> {
    rendered.into_iter().flat_map(|text| places(text)).map(|(one, _)| one).collect()
}

/// Whether something of a placeholder is left that is none any more: a filter or a method has
/// changed it.
#[must_use]
pub fn is_broken(text: &str) -> bool {
    // Quick for the usual file, which has none.
    let letters = &BEGIN.as_bytes()[1..];
    let all = text
        .as_bytes()
        .windows(letters.len())
        .filter(|window| window.eq_ignore_ascii_case(letters))
        .count();
    all != places(text).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_again_and_broken_ones_are_known() {
        let text = format!(
            "a {} b {}",
            placeholder("x.1", Rotation::Rebuilds),
            placeholder("y", Rotation::Keeps)
        );
        let found: Vec<_> = uses([&text]).into_iter().collect();
        assert_eq!(found[0].name, "x.1");
        assert_eq!(found[1].rotation, Rotation::Keeps);
        assert!(!is_broken(&text));
        assert!(is_broken(&text.to_uppercase()));
        assert!(is_broken(&text.replace("x.1]", "x.1")));
    }
}
