//! The rendered files of a step: their texts, and what the parser makes of them.
//!
//! This is the only place that parses rendered files, and each is parsed at most once, when it is
//! first asked for: whoever wants to know something of a template asks the one value that goes from
//! the rendering to the build. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use hcl_edit::structure::Body;

use crate::parser_agreement;
use crate::sensitive::Sensitive;
use reconciler_model::diagnostic::Diagnostic;

/// The byte order mark, which may stand before the text of a file.
pub(crate) const MARK: char = '\u{feff}';

/// The rendered files of one step. Clones share what was parsed.
#[derive(Clone)]
pub struct Template(Arc<Parts>);

struct Parts {
    texts: BTreeMap<String, String>,
    /// In the order of the texts.
    bodies: OnceLock<Vec<Result<Body, Diagnostic>>>,
    sensitive: OnceLock<Sensitive>,
}

/// A file that was parsed.
#[derive(Clone, Copy)]
pub(crate) struct File<'a> {
    pub(crate) name: &'a str,
    /// Its text without a byte order mark, as the places of the body count it.
    pub(crate) text: &'a str,
    pub(crate) body: &'a Body,
}

impl File<'_> {
    /// A diagnostic at a place of the file.
    pub(crate) fn wrong(&self, message: String, span: Option<Range<usize>>) -> Diagnostic {
        let wrong = Diagnostic::new(message);
        match span.filter(|span| self.text.get(span.clone()).is_some()) {
            Some(span) => wrong.at(self.name, self.text, span),
            None => wrong.in_file(self.name),
        }
    }
}

impl Template {
    /// Of rendered files by name. Nothing is parsed yet.
    #[must_use]
    pub fn new(texts: BTreeMap<String, String>) -> Self {
        Self(Arc::new(Parts { texts, bodies: OnceLock::new(), sensitive: OnceLock::new() }))
    }

    /// The texts of the files by name.
    #[must_use]
    pub fn texts(&self) -> &BTreeMap<String, String> {
        &self.0.texts
    }

    /// What is parsed of each file, with its name: a body, or why there is none.
    pub fn bodies(&self) -> impl Iterator<Item = (&str, &Result<Body, Diagnostic>)> + Clone {
        let texts = &self.0.texts;
        let bodies = self
            .0
            .bodies
            .get_or_init(|| texts.iter().map(|(name, text)| parse(name, text)).collect());
        texts.keys().map(String::as_str).zip(bodies)
    }

    /// All files, in the order of their names, or why the first that is no HCL is none.
    pub(crate) fn files(&self) -> Result<Vec<File<'_>>, Diagnostic> {
        if let Some(why) = self.bodies().find_map(|(_, parsed)| parsed.as_ref().err()) {
            return Err(why.clone());
        }
        Ok(self.readable_files())
    }

    /// The files that are HCL, in the order of their names.
    pub(crate) fn readable_files(&self) -> Vec<File<'_>> {
        let files = self.bodies().zip(self.0.texts.values());
        let files = files.filter_map(|((name, parsed), text)| {
            let body = parsed.as_ref().ok()?;
            Some(File { name, text: without_mark(text), body })
        });
        files.collect()
    }

    /// What it declares `sensitive`. A file that is no HCL declares nothing.
    #[must_use]
    pub fn sensitive(&self) -> &Sensitive {
        self.0.sensitive.get_or_init(|| {
            // Most templates say nothing of the kind, and need not be parsed for that.
            if self.0.texts.values().any(|text| text.contains("sensitive")) {
                Sensitive::of(&self.readable_files())
            } else {
                Sensitive::default()
            }
        })
    }
}

/// Shows no text: secret parameters may stand in it.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.texts.keys()).finish()
    }
}

/// The bodies of files with their names, as those ask for them who look at all files together.
pub(crate) fn named<'a>(files: &[File<'a>]) -> impl Iterator<Item = (&'a str, &'a Body)> + Clone {
    files.iter().map(|file| (file.name, file.body))
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Parses a file; an error points at its place. What Packer would take apart differently is an
/// error as well.
fn parse(name: &str, text: &str) -> Result<Body, Diagnostic> {
    let text = without_mark(text);
    parser_agreement::readable(name, text)?;
    let body = text.parse::<Body>().map_err(|error| {
        let location = error.location();
        let offset = location.offset().min(text.len());
        let end = text[offset..].chars().next().map_or(offset, |c| offset + c.len_utf8());
        Diagnostic::new(format!("malformed HCL: {}", error.message())).at(name, text, offset..end)
    })?;
    parser_agreement::body(name, text, &body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wanted::Wanted;

    #[test]
    fn a_template_is_parsed_once_whoever_asks_and_not_before() {
        let template = Template::new(BTreeMap::from([
            ("a.pkr.hcl".to_owned(), "variable \"a\" {\n  sensitive = true\n}\n".to_owned()),
            ("b.pkr.hcl".to_owned(), "\u{feff}x = [\n".to_owned()),
        ]));
        let also = template.clone();
        assert!(also.0.bodies.get().is_none(), "nobody asked");
        let wrong = template.inspect(&Wanted::default()).unwrap_err();
        assert!(wrong.one_line().starts_with("b.pkr.hcl:"), "{}", wrong.one_line());
        let first = template.readable_files();
        assert_eq!(also.sensitive().variables.len(), 1);
        let _ = also.blotted(wrong);
        for (one, other) in first.iter().zip(also.readable_files()) {
            assert!(std::ptr::eq(one.body, other.body), "{}", one.name);
        }
    }

    #[test]
    fn what_does_not_speak_of_sensitive_variables_is_not_parsed_for_them() {
        let text = "variable \"a\" {}\n".to_owned();
        let template = Template::new(BTreeMap::from([("a.pkr.hcl".to_owned(), text)]));
        assert_eq!(*template.sensitive(), Sensitive::default());
        assert!(template.0.bodies.get().is_none());
    }
}
