//! Where a key of the configuration stands, so that a value that cannot be meant is shown with a
//! caret: in its file, or in a variable of the environment.
//!
//! The file is read once more, as any YAML, for the places of its values: only when something is
//! wrong with it.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::config::environment::{overriding, variable_of};
use crate::config::load::ProcessEnvironment;
use crate::config::refusal::{Refusal, Shown};
use reconciler_model::diagnostic::Diagnostic;

/// A configuration file, as it was read.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The file.
    pub(super) path: &'a Path,
    /// Its text.
    pub(super) text: &'a str,
}

/// What is told of a refused value, with its place: the variable that it came from, or the line of
/// the file.
pub(super) fn placed(
    refusal: Refusal,
    source: Option<Source<'_>>,
    around: &ProcessEnvironment,
) -> Diagnostic {
    let said = refusal.said;
    if let Some(variable) = variable_of(&refusal.key, around) {
        let message = format!("{} (from the environment variable {variable})", said.message);
        return Diagnostic { message, ..said };
    }
    let Some(source) = source else { return said };
    let said = with_overrides(said, &refusal.key, around);
    let path = source.path.display().to_string();
    let Some(span) = span_of(source.text, &refusal.key) else {
        return said.in_file(path);
    };
    let text = match refusal.shown {
        Shown::Whole => source.text.to_owned(),
        Shown::WithoutValue => blotted(source.text, &span),
    };
    said.at(path, text, span)
}

/// A value of the file may be refused for what the environment says beside it.
fn with_overrides(said: Diagnostic, key: &str, around: &ProcessEnvironment) -> Diagnostic {
    let section = key.split(['.', '[']).next().unwrap_or(key);
    let names = overriding(section, around);
    if names.is_empty() {
        return said;
    }
    let hint = said.hint.clone().unwrap_or_default();
    said.hint(format!(
        "{hint} (beside the file counts what the environment says: {})",
        names.join(", ")
    ))
}

/// A text in which stars stand for what is there at a place.
fn blotted(text: &str, span: &Range<usize>) -> String {
    let stars: String = text[span.clone()]
        .chars()
        .map(|c| match c {
            '\n' => "\n".to_owned(),
            c => "*".repeat(c.len_utf8()),
        })
        .collect();
    format!("{}{stars}{}", &text[..span.start], &text[span.end..])
}

/// The value of a key such as `repositories[1].url`; a list or a map by its key, and what is not
/// there by what is above it.
fn span_of(text: &str, key: &str) -> Option<Range<usize>> {
    let options = serde_yaml::options! { with_snippet: false };
    let root: Spanned<Node> = serde_yaml::from_str_with_options(text, options).ok()?;
    let found = find(&root.value, key, None)?;
    let span = found.span();
    let begin = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    let begin = begin.min(text.len());
    let end = (begin + length).min(text.len());
    // What belongs to the value, and not the line feed or the space behind it.
    let value = text.get(begin..end)?;
    let within = value.len() - value.trim_start().len();
    let begin = begin + within;
    let end = begin + value.trim().len();
    Some(begin..end.max((begin + 1).min(text.len())))
}

fn find(
    node: &Node,
    key: &str,
    above: Option<serde_yaml::Location>,
) -> Option<serde_yaml::Location> {
    match node {
        Node::Map(entries) => {
            let entries = entries.iter().filter_map(|(name, value)| {
                let rest = key.strip_prefix(name.value.as_str())?;
                let ends = rest.is_empty() || rest.starts_with(['.', '[']);
                ends.then_some((name, value, rest.trim_start_matches('.')))
            });
            // A name may have a dot: `a.b` is not `b` of `a`.
            let Some((name, value, rest)) = entries.min_by_key(|(.., rest)| rest.len()) else {
                return above;
            };
            let here = match (&value.value, rest) {
                (Node::Scalar, "") => value.referenced,
                _ => name.referenced,
            };
            if rest.is_empty() {
                return Some(here);
            }
            find(&value.value, rest, Some(name.referenced))
        }
        Node::List(items) => {
            let (at, rest) = key.strip_prefix('[')?.split_once(']')?;
            let Some(item) = items.get(at.parse::<usize>().ok()?) else {
                return above;
            };
            // A map begins with its first key.
            let here = match &item.value {
                Node::Map(entries) => entries.first().map(|(name, _)| name.referenced),
                _ => Some(item.referenced),
            };
            let rest = rest.trim_start_matches('.');
            if rest.is_empty() {
                return here;
            }
            find(&item.value, rest, here)
        }
        Node::Scalar => above,
    }
}

/// Any YAML, of which only the places are kept.
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Places)
    }
}

struct Places;

macro_rules! scalars {
    ($($visit:ident: $kind:ty),*) => { $(
        fn $visit<E>(self, _: $kind) -> Result<Node, E> {
            Ok(Node::Scalar)
        }
    )* };
}

impl<'de> Visitor<'de> for Places {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        Node::deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(text: &'a str, key: &str) -> Option<&'a str> {
        span_of(text, key).map(|span| &text[span])
    }

    #[test]
    fn a_value_is_found_at_its_own_depth_however_it_is_written() {
        let text = "# interval: 9m\npacker:\n  timeout: 1h # long\n  grace: \"5s\"\nretry:\n  max: soon\n\
                    interval: 5m\nrepositories:\n  - name: a\n    poll_interval: never\n  - {name: b, poll_interval: 0s}\n\
                    secrets: {values: {a: y, a.b: x}}\n'on_shutdown': leave\n";
        assert_eq!(found(text, "packer.timeout"), Some("1h"));
        assert_eq!(found(text, "packer.grace"), Some("\"5s\""));
        assert_eq!(found(text, "retry.max"), Some("soon"));
        assert_eq!(found(text, "interval"), Some("5m"));
        assert_eq!(found(text, "repositories[0].poll_interval"), Some("never"));
        assert_eq!(found(text, "repositories[1].poll_interval"), Some("0s"));
        assert_eq!(found(text, "repositories[1]"), Some("name"));
        assert_eq!(found(text, "repositories"), Some("repositories"));
        assert_eq!(found(text, "secrets.values.a.b"), Some("x"));
        assert_eq!(found(text, "secrets.values.a"), Some("y"));
        assert_eq!(found(text, "on_shutdown"), Some("leave"));
        // What is not there is looked for above.
        assert_eq!(found(text, "packer.max"), Some("packer"));
        assert_eq!(found(text, "repositories[0].url"), Some("name"));
        assert_eq!(found(text, "aws.region"), None);
        assert_eq!(found("packer: { timeout: soon }\n", "packer.timeout"), Some("soon"));
        assert_eq!(found("packer:\n  pass_env: [A, 'B C']\n", "packer.pass_env[1]"), Some("'B C'"));
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown_with_its_line() {
        let text = "secrets:\n  values: {db: \"hünter2\", x: env:X}\n";
        let span = span_of(text, "secrets.values.db").unwrap();
        assert_eq!(blotted(text, &span), "secrets:\n  values: {db: **********, x: env:X}\n");
    }
}
