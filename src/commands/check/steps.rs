//! The steps of one workflow, as `check` looks at them: rendered on stand-ins for the images that
//! are not there, and read as Packer reads them.

use std::collections::BTreeSet;
use std::sync::Arc;

use reconciler::config::Config;
use reconciler::controller::checkout::{Checkout, Desired};
use reconciler::packer::validate;
use reconciler::secrets::OpenSecrets;
use reconciler_core::desired::ami_name::NameParts;
use reconciler_core::desired::inputs::{StepContent, is_template};
use reconciler_core::desired::step::SourceImage;
use reconciler_core::plan::planner::Outline;
use reconciler_core::workflow::RootBase;
use reconciler_hcl::{ReviewContext, Template, Wanted};
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, Region};

/// The image of a step that has none yet, or that nobody looked for.
const PARENTS_IMAGE: &str = "ami-00000000000000001";

/// The newest match of a pattern.
const NEWEST_IMAGE: &str = "ami-00000000000000000";

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) errors: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Steps that nothing was found against, as a build would find them.
    pub(crate) sound: Vec<validate::Step>,
}

/// Looks at all sound steps of a workflow.
pub(crate) fn check(
    checkout: &Arc<Checkout>,
    engine: &Engine,
    config: &Config,
    secrets: &Arc<OpenSecrets>,
) -> Found {
    let region = checkout.params.region.clone();
    let region = region.or_else(|| config.aws.region.clone());
    let is_known = region.is_some();
    let region = Region::new(region.unwrap_or_else(|| "us-east-1".to_owned()));
    let base = match &checkout.params.root_base {
        RootBase::Image { id, name } => {
            SourceImage { id: id.clone(), name: AmiName::new(name.clone()) }
        }
        RootBase::Pattern { pattern, .. } => SourceImage {
            id: AmiId::new(NEWEST_IMAGE),
            name: AmiName::new(pattern.replace(['*', '?'], "0")),
        },
    };
    let desired = Desired::new(checkout, engine, &region, &config.ami_name, &base)
        .with_secrets(Arc::clone(secrets));
    let steps = Steps {
        desired,
        base: &base,
        region: is_known.then_some(region.as_str()),
        environment: &config.packer.pass_env,
    };
    let mut found = Found::default();
    for step in &checkout.outlines {
        if let Err(why) = steps.check(step, &mut found) {
            found.errors.push(why);
        }
    }
    found
}

struct Steps<'a> {
    desired: Desired,
    base: &'a SourceImage,
    /// None: a build's environment says it.
    region: Option<&'a str>,
    environment: &'a [String],
}

impl Steps<'_> {
    fn check(&self, step: &Outline, found: &mut Found) -> Result<(), Diagnostic> {
        let source = self.source(step);
        let state = self.desired.state(&step.id, &source)?;
        if step.manual {
            return Ok(());
        }
        let loaded = self.desired.loaded(&step.id)?;
        let content = loaded.content();
        let name = self
            .desired
            .desire()
            .name_parts(content)
            .with_fingerprint(&state.fingerprint, 0)
            .map_err(|wrong| wrong.in_file(step.folder.clone()))?;
        let template = self.rendered(step, &source, name.as_str(), found)?;
        let before = found.errors.len();
        self.review(step, &template, found)?;
        // A template that names an image may branch on it: it has to be sound on that image as
        // well.
        for id in named_images(content) {
            let named = SourceImage { id: AmiId::new(&id), name: source.name.clone() };
            self.rendered(step, &named, name.as_str(), &mut Found::default()).map_err(
                |mut wrong| {
                    wrong.message = format!("{} (where the step starts from {id})", wrong.message);
                    wrong
                },
            )?;
        }
        if found.errors.len() == before {
            found.sound.push(validate::Step {
                folder: step.folder.clone(),
                files: loaded.laid_files()?,
                template,
                region: self.desired.region.as_str().to_owned(),
            });
        }
        Ok(())
    }

    /// What a step starts from: for all but the first ones an image that is nobody's, so that a
    /// template which names another one is found.
    fn source(&self, step: &Outline) -> SourceImage {
        let Some(parent) = &step.parent else {
            return self.base.clone();
        };
        let parts = NameParts {
            template: &self.desired.name_template,
            root_base_ami_name: self.base.name.as_str(),
            workflow_id: &self.desired.checkout.params.workflow_id,
            step_id: parent,
        };
        SourceImage {
            id: AmiId::new(PARENTS_IMAGE),
            name: AmiName::new(parts.without_fingerprint()),
        }
    }

    fn rendered(
        &self,
        step: &Outline,
        source: &SourceImage,
        name: &str,
        found: &mut Found,
    ) -> Result<Template, Diagnostic> {
        let content = self.desired.loaded(&step.id)?.content();
        let template = self.desired.desire().render(content, source, name)?;
        let wanted = Wanted {
            ami_name: Some(name),
            source_ami: (source.id.as_str() != NEWEST_IMAGE).then_some(source.id.as_str()),
            region: self.region,
        };
        match template.inspect(&wanted) {
            Ok(inspection) => {
                let warnings = inspection.warnings.into_iter();
                let warnings =
                    warnings.map(|warning| self.placed(step, content, &template, warning));
                found.warnings.extend(warnings);
            }
            Err(wrong) => return Err(self.placed(step, content, &template, wrong)),
        }
        Ok(template)
    }

    /// What Packer would say later.
    fn review(
        &self,
        step: &Outline,
        template: &Template,
        found: &mut Found,
    ) -> Result<(), Diagnostic> {
        let loaded = self.desired.loaded(&step.id)?;
        let files: BTreeSet<String> = loaded.laid_files()?.into_keys().collect();
        let around =
            ReviewContext { folder: &step.folder, files: &files, environment: self.environment };
        let wrong = template.review(&around)?;
        let wrong = wrong.into_iter();
        let wrong = wrong.map(|wrong| self.placed(step, loaded.content(), template, wrong));
        found.errors.extend(wrong);
        Ok(())
    }

    /// A message about a rendered file, with the step's folder and without secrets.
    fn placed(
        &self,
        step: &Outline,
        content: StepContent<'_>,
        template: &Template,
        wrong: Diagnostic,
    ) -> Diagnostic {
        let mut wrong = self.desired.desire().blotted(content, template.blotted(wrong));
        match &mut wrong.place {
            Some(place) => place.path = format!("{}/{} (rendered)", step.folder, place.path),
            None => wrong = wrong.in_file(step.folder.clone()),
        }
        wrong
    }
}

/// The ids of images that stand in a step's templates.
fn named_images(content: StepContent<'_>) -> BTreeSet<String> {
    const MOST: usize = 16;
    let templates = content.files.iter().filter(|(path, _)| is_template(path));
    let mut found = BTreeSet::new();
    for (_, file) in templates {
        let text = String::from_utf8_lossy(&file.content);
        for (at, prefix) in text.match_indices("ami-") {
            let digits = &text[at + prefix.len()..];
            let length = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
            if [8, 17].contains(&length) && found.len() < MOST {
                found.insert(format!("{prefix}{}", &digits[..length]));
            }
        }
    }
    found
}
