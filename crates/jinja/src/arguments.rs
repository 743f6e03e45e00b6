//! Arguments of filters and methods, taken as Python takes them: by place or by name.

use minijinja::value::{Kwargs, Rest, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, Value};

/// Nothing that a template asks for may be wider or more often than this: it would only fill the
/// memory.
const MOST: i64 = 100_000;

/// No text that a filter makes of many values or by repetition may be longer.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// Refuses a text that would be too long, before it is made.
pub(super) fn bounded(bytes: usize, filter: &str) -> Result<(), Error> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("{filter} makes a text of more than 4 MiB"),
    ))
}

/// Adds a filter whose first parameter is the value before the bar.
pub(super) fn add_filter<const N: usize>(
    environment: &mut Environment<'static>,
    name: &'static str,
    parameters: [&'static str; N],
    filter: fn([Option<Value>; N]) -> Result<Value, Error>,
) {
    let bound = move |arguments: Rest<ValueOrKwargs>| {
        let arguments: Vec<Value> = arguments.0.into_iter().map(Value::from).collect();
        filter(bind(&arguments, parameters)?)
    };
    // The one that an undefined value is for.
    if matches!(name, "default" | "d") {
        environment.add_filter(name, bound);
    } else {
        crate::guard::filter(environment, name, bound);
    }
}

/// What each parameter got; an error for one too many and for a name that is none.
pub(super) fn bind<const N: usize>(
    arguments: &[Value],
    parameters: [&str; N],
) -> Result<[Option<Value>; N], Error> {
    let (placed, named) = match arguments.split_last() {
        Some((last, placed)) if last.is_kwargs() => (placed, Kwargs::try_from(last.clone())?),
        _ => (arguments, Kwargs::from_iter(Vec::<(String, Value)>::new())),
    };
    if placed.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut bound = std::array::from_fn(|at| placed.get(at).cloned());
    for (slot, name) in bound.iter_mut().zip(parameters) {
        if slot.is_none() && named.has(name) {
            *slot = Some(named.get::<Value>(name)?);
        }
    }
    named.assert_all_used()?;
    Ok(bound)
}

/// An argument that must be there.
pub(super) fn needed(value: Option<Value>) -> Result<Value, Error> {
    value.ok_or_else(|| Error::from(ErrorKind::MissingArgument))
}

/// A width or a count; below zero is zero, as nearly everywhere in Python.
pub(super) fn width(value: Option<Value>, otherwise: usize) -> Result<usize, Error> {
    let Some(value) = value else {
        return Ok(otherwise);
    };
    let number = i64::try_from(value)?;
    if number > MOST {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{number} is more than the {MOST} that a template may ask for"),
        ));
    }
    Ok(usize::try_from(number).unwrap_or(0))
}

/// Whether an argument is true.
pub(super) fn flag(value: Option<Value>, otherwise: bool) -> bool {
    value.map_or(otherwise, |value| value.is_true())
}

/// A text; `None` counts as not given.
pub(super) fn text(value: Option<Value>) -> Result<Option<String>, Error> {
    match value {
        None => Ok(None),
        Some(value) if value.is_none() => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("a string is needed, not {}", value.kind()),
            )),
        },
    }
}
