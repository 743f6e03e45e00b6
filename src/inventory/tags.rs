//! The tags on a record: kept as the text that the adapters store, parsed when somebody looks into them. Pure.
//!
//! A plan over ten thousand records asks of each only whether its tags are still the wanted ones.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Tags by key; reads as the map that it is.
#[derive(Clone)]
pub struct Tags {
    /// Compact JSON, in key order: equal tags have equal texts.
    text: Box<str>,
    map: OnceLock<BTreeMap<String, String>>,
}

impl Tags {
    /// Takes the text that [`Tags::text`] gave. A text that is none reads as no tags, so they are put anew.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self {
            text: text.into(),
            map: OnceLock::new(),
        }
    }

    /// What is to be stored.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether these are the tags, without parsing them.
    #[must_use]
    pub fn are(&self, others: &BTreeMap<String, String>) -> bool {
        *self.text == *text_of(others)
    }
}

fn text_of(map: &BTreeMap<String, String>) -> String {
    // A map of texts has always a JSON form.
    serde_json::to_string(map).unwrap_or_default()
}

impl From<BTreeMap<String, String>> for Tags {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self {
            text: text_of(&map).into(),
            map: map.into(),
        }
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
        self.map
            .get_or_init(|| serde_json::from_str(&self.text).unwrap_or_default())
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

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_tags_are_equal_to_the_map_they_came_from() {
        let map = BTreeMap::from([
            ("Name".to_owned(), "Ærø \"🦀\"\n".to_owned()),
            ("team".to_owned(), String::new()),
        ]);
        let tags = Tags::from(map.clone());
        let back = Tags::stored(tags.text());
        assert_eq!(back, tags);
        assert!(back.are(&map));
        assert_eq!(*back, map);
        assert!(!back.are(&BTreeMap::new()));
    }

    #[test]
    fn a_text_that_is_none_reads_as_no_tags_and_differs_from_them() {
        let broken = Tags::stored("{oops");
        assert!(broken.is_empty());
        assert!(!broken.are(&BTreeMap::new()));
    }
}
