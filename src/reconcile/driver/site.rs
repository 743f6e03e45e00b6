//! A repository that is followed, and what it holds at the commit that is meant.

use std::sync::Arc;

use crate::desired::hcl::LocalExec;
use crate::reconcile::error::PassError;
use crate::source::discover::{WorkflowFolder, workflows};
use crate::source::{GitSource, GitTree};

/// A repository that is followed.
pub struct Site {
    /// Its name.
    pub name: String,
    /// Git.
    pub source: Arc<dyn GitSource>,
    /// Where workflows are looked for.
    pub roots: Vec<String>,
    /// Folders that are none.
    pub exclude: Vec<String>,
    /// A revision to stay at, instead of what is followed.
    pub revision: Option<String>,
    /// Whether its templates may run programs on the build host.
    pub local_exec: LocalExec,
}

/// The commit that is meant, and the workflows in it.
pub(super) fn open(site: &Site) -> Result<(Arc<dyn GitTree>, Vec<WorkflowFolder>), PassError> {
    let revision = site.source.resolve(site.revision.as_deref())?;
    let tree = site.source.at(&revision)?;
    let folders = workflows(tree.as_ref(), &site.roots, &site.exclude)?;
    Ok((Arc::from(tree), folders))
}
