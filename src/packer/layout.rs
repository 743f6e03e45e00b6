//! The folder of a build: the part of the repository that it may read, at its own path, and the job
//! for the supervisor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::atomic_file;
use crate::atomic_file::write_durably;
use crate::packer::adapt::{Host, adapt};
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{HeartbeatJob, Job, JobCommand};
use crate::packer::{HeartbeatSettings, io};
use reconciler_core::build::job::{BuildJob, LaidFile, StartDeadline};
use reconciler_core::packer::version::PackerVersion;
use reconciler_core::secrets::fill::fill;
use reconciler_core::secrets::redactor::Redactor;
use reconciler_hcl::Template;
use reconciler_model::build::{BuildError, PackerStage};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;
use reconciler_model::ids::BuildId;

/// Packer's plugins listen on sockets in `TMPDIR`, whose paths end at 107 bytes (`unix(7)`);
/// Packer's own part takes some 30.
const LONGEST_TMPDIR: usize = 70;

/// The laid-out part of the repository, in a build's folder.
pub(super) const WORK: &str = "work";

/// What a build's folder is made of, beside the job.
pub(super) struct Layout {
    pub(super) build_id: BuildId,
    pub(super) folder: PathBuf,
    pub(super) packer: PathBuf,
    pub(super) version: PackerVersion,
    pub(super) overrides: BTreeMap<String, serde_json::Value>,
    pub(super) grace: Duration,
    pub(super) secret_variables: Vec<String>,
    pub(super) heartbeat: Option<HeartbeatSettings>,
    /// The profile that the build's keys were read from.
    pub(super) profile: Option<String>,
    pub(super) log_limit: u64,
}

impl Layout {
    /// Refuses a template that asks for another Packer.
    fn check_version(&self, job: &BuildJob, asked: Option<&str>) -> Result<(), BuildError> {
        match asked {
            Some(asked) if self.version.satisfies(asked) == Some(false) => {
                let wrong = Diagnostic::new(format!(
                    "step `{}` asks for Packer {asked}, and {} is {}",
                    job.step_id,
                    self.packer.display(),
                    self.version
                ));
                Err(BuildError::Host(wrong.hint(
                    "install such a Packer, or name its binary in `packer.binary` of the configuration",
                )))
            }
            _ => Ok(()),
        }
    }

    /// How the build's signs of life reach the inventory.
    fn heartbeat(&self, job: &BuildJob) -> Option<HeartbeatJob> {
        self.heartbeat.clone().map(|settings| HeartbeatJob {
            inventory: settings.inventory,
            workflow_id: job.workflow_id.clone(),
            step_id: job.step_id.clone(),
            build_id: self.build_id.clone(),
            host: settings.host,
            silence_seconds: settings.silence.as_secs().max(1),
            profile: self.profile.clone(),
        })
    }

    /// Lays out everything that the supervisor needs; the job comes last.
    pub(super) fn lay_out(
        &self,
        job: &BuildJob,
        lease: &dyn StartDeadline,
    ) -> Result<(), BuildError> {
        let inspection = &job.inspection;
        self.check_version(job, inspection.required_version.as_deref())?;
        let work = self.folder.join(WORK);
        let step = work.join(inside(&job.step_folder)?);
        let temporary = temporary_folder(&self.folder);
        make_folder(&step)?;
        make_own_folder(&temporary)?;
        // Before any of them stands anywhere else.
        serde_json::to_vec(&job.secrets.hidden)
            .map_err(Into::into)
            .and_then(|bytes| write_durably(&self.folder.join(files::SECRETS), &bytes))
            .map_err(io("writing what is to be redacted"))?;
        for (path, file) in &job.files {
            create(&work.join(inside(path)?), file.executable, &file.content)?;
        }
        let mut notes = vec![format!(
            "Packer {} for step {} of {}, commit {}",
            self.version, job.step_id, job.workflow_id, job.revision
        )];
        let host = Host { version: self.version, overrides: &self.overrides };
        let (template, adapted) = adapt(&job.template, &host).map_err(BuildError::Step)?;
        notes.extend(adapted);
        for (name, text) in fill(&template, &job.secrets.asked).map_err(BuildError::Step)? {
            create(&step.join(inside(&name)?), false, text.as_bytes())?;
        }
        let warnings = inspection.warnings.iter();
        notes.extend(warnings.map(|warning| format!("warning: {}", warning.one_line())));
        notes.extend(unnamed(job));
        let notes =
            notes.into_iter().fold(String::new(), |all, note| all + "reconciler: " + &note + "\n");
        create(&self.folder.join(files::LOG), false, notes.as_bytes())?;
        let init = inspection.required_plugins && self.version.knows_required_plugins();
        if self.folder.join(files::SUPERVISOR).exists() {
            let given_up = std::io::Error::other("it was given up meanwhile");
            return Err(io("laying out the build")(given_up));
        }
        // Late, for all that comes before may take long.
        let start_before = lease.until().ok_or(BuildError::LeaseLost)?;
        let hidden = Redactor::new(&job.secrets.hidden);
        let description = Job {
            packer: self.packer.clone(),
            folder: step,
            temporary,
            commands: commands(job, init),
            timeout_seconds: job.timeout.as_secs(),
            grace_seconds: self.grace.as_secs(),
            secret_variables: self.secret_variables.clone(),
            heartbeat: self.heartbeat(job),
            start_before: Some(u64::try_from(start_before.as_millis()).unwrap_or(u64::MAX)),
            log_limit: self.log_limit,
            provisioners: job.template.provisioners(|text| hidden.text(text)),
        };
        serde_json::to_vec_pretty(&description)
            .map_err(Into::into)
            .and_then(|bytes| write_durably(&self.folder.join(files::JOB), &bytes))
            .map_err(io("writing the job"))
    }
}

/// An image of another name would be made in vain; but a name may be put together by Packer, so
/// this is no more than a word.
fn unnamed(job: &BuildJob) -> Option<String> {
    let name = job.ami_name.as_str();
    let named = job.template.texts().values().any(|text| text.contains(name));
    (!named).then(|| {
        format!("warning: no rendered file contains the image's name {name}; use `builder.output_ami_name` as `ami_name`")
    })
}

/// A path of the repository, which must not lead out of the folder.
pub(super) fn inside(path: &str) -> Result<&Path, BuildError> {
    let checked = Path::new(path);
    if checked
        .components()
        // Seeded bug: paths-lead-out
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return Ok(checked);
    }
    Err(BuildError::Step(Diagnostic::new("is no path inside of the repository").in_file(path)))
}

fn commands(job: &BuildJob, init: bool) -> Vec<JobCommand> {
    let values = variable_files(&job.step_folder, &job.files, &job.template);
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
    // Seeded bug: no-validate
    commands.push(JobCommand {
        stage: PackerStage::Build,
        arguments: with(&["build", "-machine-readable", "-color=false"], &values),
    });
    commands
}

/// What Packer is handed with the values of a step's variables.
pub(super) fn variable_files(
    step_folder: &str,
    files: &BTreeMap<String, LaidFile>,
    template: &Template,
) -> Vec<String> {
    let folder = format!("{step_folder}/");
    let written = files.keys().filter_map(|path| path.strip_prefix(&folder));
    // In the order of their names, as Packer takes `*.auto.pkrvars.hcl`: a later one wins.
    let values: BTreeSet<_> = written
        .filter(|name| !name.contains('/'))
        .chain(template.texts().keys().map(String::as_str))
        .filter(|name| name.ends_with(".pkrvars.hcl") && !name.ends_with(".auto.pkrvars.hcl"))
        .collect();
    let values = values.into_iter();
    values.map(|name| format!("-var-file={name}")).collect()
}

/// Where the build keeps its temporary files: below its own folder, or, where that is too long for
/// a socket, below the system's. There its name follows from the whole path: another daemon with a
/// state folder of its own asks for the same build.
pub(super) fn temporary_folder(folder: &Path) -> PathBuf {
    let own = folder.join("tmp");
    if own.as_os_str().len() <= LONGEST_TMPDIR {
        return own;
    }
    let unique = Digest::of(folder.as_os_str().as_encoded_bytes()).to_string();
    std::env::temp_dir().join(format!("reconciler-{}", &unique[..16]))
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
            if own { Ok(()) } else { Err(io("making a folder of the build")(error)) }
        }
        made => made.map_err(io("making a folder of the build")),
    }
}

pub(super) fn make_folder(path: &Path) -> Result<(), BuildError> {
    atomic_file::make_folder(path).map_err(io("making a folder of the build"))
}

/// Creates a file for this user only; executable if git says so.
pub(super) fn create(path: &Path, executable: bool, content: &[u8]) -> Result<(), BuildError> {
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    // Seeded bug: files-for-everybody
    let mode = if executable { 0o700 } else { 0o600 };
    let open =
        || fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(path);
    open().and_then(|mut file| file.write_all(content)).map_err(io("writing a file of the build"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Arc;

    use super::*;
    use reconciler_core::build::job::{JobSecrets, LaidFile};
    use reconciler_hcl::Inspection;
    use reconciler_model::clock::Moment;
    use reconciler_model::ids::{AmiId, AmiName, Region, Revision, StepId, WorkflowId};

    const TEMPLATE: &str =
        "source \"amazon-ebs\" \"x\" {}\nbuild {\n  sources = [\"source.amazon-ebs.x\"]\n}\n";

    /// A lease, which is asked for once this file exists.
    struct Lease {
        after: Option<PathBuf>,
        until: Option<Moment>,
    }

    const HELD: Lease = Lease { after: None, until: Some(Moment::from_secs(7)) };

    impl StartDeadline for Lease {
        fn until(&self) -> Option<Moment> {
            assert!(self.after.as_ref().is_none_or(|file| file.exists()), "asked for at the end");
            self.until
        }
    }

    fn job(files: &[(&str, bool)]) -> BuildJob {
        let laid = |&(path, executable): &(&str, bool)| {
            let content: Arc<[u8]> = Arc::from(path.as_bytes());
            let file = LaidFile { executable, content };
            (path.to_owned(), file)
        };
        BuildJob {
            workflow_id: WorkflowId::new("w"),
            step_id: StepId::new("a"),
            revision: Revision::new("0".repeat(40)),
            region: Region::new("r"),
            ami_name: AmiName::new("base/w/a/1a2b3c4d"),
            source_ami: AmiId::new("ami-1"),
            step_folder: "steps/a".to_owned(),
            files: files.iter().map(laid).collect(),
            template: Template::new([("a.pkr.hcl".to_owned(), TEMPLATE.to_owned())].into()),
            inspection: Inspection::default(),
            timeout: Duration::from_secs(1),
            secrets: JobSecrets::default(),
        }
    }

    fn layout(folder: &Path) -> Layout {
        Layout {
            build_id: BuildId::generate(),
            folder: folder.to_owned(),
            packer: "packer".into(),
            version: PackerVersion::parse("Packer v1.16.0").unwrap(),
            overrides: BTreeMap::new(),
            grace: Duration::from_secs(1),
            secret_variables: vec![],
            heartbeat: None,
            profile: None,
            log_limit: 1 << 20,
        }
    }

    #[test]
    fn files_are_this_users_only_and_executable_where_git_says_so() {
        let folder = tempfile::tempdir().unwrap();
        layout(folder.path())
            .lay_out(&job(&[("steps/a/run", true), ("shared/data", false)]), &HELD)
            .unwrap();
        let mode = |path: &str| {
            let facts = fs::metadata(folder.path().join(path)).unwrap();
            facts.permissions().mode() & 0o777
        };
        assert_eq!(mode("work/steps/a/run"), 0o700);
        assert_eq!(mode("work/shared/data"), 0o600);
        assert_eq!(mode("work/steps/a/a.pkr.hcl"), 0o600);
        assert_eq!((mode("work/steps/a"), mode("tmp")), (0o700, 0o700));
        let text = fs::read_to_string(folder.path().join("work/steps/a/a.pkr.hcl")).unwrap();
        assert_eq!(text, TEMPLATE, "byte for byte");
    }

    #[test]
    fn a_build_that_was_given_up_while_it_was_laid_out_does_not_start() {
        let folder = tempfile::tempdir().unwrap();
        let nobody =
            files::Supervisor { pid: 0, pid_start: 0, started_at: jiff::Timestamp::UNIX_EPOCH };
        assert!(files::claim(folder.path(), &nobody).unwrap());
        let refused = layout(folder.path()).lay_out(&job(&[]), &HELD).unwrap_err();
        assert!(refused.to_string().contains("given up meanwhile"), "{refused}");
        assert!(!folder.path().join(files::JOB).exists());
    }

    #[test]
    fn the_lease_is_asked_for_when_all_is_laid_out_and_without_it_nothing_starts() {
        let held = |until: Option<Duration>| {
            let folder = tempfile::tempdir().unwrap();
            let template = folder.path().join("work/steps/a/a.pkr.hcl");
            let lease = Lease { after: Some(template), until };
            let laid = layout(folder.path()).lay_out(&job(&[]), &lease);
            (laid, files::read::<Job>(folder.path(), files::JOB))
        };
        let (laid, written) = held(Some(Duration::from_secs(7)));
        laid.unwrap();
        assert_eq!(written.unwrap().start_before, Some(7000));
        let (lost, written) = held(None);
        assert!(matches!(lost, Err(BuildError::LeaseLost)));
        assert!(written.is_none());
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        for path in ["../out", "/etc/out", "steps/../../out", "steps/a/.."] {
            let folder = tempfile::tempdir().unwrap();
            let refused =
                layout(&folder.path().join("build")).lay_out(&job(&[(path, false)]), &HELD);
            assert!(matches!(refused, Err(BuildError::Step(_))), "{path}");
            let made = fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(made, 1, "{path}: nothing but the build's folder");
        }
        let mut job = job(&[]);
        job.template = Template::new([("../a.pkr.hcl".to_owned(), TEMPLATE.to_owned())].into());
        let folder = tempfile::tempdir().unwrap();
        let refused = layout(folder.path()).lay_out(&job, &HELD);
        assert!(matches!(refused, Err(BuildError::Step(_))));
    }

    #[test]
    fn a_link_that_waits_in_the_place_of_the_temporary_folder_is_refused() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(elsewhere.path(), folder.path().join("tmp")).unwrap();
        let refused = layout(folder.path()).lay_out(&job(&[]), &HELD);
        assert!(matches!(refused, Err(BuildError::Io { .. })));
    }

    #[test]
    fn the_temporary_folder_is_short_however_long_the_state_folders_path_is() {
        let id = BuildId::generate();
        let short = Path::new("/var/lib/reconciler/builds").join(id.as_str());
        assert_eq!(temporary_folder(&short), short.join("tmp"));
        let long = Path::new("/srv").join("a".repeat(80)).join("builds").join(id.as_str());
        let other = temporary_folder(&long);
        assert!(other.as_os_str().len() <= LONGEST_TMPDIR, "{other:?}");
        assert_ne!(
            other,
            temporary_folder(&long.with_file_name(BuildId::generate().as_str())),
            "each build has its own"
        );
        let elsewhere = Path::new("/srv").join("b".repeat(80)).join("builds");
        assert_ne!(
            other,
            temporary_folder(&elsewhere.join(id.as_str())),
            "whoever looks for a build of another state folder leaves its files alone"
        );
    }

    #[test]
    fn values_are_passed_in_the_order_of_their_names_and_init_only_where_it_is_known() {
        let mut job = job(&[
            ("steps/a/b.pkrvars.hcl", false),
            ("steps/a/c.auto.pkrvars.hcl", false),
            ("steps/a/below/d.pkrvars.hcl", false),
        ]);
        let mut rendered = job.template.texts().clone();
        rendered.insert("a.pkrvars.hcl".to_owned(), String::new());
        job.template = Template::new(rendered);
        let [init, validate, build] = &commands(&job, true)[..] else {
            panic!("three commands");
        };
        assert_eq!(init.arguments, ["init", "-machine-readable", "."]);
        let values = ["-var-file=a.pkrvars.hcl", "-var-file=b.pkrvars.hcl", "."];
        assert_eq!(validate.arguments[2..], values);
        assert_eq!(build.arguments[3..], values);
        assert_eq!(commands(&job, false).len(), 2);
    }
}
