//! Numbers as Python reads, rounds and writes them: the filters `int`, `float`, `round`,
//! `filesizeformat`.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::arguments::{flag, needed, text};
use crate::guard::undefined;
use crate::repr::float;

/// `True` and `False` count as numbers in Python.
pub(super) fn plain_number(value: Value) -> Value {
    match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        _ => value,
    }
}

pub(super) fn round([value, precision, method]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    let way = text(method)?.unwrap_or_else(|| "common".to_owned());
    let precision = precision.map_or(Ok(0), i32::try_from)?;
    let whole = value.is_integer() || value.kind() == ValueKind::Bool;
    match (way.as_str(), number(&value)) {
        ("common", Some(_)) if whole && precision >= 0 => Ok(plain_number(value)),
        ("common", Some(exact)) if !whole && precision >= 0 => {
            let digits = usize::try_from(precision).unwrap_or(0).min(400);
            Ok(Value::from(format!("{exact:.digits$}").parse::<f64>().unwrap_or(exact)))
        }
        ("common", Some(exact)) => {
            let scale = 10_f64.powi(-precision);
            let rounded = (exact / scale).round_ties_even() * scale;
            #[expect(clippy::cast_possible_truncation, reason = "an integer stays one")]
            Ok(if whole { Value::from(rounded as i128) } else { Value::from(rounded) })
        }
        ("ceil" | "floor", Some(exact)) => {
            let scale = 10_f64.powi(precision);
            let scaled = exact * scale;
            Ok(Value::from(if way == "ceil" { scaled.ceil() } else { scaled.floor() } / scale))
        }
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            "round takes a number, and \"common\", \"ceil\" or \"floor\"",
        )),
    }
}

/// A number, or a text that Python's `float()` takes.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text) => {
            let text = text.trim();
            let plain = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
            plain.then(|| text.replace('_', "").parse().ok()).flatten()
        }
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    }
}

pub(super) fn int([value, fallback, base]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    if value.is_undefined() {
        return Err(undefined(&value));
    }
    let fallback = fallback.unwrap_or_else(|| Value::from(0));
    let base = base.map_or(Ok(10), u32::try_from)?;
    if let Some(text) = value.as_str() {
        if let Some(whole) = whole_number(text.trim(), base) {
            return Ok(Value::from(whole));
        }
    } else if value.is_integer() {
        return Ok(value);
    }
    #[expect(clippy::cast_possible_truncation, reason = "as Python's int() cuts off")]
    Ok(match number(&value) {
        Some(number) if number.is_finite() => Value::from(number.trunc() as i128),
        _ => fallback,
    })
}

/// Python's `int(text, base)`; base 0 goes by the prefix.
fn whole_number(text: &str, base: u32) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_lowercase();
    let prefixes = [("0b", 2), ("0o", 8), ("0x", 16)];
    let prefixed = prefixes.into_iter().find_map(|(prefix, of)| {
        let rest = lower.strip_prefix(prefix)?;
        (base == of || base == 0).then(|| (rest.strip_prefix('_').unwrap_or(rest), of))
    });
    let (digits, base) = prefixed.unwrap_or((&lower, if base == 0 { 10 } else { base }));
    let sound =
        !digits.starts_with(['_', '+', '-']) && !digits.ends_with('_') && !digits.contains("__");
    if !sound || !(2..=36).contains(&base) {
        return None;
    }
    let whole = i128::from_str_radix(&digits.replace('_', ""), base).ok()?;
    Some(whole * sign)
}

pub(super) fn filesizeformat([value, binary]: [Option<Value>; 2]) -> Result<Value, Error> {
    let value = needed(value)?;
    let binary = flag(binary, false);
    let bytes = number(&value)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "filesizeformat needs a number"))?;
    let base = if binary { 1024.0 } else { 1000.0 };
    #[expect(clippy::float_cmp, reason = "one byte exactly, as Jinja2 asks")]
    if bytes == 1.0 {
        return Ok("1 Byte".into());
    }
    if bytes < base {
        return Ok(format!("{:.0} Bytes", bytes.trunc()).into());
    }
    let units = [if binary { "K" } else { "k" }, "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = base;
    for (at, name) in units.iter().enumerate() {
        unit *= base;
        if bytes < unit || at == units.len() - 1 {
            return Ok(format!(
                "{:.1} {name}{}",
                base * bytes / unit,
                if binary { "iB" } else { "B" }
            )
            .into());
        }
    }
    Ok(float(bytes).into())
}
