//! What can be told of a rendered template without Packer: that it is HCL, that it makes exactly
//! one image, whether it stays off the build host, and whether it shows a secret. Pure.

mod afterwards;
mod host_access;
mod inspect;
mod known;
mod makes;
mod parser_agreement;
mod review;
mod secret_exposure;
mod secret_flow;
mod sensitive;
mod wanted;

use std::collections::BTreeMap;

use hcl_edit::structure::Body;

use reconciler_model::diagnostic::Diagnostic;

pub use afterwards::afterwards_of;
pub use host_access::{LocalExec, StepFiles};
pub use inspect::{Inspection, inspect};
pub use review::{Surroundings, review};
pub use secret_exposure::refuse_shown;
pub use sensitive::{Sensitive, sensitive};
pub use wanted::Wanted;

/// A message about rendered files, without the values of `sensitive` variables in the lines that it
/// shows. A file that is no HCL cannot say where these are, so whatever is given to a name that may
/// be one is blotted out.
#[must_use]
pub fn blotted(rendered: &BTreeMap<String, String>, mut diagnostic: Diagnostic) -> Diagnostic {
    let declared = sensitive(rendered);
    for value in &declared.values {
        // A shorter one is a part of too many words.
        if value.len() >= 4 {
            diagnostic.message = diagnostic.message.replace(value.as_str(), "***");
        }
    }
    let Some(text) = diagnostic.place.as_mut().and_then(|place| place.text.as_mut()) else {
        return diagnostic;
    };
    let hides_defaults = text.contains("sensitive");
    let lines = text.split_inclusive('\n').map(|line| {
        let given = line.split_once('=').filter(|(name, _)| {
            let name = name.trim().trim_matches('"');
            declared.variables.contains(name)
                || (hides_defaults && matches!(name, "default" | "expression"))
        });
        given.map_or_else(
            || line.to_owned(),
            |(name, value)| {
                let value = value.chars().map(|c| match c {
                    '\n' | ' ' => c.to_string(),
                    c => "*".repeat(c.len_utf8()),
                });
                format!("{name}={}", value.collect::<String>())
            },
        )
    });
    let shown: String = lines.collect();
    *text = shown.into();
    diagnostic
}

/// Parses HCL; an error points at its place. What Packer would take apart differently is an error
/// as well.
pub fn parse(path: &str, text: &str) -> Result<Body, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    parser_agreement::readable(path, text)?;
    let body = text.parse::<Body>().map_err(|error| {
        let location = error.location();
        let offset = location.offset().min(text.len());
        let end = text[offset..].chars().next().map_or(offset, |c| offset + c.len_utf8());
        Diagnostic::new(format!("malformed HCL: {}", error.message())).at(path, text, offset..end)
    })?;
    parser_agreement::body(path, text, &body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_no_value_of_a_sensitive_variable() {
        let rendered = BTreeMap::from([
            ("x.pkr.hcl".to_owned(), "variable \"token\" {\n  sensitive = true\n}\n".to_owned()),
            ("x.pkrvars.hcl".to_owned(), "open = 1\ntoken = \"hush\n".to_owned()),
        ]);
        let wrong = blotted(&rendered, inspect(&rendered, &Wanted::default()).unwrap_err());
        let shown = wrong.render(false);
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("token = ***"), "{shown}");
    }
}
