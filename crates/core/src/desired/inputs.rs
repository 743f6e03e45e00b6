//! Which files of a step count, which are templates, and which a build never sees.
//!
//! What the fingerprint does not know, a build cannot read: a file is either counted and laid out,
//! rendered, or left out.

use std::collections::BTreeMap;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value};

use crate::workflow::Step;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::source::{EntryKind, Files, SourceFile};

/// Keys of `step_param.json` that are no input of the image.
const KEYS_WITHOUT_EFFECT: [&str; 2] = ["metadata", "reconciler"];

/// Everything of the repository that one step is made from.
#[derive(Clone, Copy, Debug)]
pub struct StepContent<'a> {
    /// Its parameters and switches.
    pub step: &'a Step,
    /// All files of its folder, by path from there.
    pub files: &'a Files,
    /// What `include` names, by path from the repository's root.
    pub included: &'a Files,
}

/// A step's files, sorted by what becomes of them.
#[derive(Debug)]
pub struct SortedFiles<'a> {
    /// Templates, by the name of the file that each is rendered to.
    pub templates: BTreeMap<String, (&'a str, &'a SourceFile)>,
    /// Files that count and are laid out, by path from the step folder; those of `include` by their
    /// path from the root with a slash before it.
    pub counted: BTreeMap<String, &'a SourceFile>,
}

fn is_packer_file(name: &str) -> bool {
    !name.contains('/') && (name.ends_with("pkr.hcl") || name.ends_with("pkrvars.hcl"))
}

/// Whether the Python library renders a file of `templates/` (docs/contract.md §3).
#[must_use]
pub fn is_template(path: &str) -> bool {
    path.strip_prefix("templates/").is_some_and(is_packer_file)
}

fn never_counts(path: &str) -> bool {
    matches!(path, "step_param.json" | "param.json" | "packer_build.py" | ".gitignore")
        || path.starts_with("README")
}

fn ignore_set(step: &Step) -> Result<GlobSet, Diagnostic> {
    let mut set = GlobSetBuilder::new();
    for pattern in &step.switches.ignore {
        let glob = Glob::new(pattern).map_err(|error| {
            Diagnostic::new(format!("`ignore` pattern {pattern:?} is not one: {}", error.kind()))
                .in_file(format!("{}/step_param.json", step.folder))
        })?;
        set.add(glob);
        // As in a .gitignore, the name of a folder means all that is in it.
        if let Ok(below) = Glob::new(&format!("{}/**", pattern.trim_end_matches('/'))) {
            set.add(below);
        }
    }
    set.build().map_err(|error| Diagnostic::new(format!("`ignore` of step {}: {error}", step.id)))
}

/// Sorts the files of a step.
pub fn sort_files(content: StepContent<'_>) -> Result<SortedFiles<'_>, Diagnostic> {
    let step = content.step;
    let ignored = if step.switches.ignore.is_empty() { None } else { Some(ignore_set(step)?) };
    let mut sorted = SortedFiles { templates: BTreeMap::new(), counted: BTreeMap::new() };
    for (path, file) in content.files {
        if is_template(path) {
            let name = path.trim_start_matches("templates/");
            sorted.templates.insert(format!("{}{name}", step.id), (path.as_str(), file));
        }
    }
    for (path, file) in content.files {
        let out = is_template(path)
            // Seeded bug: readme-rebuilds
            || never_counts(path)
            // Rendered outputs that were committed by mistake: the Python library deletes all of
            // them before it renders.
            || is_packer_file(path)
            || ignored.as_ref().is_some_and(|set| set.is_match(path));
        if !out {
            refuse_what_is_no_content(&format!("{}/{path}", step.folder), file)?;
            sorted.counted.insert(path.clone(), file);
        }
    }
    for (path, file) in content.included {
        refuse_what_is_no_content(path, file)?;
        sorted.counted.insert(format!("/{path}"), file);
    }
    Ok(sorted)
}

/// Refuses links, submodules and git-LFS pointers: their content is elsewhere.
pub(super) fn refuse_what_is_no_content(path: &str, file: &SourceFile) -> Result<(), Diagnostic> {
    let wrong = |message: &str, hint: &str| Err(Diagnostic::new(message).in_file(path).hint(hint));
    match file.kind {
        EntryKind::Symlink => wrong(
            "is a symbolic link where content is expected",
            "what a link points to is not in the fingerprint; commit a copy, or name the target in the step's switch `include`",
        ),
        EntryKind::Submodule | EntryKind::Tree => wrong(
            "is a submodule where content is expected",
            "the content of a submodule is not in this repository; commit the files themselves",
        ),
        EntryKind::File | EntryKind::Executable
            if file.content.starts_with(b"version https://git-lfs.github.com/spec/") =>
        {
            wrong(
                "is a git-LFS pointer where content is expected",
                "the reconciler reads git's objects and does not ask an LFS server; commit the file itself",
            )
        }
        EntryKind::File | EntryKind::Executable => Ok(()),
    }
}

/// The digest of one file: its mode and its content.
#[must_use]
pub fn file_digest(file: &SourceFile) -> Digest {
    let mut encoder = Encoder::new("file");
    encoder.number(u64::from(file.kind == EntryKind::Executable)).field(&file.content);
    encoder.finish()
}

/// A digest for each parameter that counts.
#[must_use]
pub fn param_digests(values: &Map<String, Value>) -> BTreeMap<String, Digest> {
    values
        .iter()
        // Seeded bug: metadata-counts
        .filter(|(key, _)| !KEYS_WITHOUT_EFFECT.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value_digest(value)))
        .collect()
}

/// The digest of a JSON value; the order of keys does not count.
#[must_use]
pub fn value_digest(value: &Value) -> Digest {
    let mut encoder = Encoder::new("json");
    encode_value(&mut encoder, value);
    encoder.finish()
}

fn encode_value(encoder: &mut Encoder, value: &Value) {
    match value {
        Value::Null => encoder.number(0),
        Value::Bool(flag) => encoder.number(1 + u64::from(*flag)),
        Value::Number(number) => encoder.number(3).field(number.to_string().as_bytes()),
        Value::String(text) => encoder.number(4).field(text.as_bytes()),
        Value::Array(items) => {
            encoder.number(5).number(items.len() as u64);
            for item in items {
                encode_value(encoder, item);
            }
            encoder
        }
        Value::Object(map) => {
            encoder.number(6).number(map.len() as u64);
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (key, value) in sorted {
                encoder.field(key.as_bytes());
                encode_value(encoder, value);
            }
            encoder
        }
    };
}
