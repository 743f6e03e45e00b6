//! Reads the YAML of a configuration file; what is wrong with it is said with its place, in the
//! words of people.

use crate::config::raw::RawConfig;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::suggest::nearest;

/// Reads the YAML of a file.
pub fn parse(path: &str, text: &str) -> Result<RawConfig, Diagnostic> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(RawConfig::default());
    }
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|error| explain(path, text, &error))
}

fn explain(path: &str, text: &str, error: &serde_yaml::Error) -> Diagnostic {
    let error = error.without_snippet();
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or(&said).trim().to_owned();
    let unknown = Unknown::of(&said);
    let mut wrong = Diagnostic::new(match &unknown {
        Some(unknown) => unknown.shown(),
        None => in_words(&said),
    });
    wrong = match error.location() {
        Some(location) => {
            let line = usize::try_from(location.line()).unwrap_or(1);
            let column = usize::try_from(location.column()).unwrap_or(1);
            let start: usize =
                text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
            let within = text
                .get(start..)
                .and_then(|rest| rest.char_indices().nth(column.saturating_sub(1)))
                .map_or(0, |(at, _)| at);
            let start = (start + within).min(text.len());
            let length = text[start..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .map(char::len_utf8)
                .sum::<usize>();
            wrong.at(path, text, start..start + length)
        }
        None => wrong.in_file(path),
    };
    match unknown {
        Some(unknown) => wrong.hint(unknown.hint()),
        None => wrong,
    }
}

/// What the parser expects, for people who do not know its types.
fn in_words(said: &str) -> String {
    if let Some(rest) = said.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(',').next().unwrap_or(rest);
        return format!("the key `{key}` is there twice");
    }
    let expected = match said {
        "expected string scalar" => "text is",
        "expected mapping start" => "keys with values are",
        "expected sequence start" => "a list is",
        "invalid u64" | "invalid usize" | "invalid u32" => "a whole number is",
        said if said.starts_with("invalid bool") => "true or false is",
        other => return other.to_owned(),
    };
    format!("{expected} expected here")
}

/// A key or a value that is none of those that there are.
pub(super) struct Unknown<'a> {
    /// `field`, `variant`.
    what: &'a str,
    name: &'a str,
    known: Vec<&'a str>,
}

impl<'a> Unknown<'a> {
    /// serde says: unknown field `x`, expected one of a, b (with or without back quotes); of two it
    /// says: `a` or `b`.
    pub(super) fn of(said: &'a str) -> Option<Self> {
        let (wrong, known) = said.strip_prefix("unknown ")?.split_once(", expected ")?;
        let known = known.split(" at line ").next().unwrap_or(known);
        let known =
            known.trim_start_matches("one of ").split(", ").flat_map(|some| some.split(" or "));
        Some(Self {
            what: wrong.split(' ').next()?,
            name: wrong.split('`').nth(1)?,
            known: known.map(|name| name.trim_matches('`')).collect(),
        })
    }

    /// What happened.
    pub(super) fn shown(&self) -> String {
        format!("unknown {} `{}`", self.what, self.name)
    }

    /// What there is: all of it, and the nearest first.
    pub(super) fn hint(&self) -> String {
        let known = format!("there are: {}", self.known.join(", "));
        match nearest(self.name, self.known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {known}"),
            None => known,
        }
    }
}
