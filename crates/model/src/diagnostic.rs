//! What a person is told when something in their files is wrong: what happened, where, and what to
//! do.
//!
//! Every stage turns its own errors into this one shape; only `commands` prints it. It never reads
//! a file: the text that a caret points into is handed in.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong, said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What happened, as a lower-case fragment without a full stop.
    pub message: String,
    /// Where, if there is a place.
    pub place: Option<Place>,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
}

/// A place in a file of the repository or of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the user would name it.
    pub path: String,
    /// The file's text, when a caret can be drawn.
    pub text: Option<Arc<str>>,
    /// The byte range in `text` that is meant.
    pub span: Option<Range<usize>>,
    /// A word under the caret.
    pub label: Option<String>,
}

impl Diagnostic {
    /// A message without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, hint: None }
    }

    /// Names the file that is meant.
    #[must_use]
    pub fn in_file(mut self, path: impl Into<String>) -> Self {
        self.place = Some(Place { path: path.into(), text: None, span: None, label: None });
        self
    }

    /// Names the file and the bytes in its text that are meant.
    #[must_use]
    pub fn at(
        mut self,
        path: impl Into<String>,
        text: impl Into<Arc<str>>,
        span: Range<usize>,
    ) -> Self {
        self.place = Some(Place {
            path: path.into(),
            text: Some(text.into()),
            span: Some(span),
            label: None,
        });
        self
    }

    /// Points at the first byte that is not UTF-8. `text` is the file with the replacement
    /// character for each such byte, `at` how many bytes before it are sound.
    #[must_use]
    pub fn not_utf8(path: impl Into<String>, text: impl Into<Arc<str>>, at: usize) -> Self {
        let wrong = Self::new(format!("is not UTF-8: the byte at {at} is wrong"));
        wrong.at(path, text, at..at + char::REPLACEMENT_CHARACTER.len_utf8())
    }

    /// Puts a word under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(place) = &mut self.place {
            place.label = Some(label.into());
        }
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Line and column of the place, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let place = self.place.as_ref()?;
        let before = place.text.as_ref()?.get(..place.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }

    /// The one-line form: `path:line:column: message`.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut out = String::new();
        if let Some(place) = &self.place {
            out.push_str(&place.path);
            if let Some((line, column)) = self.line_column() {
                let _ = write!(out, ":{line}:{column}");
            }
            out.push_str(": ");
        }
        out.push_str(self.message.lines().next().unwrap_or_default());
        out
    }

    /// The full form, with the source line, a caret and the hint; coloured if `colour` says so.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let title = Level::ERROR.primary_title(self.message.as_str());
        let hint = |group: Group<'_>| match &self.hint {
            Some(hint) => renderer.render(&[group.element(Level::HELP.message(hint.as_str()))]),
            None => renderer.render(&[group]),
        };
        match &self.place {
            Some(Place { path, text: Some(text), span: Some(span), label }) => {
                let end = span.end.min(text.len()).max(span.start.min(text.len()));
                let annotation = AnnotationKind::Primary
                    .span(span.start.min(text.len())..end)
                    .label(label.as_deref());
                hint(title.element(
                    Snippet::source(text.as_ref()).path(path.as_str()).annotation(annotation),
                ))
            }
            Some(Place { path, .. }) => {
                hint(title.element(annotate_snippets::Origin::path(path.as_str())))
            }
            None => hint(Group::with_title(title)),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line())
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_line_column_and_caret() {
        let text = "{\n  \"step_id\": 7\n}\n";
        let wrong = Diagnostic::new("`step_id` must be a string")
            .at("s01/step_param.json", text, 15..16)
            .hint("write \"7\"");
        assert_eq!(wrong.one_line(), "s01/step_param.json:2:14: `step_id` must be a string");
        let full = wrong.render(false);
        assert!(full.contains("--> s01/step_param.json:2:14"), "{full}");
        assert!(full.contains('^'), "{full}");
        assert!(full.contains("help: write \"7\""), "{full}");
    }
}
