//! Puts the values of secrets into a rendered HCL file, where it is laid out for Packer and nowhere
//! else. Pure.
//!
//! A value is escaped for the place where its placeholder stands, so that it reaches Packer byte
//! for byte whatever is in it: quotes, line feeds, `${`. A placeholder in a comment stays one.

use std::collections::BTreeMap;
use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::visit::{Visit, visit_expr, visit_object_key};

use crate::secrets::forms::hcl_quoted;
use crate::secrets::placeholder::places;
use reconciler_hcl::parse;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::secret_text::SecretText;

/// The file with these values in it; a file without placeholders comes back byte for byte.
pub fn fill(
    name: &str,
    text: &str,
    values: &BTreeMap<String, SecretText>,
) -> Result<String, Diagnostic> {
    let found = places(text);
    if found.is_empty() {
        return Ok(text.to_owned());
    }
    let shift = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut quoted = Quoted::default();
    quoted.visit_body(&parse(name, text)?);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (one, place) in found {
        let Some(value) = values.get(&one.name) else {
            continue;
        };
        let around = quoted
            .0
            .iter()
            .filter(|(span, _)| span.start + shift < place.start && place.end <= span.end + shift)
            .min_by_key(|(span, _)| span.len());
        let escaped = hcl_quoted(value.expose());
        let Some((_, kind)) = around else { continue };
        out.push_str(&text[at..place.start]);
        match kind {
            Kind::String => out.push_str(&escaped),
            // A heredoc knows no escapes, and its indentation must not change.
            Kind::Heredoc => out.push_str(&format!("${{\"{escaped}\"}}")),
        }
        at = place.end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

#[derive(Clone, Copy)]
enum Kind {
    String,
    Heredoc,
}

/// The places of a file where text stands.
#[derive(Default)]
struct Quoted(Vec<(Range<usize>, Kind)>);

impl Visit for Quoted {
    fn visit_expr(&mut self, node: &Expression) {
        let kind = match node {
            Expression::String(_) | Expression::StringTemplate(_) => Some(Kind::String),
            Expression::HeredocTemplate(_) => Some(Kind::Heredoc),
            _ => None,
        };
        self.0.extend(node.span().zip(kind));
        visit_expr(self, node);
    }

    fn visit_object_key(&mut self, node: &ObjectKey) {
        visit_object_key(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, value: &str) -> String {
        let values = BTreeMap::from([("x".to_owned(), value.into())]);
        fill("x.pkr.hcl", text, &values).unwrap()
    }

    #[test]
    fn a_value_is_escaped_for_the_place_where_it_stands() {
        let text = "a = \"u:[reconciler-secret:x]@h\"\nb = \"${lower(\"[reconciler-secret:x]\")}\"\nc = { k = [\"[reconciler-secret:x]\"] }\n";
        let value = "q\"b\\n\n${x}%{y}";
        let escaped = "q\\\"b\\\\n\\n$${x}%%{y}";
        assert_eq!(filled(text, value), text.replace("[reconciler-secret:x]", escaped));
    }

    #[test]
    fn in_a_heredoc_it_is_a_string_of_its_own() {
        let text = "\u{feff}a = <<-EOT\n    token: [reconciler-secret:x]\n  EOT\n";
        let out = filled(text, "one\ntwo");
        assert_eq!(out, "\u{feff}a = <<-EOT\n    token: ${\"one\\ntwo\"}\n  EOT\n");
        parse("x", &out).unwrap();
    }

    #[test]
    fn a_comment_and_a_name_that_is_no_secret_stay_as_they_are() {
        let text = "# \"[reconciler-secret:x]\"\na = \"[reconciler-secret:other]\" // [reconciler-secret:x]\n";
        assert_eq!(filled(text, "value"), text);
    }
}
