//! JSON with `//` and `#` comments, as the parameter files are written (docs/contract.md §2).
//!
//! Strict but for the comments: no trailing commas, no single quotes, no duplicate keys at any
//! depth. The syntax tree is kept beside the values, so that a wrong type found later still points
//! at its place. The text kept for that shows no secrets: what stands behind a key of AWS
//! credentials is blotted out, for a message may quote the line.

use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use jsonc_parser::ast::{ObjectPropName, Value as Ast};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Number, Value};

use crate::secrets::secret_names::AWS_KEYS;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::suggest::nearest;

/// A parameter file that is a JSON object.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, from the repository's root.
    pub path: String,
    /// Its text, without secrets.
    pub text: Arc<str>,
    /// Its values, in the order of the file.
    pub values: Map<String, Value>,
    /// Where each top-level value stands, and each value one level below (`reconciler.timeout`).
    spans: HashMap<String, Range<usize>>,
}

const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl Document {
    /// Reads a file.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self, Diagnostic> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let shown = without_secrets(&String::from_utf8_lossy(bytes));
            Diagnostic::not_utf8(path, shown, error.valid_up_to()).hint("save the file as UTF-8")
        })?;
        let shown: Arc<str> = Arc::from(without_secrets(text));
        if text.starts_with('\u{feff}') {
            return Err(Diagnostic::new(
                "starts with a byte order mark, which the Python library refuses as well",
            )
            .at(path, shown, 0..3)
            .hint("save the file as UTF-8 without BOM"));
        }
        let wrong = |message: String, span: Range<usize>| {
            Diagnostic::new(message).at(path, Arc::clone(&shown), span)
        };
        let blanked = without_comments(text)
            .map_err(|Unreadable(message, place, hint)| wrong(message, place).hint(hint))?;
        let options = CollectOptions::default();
        let parsed = parse_to_ast(&blanked, &options, &STRICT).map_err(|error| {
            let range = error.range();
            wrong(format!("malformed JSON: {}", lower_first(&error.kind().to_string())), range.start..range.end)
                .hint("JSON with // and # comments; strings in double quotes, no comma before a closing bracket")
        })?;
        let Some(Ast::Object(object)) = parsed.value else {
            return Err(wrong("must be a JSON object".to_owned(), 0..text.len().min(1)));
        };
        let mut spans = HashMap::new();
        let values = convert_object(&object, "", &mut spans, 0)
            .map_err(|wrong_at| wrong_at.explained(text, wrong))?;
        Ok(Self { path: path.to_owned(), text: shown, values, spans })
    }

    /// A diagnostic that points at the value of a key (`reconciler.timeout` for one below), or at
    /// the file's begin where there is none.
    #[must_use]
    pub fn wrong(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).at(self.path.clone(), Arc::clone(&self.text), self.span(key))
    }

    /// Where the value of a key stands; the file's begin where there is none.
    #[must_use]
    pub fn span(&self, key: &str) -> Range<usize> {
        self.spans.get(key).cloned().unwrap_or(0..1)
    }

    /// A string that must be there.
    pub fn string(&self, key: &str) -> Result<String, Diagnostic> {
        match self.values.get(key) {
            None => Err(self.missing(key)),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(self.wrong(key, format!("`{key}` is empty")))
            }
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.wrong_type(key, "a string", other)),
        }
    }

    /// A string that may be absent or null.
    pub fn optional_string(&self, key: &str) -> Result<Option<String>, Diagnostic> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.string(key).map(Some),
        }
    }

    /// Says that a key is missing, and which near one is there instead.
    #[must_use]
    pub fn missing(&self, key: &str) -> Diagnostic {
        let wrong = Diagnostic::new(format!("`{key}` is missing")).at(
            self.path.clone(),
            Arc::clone(&self.text),
            self.text.find('{').map_or(0..0, |at| at..at + 1),
        );
        match nearest(key, self.values.keys().map(String::as_str)) {
            Some(near) => wrong.hint(format!("there is `{near}`; did you mean `{key}`?")),
            None => wrong,
        }
    }

    /// Says that a value has the wrong type.
    #[must_use]
    pub fn wrong_type(&self, key: &str, expected: &str, value: &Value) -> Diagnostic {
        self.wrong(key, format!("`{key}` must be {expected}, not {}", type_name(value)))
    }
}

/// Where a key of the outermost object begins, in a text that [`Document::parse`] takes.
pub(super) fn start_of_key(text: &str, key: &str) -> Option<usize> {
    let blanked = without_comments(text).ok()?;
    let parsed = parse_to_ast(&blanked, &CollectOptions::default(), &STRICT).ok()?;
    let Some(Ast::Object(object)) = parsed.value else {
        return None;
    };
    let is_meant = |name: &ObjectPropName<'_>| match name {
        ObjectPropName::String(name) => name.value == key,
        ObjectPropName::Word(word) => word.value == key,
    };
    let meant = object.properties.iter().find(|property| is_meant(&property.name))?;
    Some(meant.name.range().start)
}

/// The name of a value's type, with its article.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The text with the values of AWS credentials blotted out, byte for byte, so that every offset
/// stays.
fn without_secrets(text: &str) -> String {
    let mut shown = text.to_owned();
    for key in AWS_KEYS {
        for (at, _) in text.match_indices(key) {
            let rest = &text[at + key.len()..];
            let Some(open) = rest
                .strip_prefix('"')
                .map(str::trim_start)
                .and_then(|rest| rest.strip_prefix(':'))
                .map(str::trim_start)
                .and_then(|rest| rest.strip_prefix('"'))
            else {
                continue;
            };
            let start = text.len() - open.len();
            let end = start + open.find(['"', '\n']).unwrap_or(open.len());
            shown.replace_range(start..end, &"*".repeat(end - start));
        }
    }
    shown
}

/// Where the Python library ends a line, and a comment with it (`str.splitlines`).
const LINE_ENDS: [char; 10] =
    ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];

/// What is no JSON whatever stands around it: the message, its place, what to do.
struct Unreadable(String, Range<usize>, &'static str);

/// The text without comments: strict JSON, if it is any. Comments and line ends are spaces of the
/// same length, so that every offset stays.
///
/// This alone decides what is a string and what is a comment: a string ends on its line, so nothing
/// that comes later can see it otherwise.
fn without_comments(text: &str) -> Result<String, Unreadable> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    let mut in_comment = false;
    while let Some((at, c)) = chars.next() {
        let is_end = LINE_ENDS.contains(&c);
        in_comment &= !is_end;
        match c {
            '\n' => out.push('\n'),
            _ if in_comment || is_end => out.extend(std::iter::repeat_n(' ', c.len_utf8())),
            '#' => {
                in_comment = true;
                out.push(' ');
            }
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                in_comment = true;
                out.push(' ');
            }
            '/' if chars.peek().is_some_and(|(_, next)| *next == '*') => {
                return Err(Unreadable(
                    "a comment of more than one line is not known here".to_owned(),
                    at..at + 2,
                    "start each line of the comment with // or #",
                ));
            }
            '"' => {
                let end = end_of_string(text, at)?;
                out.push_str(&text[at..end]);
                while chars.next_if(|(at, _)| *at < end).is_some() {}
            }
            c if !c.is_ascii() => {
                return Err(Unreadable(
                    format!("the character U+{:04X} stands outside of a string", u32::from(c)),
                    at..at + c.len_utf8(),
                    "put it into double quotes, or remove it: it may look like a space, or like nothing",
                ));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Where the string ends that begins at `start`; the end of the text where it never does.
fn end_of_string(text: &str, start: usize) -> Result<usize, Unreadable> {
    let mut escaped = false;
    for (at, c) in text[start + 1..].char_indices() {
        let at = start + 1 + at;
        match c {
            // Seeded bug: a-string-goes-on-below
            '\n' | '\r' => {
                return Err(Unreadable(
                    "a string ends on the line on which it begins".to_owned(),
                    start..at,
                    "write \\n for a line feed; or is the closing quote missing?",
                ));
            }
            c if c < ' ' || LINE_ENDS.contains(&c) => {
                return Err(Unreadable(
                    format!("a string holds the control character U+{:04X}", u32::from(c)),
                    at..at + c.len_utf8(),
                    "write it as an escape: \\t for a tab, \\u and four digits for any other",
                ));
            }
            '"' if !escaped => return Ok(at + 1),
            c => escaped = !escaped && c == '\\',
        }
    }
    Ok(text.len())
}

/// What is wrong in the tree: the message, its place, and for a key that is there twice its first
/// place.
struct Wrong {
    message: String,
    span: Range<usize>,
    first: Option<usize>,
}

impl Wrong {
    fn explained(
        self,
        text: &str,
        wrong: impl Fn(String, Range<usize>) -> Diagnostic,
    ) -> Diagnostic {
        let shown = wrong(self.message, self.span);
        match self.first.and_then(|at| text.get(..at)) {
            Some(before) => shown.hint(format!(
                "it is there for the first time in line {}; delete one of them",
                before.matches('\n').count() + 1
            )),
            None => shown,
        }
    }
}

fn convert_object(
    object: &jsonc_parser::ast::Object<'_>,
    prefix: &str,
    spans: &mut HashMap<String, Range<usize>>,
    depth: usize,
) -> Result<Map<String, Value>, Wrong> {
    let mut map = Map::with_capacity(object.properties.len());
    for property in &object.properties {
        let name = match &property.name {
            ObjectPropName::String(name) => name.value.to_string(),
            ObjectPropName::Word(word) => word.value.to_owned(),
        };
        let range = property.value.range();
        // As deep as the switches of a step in `reconciler.json`.
        if depth < 3 {
            spans.insert(format!("{prefix}{name}"), range.start..range.end);
        }
        let value = convert(&property.value, &format!("{prefix}{name}."), spans, depth + 1)?;
        if map.insert(name.clone(), value).is_some() {
            let at = property.name.range();
            let first = object.properties.iter().find(|other| match &other.name {
                ObjectPropName::String(other) => other.value == name.as_str(),
                ObjectPropName::Word(word) => word.value == name,
            });
            return Err(Wrong {
                message: format!("the key `{name}` is there twice"),
                span: at.start..at.end,
                first: first.map(|first| first.name.range().start),
            });
        }
    }
    Ok(map)
}

fn convert(
    ast: &Ast<'_>,
    prefix: &str,
    spans: &mut HashMap<String, Range<usize>>,
    depth: usize,
) -> Result<Value, Wrong> {
    Ok(match ast {
        Ast::NullKeyword(_) => Value::Null,
        Ast::BooleanLit(flag) => Value::Bool(flag.value),
        Ast::StringLit(text) => Value::String(text.value.to_string()),
        Ast::NumberLit(number) => {
            let range = number.range;
            Value::Number(Number::from_str(number.value).map_err(|_| Wrong {
                message: format!("`{}` is no number", number.value),
                span: range.start..range.end,
                first: None,
            })?)
        }
        Ast::Array(array) => Value::Array(
            array
                .elements
                .iter()
                .map(|e| convert(e, prefix, spans, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Ast::Object(object) => Value::Object(convert_object(object, prefix, spans, depth)?),
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Document::parse("s01/step_param.json", text.as_bytes()).unwrap_err().one_line()
    }

    #[test]
    fn both_kinds_of_comments_are_taken_and_text_in_strings_stays() {
        let text =
            "{ # one \"quote\n  \"a\": \"x # y // z\", // two # three\n  \"b\": [1, 2.50] }\n";
        let document = Document::parse("p", text.as_bytes()).unwrap();
        assert_eq!(
            Value::Object(document.values).to_string(),
            r#"{"a":"x # y // z","b":[1,2.50]}"#
        );
    }

    #[test]
    fn a_string_with_a_raw_line_end_or_control_character_is_refused_at_its_place() {
        let long = wrong("{\"motd\": \"welcome\n# not a comment\nbye\"}");
        assert_eq!(long, "s01/step_param.json:1:10: a string ends on the line on which it begins");
        for odd in ['\t', '\u{1}', '\u{1f}', '\u{b}', '\u{85}', '\u{2028}'] {
            let text = format!("{{\"a\": \"x{odd}y\"}}");
            assert!(wrong(&text).contains("U+"), "{odd:?}: {}", wrong(&text));
        }
        let text = "{\"a\": \"\\\\\", # \"b\u{b}\"c\": \"\u{7f}\\\"#\" // d\r}";
        let document = Document::parse("p", text.as_bytes()).unwrap();
        assert_eq!(
            (&document.values["a"], &document.values["c"]),
            (&"\\".into(), &"\u{7f}\"#".into())
        );
    }

    #[test]
    fn malformed_json_is_shown_at_its_place() {
        assert!(
            wrong("{\n  \"a\": 1,\n}\n").starts_with("s01/step_param.json:2:9: malformed JSON"),
            "{}",
            wrong("{\n  \"a\": 1,\n}\n")
        );
        assert!(wrong("{\"a\": 1 \"b\": 2}").contains(":1:"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_at_any_depth() {
        assert_eq!(
            wrong("{\"a\": {\"b\": 1,\n \"b\": 2}}"),
            "s01/step_param.json:2:2: the key `b` is there twice"
        );
        let twice = Document::parse("p", b"{\n\"a\": 1,\n\"a\": 2}").unwrap_err();
        assert_eq!(
            twice.hint.unwrap(),
            "it is there for the first time in line 2; delete one of them"
        );
    }

    #[test]
    fn a_message_never_quotes_a_secret_of_the_same_line() {
        let text = "{\"aws_secret_access_key\" : \"hush\", \"step_id\": 7 8}";
        let shown = Document::parse("p", text.as_bytes()).unwrap_err().render(false);
        assert!(shown.contains("\"****\"") && !shown.contains("hush"), "{shown}");
        let text = "{\"aws_session_token\": \"hush\", \"step_id\": 7}";
        let document = Document::parse("p", text.as_bytes()).unwrap();
        let shown = document.string("step_id").unwrap_err().render(false);
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(document.values["aws_session_token"], "hush");
    }

    #[test]
    fn windows_line_ends_are_taken_and_comments_of_several_lines_are_not() {
        let document = Document::parse("p", b"{ # one\r\n\"a\": 1 // two\r\n}\r\n").unwrap();
        assert_eq!(document.values["a"], 1);
        assert_eq!(
            wrong("{\n /* # x */ \"a\": \"/*\"}"),
            "s01/step_param.json:2:2: a comment of more than one line is not known here"
        );
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused_and_ends_nothing() {
        let deep = format!("{{\"a\": {}", "[".repeat(100_000));
        assert!(wrong(&deep).contains("nesting depth"), "{}", wrong(&deep));
    }

    #[test]
    fn a_wrong_type_points_at_the_value() {
        let document = Document::parse("p", b"{\"x\": 1,\n \"step_id\": 7}").unwrap();
        assert_eq!(
            document.string("step_id").unwrap_err().one_line(),
            "p:2:13: `step_id` must be a string, not a number"
        );
        assert_eq!(
            document.string("stepid").unwrap_err().hint.unwrap(),
            "there is `step_id`; did you mean `stepid`?"
        );
    }

    #[test]
    fn what_is_not_utf8_is_said() {
        assert!(
            Document::parse("p", b"{\"a\": \"\xff\"}").unwrap_err().message.contains("not UTF-8")
        );
    }
}
