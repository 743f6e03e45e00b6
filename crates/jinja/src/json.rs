//! JSON as Jinja2's `tojson` writes it: Python's `json.dumps` with sorted keys and ASCII only, and
//! `<`, `>`, `&`, `'` escaped.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::arguments::bounded;
use crate::repr::{float, items, python_str, refuse_depth};
use crate::sequences::listed;

/// The text of a value.
pub(super) fn to_json(value: &Value, indent: Option<usize>) -> Result<String, Error> {
    let mut out = String::new();
    write(&mut out, value, indent, 0)?;
    Ok(out)
}

fn write(
    out: &mut String,
    value: &Value,
    indent: Option<usize>,
    depth: usize,
) -> Result<(), Error> {
    refuse_depth(depth)?;
    bounded(out.len(), "tojson")?;
    match value.kind() {
        ValueKind::Undefined => return Err(super::guard::undefined(value)),
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => {
            let number = f64::try_from(value.clone())?;
            out.push_str(&match number {
                n if n.is_nan() => "NaN".to_owned(),
                n if n.is_infinite() => if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
                n => float(n),
            });
        }
        ValueKind::String => string(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = listed(value)?;
            list(out, &items, ('[', ']'), indent, depth, |out, item| {
                write(out, item, indent, depth + 1)
            })?;
        }
        ValueKind::Map => {
            let mut keys = items(value);
            keys.sort();
            list(out, &keys, ('{', '}'), indent, depth, |out, key| {
                match key.kind() {
                    ValueKind::String => string(out, &python_str(key)?),
                    ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                        out.push('"');
                        write(out, key, None, 0)?;
                        out.push('"');
                    }
                    _ => {
                        return Err(Error::new(
                            ErrorKind::InvalidOperation,
                            "a key is neither text nor number",
                        ));
                    }
                }
                out.push_str(": ");
                write(out, &value.get_item(key)?, indent, depth + 1)
            })?;
        }
        other => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("a value of kind {other} is no JSON"),
            ));
        }
    }
    Ok(())
}

fn list(
    out: &mut String,
    items: &[Value],
    brackets: (char, char),
    indent: Option<usize>,
    depth: usize,
    mut one: impl FnMut(&mut String, &Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * depth));
        }
    };
    out.push(brackets.0);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(out, depth + 1);
        one(out, item)?;
    }
    if !items.is_empty() {
        line(out, depth);
    }
    out.push(brackets.1);
    Ok(())
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\'' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}
