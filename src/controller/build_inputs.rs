//! What one build is made of, as the plan decided it. It is worked out by what the plan was made
//! with, from the same commit and the same values of secrets, and is carried to the start of the
//! build, which renders nothing.

use std::time::Duration;

use crate::controller::checkout::{Desired, LoadedStep};
use crate::controller::error::PassError;
use reconciler_core::build::job::{BuildJob, JobSecrets};
use reconciler_core::desired::step::{DesiredStep, SourceImage};
use reconciler_core::plan::decision::{Build, BuildSource, TakeOver};
use reconciler_core::secrets::placeholder;
use reconciler_hcl::{Inspection, Template};
use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiName, StepId};
use reconciler_model::secret_text::SecretText;

/// An image that a decision asks for.
#[derive(Clone, Copy)]
pub struct DecidedImage<'a> {
    /// The image that it starts from.
    pub source: &'a SourceImage,
    /// The desired state.
    pub fingerprint: &'a Fingerprint,
    /// Its name.
    pub ami_name: &'a AmiName,
    /// How many tries at this fingerprint have failed.
    pub attempt: u32,
}

impl<'a> DecidedImage<'a> {
    /// Of a build; `None` while its source image is not known.
    #[must_use]
    pub fn of_build(build: &'a Build) -> Option<Self> {
        match &build.source {
            BuildSource::Known { source, fingerprint, ami_name, attempt } => {
                Some(Self { source, fingerprint, ami_name, attempt: *attempt })
            }
            BuildSource::AfterBuild(_) => None,
        }
    }

    /// Of an image that is to be taken over.
    #[must_use]
    pub fn of_take_over(taken: &'a TakeOver) -> Self {
        let TakeOver { source, fingerprint, ami_name, attempt, .. } = taken;
        Self { source, fingerprint, ami_name, attempt: *attempt }
    }
}

/// What one build is made of.
pub struct BuildInputs<'a> {
    /// What was decided.
    pub image: DecidedImage<'a>,
    /// What the plan was made with.
    pub desired: &'a Desired,
    /// The step with its files.
    pub loaded: &'a LoadedStep,
    /// The digests of all that the fingerprint covers.
    pub state: DesiredStep,
    /// The rendered files, with the image's whole name.
    pub template: Template,
}

impl<'a> BuildInputs<'a> {
    /// Works them out for one step.
    pub fn of(
        desired: &'a Desired,
        step: &StepId,
        image: DecidedImage<'a>,
    ) -> Result<Self, Diagnostic> {
        let loaded = desired.loaded(step)?;
        let state = desired.state(step, image.source)?;
        if state.fingerprint != *image.fingerprint {
            // Git and the secrets are the plan's own, so it is what was kept of the step.
            return Err(Diagnostic::new(format!(
                "the files of {step} are not what the step cache says of them"
            ))
            .hint("remove the folder `cache` of the state folder: it is written anew"));
        }
        let template = desired.template(step, image.source, image.ami_name)?;
        Ok(Self { image, desired, loaded, state, template })
    }

    /// What the rendered files ask for, and all that must not be kept.
    pub fn secrets(&self) -> Result<JobSecrets, PassError> {
        let secrets = &self.desired.secrets;
        let names = secrets.sealed().names();
        let uses = placeholder::uses(self.template.texts().values());
        let uses: Vec<_> = uses.iter().filter(|one| names.contains(&one.name)).collect();
        let marks = &secrets.sealed().marks;
        let mut hidden: Vec<SecretText> = secrets.known().cloned().collect();
        hidden.extend(marks.values_of(&self.desired.checkout.params.values));
        hidden.extend(marks.values_of(&self.loaded.step.values));
        Ok(JobSecrets { asked: secrets.values_of(uses)?, hidden })
    }

    /// The job of a build of them.
    pub fn job(
        &self,
        inspection: Inspection,
        timeout: Duration,
        secrets: JobSecrets,
    ) -> Result<BuildJob, PassError> {
        Ok(BuildJob {
            workflow_id: self.desired.checkout.params.workflow_id.clone(),
            step_id: self.loaded.step.id.clone(),
            revision: self.desired.checkout.revision.clone(),
            region: self.desired.region.clone(),
            ami_name: self.image.ami_name.clone(),
            source_ami: self.image.source.id.clone(),
            step_folder: self.loaded.step.folder.clone(),
            files: self.loaded.laid_files()?,
            template: self.template.clone(),
            inspection,
            timeout,
            secrets,
        })
    }
}
