//! A workflow at one commit: its steps, read as far as they are needed, and what each should be.
//!
//! Answers the planner's questions ([`Desires`]) by rendering. Reads git only, through its port.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use crate::controller::step_cache::{Kept, KeptStep, Known, Row, inputs_digest};
use crate::git::discover::{WORKFLOW_PARAM, WorkflowFolder, refuse_link};
use crate::secrets::OpenSecrets;
use reconciler_core::build::job::LaidFile;
use reconciler_core::build::verdict::lacks;
use reconciler_core::desired::ami_name::NameParts;
use reconciler_core::desired::inputs::{StepContent, sort_files, value_digest};
use reconciler_core::desired::step::{Desire, DesiredStep, SourceImage};
use reconciler_core::plan::planner::{Desires, Outline};
use reconciler_core::workflow::context::WorkflowContext;
use reconciler_core::workflow::settings::{SETTINGS, Settings};
use reconciler_core::workflow::step::Folder;
use reconciler_core::workflow::{
    BrokenStep, Step, Switches, WorkflowParams, graph, odd, params, step,
};
use reconciler_hcl::{LocalExec, Template};
use reconciler_jinja::Engine;
use reconciler_model::components::{Components, Fingerprint};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::ids::{AmiName, Region, Revision, StepId, WorkflowId};
use reconciler_model::images::Image;
use reconciler_model::source::{
    Entry, EntryKind, Files, GitTree, ObjectId, SourceError, SourceFile,
};

/// A step with its files.
#[derive(Debug)]
pub struct LoadedStep {
    /// Parameters and switches.
    pub step: Step,
    /// All files of its folder.
    pub files: Files,
    /// What `include` names, by path from the root.
    pub included: Files,
}

impl LoadedStep {
    fn has_own_switches(&self) -> bool {
        self.step.written.as_ref().is_some_and(|written| written.has_own_switches)
    }

    /// As `desired` takes it.
    #[must_use]
    pub fn content(&self) -> StepContent<'_> {
        StepContent { step: &self.step, files: &self.files, included: &self.included }
    }

    /// The files that are laid out for a build, by path from the repository's root.
    pub fn laid_files(&self) -> Result<BTreeMap<String, LaidFile>, Diagnostic> {
        let counted = sort_files(self.content())?.counted.into_iter();
        let files = counted.map(|(path, file)| {
            let path = match path.strip_prefix('/') {
                Some(from_root) => from_root.to_owned(),
                None => format!("{}/{path}", self.step.folder),
            };
            let executable = file.kind == EntryKind::Executable;
            (path, LaidFile { executable, content: file.content.clone() })
        });
        Ok(files.collect())
    }
}

/// A workflow at a commit.
pub struct Checkout {
    /// The commit.
    pub revision: Revision,
    /// The workflow's folder.
    pub folder: String,
    /// Its parameters.
    pub params: WorkflowParams,
    /// The blob that they stand in.
    pub params_id: ObjectId,
    /// What is worth a word.
    pub warnings: Vec<Diagnostic>,
    /// Sound steps, parents before children.
    pub outlines: Vec<Outline>,
    /// The others.
    pub broken: BTreeMap<StepId, Vec<Diagnostic>>,
    /// Whether its templates may run programs on the build host.
    pub local_exec: LocalExec,
    tree: Arc<dyn GitTree>,
    /// The blob of `reconciler.json`.
    settings_id: Option<ObjectId>,
    slots: HashMap<StepId, Box<Slot>>,
    /// Sub-folders that are no steps.
    others: Vec<(String, ObjectId)>,
    /// Folders of which something is told: they are read anew each time.
    told: BTreeSet<String>,
    /// Whether all of it was known before.
    is_kept: bool,
}

/// A step folder, read when it is first needed.
struct Slot {
    path: String,
    tree: ObjectId,
    /// Whether its own file has switches.
    has_own_switches: bool,
    includes: Vec<String>,
    included: Vec<Entry>,
    known: Option<Known>,
    loaded: OnceLock<Box<LoadedStep>>,
}

/// Reads only a workflow's parameters: enough to open its ports.
pub fn read_params(
    tree: &dyn GitTree,
    folder: &WorkflowFolder,
) -> Result<(WorkflowParams, Vec<Diagnostic>), CheckoutError> {
    let path = format!("{}/{WORKFLOW_PARAM}", folder.path);
    let bytes = tree.blob(folder.params, &path)?;
    let (mut params, warnings) = params::read(path.trim_start_matches('/'), &bytes)?;
    reconciler_core::images::tags::check_tags(&params.aws_tags, &path)?;
    if let Some(settings) = &folder.settings {
        let path = format!("{}/{SETTINGS}", folder.path);
        let path = path.trim_start_matches('/');
        refuse_link(settings, path, "settings")?;
        let bytes = tree.blob(settings.id, path)?;
        params.settings = Settings::read(path, &bytes, &params.workflow_id)?;
    }
    Ok((params, warnings))
}

/// Why a workflow as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// Git.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// `workflow_param.json`, or `reconciler.json` beside it.
    #[error(transparent)]
    Params(#[from] Diagnostic),
}

impl From<CheckoutError> for crate::controller::error::PassError {
    fn from(error: CheckoutError) -> Self {
        match error {
            CheckoutError::Source(error) => Self::Source(error),
            CheckoutError::Params(diagnostic) => Self::Person(diagnostic),
        }
    }
}

impl Checkout {
    /// Reads a workflow. Step folders whose trees are among those `kept` are not read before they
    /// are needed.
    pub fn read(
        tree: &Arc<dyn GitTree>,
        folder: &WorkflowFolder,
        kept: Kept,
    ) -> Result<Self, CheckoutError> {
        Self::read_further(tree, folder, read_params(tree.as_ref(), folder)?, kept)
    }

    /// The same of a workflow whose parameters were read, with what is worth a word of them.
    pub fn read_further(
        tree: &Arc<dyn GitTree>,
        folder: &WorkflowFolder,
        (params, mut warnings): (WorkflowParams, Vec<Diagnostic>),
        kept: Kept,
    ) -> Result<Self, CheckoutError> {
        warnings.extend(folder.odd.iter().cloned());
        // Other settings may count other files.
        let settings_id = folder.settings.as_ref().map(|entry| entry.id);
        let kept = if kept.settings == settings_id { kept } else { Kept::default() };
        let settings = &params.settings;
        let mut reading = Reading::new(tree.as_ref(), folder, settings, kept.rows.len());
        let mut rows = kept.rows.into_iter().peekable();
        for (name, id) in &folder.folders {
            while rows.next_if(|row| precedes(&row.name, name)).is_some() {
                reading.is_kept = false;
            }
            let row = rows.next_if(|row| row.name == *name && row.tree == *id);
            reading.take(name, *id, row)?;
        }
        reading.is_kept &= rows.next().is_none();
        for entry in &folder.unread {
            reading.take_unread(entry)?;
        }
        warnings.append(&mut reading.odd);
        warnings.extend(odd::own_switches(&reading.own_switches));
        reading.check_settings()?;
        let Reading {
            ranks, steps, mut outlines, slots, others, broken, told, mut is_kept, ..
        } = reading;
        let mut by_id: BTreeMap<StepId, Vec<Diagnostic>> = BTreeMap::new();
        let outlines = if is_kept && kept.ordered && broken.is_empty() {
            in_order(outlines, &ranks)
        } else {
            let (steps, broken) = graph::order(
                steps
                    .into_iter()
                    .zip(&outlines)
                    .map(|(step, outline)| step.unwrap_or_else(|| sketch(outline)))
                    .collect(),
                broken,
            );
            is_kept &= kept.ordered == broken.is_empty();
            for BrokenStep { id, why, .. } in broken {
                by_id.entry(id).or_default().extend(why);
            }
            let mut of: HashMap<StepId, Outline> =
                outlines.drain(..).map(|outline| (outline.id.clone(), outline)).collect();
            steps.iter().filter_map(|step| of.remove(&step.id)).collect()
        };
        Ok(Self {
            revision: tree.revision().clone(),
            folder: folder.path.clone(),
            params,
            params_id: folder.params,
            settings_id,
            warnings,
            outlines,
            broken: by_id,
            local_exec: LocalExec::Allowed,
            tree: Arc::clone(tree),
            slots,
            others,
            told,
            is_kept,
        })
    }

    /// Holds its templates to what the repository may do on the build host.
    #[must_use]
    pub fn with_local_exec(mut self, local_exec: &LocalExec) -> Self {
        self.local_exec = local_exec.clone();
        self
    }

    /// A step with its files; none if there is no such step, or git cannot be read any more.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&LoadedStep> {
        self.load(id).ok()
    }

    /// A step with its files.
    pub fn load(&self, id: &StepId) -> Result<&LoadedStep, Diagnostic> {
        let slot = self
            .slots
            .get(id)
            .ok_or_else(|| Diagnostic::new(format!("there is no step `{id}`")))?;
        if let Some(loaded) = slot.loaded.get() {
            return Ok(loaded);
        }
        match load(self.tree.as_ref(), &slot.path, slot.tree, &self.params.settings) {
            Ok((Some(step), _)) => Ok(slot.loaded.get_or_init(|| Box::new(step))),
            Ok((None, _)) => Err(Diagnostic::new("is no step any more").in_file(slot.path.clone())),
            Err(LoadError::Broken(step)) => Err(step
                .why
                .into_iter()
                .next()
                .unwrap_or_else(|| Diagnostic::new("is broken").in_file(slot.path.clone()))),
            Err(LoadError::Source(error)) => Err(Diagnostic::new(error.to_string())),
        }
    }
}

/// Step folders as they are taken in, in git's order.
struct Reading<'a> {
    tree: &'a dyn GitTree,
    folder: &'a str,
    settings: &'a Settings,
    /// The folders of steps whose own files have switches.
    own_switches: Vec<String>,
    /// The ranks of the outlines, where all were kept.
    ranks: Vec<u32>,
    /// What the graph is asked about; none for a step that was kept, of which [`sketch`] makes one
    /// where it is needed.
    steps: Vec<Option<Step>>,
    outlines: Vec<Outline>,
    slots: HashMap<StepId, Box<Slot>>,
    others: Vec<(String, ObjectId)>,
    broken: Vec<BrokenStep>,
    odd: Vec<Diagnostic>,
    told: BTreeSet<String>,
    is_kept: bool,
}

impl<'a> Reading<'a> {
    fn new(
        tree: &'a dyn GitTree,
        folder: &'a WorkflowFolder,
        settings: &'a Settings,
        kept: usize,
    ) -> Self {
        let most = folder.folders.len();
        Self {
            tree,
            folder: &folder.path,
            settings,
            own_switches: Vec::new(),
            ranks: Vec::with_capacity(kept),
            steps: Vec::with_capacity(most),
            outlines: Vec::with_capacity(most),
            slots: HashMap::with_capacity(most),
            others: Vec::new(),
            broken: Vec::new(),
            odd: Vec::new(),
            told: BTreeSet::new(),
            is_kept: true,
        }
    }

    fn take(&mut self, name: &str, id: ObjectId, row: Option<Row>) -> Result<(), CheckoutError> {
        let path = if self.folder.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.folder)
        };
        match row.map(|row| row.step) {
            Some(None) => self.others.push((name.to_owned(), id)),
            Some(Some(step)) => match entries(self.tree, &step.includes)? {
                Some(included) => self.keep(path, id, step, included),
                // Something that it includes is gone.
                None => self.load(name, path, id)?,
            },
            None => self.load(name, path, id)?,
        }
        Ok(())
    }

    /// A step whose id could not be read, for which its folder's name stands, may be any that the
    /// settings name.
    fn check_settings(&self) -> Result<(), Diagnostic> {
        let is_nameless = |one: &BrokenStep| one.folder.rsplit('/').next() == Some(one.id.as_str());
        if self.broken.iter().any(is_nameless) {
            return Ok(());
        }
        let sound = self.outlines.iter().map(|outline| &outline.id);
        self.settings.check_steps(&sound.chain(self.broken.iter().map(|one| &one.id)).collect())
    }

    fn keep(&mut self, path: String, tree: ObjectId, kept: KeptStep, included: Vec<Entry>) {
        let mut outline = kept.outline;
        outline.folder.clone_from(&path);
        if kept.has_own_switches {
            self.own_switches.push(path.clone());
        }
        let slot = Slot {
            path,
            tree,
            has_own_switches: kept.has_own_switches,
            includes: kept.includes,
            included,
            known: kept.known,
            loaded: OnceLock::new(),
        };
        self.ranks.push(kept.rank);
        self.put(None, outline, slot);
    }

    fn load(&mut self, name: &str, path: String, tree: ObjectId) -> Result<(), CheckoutError> {
        let read = load(self.tree, &path, tree, self.settings).map(|(loaded, odd)| {
            if !odd.is_empty() {
                self.told.insert(name.to_owned());
            }
            self.odd.extend(odd);
            loaded
        });
        match read {
            Ok(Some(loaded)) => {
                self.is_kept = false;
                let includes = loaded.step.switches.include.clone();
                let has_own_switches = loaded.has_own_switches();
                if has_own_switches {
                    self.own_switches.push(path.clone());
                }
                let slot = Slot {
                    path,
                    tree,
                    has_own_switches,
                    included: entries(self.tree, &includes)?.unwrap_or_default(),
                    includes,
                    known: None,
                    loaded: OnceLock::new(),
                };
                let (step, outline) = (loaded.step.clone(), outline(&loaded.step));
                let slot = Slot { loaded: OnceLock::from(Box::new(loaded)), ..slot };
                self.put(Some(step), outline, slot);
            }
            Ok(None) => {
                self.is_kept = false;
                self.others.push((name.to_owned(), tree));
            }
            // Read anew at every pass: what is wrong with it has to be told.
            Err(LoadError::Broken(step)) => self.broken.push(step),
            Err(LoadError::Source(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// What stands among the steps and is no folder of this commit. A link to what is a step in its
    /// own right is a second name.
    fn take_unread(&mut self, entry: &Entry) -> Result<(), CheckoutError> {
        let path = match self.folder {
            "" => entry.name.clone(),
            folder => format!("{folder}/{}", entry.name),
        };
        let why = if entry.kind == EntryKind::Submodule {
            Diagnostic::new("is a submodule, whose files are not in this repository")
        } else {
            let target = self.tree.blob(entry.id, &path)?;
            let target = String::from_utf8_lossy(&target).into_owned();
            let Some(to) = followed(self.folder, &target) else {
                return Ok(());
            };
            let is_step = |folder: &str| -> Result<bool, SourceError> {
                let names =
                    ["step_param.json", "param.json"].map(|name| format!("{folder}/{name}"));
                Ok(self.tree.entry(&names[0])?.is_some() || self.tree.entry(&names[1])?.is_some())
            };
            let is_beside = to.rsplit_once('/').map_or("", |(above, _)| above) == self.folder;
            if is_beside || !is_step(&to)? {
                return Ok(());
            }
            Diagnostic::new(format!("is a symbolic link to {to}, which is not followed"))
        };
        self.broken.push(BrokenStep {
            id: StepId::new(entry.name.clone()),
            folder: path.clone(),
            why: vec![
                why.in_file(path).hint("commit the folder itself, or name it under `exclude`"),
            ],
        });
        Ok(())
    }

    fn put(&mut self, step: Option<Step>, outline: Outline, slot: Slot) {
        self.slots.insert(outline.id.clone(), Box::new(slot));
        self.steps.push(step);
        self.outlines.push(outline);
    }
}

/// Where a link in a folder leads to, within the repository.
fn followed(folder: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

/// Whether a folder stands before another in git's order, in which a folder's name ends with a
/// slash.
fn precedes(a: &str, b: &str) -> bool {
    a.bytes().chain([b'/']).lt(b.bytes().chain([b'/']))
}

/// What the graph asks of a step; the rest is read when it is needed.
fn sketch(outline: &Outline) -> Step {
    Step {
        id: outline.id.clone(),
        folder: outline.folder.clone(),
        parent: outline.parent.clone(),
        values: serde_json::Map::new(),
        switches: Switches {
            manual: outline.manual,
            suspend: outline.suspend,
            ..Switches::default()
        },
        written: None,
    }
}

/// Puts outlines in the order of their ranks.
fn in_order(outlines: Vec<Outline>, ranks: &[u32]) -> Vec<Outline> {
    let mut ranked: Vec<_> = ranks.iter().zip(outlines).collect();
    ranked.sort_by_key(|(rank, _)| **rank);
    ranked.into_iter().map(|(_, outline)| outline).collect()
}

/// The objects at these paths; none if one is not there.
fn entries(tree: &dyn GitTree, paths: &[String]) -> Result<Option<Vec<Entry>>, SourceError> {
    paths.iter().map(|path| tree.entry(path)).collect()
}

fn outline(step: &Step) -> Outline {
    Outline {
        id: step.id.clone(),
        folder: step.folder.clone(),
        parent: step.parent.clone(),
        manual: step.switches.manual,
        suspend: step.switches.suspend,
        metadata_digest: value_digest(&metadata(step)),
    }
}

/// The step's metadata as the record keeps it.
#[must_use]
pub fn metadata(step: &Step) -> serde_json::Value {
    step.values.get("metadata").cloned().unwrap_or_else(|| serde_json::json!({}))
}

enum LoadError {
    Broken(BrokenStep),
    Source(SourceError),
}

fn load(
    tree: &dyn GitTree,
    path: &str,
    id: reconciler_model::source::ObjectId,
    settings: &Settings,
) -> Result<(Option<LoadedStep>, Vec<Diagnostic>), LoadError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let broken = |id: &str, why| {
        LoadError::Broken(BrokenStep {
            id: StepId::new(id),
            folder: path.to_owned(),
            why: vec![why],
        })
    };
    let files = match tree.files(id, path) {
        Ok(files) => files,
        Err(SourceError::Person(why)) => return Err(broken(name, why)),
        Err(error) => return Err(LoadError::Source(error)),
    };
    let step = match step::read(path, &files, settings) {
        Folder::Step(step) => *step,
        Folder::Broken(step) => return Err(LoadError::Broken(step)),
        Folder::NoStep => return Ok((None, odd::warnings(path, &files, false))),
    };
    match include(tree, &step) {
        Ok(included) => {
            let odd = odd::warnings(path, &files, true);
            let loaded = LoadedStep { step, files, included };
            Ok((Some(loaded), odd))
        }
        Err(SourceError::Person(why)) => Err(broken(step.id.as_str(), why)),
        Err(error) => Err(LoadError::Source(error)),
    }
}

fn include(tree: &dyn GitTree, step: &Step) -> Result<Files, SourceError> {
    let mut included = Files::new();
    // It counts for nothing, and no build needs it.
    let settings = match step.folder.rsplit_once('/') {
        Some((workflow, _)) => format!("{workflow}/{SETTINGS}"),
        None => SETTINGS.to_owned(),
    };
    for path in &step.switches.include {
        let Some(entry) = tree.entry(path)? else {
            let wrong = Diagnostic::new(format!(
                "`include` names {path}, and there is no such file or folder at this commit"
            ))
            .in_file(format!("{}/step_param.json", step.folder))
            .hint("paths are from the repository's root");
            return Err(SourceError::Person(wrong));
        };
        if entry.kind == EntryKind::Tree {
            let own = format!("{}/", step.folder);
            let below = tree.files(entry.id, path)?;
            let is_settings = |name: &str| {
                let above = name.strip_suffix(SETTINGS);
                above.is_some_and(|above| below.contains_key(&format!("{above}{WORKFLOW_PARAM}")))
            };
            let counted = below.iter().filter(|(name, _)| !is_settings(name));
            let counted = counted.map(|(name, file)| (format!("{path}/{name}"), file.clone()));
            included.extend(counted.filter(|(path, _)| !path.starts_with(&own)));
        } else if *path != settings {
            let content = tree.blob(entry.id, path)?;
            included.insert(path.clone(), SourceFile { kind: entry.kind, id: entry.id, content });
        }
    }
    Ok(included)
}

/// A checkout with all that rendering takes. A plan is made with one, and what it decides is built
/// from the same one: nothing of it is read again in between.
pub struct Desired {
    /// The workflow.
    pub checkout: Arc<Checkout>,
    /// Templates.
    engine: Engine,
    /// Where images are made.
    pub region: Region,
    /// Template of image names.
    pub name_template: String,
    /// Where the first steps start.
    pub root_base: SourceImage,
    /// What templates see of the workflow.
    pub context: WorkflowContext,
    /// Secrets, with what may be known of them.
    pub secrets: Arc<OpenSecrets>,
    /// Workflow parameters and settings, for the cache.
    inputs: Digest,
    /// Fingerprints that were worked out.
    fresh: BTreeMap<StepId, Known>,
    /// Desired states that were worked out, each with its source image.
    states: HashMap<StepId, (SourceImage, DesiredStep)>,
    /// Rendered files that were looked at, with their source images and the names of their images.
    templates: HashMap<StepId, (SourceImage, AmiName, Template)>,
}

impl Desired {
    /// All that rendering takes of a workflow, its settings, and the image that its first steps
    /// start from.
    #[must_use]
    pub fn new(
        checkout: &Arc<Checkout>,
        engine: &Engine,
        region: &Region,
        name_template: &str,
        root_base: &SourceImage,
    ) -> Self {
        let mut inputs = Encoder::new("workflow inputs");
        inputs
            .field(&checkout.params_id.0)
            .field(region.as_str().as_bytes())
            .field(name_template.as_bytes())
            .field(root_base.id.as_str().as_bytes())
            .field(root_base.name.as_str().as_bytes());
        // What was worked out under another rule was not held to this one.
        if let LocalExec::Denied { plugins } = &checkout.local_exec {
            inputs.field(b"local exec denied");
            for plugin in plugins {
                inputs.field(plugin.as_bytes());
            }
        }
        Self {
            checkout: Arc::clone(checkout),
            engine: engine.clone(),
            region: region.clone(),
            name_template: name_template.to_owned(),
            root_base: root_base.clone(),
            context: WorkflowContext::new(&checkout.params, region.as_str()),
            secrets: Arc::default(),
            inputs: inputs.finish(),
            fresh: BTreeMap::new(),
            states: HashMap::new(),
            templates: HashMap::new(),
        }
    }

    /// With secrets.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<OpenSecrets>) -> Self {
        self.context = self.context.with_secrets(secrets.sealed());
        if let Some(digest) = secrets.sealed().digest() {
            let mut inputs = Encoder::new("workflow inputs and secrets");
            inputs.field(self.inputs.as_bytes()).field(digest.as_bytes());
            self.inputs = inputs.finish();
        }
        self.secrets = secrets;
        self
    }

    /// What is to be kept for the next time; none if all of it was known.
    #[must_use]
    pub fn to_keep(&self) -> Option<Kept> {
        let checkout = &self.checkout;
        if checkout.is_kept && self.fresh.is_empty() {
            return None;
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let steps = checkout.outlines.iter().zip(0..);
        let steps = steps.filter_map(|(outline, rank)| {
            let slot = checkout.slots.get(&outline.id)?;
            let known = self.fresh.get(&outline.id).or(slot.known.as_ref());
            Some(Row {
                name: name(&slot.path),
                tree: slot.tree,
                step: Some(KeptStep {
                    outline: outline.clone(),
                    includes: slot.includes.clone(),
                    has_own_switches: slot.has_own_switches,
                    rank,
                    known: known.cloned(),
                }),
            })
        });
        let others = checkout.others.iter().map(|(name, tree)| Row {
            name: name.clone(),
            tree: *tree,
            step: None,
        });
        let rows = steps.chain(others);
        let mut rows: Vec<Row> = rows.filter(|row| !checkout.told.contains(&row.name)).collect();
        rows.sort_by(
            |a, b| {
                if precedes(&a.name, &b.name) { Ordering::Less } else { Ordering::Greater }
            },
        );
        let settings = checkout.settings_id;
        Some(Kept { rows, ordered: checkout.broken.is_empty(), settings })
    }

    /// All that one step's rendering takes.
    #[must_use]
    pub fn desire(&self) -> Desire<'_> {
        Desire {
            engine: &self.engine,
            params: &self.checkout.params,
            context: &self.context,
            region: &self.region,
            name_template: &self.name_template,
            root_base_ami_name: self.root_base.name.as_str(),
            local_exec: &self.checkout.local_exec,
            secrets: self.secrets.sealed(),
        }
    }

    /// The parts of the names of a step's images, for which the step need not be read.
    fn names<'a>(&'a self, step_id: &'a StepId) -> NameParts<'a> {
        NameParts {
            template: &self.name_template,
            root_base_ami_name: self.root_base.name.as_str(),
            workflow_id: &self.checkout.params.workflow_id,
            step_id,
        }
    }

    /// The name for an image of this fingerprint: the `number`-th of it.
    pub fn image_name(
        &self,
        step: &StepId,
        fingerprint: &Fingerprint,
        number: u32,
    ) -> Result<AmiName, Diagnostic> {
        self.names(step).with_fingerprint(fingerprint, number)
    }

    /// The step's desired state on a source image.
    pub fn state(&self, id: &StepId, source: &SourceImage) -> Result<DesiredStep, Diagnostic> {
        match self.states.get(id) {
            Some((on, state)) if on == source => Ok(state.clone()),
            _ => self.desire().step(self.loaded(id)?.content(), source),
        }
    }

    /// The step's desired state, had its workflow been an earlier run of the family.
    pub fn state_as(
        &self,
        run: &WorkflowId,
        id: &StepId,
        source: &SourceImage,
    ) -> Result<DesiredStep, Diagnostic> {
        let mut params = self.checkout.params.clone();
        params.workflow_id = run.clone();
        params.values.insert("workflow_id".to_owned(), run.to_string().into());
        let context = WorkflowContext::new(&params, self.region.as_str());
        let context = context.with_secrets(self.secrets.sealed());
        let desire = Desire { params: &params, context: &context, ..self.desire() };
        desire.step(self.loaded(id)?.content(), source)
    }

    /// The same, to be asked for again.
    fn remembered_state(
        &mut self,
        id: &StepId,
        source: &SourceImage,
    ) -> Result<DesiredStep, Vec<Diagnostic>> {
        let state = self.state(id, source).map_err(|why| vec![why])?;
        self.states.insert(id.clone(), (source.clone(), state.clone()));
        Ok(state)
    }

    /// The step's rendered files, with the whole name of the image.
    pub fn template(
        &self,
        id: &StepId,
        source: &SourceImage,
        name: &AmiName,
    ) -> Result<Template, Diagnostic> {
        match self.templates.get(id) {
            Some((on, named, template)) if on == source && named == name => Ok(template.clone()),
            _ => self.desire().render(self.loaded(id)?.content(), source, name.as_str()),
        }
    }

    /// A step with its files.
    pub fn loaded(&self, id: &StepId) -> Result<&LoadedStep, Diagnostic> {
        self.checkout.step(id).ok_or_else(|| Diagnostic::new(format!("there is no step `{id}`")))
    }
}

impl Desires for Desired {
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>> {
        let slot = self.checkout.slots.get(&step.id);
        let inputs = slot.map_or(self.inputs, |slot| inputs_digest(&self.inputs, &slot.included));
        let holds = |known: &&Known| {
            known.inputs == inputs
                && known.source_ami == source.id
                && known.source_name == source.name
        };
        let known = slot.and_then(|slot| slot.known.as_ref()).filter(holds);
        if let Some(known) = known.or_else(|| self.fresh.get(&step.id).filter(holds)) {
            return Ok(known.fingerprint);
        }
        let fingerprint = self.remembered_state(&step.id, source)?.fingerprint;
        let known = Known {
            inputs,
            source_ami: source.id.clone(),
            source_name: source.name.clone(),
            fingerprint,
        };
        self.fresh.insert(step.id.clone(), known);
        Ok(fingerprint)
    }

    fn components(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Components, Vec<Diagnostic>> {
        self.remembered_state(&step.id, source).map(|state| state.components)
    }

    fn ami_name(
        &mut self,
        step: &Outline,
        fingerprint: &Fingerprint,
        rebuild: u32,
    ) -> Result<AmiName, Diagnostic> {
        self.image_name(&step.id, fingerprint, rebuild)
    }

    fn lacks(&mut self, step: &Outline, source: &SourceImage, image: &Image) -> Option<String> {
        match self.template(&step.id, source, &image.name) {
            Ok(template) => {
                // What it is compared with is kept nowhere.
                let lacking = lacks(image, &template.afterwards(|_| false));
                let looked_at = (source.clone(), image.name.clone(), template);
                self.templates.insert(step.id.clone(), looked_at);
                lacking
            }
            Err(why) => Some(why.one_line()),
        }
    }

    fn rebuild_of(
        &mut self,
        step: &Outline,
        fingerprint: &Fingerprint,
        name: &AmiName,
    ) -> Option<u32> {
        self.names(&step.id).rebuild_of(fingerprint, name)
    }
}
