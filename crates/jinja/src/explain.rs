//! Turns an engine's error into what a person needs: what is wrong, where, which names there are,
//! what to do.

use std::ops::Range;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::RenderError;
use crate::packers;
use crate::source::{Opened, Source};
use reconciler_model::suggest::nearest;

const WRAP_IN_RAW: &str = "these braces are Packer's own: wrap them in {% raw %}…{% endraw %}";

/// How many names a hint lists.
const MOST_NAMES: usize = 20;

type Explained = (String, Option<String>, Option<Range<usize>>);

/// Explains an error.
pub(super) fn explain(error: &Error, source: &Source<'_>, context: &Value) -> RenderError {
    let text = &*source.text;
    let span =
        error.range().filter(|span| span.end <= text.len() && text.is_char_boundary(span.start));
    let origin = Origin::of(error);
    let (message, hint, span) = match error.kind() {
        ErrorKind::BadEscape | ErrorKind::SyntaxError => syntax(error, source, span),
        _ if let Some(origin) = &origin => undefined(source, origin, span, context),
        ErrorKind::UndefinedError => ("a name is undefined".to_owned(), None, span),
        ErrorKind::OutOfFuel => {
            let message = "the template does not end: it was stopped after five million steps";
            (
                message.to_owned(),
                Some("look for a loop or a macro that calls itself".to_owned()),
                span,
            )
        }
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
    let may_be_packers = origin.is_some()
        || matches!(
            error.kind(),
            ErrorKind::SyntaxError
                | ErrorKind::BadEscape
                | ErrorKind::UndefinedError
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownFilter
                | ErrorKind::UnknownTest
                | ErrorKind::UnknownMethod
        );
    let place = span.clone().or_else(|| line_span(text, error.line()?));
    let is_packers = place.is_some_and(|place| {
        let around = around(source, &place);
        around.is_some_and(|inside| packers::speaks(&text[inside]))
    });
    RenderError {
        message,
        line: error.line(),
        hint: if may_be_packers && is_packers { Some(WRAP_IN_RAW.to_owned()) } else { hint },
        span: span.map(|span| source.original(&span)),
    }
}

/// What stands between the braces around a place, or between the first ones of its line.
fn around(source: &Source<'_>, place: &Range<usize>) -> Option<Range<usize>> {
    let text = &*source.text;
    let holds =
        |inside: &&Range<usize>| inside.start <= place.start + 2 && place.start <= inside.end;
    // Those of a tag are Jinja's alone.
    let is_tag = |inside: &Range<usize>| {
        let before = text[..inside.start].trim_end_matches(['-', '+']);
        before.ends_with("{%")
    };
    if let Some(inside) = source.inside.iter().rfind(holds) {
        return (!is_tag(inside)).then(|| inside.clone());
    }
    let start = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[place.start..].find('\n').map_or(text.len(), |at| place.start + at);
    let on_line = |inside: &&Range<usize>| start <= inside.start && inside.start <= end;
    let open = || text[start..end].find("{{").map(|at| start + at + 2..end);
    let mut expressions = source.inside.iter().filter(|inside| !is_tag(inside));
    expressions.find(on_line).cloned().or_else(open)
}

fn syntax(error: &Error, source: &Source<'_>, span: Option<Range<usize>>) -> Explained {
    let said = said(error);
    let Some((opened, place)) =
        source.open.clone().filter(|_| said.starts_with("unexpected end of"))
    else {
        return (format!("template syntax: {said}"), None, span);
    };
    let (message, hint) = match opened {
        Opened::Comment => (
            "`{#` opens a comment of the template, which is never closed".to_owned(),
            "where bash's ${#array[@]} or ${#name} is meant: wrap it in {% raw %}…{% endraw %}",
        ),
        Opened::Raw => (
            "`{% raw %}` is never closed".to_owned(),
            "put {% endraw %} behind what is not the template's",
        ),
        Opened::Expression => (
            "`{{` is never closed".to_owned(),
            "close it by `}}`; where braces are meant for Packer or a script, wrap them in {% raw %}…{% endraw %}",
        ),
        Opened::Tag => (
            "`{%` is never closed".to_owned(),
            "close it by `%}`; where a script is meant, wrap it in {% raw %}…{% endraw %}",
        ),
        Opened::Block(name) => {
            let message = format!("`{{% {name} %}}` is never closed");
            let hint = format!("put {{% end{name} %}} behind what belongs to it");
            return (message, Some(hint), Some(place));
        }
    };
    (message, Some(hint.to_owned()), Some(place))
}

/// Where an undefined value comes from, as the engine tells it: the expression, and its line.
struct Origin {
    expression: String,
    line: Option<usize>,
}

impl Origin {
    fn of(error: &Error) -> Option<Self> {
        let detail = error.detail()?;
        let (before, after) = detail.split_once("` is undefined")?;
        let (_, expression) = before.rsplit_once('`')?;
        let line = after.split_once("from line ").map(|(_, line)| {
            let digits = line.find(|c: char| !c.is_ascii_digit());
            &line[..digits.unwrap_or(line.len())]
        });
        Some(Self {
            expression: expression.to_owned(),
            line: line.and_then(|line| line.parse().ok()).or_else(|| error.line()),
        })
    }
}

fn said(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// Names an undefined value by itself, shows where it stands, and what exists there.
fn undefined(
    source: &Source<'_>,
    origin: &Origin,
    span: Option<Range<usize>>,
    context: &Value,
) -> Explained {
    let name = origin.expression.as_str();
    let message = format!("`{name}` is undefined");
    let place = named(source, origin, span.as_ref()).or(span);
    let dotted = name.replace("['", ".").replace("[\"", ".");
    let dotted = dotted.replace("']", "").replace("\"]", "");
    let parts: Vec<&str> = dotted.split('.').collect();
    let mut at = context.clone();
    let mut seen = String::new();
    for (nth, part) in parts.iter().enumerate() {
        let next = at.get_attr(part).unwrap_or_default();
        if next.is_undefined() {
            // A name of a loop, a macro or `set`, of which only the engine knows what it is.
            let is_known = nth > 0 || parts.len() == 1;
            return (message, is_known.then(|| names_hint(&at, &seen, part)), place);
        }
        if nth > 0 {
            seen.push('.');
        }
        seen.push_str(part);
        at = next;
    }
    (message, None, place)
}

/// Where the name of an undefined value stands: on its line, and there best within what failed.
fn named(
    source: &Source<'_>,
    origin: &Origin,
    span: Option<&Range<usize>>,
) -> Option<Range<usize>> {
    let text = &*source.text;
    let line = line_span(text, origin.line?)?;
    // `(...)` is what the engine cannot describe.
    let name = origin.expression.rsplit("(...)").next()?;
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    let places = text[line.start..].match_indices(name).map(|(at, found)| {
        let start = line.start + at;
        start..start + found.len()
    });
    let mut places = places.filter(|place| {
        let before = text[..place.start].chars().next_back();
        let after = text[place.end..].chars().next();
        let is_whole = !before.is_some_and(|c| in_name(c) || (c == '.' && !name.starts_with('.')))
            && !after.is_some_and(in_name);
        let holds = |inside: &&Range<usize>| inside.start <= place.start && place.end <= inside.end;
        is_whole && source.inside.iter().any(|inside| holds(&inside))
    });
    let on_line: Vec<_> = places.by_ref().take_while(|place| place.start <= line.end).collect();
    let within = span.and_then(|span| {
        let inside = |place: &&Range<usize>| span.start <= place.start && place.end <= span.end;
        on_line.iter().find(inside)
    });
    // What failed last is what stands before; a name with a default may stand before that.
    let before = span.and_then(|span| on_line.iter().rfind(|place| place.start <= span.end));
    within.or(before).or(on_line.first()).cloned()
}

fn names_hint(value: &Value, place: &str, wrong: &str) -> String {
    if value.kind() != ValueKind::Map {
        return format!("`{place}` is {}, which has no names", value.kind());
    }
    let names: Vec<String> = crate::repr::items(value)
        .iter()
        .filter_map(|name| crate::repr::python_str(name).ok())
        .collect();
    let near = nearest(wrong, names.iter().map(String::as_str))
        .map(|near| format!("did you mean `{near}`? "))
        .unwrap_or_default();
    let more = if names.len() > MOST_NAMES { ", …" } else { "" };
    let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    let place = if place.is_empty() { "there are".to_owned() } else { format!("`{place}` has") };
    format!("{near}{place}: {shown}{more}")
}

fn line_span(text: &str, line: usize) -> Option<Range<usize>> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let length = text.get(start..)?.find('\n').unwrap_or(text.len() - start);
    Some(start..start + length)
}

#[cfg(test)]
mod tests {
    use crate::template_value;
    use crate::{Engine, RenderError, TemplateSource};

    fn wrong(text: &str) -> RenderError {
        let context = serde_json::json!({"builder": {"workflow_param": {"vpc_name": "v", "aws_region": "r"}}});
        let template = TemplateSource { path: "t", text };
        Engine::new().render(&template, &template_value(&context)).unwrap_err()
    }

    #[test]
    fn an_undefined_name_is_shown_whole_with_the_names_that_exist_and_the_nearest() {
        let error = wrong("a\r\nb {{ builder.workflow_param.vpc_nme }}");
        assert_eq!(error.message, "`builder.workflow_param.vpc_nme` is undefined");
        assert_eq!(
            error.hint.unwrap(),
            "did you mean `vpc_name`? `builder.workflow_param` has: vpc_name, aws_region"
        );
        assert_eq!(error.span, Some(8..38));
        assert!(
            wrong("{% if build.x %}{% endif %}").hint.unwrap().contains("did you mean `builder`?")
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
            "{{build_name}}",
            "{{ build `ID` }}",
            "{{isotime | clean_resource_name}}",
            "{{ if .SourceAMI }}x{{ end }}",
            "{{ if eq .Vars 1 }}x{{ else }}y{{ end }}",
            "{{ range .Tags }}",
            "{{template_dir}}",
            "{{ uuid }}",
            "{{ .Vars }}",
            "sudo {{.Vars}} sh '{{ .Path }}'",
            "{{ user \"x\" }}",
            "{{ env `HOME` }}",
            "{{ vault `a` `b` }}",
            "{{ .SourceAMITags.Name | clean_resource_name }}",
            "{{ timestamp\n}}",
            "{{ printf \"%s\" .Vars }}",
        ] {
            let error = wrong(text);
            assert!(
                error.hint.as_deref().unwrap_or_default().contains("{% raw %}…{% endraw %}"),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn an_undefined_name_is_named_by_itself_wherever_it_is_used() {
        let undefined = |text: &str| {
            let error = wrong(text);
            let span = error.span.unwrap_or_else(|| panic!("{text} has a place"));
            (error.message, text[span].to_owned())
        };
        for use_of in [
            "{% if builder.nope == 'prod' %}x{% endif %}",
            "{{ builder.nope|lower }}",
            "{{ 'a' ~ builder.nope }}",
            "{{ 'a'|replace('a', builder.nope) }}",
            "{{ 'a'.replace('a', builder.nope) }}",
            "{{ builder.nope + 1 }}",
            "{{ 1 - builder.nope }}",
            "{{ -builder.nope }}",
            "{{ builder.nope is none }}",
            "{{ 1 is eq(builder.nope) }}",
            "{{ 1 in builder.nope }}",
            "{{ builder.nope in [1] }}",
            "{{ not builder.nope }}",
            "{{ builder.nope or 'a' }}",
            "{{ builder.nope[1:] }}",
            "{{ builder.nope.deeper }}",
            "{{ range(builder.nope) }}",
            "{{ [builder.nope]|join }}",
            "{{ [builder.nope] }}",
            "{% for a in builder.nope %}{% endfor %}",
            "{% set a = builder.nope %}\n{{ a|upper }}",
            "{% macro m(a) %}{{ a|upper }}{% endmacro %}{{ m(builder.nope) }}",
            "{{ [1, 2]\n  |join(builder.nope) }}",
        ] {
            let (message, place) = undefined(use_of);
            assert_eq!(message, "`builder.nope` is undefined", "{use_of}");
            assert_eq!(place, "builder.nope", "{use_of}");
        }
        let second = wrong("{{ builder.nope|d }} {{ builder.nope|upper }}");
        assert_eq!(second.span, Some(24..36));
        let subscript = wrong("{{ builder['workflow_param']['vpc_nme']|upper }}");
        assert_eq!(subscript.message, "`builder['workflow_param']['vpc_nme']` is undefined");
        assert!(subscript.hint.unwrap().starts_with("did you mean `vpc_name`?"));
        let local = wrong("{% for a in [builder] %}{{ a.nope|upper }}{% endfor %}");
        assert_eq!(local.message, "`a.nope` is undefined");
        assert_eq!(local.hint, None);
    }

    #[test]
    fn what_is_opened_and_never_closed_is_shown_where_it_is_opened() {
        for (text, at, says) in [
            ("a\nn=$${#pkgs[@]}\nb", 6, "raw %}"),
            ("{% raw %}a", 0, "endraw"),
            ("a {{ builder", 2, "}}"),
            ("a {% if builder", 2, "%}"),
            ("{% if builder %}\na", 0, "endif"),
        ] {
            let error = wrong(text);
            assert_eq!(error.span.unwrap().start, at, "{text}");
            assert!(error.message.contains("never closed"), "{}", error.message);
            assert!(error.hint.unwrap().contains(says), "{text}");
        }
        let escape = wrong("{{ 'a\\xg1' }}");
        assert_eq!(escape.span, Some(5..7), "{escape:?}");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped_and_one_that_includes_is_told() {
        assert!(
            wrong("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}")
                .message
                .contains("does not end")
        );
        assert!(wrong("{% include 'x' %}").message.contains("cannot include"));
    }
}
