//! Values as Python writes them: `str()` for what a template prints, `repr()` for what stands inside a list or dict.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::sequences::{Group, Range};

/// `str(value)`
#[must_use]
pub(super) fn python_str(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => python_repr(value),
    }
}

/// `repr(value)`
#[must_use]
pub(super) fn python_repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::None => "None".to_owned(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_owned(),
        ValueKind::Number if value.is_integer() => value.to_string(),
        ValueKind::Number => f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float),
        ValueKind::String => string(value.as_str().unwrap_or_default()),
        ValueKind::Seq if value.downcast_object_ref::<Range>().is_some() => value.to_string(),
        ValueKind::Seq => {
            let is_tuple = value.is_tuple() || value.downcast_object_ref::<Group>().is_some();
            let items: Vec<_> = items(value).iter().map(python_repr).collect();
            match (is_tuple, items.len()) {
                (true, 1) => format!("({},)", items[0]),
                (true, _) => format!("({})", items.join(", ")),
                (false, _) => format!("[{}]", items.join(", ")),
            }
        }
        ValueKind::Map => {
            let pairs = items(value).into_iter().map(|key| {
                let item = value.get_item(&key).unwrap_or_default();
                format!("{}: {}", python_repr(&key), python_repr(&item))
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

/// The items of a sequence, the keys of a map.
#[must_use]
pub(super) fn items(value: &Value) -> Vec<Value> {
    value
        .try_iter()
        .map(std::iter::Iterator::collect)
        .unwrap_or_default()
}

/// Python writes the shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e16 on.
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
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

fn string(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
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
    out
}

/// Python's `str.isprintable`, but for characters that are not assigned.
pub(super) fn is_printable(c: char) -> bool {
    let code = u32::from(c);
    let separator = c.is_whitespace() && c != ' ';
    let format = matches!(code, 0xad | 0x600..=0x605 | 0x61c | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff);
    let private = matches!(code, 0xe000..=0xf8ff | 0xf_0000..);
    !(c.is_control() || separator || format || private)
}
