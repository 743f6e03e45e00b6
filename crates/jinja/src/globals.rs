//! Global functions of Jinja2 that minijinja lacks or does otherwise: `cycler`, `joiner`, `range`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::value::{Object, Rest, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, functions};

use crate::guard::refuse_undefined;
use crate::repr::python_str;
use crate::sequences::Range;

/// Puts them into an environment.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_function("range", |state: &State<'_, '_>, arguments: Rest<Value>| {
        // An undefined limit would be none.
        refuse_undefined(state, &arguments)?;
        let (first, second, step): (i64, Option<i64>, Option<i64>) = from_args(&arguments)?;
        Range::new(first, second, step).map(Value::from_object)
    });
    for (name, function) in [
        ("dict", Value::from_function(functions::dict)),
        ("namespace", Value::from_function(functions::namespace)),
    ] {
        environment.add_function(
            name,
            move |state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>| {
                let arguments: Vec<Value> = arguments.0.into_iter().map(Value::from).collect();
                let first = arguments.first().filter(|first| !first.is_kwargs());
                refuse_undefined(state, first.map_or(&[], std::slice::from_ref))?;
                function.call(state, &arguments)
            },
        );
    }
    environment.add_function("cycler", |items: Rest<Value>| {
        Value::from_object(Cycler { items: items.0, at: AtomicUsize::new(0) })
    });
    environment.add_function("joiner", |state: &State<'_, '_>, arguments: Rest<Value>| {
        refuse_undefined(state, &arguments)?;
        let (separator,): (Option<Value>,) = from_args(&arguments)?;
        let separator = separator.as_ref().map(python_str).transpose()?;
        Ok::<_, Error>(Value::from_object(Joiner {
            separator: separator.unwrap_or_else(|| ", ".to_owned()),
            used: AtomicBool::new(false),
        }))
    });
}

#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Cycler {
    fn current(&self) -> Value {
        let count = self.items.len().max(1);
        self.items.get(self.at.load(Ordering::Relaxed) % count).cloned().unwrap_or_default()
    }
}

impl Object for Cycler {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current")).then(|| self.current())
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let () = from_args(args)?;
        match method {
            "next" => {
                let current = self.current();
                self.at.fetch_add(1, Ordering::Relaxed);
                Ok(current)
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

#[derive(Debug)]
struct Joiner {
    separator: String,
    used: AtomicBool,
}

impl Object for Joiner {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let () = from_args(args)?;
        let used = self.used.swap(true, Ordering::Relaxed);
        Ok(Value::from(if used { self.separator.as_str() } else { "" }))
    }
}
