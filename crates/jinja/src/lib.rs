//! Jinja templates rendered byte for byte as Python's Jinja2 3.1 does with its default settings.
//!
//! Pure: values in, text out. An undefined name is an error here, where Python would render
//! nothing.

mod arguments;
mod deep_stack;
mod escapes;
mod explain;
mod filters;
mod globals;
mod guard;
mod json;
mod markup;
mod methods;
mod numbers;
mod packers;
mod repr;
mod sequences;
mod source;
mod strings;
mod value;
mod wrap;

use std::ops::Range;
use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior, Value};

pub use value::template_value;

/// One template.
#[derive(Clone, Copy, Debug)]
pub struct TemplateSource<'a> {
    /// Where it is, for errors.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// A template that cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// What is wrong.
    pub message: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The bytes that are meant.
    pub span: Option<Range<usize>>,
    /// What to do.
    pub hint: Option<String>,
}

/// Filters, tests and methods, set up once; clones share them.
#[derive(Clone)]
pub struct Engine {
    environment: Arc<Environment<'static>>,
}

/// How many instructions a template may take; a template that never ends is stopped in well below a
/// second.
const FUEL: u64 = 5_000_000;

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// Sets up an engine.
    #[must_use]
    pub fn new() -> Self {
        let mut environment = Environment::new();
        // Seeded bug: undefined-names-render-as-nothing
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_debug(true);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(|out, state, value| {
            // The engine has refused every undefined value but that of an inline `if` without
            // `else`, which prints nothing.
            if value.is_undefined() {
                return Ok(());
            }
            // Only within `{% autoescape true %}`.
            let escapes = *state.auto_escape() != minijinja::AutoEscape::None;
            if escapes && !value.is_safe() {
                out.write_str(&markup::escape(&repr::python_str(value)?))?;
                return Ok(());
            }
            match value.as_str() {
                Some(text) => out.write_str(text)?,
                None => out.write_str(&repr::python_str(value)?)?,
            }
            Ok(())
        });
        environment.set_unknown_method_callback(methods::call);
        guard::add(&mut environment);
        filters::add(&mut environment);
        sequences::add(&mut environment);
        globals::add(&mut environment);
        Self { environment: Arc::new(environment) }
    }

    /// Renders one template.
    pub fn render(
        &self,
        template: &TemplateSource<'_>,
        context: &Value,
    ) -> Result<String, RenderError> {
        let source = source::Source::new(template.text);
        deep_stack::with_room(&source.text, || {
            // What the engine would read otherwise than Python is no text for it.
            if let Some((message, place)) = &source.bad {
                return Err(RenderError {
                    message: (*message).to_owned(),
                    line: None,
                    span: Some(source.original(place)),
                    hint: None,
                });
            }
            self.environment
                .render_named_str(template.path, &source.text, context)
                .map_err(|error| explain::explain(&error, &source, context))
        })
    }
}

/// A Python tuple.
fn tuple(items: Vec<Value>) -> Value {
    Value::from_object(minijinja::value::Tuple::from(items))
}
