//! Opens what every command needs: configuration, repositories, workflows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reconciler::config::load::{ProcessEnvironment, load};
use reconciler::config::{Config, Location, RepositoryConfig, Rewrite};
use reconciler::controller::checkout::Checkout;
use reconciler::controller::connect::Ports;
use reconciler::controller::error::PassError;
use reconciler::controller::main_loop::FollowedRepository;
use reconciler::controller::process_identity::host_name;
use reconciler::controller::state_folder;
use reconciler::controller::step_cache::Kept;
use reconciler::git::commit_cache::CachedTree;
use reconciler::git::discover::{WorkflowFolder, workflows};
use reconciler::git::open_trusted;
use reconciler::git::snapshot::Snapshot;
use reconciler::git::trusted::Purpose;
use reconciler::git::watch::common_dir;
use reconciler_core::plan::{RecordsFrom, Standing};
use reconciler_core::workflow::jsonc::Document;
use reconciler_core::workflow::unique::{Claim, shared};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{Revision, StepId, WorkflowId};
use reconciler_model::source::GitTree;

use super::render::no_such_step;
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::Which;

/// Who types: `user@host`.
pub(crate) fn who() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", host_name())
}

/// What a command says of an inventory in which it found nothing of a workflow: another one may
/// have been meant.
pub(crate) async fn nothing_found(
    ports: &Ports,
    workflow: &WorkflowId,
) -> Result<String, CommandError> {
    let standing = if ports.inventory.heads(workflow).await?.missing {
        Standing::NoInventory
    } else {
        Standing::Nothing
    };
    let place = ports.inventory.place();
    Ok(match standing {
        Standing::NoInventory => RecordsFrom { place, standing }.words().unwrap_or_default(),
        _ => format!("Looked in {place}."),
    })
}

/// The steps of a workflow in git, as far as they can be read.
pub(crate) fn step_ids(opened: &Opened, folder: &WorkflowFolder) -> BTreeSet<StepId> {
    let Ok(checkout) = Checkout::read(&opened.tree, folder, Kept::default()) else {
        return BTreeSet::new();
    };
    let sound = checkout.outlines.iter().map(|step| step.id.clone());
    sound.chain(checkout.broken.keys().cloned()).collect()
}

/// Leaves the folders of workflows that have one of these steps; all, if none is named. A step that
/// no workflow has is refused.
pub(crate) fn keep_folders_with(
    opened: &mut [Opened],
    named: &[String],
) -> Result<(), CommandError> {
    if named.is_empty() {
        return Ok(());
    }
    let (mut known, mut unread) = (Vec::new(), None);
    for one in opened.iter_mut() {
        let tree = Arc::clone(&one.tree);
        one.folders.retain(|folder| {
            let checkout = match Checkout::read(&tree, folder, Kept::default()) {
                Ok(checkout) => checkout,
                // Its steps cannot be known: it hides nothing of another workflow.
                Err(error) => {
                    unread.get_or_insert(error);
                    return false;
                }
            };
            let ids = checkout.outlines.iter().map(|step| step.id.to_string());
            let ids: Vec<_> = ids.chain(checkout.broken.keys().map(ToString::to_string)).collect();
            let meant = ids.iter().any(|id| named.contains(id));
            known.extend(ids);
            meant
        });
    }
    match (named.iter().find(|id| !known.contains(id)), unread) {
        (Some(_), Some(error)) => Err(error.into()),
        (Some(wrong), None) => Err(no_such_step(wrong, &known).into()),
        (None, _) => Ok(()),
    }
}

/// That no build of a step is known, and in which inventories it was looked for; and that there is
/// no such step, where git has none of this name either.
pub(crate) fn no_build_of(step: &StepId, opened: &[Opened], nothing_in: &[String]) -> Diagnostic {
    let folders = opened.iter().flat_map(|one| one.folders.iter().map(move |folder| (one, folder)));
    let known: BTreeSet<StepId> = folders.flat_map(|(one, folder)| step_ids(one, folder)).collect();
    if known.contains(step) {
        let mut places = nothing_in.to_vec();
        places.dedup();
        let places = places.join(" ");
        let places = places.trim_end_matches('.');
        return Diagnostic::new(format!("no build of step `{step}` is known. {places}"))
            .hint("`reconciler history` shows every build, `reconciler status` every step");
    }
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    no_such_step(step.as_str(), &known)
}

/// What stopped a command about a step; that the step is not in git either, where that is so: it
/// may be all that is wrong.
pub(crate) fn unless_unknown(
    error: PassError,
    opened: &Opened,
    folder: &WorkflowFolder,
    step: &StepId,
) -> PassError {
    let known = step_ids(opened, folder);
    if known.contains(step) {
        return error;
    }
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    let unknown = no_such_step(step.as_str(), &known);
    let why = error.diagnostic();
    Diagnostic::new(format!(
        "{} in git, and its earlier builds cannot be looked for: {}",
        unknown.message,
        why.one_line()
    ))
    .hint(unknown.hint.unwrap_or_default())
    .into()
}

/// Loads the configuration in the surroundings of this process.
pub(crate) fn config(named: Option<&Path>) -> Result<Config, CommandError> {
    let around = ProcessEnvironment {
        env: std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect(),
        folder: std::env::current_dir()?,
    };
    Ok(load(named, &around)?)
}

/// As [`config`], for a command that acts: the place of the state has to be one.
pub(crate) fn config_to_act(named: Option<&Path>) -> Result<Config, CommandError> {
    let config = config(named)?;
    state_folder::check(&config)?;
    Ok(config)
}

/// Opens the repositories that are meant.
pub(crate) fn repositories(
    config: &Config,
    which: &Which,
    purpose: Purpose,
) -> Result<Vec<FollowedRepository>, CommandError> {
    let meant = |repository: &&RepositoryConfig| {
        which.repository.as_ref().is_none_or(|name| *name == repository.name)
    };
    let repositories: Vec<FollowedRepository> = config
        .repositories
        .iter()
        .filter(meant)
        .map(|repository| followed_repository(config, repository, which, purpose))
        .collect::<Result<_, _>>()?;
    if repositories.is_empty() {
        let names: Vec<_> =
            config.repositories.iter().map(|repository| repository.name.as_str()).collect();
        return Err(Diagnostic::new(format!(
            "there is no repository `{}`",
            which.repository.as_deref().unwrap_or_default()
        ))
        .hint(format!("there are: {}", names.join(", ")))
        .into());
    }
    Ok(repositories)
}

/// The reference of which rewritten history is refused, as the configuration names it. Where it
/// names none, another branch that `HEAD` moves to has to follow the one before as well.
pub(crate) fn guarded(repository: &RepositoryConfig) -> Option<String> {
    let reference = repository.reference.as_deref().unwrap_or("HEAD");
    (repository.trust.rewrite == Rewrite::Refused).then(|| reference.to_owned())
}

fn followed_repository(
    config: &Config,
    repository: &RepositoryConfig,
    which: &Which,
    purpose: Purpose,
) -> Result<FollowedRepository, CommandError> {
    let source = open_trusted(repository, &config.state_dir, purpose)?;
    // A local one is read at each pass, and what is polled there only wakes the loop.
    let poll_interval = match &repository.location {
        Location::Local(_) => config.interval,
        Location::Remote(_) => repository.poll_interval,
    };
    Ok(FollowedRepository {
        name: repository.name.clone(),
        poll_interval,
        source: Arc::new(source),
        roots: repository.roots.clone(),
        exclude: repository.exclude.clone(),
        revision: which.rev.clone(),
        local_exec: repository.trust.local_exec.clone(),
        guarded: guarded(repository),
    })
}

/// One workflow of a repository at a commit.
pub(crate) struct Opened {
    /// The repository.
    pub(crate) repository: FollowedRepository,
    /// The commit.
    pub(crate) tree: Arc<dyn GitTree>,
    /// The same, to be told to remember what was asked of it.
    pub(crate) remembered: Arc<CachedTree>,
    /// The workflows that are meant.
    pub(crate) folders: Vec<WorkflowFolder>,
    /// What all workflows of the repository say to be.
    claims: Vec<Claim>,
    /// What is looked at in place of a commit.
    pub(crate) snapshot: Option<Snapshot>,
}

impl Opened {
    /// Begins to look whether what the user sees in front of them is what is read. In a work tree
    /// of more files than `most` nobody looks.
    pub(crate) fn begin_notes(&self, which: &Which, most: usize) -> Notes {
        let ambiguity = self.repository.source.ambiguity(which.rev.as_deref());
        let (source, tree) = (Arc::clone(&self.repository.source), Arc::clone(&self.tree));
        let (roots, rev) = (self.repository.roots.clone(), which.rev.clone());
        let is_commit = self.snapshot.is_none();
        let look = move || match rev {
            None if is_commit => source.uncommitted(tree.as_ref(), &roots, most),
            _ => Vec::new(),
        };
        Notes {
            ambiguity,
            revision: self.tree.revision().clone(),
            changed: std::thread::spawn(look),
        }
    }

    /// What is followed, for people.
    pub(crate) fn reference(&self) -> String {
        self.repository.revision.clone().unwrap_or_else(|| self.repository.source.reference())
    }
}

/// What is told of a repository beside everything else.
pub(crate) struct Notes {
    ambiguity: Option<Diagnostic>,
    revision: Revision,
    changed: std::thread::JoinHandle<Vec<String>>,
}

impl Notes {
    /// Prints them to standard error.
    pub(crate) fn print(self) {
        self.ambiguity.iter().for_each(print::warning);
        // Without an answer there is nothing to say.
        let changed = self.changed.join().unwrap_or_default();
        if changed.is_empty() {
            return;
        }
        let folders: Vec<String> = changed
            .iter()
            .map(|folder| match folder.trim_matches('/') {
                "" | "." => "the repository".to_owned(),
                folder => format!("{folder}/"),
            })
            .collect();
        let has = if changed.len() == 1 { "has" } else { "have" };
        print::note(&format!(
            "note: this is {}; {} {has} uncommitted changes that are not in it",
            self.revision.short(),
            folders.join(" and ")
        ));
    }
}

/// Opens what is not committed yet of the repositories that have a work tree here; the others at
/// their commits.
pub(crate) fn snapshots_of(
    config: &Config,
    which: &Which,
    what: &Uncommitted,
) -> Result<Vec<Opened>, CommandError> {
    let (opened, refused) = open_all(config, which, Purpose::Check, Some(what))?;
    match refused.into_iter().next() {
        Some(refusal) => Err(refusal.into()),
        None => Ok(opened),
    }
}

/// What is looked at in place of commits, and of which repository.
pub(crate) struct Uncommitted {
    pub(crate) what: Snapshot,
    /// The folder that holds `HEAD` of the only repository that is meant; none: of all.
    pub(crate) only: Option<PathBuf>,
}

/// Opens every workflow that is meant, at the commit that is meant. A repository that cannot be
/// read stops the command.
pub(crate) fn workflows_of(
    config: &Config,
    which: &Which,
    purpose: Purpose,
) -> Result<Vec<Opened>, CommandError> {
    let (opened, refused) = open_all(config, which, purpose, None)?;
    match refused.into_iter().next() {
        Some(refusal) => Err(refusal.into()),
        None => Ok(opened),
    }
}

/// What is said of workflow ids that are given out twice, by id. Repositories that are not meant
/// count as well, as they were fetched last.
pub(crate) fn shared_ids(config: &Config, opened: &[Opened]) -> BTreeMap<WorkflowId, Diagnostic> {
    let mut claims: Vec<Claim> = opened.iter().flat_map(|one| one.claims.clone()).collect();
    let is_open = |repository: &RepositoryConfig| {
        opened.iter().any(|one| one.repository.name == repository.name)
    };
    let others = config.repositories.iter().filter(|one| !is_open(one));
    claims.extend(others.flat_map(|one| claims_of(config, one).unwrap_or_default()));
    shared(&claims)
}

/// What all workflows of all repositories say to be, as far as they can be read.
pub(crate) fn all_claims(config: &Config) -> Vec<Claim> {
    let repositories = config.repositories.iter();
    repositories.flat_map(|one| claims_of(config, one).unwrap_or_default()).collect()
}

fn claims_of(config: &Config, repository: &RepositoryConfig) -> Result<Vec<Claim>, CommandError> {
    let repository = followed_repository(config, repository, &Which::default(), Purpose::Follow)?;
    let tree = repository.source.at(&repository.source.resolve(None)?)?;
    let folders = workflows(tree.as_ref(), &repository.roots, &repository.exclude)?;
    Ok(repository.claims(tree.as_ref(), &folders))
}

/// The word that a workflow's id is another's as well, if it is.
pub(crate) fn refuse_shared(
    shared: &BTreeMap<WorkflowId, Diagnostic>,
    opened: &Opened,
    folder: &WorkflowFolder,
) -> Result<(), CommandError> {
    let mut claims = opened.claims.iter();
    let claim = claims.find(|claim| claim.folder == folder.path);
    match claim.and_then(|claim| shared.get(&claim.id)) {
        Some(why) => Err(why.clone().into()),
        None => Ok(()),
    }
}

/// As [`workflows_of`], but a repository that cannot be read, or whose commit is not trusted, hides
/// no other; and one that cannot be fetched is opened at what was fetched last, beside the word
/// that it is so. A workflow whose id is another's as well is refused.
pub(crate) fn workflows_or_refusals(
    config: &Config,
    which: &Which,
    purpose: Purpose,
) -> Result<(Vec<Opened>, Vec<PassError>), CommandError> {
    let (mut opened, mut refused) = open_all(config, which, purpose, None)?;
    let shared = shared_ids(config, &opened);
    let mut told = BTreeSet::new();
    for one in &mut opened {
        let claims = &one.claims;
        one.folders.retain(|folder| {
            let claim = claims.iter().find(|claim| claim.folder == folder.path);
            let id = claim.map(|claim| &claim.id).filter(|id| shared.contains_key(*id));
            told.extend(id.cloned());
            id.is_none()
        });
    }
    let told = told.into_iter().filter_map(|id| shared.get(&id).cloned());
    refused.extend(told.map(PassError::Person));
    Ok((opened, refused))
}

fn open_all(
    config: &Config,
    which: &Which,
    purpose: Purpose,
    instead: Option<&Uncommitted>,
) -> Result<(Vec<Opened>, Vec<PassError>), CommandError> {
    let mut opened = Vec::new();
    let mut refused = Vec::new();
    let mut ids = Vec::new();
    for repository in repositories(config, which, purpose)? {
        let slow = Slow::begins(format!("fetching {}", repository.source.place()));
        let fetched = repository.source.fetch();
        drop(slow);
        match open(config, repository, which, instead, &mut ids) {
            Ok(one) => opened.push(one),
            Err(error) if fetched.is_ok() => refused.push(error),
            // Without a commit it is the fetch that people want to hear of.
            Err(_) => {}
        }
        refused.extend(fetched.err().map(PassError::from));
    }
    if refused.is_empty() && opened.iter().all(|one| one.folders.is_empty()) {
        return Err(Diagnostic::new(format!(
            "there is no workflow `{}`",
            which.workflow.as_deref().unwrap_or_default()
        ))
        .hint(format!("there are: {}", ids.join(", ")))
        .into());
    }
    Ok((opened, refused))
}

/// Whether two folders with a `HEAD` are of one repository: each linked work tree has its own.
fn same_repository(one: &Path, other: &Path) -> bool {
    let plain = |path: &Path| {
        let common = common_dir(path);
        common.canonicalize().unwrap_or(common)
    };
    plain(one) == plain(other)
}

fn open(
    config: &Config,
    repository: FollowedRepository,
    which: &Which,
    instead: Option<&Uncommitted>,
    ids: &mut Vec<String>,
) -> Result<Opened, PassError> {
    let meant = instead.filter(|instead| {
        let only = instead.only.as_ref();
        only.is_none_or(|only| same_repository(only, &repository.source.git_dir()))
    });
    let tree = match meant {
        Some(instead) => repository.source.snapshot(&instead.what)?,
        None => None,
    };
    let snapshot = meant.filter(|_| tree.is_some()).map(|one| one.what.clone());
    let tree = match tree {
        Some(tree) => tree,
        None => repository.source.at(&repository.source.resolve(which.rev.as_deref())?)?,
    };
    let scope = repository.source.cache_scope();
    let marks = config.secrets.marks.clone();
    let holds_no_secret = move |content: &[u8]| {
        Document::parse("", content)
            .is_ok_and(|document| marks.values_of(&document.values).is_empty())
    };
    let remembered =
        Arc::new(CachedTree::new(tree, &config.state_dir, &scope, Box::new(holds_no_secret)));
    let tree: Arc<dyn GitTree> = Arc::clone(&remembered) as _;
    let mut folders = workflows(tree.as_ref(), &repository.roots, &repository.exclude)?;
    let claims = repository.claims(tree.as_ref(), &folders);
    if let Some(wanted) = &which.workflow {
        folders.retain(|folder| {
            let id = reconciler::controller::checkout::read_params(tree.as_ref(), folder)
                .map(|(params, _)| params.workflow_id.to_string());
            ids.extend(id.as_ref().ok().cloned());
            folder.path == *wanted || id.is_ok_and(|id| id == *wanted)
        });
    }
    Ok(Opened { repository, tree, remembered, folders, claims, snapshot })
}
