//! The folder of a build: the part of the repository that it may read, at its own path, and the job for the supervisor.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::build::packer::adapt::{Host, adapt};
use crate::build::supervisor::{Job, JobCommand, files, write_atomically};
use crate::build::{BuildError, BuildJob, PackerStage};
use crate::config::PackerConfig;
use crate::desired::hcl;

/// Packer's plugins listen on sockets in `TMPDIR`, whose paths end at 107 bytes (`unix(7)`); Packer's own part takes some 30.
const LONGEST_TMPDIR: usize = 70;

/// Lays out everything that the supervisor needs.
pub(super) fn lay_out(
    job: &BuildJob,
    host: &Host<'_>,
    packer: &Path,
    config: &PackerConfig,
    folder: &Path,
) -> Result<(), BuildError> {
    let work = folder.join("work");
    let step = work.join(&job.step_folder);
    make_folder(&step)?;
    make_folder(&temporary_folder(folder))?;
    for (path, file) in &job.files {
        create(&work.join(path), file.executable, &file.content)?;
    }
    let inspection = hcl::inspect(&job.rendered).map_err(BuildError::Step)?;
    let mut notes = vec![format!(
        "Packer {} for step {} of {}, commit {}",
        host.version, job.step_id, job.workflow_id, job.revision
    )];
    for (name, text) in &job.rendered {
        let (text, done) = adapt(name, text, host).map_err(BuildError::Step)?;
        notes.extend(done);
        create(&step.join(name), false, text.as_bytes())?;
    }
    let notes = notes.into_iter().fold(String::new(), |all, note| {
        all + "reconciler: " + &note + "\n"
    });
    create(&folder.join(files::LOG), false, notes.as_bytes())?;
    let init = inspection.required_plugins && host.version.knows_required_plugins();
    let description = Job {
        packer: packer.to_owned(),
        folder: step,
        commands: commands(job, init),
        timeout_seconds: job.timeout.as_secs(),
        grace_seconds: config.grace.as_secs(),
    };
    let bytes = serde_json::to_vec_pretty(&description).map_err(|error| BuildError::Io {
        what: "writing the job".to_owned(),
        source: error.into(),
    })?;
    write_atomically(&folder.join(files::JOB), &bytes).map_err(io("writing the job"))
}

fn commands(job: &BuildJob, init: bool) -> Vec<JobCommand> {
    let values = job
        .rendered
        .keys()
        .chain(job.files.keys().filter_map(|path| {
            path.strip_prefix(&job.step_folder)?
                .strip_prefix('/')
                .map(|_| path)
        }));
    let mut values: Vec<String> = values
        .filter(|name| name.ends_with(".pkrvars.hcl") && !name.contains('/'))
        .map(|name| format!("-var-file={name}"))
        .collect();
    values.dedup();
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
            arguments: with(&["init"], &[]),
        });
    }
    commands.push(JobCommand {
        stage: PackerStage::Validate,
        arguments: with(&["validate"], &values),
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

pub(super) fn remove_temporary_folder(folder: &Path) {
    // What cannot be removed now is removed with the build's folder.
    let _ = fs::remove_dir_all(temporary_folder(folder));
}

pub(super) fn remove_work(folder: &Path) {
    let _ = fs::remove_dir_all(folder.join("work"));
}

fn make_folder(path: &Path) -> Result<(), BuildError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io("making a folder of the build"))
}

/// Creates a file for this user only; executable if git says so.
pub(super) fn create(path: &Path, executable: bool, content: &[u8]) -> Result<(), BuildError> {
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
