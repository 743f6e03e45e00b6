//! Turns an engine's error into what a person needs: what is wrong, where, which names there are, what to do.

use std::ops::Range;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::RenderError;
use crate::workflow::jsonc::nearest;

/// What Packer's own templates call: such a name outside of `raw` was meant for Packer.
const PACKER_NAMES: [&str; 12] = [
    "timestamp",
    "isotime",
    "user",
    "build",
    "env",
    "uuid",
    "pwd",
    "template_dir",
    "clean_resource_name",
    "clean_ami_name",
    "packer_version",
    "consul_key",
];

const WRAP_IN_RAW: &str = "these braces are Packer's own: wrap them in {% raw %}…{% endraw %}";

/// How many names a hint lists.
const MOST_NAMES: usize = 20;

/// Explains an error. `text` is what was compiled, `original` what the file holds (its line ends may differ).
pub(super) fn explain(error: &Error, text: &str, original: &str, context: &Value) -> RenderError {
    let span = error
        .range()
        .filter(|span| span.end <= text.len() && text.is_char_boundary(span.start));
    let is_packers = span
        .clone()
        .or_else(|| line_span(text, error.line()?))
        .is_some_and(|span| is_packers(text, span));
    let (message, hint, span) = match error.kind() {
        ErrorKind::UndefinedError => undefined(text, span, context),
        ErrorKind::OutOfFuel => {
            let message = "the template does not end: it was stopped after five million steps";
            (
                message.to_owned(),
                Some("look for a loop or a macro that calls itself".to_owned()),
                span,
            )
        }
        ErrorKind::SyntaxError => (format!("template syntax: {}", said(error)), None, span),
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownMethod
        | ErrorKind::UnknownFunction => (
            said(error),
            Some(
                "docs/jinja-differences.md lists what Python's Jinja2 has and this program lacks"
                    .to_owned(),
            ),
            span,
        ),
        ErrorKind::TemplateNotFound => {
            let hint = "each template stands for itself, as with the Python library; use macros within the file";
            (
                "a template cannot include, import or extend another".to_owned(),
                Some(hint.to_owned()),
                span,
            )
        }
        _ if said(error).contains("recursion limit") => {
            let hint = "look for a macro that calls itself, or for an expression that nests deeply";
            (said(error), Some(hint.to_owned()), span)
        }
        _ => (said(error), None, span),
    };
    let hint = if is_packers
        && matches!(
            error.kind(),
            ErrorKind::SyntaxError | ErrorKind::UndefinedError | ErrorKind::UnknownFunction
        ) {
        Some(WRAP_IN_RAW.to_owned())
    } else {
        hint
    };
    let span = span
        .map(|span| in_original(text, original, span.start)..in_original(text, original, span.end));
    RenderError {
        message,
        line: error.line(),
        span,
        hint,
    }
}

fn said(error: &Error) -> String {
    error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// The dotted name around a place; where it stops to exist; what exists there.
fn undefined(
    text: &str,
    span: Option<Range<usize>>,
    context: &Value,
) -> (String, Option<String>, Option<Range<usize>>) {
    let Some(span) = span else {
        return ("a name is undefined".to_owned(), None, None);
    };
    let whole = dotted_name(text, &span).unwrap_or(span);
    let name = &text[whole.clone()];
    let message = format!("`{name}` is undefined");
    let mut at = context.clone();
    let mut seen = String::new();
    for part in name.split('.') {
        let next = at.get_attr(part).unwrap_or_default();
        if next.is_undefined() {
            return (message, Some(names_hint(&at, &seen, part)), Some(whole));
        }
        seen = if seen.is_empty() {
            part.to_owned()
        } else {
            format!("{seen}.{part}")
        };
        at = next;
    }
    (message, None, Some(whole))
}

fn dotted_name(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let before = text.get(..span.start)?;
    let start = before.len()
        - before
            .chars()
            .rev()
            .take_while(|c| in_name(*c))
            .map(char::len_utf8)
            .sum::<usize>();
    let rest = text.get(start..)?;
    let length: usize = rest
        .chars()
        .take_while(|c| in_name(*c))
        .map(char::len_utf8)
        .sum();
    let name = &rest[..length];
    let sound = !name.is_empty() && !name.starts_with('.') && !name.ends_with('.');
    sound.then(|| start..start + length)
}

fn names_hint(value: &Value, place: &str, wrong: &str) -> String {
    if value.kind() != ValueKind::Map {
        return format!("`{place}` is {}, which has no names", value.kind());
    }
    let names: Vec<String> = super::repr::items(value)
        .iter()
        .filter_map(|name| super::repr::python_str(name).ok())
        .collect();
    let near = nearest(wrong, names.iter().map(String::as_str))
        .map(|near| format!("did you mean `{near}`? "))
        .unwrap_or_default();
    let more = if names.len() > MOST_NAMES {
        ", …"
    } else {
        ""
    };
    let shown = names
        .iter()
        .take(MOST_NAMES)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let place = if place.is_empty() {
        "there are".to_owned()
    } else {
        format!("`{place}` has")
    };
    format!("{near}{place}: {shown}{more}")
}

fn line_span(text: &str, line: usize) -> Option<Range<usize>> {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let length = text.get(start..)?.find('\n').unwrap_or(text.len() - start);
    Some(start..start + length)
}

/// Whether the braces around a place hold what Packer's templates look like: `.Path`, a back quote, one of Packer's functions.
fn is_packers(text: &str, span: Range<usize>) -> bool {
    let end = text[span.start..]
        .find('\n')
        .map_or(text.len(), |at| span.start + at);
    let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    text[line_start..end].split("{{").skip(1).any(|inside| {
        let inside = inside
            .split("}}")
            .next()
            .unwrap_or(inside)
            .trim_start_matches('-')
            .trim();
        let first = inside
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next()
            .unwrap_or_default();
        inside.starts_with('.') || inside.contains('`') || PACKER_NAMES.contains(&first)
    })
}

/// The same place in a text whose line ends were normalised.
fn in_original(text: &str, original: &str, offset: usize) -> usize {
    if text.len() == original.len() {
        return offset;
    }
    let mut left = offset;
    let mut at = 0;
    let bytes = original.as_bytes();
    while left > 0 && at < bytes.len() {
        at += if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') {
            2
        } else {
            1
        };
        left -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use crate::desired::jinja::{Engine, RenderError, TemplateSource};
    use crate::workflow::context::template_value;

    fn wrong(text: &str) -> RenderError {
        let context = serde_json::json!({"builder": {"workflow_param": {"vpc_name": "v", "aws_region": "r"}}});
        let template = TemplateSource { path: "t", text };
        Engine::new()
            .render(&template, &template_value(&context))
            .unwrap_err()
    }

    #[test]
    fn an_undefined_name_is_shown_whole_with_the_names_that_exist_and_the_nearest() {
        let error = wrong("a\r\nb {{ builder.workflow_param.vpc_nme }}");
        assert_eq!(
            error.message,
            "`builder.workflow_param.vpc_nme` is undefined"
        );
        assert_eq!(
            error.hint.unwrap(),
            "did you mean `vpc_name`? `builder.workflow_param` has: vpc_name, aws_region"
        );
        assert_eq!(error.span, Some(8..38));
        assert!(
            wrong("{% if build.x %}{% endif %}")
                .hint
                .unwrap()
                .contains("did you mean `builder`?")
        );
    }

    #[test]
    fn packers_own_braces_are_named_as_such() {
        for text in [
            "{{ .Path }}",
            "x {{ timestamp }}",
            "{{user `x`}}",
            "{{ isotime \"2006\" }}",
            "{{clean_resource_name `x`}}",
        ] {
            let error = wrong(text);
            assert!(
                error
                    .hint
                    .as_deref()
                    .unwrap_or_default()
                    .contains("{% raw %}…{% endraw %}"),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn a_template_that_never_ends_is_stopped_and_one_that_includes_is_told() {
        assert!(
            wrong("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}")
                .message
                .contains("does not end")
        );
        assert!(
            wrong("{% include 'x' %}")
                .message
                .contains("cannot include")
        );
    }
}
