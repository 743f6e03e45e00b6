//! Whether a secret may be in what an expression gives. Pure.
//!
//! Nothing is worked out: an expression holds a secret if one stands in it, or in anything that it
//! takes from elsewhere: variables and locals with every value that the files give them, data
//! sources, files that are laid out with secrets in them, the environment. What cannot be followed
//! counts as one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hcl_edit::Decorated;
use hcl_edit::expr::{Expression, FuncCall, Traversal, TraversalOperator};
use hcl_edit::structure::{BlockLabel, Body};
use hcl_edit::visit::{self, Visit};

use crate::host_access::values::Values;
use crate::template::{File, Template, named};
use reconciler_model::secret_text::is_telling;

/// Functions that fetch a secret from elsewhere.
const STORES: [&str; 3] = ["aws_secretsmanager", "consul_key", "vault"];

/// A data source that does.
const STORE: &str = "amazon-secretsmanager";

/// Where a secret comes from; no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stands there.
    Here,
    /// This variable or local has it.
    From(String),
    /// This is declared `sensitive`.
    Sensitive(String),
    /// No file gives this variable a value, and its name says what it is.
    Environment(String),
    /// This variable of the environment, by its name.
    Env(String),
    /// This file is laid out with secrets in it.
    File(String),
    /// This fetches one.
    Store(String),
    /// What this gives cannot be told.
    Unknown(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("it stands there"),
            Self::From(name) => write!(f, "it comes from `{name}`"),
            Self::Sensitive(name) => write!(f, "`{name}` is `sensitive`"),
            Self::Environment(name) => {
                write!(f, "`{name}` has its value from the environment")
            }
            Self::Env(name) => write!(f, "it comes from `env(\"{name}\")`"),
            Self::File(name) => write!(f, "the file {name} may hold one"),
            Self::Store(name) => write!(f, "`{name}` fetches one"),
            Self::Unknown(what) => write!(f, "what `{what}` gives cannot be told"),
        }
    }
}

/// Where the values of a step's files come from.
pub(super) struct Origins<'a> {
    values: Values<'a>,
    template: &'a Template,
    declared: BTreeSet<&'a str>,
    data: BTreeMap<(&'a str, &'a str), &'a Body>,
    holds: &'a dyn Fn(&str) -> bool,
    known: RefCell<BTreeMap<(String, String), Option<Origin>>>,
}

impl<'a> Origins<'a> {
    /// Of the files of a template. `holds` knows the secrets that stand in a text.
    pub(super) fn of(
        files: &[File<'a>],
        template: &'a Template,
        holds: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        let (mut declared, mut data) = (BTreeSet::new(), BTreeMap::new());
        for file in files {
            let labels = |kind| {
                let blocks = file.body.get_blocks(kind);
                blocks.filter_map(|block| {
                    let mut labels = block.labels.iter().map(BlockLabel::as_str);
                    Some((labels.next()?, labels.next().unwrap_or_default(), block))
                })
            };
            declared.extend(labels("variable").map(|(name, ..)| name));
            data.extend(labels("data").map(|(kind, name, block)| ((kind, name), &block.body)));
        }
        Self {
            values: Values::of(named(files)),
            template,
            declared,
            data,
            holds,
            known: RefCell::default(),
        }
    }

    /// A secret of an expression.
    pub(super) fn in_expression(&self, expression: &Expression) -> Option<Origin> {
        // As it is written too: a key of an object may be a bare word.
        if (self.holds)(&expression.to_string()) {
            return Some(Origin::Here);
        }
        let mut search = Search { origins: self, found: None };
        search.visit_expr(expression);
        search.found
    }

    /// A secret of any expression of a body.
    pub(super) fn in_body(&self, body: &Body) -> Option<Origin> {
        if (self.holds)(&body.to_string()) {
            return Some(Origin::Here);
        }
        let mut search = Search { origins: self, found: None };
        search.visit_body(body);
        search.found
    }

    /// A secret of `var.x`, `local.x`.
    fn in_reference(&self, root: &str, name: &str) -> Option<Origin> {
        let key = (root.to_owned(), name.to_owned());
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        // What refers to itself is answered by what else it refers to.
        self.known.borrow_mut().insert(key.clone(), None);
        let shown = format!("{root}.{name}");
        let sensitive = self.template.sensitive();
        let (given, hushed) = if root == "var" {
            (self.values.variable(name), &sensitive.variables)
        } else {
            (self.values.local(name), &sensitive.locals)
        };
        // Seeded bug: secret-through-a-variable
        let found = if hushed.contains(name) {
            Some(Origin::Sensitive(shown))
        } else if given.is_empty() && self.declared.contains(name) && is_telling(name) {
            Some(Origin::Environment(shown))
        } else {
            let found = given.iter().find_map(|value| self.in_expression(value));
            found.map(|origin| match origin {
                Origin::Here => Origin::From(shown),
                further => further,
            })
        };
        self.known.borrow_mut().insert(key, found.clone());
        found
    }

    fn in_data(&self, kind: &str, name: &str) -> Option<Origin> {
        if kind == STORE {
            return Some(Origin::Store(kind.to_owned()));
        }
        let body = self.data.get(&(kind, name))?;
        let key = ("data".to_owned(), format!("{kind}.{name}"));
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        self.known.borrow_mut().insert(key.clone(), None);
        let found = self.in_body(body).map(|origin| match origin {
            Origin::Here => Origin::From(format!("data.{kind}.{name}")),
            further => further,
        });
        self.known.borrow_mut().insert(key, found.clone());
        found
    }

    fn in_call(&self, call: &FuncCall) -> Option<Origin> {
        let name = call.name.name.as_str();
        if STORES.contains(&name) {
            return Some(Origin::Store(name.to_owned()));
        }
        let reads = name.starts_with("file") || name.starts_with("templatefile");
        if name != "env" && !reads {
            return None;
        }
        let unknown = || Origin::Unknown(name.to_owned());
        let Some(texts) = self.values.texts(call.args.iter().next()?) else {
            return Some(unknown());
        };
        texts.into_iter().find_map(|text| {
            if reads {
                let file = text.rsplit('/').next().unwrap_or(&text);
                let is_laid_out = self.template.texts().contains_key(file) || text.contains("{{");
                is_laid_out.then(|| Origin::File(file.to_owned()))
            } else {
                (is_telling(&text) || text.starts_with("AWS_")).then_some(Origin::Env(text))
            }
        })
    }
}

/// The search of one expression, as far as the first secret.
struct Search<'a> {
    origins: &'a Origins<'a>,
    found: Option<Origin>,
}

impl Search<'_> {
    fn take(&mut self, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.found.get_or_insert(origin);
        }
    }

    fn text(&mut self, text: &str) {
        if (self.origins.holds)(text) {
            self.take(Some(Origin::Here));
        }
    }
}

impl Visit for Search<'_> {
    fn visit_expr(&mut self, expression: &Expression) {
        if self.found.is_some() {
            return;
        }
        match expression {
            // All of them at once.
            Expression::Variable(name) if is_root(name.as_str()) => {
                self.take(Some(Origin::Unknown(name.as_str().to_owned())));
            }
            _ => visit::visit_expr(self, expression),
        }
    }

    fn visit_string(&mut self, text: &Decorated<String>) {
        self.text(text.value());
    }

    fn visit_literal(&mut self, text: &hcl_edit::Spanned<String>) {
        self.text(text.value());
    }

    fn visit_traversal(&mut self, traversal: &Traversal) {
        let root = match &traversal.expr {
            Expression::Variable(name) if is_root(name.as_str()) => name.as_str(),
            _ => return visit::visit_traversal(self, traversal),
        };
        let names: Vec<_> = traversal.operators.iter().map(|one| name(one)).collect();
        let origin = match (root, names.as_slice()) {
            ("data", [Some(kind), Some(name), ..]) => self.origins.in_data(kind, name),
            ("var" | "local", [Some(name), ..]) => self.origins.in_reference(root, name),
            _ => Some(Origin::Unknown(root.to_owned())),
        };
        self.take(origin);
        for operator in &traversal.operators {
            self.visit_traversal_operator(operator);
        }
    }

    fn visit_func_call(&mut self, call: &FuncCall) {
        let origin = self.origins.in_call(call);
        self.take(origin);
        visit::visit_func_call(self, call);
    }
}

/// Whether everything that files give hangs below this name.
fn is_root(name: &str) -> bool {
    matches!(name, "var" | "local" | "data")
}

/// `.x` and `["x"]`.
fn name(operator: &TraversalOperator) -> Option<&str> {
    match operator {
        TraversalOperator::GetAttr(name) => Some(name.as_str()),
        TraversalOperator::Index(Expression::String(name)) => Some(name.value()),
        _ => None,
    }
}
