//! Keeps undefined values from all that would take one for nothing: filters, tests, methods and
//! functions.
//!
//! `default` is there for them, and the tests `defined` and `undefined` ask for them. Anything else
//! refuses one, wherever it stands among the arguments, by the engine's own rule: what an inline
//! `if` without `else` gives is no undefined name and renders as nothing.

use minijinja::functions::Function;
use minijinja::value::{FunctionArgs, FunctionResult, Rest, StringInput, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, tests};

use crate::arguments::bounded;
use crate::sequences::{attribute_of, listed};

/// Adds a filter that no undefined value reaches.
pub(super) fn filter<F, Rv, Args>(environment: &mut Environment<'static>, name: &'static str, f: F)
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let filter = Value::from_function(f);
    environment.add_filter(
        name,
        move |state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>| {
            guarded(state, &filter, arguments)
        },
    );
}

/// Adds a test that no undefined value reaches.
pub(super) fn test<F, Rv, Args>(environment: &mut Environment<'static>, name: &'static str, f: F)
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let test = Value::from_function(f);
    environment.add_test(name, move |state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>| {
        guarded(state, &test, arguments)
    });
}

fn guarded(
    state: &mut State<'_, '_>,
    function: &Value,
    arguments: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    let arguments: Vec<Value> = arguments.0.into_iter().map(Value::from).collect();
    // Seeded bug: undefined-behind-a-filter
    refuse_undefined(state, &arguments)?;
    function.call(state, &arguments)
}

/// Refuses arguments of which one is undefined.
pub(super) fn refuse_undefined(state: &State<'_, '_>, arguments: &[Value]) -> Result<(), Error> {
    for argument in arguments {
        if argument.is_undefined() {
            StringInput::new(state, argument)?;
        } else if argument.is_kwargs() {
            for name in argument.try_iter()? {
                let named = argument.get_item(&name)?;
                refuse_undefined(state, std::slice::from_ref(&named))?;
            }
        }
    }
    Ok(())
}

/// The error for a value, which tells where it comes from.
pub(super) fn undefined(value: &Value) -> Error {
    value.get_attr("").err().unwrap_or_else(|| Error::from(ErrorKind::UndefinedError))
}

/// Puts guards before those of the engine's own filters and tests that are not written anew.
pub(super) fn add(environment: &mut Environment<'static>) {
    add_filters(environment);
    add_tests(environment);
}

fn add_filters(environment: &mut Environment<'static>) {
    filter(environment, "safe", filters::safe);
    filter(environment, "capitalize", filters::capitalize);
    for name in ["length", "count"] {
        filter(environment, name, filters::length);
    }
    filter(environment, "items", filters::items);
    filter(environment, "reverse", |value: &Value| {
        match value.as_str() {
            Some(text) => bounded(text.len(), "reverse")?,
            None => drop(listed(value)?),
        }
        filters::reverse(value)
    });
    filter(environment, "split", filters::split);
    filter(environment, "lines", filters::lines);
    filter(environment, "attr", filters::attr);
    filter(environment, "first", filters::first);
    filter(environment, "last", |value: Value| match value.len() {
        Some(length) if value.kind() == ValueKind::Seq => {
            length.checked_sub(1).map_or(Ok(Value::UNDEFINED), |last| value.get_item_by_index(last))
        }
        _ => filters::last(value),
    });
    filter(environment, "bool", filters::bool);
    filter(environment, "batch", filters::batch);
    filter(environment, "slice", filters::slice);
    items_too(environment, "sum", Value::from_function(filters::sum));
    items_too(environment, "min", Value::from_function(filters::min));
    items_too(environment, "max", Value::from_function(filters::max));
    filter(environment, "select", filters::select);
    filter(environment, "reject", filters::reject);
    filter(environment, "selectattr", filters::selectattr);
    filter(environment, "rejectattr", filters::rejectattr);
    filter(environment, "chain", filters::chain);
    filter(environment, "zip", filters::zip);
}

fn add_tests(environment: &mut Environment<'static>) {
    test(environment, "none", tests::is_none);
    for name in ["safe", "escaped"] {
        test(environment, name, tests::is_safe);
    }
    test(environment, "boolean", tests::is_boolean);
    test(environment, "odd", tests::is_odd);
    test(environment, "even", tests::is_even);
    test(environment, "number", tests::is_number);
    for name in ["integer", "int"] {
        test(environment, name, tests::is_integer);
    }
    test(environment, "float", tests::is_float);
    test(environment, "string", tests::is_string);
    test(environment, "mapping", tests::is_mapping);
    test(environment, "startingwith", tests::is_startingwith);
    test(environment, "endingwith", tests::is_endingwith);
    test(environment, "lower", tests::is_lower);
    test(environment, "upper", tests::is_upper);
    test(environment, "sameas", tests::is_sameas);
    test(environment, "true", tests::is_true);
    test(environment, "false", tests::is_false);
    test(environment, "in", tests::is_in);
    test(environment, "divisibleby", |value: &Value, other: &Value| {
        let is_zero = f64::try_from(other.clone()).is_ok_and(|other| other == 0.0);
        if is_zero {
            return Err(Error::new(ErrorKind::InvalidOperation, "a number divided by zero"));
        }
        Ok(tests::is_divisibleby(value, other))
    });
    compare(environment, ["eq", "equalto", "=="], tests::is_eq);
    compare(environment, ["ne", "!=", "ne"], tests::is_ne);
    compare(environment, ["lt", "lessthan", "<"], tests::is_lt);
    compare(environment, ["le", "<=", "le"], tests::is_le);
    compare(environment, ["gt", "greaterthan", ">"], tests::is_gt);
    compare(environment, ["ge", ">=", "ge"], tests::is_ge);
}

/// Adds a filter that takes a list, and no undefined items or attributes of items.
fn items_too(environment: &mut Environment<'static>, name: &'static str, function: Value) {
    filter(environment, name, move |state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>| {
        let arguments: Vec<Value> = arguments.0.into_iter().map(Value::from).collect();
        if let [list, rest @ ..] = arguments.as_slice() {
            let attribute = match rest.last().filter(|last| last.is_kwargs()) {
                Some(named) => named.get_attr("attribute").ok(),
                None => rest.first().cloned(),
            };
            let attribute = attribute.filter(|attribute| attribute.as_str().is_some());
            for item in listed(list)? {
                let value = attribute_of(&item, attribute.as_ref());
                if value.is_undefined() {
                    return Err(missing(&value, attribute.as_ref()));
                }
            }
        }
        function.call(state, &arguments)
    });
}

/// The error for an attribute that an item lacks.
pub(super) fn missing(value: &Value, attribute: Option<&Value>) -> Error {
    match attribute.and_then(Value::as_str) {
        Some(name) => Error::new(ErrorKind::UndefinedError, format!("`{name}` is undefined")),
        None => undefined(value),
    }
}

fn compare(
    environment: &mut Environment<'static>,
    names: [&'static str; 3],
    answer: fn(&Value, &Value) -> bool,
) {
    for name in names {
        test(environment, name, move |a: &Value, b: &Value| answer(a, b));
    }
}
