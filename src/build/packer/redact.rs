//! Takes the secrets of a build out of what is kept of it, and knows them while it runs, for whoever shows its log.
//!
//! Packer writes its log to the file itself, so that a build can outlive everybody. The supervisor takes the secrets out when the build
//! is over; where it was killed, whoever takes the build up does. Until then their values stand in the build's own environment and in
//! one file of its folder ([`files::SECRETS`]), which goes last: while it is there, nothing of the folder is clean.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{layout, said};
use crate::build::supervisor::files::{self, Job, Supervisor};
use crate::desired::hcl::sensitive;
use crate::secrets::{Redactor, SecretText};

/// The secrets of a build: the values of the secret variables of its environment, as far as it is known, whatever its template declares
/// `sensitive`, and what was rendered into its files.
#[must_use]
pub fn of_build(
    folder: &Path,
    job: &Job,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Redactor {
    let declared = sensitive(&templates(&job.folder));
    let given = environment
        .into_iter()
        .chain(of_supervisor(folder))
        .filter(|(name, _)| {
            job.secret_variables.contains(name)
                || name
                    .strip_prefix("PKR_VAR_")
                    .is_some_and(|variable| declared.variables.contains(variable))
        });
    let given = given.map(|(_, value)| SecretText::from(value));
    let kept: Vec<SecretText> = files::read(folder, files::SECRETS).unwrap_or_default();
    let all: Vec<_> = given
        .chain(declared.values.iter().map(|value| value.as_str().into()))
        .chain(kept)
        .collect();
    Redactor::new(&all)
}

/// The environment of a build's supervisor, if it still runs.
fn of_supervisor(folder: &Path) -> Vec<(String, String)> {
    let Some(supervisor) = files::read::<Supervisor>(folder, files::SUPERVISOR) else {
        return Vec::new();
    };
    let process = crate::build::process::ProcessId {
        pid: supervisor.pid,
        start: supervisor.pid_start,
    };
    let environment = fs::read(format!("/proc/{}/environ", supervisor.pid)).unwrap_or_default();
    if !process.is_alive() {
        return Vec::new();
    }
    environment
        .split(|byte| *byte == 0)
        .filter_map(|one| {
            let (name, value) = std::str::from_utf8(one).ok()?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The HCL files of a laid-out step folder; none once it is removed, and then the log is redacted already.
fn templates(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hcl = name.ends_with("pkr.hcl") || name.ends_with("pkrvars.hcl");
            hcl.then(|| Some((name, fs::read_to_string(entry.path()).ok()?)))?
        })
        .collect()
}

/// Takes the secrets out of all that is kept of a build that is over. Done again it changes nothing.
pub fn build(folder: &Path, job: &Job, secrets: &Redactor) -> io::Result<()> {
    // A secret may be a part of an id or a region: what the log says was made is read before.
    said::keep(folder)?;
    for name in [files::LOG, files::ERRORS] {
        file(&folder.join(name), secrets)?;
    }
    // Packer's plugins write scripts with values in them there.
    layout::remove(&job.temporary);
    all_below(&folder.join(layout::WORK), secrets)?;
    match fs::remove_file(folder.join(files::SECRETS)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what was laid out of a build that never ran: nobody will look into it, and secrets are in it.
pub(super) fn discard(folder: &Path) {
    layout::remove(&folder.join(layout::WORK));
    layout::remove(&layout::temporary_folder(folder));
    // Gone, or never there.
    let _ = fs::remove_file(folder.join(files::SECRETS));
}

/// Every file of a folder.
fn all_below(folder: &Path, secrets: &Redactor) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            all_below(&entry.path(), secrets)?;
        } else if kind.is_file() {
            file(&entry.path(), secrets)?;
        }
    }
    Ok(())
}

/// Rewrites a file without secrets, if one is in it; keeps its lines and every byte that is not a secret's.
fn file(path: &Path, secrets: &Redactor) -> io::Result<()> {
    let open = || match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    };
    let Some(mut found) = open()? else {
        return Ok(());
    };
    if !secrets.appears_in_stream(&mut found)? {
        return Ok(());
    }
    let Some(mut from) = open()? else {
        return Ok(());
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!("{name}.redacted"));
    let mode = from.metadata()?.mode() & 0o700;
    let mut out = BufWriter::new(
        fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(&beside)?,
    );
    secrets.copy(&mut from, &mut out)?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn job(folder: PathBuf) -> Job {
        Job {
            packer: "packer".into(),
            temporary: folder.join("no-such-folder"),
            folder,
            commands: vec![],
            timeout_seconds: 1,
            grace_seconds: 1,
            secret_variables: vec!["AWS_SECRET_ACCESS_KEY".into()],
            heartbeat: None,
            start_before: None,
            log_limit: 64 * 1024 * 1024,
        }
    }

    #[test]
    fn nothing_that_is_kept_of_a_build_holds_a_secret_and_its_own_list_goes_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let step = path("work/ws/step");
        fs::create_dir_all(&step).unwrap();
        fs::write(path(files::LOG), "1,,ui,say,a secretsecret b\n").unwrap();
        fs::write(path(files::ERRORS), "\u{fe} secretsecret\n").unwrap();
        fs::write(step.join("x.pkrvars.hcl"), "token = \"secretsecret\"\n").unwrap();
        let kept = serde_json::to_vec(&[SecretText::from("secretsecret")]).unwrap();
        fs::write(path(files::SECRETS), kept).unwrap();
        let job = job(step.clone());
        let secrets = of_build(folder.path(), &job, []);
        build(folder.path(), &job, &secrets).unwrap();
        let now = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(now(&path(files::LOG)), "1,,ui,say,a <redacted> b\n");
        assert_eq!(now(&path(files::ERRORS)), "\u{fe} <redacted>\n");
        assert_eq!(now(&step.join("x.pkrvars.hcl")), "token = \"<redacted>\"\n");
        assert!(!path(files::SECRETS).exists());
        build(folder.path(), &job, &of_build(folder.path(), &job, [])).unwrap();
        assert_eq!(now(&path(files::LOG)), "1,,ui,say,a <redacted> b\n");
    }

    #[test]
    fn what_a_build_made_is_known_though_a_secret_is_a_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = "1,,ui,say,==> x: Creating temporary keypair: packer_0011\n1,x,artifact,0,id,us-east-1:ami-01ab\n";
        fs::write(folder.path().join(files::LOG), log).unwrap();
        let secrets = ["packer", "us-east-1"].map(SecretText::from);
        let job = job(folder.path().to_owned());
        for _ in 0..2 {
            build(folder.path(), &job, &Redactor::new(&secrets)).unwrap();
        }
        let said = said::read(folder.path()).unwrap();
        assert_eq!(said.traces.key_pairs, ["packer_0011"]);
        assert_eq!(said.artifacts.len(), 1);
    }

    #[test]
    fn the_secrets_of_a_build_are_those_of_its_environment_and_of_its_template() {
        let folder = tempfile::tempdir().unwrap();
        let template = "variable \"token\" {\n  sensitive = true\n}\n";
        fs::write(folder.path().join("x.pkr.hcl"), template).unwrap();
        fs::write(
            folder.path().join("x.pkrvars.hcl"),
            "token = \"in-a-file\"\n",
        )
        .unwrap();
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "of-aws"),
            ("PKR_VAR_token", "of-environment"),
            ("PATH", "/usr/bin"),
        ];
        let secrets = of_build(
            folder.path(),
            &job(folder.path().to_owned()),
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(
            secrets.text("of-aws in-a-file of-environment /usr/bin"),
            "<redacted> <redacted> <redacted> /usr/bin"
        );
    }
}
