//! What an expression gives, as far as the files of a step say it themselves: literals, and what
//! variables and locals are set to.
//!
//! What only Packer can work out (functions, loops, data sources, the environment of a build) is
//! [`Value::Unknown`]: neither absent, nor off, nor on. Whoever asks has to say what that means for
//! it. Pure.

use std::cell::Cell;
use std::collections::BTreeMap;

use hcl_edit::Decorated;
use hcl_edit::expr::{
    BinaryOp, BinaryOperator, Expression, Object, ObjectKey, Traversal, TraversalOperator,
    UnaryOperator,
};
use hcl_edit::structure::{Attribute, Body};
use hcl_edit::template::{Element, Strip};

/// Deeper references are not followed; a circle ends here.
const DEEPEST: usize = 32;

/// More expressions than this are not looked at for one value: lists of lists of locals would
/// multiply.
const MOST_LOOKS: usize = 4096;

/// A longer text is nobody's name.
const MOST_BYTES: usize = 64 * 1024;

/// What an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Only Packer can tell.
    Unknown,
    /// Nothing: an attribute of this value is as if it were not there.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// A list, of whose items some may be unknown.
    List(Vec<Value>),
    /// A map or an object.
    Map(BTreeMap<String, Value>),
}

/// What a switch of a template is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    On,
    Off,
    Unknown,
}

impl Value {
    /// The text, if it is a known one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As Packer takes it for a switch: a text may be one as well.
    pub(super) fn flag(&self) -> Flag {
        match self {
            Self::Bool(true) => Flag::On,
            Self::Bool(false) | Self::Null => Flag::Off,
            Self::Text(text) => match text.as_str() {
                "true" | "1" => Flag::On,
                "false" | "0" => Flag::Off,
                _ => Flag::Unknown,
            },
            _ => Flag::Unknown,
        }
    }

    fn part(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.clone()),
            Self::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::Number(_) | Self::Text(_))
    }
}

impl From<Flag> for Value {
    fn from(flag: Flag) -> Self {
        match flag {
            Flag::On => Self::Bool(true),
            Flag::Off => Self::Bool(false),
            Flag::Unknown => Self::Unknown,
        }
    }
}

/// What variables and locals are set to, as Packer decides it: of several values of a variable the
/// last one counts.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    defaults: BTreeMap<&'a str, Option<&'a Expression>>,
    given: BTreeMap<&'a str, &'a Expression>,
    locals: BTreeMap<&'a str, &'a Expression>,
    looks: Cell<usize>,
}

impl<'a> Known<'a> {
    /// Of all files of a step, each with its name, in the order of their names.
    pub(super) fn of(files: impl Iterator<Item = (&'a str, &'a Body)> + Clone) -> Self {
        let mut all = Self::default();
        // `*.auto.pkrvars.hcl` is read by Packer itself, before those that it is handed.
        let values = files.clone().filter(|(name, _)| name.ends_with(".pkrvars.hcl"));
        let is_auto = |name: &str| name.ends_with(".auto.pkrvars.hcl");
        let (first, last): (Vec<_>, Vec<_>) = values.partition(|(name, _)| is_auto(name));
        for (_, body) in first.into_iter().chain(last) {
            for Attribute { key, value, .. } in body.attributes() {
                all.given.insert(key.as_str(), value);
            }
        }
        for (_, body) in files.filter(|(name, _)| name.ends_with(".pkr.hcl")) {
            all.declarations(body);
        }
        all
    }

    fn declarations(&mut self, body: &'a Body) {
        for block in body.get_blocks("variable") {
            if let Some(label) = block.labels.first() {
                let default = block.body.get_attribute("default");
                let default = default.map(|attribute| &attribute.value);
                self.defaults.insert(label.as_str(), default);
            }
        }
        // The plural of `variable` is an old form that Packer still takes.
        for block in body.get_blocks("variables") {
            for Attribute { key, value, .. } in block.body.attributes() {
                self.defaults.insert(key.as_str(), Some(value));
            }
        }
        for block in body.get_blocks("local") {
            let value = block.body.get_attribute("expression");
            if let (Some(label), Some(value)) = (block.labels.first(), value) {
                self.locals.insert(label.as_str(), &value.value);
            }
        }
        for block in body.get_blocks("locals") {
            for Attribute { key, value, .. } in block.body.attributes() {
                self.locals.insert(key.as_str(), value);
            }
        }
    }

    /// The variables that are declared, each with whether a file of the step gives it a value.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'a str, bool)> + '_ {
        let given = |name: &str| self.given.contains_key(name);
        let declared = self.defaults.iter();
        declared.map(move |(name, default)| (*name, default.is_some() || given(name)))
    }

    /// The locals that are declared.
    pub(super) fn locals(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.locals.keys().copied()
    }

    /// What an expression gives.
    pub(super) fn value(&self, expression: &Expression) -> Value {
        self.looks.set(0);
        self.at(expression, 0)
    }

    /// What an attribute is set to; [`Value::Null`] where it is not there.
    pub(super) fn attribute(&self, body: &Body, key: &str) -> Value {
        let attribute = body.get_attribute(key);
        attribute.map_or(Value::Null, |attribute| self.value(&attribute.value))
    }

    fn at(&self, expression: &Expression, depth: usize) -> Value {
        self.looks.set(self.looks.get() + 1);
        if depth > DEEPEST || self.looks.get() > MOST_LOOKS {
            return Value::Unknown;
        }
        let deeper = |expression: &Expression| self.at(expression, depth + 1);
        match expression {
            Expression::Null(_) => Value::Null,
            Expression::Bool(flag) => Value::Bool(*flag.value()),
            Expression::Number(number) => Value::Number(number.value().to_string()),
            Expression::String(text) => Value::Text(text.value().clone()),
            Expression::Array(items) => Value::List(items.iter().map(deeper).collect()),
            Expression::Object(object) => self.object(object, depth),
            Expression::Parenthesis(inner) => deeper(inner.inner()),
            Expression::StringTemplate(template) => {
                let mut elements = template.iter();
                match (elements.next(), elements.next()) {
                    // Nothing but an interpolation keeps its kind.
                    (Some(Element::Interpolation(only)), None) => deeper(&only.expr),
                    _ => self.joined(template.iter(), depth),
                }
            }
            Expression::HeredocTemplate(heredoc) if heredoc.indent().is_none() => {
                self.joined(heredoc.template.iter(), depth)
            }
            Expression::Conditional(condition) => match deeper(&condition.cond_expr).flag() {
                Flag::On => deeper(&condition.true_expr),
                Flag::Off => deeper(&condition.false_expr),
                Flag::Unknown => {
                    let either = deeper(&condition.true_expr);
                    if either == deeper(&condition.false_expr) { either } else { Value::Unknown }
                }
            },
            Expression::Traversal(traversal) => self.reference(traversal, depth),
            Expression::UnaryOp(operation) => match operation.operator.value() {
                UnaryOperator::Not => match deeper(&operation.expr).flag() {
                    Flag::On => Value::Bool(false),
                    Flag::Off => Value::Bool(true),
                    Flag::Unknown => Value::Unknown,
                },
                UnaryOperator::Neg => Value::Unknown,
            },
            Expression::BinaryOp(operation) => self.operation(operation, depth),
            Expression::HeredocTemplate(_)
            | Expression::Variable(_)
            | Expression::FuncCall(_)
            | Expression::ForExpr(_) => Value::Unknown,
        }
    }

    fn object(&self, object: &Object, depth: usize) -> Value {
        let pairs = object.iter().map(|(key, value)| {
            let key = match key {
                ObjectKey::Ident(ident) => ident.as_str().to_owned(),
                ObjectKey::Expression(Expression::Variable(name)) => name.as_str().to_owned(),
                ObjectKey::Expression(expression) => self.at(expression, depth + 1).part()?,
            };
            Some((key, self.at(value.expr(), depth + 1)))
        });
        pairs.collect::<Option<_>>().map_or(Value::Unknown, Value::Map)
    }

    fn joined<'e>(&self, elements: impl Iterator<Item = &'e Element>, depth: usize) -> Value {
        let mut text = String::new();
        for element in elements {
            let part = match element {
                Element::Literal(text) => Some(text.value().clone()),
                // `~` takes white space away from what stands beside it.
                Element::Interpolation(inner) if inner.strip == Strip::None => {
                    self.at(&inner.expr, depth + 1).part()
                }
                Element::Interpolation(_) | Element::Directive(_) => None,
            };
            match part {
                Some(part) if text.len() + part.len() <= MOST_BYTES => text.push_str(&part),
                _ => return Value::Unknown,
            }
        }
        Value::Text(text)
    }

    /// `var.x`, `local.x`, and what is within their values.
    fn reference(&self, traversal: &Traversal, depth: usize) -> Value {
        let Expression::Variable(root) = &traversal.expr else {
            return Value::Unknown;
        };
        let mut operators = traversal.operators.iter().map(Decorated::value);
        let Some(TraversalOperator::GetAttr(name)) = operators.next() else {
            return Value::Unknown;
        };
        let name = name.as_str();
        let set = match root.as_str() {
            // Packer starts in the step's folder, and the templates lie in it.
            "path" if matches!(name, "root" | "cwd") => return Value::Text(".".to_owned()),
            "var" => match self.defaults.get(name) {
                Some(default) => self.given.get(name).copied().or(*default),
                None => None,
            },
            "local" => self.locals.get(name).copied(),
            _ => None,
        };
        let Some(set) = set else {
            return Value::Unknown;
        };
        operators.fold(self.at(set, depth + 1), |value, operator| {
            let key = match operator {
                TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
                TraversalOperator::Index(index) => self.at(index, depth + 1).part(),
                TraversalOperator::LegacyIndex(at) => Some(at.value().to_string()),
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => None,
            };
            let found = match (value, key) {
                (Value::Map(mut map), Some(key)) => map.remove(&key),
                (Value::List(mut items), Some(key)) => match key.parse::<usize>() {
                    Ok(at) if at < items.len() => Some(items.swap_remove(at)),
                    _ => None,
                },
                _ => None,
            };
            found.unwrap_or(Value::Unknown)
        })
    }

    fn operation(&self, operation: &BinaryOp, depth: usize) -> Value {
        let left = self.at(&operation.lhs_expr, depth + 1);
        let right = self.at(&operation.rhs_expr, depth + 1);
        let flags = (left.flag(), right.flag());
        match operation.operator.value() {
            BinaryOperator::And => Value::from(match flags {
                (Flag::Off, _) | (_, Flag::Off) => Flag::Off,
                (Flag::On, Flag::On) => Flag::On,
                _ => Flag::Unknown,
            }),
            BinaryOperator::Or => Value::from(match flags {
                (Flag::On, _) | (_, Flag::On) => Flag::On,
                (Flag::Off, Flag::Off) => Flag::Off,
                _ => Flag::Unknown,
            }),
            BinaryOperator::Eq | BinaryOperator::NotEq if is_comparable(&left, &right) => {
                let same = left == right;
                Value::Bool(same == (*operation.operator.value() == BinaryOperator::Eq))
            }
            _ => Value::Unknown,
        }
    }
}

/// Values of one kind; how Packer takes a number for a text is its own business.
fn is_comparable(left: &Value, right: &Value) -> bool {
    left.is_plain()
        && right.is_plain()
        && std::mem::discriminant(left) == std::mem::discriminant(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `x` of a template gives, beside declarations and values.
    fn value(expression: &str, declared: &str, given: &str) -> Value {
        let text = format!("{declared}\nx = {expression}\n");
        let template: Body = text.parse().unwrap();
        let given: Body = given.parse().unwrap();
        let files = [("a.pkr.hcl", &template), ("a.pkrvars.hcl", &given)];
        let known = Known::of(files.into_iter());
        known.attribute(&template, "x")
    }

    const DECLARED: &str = "variable \"on\" {\n  default = true\n}\nvariable \"name\" {\n  default = \"n\"\n}\nvariable \"unset\" {}\n\
        variable \"map\" {\n  default = { a = [\"b\", { c = \"d\" }] }\n}\nlocals {\n  one = \"${var.name}-1\"\n  round = local.round\n}\n\
        local \"two\" {\n  expression = upper(var.name)\n}\n";

    #[test]
    fn what_is_plain_is_followed_and_what_is_not_is_unknown() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (expression, expected) in [
            ("null", Value::Null),
            ("\"a\"", text("a")),
            ("var.on", Value::Bool(true)),
            ("!var.on", Value::Bool(false)),
            ("var.name", text("n")),
            ("\"${var.name}\"", text("n")),
            ("\"${var.on}\"", Value::Bool(true)),
            ("\"a-${var.name}-${1}\"", text("a-n-1")),
            ("local.one", text("n-1")),
            ("local.two", Value::Unknown),
            ("local.round", Value::Unknown),
            ("local.nowhere", Value::Unknown),
            ("var.unset", Value::Unknown),
            ("var.map.a[0]", text("b")),
            ("var.map[\"a\"][1].c", text("d")),
            ("var.map.b", Value::Unknown),
            ("var.on ? \"y\" : \"n\"", text("y")),
            ("var.unset ? \"y\" : \"n\"", Value::Unknown),
            ("var.unset ? \"y\" : \"y\"", text("y")),
            ("var.name == \"n\" && var.on", Value::Bool(true)),
            ("var.unset || var.on", Value::Bool(true)),
            ("var.unset && var.on", Value::Unknown),
            ("var.name != \"n\"", Value::Bool(false)),
            ("[var.name, f()]", Value::List(vec![text("n"), Value::Unknown])),
            ("\"%{ if var.on }a%{ endif }\"", Value::Unknown),
            ("(\"a\")", text("a")),
            ("<<EOT\na\nEOT\n", text("a\n")),
            ("path.root", text(".")),
            ("source.name", Value::Unknown),
        ] {
            assert_eq!(value(expression, DECLARED, ""), expected, "{expression}");
        }
        let given = "name = \"given\"\nunset = 7\nundeclared = 1\n";
        assert_eq!(value("var.name", DECLARED, given), text("given"));
        assert_eq!(value("var.unset", DECLARED, given), Value::Number("7".to_owned()));
        assert_eq!(value("var.undeclared", DECLARED, given), Value::Unknown);
    }

    #[test]
    fn a_text_is_a_switch_as_it_is_for_packer() {
        let flag = |expression: &str| value(expression, DECLARED, "").flag();
        for on in ["true", "\"true\"", "\"1\"", "var.on"] {
            assert_eq!(flag(on), Flag::On, "{on}");
        }
        for off in ["false", "\"false\"", "\"0\"", "null", "!var.on"] {
            assert_eq!(flag(off), Flag::Off, "{off}");
        }
        for unknown in ["var.unset", "tobool(\"false\")", "\"maybe\"", "[]"] {
            assert_eq!(flag(unknown), Flag::Unknown, "{unknown}");
        }
    }

    #[test]
    fn of_several_values_the_one_that_packer_takes_last_counts() {
        let bodies = [
            ("a.pkr.hcl", "variable \"v\" {\n  default = \"default\"\n}\nx = var.v\n"),
            ("a.pkrvars.hcl", "v = \"handed\"\n"),
            ("z.auto.pkrvars.hcl", "v = \"auto\"\n"),
            ("zpkrvars.hcl", "v = \"not read by Packer\"\n"),
        ];
        let bodies = bodies.map(|(name, text)| (name, text.parse::<Body>().unwrap()));
        let known = Known::of(bodies.iter().map(|(name, body)| (*name, body)));
        let value = known.attribute(&bodies[0].1, "x");
        assert_eq!(value, Value::Text("handed".to_owned()));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may measure")]
    fn what_multiplies_is_given_up() {
        let mut declared = "locals {\n  l0 = [1, 1]\n".to_owned();
        for at in 1..30 {
            declared += &format!("  l{at} = [local.l{}, local.l{}]\n", at - 1, at - 1);
        }
        declared += "}\n";
        let begun = std::time::Instant::now();
        let _ = value("local.l29", &declared, "");
        assert!(begun.elapsed().as_secs() < 5);
    }
}
