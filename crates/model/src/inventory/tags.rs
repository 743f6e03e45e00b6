//! The tags on a record: kept as the text that the adapters store, parsed when somebody looks into
//! them. Pure.
//!
//! A plan over ten thousand records asks of each only whether its tags are still the wanted ones.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// Tags by key; reads as the map that it is.
#[derive(Clone)]
pub struct Tags {
    /// Compact JSON, in key order: equal tags have equal texts.
    text: Arc<str>,
    map: OnceLock<BTreeMap<String, String>>,
}

impl Tags {
    /// Takes the text that [`Tags::text`] gave. A text that is none reads as no tags, so they are
    /// put anew.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self { text: text.into(), map: OnceLock::new() }
    }

    /// What is to be stored.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether these, in the order of their keys, are the tags; without parsing them.
    #[must_use]
    pub fn are<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        let Some(mut rest) = self.text.strip_prefix('{') else {
            return false;
        };
        for (number, (key, value)) in pairs.into_iter().enumerate() {
            let found = if number == 0 { Some(rest) } else { rest.strip_prefix(',') }
                .and_then(|rest| without(rest, key))
                .and_then(|rest| rest.strip_prefix(':'))
                .and_then(|rest| without(rest, value));
            match found {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest == "}"
    }
}

/// What stands behind a JSON text of this content; none if another one stands there.
fn without<'a>(json: &'a str, content: &str) -> Option<&'a str> {
    // Most texts need no escapes; that is asked of many bytes at once, so there is no early end.
    let escapes = content.bytes().fold(0, |found, byte| {
        found | u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\')
    });
    if escapes != 0 {
        // Any text has a JSON form.
        return json.strip_prefix(&serde_json::to_string(content).unwrap_or_default());
    }
    json.strip_prefix('"')?.strip_prefix(content)?.strip_prefix('"')
}

fn text_of(map: &BTreeMap<String, String>) -> String {
    // A map of texts has always a JSON form.
    serde_json::to_string(map).unwrap_or_default()
}

impl From<BTreeMap<String, String>> for Tags {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self { text: text_of(&map).into(), map: map.into() }
    }
}

impl Default for Tags {
    fn default() -> Self {
        BTreeMap::new().into()
    }
}

impl Deref for Tags {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        self.map.get_or_init(|| serde_json::from_str(&self.text).unwrap_or_default())
    }
}

impl PartialEq for Tags {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Tags {}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
        map.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    #[test]
    fn stored_tags_are_equal_to_the_map_they_came_from() {
        let map = BTreeMap::from([
            ("Name".to_owned(), "Ærø \"🦀\"\n".to_owned()),
            ("team".to_owned(), String::new()),
        ]);
        let tags = Tags::from(map.clone());
        let back = Tags::stored(tags.text());
        assert_eq!(back, tags);
        assert!(back.are(pairs(&map)));
        assert_eq!(*back, map);
        assert!(!back.are([]));
    }

    proptest::proptest! {
        #[test]
        fn tags_are_the_pairs_that_they_were_made_of_and_no_others(
            a in proptest::collection::btree_map("[a\"\\\\ é\u{1}]{0,2}", "[a\"\\\\:,]{0,2}", 0..4),
            b in proptest::collection::btree_map("[a\"\\\\ é\u{1}]{0,2}", "[a\"\\\\:,]{0,2}", 0..4)
        ) {
            let tags = Tags::from(a.clone());
            proptest::prop_assert!(tags.are(pairs(&a)));
            proptest::prop_assert_eq!(a == b, tags.are(pairs(&b)));
        }
    }

    #[test]
    fn a_text_that_is_none_reads_as_no_tags_and_differs_from_them() {
        let broken = Tags::stored("{oops");
        assert!(broken.is_empty());
        assert!(!broken.are([]));
    }
}
