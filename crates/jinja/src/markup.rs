//! Text for HTML, XML and URLs: escaped, taken apart, quoted as Jinja2 and `MarkupSafe` do.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::arguments::{flag, needed};
use crate::repr::{items, python_repr, python_str};

pub(super) fn striptags(text: &str) -> String {
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
        let entity = rest.find(';').and_then(|end| Some((end, entity(&rest[1..end])?)));
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
    known.iter().find(|(known, _)| *known == name).map(|(_, c)| *c)
}

pub(super) fn xmlattr([value, autospace]: [Option<Value>; 2]) -> Result<Value, Error> {
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
            let text =
                format!("{}=\"{}\"", escape(&python_str(&key)?), escape(&python_str(&item)?));
            out.push_str(if out.is_empty() { "" } else { " " });
            out.push_str(&text);
        }
    }
    if flag(autospace, true) && !out.is_empty() {
        out.insert(0, ' ');
    }
    Ok(Value::from_safe_string(out))
}

pub(super) fn urlencode(value: &Value) -> Result<String, Error> {
    if value.kind() == ValueKind::Map {
        let mut parts = Vec::new();
        for key in items(value) {
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
        let pairs = items(value).into_iter().map(|pair| {
            let pair = items(&pair);
            let part = |at: usize| pair.get(at).map_or(Ok(String::new()), python_str);
            Ok(format!("{}={}", quote(&part(0)?, true), quote(&part(1)?, true)))
        });
        return Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join("&"));
    }
    Ok(quote(&python_str(value)?, false))
}

/// Python's `urllib.parse.quote`, with `/` kept outside of a query string and a space as `+` within
/// one.
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
