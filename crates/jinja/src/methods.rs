//! Methods of Python's strings, lists and dicts that minijinja's own compatibility layer lacks or
//! does otherwise.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::arguments;
use crate::arguments::bind;
use crate::repr::{is_printable, items};
use crate::sequences::{View, listed};
use crate::strings::{
    center, expand_tabs, is_space, is_title, padding, replace, split_lines, strip, swap_case, title,
};
use crate::tuple;

/// Called for every method that a value does not have itself.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    // `dict.get(key, otherwise)` hands on what it is given.
    let checked = match (value.kind(), method) {
        (ValueKind::Map, "get") => &args[..args.len().min(1)],
        _ => args,
    };
    crate::guard::refuse_undefined(state, checked)?;
    let ours = match value.kind() {
        ValueKind::String => string(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => sequence(value, method, args)?,
        ValueKind::Map => dict(value, method, args)?,
        ValueKind::Number if method == "is_integer" => {
            f64::try_from(value.clone()).ok().map(|number| Value::from(number.fract() == 0.0))
        }
        _ => None,
    };
    match ours {
        Some(value) => Ok(value),
        None => unknown_method_callback(state, value, method, args),
    }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_owned())
}

fn dict(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let (name, part): (_, fn(Value, Value) -> Value) = match method {
        "copy" => return Ok(Some(value.clone())),
        "get" => {
            let [key, otherwise] = bind(args, ["key", "default"])?;
            let found = value.get_item(&arguments::needed(key)?)?;
            let otherwise = || otherwise.unwrap_or(Value::from(()));
            return Ok(Some(if found.is_undefined() { otherwise() } else { found }));
        }
        "items" => ("dict_items", |key, item| tuple(vec![key, item])),
        "keys" => ("dict_keys", |key, _| key),
        "values" => ("dict_values", |_, item| item),
        _ => return Ok(None),
    };
    let () = from_args(args)?;
    let items = items(value).into_iter().map(|key| {
        let item = value.get_item(&key).unwrap_or_default();
        part(key, item)
    });
    Ok(Some(Value::from_object(View { name, items: items.collect() })))
}

fn sequence(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(match method {
        "index" => {
            let (wanted, from): (Value, Option<usize>) = from_args(args)?;
            let found = |(_, item): &(usize, Value)| *item == wanted;
            let items = items(value).into_iter().enumerate();
            let at = items.skip(from.unwrap_or(0)).find(found).map(|(at, _)| at);
            Some(Value::from(at.ok_or_else(|| failed("the value is not in the list"))?))
        }
        "copy" => Some(value.clone()),
        _ => None,
    })
}

fn string(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "split" | "rsplit" => split(text, method, args)?,
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = bind(args, ["chars"])?;
            let chars = arguments::text(chars)?;
            Value::from(strip(text, chars.as_deref(), method != "rstrip", method != "lstrip"))
        }
        "replace" => {
            let [old, new, count] = bind(args, ["old", "new", "count"])?;
            let old = arguments::text(old)?.ok_or_else(|| failed("replace what?"))?;
            let new = arguments::text(new)?.ok_or_else(|| failed("replace by what?"))?;
            replace(text, &old, &new, count)?
        }
        "splitlines" => {
            let [keepends] = bind(args, ["keepends"])?;
            let lines = split_lines(text, arguments::flag(keepends, false));
            lines.into_iter().map(Value::from).collect()
        }
        "zfill" => zero_filled(text, args)?,
        "partition" | "rpartition" => partition(text, method == "rpartition", args)?,
        "removeprefix" => {
            Value::from(text.strip_prefix(from_args::<(&str,)>(args)?.0).unwrap_or(text))
        }
        "removesuffix" => {
            Value::from(text.strip_suffix(from_args::<(&str,)>(args)?.0).unwrap_or(text))
        }
        "center" | "ljust" | "rjust" => {
            let [wide, fill] = bind(args, ["width", "fillchar"])?;
            let width = arguments::width(wide, 0)?;
            let fill = fill.map_or(Ok(' '), char::try_from)?;
            Value::from(match method {
                "center" => center(text, width, fill),
                "ljust" => format!("{text}{}", padding(text, width, fill)),
                _ => format!("{}{text}", padding(text, width, fill)),
            })
        }
        "swapcase" => Value::from(text.chars().flat_map(swap_case).collect::<String>()),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "title" => Value::from(title(text)),
        "find" | "rfind" | "index" | "rindex" | "count" | "startswith" | "endswith"
            if args.len() > 1 || matches!(method, "index" | "rindex") =>
        {
            within(text, method, args)?
        }
        "join" => join(text, args)?,
        "istitle" => Value::from(is_title(text)),
        "isidentifier" => {
            let mut chars = text.chars();
            let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
            Value::from(first && chars.all(|c| c.is_alphanumeric() || c == '_'))
        }
        "isprintable" => Value::from(text.chars().all(is_printable)),
        "isdigit" if text.is_ascii() => {
            Value::from(!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        }
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())),
        "expandtabs" => {
            let [size] = bind(args, ["tabsize"])?;
            let size = arguments::width(size, 8)?.min(1000);
            Value::from(expand_tabs(text, size))
        }
        _ => return Ok(None),
    }))
}

/// `zfill`
fn zero_filled(text: &str, args: &[Value]) -> Result<Value, Error> {
    let [wide] = bind(args, ["width"])?;
    let width = arguments::width(wide, 0)?;
    let (sign, digits) = match text.chars().next() {
        Some(sign @ ('+' | '-')) => (sign.to_string(), &text[1..]),
        _ => (String::new(), text),
    };
    let zeros = width.saturating_sub(text.chars().count());
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(zeros))))
}

/// `partition`, and `rpartition` where it looks from the end.
fn partition(text: &str, from_the_end: bool, args: &[Value]) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    let split = if from_the_end { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match split {
        Some((before, after)) => [before, separator, after],
        None if from_the_end => ["", "", text],
        None => [text, "", ""],
    };
    Ok(tuple(parts.map(Value::from).to_vec()))
}

/// `join`
fn join(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (parts,): (&Value,) = from_args(args)?;
    let mut texts = Vec::new();
    for part in listed(parts)? {
        let part = part.as_str().map(str::to_owned);
        texts.push(part.ok_or_else(|| failed("join takes strings only; use the filter"))?);
    }
    let between = text.len().saturating_mul(texts.len());
    let own: usize = texts.iter().map(String::len).sum();
    arguments::bounded(own.saturating_add(between), "join")?;
    Ok(Value::from(texts.join(text)))
}

/// Methods that look at `text[start:end]`.
fn within(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let [wanted, start, end] = bind(args, ["sub", "start", "end"])?;
    let wanted = arguments::needed(wanted)?;
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let place = |place: Option<Value>, otherwise: i64| -> Result<usize, Error> {
        let at = place.filter(|at| !at.is_none()).map_or(Ok(otherwise), i64::try_from)?;
        let at = if at < 0 { at + length } else { at };
        Ok(usize::try_from(at.clamp(0, length)).unwrap_or(0))
    };
    let (start, end) = (place(start, 0)?, place(end, length)?);
    let part: String = text.chars().take(end).skip(start).collect();
    let any_of = match wanted.as_str() {
        Some(one) => vec![one.to_owned()],
        None if wanted.is_tuple() => {
            items(&wanted).iter().map(super::repr::python_str).collect::<Result<_, _>>()?
        }
        None => return Err(failed("a string is needed")),
    };
    let wanted = any_of.first().cloned().unwrap_or_default();
    let found = match method {
        "startswith" => {
            return Ok(any_of.iter().any(|one| part.starts_with(one.as_str())).into());
        }
        "endswith" => return Ok(any_of.iter().any(|one| part.ends_with(one.as_str())).into()),
        "count" => return Ok(part.matches(wanted.as_str()).count().into()),
        "find" | "index" => part.find(wanted.as_str()),
        _ => part.rfind(wanted.as_str()),
    };
    match found {
        Some(at) => Ok(Value::from(start + part[..at].chars().count())),
        None if method.ends_with("find") => Ok(Value::from(-1)),
        None => Err(failed("substring not found")),
    }
}

fn split(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let [separator, most] = bind(args, ["sep", "maxsplit"])?;
    let separator = arguments::text(separator)?;
    let most = most.map_or(Ok(-1), i64::try_from)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    let mut parts: Vec<&str> = match (separator.as_deref(), method) {
        (Some(""), _) => return Err(failed("empty separator")),
        (Some(separator), "split") => text.splitn(most + 1, separator).collect(),
        (Some(separator), _) => text.rsplitn(most + 1, separator).collect(),
        (None, "split") => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start_matches(is_space);
            while !rest.is_empty() && parts.len() < most {
                let end = rest.find(is_space).unwrap_or(rest.len());
                parts.push(&rest[..end]);
                rest = rest[end..].trim_start_matches(is_space);
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
            parts
        }
        (None, _) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() && parts.len() < most {
                let word = rest.rsplit(is_space).next().unwrap_or(rest);
                parts.push(word);
                rest = rest[..rest.len() - word.len()].trim_end_matches(is_space);
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
            parts
        }
    };
    if method == "rsplit" {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}
