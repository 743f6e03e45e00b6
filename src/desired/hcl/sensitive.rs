//! Which values of a template are secret: those of variables and locals that it declares `sensitive`.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;

use crate::desired::hcl::parse;

/// What a template declares `sensitive`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sensitive {
    /// The names of the variables.
    pub variables: BTreeSet<String>,
    /// The values that the files give them.
    pub values: BTreeSet<String>,
}

/// Looks at the rendered files of a step together. A file that is no HCL declares nothing.
#[must_use]
pub fn sensitive(rendered: &BTreeMap<String, String>) -> Sensitive {
    let bodies: Vec<_> = rendered
        .iter()
        .filter_map(|(name, text)| Some((name, parse(name, text).ok()?)))
        .collect();
    let mut found = Sensitive::default();
    for (name, body) in &bodies {
        if !name.ends_with("pkr.hcl") {
            continue;
        }
        for (kind, value) in [("variable", "default"), ("local", "expression")] {
            for block in body.get_blocks(kind).filter(|block| declared(&block.body)) {
                found.literals_of(&block.body, value);
                if let (Some(label), "variable") = (block.labels.first(), kind) {
                    found.variables.insert(label.as_str().to_owned());
                }
            }
        }
    }
    for (name, body) in &bodies {
        if name.ends_with("pkrvars.hcl") {
            for variable in found.variables.clone() {
                found.literals_of(body, &variable);
            }
        }
    }
    found
}

fn declared(body: &Body) -> bool {
    body.get_attribute("sensitive").is_some_and(
        |attribute| matches!(&attribute.value, Expression::Bool(flag) if *flag.value()),
    )
}

impl Sensitive {
    fn literals_of(&mut self, body: &Body, key: &str) {
        if let Some(attribute) = body.get_attribute(key) {
            self.literals(&attribute.value);
        }
    }

    fn literals(&mut self, value: &Expression) {
        match value {
            Expression::String(text) => {
                self.values.insert(text.value().clone());
            }
            Expression::Number(number) => {
                self.values.insert(number.value().to_string());
            }
            Expression::HeredocTemplate(text) => {
                self.values.insert(text.template.to_string());
            }
            Expression::Array(items) => items.iter().for_each(|item| self.literals(item)),
            Expression::Object(map) => map.iter().for_each(|(_, item)| self.literals(item.expr())),
            Expression::Parenthesis(inner) => self.literals(inner.inner()),
            Expression::FuncCall(call) => call.args.iter().for_each(|item| self.literals(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_sensitive_variables_are_found_wherever_they_are_given() {
        let declared = "variable \"token\" {\n  default = \"from-default\"\n  sensitive = true\n}\n\
            variable \"keys\" {\n  sensitive = true\n}\nvariable \"open\" {\n  default = \"shown\"\n}\n\
            local \"joined\" {\n  expression = \"local-secret\"\n  sensitive = true\n}\n";
        let values = "token = \"from-file\"\nkeys = [\"first\", { a = \"second\" }]\nopen = \"also shown\"\n";
        let found = sensitive(&BTreeMap::from([
            ("x.pkr.hcl".to_owned(), declared.to_owned()),
            ("x.pkrvars.hcl".to_owned(), values.to_owned()),
        ]));
        let expected = [
            "first",
            "from-default",
            "from-file",
            "local-secret",
            "second",
        ];
        assert_eq!(found.values, expected.map(str::to_owned).into());
        assert_eq!(found.variables, ["keys", "token"].map(str::to_owned).into());
    }
}
