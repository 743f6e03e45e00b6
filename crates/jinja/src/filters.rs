//! Filters that minijinja lacks or writes otherwise than Jinja2 3.1 does.

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::arguments::{add_filter, bounded, flag, needed, text, width};
use crate::guard;
use crate::guard::undefined;
use crate::json::to_json;
use crate::markup::{escape, striptags, urlencode, xmlattr};
use crate::numbers::{filesizeformat, int, number, plain_number, round};
use crate::repr::{items, python_repr, python_str};
use crate::sequences::listed;

/// Puts all of them into an environment, over those of the same name.
pub(super) fn add(environment: &mut Environment<'static>) {
    add_numbers(environment);
    add_layout(environment);
    add_texts(environment);
    add_tests(environment);
}

/// What makes numbers of values, and values of none.
fn add_numbers(environment: &mut Environment<'static>) {
    guard::filter(environment, "string", |value: Value| python_str(&value));
    add_filter(environment, "join", ["value", "d", "attribute"], join);
    add_filter(environment, "tojson", ["value", "indent"], |[value, indent]| {
        let indent = match indent.filter(|indent| !indent.is_none()) {
            Some(indent) => Some(width(Some(indent), 0)?),
            None => None,
        };
        Ok(Value::from_safe_string(to_json(&needed(value)?, indent)?))
    });
    for name in ["default", "d"] {
        let parameters = ["value", "default_value", "boolean"];
        add_filter(environment, name, parameters, default);
    }
    add_filter(environment, "int", ["value", "default", "base"], int);
    add_filter(environment, "float", ["value", "default"], |[value, otherwise]| {
        let value = needed(value)?;
        Ok(number(&value)
            .map_or_else(|| otherwise.unwrap_or_else(|| Value::from(0.0)), Value::from))
    });
    add_filter(environment, "abs", ["value"], |[value]| {
        minijinja::filters::abs(plain_number(needed(value)?))
    });
    add_filter(environment, "round", ["value", "precision", "method"], round);
    add_filter(environment, "filesizeformat", ["value", "binary"], filesizeformat);
}

/// What lays texts out.
fn add_layout(environment: &mut Environment<'static>) {
    guard::filter(environment, "wordcount", |value: Value| -> Result<usize, Error> {
        Ok(python_str(&value)?
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .count())
    });
    add_filter(environment, "center", ["value", "width"], |[value, wide]| {
        let text = python_str(&needed(value)?)?;
        Ok(super::strings::center(&text, width(wide, 80)?, ' ').into())
    });
    let parameters = ["value", "length", "killwords", "end", "leeway"];
    add_filter(environment, "truncate", parameters, truncate);
    let parameters = ["value", "width", "break_long_words", "wrapstring", "break_on_hyphens"];
    add_filter(environment, "wordwrap", parameters, crate::wrap::wordwrap);
    add_filter(environment, "indent", ["value", "width", "first", "blank"], indent);
    add_filter(environment, "trim", ["value", "chars"], |[value, chars]| {
        let value = python_str(&needed(value)?)?;
        Ok(super::strings::strip(&value, text(chars)?.as_deref(), true, true).into())
    });
    add_filter(
        environment,
        "replace",
        ["value", "old", "new", "count"],
        |[value, old, new, count]| {
            let (old, new) = (python_str(&needed(old)?)?, python_str(&needed(new)?)?);
            crate::strings::replace(&python_str(&needed(value)?)?, &old, &new, count)
        },
    );
}

/// What changes texts, and writes values as such.
fn add_texts(environment: &mut Environment<'static>) {
    guard::filter(environment, "upper", |value: Value| {
        python_str(&value).map(|text| text.to_uppercase())
    });
    guard::filter(environment, "lower", |value: Value| {
        python_str(&value).map(|text| text.to_lowercase())
    });
    guard::filter(environment, "striptags", |value: Value| {
        python_str(&value).map(|text| striptags(&text))
    });
    guard::filter(environment, "pprint", |value: Value| {
        // Written out first, which refuses what is nested too deeply or would be too long.
        python_repr(&value).and_then(|_| python_repr(&sorted_maps(&value)))
    });
    guard::filter(
        environment,
        "format",
        |state: &mut State<'_, '_>, text: &Value, arguments: Rest<ValueOrKwargs>| {
            let values = arguments.0.iter().cloned().map(Value::from);
            // The engine would print a list however long it is: what cannot be printed is refused
            // here.
            for value in values.filter(|value| value.as_str().is_none()) {
                python_repr(&value)?;
            }
            minijinja::filters::format(state, text, arguments)
        },
    );
    add_filter(environment, "xmlattr", ["value", "autospace"], xmlattr);
    guard::filter(environment, "urlencode", |value: Value| urlencode(&value));
    for name in ["escape", "e"] {
        guard::filter(environment, name, |value: Value| -> Result<Value, Error> {
            Ok(if value.is_safe() {
                value
            } else {
                Value::from_safe_string(escape(&python_str(&value)?))
            })
        });
    }
    guard::filter(environment, "forceescape", |value: Value| {
        python_str(&value).map(|text| Value::from_safe_string(escape(&text)))
    });
    guard::filter(environment, "title", |value: Value| {
        python_str(&value).map(|text| crate::strings::filter_title(&text))
    });
}

fn add_tests(environment: &mut Environment<'static>) {
    guard::test(environment, "sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
    });
    guard::test(environment, "iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    guard::test(environment, "callable", |value: &Value| value.kind() == ValueKind::Plain);
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
            crate::tuple(items(value).iter().map(sorted_maps).collect())
        }
        ValueKind::Seq => items(value).iter().map(sorted_maps).collect(),
        _ => value.clone(),
    }
}

fn join([value, separator, attribute]: [Option<Value>; 3]) -> Result<Value, Error> {
    let value = needed(value)?;
    let text = |value: Option<Value>| value.as_ref().map(python_str).transpose();
    let (separator, attribute) = (text(separator)?.unwrap_or_default(), text(attribute)?);
    let (mut parts, mut bytes) = (Vec::new(), 0);
    for item in listed(&value)? {
        let item = match &attribute {
            None => item,
            Some(path) => {
                path.split('.').try_fold(item, |at, name| match name.parse::<usize>() {
                    Ok(index) => at.get_item(&Value::from(index)),
                    Err(_) => at.get_attr(name),
                })?
            }
        };
        if item.is_undefined() {
            let name = attribute.map(Value::from);
            return Err(guard::missing(&item, name.as_ref()));
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
    if let Some(boolean) = boolean.as_ref().filter(|boolean| boolean.is_undefined()) {
        return Err(undefined(boolean));
    }
    let boolean = flag(boolean, false);
    Ok(if value.is_undefined() || (boolean && !value.is_true()) { fallback } else { value })
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
    let cut: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    Ok(Value::from(if killwords {
        cut + &end
    } else {
        cut.rsplit_once(' ').map_or(cut.as_str(), |(before, _)| before).to_owned() + &end
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
    let lines = crate::strings::split_lines(&text, false);
    bounded(lines.len().saturating_mul(indention.len()), "indent")?;
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let indented = if at == 0 { first } else { blank || !line.is_empty() };
        if indented {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(out.into())
}
