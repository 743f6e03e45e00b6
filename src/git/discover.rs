//! Which folders of a commit are workflows: those with a `workflow_param.json` below the configured
//! roots.
//!
//! Reads trees only. What a sub-folder contains, and whether it is a step, is for `workflow` to
//! say.

use reconciler_core::workflow::odd::is_near;
use reconciler_core::workflow::settings::SETTINGS;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::source::{Entry, EntryKind, GitTree, ObjectId, SourceError};

/// The file that makes a folder a workflow.
pub const WORKFLOW_PARAM: &str = "workflow_param.json";

/// How far below a root a workflow may be.
const DEPTH: usize = 3;

/// How many folders an error lists.
const LISTED: usize = 5;

/// A workflow's folder at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowFolder {
    /// From the repository's root.
    pub path: String,
    /// Its tree.
    pub tree: ObjectId,
    /// The blob of `workflow_param.json`.
    pub params: ObjectId,
    /// `reconciler.json`, if there is one; it may be no file.
    pub settings: Option<Entry>,
    /// Its sub-folders less the excluded ones: name and tree, in git's order.
    pub folders: Vec<(String, ObjectId)>,
    /// What else stands among them that is not read: submodules and symbolic links, less the
    /// excluded ones.
    pub unread: Vec<Entry>,
    /// What is worth a word about folders of the repository that are no workflows; it stands with
    /// the first workflow.
    pub odd: Vec<Diagnostic>,
}

/// Finds all workflows, in the order of their paths.
pub fn workflows(
    tree: &dyn GitTree,
    roots: &[String],
    exclude: &[String],
) -> Result<Vec<WorkflowFolder>, SourceError> {
    let mut found = Found::default();
    for root in roots {
        let root = root.trim_matches('/');
        let path = if root == "." { "" } else { root };
        match tree.entry(path)? {
            Some(entry) if entry.kind == EntryKind::Tree => {
                search(tree, path, entry.id, exclude, DEPTH, &mut found)?;
            }
            Some(entry) => found.odd.extend(unread(&entry, path)),
            None => {}
        }
    }
    let Found { mut folders, mut odd } = found;
    folders.sort_by(|a, b| a.path.cmp(&b.path));
    folders.dedup_by(|a, b| a.path == b.path);
    odd.sort_by_key(Diagnostic::one_line);
    odd.dedup();
    match folders.first_mut() {
        Some(first) => first.odd = odd,
        None => return Err(SourceError::Person(nothing(tree, roots, exclude, &odd)?)),
    }
    Ok(folders)
}

/// What a search has come to so far.
#[derive(Default)]
struct Found {
    folders: Vec<WorkflowFolder>,
    odd: Vec<Diagnostic>,
}

/// The word that an entry is not read which may have been meant to be a folder.
fn unread(entry: &Entry, path: &str) -> Option<Diagnostic> {
    let what = match entry.kind {
        EntryKind::Submodule => "a submodule, which is not read",
        EntryKind::Symlink => "a symbolic link, which is not followed",
        _ => return None,
    };
    let wrong = Diagnostic::new(format!("is {what}")).in_file(path);
    Some(wrong.hint("commit the folder itself, or name it under `exclude`"))
}

fn search(
    tree: &dyn GitTree,
    path: &str,
    id: ObjectId,
    exclude: &[String],
    depth: usize,
    found: &mut Found,
) -> Result<(), SourceError> {
    let entries = tree.list(id)?;
    let counted = || {
        let entries = entries.iter();
        entries.filter(|entry| !entry.name.starts_with('.') && !exclude.contains(&entry.name))
    };
    let folders = || counted().filter(|entry| entry.kind == EntryKind::Tree);
    if let Some(params) = entries.iter().find(|entry| entry.name == WORKFLOW_PARAM) {
        refuse_link(params, &join(path, WORKFLOW_PARAM), "parameters")
            .map_err(SourceError::Person)?;
        let is_unread = |kind| matches!(kind, EntryKind::Submodule | EntryKind::Symlink);
        found.odd.extend(entries.iter().filter_map(|entry| misnamed_settings(entry, path)));
        found.folders.push(WorkflowFolder {
            path: path.to_owned(),
            tree: id,
            params: params.id,
            settings: entries.iter().find(|entry| entry.name == SETTINGS).cloned(),
            folders: folders().map(|entry| (entry.name.clone(), entry.id)).collect(),
            unread: counted().filter(|entry| is_unread(entry.kind)).cloned().collect(),
            odd: Vec::new(),
        });
        return Ok(());
    }
    for entry in counted() {
        let path = join(path, &entry.name);
        // A link to a file is none of a workflow.
        if entry.kind == EntryKind::Submodule {
            found.odd.extend(unread(entry, &path));
        } else if entry.name == SETTINGS && entry.kind != EntryKind::Tree {
            let wrong =
                Diagnostic::new(format!("is not looked at: no {WORKFLOW_PARAM} is beside it"));
            found.odd.push(wrong.in_file(path).hint("move it beside the one that it is for"));
        } else if is_near(&entry.name, WORKFLOW_PARAM) && entry.kind != EntryKind::Tree {
            let wrong = Diagnostic::new(format!(
                "is not `{WORKFLOW_PARAM}`: its folder is taken for no workflow"
            ));
            found
                .odd
                .push(wrong.in_file(path).hint("rename it, or name its folder under `exclude`"));
        }
    }
    if depth > 0 {
        for Entry { name, id, .. } in folders() {
            search(tree, &join(path, name), *id, exclude, depth - 1, found)?;
        }
    }
    Ok(())
}

/// The word that a file beside the parameters was probably meant to be the settings.
fn misnamed_settings(entry: &Entry, path: &str) -> Option<Diagnostic> {
    let plain = entry.name.to_ascii_lowercase();
    let is_near = matches!(
        plain.as_str(),
        SETTINGS
            | "reconciler.jsonc"
            | ".reconciler.json"
            | "reconcilers.json"
            | "reconciler_param.json"
    );
    (is_near && entry.name != SETTINGS && entry.kind != EntryKind::Tree).then(|| {
        Diagnostic::new(format!("is not `{SETTINGS}`: what it says does not count"))
            .in_file(join(path, &entry.name))
            .hint("rename it")
    })
}

/// A link's content is a path; read as parameters it would be an error about JSON that nobody
/// understands.
pub fn refuse_link(file: &Entry, path: &str, content: &str) -> Result<(), Diagnostic> {
    let what = match file.kind {
        EntryKind::File | EntryKind::Executable => return Ok(()),
        EntryKind::Symlink => "a symbolic link, which is not followed",
        EntryKind::Submodule => "a submodule, which is not read",
        EntryKind::Tree => "a folder",
    };
    Err(Diagnostic::new(format!("is {what}"))
        .in_file(path)
        .hint(format!("commit the {content} themselves, as a file")))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Says where was looked, and where a workflow would have been.
fn nothing(
    tree: &dyn GitTree,
    roots: &[String],
    exclude: &[String],
    odd: &[Diagnostic],
) -> Result<Diagnostic, SourceError> {
    let looked = roots
        .iter()
        .map(|root| format!("{}/", root.trim_end_matches('/')))
        .collect::<Vec<_>>()
        .join(", ");
    let wrong = Diagnostic::new(format!(
        "no workflow found at {}: looked below {looked} for a folder with a {WORKFLOW_PARAM}",
        tree.revision().short()
    ));
    if let Some(odd) = odd.first() {
        return Ok(wrong.hint(odd.one_line()));
    }
    let anywhere = |exclude: &[String]| -> Result<String, SourceError> {
        let mut found = Found::default();
        if let Some(root) = tree.entry("")? {
            search(tree, "", root.id, exclude, DEPTH, &mut found)?;
        }
        let paths = found.folders.iter().take(LISTED).map(|one| format!("{}/", one.path));
        Ok(paths.collect::<Vec<_>>().join(", "))
    };
    let elsewhere = anywhere(exclude)?;
    if !elsewhere.is_empty() {
        return Ok(wrong.hint(format!(
            "there is one in {elsewhere}: name it under `roots` of the repository in the configuration"
        )));
    }
    let excluded = anywhere(&[])?;
    Ok(if excluded.is_empty() {
        wrong.hint("commit a folder packer_workspaces/ with a workflow_param.json and a folder for each step")
    } else {
        wrong.hint(format!(
            "{excluded} has one, but is left out by `exclude`: copy it to a folder of another name"
        ))
    })
}
