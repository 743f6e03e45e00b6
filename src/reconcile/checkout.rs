//! A workflow at one commit: its steps, read as far as they are needed, and what each should be.
//!
//! Answers the planner's questions ([`Desires`]) by rendering. Reads git only, through its port.

use std::collections::{BTreeMap, HashMap};

use crate::desired::components::{Components, Fingerprint};
use crate::desired::inputs::{StepContent, value_digest};
use crate::desired::jinja::Engine;
use crate::desired::step::{Desire, DesiredStep, SourceImage};
use crate::diagnostic::Diagnostic;
use crate::ids::{AmiName, Region, Revision, StepId};
use crate::plan::planner::{Desires, Outline};
use crate::source::discover::{WORKFLOW_PARAM, WorkflowFolder};
use crate::source::{EntryKind, Files, GitTree, SourceError, SourceFile};
use crate::workflow::context::WorkflowContext;
use crate::workflow::step::Folder;
use crate::workflow::{BrokenStep, Step, WorkflowParams, graph, params, step};

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
    /// What is worth a word.
    pub warnings: Vec<Diagnostic>,
    /// Sound steps, parents before children.
    pub outlines: Vec<Outline>,
    /// The others.
    pub broken: BTreeMap<StepId, Vec<Diagnostic>>,
    loaded: HashMap<StepId, LoadedStep>,
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
    /// Reads a workflow.
    pub fn read(tree: &dyn GitTree, folder: &WorkflowFolder) -> Result<Self, CheckoutError> {
        let (params, warnings) = read_params(tree, folder)?;
        let mut loaded = HashMap::new();
        let mut steps = Vec::new();
        let mut broken = Vec::new();
        for (name, id) in &folder.folders {
            let path = if folder.path.is_empty() {
                name.clone()
            } else {
                format!("{}/{name}", folder.path)
            };
            match load(tree, &path, *id) {
                Ok(Some(step)) => {
                    steps.push(step.step.clone());
                    loaded.insert(step.step.id.clone(), step);
                }
                Ok(None) => {}
                Err(LoadError::Broken(step)) => broken.push(step),
                Err(LoadError::Source(error)) => return Err(error.into()),
            }
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
            warnings,
            outlines: steps.iter().map(outline).collect(),
            broken: by_id,
            loaded,
        })
    }

    /// A step with its files.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&LoadedStep> {
        self.loaded.get(id)
    }
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
        self.state(&step.id, source)
            .map(|state| state.fingerprint)
            .map_err(|why| vec![why])
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
