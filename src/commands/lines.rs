//! How many lines of a changed file came and went since the commit that the recorded image was
//! built from.

use reconciler::git::GitSource;
use reconciler::git::diff::changed;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::{Change, Decision, Reason};
use reconciler_core::plan::sentences::LineCounts;
use reconciler_model::source::GitTree;

/// Counts for every changed file that the plan names. What cannot be read is left out: the plan
/// says the rest.
pub(crate) fn counts(source: &dyn GitSource, tree: &dyn GitTree, plan: &Plan) -> LineCounts {
    let mut counts = LineCounts::new();
    for step in &plan.steps {
        let reasons = match &step.decision {
            Decision::Build(build) => &build.reasons,
            Decision::TakeOver(taken) => &taken.reasons,
            _ => continue,
        };
        let Some(built) = step.record.as_ref().and_then(|record| record.built.as_ref()) else {
            continue;
        };
        let files = reasons.iter().filter_map(|reason| match reason {
            Reason::FileChanged { path, change: Change::Changed } => Some(path),
            _ => None,
        });
        let mut old_tree = None;
        for path in files {
            let old_tree = old_tree.get_or_insert_with(|| source.at(&built.revision).ok());
            let full = match path.strip_prefix('/') {
                Some(from_root) => from_root.to_owned(),
                None => format!("{}/{path}", step.folder),
            };
            if let Some(old_tree) = old_tree
                && let Ok(Some(diff)) = changed(old_tree.as_ref(), tree, &full)
            {
                counts.insert((step.id.clone(), path.clone()), (diff.added, diff.removed));
            }
        }
    }
    counts
}
