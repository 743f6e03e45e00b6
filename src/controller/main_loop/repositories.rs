//! The repositories that are followed, and what git says of them: the commit that is meant, the
//! workflows in it with their parameters, and which ids are given out twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::controller::checkout::{CheckoutError, read_params};
use crate::controller::context::block_in_place;
use crate::controller::error::PassError;
use crate::controller::main_loop::owned_workflows::OwnedWorkflow;
use crate::git::GitSource;
use crate::git::discover::{WorkflowFolder, workflows};
use crate::git::trusted::refuse_rewrite;
use reconciler_core::workflow::WorkflowParams;
use reconciler_core::workflow::unique::{Claim, shared};
use reconciler_hcl::LocalExec;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Encoder;
use reconciler_model::ids::{Revision, WorkflowId};
use reconciler_model::inventory::Inventory;
use reconciler_model::source::GitTree;

/// A repository that is followed.
pub struct FollowedRepository {
    /// Its name.
    pub name: String,
    /// Git.
    pub source: Arc<dyn GitSource>,
    /// How often a daemon fetches it, or reads it where it is local, when nothing happens.
    pub poll_interval: Duration,
    /// Where workflows are looked for.
    pub roots: Vec<String>,
    /// Folders that are none.
    pub exclude: Vec<String>,
    /// A revision to stay at, instead of what is followed.
    pub revision: Option<String>,
    /// Whether its templates may run programs on the build host.
    pub local_exec: LocalExec,
    /// The reference of which rewritten history is refused; none: it is followed.
    pub guarded: Option<String>,
}

/// A repository at the commit that is meant.
pub(super) struct OpenedRepository {
    pub(super) tree: Arc<dyn GitTree>,
    /// The workflows in it.
    pub(super) folders: Vec<OpenedFolder>,
}

/// A workflow's folder. Its parameters are read here and nowhere else in a pass.
pub(super) struct OpenedFolder {
    pub(super) folder: WorkflowFolder,
    pub(super) params: Result<ReadParams, CheckoutError>,
}

/// Parameters, with what is worth a word of them.
pub(super) type ReadParams = (WorkflowParams, Vec<Diagnostic>);

/// All of them.
pub(super) struct Repositories {
    followed: Vec<Arc<FollowedRepository>>,
    /// What each said last, by its name.
    last: BTreeMap<String, LastRead>,
    /// Ids of workflows that are looked at elsewhere.
    elsewhere: Vec<Claim>,
    /// Ids that are given out twice.
    shared: BTreeMap<WorkflowId, Diagnostic>,
}

/// What a repository said when it was read last.
#[derive(Default)]
struct LastRead {
    /// The commit up to which a rewritten history was looked for.
    head: Option<Revision>,
    /// What its folders say to be. One that cannot be read now says what it said before.
    claims: Vec<Claim>,
    /// Its folders at a commit of which everything could be read: a commit does not change.
    folders: Option<(Revision, Vec<(WorkflowFolder, ReadParams)>)>,
}

impl Repositories {
    /// Of none of them anything is known. `elsewhere` are ids from which theirs must differ.
    pub(super) fn new(followed: Vec<FollowedRepository>, elsewhere: Vec<Claim>) -> Self {
        let followed = followed.into_iter().map(Arc::new).collect();
        Self { followed, last: BTreeMap::new(), elsewhere, shared: BTreeMap::new() }
    }

    /// Opens each at the commit that is meant. All of them at once: whether an id is given out
    /// twice is seen by all together.
    pub(super) fn open_all(
        &mut self,
    ) -> Vec<(Arc<FollowedRepository>, Result<OpenedRepository, PassError>)> {
        let mut all = Vec::new();
        for repository in &self.followed {
            let last = self.last.entry(repository.name.clone()).or_default();
            let opened = block_in_place(|| last.open(repository));
            all.push((Arc::clone(repository), opened));
        }
        let here = self.last.values().flat_map(|last| &last.claims);
        let claims: Vec<Claim> = here.chain(&self.elsewhere).cloned().collect();
        self.shared = shared(&claims);
        all
    }

    /// The repositories that are followed, in the order of the configuration.
    pub(super) fn followed(&self) -> impl Iterator<Item = &Arc<FollowedRepository>> {
        self.followed.iter()
    }

    /// Why nothing is begun under an id: another workflow has it as well.
    pub(super) fn why_shared(&self, id: &WorkflowId) -> Option<&Diagnostic> {
        self.shared.get(id)
    }

    /// The commit that a repository was at before, if the new one does not descend from it. It is
    /// asked once for each commit.
    pub(super) fn rewritten(
        &mut self,
        repository: &FollowedRepository,
        new: &Revision,
    ) -> Result<Option<Revision>, PassError> {
        let last = self.last.entry(repository.name.clone()).or_default();
        let Some(old) = last.head.replace(new.clone()).filter(|old| old != new) else {
            return Ok(None);
        };
        Ok((!repository.source.descends(new, &old)?).then_some(old))
    }

    /// The repository of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<FollowedRepository>> {
        self.followed.iter().find(|one| one.name == name)
    }

    /// The repository of a workflow; of two names of one repository the one that looks where the
    /// workflow was.
    pub(super) fn of_workflow(&self, owned: &OwnedWorkflow) -> Option<&Arc<FollowedRepository>> {
        let named = || self.followed.iter().filter(|one| one.source.place() == owned.repository);
        let looks_there = |one: &&Arc<FollowedRepository>| {
            one.roots.iter().any(|root| is_below(root, &owned.folder))
        };
        named().find(looks_there).or_else(|| named().next())
    }
}

impl LastRead {
    fn open(&mut self, repository: &FollowedRepository) -> Result<OpenedRepository, PassError> {
        let revision = repository.source.resolve(repository.revision.as_deref())?;
        let tree: Arc<dyn GitTree> = Arc::from(repository.source.at(&revision)?);
        let folders = match &self.folders {
            Some((at, folders)) if *at == revision => folders
                .iter()
                .map(|(folder, read)| OpenedFolder {
                    folder: folder.clone(),
                    params: Ok(read.clone()),
                })
                .collect(),
            _ => {
                let folders = repository.read_folders(tree.as_ref())?;
                let read = |one: &OpenedFolder| {
                    Some((one.folder.clone(), one.params.as_ref().ok()?.clone()))
                };
                let all: Option<Vec<_>> = folders.iter().map(read).collect();
                self.folders = all.map(|all| (revision, all));
                folders
            }
        };
        let claims = folders.iter().filter_map(|one| {
            let (params, _) = one.params.as_ref().ok()?;
            Some(repository.claim(&one.folder, params))
        });
        self.claims = claims.collect();
        Ok(OpenedRepository { tree, folders })
    }
}

impl FollowedRepository {
    /// The reference of which rewritten history is refused. A commit that a person names is that
    /// person's decision.
    fn guarded_reference(&self) -> Option<&String> {
        self.guarded.as_ref().filter(|_| self.revision.is_none())
    }

    /// Under which id the inventory keeps what was applied of the whole repository: the workflow's
    /// own id stands in the commit that is judged, and an earlier commit may name another.
    #[must_use]
    pub fn applied_under(place: &str) -> WorkflowId {
        let mut id = Encoder::new("applied of a repository");
        id.field(place.as_bytes());
        WorkflowId::new(format!("@repository/{}", id.finish()))
    }

    /// Refuses a commit that does not follow what was applied last, of a workflow or of the whole
    /// repository, where that is asked for. `applied` is what stands beside the workflow's lease.
    /// Returns the reference and what was applied of it, in that order.
    pub async fn refuse_rewrite(
        &self,
        inventory: &dyn Inventory,
        new: &Revision,
        applied: &BTreeMap<String, Revision>,
    ) -> Result<Option<(String, Vec<Option<Revision>>)>, PassError> {
        let Some(reference) = self.guarded_reference() else {
            return Ok(None);
        };
        let of_repository = inventory.lease(&Self::applied_under(&self.source.place())).await?;
        let of_repository = of_repository.and_then(|one| one.applied.get(reference).cloned());
        let applied = vec![applied.get(reference).cloned(), of_repository];
        for applied in applied.iter().flatten() {
            block_in_place(|| refuse_rewrite(self.source.as_ref(), new, applied))?;
        }
        Ok(Some((reference.clone(), applied)))
    }

    fn read_folders(&self, tree: &dyn GitTree) -> Result<Vec<OpenedFolder>, PassError> {
        let folders = workflows(tree, &self.roots, &self.exclude)?.into_iter();
        let read = |folder| {
            let params = read_params(tree, &folder);
            OpenedFolder { folder, params }
        };
        Ok(folders.map(read).collect())
    }

    /// The ids of these folders, as far as they can be read.
    #[must_use]
    pub fn claims(&self, tree: &dyn GitTree, folders: &[WorkflowFolder]) -> Vec<Claim> {
        let read = |folder: &WorkflowFolder| {
            let (params, _) = read_params(tree, folder).ok()?;
            Some(self.claim(folder, &params))
        };
        folders.iter().filter_map(read).collect()
    }

    /// The parameters of a workflow at the commit at which this host took charge of it; none if
    /// the commit does not have its folder.
    pub(super) fn params_at(
        &self,
        owned: &OwnedWorkflow,
    ) -> Result<Option<WorkflowParams>, PassError> {
        let tree = self.source.at(&owned.revision)?;
        let mut folders = workflows(tree.as_ref(), &self.roots, &self.exclude)?.into_iter();
        let folder = folders.find(|folder| folder.path == owned.folder);
        Ok(match folder {
            Some(folder) => Some(read_params(tree.as_ref(), &folder)?.0),
            None => None,
        })
    }

    fn claim(&self, folder: &WorkflowFolder, params: &WorkflowParams) -> Claim {
        Claim {
            id: params.workflow_id.clone(),
            repository: self.name.clone(),
            place: self.source.place(),
            folder: folder.path.clone(),
            family: params.settings.family.clone(),
        }
    }
}

/// Whether a folder is a root, or below it.
fn is_below(root: &str, folder: &str) -> bool {
    let root = root.trim_matches('/');
    let rest = folder.strip_prefix(root);
    matches!(root, "" | ".") || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_folder_is_below_its_roots_and_not_below_their_neighbours() {
        for root in ["", ".", "a", "/a/", "a/b", "a/b/c"] {
            assert!(is_below(root, "a/b/c"), "{root}");
        }
        for root in ["a/b/c/d", "b", "a/bb", "a/b/"] {
            assert_eq!(is_below(root, "a/b/c"), root == "a/b/", "{root}");
        }
    }
}
