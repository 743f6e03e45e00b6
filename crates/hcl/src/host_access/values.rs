//! Which texts an expression may stand for, as far as the files themselves say it: literals,
//! conditions, variables and locals.
//!
//! All that are possible, or nothing: whoever proves something must prove it of every one.

use std::cell::Cell;
use std::collections::BTreeMap;

use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::{Attribute, Body};
use hcl_edit::template::{Element, Strip};

/// Deeper references are not followed; a circle ends here.
const DEEPEST: usize = 16;

/// More texts than this are not compared one by one.
const MOST: usize = 256;

/// More expressions than this are not looked at for one text: lists of lists of locals would
/// multiply.
const MOST_LOOKS: usize = 4096;

/// What variables and locals are set to, wherever that is.
#[derive(Debug, Default)]
pub(crate) struct Values<'a> {
    variables: BTreeMap<&'a str, Vec<&'a Expression>>,
    locals: BTreeMap<&'a str, Vec<&'a Expression>>,
    looks: Cell<usize>,
    hidden: bool,
}

impl<'a> Values<'a> {
    /// Those of a place where any name may stand for something else: none but what is written out.
    pub(super) fn hidden() -> Self {
        Self { hidden: true, ..Self::default() }
    }

    /// Collects from all files of a step, each with its name.
    pub(crate) fn of(files: impl Iterator<Item = (&'a str, &'a Body)>) -> Self {
        let mut all = Self::default();
        for (name, body) in files {
            if name.ends_with("pkrvars.hcl") {
                for Attribute { key, value, .. } in body.attributes() {
                    all.variables.entry(key.as_str()).or_default().push(value);
                }
                continue;
            }
            for (kind, key) in [("variable", "default"), ("local", "expression")] {
                for block in body.get_blocks(kind) {
                    let (Some(label), Some(value)) =
                        (block.labels.first(), block.body.get_attribute(key))
                    else {
                        continue;
                    };
                    let into =
                        if kind == "variable" { &mut all.variables } else { &mut all.locals };
                    into.entry(label.as_str()).or_default().push(&value.value);
                }
            }
            // The plural of `variable` is an old form that Packer still takes.
            for (kind, into) in [("locals", &mut all.locals), ("variables", &mut all.variables)] {
                for block in body.get_blocks(kind) {
                    for Attribute { key, value, .. } in block.body.attributes() {
                        into.entry(key.as_str()).or_default().push(value);
                    }
                }
            }
        }
        all
    }

    /// What the files set a variable to.
    pub(crate) fn variable(&self, name: &str) -> &[&'a Expression] {
        self.variables.get(name).map_or(&[], Vec::as_slice)
    }

    /// What the files set a local to.
    pub(crate) fn local(&self, name: &str) -> &[&'a Expression] {
        self.locals.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every text that an expression may stand for; a list stands for each of its items. None if it
    /// cannot be told.
    pub(crate) fn texts(&self, expression: &Expression) -> Option<Vec<String>> {
        self.looks.set(0);
        self.at(expression, 0)
    }

    fn at(&self, expression: &Expression, depth: usize) -> Option<Vec<String>> {
        self.looks.set(self.looks.get() + 1);
        if depth > DEEPEST || self.looks.get() > MOST_LOOKS {
            return None;
        }
        let texts = match expression {
            Expression::String(text) => vec![text.value().clone()],
            Expression::Null(_) => Vec::new(),
            Expression::StringTemplate(template) => self.joined(template.iter(), depth)?,
            Expression::HeredocTemplate(heredoc) => self.joined(heredoc.template.iter(), depth)?,
            Expression::Parenthesis(inner) => self.at(inner.inner(), depth + 1)?,
            Expression::Conditional(condition) => {
                self.all([&condition.true_expr, &condition.false_expr].into_iter(), depth)?
            }
            Expression::Array(items) => self.all(items.iter(), depth)?,
            Expression::Traversal(traversal) => self.reference(traversal, depth)?,
            _ => return None,
        };
        (texts.len() <= MOST).then_some(texts)
    }

    fn all<'e>(
        &self,
        expressions: impl Iterator<Item = &'e Expression>,
        depth: usize,
    ) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for expression in expressions {
            texts.extend(self.at(expression, depth + 1)?);
            if texts.len() > MOST {
                return None;
            }
        }
        Some(texts)
    }

    fn joined<'e>(
        &self,
        elements: impl Iterator<Item = &'e Element>,
        depth: usize,
    ) -> Option<Vec<String>> {
        let mut texts = vec![String::new()];
        for element in elements {
            let parts = match element {
                Element::Literal(text) => vec![text.value().clone()],
                // `~` takes white space away from what stands beside it.
                Element::Interpolation(inner) if inner.strip == Strip::None => {
                    self.at(&inner.expr, depth + 1)?
                }
                Element::Interpolation(_) | Element::Directive(_) => return None,
            };
            if texts.len() * parts.len() > MOST {
                return None;
            }
            texts = texts
                .iter()
                .flat_map(|begin| parts.iter().map(move |part| format!("{begin}{part}")))
                .collect();
        }
        Some(texts)
    }

    /// `var.x`, `local.x`, `path.root`; nothing that reaches into a map or a list.
    fn reference(&self, traversal: &Traversal, depth: usize) -> Option<Vec<String>> {
        let Expression::Variable(root) = &traversal.expr else {
            return None;
        };
        let [operator] = traversal.operators.as_slice() else {
            return None;
        };
        let TraversalOperator::GetAttr(name) = operator.value() else {
            return None;
        };
        if self.hidden {
            return None;
        }
        let set = match root.as_str() {
            // Packer starts in the step's folder, and the templates lie in it.
            "path" if matches!(name.as_str(), "root" | "cwd") => return Some(vec![".".to_owned()]),
            "var" => self.variables.get(name.as_str())?,
            "local" => self.locals.get(name.as_str())?,
            _ => return None,
        };
        self.all(set.iter().copied(), depth)
    }
}
