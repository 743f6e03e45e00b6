//! Room for templates that nest deeply, so that none overflows the stack and takes the whole
//! program with it.
//!
//! The engine parses, compiles and drops what nests by recursion without a limit of its own in some
//! places (`not not not …`, `1 + 1 + 1 + …`, a list that a loop puts into itself). An ordinary
//! template holds some hundred words between its braces and cannot nest deeper than that; any other
//! is rendered on a thread whose stack suffices for what [`MOST_BYTES`] and the engine's fuel
//! allow.

use crate::RenderError;

/// A longer template is refused.
const MOST_BYTES: usize = 256 << 10;

/// So many words and signs between braces are rendered where the caller stands.
const FEW: usize = 600;

/// Address space only; memory is used as far as it is touched.
const STACK_BYTES: usize = 1 << 30;

/// Runs `render` on a stack that is large enough for this template.
pub(super) fn with_room<T: Send>(
    text: &str,
    render: impl FnOnce() -> Result<T, RenderError> + Send,
) -> Result<T, RenderError> {
    if text.len() > MOST_BYTES {
        let kilobytes = text.len() / 1024;
        return Err(wrong(
            format!("the template has {kilobytes} KB; more than 256 KB is not rendered"),
            "upload large files with a `file` provisioner instead of writing them into the template",
        ));
    }
    if is_ordinary(text) {
        return render();
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("render".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, render)
            .map_err(|error| {
                wrong(
                    format!("there is no memory to render the template: {error}"),
                    "does a limit on address space (ulimit -v) stand in the way?",
                )
            })?
            .join()
            .unwrap_or_else(|died| std::panic::resume_unwind(died))
    })
}

fn wrong(message: String, hint: &str) -> RenderError {
    RenderError { message, line: None, span: None, hint: Some(hint.to_owned()) }
}

/// Whether what stands between braces is so little that it cannot nest deeply. A namespace lets a
/// loop nest without end.
fn is_ordinary(text: &str) -> bool {
    !text.contains("namespace") && words_between_braces(text) <= FEW
}

fn words_between_braces(text: &str) -> usize {
    let (mut inside, mut in_word, mut words) = (false, false, 0);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1).copied().unwrap_or_default();
        match (*byte, next) {
            (b'{', b'{' | b'%') => inside = true,
            (b'}' | b'%', b'}') => inside = false,
            _ => {}
        }
        let is_word = byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        let starts = (is_word && !in_word) || (!is_word && !byte.is_ascii_whitespace());
        words += usize::from(inside && starts);
        in_word = is_word;
    }
    words
}

#[cfg(test)]
mod tests {
    use crate::template_value;
    use crate::{Engine, TemplateSource};

    use super::*;

    fn rendered(text: &str) -> Result<String, RenderError> {
        let template = TemplateSource { path: "t", text };
        Engine::new().render(&template, &template_value(&serde_json::json!({ "x": 1 })))
    }

    #[test]
    fn the_projects_own_templates_are_ordinary() {
        for text in [
            include_str!("../../../packer_workspaces/s03-build-deps/templates/.pkr.hcl"),
            include_str!("../../../packer_workspaces/example/templates/.pkr.hcl"),
        ] {
            assert!(is_ordinary(text));
        }
        assert_eq!(words_between_braces("a b {{ x.y }} c {% if 1 %} d"), 5 + 4);
    }

    #[test]
    fn no_template_overflows_the_stack() {
        let many = |part: &str, n: usize| part.repeat(n);
        let nested = "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}";
        for text in [
            format!("{{{{ {}1 }}}}", many("not ", 60_000)),
            format!("{{{{ 1{} }}}}", many("+1", 60_000)),
            format!("{{{{ x{} }}}}", many(".a", 60_000)),
            format!("{{{{ 1{} }}}}", many("|int", 50_000)),
            format!("{{% set x = [] %}}{}", many("{% set x = [x] %}", 14_000)),
            nested.to_owned(),
            format!("{nested}{{{{ ns.x == [ns.x] }}}}"),
        ] {
            // Whether it renders is the engine's to say; the test is that the process goes on.
            let _ = rendered(&text);
        }
        for printed in ["ns.x", "ns.x|tojson", "ns.x|pprint", "ns.x|string"] {
            let wrong = rendered(&format!("{nested}{{{{ {printed} }}}}")).unwrap_err();
            assert!(wrong.message.contains("levels deep"), "{printed}: {wrong}");
        }
    }

    #[test]
    fn no_list_that_doubles_holds_a_render_up() {
        // Two lists that are added up are one that nobody has written out: here of a thousand
        // million items. From the thirty-third time on the engine itself writes it out, within `+`,
        // and nothing here can hinder it.
        let doubled = "{% set ns = namespace(x=['']) %}{% for i in range(30) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
        let ends = [
            "{{ ns.x }}",
            "{{ ns.x|string }}",
            "{{ ns.x|tojson }}",
            "{{ ns.x|pprint }}",
            "{{ ns.x|join }}",
            "{{ ''.join(ns.x) }}",
            "{{ ns.x|list }}",
            "{{ '%s'|format(ns.x) }}",
            "{{ '%(a)s'|format(a=ns.x) }}",
            "{{ ns.x|upper }}",
            "{{ [ns.x]|join }}",
            "{{ ns.x|map('upper')|list }}",
            "{% autoescape true %}{{ ns.x }}{% endautoescape %}",
        ];
        let waits = ends.map(|end| {
            let text = format!("{doubled}{end}");
            let (told, done) = std::sync::mpsc::channel();
            // Where it does not end, only this thread hangs.
            std::thread::spawn(move || told.send(rendered(&text).is_err()));
            (end, done)
        });
        for (end, done) in waits {
            let refused = done.recv_timeout(std::time::Duration::from_mins(1));
            assert_eq!(refused, Ok(true), "{end}");
        }
    }

    #[test]
    fn no_value_fills_the_memory_by_being_printed() {
        let twice = "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
        for (text, said) in [
            (format!("{twice}{{{{ ns.x }}}}"), "printing a value makes a text of more than 4 MiB"),
            (format!("{twice}{{{{ ns.x|tojson }}}}"), "tojson makes a text of more than 4 MiB"),
            ("{{ ('a\\n' * 90000)|indent(90000) }}".to_owned(), "indent makes a text"),
            ("{{ (['a' * 90000] * 9000)|join }}".to_owned(), "join makes a text"),
            ("{{ ','.join(['a' * 90000] * 9000) }}".to_owned(), "join makes a text"),
            (
                "{{ ('a ' * 90000)|wordwrap(1, wrapstring='x' * 90000) }}".to_owned(),
                "wordwrap makes a text",
            ),
        ] {
            let wrong = rendered(&text).unwrap_err();
            assert!(wrong.message.contains(said), "{text}: {wrong}");
        }
        let many = "(('a' * 40000 ~ ',') * 100).split(',')";
        for (text, said) in [
            (format!("{{{{ {many}|map('replace', 'a', 'b' * 100)|list|length }}}}"), "map makes"),
            (
                "{{ range(100000)|map('replace', '1', 'x' * 90000)|list|length }}".to_owned(),
                "map makes",
            ),
            ("{{ (['x' * 100] * 100000)|map('list')|list|length }}".to_owned(), "map makes"),
        ] {
            let wrong = rendered(&text).unwrap_err();
            assert!(wrong.message.contains(said), "{text}: {wrong}");
        }
        let long = "x".repeat(MOST_BYTES + 1);
        assert!(rendered(&long).unwrap_err().message.contains("256 KB"));
    }
}
