//! Puts the values of secrets into rendered HCL files, where they are laid out for Packer and nowhere
//! else. Pure.
//!
//! A value is escaped for the place where its placeholder stands, so that it reaches Packer byte
//! for byte whatever is in it: quotes, line feeds, `${`. A placeholder in a comment stays one.

use std::collections::BTreeMap;

use crate::secrets::forms::hcl_quoted;
use crate::secrets::placeholder::places;
use reconciler_hcl::{Quotes, Template};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::secret_text::SecretText;

/// The texts of the files with these values in them; a file without placeholders comes back byte
/// for byte.
pub fn fill(
    template: &Template,
    values: &BTreeMap<String, SecretText>,
) -> Result<BTreeMap<String, String>, Diagnostic> {
    let texts = template.texts().iter();
    texts.map(|(name, text)| Ok((name.clone(), fill_file(template, name, text, values)?))).collect()
}

fn fill_file(
    template: &Template,
    name: &str,
    text: &str,
    values: &BTreeMap<String, SecretText>,
) -> Result<String, Diagnostic> {
    let found = places(text);
    if found.is_empty() {
        return Ok(text.to_owned());
    }
    let quoted = template.quoted(name)?;
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (one, place) in found {
        let Some(value) = values.get(&one.name) else {
            continue;
        };
        let around = quoted
            .iter()
            .filter(|quoted| quoted.place.start < place.start && place.end <= quoted.place.end)
            .min_by_key(|quoted| quoted.place.len());
        let escaped = hcl_quoted(value.expose());
        let Some(around) = around else { continue };
        out.push_str(&text[at..place.start]);
        match around.quotes {
            Quotes::String => out.push_str(&escaped),
            // A heredoc knows no escapes, and its indentation must not change.
            Quotes::Heredoc => out.push_str(&format!("${{\"{escaped}\"}}")),
        }
        at = place.end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::new([("x.pkr.hcl".to_owned(), text.to_owned())].into())
    }

    fn filled(text: &str, value: &str) -> String {
        let values = BTreeMap::from([("x".to_owned(), value.into())]);
        fill(&template(text), &values).unwrap().remove("x.pkr.hcl").unwrap()
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
        template(&out).quoted("x.pkr.hcl").unwrap();
    }

    #[test]
    fn a_comment_and_a_name_that_is_no_secret_stay_as_they_are() {
        let text = "# \"[reconciler-secret:x]\"\na = \"[reconciler-secret:other]\" // [reconciler-secret:x]\n";
        assert_eq!(filled(text, "value"), text);
    }
}
