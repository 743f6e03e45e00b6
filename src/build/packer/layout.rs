//! The folder of a build: the part of the repository that it may read, at its own path, and the job for the supervisor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::build::packer::adapt::{Host, adapt};
use crate::build::packer::version::PackerVersion;
use crate::build::supervisor::files::{self, Job, JobCommand, write_atomically};
use crate::build::{BuildError, BuildJob, PackerStage};
use crate::desired::hcl;
use crate::diagnostic::Diagnostic;

/// Packer's plugins listen on sockets in `TMPDIR`, whose paths end at 107 bytes (`unix(7)`); Packer's own part takes some 30.
const LONGEST_TMPDIR: usize = 70;

/// The laid-out part of the repository, in a build's folder.
pub(super) const WORK: &str = "work";

/// What a build's folder is made of, beside the job.
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) packer: PathBuf,
    pub(super) version: PackerVersion,
    pub(super) overrides: BTreeMap<String, serde_json::Value>,
    pub(super) grace: Duration,
    pub(super) secret_variables: Vec<String>,
}

impl Layout {
    /// Lays out everything that the supervisor needs; the job comes last.
    pub(super) fn lay_out(&self, job: &BuildJob) -> Result<(), BuildError> {
        let inspection = hcl::inspect(&job.rendered).map_err(BuildError::Step)?;
        if let Some(asked) = &inspection.required_version
            && self.version.satisfies(asked) == Some(false)
        {
            return Err(BuildError::Host(
                Diagnostic::new(format!(
                    "step `{}` asks for Packer {asked}, and {} is {}",
                    job.step_id,
                    self.packer.display(),
                    self.version
                ))
                .hint("install such a Packer, or name its binary in `packer.binary` of the configuration"),
            ));
        }
        let work = self.folder.join(WORK);
        let step = work.join(inside(&job.step_folder)?);
        let temporary = temporary_folder(&self.folder);
        make_folder(&step)?;
        make_own_folder(&temporary)?;
        for (path, file) in &job.files {
            create(&work.join(inside(path)?), file.executable, &file.content)?;
        }
        let mut notes = vec![format!(
            "Packer {} for step {} of {}, commit {}",
            self.version, job.step_id, job.workflow_id, job.revision
        )];
        let host = Host {
            version: self.version,
            overrides: &self.overrides,
        };
        for (name, text) in &job.rendered {
            let (text, done) = adapt(name, text, &host).map_err(BuildError::Step)?;
            notes.extend(done);
            create(&step.join(inside(name)?), false, text.as_bytes())?;
        }
        notes.extend(unnamed(job));
        let notes = notes.into_iter().fold(String::new(), |all, note| {
            all + "reconciler: " + &note + "\n"
        });
        create(&self.folder.join(files::LOG), false, notes.as_bytes())?;
        let init = inspection.required_plugins && self.version.knows_required_plugins();
        let description = Job {
            packer: self.packer.clone(),
            folder: step,
            temporary,
            commands: commands(job, init),
            timeout_seconds: job.timeout.as_secs(),
            grace_seconds: self.grace.as_secs(),
            secret_variables: self.secret_variables.clone(),
        };
        serde_json::to_vec_pretty(&description)
            .map_err(Into::into)
            .and_then(|bytes| write_atomically(&self.folder.join(files::JOB), &bytes))
            .map_err(io("writing the job"))
    }
}

/// An image of another name would be made in vain; but a name may be put together by Packer, so this is no more than a word.
fn unnamed(job: &BuildJob) -> Option<String> {
    let name = job.ami_name.as_str();
    let named = job.rendered.values().any(|text| text.contains(name));
    (!named).then(|| {
        format!("warning: no rendered file contains the image's name {name}; use `builder.output_ami_name` as `ami_name`")
    })
}

/// A path of the repository, which must not lead out of the folder.
fn inside(path: &str) -> Result<&Path, BuildError> {
    let checked = Path::new(path);
    if checked
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Ok(checked);
    }
    Err(BuildError::Step(
        Diagnostic::new("is no path inside of the repository").in_file(path),
    ))
}

fn commands(job: &BuildJob, init: bool) -> Vec<JobCommand> {
    let folder = format!("{}/", job.step_folder);
    let written = job
        .files
        .keys()
        .filter_map(|path| path.strip_prefix(&folder));
    // In the order of their names, as Packer takes `*.auto.pkrvars.hcl`: a later one wins.
    let values: BTreeSet<_> = written
        .filter(|name| !name.contains('/'))
        .chain(job.rendered.keys().map(String::as_str))
        .filter(|name| name.ends_with(".pkrvars.hcl") && !name.ends_with(".auto.pkrvars.hcl"))
        .collect();
    let values: Vec<String> = values
        .into_iter()
        .map(|name| format!("-var-file={name}"))
        .collect();
    let with = |first: &[&str], values: &[String]| {
        let mut arguments: Vec<String> = first.iter().map(|&word| word.to_owned()).collect();
        arguments.extend(values.iter().cloned());
        arguments.push(".".to_owned());
        arguments
    };
    let mut commands = Vec::new();
    if init {
        commands.push(JobCommand {
            stage: PackerStage::Init,
            arguments: with(&["init", "-machine-readable"], &[]),
        });
    }
    commands.push(JobCommand {
        stage: PackerStage::Validate,
        arguments: with(&["validate", "-machine-readable"], &values),
    });
    commands.push(JobCommand {
        stage: PackerStage::Build,
        arguments: with(&["build", "-machine-readable", "-color=false"], &values),
    });
    commands
}

/// Where the build keeps its temporary files: below its own folder, or, where that is too long for a socket, below the system's.
pub(super) fn temporary_folder(folder: &Path) -> PathBuf {
    let own = folder.join("tmp");
    if own.as_os_str().len() <= LONGEST_TMPDIR {
        return own;
    }
    let id = folder.file_name().unwrap_or_default().to_string_lossy();
    let unique: String = id
        .chars()
        .rev()
        .filter(char::is_ascii_alphanumeric)
        .take(12)
        .collect();
    std::env::temp_dir().join(format!("reconciler-{unique}"))
}

/// Removes a folder of the build; what cannot be removed now is removed with the build's folder.
pub(super) fn remove(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}

/// A folder that may stand beside those of others: never one that somebody else put there.
fn make_own_folder(path: &Path) -> Result<(), BuildError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(io("making a folder of the build"))?;
            let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
            if own {
                Ok(())
            } else {
                Err(io("making a folder of the build")(error))
            }
        }
        made => made.map_err(io("making a folder of the build")),
    }
}

fn make_folder(path: &Path) -> Result<(), BuildError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io("making a folder of the build"))
}

/// Creates a file for this user only; executable if git says so.
fn create(path: &Path, executable: bool, content: &[u8]) -> Result<(), BuildError> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    let mode = if executable { 0o700 } else { 0o600 };
    let open = || {
        fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(path)
    };
    open()
        .and_then(|mut file| file.write_all(content))
        .map_err(io("writing a file of the build"))
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> BuildError {
    move |source| BuildError::Io {
        what: what.to_owned(),
        source,
    }
}
