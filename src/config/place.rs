//! Where a key of the configuration stands in its file, so that a value that cannot be meant is shown with a caret.
//!
//! Looks at lines and their indentation only: a file in YAML's other styles is named without a line. Pure.

use std::ops::Range;
use std::path::Path;

use crate::config::load::Surroundings;
use crate::diagnostic::Diagnostic;

/// Puts a diagnostic of `load` at its place. Its message names the key first, in back quotes.
pub(super) fn placed(
    wrong: Diagnostic,
    path: &Path,
    text: &str,
    around: &Surroundings,
) -> Diagnostic {
    let Some(key) = wrong.message.split('`').nth(1) else {
        return wrong.in_file(path.display().to_string());
    };
    let variable = format!("RECONCILER_{}", key.to_uppercase().replace('.', "__"));
    if around.env.contains_key(&variable) {
        let message = format!(
            "{} (from the environment variable {variable})",
            wrong.message
        );
        return Diagnostic { message, ..wrong };
    }
    let path = path.display().to_string();
    match value_span(text, key) {
        Some(span) => wrong.at(path, text, span),
        None => wrong.in_file(path),
    }
}

/// The value behind a key such as `packer.timeout`; the key itself where the value stands in the lines below it.
fn value_span(text: &str, key: &str) -> Option<Range<usize>> {
    let mut parts = key.split('.').peekable();
    let mut wanted = parts.next()?;
    let (mut inside, mut start) = (None, 0);
    for line in text.split_inclusive('\n') {
        let begin = start;
        start += line.len();
        let content = line.trim_start_matches([' ', '-']);
        let indent = line.len() - content.len();
        if content.trim().is_empty() || content.starts_with('#') {
            continue;
        }
        if inside.is_some_and(|outer| indent <= outer) {
            return None;
        }
        let Some(rest) = content
            .strip_prefix(wanted)
            .and_then(|rest| rest.strip_prefix(':'))
        else {
            continue;
        };
        if let Some(next) = parts.next() {
            (wanted, inside) = (next, Some(indent));
            continue;
        }
        let value = rest.split(" #").next().unwrap_or(rest).trim();
        let at = begin + indent;
        return Some(if value.is_empty() {
            at..at + wanted.len()
        } else {
            let at = at + content.len() - rest.trim_start().len();
            at..at + value.len()
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(text: &'a str, key: &str) -> Option<&'a str> {
        value_span(text, key).map(|span| &text[span])
    }

    #[test]
    fn a_value_is_found_at_its_own_depth() {
        let text = "# interval: 9m\npacker:\n  timeout: 1h # long\n  grace: \"5s\"\nretry:\n  max: soon\n\
                    interval: 5m\nrepositories:\n  - name: a\n    poll_interval: never\n";
        assert_eq!(found(text, "packer.timeout"), Some("1h"));
        assert_eq!(found(text, "packer.grace"), Some("\"5s\""));
        assert_eq!(found(text, "retry.max"), Some("soon"));
        assert_eq!(found(text, "interval"), Some("5m"));
        assert_eq!(found(text, "poll_interval"), Some("never"));
        assert_eq!(found(text, "repositories"), Some("repositories"));
        assert_eq!(found(text, "packer.max"), None);
        assert_eq!(found("packer: { timeout: soon }\n", "packer.timeout"), None);
    }
}
