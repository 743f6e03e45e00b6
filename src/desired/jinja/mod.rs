//! Jinja templates rendered byte for byte as Python's Jinja2 3.1 does with its default settings.
//!
//! Pure: values in, text out. An undefined name is an error here, where Python would render nothing.

use std::ops::Range;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

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

/// Filters, tests and methods, set up once and shared.
pub struct Engine {
    environment: Environment<'static>,
}

/// How many instructions a template may take; a template that never ends is stopped in well below a second.
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
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_debug(true);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        Self { environment }
    }

    /// Renders one template.
    pub fn render(
        &self,
        template: &TemplateSource<'_>,
        context: &Value,
    ) -> Result<String, RenderError> {
        let text = if template.text.contains('\r') {
            std::borrow::Cow::Owned(template.text.replace("\r\n", "\n").replace('\r', "\n"))
        } else {
            std::borrow::Cow::Borrowed(template.text)
        };
        self.environment
            .render_named_str(template.path, &text, context)
            .map_err(|error| explain(&error, &text))
    }
}

fn explain(error: &minijinja::Error, text: &str) -> RenderError {
    let span = error.range();
    let shown = span
        .clone()
        .and_then(|span| text.get(span))
        .unwrap_or_default();
    let (message, hint) = match error.kind() {
        ErrorKind::UndefinedError => (format!("`{shown}` is undefined"), None),
        ErrorKind::OutOfFuel => (
            "the template does not end: it was stopped after 5 million steps".to_owned(),
            None,
        ),
        ErrorKind::SyntaxError => (
            format!(
                "template syntax: {}",
                error.detail().unwrap_or("cannot be parsed")
            ),
            raw_hint(error, text),
        ),
        _ => (
            error
                .detail()
                .map_or_else(|| error.kind().to_string(), str::to_owned),
            None,
        ),
    };
    RenderError {
        message,
        line: error.line(),
        span,
        hint,
    }
}

fn raw_hint(error: &minijinja::Error, text: &str) -> Option<String> {
    let line = text.lines().nth(error.line()?.checked_sub(1)?)?;
    line.contains("{{")
        .then(|| "Packer's own braces must be wrapped in {% raw %}…{% endraw %}".to_owned())
}
