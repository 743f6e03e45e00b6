//! What a person tells the reconciler about a step: by which keys, and in which form.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::workflow::Switches;
use crate::workflow::jsonc::Document;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::duration;
use reconciler_model::suggest::nearest;

/// All of them.
pub(super) const SWITCHES: [&str; 5] = ["manual", "suspend", "timeout", "include", "ignore"];

/// Reads the switches in the object at a path of a document into those of the step in `folder`.
///
/// # Errors
///
/// A key that is none, or a value of another form: at its place.
pub(super) fn read_into(
    switches: &mut Switches,
    document: &Document,
    at: &str,
    keys: &Map<String, Value>,
    folder: &str,
) -> Result<(), Diagnostic> {
    for (key, value) in keys {
        let at = format!("{at}.{key}");
        match (key.as_str(), value) {
            ("manual", Value::Bool(flag)) => switches.manual = *flag,
            ("suspend", Value::Bool(flag)) => switches.suspend = *flag,
            ("manual" | "suspend", other) => {
                return Err(document.wrong_type(&at, "true or false", other));
            }
            ("timeout", Value::String(text)) => {
                switches.timeout = Some(timeout(document, &at, text)?);
            }
            ("timeout", other) => {
                return Err(document.wrong_type(&at, "a duration such as \"90m\"", other));
            }
            ("include", value) => switches.include = include(document, folder, &at, value)?,
            ("ignore", value) => switches.ignore = strings(document, &at, value)?,
            _ => {
                let what = at.rsplit_once('.').map_or("", |(above, _)| above);
                let wrong = document.wrong(&at, format!("`{what}` has no switch `{key}`"));
                return Err(unknown(wrong, key, &SWITCHES));
            }
        }
    }
    Ok(())
}

/// Says which keys there are, and which one is near.
pub(super) fn unknown(wrong: Diagnostic, key: &str, known: &[&str]) -> Diagnostic {
    let all = format!("there are: {}", known.join(", "));
    match nearest(key, known.iter().copied()) {
        Some(near) => wrong.hint(format!("did you mean `{near}`? {all}")),
        None => wrong.hint(all),
    }
}

fn timeout(document: &Document, at: &str, text: &str) -> Result<Duration, Diagnostic> {
    match duration::parse(text) {
        Some(duration) if !duration.is_zero() && duration <= duration::LONGEST => Ok(duration),
        _ => Err(document
            .wrong(at, format!("{text:?} is no duration"))
            .hint(format!("write {}", duration::HOW))),
    }
}

fn strings(document: &Document, at: &str, value: &Value) -> Result<Vec<String>, Diagnostic> {
    let Value::Array(items) = value else {
        return Err(document.wrong_type(at, "a list of strings", value));
    };
    items
        .iter()
        .map(|item| {
            item.as_str()
                .map(str::to_owned)
                .ok_or_else(|| document.wrong_type(at, "a list of strings", item))
        })
        .collect()
}

fn include(
    document: &Document,
    folder: &str,
    at: &str,
    value: &Value,
) -> Result<Vec<String>, Diagnostic> {
    let paths = strings(document, at, value)?;
    paths
        .into_iter()
        .map(|path| {
            let clean = path
                .trim_end_matches('/')
                .trim_start_matches("./")
                .to_owned();
            let wrong = clean.is_empty()
                || clean.starts_with('/')
                || clean
                    .split('/')
                    .any(|part| matches!(part, "" | "." | ".."));
            if wrong {
                return Err(document
                    .wrong(
                        at,
                        format!("`include` takes paths from the repository's root, not {path:?}"),
                    )
                    .hint("for instance \"scripts/common\""));
            }
            if is_packers(folder, &clean) {
                return Err(document
                    .wrong(
                        at,
                        format!("`include` names {path:?}, which Packer would read as a template or as values though nobody looked at it"),
                    )
                    .hint("make a template of it: templates/.pkr.hcl, templates/.pkrvars.hcl"));
            }
            Ok(clean)
        })
        .collect()
}

/// Whether a file lies where Packer, or the way in which it is started, takes it for a template or
/// for values. Those of a step's own folder never count unless they are rendered.
fn is_packers(folder: &str, path: &str) -> bool {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let ends = ["pkr.hcl", "pkr.json", "pkrvars.hcl", "pkrvars.json"];
    above == folder && ends.iter().any(|end| name.ends_with(end))
}
