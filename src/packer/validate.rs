//! `packer validate` on what nobody builds yet: laid out as a build is, in a folder of its own that
//! is gone afterwards, with no more of the environment than a build gets and without credentials.
//! Packer asks nobody for this; what it says is taken apart into single errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::config::PackerConfig;
use crate::packer::adapt::{Host, adapt};
use crate::packer::layout::{create, inside, make_folder, variable_files};
use crate::packer::version;
use crate::packer::{io, passed_on};
use reconciler_core::build::job::LaidFile;
use reconciler_core::packer::version::PackerVersion;
use reconciler_hcl::Template;
use reconciler_model::build::BuildError;
use reconciler_model::diagnostic::Diagnostic;

/// A Packer that takes longer is ended.
const LONGEST: Duration = Duration::from_mins(2);

/// A step as a build would find it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its folder, from the repository's root.
    pub folder: String,
    /// Its files and those of `include`, by path from the repository's root.
    pub files: BTreeMap<String, LaidFile>,
    /// The rendered files.
    pub template: Template,
    /// Where its image is made.
    pub region: String,
}

/// A Packer of this host.
#[derive(Clone, Debug)]
pub struct Validator {
    binary: PathBuf,
    version: PackerVersion,
    variables: Vec<(String, String)>,
}

impl Validator {
    /// Looks for Packer as a build does.
    pub async fn find(config: &PackerConfig) -> Result<Self, BuildError> {
        let binary = version::locate(config.binary.as_deref())?;
        let folder = temporary()?;
        let version = version::ask(&binary, &folder.path().join("packer-version")).await?;
        let mut variables = passed_on(config);
        variables.push(("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()));
        Ok(Self { binary, version, variables })
    }

    /// What Packer has to say against a step.
    pub async fn validate(&self, step: &Step) -> Result<Vec<Diagnostic>, BuildError> {
        let folder = temporary()?;
        let laid = self.lay_out(step, folder.path())?;
        let run = tokio::process::Command::new(&self.binary)
            .arg("validate")
            .args(variable_files(&step.folder, &step.files, &step.template))
            .arg(".")
            .current_dir(laid.folder)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("TMPDIR", folder.path())
            .env("AWS_REGION", &step.region)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(LONGEST, run).await;
        let output = ended
            .map_err(|_| std::io::Error::other("it took more than two minutes"))
            .flatten()
            .map_err(io("running packer validate"))?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push('\n');
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(errors(&said, &step.folder, laid.template.texts()))
    }

    fn lay_out(&self, step: &Step, folder: &Path) -> Result<Laid, BuildError> {
        let work = folder.join("work");
        let own = work.join(inside(&step.folder)?);
        make_folder(&own)?;
        for (path, file) in &step.files {
            create(&work.join(inside(path)?), file.executable, &file.content)?;
        }
        let host = Host { version: self.version, overrides: &BTreeMap::new() };
        let (template, _) = adapt(&step.template, &host).map_err(BuildError::Step)?;
        for (name, text) in template.texts() {
            create(&own.join(inside(name)?), false, text.as_bytes())?;
        }
        Ok(Laid { folder: own, template })
    }
}

struct Laid {
    folder: PathBuf,
    template: Template,
}

fn temporary() -> Result<tempfile::TempDir, BuildError> {
    let made = tempfile::Builder::new().prefix("reconciler-").tempdir();
    made.map_err(io("making a temporary folder"))
}

/// The single errors of what Packer says: `Error: TITLE`, perhaps `on FILE line N`, and what it has
/// to say beside.
fn errors(said: &str, folder: &str, rendered: &BTreeMap<String, String>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut parts = said.split("Error: ");
    let before = parts.next().unwrap_or_default().trim();
    for part in parts {
        let part = part.split("\nWarning: ").next().unwrap_or(part);
        let (mut words, mut place): (Vec<&str>, _) = (Vec::new(), None);
        for line in part.lines().map(str::trim) {
            let is_frame = line.starts_with("(source code not available)");
            if let Some(at) = line.strip_prefix("on ").and_then(|at| at.strip_suffix(':')) {
                place = at.split_once(" line ").or(place);
            } else if !line.is_empty() && !is_frame {
                words.push(line);
            }
        }
        let wrong = Diagnostic::new(format!("packer validate: {}", words.join(" ")));
        let place = place.and_then(|(file, line)| {
            let text = rendered.get(file)?;
            let line = line.split(',').next()?.trim().parse::<usize>().ok()?;
            Some((file, text, span(text, line)?))
        });
        found.push(match place {
            Some((file, text, span)) => {
                wrong.at(format!("{folder}/{file} (rendered)"), text.as_str(), span)
            }
            None => wrong.in_file(folder),
        });
    }
    if found.is_empty() {
        let last = before.lines().last().unwrap_or("no word of why").trim();
        found.push(Diagnostic::new(format!("packer validate: {last}")).in_file(folder));
    }
    found
}

/// A line without what stands around it.
fn span(text: &str, line: usize) -> Option<std::ops::Range<usize>> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let shown = text.get(start..)?.lines().next()?;
    let begin = start + (shown.len() - shown.trim_start().len());
    Some(begin..begin + shown.trim().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packer_says_is_taken_apart_with_the_places() {
        let rendered = BTreeMap::from([("a.pkr.hcl".to_owned(), "one\n  two\n".to_owned())]);
        let said = "Warning: old\n\nx\n\nError: Unknown provisioner type \"shel\"\n\n  on a.pkr.hcl line 2:\n  (source code not available)\n\n\
            Did you mean to use \"shell\"?\n\nError: Missing plugins\n\nThe following\n* a\n";
        let lines: Vec<_> =
            errors(said, "ws/a", &rendered).iter().map(Diagnostic::one_line).collect();
        assert_eq!(
            lines,
            [
                "ws/a/a.pkr.hcl (rendered):2:3: packer validate: Unknown provisioner type \"shel\" Did you mean to use \"shell\"?",
                "ws/a: packer validate: Missing plugins The following * a",
            ]
        );
        assert_eq!(
            errors("boom\n", "ws/a", &rendered)[0].one_line(),
            "ws/a: packer validate: boom"
        );
    }
}
