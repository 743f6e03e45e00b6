//! The name of a step's image, from the four parts that a configuration's template may use.
//!
//! Rules for names: 3 to 128 characters of `A-Za-z0-9 ()[]./-'@_` (EC2, `CreateImage`).

use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiName, StepId, WorkflowId};

/// The template when the configuration has none: the Python library's name, and the fingerprint.
pub const DEFAULT_TEMPLATE: &str = "{root_base_ami_name}/{workflow_id}/{step_id}/{fingerprint}";

/// The parts of a name that are known before the fingerprint.
#[derive(Clone, Copy, Debug)]
pub struct NameParts<'a> {
    /// The configuration's template.
    pub template: &'a str,
    /// The name of the image that the workflow starts from.
    pub root_base_ami_name: &'a str,
    /// The workflow.
    pub workflow_id: &'a WorkflowId,
    /// The step.
    pub step_id: &'a StepId,
}

impl NameParts<'_> {
    fn fill(&self, fingerprint: &str) -> String {
        self.template
            .replace("{root_base_ami_name}", self.root_base_ami_name.trim_end_matches('/'))
            .replace("{workflow_id}", self.workflow_id.as_str())
            .replace("{step_id}", self.step_id.as_str())
            .replace("{fingerprint}", fingerprint)
    }

    /// The name without its fingerprint part: what templates see while the fingerprint is being
    /// made.
    #[must_use]
    pub fn without_fingerprint(&self) -> String {
        self.fill("").trim_end_matches(['/', '-', '.', '_', ' ']).to_owned()
    }

    /// The whole name. `rebuild` is 0 for the first image of a fingerprint; a person's `--rebuild`
    /// of unchanged inputs needs a name of its own, for EC2 keeps names unique: `…/1a2b3c4d-r1`.
    pub fn with_fingerprint(
        &self,
        fingerprint: &Fingerprint,
        rebuild: u32,
    ) -> Result<AmiName, Diagnostic> {
        let short = fingerprint.short();
        let name = self.fill(&if rebuild == 0 { short } else { format!("{short}-r{rebuild}") });
        check(&name)?;
        Ok(AmiName::new(name))
    }

    /// Which rebuild of this fingerprint a recorded name is; none if the name is of another form.
    #[must_use]
    pub fn rebuild_of(&self, fingerprint: &Fingerprint, name: &AmiName) -> Option<u32> {
        if self.fill(&fingerprint.short()) == name.as_str() {
            return Some(0);
        }
        let marker = "\u{0}";
        let filled = self.fill(marker);
        let (before, after) = filled.split_once(marker)?;
        let part = name.as_str().strip_prefix(before)?.strip_suffix(after)?;
        part.strip_prefix(&fingerprint.short())?.strip_prefix("-r")?.parse().ok()
    }
}

fn check(name: &str) -> Result<(), Diagnostic> {
    let length = name.chars().count();
    if !(3..=128).contains(&length) {
        return Err(Diagnostic::new(format!(
            "the image name has {length} characters, EC2 takes 3 to 128: `{name}`"
        ))
        .hint("shorten `workflow_id`, `step_id` or `root_base_ami_name`, or set `ami_name` in the configuration"));
    }
    let forbidden = |c: &char| !(c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(*c));
    if let Some(wrong) = name.chars().find(forbidden) {
        return Err(Diagnostic::new(format!(
            "the image name contains {wrong:?}, which EC2 does not take: `{name}`"
        ))
        .hint("EC2 takes letters, digits, spaces and ()[]./-'@_"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::digest::Digest;

    fn parts<'a>(root: &'a str, workflow: &'a WorkflowId, step: &'a StepId) -> NameParts<'a> {
        NameParts {
            template: DEFAULT_TEMPLATE,
            root_base_ami_name: root,
            workflow_id: workflow,
            step_id: step,
        }
    }

    #[test]
    fn the_default_name_is_the_python_librarys_and_eight_digits() {
        let (workflow, step) = (WorkflowId::new("wf-1"), StepId::new("pyenv"));
        let parts = parts("ubuntu/", &workflow, &step);
        assert_eq!(parts.without_fingerprint(), "ubuntu/wf-1/pyenv");
        let name = parts.with_fingerprint(&Digest::of(b"x").into(), 0).unwrap();
        assert_eq!(name.as_str(), "ubuntu/wf-1/pyenv/2d711642");
    }

    #[test]
    fn a_rebuild_of_the_same_fingerprint_has_a_name_of_its_own_that_is_recognised() {
        let (workflow, step) = (WorkflowId::new("wf-1"), StepId::new("pyenv"));
        let parts = parts("ubuntu", &workflow, &step);
        let fingerprint = Digest::of(b"x").into();
        for rebuild in [0, 1, 12] {
            let name = parts.with_fingerprint(&fingerprint, rebuild).unwrap();
            assert_eq!(parts.rebuild_of(&fingerprint, &name), Some(rebuild));
        }
        assert_eq!(parts.rebuild_of(&fingerprint, &AmiName::new("ubuntu/wf-1/pyenv")), None);
    }

    #[test]
    fn a_name_that_ec2_refuses_is_refused_before_an_hour_is_spent() {
        let (workflow, step) = (WorkflowId::new("wf:1"), StepId::new("pyenv"));
        let wrong = parts("ubuntu", &workflow, &step).with_fingerprint(&Digest::of(b"x").into(), 0);
        assert!(wrong.unwrap_err().message.contains("':'"));
        let workflow = WorkflowId::new("w".repeat(120));
        let long = parts("ubuntu", &workflow, &step).with_fingerprint(&Digest::of(b"x").into(), 0);
        assert!(long.unwrap_err().message.contains("142 characters"));
    }
}
