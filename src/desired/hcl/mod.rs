//! What can be told of a rendered template without Packer: that it is HCL, and that it makes exactly one image. Pure.

mod inspect;
mod sensitive;

use hcl_edit::structure::Body;

use crate::diagnostic::Diagnostic;

pub use inspect::{Inspection, inspect};
pub use sensitive::{Sensitive, sensitive};

/// Parses HCL; an error points at its place.
pub fn parse(path: &str, text: &str) -> Result<Body, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.parse::<Body>().map_err(|error| {
        let location = error.location();
        let offset = location.offset().min(text.len());
        let end = text[offset..]
            .chars()
            .next()
            .map_or(offset, |c| offset + c.len_utf8());
        Diagnostic::new(format!("malformed HCL: {}", error.message())).at(path, text, offset..end)
    })
}
