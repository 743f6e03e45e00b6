//! What in a sub-folder of a workflow is probably not meant: names that are nearly right, and files
//! that nobody looks at. Pure.
//!
//! Without a word such a step would silently not be there, or silently wait for a person.

use crate::workflow::settings::SETTINGS;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::source::{EntryKind, Files};

/// How like a name must be to one that counts (Jaro-Winkler).
const LIKENESS: f64 = 0.93;

/// What stands in a folder that is looked at.
const WORKFLOW_PARAM: &str = "workflow_param.json";
const STEP_PARAM: &str = "step_param.json";
const OLDER_STEP_PARAM: &str = "param.json";
const TEMPLATES: &str = "templates";

/// Whether a name is nearly this one, and not this one.
#[must_use]
pub fn is_near(name: &str, wanted: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', ' '], "_");
    let (one, other) = (plain(name), plain(wanted));
    name != wanted && (one == other || strsim::jaro_winkler(&one, &other) >= LIKENESS)
}

/// The names at the top of a folder, files and folders, each once.
fn names(files: &Files) -> impl Iterator<Item = (&str, bool)> {
    let mut last = "";
    files.keys().filter_map(move |path| {
        let (name, is_folder) = match path.split_once('/') {
            Some((name, _)) => (name, true),
            None => (path.as_str(), false),
        };
        (std::mem::replace(&mut last, name) != name).then_some((name, is_folder))
    })
}

/// Why a folder that has a step's parameters and no templates is not taken for a manual step: it
/// has templates after all, under another name.
#[must_use]
pub fn misnamed_templates(folder: &str, files: &Files) -> Option<Diagnostic> {
    let hint =
        "rename it, or set `\"reconciler\": {\"manual\": true}` if a person makes this image";
    if let Some(file) = files.get(TEMPLATES) {
        let what = match file.kind {
            EntryKind::Submodule => "a submodule, which is not read",
            EntryKind::Symlink => "a symbolic link, which is not followed",
            _ => "a file",
        };
        let wrong = Diagnostic::new(format!("is {what}: the step would have no templates"));
        return Some(
            wrong.in_file(format!("{folder}/{TEMPLATES}")).hint("commit the folder itself"),
        );
    }
    let (name, _) =
        names(files).find(|(name, is_folder)| *is_folder && is_near(name, TEMPLATES))?;
    Some(
        Diagnostic::new(format!(
            "is not `{TEMPLATES}/`: the step would have no templates, and wait for a person to make its image"
        ))
        .in_file(format!("{folder}/{name}"))
        .hint(hint),
    )
}

/// The file that was to be a step's parameters, in a folder that has none.
#[must_use]
pub fn misnamed_parameters(folder: &str, files: &Files) -> Option<Diagnostic> {
    let is_misnamed =
        |name: &str| is_near(name, STEP_PARAM) || name.eq_ignore_ascii_case(OLDER_STEP_PARAM);
    let (name, _) = names(files).find(|(name, is_folder)| !is_folder && is_misnamed(name))?;
    Some(
        Diagnostic::new(format!("is not `{STEP_PARAM}`: the folder would be no step"))
            .in_file(format!("{folder}/{name}"))
            .hint("rename it, or name the folder under `exclude`"),
    )
}

/// What is worth a word in a sub-folder.
#[must_use]
pub fn warnings(folder: &str, files: &Files, is_step: bool) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if files.contains_key(STEP_PARAM) && files.contains_key(OLDER_STEP_PARAM) {
        found.push(
            Diagnostic::new(format!("is not read, for {STEP_PARAM} lies beside it"))
                .in_file(format!("{folder}/{OLDER_STEP_PARAM}"))
                .hint("remove the one that does not count"),
        );
    }
    for path in files.keys() {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let said = match name {
            WORKFLOW_PARAM => "is not looked at: a workflow is not looked for below another one",
            STEP_PARAM if !is_step && !above.is_empty() => {
                "is not looked at: steps are the folders right below the one with workflow_param.json"
            }
            _ => continue,
        };
        found.push(
            Diagnostic::new(said)
                .in_file(format!("{folder}/{path}"))
                .hint("move its folder beside the others, or name it under `exclude`"),
        );
    }
    found
}

/// What is worth a word of steps whose own files have the reconciler's switches.
#[must_use]
pub fn own_switches(folders: &[String]) -> Option<Diagnostic> {
    let first = folders.first()?;
    let more = match folders.len() - 1 {
        0 => String::new(),
        more => format!(", and in {more} more"),
    };
    let wrong = format!("`reconciler` in {STEP_PARAM} makes the Python library fail{more}");
    Some(Diagnostic::new(wrong).in_file(format!("{first}/{STEP_PARAM}")).hint(format!(
        "move what it says to {SETTINGS} beside {WORKFLOW_PARAM}: {{\"steps\": {{\"STEP\": {{…}}}}}}"
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use reconciler_model::source::{ObjectId, SourceFile};

    fn files(paths: &[&str]) -> Files {
        let file = SourceFile {
            kind: EntryKind::File,
            id: ObjectId([0; 20]),
            content: Arc::from([].as_slice()),
        };
        let paths = paths.iter();
        paths.map(|path| ((*path).to_owned(), file.clone())).collect()
    }

    #[test]
    fn a_name_that_is_nearly_right_is_told_from_one_that_is_another() {
        for near in ["template", "Templates", "TEMPLATES", "templates_", "tempaltes"] {
            assert!(is_near(near, TEMPLATES), "{near}");
        }
        for other in ["templates", "tests", "temp", "scripts", "temperature"] {
            assert!(!is_near(other, TEMPLATES), "{other}");
        }
        for near in ["Step_param.json", "step_params.json", "step-param.json", "steps_param.json"] {
            assert!(is_near(near, STEP_PARAM), "{near}");
        }
        for other in ["step_param.json", "package.json", "param.json", "step.json"] {
            assert!(!is_near(other, STEP_PARAM), "{other}");
        }
    }

    #[test]
    fn templates_under_another_name_are_found_and_other_folders_are_not() {
        let found =
            |paths: &[&str]| misnamed_templates("w/s", &files(paths)).map(|one| one.one_line());
        let told = found(&["step_param.json", "template/.pkr.hcl"]).unwrap();
        assert!(told.starts_with("w/s/template: is not `templates/`"), "{told}");
        assert!(found(&["step_param.json", "templates"]).is_some(), "a file");
        assert_eq!(found(&["step_param.json", "files/a", "template.md"]), None);
    }

    #[test]
    fn what_nobody_looks_at_is_said() {
        let said = |paths: &[&str], is_step| -> Vec<String> {
            let found = warnings("w/s", &files(paths), is_step).into_iter();
            found.map(|one| one.one_line()).collect()
        };
        let told = said(&["step_param.json", "param.json"], true);
        assert!(told[0].starts_with("w/s/param.json: is not read"), "{told:?}");
        let told = said(&["windows/workflow_param.json", "workflow_param.json"], false);
        assert_eq!(told.len(), 2, "{told:?}");
        let told = said(&["deeper/step_param.json"], false);
        assert!(told[0].contains("right below"), "{told:?}");
        assert_eq!(said(&["step_param.json", "fixtures/step_param.json"], true), [""; 0]);
    }

    #[test]
    fn parameters_under_another_name_are_found() {
        let found = |paths: &[&str]| misnamed_parameters("w/s", &files(paths)).is_some();
        assert!(found(&["Step_param.json"]));
        assert!(found(&["PARAM.json", "x/y"]));
        assert!(!found(&["package.json", "README.md"]));
    }
}
