//! One step folder: its parameters and the reconciler's own switches.

use std::sync::Arc;

use serde_json::Value;

use crate::workflow::jsonc::Document;
use crate::workflow::settings::{SETTINGS, Settings};
use crate::workflow::{BrokenStep, Step, Switches, Written, odd, switches};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::source::{EntryKind, Files, SourceFile};

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

/// Reads a sub-folder of a workflow with these settings.
#[must_use]
pub fn read(folder: &str, files: &Files, settings: &Settings) -> Folder {
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
            if files.contains_key(SETTINGS) {
                let wrong = Diagnostic::new("is not looked at, for it lies in the folder of a step")
                    .in_file(format!("{folder}/{SETTINGS}"));
                let hint = "move what it says into the one beside workflow_param.json, and rename it if it is a file for the image";
                return broken(name, wrong.hint(hint));
            }
            let source = Source { folder, path: &path, file: &files[*param], settings };
            match parse(&source, files, has_templates) {
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

/// What a step is read from.
struct Source<'a> {
    folder: &'a str,
    path: &'a str,
    file: &'a SourceFile,
    settings: &'a Settings,
}

fn parse(source: &Source<'_>, files: &Files, has_templates: bool) -> Result<Step, Wrong> {
    let Source { folder, path, file, settings } = *source;
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
    let step = fields(&mut document, &id, folder, templates, settings);
    step.map_err(|why| (Some(id), why))
}

fn fields(
    document: &mut Document,
    id: &str,
    folder: &str,
    templates: Templates,
    settings: &Settings,
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
    let mut switches = switches(document, id, folder, settings)?;
    if let Templates::None(misnamed) = templates {
        if let (false, Some(why)) = (switches.manual, misnamed) {
            return Err(why);
        }
        switches.manual = true;
    }
    let has_own_switches = document.values.shift_remove("reconciler").is_some();
    let values = std::mem::take(&mut document.values);
    let written = Written {
        path: document.path.clone(),
        text: Arc::clone(&document.text),
        id: document.span("step_id"),
        parent: document.span("previous_step_id"),
        has_own_switches,
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

/// The switches of a step, by its own file and by `reconciler.json`.
fn switches(
    document: &Document,
    id: &str,
    folder: &str,
    settings: &Settings,
) -> Result<Switches, Diagnostic> {
    let mut switches = Switches::default();
    let own = match document.values.get("reconciler") {
        None | Some(Value::Null) => None,
        Some(Value::Object(own)) => Some(own),
        Some(other) => return Err(document.wrong_type("reconciler", "an object", other)),
    };
    if let Some(own) = own {
        switches::read_into(&mut switches, document, "reconciler", own, folder)?;
    }
    let set = |key: &str| own.is_some_and(|own| own.contains_key(key));
    settings.read_into(&mut switches, id, folder, (&document.path, &set))?;
    Ok(switches)
}
