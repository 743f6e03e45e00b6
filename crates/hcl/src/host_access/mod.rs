//! Refuses templates that run programs on the build host or read its files (`deny_local_exec`).
//!
//! What is not known to stay on the instance is refused: a block, an attribute and a function count
//! as local until they stand in the lists of `schema`, and a path is outside of the step until it
//! is proven to be inside. It sees what Packer will see, the rendered files, and beside them the
//! names of the files that lie in the step's folder, for Packer reads and starts some by their
//! name. It looks at no host, so it cannot tell what a provisioner does on the instance: that is
//! not its business.

mod calls;
mod checker;
mod paths;
mod plugins;
mod schema;
pub(super) mod values;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::template::{Template, named};
use reconciler_model::diagnostic::Diagnostic;

use checker::Walk;
use paths::Reach;
use values::Values;

/// Whether templates may run programs on the build host and read its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalExec {
    /// Whatever Packer can do.
    Allowed,
    /// Only what runs on the instance and reads what belongs to the step.
    Denied {
        /// Where plugins may come from, as `required_plugins` names it.
        plugins: Vec<String>,
    },
}

/// What Packer will find in a step's folder.
#[derive(Clone, Copy, Debug)]
pub struct StepFiles<'a> {
    /// The folder, from the repository's root.
    pub folder: &'a str,
    /// The rendered files.
    pub template: &'a Template,
    /// The content of every other file, by its path from the repository's root.
    pub others: &'a BTreeMap<String, &'a [u8]>,
}

impl LocalExec {
    /// Refuses the first thing that would run or read on the build host.
    pub fn check(&self, step: &StepFiles<'_>) -> Result<(), Diagnostic> {
        let Self::Denied { plugins } = self else {
            return Ok(());
        };
        for path in step.others.keys() {
            refuse_name(step.folder, path)?;
        }
        let shown = |name: &str| format!("{}/{name} (rendered)", step.folder);
        let files = step.template.files().map_err(|mut why| {
            if let Some(place) = &mut why.place {
                place.path = shown(&place.path);
            }
            why
        })?;
        let values = Values::of(named(&files));
        let looked = RefCell::new(BTreeSet::new());
        let reach =
            Reach { folder: step.folder, others: step.others, values: &values, looked: &looked };
        for file in &files {
            Walk::new(&shown(file.name), file.text, &reach, plugins).file(file.name, file.body)?;
        }
        Ok(())
    }
}

/// A file that Packer takes for a template, for values or for a plugin, because of where it lies
/// and what its name is.
fn refuse_name(folder: &str, path: &str) -> Result<(), Diagnostic> {
    let wrong =
        |message: String, hint: &str| Err(Diagnostic::new(message).in_file(path).hint(hint));
    let name = path.rsplit('/').next().unwrap_or(path);
    let kinds = ["plugin", "builder", "provisioner", "post-processor", "datasource"];
    let plugin = name
        .strip_prefix("packer-")
        .is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(&format!("{kind}-"))));
    if plugin {
        return wrong(
            "has the name of a plugin, which Packer starts on the build host; `deny_local_exec` refuses it".to_owned(),
            "rename it",
        );
    }
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    let in_folder = above == folder;
    let read = ["pkr.hcl", "pkr.json", "pkrvars.hcl", "pkrvars.json"];
    match read.iter().find(|end| name.ends_with(*end)) {
        Some(end) if in_folder => wrong(
            format!(
                "Packer reads `*{end}` files of a step's folder, and only rendered ones are looked through; `deny_local_exec` refuses it"
            ),
            "make a template of it: templates/.pkr.hcl",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
