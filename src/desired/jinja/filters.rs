//! Filters that minijinja lacks or writes otherwise than Jinja2 3.1 does.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the engine hands filters their arguments by value"
)]

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::arguments::{add_filter, bounded, flag, needed, text, width};
use super::json::to_json;
use super::repr::{float, items, python_repr, python_str};

/// Puts all of them into an environment, over those of the same name.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("string", |value: Value| python_str(&value));
    add_filter(environment, "join", ["value", "d", "attribute"], join);
    add_filter(
        environment,
        "tojson",
        ["value", "indent"],
        |[value, indent]| {
            let indent = match indent.filter(|indent| !indent.is_none()) {
                Some(indent) => Some(width(Some(indent), 0)?),
                None => None,
            };
            Ok(Value::from_safe_string(to_json(&needed(value)?, indent)?))
        },
    );
    for name in ["default", "d"] {
        let parameters = ["value", "default_value", "boolean"];
        add_filter(environment, name, parameters, default);
    }
    add_filter(environment, "int", ["value", "default", "base"], int);
    add_filter(
        environment,
        "float",
        ["value", "default"],
        |[value, otherwise]| {
            let value = needed(value)?;
            if value.is_undefined() {
                return Err(undefined());
            }
            Ok(number(&value).map_or_else(
                || otherwise.unwrap_or_else(|| Value::from(0.0)),
                Value::from,
            ))
        },
    );
    add_filter(environment, "abs", ["value"], |[value]| {
        minijinja::filters::abs(plain_number(needed(value)?))
    });
    add_filter(
        environment,
        "round",
        ["value", "precision", "method"],
        round,
    );
    environment.add_filter("wordcount", |value: Value| -> Result<usize, Error> {
        Ok(python_str(&value)?
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .count())
    });
    add_filter(
        environment,
        "center",
        ["value", "width"],
        |[value, wide]| {
            let text = python_str(&needed(value)?)?;
            Ok(super::methods::center(&text, width(wide, 80)?, ' ').into())
        },
    );
    let parameters = ["value", "length", "killwords", "end", "leeway"];
    add_filter(environment, "truncate", parameters, truncate);
    let parameters = [
        "value",
        "width",
        "break_long_words",
        "wrapstring",
        "break_on_hyphens",
    ];
    add_filter(environment, "wordwrap", parameters, super::wrap::wordwrap);
    add_filter(
        environment,
        "indent",
        ["value", "width", "first", "blank"],
        indent,
    );
    add_filter(environment, "trim", ["value", "chars"], |[value, chars]| {
        let value = python_str(&needed(value)?)?;
        Ok(super::methods::strip(&value, text(chars)?.as_deref(), true, true).into())
    });
    add_filter(
        environment,
        "replace",
        ["value", "old", "new", "count"],
        |[value, old, new, count]| {
            let (old, new) = (python_str(&needed(old)?)?, python_str(&needed(new)?)?);
            super::methods::replace(&python_str(&needed(value)?)?, &old, &new, count)
        },
    );
    environment.add_filter("upper", |value: Value| {
        python_str(&value).map(|text| text.to_uppercase())
    });
    environment.add_filter("lower", |value: Value| {
        python_str(&value).map(|text| text.to_lowercase())
    });
    environment.add_filter("striptags", |value: Value| {
        python_str(&value).map(|text| striptags(&text))
    });
    add_filter(
        environment,
        "filesizeformat",
        ["value", "binary"],
        filesizeformat,
    );
    environment.add_filter("pprint", |value: Value| {
        // Written out first, which refuses what is nested too deeply or would be too long.
        python_repr(&value).and_then(|_| python_repr(&sorted_maps(&value)))
    });
    add_filter(environment, "xmlattr", ["value", "autospace"], xmlattr);
    environment.add_filter("urlencode", urlencode);
    for name in ["escape", "e"] {
        environment.add_filter(name, |value: Value| -> Result<Value, Error> {
            Ok(if value.is_safe() {
                value
            } else {
                Value::from_safe_string(escape(&python_str(&value)?))
            })
        });
    }
    environment.add_filter("forceescape", |value: Value| {
        python_str(&value).map(|text| Value::from_safe_string(escape(&text)))
    });
    environment.add_filter("title", |value: Value| {
        python_str(&value).map(|text| super::methods::filter_title(&text))
    });
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::String
        )
    });
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
}

/// `True` and `False` count as numbers in Python.
fn plain_number(value: Value) -> Value {
    match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        _ => value,
    }
}

fn round([value, precision, method]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    let way = text(method)?.unwrap_or_else(|| "common".to_owned());
    let precision = precision.map_or(Ok(0), i32::try_from)?;
    let whole = value.is_integer() || value.kind() == ValueKind::Bool;
    match (way.as_str(), number(&value)) {
        ("common", Some(_)) if whole && precision >= 0 => Ok(plain_number(value)),
        ("common", Some(exact)) if !whole && precision >= 0 => {
            let digits = usize::try_from(precision).unwrap_or(0).min(400);
            Ok(Value::from(
                format!("{exact:.digits$}").parse::<f64>().unwrap_or(exact),
            ))
        }
        ("common", Some(exact)) => {
            let scale = 10_f64.powi(-precision);
            let rounded = (exact / scale).round_ties_even() * scale;
            #[expect(clippy::cast_possible_truncation, reason = "an integer stays one")]
            Ok(if whole {
                Value::from(rounded as i128)
            } else {
                Value::from(rounded)
            })
        }
        ("ceil" | "floor", Some(exact)) => {
            let scale = 10_f64.powi(precision);
            let scaled = exact * scale;
            Ok(Value::from(
                if way == "ceil" {
                    scaled.ceil()
                } else {
                    scaled.floor()
                } / scale,
            ))
        }
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            "round takes a number, and \"common\", \"ceil\" or \"floor\"",
        )),
    }
}

/// The same value with the keys of every dict in order, as Python's `pprint` shows them.
fn sorted_maps(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Map => {
            let mut keys = items(value);
            keys.sort();
            Value::from_pairs(keys.into_iter().map(|key| {
                let item = sorted_maps(&value.get_item(&key).unwrap_or_default());
                (key, item)
            }))
        }
        ValueKind::Seq if value.is_tuple() => {
            super::tuple(items(value).iter().map(sorted_maps).collect())
        }
        ValueKind::Seq => items(value).iter().map(sorted_maps).collect(),
        _ => value.clone(),
    }
}

fn undefined() -> Error {
    Error::from(ErrorKind::UndefinedError)
}

fn join([value, separator, attribute]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    let text = |value: Option<Value>| value.as_ref().map(python_str).transpose();
    let (separator, attribute) = (text(separator)?.unwrap_or_default(), text(attribute)?);
    if value.is_undefined() {
        return Err(undefined());
    }
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for item in value.try_iter()? {
        let item = match &attribute {
            None => item,
            Some(path) => {
                path.split('.')
                    .try_fold(item, |at, name| match name.parse::<usize>() {
                        Ok(index) => at.get_item(&Value::from(index)),
                        Err(_) => at.get_attr(name),
                    })?
            }
        };
        if item.is_undefined() {
            return Err(undefined());
        }
        let part = python_str(&item)?;
        bytes += part.len() + separator.len();
        bounded(bytes, "join")?;
        parts.push(part);
    }
    Ok(parts.join(&separator).into())
}

fn default([value, fallback, boolean]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    let fallback = fallback.unwrap_or_else(|| Value::from(""));
    let boolean = flag(boolean, false);
    Ok(if value.is_undefined() || (boolean && !value.is_true()) {
        fallback
    } else {
        value
    })
}

/// A number, or a text that Python's `float()` takes.
fn number(value: &Value) -> Option<f64> {
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

fn int([value, fallback, base]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    if value.is_undefined() {
        return Err(undefined());
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
    #[expect(
        clippy::cast_possible_truncation,
        reason = "as Python's int() cuts off"
    )]
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

fn truncate([value, length, killwords, end, leeway]: [Option<Value>; 5]) -> Result<Value, Error> {
    let (length, leeway) = (width(length, 255)?, width(leeway, 5)?);
    let killwords = flag(killwords, false);
    let end = text(end)?.unwrap_or_else(|| "...".to_owned());
    let text = python_str(&needed(value)?)?;
    if length < end.chars().count() {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "truncate to less than the length of its end",
        ));
    }
    if text.chars().count() <= length + leeway {
        return Ok(text.into());
    }
    let cut: String = text
        .chars()
        .take(length.saturating_sub(end.chars().count()))
        .collect();
    Ok(Value::from(if killwords {
        cut + &end
    } else {
        cut.rsplit_once(' ')
            .map_or(cut.as_str(), |(before, _)| before)
            .to_owned()
            + &end
    }))
}

fn indent([value, wide, first, blank]: [Option<Value>; 4]) -> Result<Value, Error> {
    let (first, blank) = (flag(first, false), flag(blank, false));
    let indention = match wide.as_ref().and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => " ".repeat(width(wide, 4)?),
    };
    // Jinja2 adds a line feed, so that splitlines keeps an empty last line.
    let text = python_str(&needed(value)?)? + "\n";
    let lines = super::methods::split_lines(&text, false);
    bounded(lines.len().saturating_mul(indention.len()), "indent")?;
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let indented = if at == 0 {
            first
        } else {
            blank || !line.is_empty()
        };
        if indented {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(out.into())
}

fn striptags(text: &str) -> String {
    let mut text = text.to_owned();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        while let Some(start) = text.find(open) {
            let Some(end) = text[start..].find(close) else {
                break;
            };
            text.replace_range(start..start + end + close.len(), "");
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest
            .find(';')
            .and_then(|end| Some((end, entity(&rest[1..end])?)));
        let (end, shown) = entity.unwrap_or((0, '&'));
        out.push(shown);
        rest = &rest[end + 1..];
    }
    out + rest
}

/// The character of a number or of one of the commonest names.
fn entity(name: &str) -> Option<char> {
    if let Some(code) = name.strip_prefix('#') {
        let code = match code.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => code.parse(),
        };
        return char::from_u32(code.ok()?).filter(|c| !c.is_control());
    }
    let known = [
        ("lt", '<'),
        ("gt", '>'),
        ("amp", '&'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", '\u{a0}'),
        ("copy", '©'),
        ("reg", '®'),
        ("hellip", '…'),
        ("ndash", '–'),
        ("mdash", '—'),
        ("euro", '€'),
    ];
    known
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, c)| *c)
}

fn filesizeformat([value, binary]: [Option<Value>; 2]) -> Result<Value, Error> {
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
    let units = [
        if binary { "K" } else { "k" },
        "M",
        "G",
        "T",
        "P",
        "E",
        "Z",
        "Y",
    ];
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

fn xmlattr([value, autospace]: [Option<Value>; 2]) -> Result<Value, Error> {
    let value = needed(value)?;
    let mut out = String::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        if !item.is_none() && !item.is_undefined() {
            if python_str(&key)?.contains(|c: char| c.is_whitespace() || "/>=".contains(c)) {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("{} is no name of an attribute", python_repr(&key)?),
                ));
            }
            let text = format!(
                "{}=\"{}\"",
                escape(&python_str(&key)?),
                escape(&python_str(&item)?)
            );
            out.push_str(if out.is_empty() { "" } else { " " });
            out.push_str(&text);
        }
    }
    if flag(autospace, true) && !out.is_empty() {
        out.insert(0, ' ');
    }
    Ok(Value::from_safe_string(out))
}

fn urlencode(value: Value) -> Result<String, Error> {
    if value.kind() == ValueKind::Map {
        let mut parts = Vec::new();
        for key in items(&value) {
            let item = value.get_item(&key)?;
            parts.push(format!(
                "{}={}",
                quote(&python_str(&key)?, true),
                quote(&python_str(&item)?, true)
            ));
        }
        return Ok(parts.join("&"));
    }
    if value.kind() == ValueKind::Seq {
        let pairs = items(&value).into_iter().map(|pair| {
            let pair = items(&pair);
            let part = |at: usize| pair.get(at).map_or(Ok(String::new()), python_str);
            Ok(format!(
                "{}={}",
                quote(&part(0)?, true),
                quote(&part(1)?, true)
            ))
        });
        return Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"));
    }
    Ok(quote(&python_str(&value)?, false))
}

/// Python's `urllib.parse.quote`, with `/` kept outside of a query string and a space as `+` within one.
fn quote(text: &str, in_query: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(char::from(byte));
            }
            b'/' if !in_query => out.push('/'),
            b' ' if in_query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// As `MarkupSafe` does.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&#34;")
}
