//! One step folder: its parameters and the reconciler's own switches.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::workflow::jsonc::Document;
use crate::workflow::{BrokenStep, Step, Switches, Written, odd};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::duration;
use reconciler_model::ids::StepId;
use reconciler_model::source::{EntryKind, Files};
use reconciler_model::suggest::nearest;

/// What a sub-folder of a workflow is.
#[derive(Clone, Debug)]
pub enum Folder {
    /// A step.
    Step(Box<Step>),
    /// A step that cannot be planned.
    Broken(BrokenStep),
    /// Something else: neither parameters nor templates.
    NoStep,
}

/// The first that is there is read, as the Python library of today does; an older file left beside
/// it says nothing.
const PARAM_FILES: [&str; 2] = ["step_param.json", "param.json"];
const LONGEST_ID: usize = 128;
const SWITCHES: [&str; 5] = ["manual", "suspend", "timeout", "include", "ignore"];

/// Reads a sub-folder.
#[must_use]
pub fn read(folder: &str, files: &Files) -> Folder {
    let has_templates = files.keys().any(|path| path.starts_with("templates/"));
    let name = folder.rsplit('/').next().unwrap_or(folder);
    let found: Vec<&str> =
        PARAM_FILES.into_iter().filter(|name| files.contains_key(*name)).collect();
    let broken = |id: &str, why| {
        Folder::Broken(BrokenStep {
            id: StepId::new(id),
            folder: folder.to_owned(),
            why: vec![why],
        })
    };
    match found.as_slice() {
        [] if has_templates => broken(
            name,
            Diagnostic::new("has templates but no step_param.json")
                .in_file(folder)
                .hint("add a step_param.json with `step_id` and `previous_step_id`, or name the folder under `exclude`"),
        ),
        [] => match odd::misnamed_parameters(folder, files) {
            Some(why) => broken(name, why),
            None => Folder::NoStep,
        },
        [param, ..] => {
            let path = format!("{folder}/{param}");
            match parse(folder, &path, files, param, has_templates) {
                Ok(step) => Folder::Step(Box::new(step)),
                Err((id, why)) => broken(id.as_deref().unwrap_or(name), why),
            }
        }
    }
}

/// Whether a step has templates.
enum Templates {
    Here,
    /// It has none; what may have been meant to be some.
    None(Option<Diagnostic>),
}

type Wrong = (Option<String>, Diagnostic);

fn parse(
    folder: &str,
    path: &str,
    files: &Files,
    param: &str,
    has_templates: bool,
) -> Result<Step, Wrong> {
    let file = &files[param];
    if !matches!(file.kind, EntryKind::File | EntryKind::Executable) {
        let what = if file.kind == EntryKind::Symlink { "symbolic link" } else { "submodule" };
        let wrong = Diagnostic::new(format!("is a {what} where content is expected"));
        return Err((None, wrong.in_file(path).hint("commit the file itself")));
    }
    if file.content.starts_with(b"version https://git-lfs.github.com/spec/") {
        let wrong = Diagnostic::new("is a git-LFS pointer where content is expected").in_file(path);
        return Err((None, wrong.hint("commit the file itself")));
    }
    let mut document = Document::parse(path, &file.content).map_err(|why| (None, why))?;
    let id = document.string("step_id").map_err(|why| (None, why))?;
    let templates = if has_templates {
        Templates::Here
    } else {
        Templates::None(odd::misnamed_templates(folder, files))
    };
    let step = fields(&mut document, &id, folder, templates);
    step.map_err(|why| (Some(id), why))
}

fn fields(
    document: &mut Document,
    id: &str,
    folder: &str,
    templates: Templates,
) -> Result<Step, Diagnostic> {
    if id.contains(' ') {
        return Err(document
            .wrong("step_id", format!("`step_id` {id:?} has a space"))
            .hint("it stands on command lines, in file names and in lists of names: write `-` or `_` for the space; a step of the new id is built anew"));
    }
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@".contains(c)) || id.starts_with('.') {
        return Err(document
            .wrong(
                "step_id",
                format!("`step_id` {id:?} has a character that file or image names do not take"),
            )
            .hint("use letters, digits, `_`, `-` and `.`"));
    }
    if id.len() > LONGEST_ID {
        return Err(document
            .wrong("step_id", format!("`step_id` has more than {LONGEST_ID} characters"))
            .hint("it is part of the image's name, which EC2 limits to 128"));
    }
    if !document.values.contains_key("previous_step_id") {
        return Err(document
            .missing("previous_step_id")
            .hint("write null for a step that starts from the root base image"));
    }
    let parent = document.optional_string("previous_step_id")?.map(StepId::new);
    if let Some(metadata) = document.values.get("metadata")
        && !metadata.is_object()
    {
        return Err(document.wrong_type("metadata", "an object", metadata));
    }
    let mut switches = switches(document, folder)?;
    if let Templates::None(misnamed) = templates {
        if let (false, Some(why)) = (switches.manual, misnamed) {
            return Err(why);
        }
        switches.manual = true;
    }
    document.values.shift_remove("reconciler");
    let values = std::mem::take(&mut document.values);
    let written = Written {
        path: document.path.clone(),
        text: Arc::clone(&document.text),
        id: document.span("step_id"),
        parent: document.span("previous_step_id"),
    };
    Ok(Step {
        id: StepId::new(id),
        folder: folder.to_owned(),
        parent,
        values,
        switches,
        written: Some(Box::new(written)),
    })
}

fn switches(document: &Document, folder: &str) -> Result<Switches, Diagnostic> {
    let mut switches = Switches::default();
    let ours = match document.values.get("reconciler") {
        None | Some(Value::Null) => return Ok(switches),
        Some(Value::Object(ours)) => ours,
        Some(other) => return Err(document.wrong_type("reconciler", "an object", other)),
    };
    for (key, value) in ours {
        let at = format!("reconciler.{key}");
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
                let wrong = document.wrong(&at, format!("`reconciler` has no switch `{key}`"));
                let known = format!("there are: {}", SWITCHES.join(", "));
                return Err(match nearest(key, SWITCHES.into_iter()) {
                    Some(near) => wrong.hint(format!("did you mean `{near}`? {known}")),
                    None => wrong.hint(known),
                });
            }
        }
    }
    Ok(switches)
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
