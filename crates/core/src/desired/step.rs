//! One step's desired state at a known source image: rendered files, components, fingerprint, name.
//!
//! Rendering happens twice: once with the image name less its fingerprint part, which is what
//! counts (the name contains the fingerprint, so the fingerprint cannot contain the name), and,
//! only when it is built or shown, with the whole name.

use std::collections::BTreeMap;

use crate::desired::ami_name::NameParts;
use crate::desired::inputs::{
    SortedFiles, StepContent, file_digest, param_digests, refuse_what_is_no_content, sort_files,
};
use crate::desired::secrecy::Secrecy;
use crate::secrets::redactor::Redactor;
use crate::secrets::secret_digests::SecretDigests;
use crate::workflow::WorkflowParams;
use crate::workflow::context::{ImageNames, WorkflowContext};
use reconciler_hcl::{LocalExec, StepFiles, Template};
use reconciler_jinja::{Engine, RenderError, TemplateSource};
use reconciler_model::components::{Components, Fingerprint};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::ids::{AmiId, AmiName, Region};
use reconciler_model::source::SourceFile;

/// The image that a step starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceImage {
    /// Its id.
    pub id: AmiId,
    /// Its name.
    pub name: AmiName,
}

/// What all steps of a workflow share.
pub struct Desire<'a> {
    /// The template engine.
    pub engine: &'a Engine,
    /// The workflow's parameters.
    pub params: &'a WorkflowParams,
    /// What templates see of them.
    pub context: &'a WorkflowContext,
    /// Where images are made.
    pub region: &'a Region,
    /// Template of image names.
    pub name_template: &'a str,
    /// The name of the image that the workflow starts from.
    pub root_base_ami_name: &'a str,
    /// Whether the rendered files may run programs on the build host.
    pub local_exec: &'a LocalExec,
    /// What may be known of secrets.
    pub secrets: &'a SecretDigests,
}

/// One step's desired state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredStep {
    /// The digest of each input.
    pub components: Components,
    /// The digest of them all.
    pub fingerprint: Fingerprint,
}

impl Desire<'_> {
    /// The fingerprint of a step that starts from `source`.
    pub fn step(
        &self,
        content: StepContent<'_>,
        source: &SourceImage,
    ) -> Result<DesiredStep, Diagnostic> {
        let files = sort_files(content)?;
        let name = self.name_parts(content).without_fingerprint();
        let template = self.render_sorted(content, &files, source, &name)?;
        let secrecy = Secrecy::new(self.secrets, self.params, content.step, &template);
        secrecy
            .refuse_what_shows_them()
            .map_err(|why| self.blotted(content, template.blotted(why)))?;
        let components = Components {
            identity: self.identity(content, &name),
            params: secrecy.param_digests(param_digests(&content.step.values))?,
            templates: secrecy.template_digests()?,
            secrets: secrecy.secret_digests()?,
            files: files
                .counted
                .iter()
                .map(|(path, file)| (path.clone(), file_digest(file)))
                .collect(),
            source_ami: source.id.clone(),
        };
        Ok(DesiredStep { fingerprint: components.fingerprint(), components })
    }

    /// The files as Packer will read them, with the image's whole name.
    pub fn render(
        &self,
        content: StepContent<'_>,
        source: &SourceImage,
        name: &str,
    ) -> Result<Template, Diagnostic> {
        self.render_sorted(content, &sort_files(content)?, source, name)
    }

    /// The parts of the names of a step's images.
    #[must_use]
    pub fn name_parts<'b>(&'b self, content: StepContent<'b>) -> NameParts<'b> {
        NameParts {
            template: self.name_template,
            root_base_ami_name: self.root_base_ami_name,
            workflow_id: &self.params.workflow_id,
            step_id: &content.step.id,
        }
    }

    /// A message about a step, without the secret parameters that a line of it may show.
    #[must_use]
    pub fn blotted(&self, content: StepContent<'_>, diagnostic: Diagnostic) -> Diagnostic {
        let marks = &self.secrets.marks;
        let mut values = marks.values_of(&self.params.values);
        values.extend(marks.values_of(&content.step.values));
        Redactor::new(&values).diagnostic(diagnostic)
    }

    fn identity(&self, content: StepContent<'_>, name: &str) -> Digest {
        let mut encoder = Encoder::new("identity");
        encoder
            .field(self.params.workflow_id.as_str().as_bytes())
            .field(content.step.id.as_str().as_bytes())
            .field(self.region.as_str().as_bytes())
            .field(name.as_bytes());
        // A step folder's name carries no meaning, but for relative paths to what is included.
        if !content.included.is_empty() {
            encoder.field(content.step.folder.as_bytes());
        }
        encoder.finish()
    }

    fn render_sorted(
        &self,
        content: StepContent<'_>,
        files: &SortedFiles<'_>,
        source: &SourceImage,
        name: &str,
    ) -> Result<Template, Diagnostic> {
        let names = ImageNames {
            source_ami_id: source.id.as_str(),
            source_ami_name: source.name.as_str(),
            output_ami_name: name,
        };
        let context = self.context.for_step(content.step, &names);
        let mut rendered = BTreeMap::new();
        for (output, (path, file)) in &files.templates {
            let path = format!("{}/{path}", content.step.folder);
            let text = template_text(&path, file)?;
            let jinja = TemplateSource { path: &path, text };
            let result = self.engine.render(&jinja, &context);
            let result = result.map_err(|e| self.blotted(content, diagnose(&e, &path, text)))?;
            self.secrets.refuse_broken(&path, &result)?;
            rendered.insert(output.clone(), result);
        }
        let template = Template::new(rendered);
        self.stays_off_the_host(content, files, &template)
            .map_err(|why| self.blotted(content, template.blotted(why)))?;
        Ok(template)
    }
}

impl Desire<'_> {
    fn stays_off_the_host(
        &self,
        content: StepContent<'_>,
        files: &SortedFiles<'_>,
        template: &Template,
    ) -> Result<(), Diagnostic> {
        if *self.local_exec == LocalExec::Allowed {
            return Ok(());
        }
        let folder = content.step.folder.as_str();
        let others = files.counted.iter().map(|(path, file)| {
            let path = match path.strip_prefix('/') {
                Some(from_root) => from_root.to_owned(),
                None => format!("{folder}/{path}"),
            };
            (path, &*file.content)
        });
        self.local_exec.check(&StepFiles { folder, template, others: &others.collect() })
    }
}

fn template_text<'a>(path: &str, file: &'a SourceFile) -> Result<&'a str, Diagnostic> {
    refuse_what_is_no_content(path, file)?;
    std::str::from_utf8(&file.content).map_err(|error| {
        let shown = String::from_utf8_lossy(&file.content);
        Diagnostic::not_utf8(path, shown, error.valid_up_to()).hint("save the template as UTF-8")
    })
}

fn diagnose(error: &RenderError, path: &str, text: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(error.message.clone());
    let span = error.span.clone().or_else(|| error.line.map(|line| line_span(text, line)));
    diagnostic = match span {
        Some(span) => diagnostic.at(path, text, span),
        None => diagnostic.in_file(path),
    };
    match &error.hint {
        Some(hint) => diagnostic.hint(hint.clone()),
        None => diagnostic,
    }
}

fn line_span(text: &str, line: usize) -> std::ops::Range<usize> {
    let start =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    let length = text[start..].find('\n').unwrap_or(text.len() - start);
    start..start + length
}
