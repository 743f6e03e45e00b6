//! A workflow at one commit: its steps, read as far as they are needed, and what each should be.
//!
//! Answers the planner's questions ([`Desires`]) by rendering. Reads git only, through its port.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use crate::desired::components::{Components, Fingerprint};
use crate::desired::digest::{Digest, Encoder};
use crate::desired::hcl::LocalExec;
use crate::desired::inputs::{StepContent, value_digest};
use crate::desired::jinja::Engine;
use crate::desired::step::{Desire, DesiredStep, SourceImage};
use crate::diagnostic::Diagnostic;
use crate::ids::{AmiName, Region, Revision, StepId};
use crate::plan::planner::{Desires, Outline};
use crate::reconcile::cache::{Known, Row, inputs_digest};
use crate::secrets::OpenSecrets;
use crate::source::discover::{WORKFLOW_PARAM, WorkflowFolder};
use crate::source::{Entry, EntryKind, Files, GitTree, ObjectId, SourceError, SourceFile};
use crate::workflow::context::WorkflowContext;
use crate::workflow::step::Folder;
use crate::workflow::{BrokenStep, Step, Switches, WorkflowParams, graph, params, step};

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
    /// As `desired` takes it.
    #[must_use]
    pub fn content(&self) -> StepContent<'_> {
        StepContent {
            step: &self.step,
            files: &self.files,
            included: &self.included,
        }
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
    slots: HashMap<StepId, Slot>,
}

/// A step folder, read when it is first needed.
struct Slot {
    path: String,
    name: String,
    tree: ObjectId,
    includes: Vec<String>,
    included: Vec<Entry>,
    known: Option<Known>,
    is_cached: bool,
    loaded: OnceLock<LoadedStep>,
}

/// Reads only a workflow's parameters: enough to open its ports.
pub fn read_params(
    tree: &dyn GitTree,
    folder: &WorkflowFolder,
) -> Result<(WorkflowParams, Vec<Diagnostic>), CheckoutError> {
    let path = format!("{}/{WORKFLOW_PARAM}", folder.path);
    let bytes = tree.blob(folder.params, &path)?;
    let (params, warnings) = params::read(path.trim_start_matches('/'), &bytes)?;
    crate::catalog::tags::check_tags(&params.aws_tags, &path)?;
    Ok((params, warnings))
}

/// Why a workflow as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// Git.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// `workflow_param.json`.
    #[error(transparent)]
    Params(#[from] Diagnostic),
}

impl From<CheckoutError> for crate::reconcile::error::PassError {
    fn from(error: CheckoutError) -> Self {
        match error {
            CheckoutError::Source(error) => Self::Source(error),
            CheckoutError::Params(diagnostic) => Self::Person(diagnostic),
        }
    }
}

impl Checkout {
    /// Reads a workflow. Steps whose trees are in `cached` are not read before they are needed.
    pub fn read(
        tree: &Arc<dyn GitTree>,
        folder: &WorkflowFolder,
        mut cached: HashMap<String, Row>,
    ) -> Result<Self, CheckoutError> {
        let (params, warnings) = read_params(tree.as_ref(), folder)?;
        let mut slots = HashMap::with_capacity(folder.folders.len());
        let mut steps = Vec::with_capacity(folder.folders.len());
        let mut outlines = HashMap::with_capacity(folder.folders.len());
        let mut broken = Vec::new();
        for (name, id) in &folder.folders {
            let path = if folder.path.is_empty() {
                name.clone()
            } else {
                format!("{}/{name}", folder.path)
            };
            let row = cached.remove(name).filter(|row| row.tree == *id);
            let slot = match row {
                Some(row) => from_row(tree.as_ref(), path.clone(), row)?,
                None => None,
            };
            let (step, outline, slot) = match slot {
                Some(found) => found,
                None => match load(tree.as_ref(), &path, *id) {
                    Ok(Some(step)) => from_load(tree.as_ref(), path, name, *id, step)?,
                    Ok(None) => continue,
                    Err(LoadError::Broken(step)) => {
                        broken.push(step);
                        continue;
                    }
                    Err(LoadError::Source(error)) => return Err(error.into()),
                },
            };
            outlines.insert(step.id.clone(), outline);
            slots.insert(step.id.clone(), slot);
            steps.push(step);
        }
        let (steps, broken) = graph::order(steps, broken);
        let mut by_id: BTreeMap<StepId, Vec<Diagnostic>> = BTreeMap::new();
        for BrokenStep { id, why, .. } in broken {
            by_id.entry(id).or_default().extend(why);
        }
        Ok(Self {
            revision: tree.revision().clone(),
            folder: folder.path.clone(),
            params,
            params_id: folder.params,
            warnings,
            outlines: steps
                .iter()
                .filter_map(|step| outlines.remove(&step.id))
                .collect(),
            broken: by_id,
            local_exec: LocalExec::Allowed,
            tree: Arc::clone(tree),
            slots,
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
        match load(self.tree.as_ref(), &slot.path, slot.tree) {
            Ok(Some(step)) => Ok(slot.loaded.get_or_init(|| step)),
            Ok(None) => Err(Diagnostic::new("is no step any more").in_file(slot.path.clone())),
            Err(LoadError::Broken(step)) => Err(step
                .why
                .into_iter()
                .next()
                .unwrap_or_else(|| Diagnostic::new("is broken").in_file(slot.path.clone()))),
            Err(LoadError::Source(error)) => Err(Diagnostic::new(error.to_string())),
        }
    }
}

type Found = (Step, Outline, Slot);

/// A step as the cache knows it; none if something that it includes is gone.
fn from_row(tree: &dyn GitTree, path: String, row: Row) -> Result<Option<Found>, SourceError> {
    let Some(included) = entries(tree, &row.includes)? else {
        return Ok(None);
    };
    let mut outline = row.outline;
    outline.folder.clone_from(&path);
    // What the graph asks of a step; the rest is read when it is needed.
    let step = Step {
        id: outline.id.clone(),
        folder: path.clone(),
        parent: outline.parent.clone(),
        values: serde_json::Map::new(),
        switches: Switches {
            manual: outline.manual,
            suspend: outline.suspend,
            ..Switches::default()
        },
    };
    let slot = Slot {
        path,
        name: row.name,
        tree: row.tree,
        includes: row.includes,
        included,
        known: row.known,
        is_cached: true,
        loaded: OnceLock::new(),
    };
    Ok(Some((step, outline, slot)))
}

fn from_load(
    tree: &dyn GitTree,
    path: String,
    name: &str,
    id: ObjectId,
    loaded: LoadedStep,
) -> Result<Found, SourceError> {
    let includes = loaded.step.switches.include.clone();
    let included = entries(tree, &includes)?.unwrap_or_default();
    let outline = outline(&loaded.step);
    let step = loaded.step.clone();
    let slot = Slot {
        path,
        name: name.to_owned(),
        tree: id,
        includes,
        included,
        known: None,
        is_cached: false,
        loaded: OnceLock::from(loaded),
    };
    Ok((step, outline, slot))
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
    step.values
        .get("metadata")
        .cloned()
        .unwrap_or_else(|| serde_json::json!({}))
}

enum LoadError {
    Broken(BrokenStep),
    Source(SourceError),
}

fn load(
    tree: &dyn GitTree,
    path: &str,
    id: crate::source::ObjectId,
) -> Result<Option<LoadedStep>, LoadError> {
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
    let step = match step::read(path, &files) {
        Folder::Step(step) => *step,
        Folder::Broken(step) => return Err(LoadError::Broken(step)),
        Folder::NoStep => return Ok(None),
    };
    match include(tree, &step) {
        Ok(included) => Ok(Some(LoadedStep {
            step,
            files,
            included,
        })),
        Err(SourceError::Person(why)) => Err(broken(step.id.as_str(), why)),
        Err(error) => Err(LoadError::Source(error)),
    }
}

fn include(tree: &dyn GitTree, step: &Step) -> Result<Files, SourceError> {
    let mut included = Files::new();
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
            let below = below
                .into_iter()
                .map(|(name, file)| (format!("{path}/{name}"), file));
            included.extend(below.filter(|(path, _)| !path.starts_with(&own)));
        } else {
            let content = tree.blob(entry.id, path)?;
            included.insert(
                path.clone(),
                SourceFile {
                    kind: entry.kind,
                    id: entry.id,
                    content,
                },
            );
        }
    }
    Ok(included)
}

/// A checkout with all that rendering takes.
pub struct Desired<'a> {
    /// The workflow.
    pub checkout: &'a Checkout,
    /// Templates.
    pub engine: &'a Engine,
    /// Where images are made.
    pub region: &'a Region,
    /// Template of image names.
    pub name_template: &'a str,
    /// Where the first steps start.
    pub root_base: &'a SourceImage,
    /// What templates see of the workflow.
    pub context: WorkflowContext,
    /// The digests under recorded fingerprints, as far as they were read.
    pub recorded: HashMap<StepId, Components>,
    /// Secrets, with what may be known of them.
    pub secrets: Arc<OpenSecrets>,
    /// Workflow parameters and settings, for the cache.
    inputs: Digest,
    /// Fingerprints that were worked out.
    fresh: BTreeMap<StepId, Known>,
}

impl<'a> Desired<'a> {
    /// All that rendering takes of a workflow, its settings, and the image that its first steps start from.
    #[must_use]
    pub fn new(
        checkout: &'a Checkout,
        engine: &'a Engine,
        region: &'a Region,
        name_template: &'a str,
        root_base: &'a SourceImage,
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
            plugins.iter().for_each(|plugin| {
                inputs.field(plugin.as_bytes());
            });
        }
        Self {
            checkout,
            engine,
            region,
            name_template,
            root_base,
            context: WorkflowContext::new(&checkout.params, region.as_str()),
            recorded: HashMap::new(),
            secrets: Arc::default(),
            inputs: inputs.finish(),
            fresh: BTreeMap::new(),
        }
    }

    /// With secrets.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Arc<OpenSecrets>) -> Self {
        self.context = self.context.with_secrets(secrets.sealed());
        if let Some(digest) = secrets.sealed().digest() {
            let mut inputs = Encoder::new("workflow inputs and secrets");
            inputs
                .field(self.inputs.as_bytes())
                .field(digest.as_bytes());
            self.inputs = inputs.finish();
        }
        self.secrets = secrets;
        self
    }

    /// What the cache does not know yet.
    #[must_use]
    pub fn fresh_rows(&self) -> Vec<Row> {
        let rows = self.checkout.outlines.iter().filter_map(|outline| {
            let slot = self.checkout.slots.get(&outline.id)?;
            let known = self.fresh.get(&outline.id).cloned();
            if known.is_none() && slot.is_cached {
                return None;
            }
            let (name, includes) = (slot.name.clone(), slot.includes.clone());
            Some(Row {
                name,
                tree: slot.tree,
                outline: outline.clone(),
                includes,
                known,
            })
        });
        rows.collect()
    }
}

impl Desired<'_> {
    /// All that one step's rendering takes.
    #[must_use]
    pub fn desire(&self) -> Desire<'_> {
        Desire {
            engine: self.engine,
            params: &self.checkout.params,
            context: &self.context,
            region: self.region,
            name_template: self.name_template,
            root_base_ami_name: self.root_base.name.as_str(),
            local_exec: &self.checkout.local_exec,
            secrets: self.secrets.sealed(),
        }
    }

    /// The step's desired state on a source image.
    pub fn state(&self, id: &StepId, source: &SourceImage) -> Result<DesiredStep, Diagnostic> {
        self.desire().step(self.loaded(id)?.content(), source)
    }

    /// A step with its files.
    pub fn loaded(&self, id: &StepId) -> Result<&LoadedStep, Diagnostic> {
        self.checkout
            .step(id)
            .ok_or_else(|| Diagnostic::new(format!("there is no step `{id}`")))
    }
}

impl Desires for Desired<'_> {
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>> {
        let slot = self.checkout.slots.get(&step.id);
        let inputs = slot.map_or(self.inputs, |slot| {
            inputs_digest(&self.inputs, &slot.included)
        });
        let holds =
            |known: &&Known| known.inputs == inputs && known.source_ami == source.id.as_str();
        let known = slot.and_then(|slot| slot.known.as_ref()).filter(holds);
        if let Some(known) = known.or_else(|| self.fresh.get(&step.id).filter(holds)) {
            return Ok(known.fingerprint);
        }
        let fingerprint = self
            .state(&step.id, source)
            .map_err(|why| vec![why])?
            .fingerprint;
        let known = Known {
            inputs,
            source_ami: source.id.to_string(),
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
        self.state(&step.id, source)
            .map(|state| state.components)
            .map_err(|why| vec![why])
    }

    fn recorded_components(&mut self, step: &Outline) -> Option<Components> {
        self.recorded.get(&step.id).cloned()
    }

    fn ami_name(
        &mut self,
        step: &Outline,
        fingerprint: &Fingerprint,
        rebuild: u32,
    ) -> Result<AmiName, Diagnostic> {
        let desire = self.desire();
        let content = self.loaded(&step.id)?.content();
        desire
            .name_parts(content)
            .with_fingerprint(fingerprint, rebuild)
    }

    fn rebuild_of(
        &mut self,
        step: &Outline,
        fingerprint: &Fingerprint,
        name: &AmiName,
    ) -> Option<u32> {
        let desire = self.desire();
        let content = self.checkout.step(&step.id)?.content();
        desire.name_parts(content).rebuild_of(fingerprint, name)
    }
}
