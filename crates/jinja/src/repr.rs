//! Values as Python writes them: `str()` for what a template prints, `repr()` for what stands
//! inside a list or dict.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::arguments::bounded;
use crate::sequences::{Group, Range, View, listed};

/// How deep a value may be nested that is printed: as deep as parameters may be, and about as deep
/// as Python prints.
const MOST_DEPTH: usize = 600;

/// Refuses what is nested too deeply to be printed: each level takes its part of the stack.
pub(super) fn refuse_depth(depth: usize) -> Result<(), Error> {
    if depth <= MOST_DEPTH {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("a value is nested more than {MOST_DEPTH} levels deep"),
    ))
}

/// `str(value)`
pub(super) fn python_str(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        // What an inline `if` without `else` gives.
        None if value.is_undefined() => Ok(String::new()),
        None => python_repr(value),
    }
}

/// `repr(value)`; an error where that would be too deep or too long.
pub(super) fn python_repr(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write(&mut out, value, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    refuse_depth(depth)?;
    bounded(out.len(), "printing a value")?;
    match value.kind() {
        ValueKind::Undefined => return Err(super::guard::undefined(value)),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => {
            let number = f64::try_from(value.clone());
            out.push_str(&number.map_or_else(|_| value.to_string(), float));
        }
        ValueKind::String => string(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq if value.downcast_object_ref::<Range>().is_some() => {
            out.push_str(&value.to_string());
        }
        ValueKind::Seq => {
            let is_tuple = value.is_tuple() || value.downcast_object_ref::<Group>().is_some();
            let (open, close) = if is_tuple { ("(", ")") } else { ("[", "]") };
            let items = items(value);
            list(out, &items, (open, close), depth)?;
            if is_tuple && items.len() == 1 {
                out.insert(out.len() - 1, ',');
            }
        }
        ValueKind::Map => {
            out.push('{');
            for (at, key) in items(value).iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write(out, key, depth + 1)?;
                out.push_str(": ");
                write(out, &value.get_item(key).unwrap_or_default(), depth + 1)?;
            }
            out.push('}');
        }
        _ => match value.downcast_object_ref::<View>() {
            Some(view) => {
                out.push_str(view.name);
                list(out, &view.items, ("([", "])"), depth)?;
            }
            None if value.kind() == ValueKind::Iterable => {
                list(out, &listed(value)?, ("[", "]"), depth)?;
            }
            None => out.push_str(&value.to_string()),
        },
    }
    Ok(())
}

fn list(
    out: &mut String,
    items: &[Value],
    brackets: (&str, &str),
    depth: usize,
) -> Result<(), Error> {
    out.push_str(brackets.0);
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        write(out, item, depth + 1)?;
    }
    out.push_str(brackets.1);
    Ok(())
}

/// The items of a sequence, the keys of a map.
#[must_use]
pub(super) fn items(value: &Value) -> Vec<Value> {
    value.try_iter().map(std::iter::Iterator::collect).unwrap_or_default()
}

/// Python writes the shortest digits that read back as the same number, with an exponent below 1e-4
/// and from 1e16 on.
#[must_use]
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{number}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

fn string(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable`, but for characters that are not assigned.
pub(super) fn is_printable(c: char) -> bool {
    let code = u32::from(c);
    let separator = c.is_whitespace() && c != ' ';
    let format = matches!(code, 0xad | 0x600..=0x605 | 0x61c | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff);
    let private = matches!(code, 0xe000..=0xf8ff | 0xf_0000..);
    !(c.is_control() || separator || format || private)
}
