//! What can be told of a rendered template without Packer: that it is HCL, that it makes exactly one image, and whether
//! it stays off the build host. Pure.

mod inspect;
mod local_exec;
mod sensitive;

use hcl_edit::structure::Body;

use crate::diagnostic::Diagnostic;

pub use inspect::{Inspection, inspect};
pub use local_exec::{LocalExec, StepFiles};
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
