//! A repository that is followed, and what it holds at the commit that is meant.

use std::sync::Arc;

use crate::controller::checkout::{CheckoutError, read_params};
use crate::controller::error::PassError;
use crate::git::GitSource;
use crate::git::discover::{WorkflowFolder, workflows};
use reconciler_core::workflow::WorkflowParams;
use reconciler_core::workflow::unique::Claim;
use reconciler_hcl::LocalExec;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::WorkflowId;
use reconciler_model::source::GitTree;

/// A repository that is followed.
pub struct FollowedRepository {
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

/// A repository at the commit that is meant.
pub(super) struct Opened {
    pub(super) tree: Arc<dyn GitTree>,
    /// The workflows in it.
    pub(super) folders: Vec<OpenedFolder>,
    /// What they say to be, as far as that can be read.
    pub(super) claims: Vec<Claim>,
}

/// A workflow's folder. Its parameters are read here and nowhere else in a pass.
pub(super) struct OpenedFolder {
    pub(super) folder: WorkflowFolder,
    /// The parameters, with what is worth a word of them.
    pub(super) params: Result<(WorkflowParams, Vec<Diagnostic>), CheckoutError>,
}

impl OpenedFolder {
    /// The id, as far as it can be read.
    fn id(&self) -> Option<&WorkflowId> {
        self.params.as_ref().ok().map(|(params, _)| &params.workflow_id)
    }
}

/// The commit that is meant, and the workflows in it.
pub(super) fn open(site: &FollowedRepository) -> Result<Opened, PassError> {
    let revision = site.source.resolve(site.revision.as_deref())?;
    let tree = site.source.at(&revision)?;
    let folders = workflows(tree.as_ref(), &site.roots, &site.exclude)?.into_iter();
    let folders = folders.map(|folder| {
        let params = read_params(tree.as_ref(), &folder);
        OpenedFolder { folder, params }
    });
    let folders: Vec<_> = folders.collect();
    let claims = folders.iter().filter_map(|one| Some(site.claim(&one.folder, one.id()?)));
    Ok(Opened { claims: claims.collect(), tree: Arc::from(tree), folders })
}

impl FollowedRepository {
    /// The ids of these folders, as far as they can be read.
    #[must_use]
    pub fn claims(&self, tree: &dyn GitTree, folders: &[WorkflowFolder]) -> Vec<Claim> {
        let read = |folder: &WorkflowFolder| {
            let (params, _) = read_params(tree, folder).ok()?;
            Some(self.claim(folder, &params.workflow_id))
        };
        folders.iter().filter_map(read).collect()
    }

    fn claim(&self, folder: &WorkflowFolder, id: &WorkflowId) -> Claim {
        Claim {
            id: id.clone(),
            repository: self.name.clone(),
            place: self.source.place(),
            folder: folder.path.clone(),
        }
    }
}
