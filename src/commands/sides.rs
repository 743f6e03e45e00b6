//! All that a step's image is made of at one commit, on one source image, and how two of these
//! differ: parameters, rendered files and scripts, without secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::config::Config;
use reconciler::controller::checkout::{Checkout, Desired};
use reconciler::controller::step_cache::Kept;
use reconciler::git::discover::workflows;
use reconciler::secrets::OpenSecrets;
use reconciler_core::desired::inputs::sort_files;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::status::changed::ChangedFile;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{Region, Revision, StepId, WorkflowId};
use reconciler_model::source::GitTree;
use similar::TextDiff;

use super::CommandError;
use super::open::Opened;
use super::render::redactor;

/// Everything of one side, by a name for the header: as it is, which is compared, and as it may be
/// shown.
pub(crate) type Side = BTreeMap<String, Content>;

/// One file, or all parameters.
#[derive(PartialEq)]
pub(crate) struct Content {
    whole: Vec<u8>,
    shown: Vec<u8>,
}

/// What an image was made from.
pub(crate) struct MadeFrom<'a> {
    pub(crate) workflow: &'a WorkflowId,
    pub(crate) step: &'a StepId,
    pub(crate) revision: &'a Revision,
    pub(crate) region: &'a Region,
    pub(crate) source: SourceImage,
    pub(crate) root_base: SourceImage,
}

/// A side at a commit, and the paths from the repository's root by which it is made.
#[derive(Default)]
pub(crate) struct PastSide {
    pub(crate) side: Side,
    pub(crate) paths: Vec<String>,
}

/// The side of an image that was made, or was to be made, of a commit; empty if the step was not
/// there.
pub(crate) fn past_side(
    config: &Config,
    opened: &Opened,
    engine: &Engine,
    made: &MadeFrom<'_>,
) -> Result<PastSide, CommandError> {
    let repository = &opened.repository;
    let tree: Arc<dyn GitTree> = Arc::from(repository.source.at(made.revision)?);
    for folder in workflows(tree.as_ref(), &repository.roots, &repository.exclude)? {
        let checkout = Checkout::read(&tree, &folder, Kept::default())?;
        if checkout.params.workflow_id != *made.workflow {
            continue;
        }
        let Some(loaded) = checkout.step(made.step) else {
            continue;
        };
        let mut paths = vec![loaded.step.folder.clone()];
        paths.extend(["workflow_param.json", "reconciler.json"].map(|name| {
            if folder.path.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.path) }
        }));
        paths.extend(loaded.included.keys().cloned());
        let name = &config.ami_name;
        let desired = Desired::new(&Arc::new(checkout), engine, made.region, name, &made.root_base)
            .with_secrets(Arc::new(OpenSecrets::read(&config.secrets)));
        return Ok(PastSide { side: side(&desired, made.step, &made.source)?, paths });
    }
    Ok(PastSide::default())
}

/// The side of a step on a source image.
pub(crate) fn side(
    desired: &Desired,
    id: &StepId,
    source: &SourceImage,
) -> Result<Side, CommandError> {
    let content = desired.loaded(id)?.content();
    let name = desired.desire().name_parts(content).without_fingerprint();
    let template = desired.desire().render(content, source, &name)?;
    let secrets = redactor(desired, content, &template);
    let content_of = |whole: Vec<u8>| Content {
        shown: match std::str::from_utf8(&whole) {
            Ok(text) => secrets.text(text).into_bytes(),
            Err(_) => Vec::new(),
        },
        whole,
    };
    let mut side = Side::new();
    for (file, text) in template.texts() {
        side.insert(format!("rendered/{file}"), content_of(text.clone().into_bytes()));
    }
    let mut params = content.step.values.clone();
    params.shift_remove("metadata");
    let masked = desired.secrets.sealed().marks.masked(&params);
    let text = |params| format!("{:#}\n", serde_json::Value::Object(params)).into_bytes();
    side.insert("parameters".to_owned(), Content { whole: text(params), shown: text(masked) });
    for (path, file) in sort_files(content)?.counted {
        side.insert(path.trim_start_matches('/').to_owned(), content_of(file.content.to_vec()));
    }
    Ok(side)
}

/// What differs between two sides.
pub(crate) fn differences(old: &Side, new: &Side) -> Vec<ChangedFile> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |side: &Side, name: &String| {
        side.get(name).map(|content| {
            let shown = String::from_utf8_lossy(&content.shown).into_owned();
            std::str::from_utf8(&content.whole).map(|_| shown)
        })
    };
    let mut changes = Vec::new();
    for name in names {
        if old.get(name) == new.get(name) {
            continue;
        }
        let diff = match (text(old, name).transpose(), text(new, name).transpose()) {
            (Ok(before), Ok(after)) if before == after => format!("a secret in {name} differs\n"),
            (Ok(before), Ok(after)) => {
                let header = |side: &str, there: bool| {
                    if there { format!("{side}/{name}") } else { "/dev/null".to_owned() }
                };
                let (a, b) = (header("a", before.is_some()), header("b", after.is_some()));
                let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
                TextDiff::from_lines(&before, &after).unified_diff().header(&a, &b).to_string()
            }
            _ => format!("binary file {name} differs\n"),
        };
        changes.push(ChangedFile { name: name.clone(), diff });
    }
    changes
}

/// That a commit is not there any more.
pub(crate) fn no_such_commit(what: &str, revision: &Revision) -> Diagnostic {
    Diagnostic::new(format!(
        "the commit that {what} was built from, {}, is no longer in the repository",
        revision.short()
    ))
    .hint("history was rewritten, or the clone is shallow")
}
