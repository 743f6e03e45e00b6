//! Which values of a template are secret: those of variables and locals that it declares
//! `sensitive`. Pure.
//!
//! What Packer works out is worked out here as far as literals, conditions, variables and locals
//! go; of what goes further the literal parts count, if they are long enough not to be anybody's.

use std::collections::BTreeSet;

use hcl_edit::expr::{Expression, ObjectKey, Traversal, TraversalOperator};
use hcl_edit::structure::Body;
use hcl_edit::visit::{self, Visit};
use hcl_edit::{Decorated, Formatted, Number, Spanned};

use crate::host_access::values::Values;
use crate::template::{File, Template, named};
use reconciler_model::diagnostic::Diagnostic;

/// A shorter part of a text that is only known in part is no secret by itself.
const SHORTEST_PART: usize = 8;

/// What a template declares `sensitive`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitive {
    /// The names of the variables.
    pub variables: BTreeSet<String>,
    /// The names of the locals.
    pub locals: BTreeSet<String>,
    /// The values that the files give them.
    pub values: BTreeSet<String>,
}

impl Sensitive {
    /// Looks at the files of a template together.
    pub(crate) fn of(files: &[File<'_>]) -> Self {
        let mut found = Self::default();
        for file in files.iter().filter(|file| file.name.ends_with("pkr.hcl")) {
            for (kind, into) in [("variable", &mut found.variables), ("local", &mut found.locals)] {
                let blocks = file.body.get_blocks(kind);
                let declared = blocks
                    .filter(|block| is_declared(&block.body))
                    .filter_map(|block| block.labels.first());
                into.extend(declared.map(|label| label.as_str().to_owned()));
            }
        }
        let values = Values::of(named(files));
        let given = (found.variables.iter().map(|name| values.variable(name)))
            .chain(found.locals.iter().map(|name| values.local(name)));
        let mut literals =
            Literals { values: &values, followed: BTreeSet::new(), found: BTreeSet::new() };
        for expression in given.flatten() {
            literals.visit_expr(expression);
        }
        found.values = literals.found;
        found
    }
}

impl Template {
    /// A message about the files, without the values of `sensitive` variables in the lines that it
    /// shows. A file that is no HCL cannot say where these are, so whatever is given to a name that may
    /// be one is blotted out.
    #[must_use]
    pub fn blotted(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let declared = self.sensitive();
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
}

/// Packer takes a text for a flag too, and what cannot be told here may be one.
fn is_declared(body: &Body) -> bool {
    let Some(flag) = body.get_attribute("sensitive") else {
        return false;
    };
    match &flag.value {
        Expression::Bool(flag) => *flag.value(),
        Expression::String(text) => !matches!(text.as_str(), "false" | "0"),
        Expression::Null(_) => false,
        _ => true,
    }
}

/// Collects the texts that an expression is made of.
struct Literals<'a> {
    values: &'a Values<'a>,
    followed: BTreeSet<(String, String)>,
    found: BTreeSet<String>,
}

impl Visit for Literals<'_> {
    fn visit_expr(&mut self, expression: &Expression) {
        let Some(texts) = self.values.texts(expression) else {
            return visit::visit_expr(self, expression);
        };
        if matches!(expression, Expression::HeredocTemplate(_)) {
            // `<<-` takes an indentation away.
            let trimmed = texts.iter().map(|text| {
                let lines: Vec<_> = text.lines().map(str::trim_start).collect();
                lines.join("\n")
            });
            self.found.extend(trimmed);
        }
        self.found.extend(texts);
    }

    fn visit_object_key(&mut self, _: &ObjectKey) {
        // Everybody's word.
    }

    fn visit_string(&mut self, text: &Decorated<String>) {
        self.found.insert(text.value().clone());
    }

    fn visit_number(&mut self, number: &Formatted<Number>) {
        self.found.insert(number.value().to_string());
    }

    fn visit_literal(&mut self, text: &Spanned<String>) {
        if text.len() >= SHORTEST_PART {
            self.found.insert(text.value().clone());
        }
    }

    fn visit_traversal(&mut self, traversal: &Traversal) {
        // `var.map.key`: whatever is in the map.
        let name = traversal.operators.first().map(Decorated::value);
        let (Expression::Variable(root), Some(TraversalOperator::GetAttr(name))) =
            (&traversal.expr, name)
        else {
            return visit::visit_expr(self, &traversal.expr);
        };
        let key = (root.as_str().to_owned(), name.as_str().to_owned());
        if !self.followed.insert(key) {
            return;
        }
        let values = self.values;
        let given = match root.as_str() {
            "var" => values.variable(name.as_str()),
            "local" => values.local(name.as_str()),
            _ => &[],
        };
        for value in given {
            self.visit_expr(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wanted::Wanted;

    fn template(declared: &str, given: &str) -> Template {
        let rendered = [("x.pkr.hcl", declared), ("x.pkrvars.hcl", given)];
        let rendered = rendered.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Template::new(rendered.into())
    }

    #[test]
    fn a_message_shows_no_value_of_a_sensitive_variable() {
        let declared = "variable \"token\" {\n  sensitive = true\n}\n";
        let template = template(declared, "open = 1\ntoken = \"hush\n");
        let wrong = template.blotted(template.inspect(&Wanted::default()).unwrap_err());
        let shown = wrong.render(false);
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("token = ***"), "{shown}");
    }

    #[test]
    fn the_values_of_sensitive_variables_are_found_wherever_they_are_given() {
        let declared = "variable \"token\" {\n  default = \"from-default\"\n  sensitive = true\n}\n\
            variable \"keys\" {\n  sensitive = true\n}\nvariable \"open\" {\n  default = \"shown\"\n}\n\
            local \"joined\" {\n  expression = \"local-secret\"\n  sensitive = true\n}\n";
        let values = "token = \"from-file\"\nkeys = [\"first\", { a = \"second\" }]\nopen = \"also shown\"\n";
        let template = template(declared, values);
        let found = template.sensitive();
        let expected = ["first", "from-default", "from-file", "local-secret", "second"];
        assert_eq!(found.values, expected.map(str::to_owned).into());
        assert_eq!(found.variables, ["keys", "token"].map(str::to_owned).into());
    }

    fn values(declared: &str, given: &str) -> Vec<String> {
        template(declared, given).sensitive().values.iter().cloned().collect()
    }

    #[test]
    fn a_text_is_a_flag_as_it_is_for_packer() {
        let of = |flag: &str| {
            let declared = format!("variable \"a\" {{\n  sensitive = {flag}\n}}\n");
            values(&declared, "a = \"hush\"\n").len()
        };
        for flag in ["true", "\"true\"", "\"1\"", "(true)", "var.b"] {
            assert_eq!(of(flag), 1, "{flag}");
        }
        for flag in ["false", "\"false\"", "null"] {
            assert_eq!(of(flag), 0, "{flag}");
        }
    }

    #[test]
    fn a_value_that_packer_puts_together_is_known() {
        let declared = "variable \"a\" {\n  sensitive = true\n}\nvariable \"b\" {\n  default = \"two\"\n}\n\
            variable \"map\" {\n  default = { k = \"of a map\" }\n}\n";
        for (given, found) in [
            ("\"one ${var.b} three\"", &["one two three"][..]),
            ("var.b", &["two"]),
            ("<<EOT\n  one\n  ${var.b}\nEOT\n", &["  one\n  two\n", "one\ntwo"]),
            ("true ? \"x\" : var.b", &["two", "x"]),
            ("var.map.k", &["of a map"]),
            ("base64encode(\"inner\")", &["inner"]),
            ("\"known-part ${uuidv4()} no\"", &["known-part "]),
        ] {
            let declared =
                declared.replace("  sensitive", &format!("  default = {given}\n  sensitive"));
            assert_eq!(values(&declared, ""), found, "{given}");
        }
    }
}
