//! Filters that minijinja lacks or writes otherwise than Jinja2 3.1 does.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the engine hands filters their arguments by value"
)]

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::json::to_json;
use super::repr::{float, items, python_repr, python_str};

/// Puts all of them into an environment, over those of the same name.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("string", |value: Value| python_str(&value));
    environment.add_filter("join", join);
    environment.add_filter(
        "tojson",
        |value: Value, kwargs: Kwargs| -> Result<Value, Error> {
            let indent: Option<usize> = kwargs.get("indent")?;
            kwargs.assert_all_used()?;
            Ok(Value::from_safe_string(to_json(&value, indent)?))
        },
    );
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("int", int);
    environment.add_filter("float", |value: Value, fallback: Option<Value>| {
        number(&value).map_or_else(|| fallback.unwrap_or_else(|| Value::from(0.0)), Value::from)
    });
    environment.add_filter("wordcount", |text: String| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .count()
    });
    environment.add_filter("center", |text: Value, width: Option<usize>| {
        super::methods::center(&python_str(&text), width.unwrap_or(80), ' ')
    });
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordwrap", wordwrap);
    environment.add_filter("indent", indent);
    environment.add_filter("striptags", striptags);
    environment.add_filter("filesizeformat", filesizeformat);
    environment.add_filter("pprint", |value: Value| python_repr(&value));
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("xmlattr", xmlattr);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("escape", |value: Value| {
        Value::from_safe_string(escape(&python_str(&value)))
    });
    environment.add_filter("e", |value: Value| {
        Value::from_safe_string(escape(&python_str(&value)))
    });
    environment.add_filter("title", |text: Value| {
        super::methods::filter_title(&python_str(&text))
    });
}

fn undefined() -> Error {
    Error::from(ErrorKind::UndefinedError)
}

fn join(
    value: &Value,
    separator: Option<String>,
    attribute: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let attribute = attribute.or(kwargs.get("attribute")?);
    kwargs.assert_all_used()?;
    if value.is_undefined() {
        return Err(undefined());
    }
    let mut parts = Vec::new();
    for item in value.try_iter()? {
        let item = match &attribute {
            None => item,
            Some(path) => path
                .split('.')
                .try_fold(item, |at, name| at.get_attr(name))?,
        };
        if item.is_undefined() {
            return Err(undefined());
        }
        parts.push(python_str(&item));
    }
    Ok(parts.join(separator.as_deref().unwrap_or_default()))
}

fn default(
    value: Value,
    fallback: Option<Value>,
    boolean: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let fallback = fallback
        .or(kwargs.get("default_value")?)
        .unwrap_or_else(|| Value::from(""));
    let boolean = boolean.or(kwargs.get("boolean")?).unwrap_or(false);
    kwargs.assert_all_used()?;
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

fn int(
    value: Value,
    fallback: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let fallback = fallback
        .or(kwargs.get("default")?)
        .unwrap_or_else(|| Value::from(0));
    let base = base.or(kwargs.get("base")?).unwrap_or(10);
    kwargs.assert_all_used()?;
    if let Some(text) = value.as_str() {
        let text = text.trim().replace('_', "");
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(&text)),
        };
        let prefix = match base {
            2 => "0b",
            8 => "0o",
            16 => "0x",
            _ => "",
        };
        let lower = digits.to_lowercase();
        let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
        if let Ok(whole) = i128::from_str_radix(digits, base) {
            return Ok(Value::from(whole * sign));
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

fn truncate(text: Value, arguments: Rest<Value>) -> Result<String, Error> {
    type Arguments = (
        Option<usize>,
        Option<bool>,
        Option<String>,
        Option<usize>,
        Kwargs,
    );
    let (length, killwords, end, leeway, kwargs): Arguments = from_args(&arguments)?;
    let length = length.or(kwargs.get("length")?).unwrap_or(255);
    let killwords = killwords.or(kwargs.get("killwords")?).unwrap_or(false);
    let end = end
        .or(kwargs.get("end")?)
        .unwrap_or_else(|| "...".to_owned());
    let leeway = leeway.or(kwargs.get("leeway")?).unwrap_or(5);
    kwargs.assert_all_used()?;
    let text = python_str(&text);
    if text.chars().count() <= length + leeway {
        return Ok(text);
    }
    let cut: String = text
        .chars()
        .take(length.saturating_sub(end.chars().count()))
        .collect();
    Ok(if killwords {
        cut + &end
    } else {
        cut.rsplit_once(' ')
            .map_or(cut.as_str(), |(before, _)| before)
            .to_owned()
            + &end
    })
}

/// Lines of at most `width` characters, broken at spaces as Python's `textwrap` does; longer words are cut.
fn wordwrap(text: String, width: Option<usize>, kwargs: Kwargs) -> Result<String, Error> {
    let width = width.or(kwargs.get("width")?).unwrap_or(79).max(1);
    kwargs.assert_all_used()?;
    let wrapped: Vec<String> = text.lines().map(|line| wrap_line(line, width)).collect();
    Ok(wrapped.join("\n"))
}

fn wrap_line(line: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut current = String::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        let used = current.chars().count();
        if used > 0 && used + 1 + word.len() <= width {
            current.push(' ');
            current.extend(&word);
            continue;
        }
        if used > 0 {
            lines.push(std::mem::take(&mut current));
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        current.extend(&word);
    }
    lines.push(current);
    lines.join("\n")
}

fn indent(
    text: Value,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let width: Option<Value> = width.or(kwargs.get("width")?);
    let first = first.or(kwargs.get("first")?).unwrap_or(false);
    let blank = blank.or(kwargs.get("blank")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    let indention = match &width {
        None => "    ".to_owned(),
        Some(width) => match width.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(width.as_usize().unwrap_or(4)),
        },
    };
    // Jinja2 adds a line feed, so that splitlines keeps an empty last line.
    let text = python_str(&text) + "\n";
    let lines: Vec<&str> = text.lines().collect();
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
    Ok(out)
}

fn striptags(text: String) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    let out = entities
        .iter()
        .fold(out, |text, (from, to)| text.replace(from, to));
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn filesizeformat(value: Value, binary: Option<bool>, kwargs: Kwargs) -> Result<String, Error> {
    let binary = binary.or(kwargs.get("binary")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    let bytes = number(&value)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "filesizeformat needs a number"))?;
    let base = if binary { 1024.0 } else { 1000.0 };
    #[expect(clippy::float_cmp, reason = "one byte exactly, as Jinja2 asks")]
    if bytes == 1.0 {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        return Ok(format!("{bytes:.0} Bytes"));
    }
    let units = ["K", "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = base;
    for (at, name) in units.iter().enumerate() {
        unit *= base;
        if bytes < unit || at == units.len() - 1 {
            return Ok(format!(
                "{:.1} {name}{}",
                base * bytes / unit,
                if binary { "iB" } else { "B" }
            ));
        }
    }
    Ok(float(bytes))
}

fn dictsort(
    value: Value,
    case_sensitive: Option<bool>,
    by: Option<String>,
    reverse: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let case_sensitive = case_sensitive
        .or(kwargs.get("case_sensitive")?)
        .unwrap_or(false);
    let by = by.or(kwargs.get("by")?).unwrap_or_else(|| "key".to_owned());
    let reverse = reverse.or(kwargs.get("reverse")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    if value.kind() != ValueKind::Map {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "dictsort needs a dict",
        ));
    }
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        pairs.push((key, item));
    }
    let sort_key = |value: &Value| match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value.clone(),
    };
    pairs.sort_by_cached_key(|(key, item)| sort_key(if by == "value" { item } else { key }));
    if reverse {
        pairs.reverse();
    }
    Ok(pairs
        .into_iter()
        .map(|(key, item)| super::tuple(vec![key, item]))
        .collect())
}

fn xmlattr(value: Value, autospace: Option<bool>) -> Result<Value, Error> {
    let mut out = String::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        if !item.is_none() && !item.is_undefined() {
            let text = format!(
                "{}=\"{}\"",
                escape(&python_str(&key)),
                escape(&python_str(&item))
            );
            out.push_str(if out.is_empty() { "" } else { " " });
            out.push_str(&text);
        }
    }
    if autospace.unwrap_or(true) && !out.is_empty() {
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
                quote(&python_str(&key), true),
                quote(&python_str(&item), true)
            ));
        }
        return Ok(parts.join("&"));
    }
    if value.kind() == ValueKind::Seq {
        let pairs = items(&value).into_iter().map(|pair| {
            let pair = items(&pair);
            let part = |at: usize| pair.get(at).map(python_str).unwrap_or_default();
            format!("{}={}", quote(&part(0), true), quote(&part(1), true))
        });
        return Ok(pairs.collect::<Vec<_>>().join("&"));
    }
    Ok(quote(&python_str(&value), false))
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&#34;")
}
