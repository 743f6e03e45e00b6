//! Takes the secrets of a build out of what is kept of it, and knows them while it runs, for
//! whoever shows its log.
//!
//! Packer writes its log to the file itself, so that a build can outlive everybody. The supervisor
//! takes the secrets out when the build is over; where it was killed, whoever takes the build up
//! does, and need not know them: their values stand in one file of its folder ([`files::SECRETS`]),
//! those of its environment too. It goes last: while it is there, nothing of the folder is clean.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::atomic_file::if_there;
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{Job, with_end};
use crate::packer::{layout, made_resources};
use reconciler_core::secrets::redactor::Redactor;
use reconciler_hcl::{Sensitive, Template};
use reconciler_model::secret_text::SecretText;

/// The secrets of a build: those that were written down when it was laid out, whatever its template
/// declares `sensitive`, and what is known of its environment. An error if they were written down
/// and cannot be read: then nothing of the folder may be shown.
pub fn of_build(
    folder: &Path,
    job: &Job,
    environment: impl IntoIterator<Item = (String, String)>,
) -> io::Result<Redactor> {
    let template = Template::new(templates(&job.folder));
    let declared = template.sensitive();
    let given = of_environment(environment, &job.secret_variables, declared);
    let all: Vec<_> = given
        .chain(declared.values.iter().map(|value| value.as_str().into()))
        .chain(written_down(folder)?)
        .collect();
    Ok(Redactor::new(&all))
}

/// The values of those variables of a build's environment that are secret: by their names, or
/// because they are those of a variable that its template declares `sensitive`.
pub(super) fn of_environment<'a>(
    environment: impl IntoIterator<Item = (String, String)> + 'a,
    secret_variables: &'a [String],
    declared: &'a Sensitive,
) -> impl Iterator<Item = SecretText> + 'a {
    let secret = environment.into_iter().filter(|(name, _)| {
        secret_variables.contains(name)
            || name
                .strip_prefix("PKR_VAR_")
                .is_some_and(|variable| declared.variables.contains(variable))
    });
    secret.map(|(_, value)| SecretText::from(value))
}

/// The list of a build that is not clean yet.
fn written_down(folder: &Path) -> io::Result<Vec<SecretText>> {
    let path = folder.join(files::SECRETS);
    let Some(bytes) = if_there(fs::read(&path))? else {
        return Ok(Vec::new());
    };
    // The cause may quote it.
    serde_json::from_slice(&bytes).map_err(|_| {
        let why = format!(
            "what is secret of this build cannot be read from {}, so its log is neither shown nor kept as it is",
            path.display()
        );
        io::Error::new(ErrorKind::InvalidData, why)
    })
}

/// The HCL files of a laid-out step folder; none once it is removed, and then the log is redacted
/// already.
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

/// Takes the secrets out of all that is kept of a build that is over. Done again it changes
/// nothing.
pub fn build(folder: &Path, job: &Job, secrets: &Redactor) -> io::Result<()> {
    // A secret may be a part of an id or a region: what the log says was made is read before.
    made_resources::keep(folder)?;
    // Packer's plugins write scripts with values in them there.
    layout::remove(&job.temporary);
    remove_half_written(folder);
    all_below(folder, secrets, &is_for_the_end)?;
    if_there(fs::remove_file(folder.join(files::SECRETS))).map(drop)
}

/// Removes what was laid out of a build that never ran: nobody will look into it, and secrets are
/// in it.
pub(super) fn discard(folder: &Path) {
    layout::remove(&folder.join(layout::WORK));
    layout::remove(&layout::temporary_folder(folder));
    remove_half_written(folder);
    // Gone, or never there.
    let _ = fs::remove_file(folder.join(files::SECRETS));
}

/// What a process that was killed left of a file that it was writing.
fn remove_half_written(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if files::HALF_WRITTEN.iter().any(|end| name.ends_with(end)) {
            // Gone meanwhile.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The files that stay as they are: without secrets, and the list itself.
fn is_for_the_end(name: &OsStr) -> bool {
    files::CLEAN.iter().any(|clean| name == *clean) || name == files::SECRETS
}

/// Every file of a folder but those that are left alone.
fn all_below(
    folder: &Path,
    secrets: &Redactor,
    is_left_alone: &dyn Fn(&OsStr) -> bool,
) -> io::Result<()> {
    for entry in if_there(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            all_below(&entry.path(), secrets, &|_| false)?;
        } else if kind.is_file() && !is_left_alone(&entry.file_name()) {
            file(&entry.path(), secrets)?;
        }
    }
    Ok(())
}

/// Rewrites a file without secrets, if one is in it; keeps its lines and every byte that is not a
/// secret's.
fn file(path: &Path, secrets: &Redactor) -> io::Result<()> {
    let open = || if_there(File::open(path));
    let Some(mut found) = open()? else {
        return Ok(());
    };
    // Seeded bug: secret-in-a-log
    if !secrets.appears_in_stream(&mut found)? {
        return Ok(());
    }
    let Some(mut from) = open()? else {
        return Ok(());
    };
    let beside = with_end(path, ".redacted");
    let mode = from.metadata()?.mode() & 0o700;
    let mut out = BufWriter::new(
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&beside)?,
    );
    secrets.copy(&mut from, &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::packer::bounded;

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
            provisioners: None,
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
        for left in ["secrets.json.tmp", "packer.log.bounded", "other", "supervisor.log"] {
            fs::write(path(left), "secretsecret\n").unwrap();
        }
        let clean = "{\"id\":\"secretsecret\"}";
        fs::write(path(files::ENDED), clean).unwrap();
        let secrets = of_build(folder.path(), &job, []).unwrap();
        build(folder.path(), &job, &secrets).unwrap();
        let now = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(now(&path(files::LOG)), "1,,ui,say,a <redacted> b\n");
        assert_eq!(now(&path(files::ERRORS)), "\u{fe} <redacted>\n");
        assert_eq!(now(&step.join("x.pkrvars.hcl")), "token = \"<redacted>\"\n");
        for gone in [files::SECRETS, "secrets.json.tmp", "packer.log.bounded"] {
            assert!(!path(gone).exists(), "{gone}");
        }
        for scrubbed in ["other", "supervisor.log"] {
            assert_eq!(now(&path(scrubbed)), "<redacted>\n");
        }
        assert_eq!(now(&path(files::ENDED)), clean);
        let none = of_build(folder.path(), &job, []).unwrap();
        build(folder.path(), &job, &none).unwrap();
        assert_eq!(now(&path(files::LOG)), "1,,ui,say,a <redacted> b\n");
    }

    #[test]
    fn a_build_that_was_laid_out_and_never_ran_leaves_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(layout::WORK)).unwrap();
        for left in [files::SECRETS, "secrets.json.tmp"] {
            fs::write(folder.path().join(left), "secretsecret\n").unwrap();
        }
        discard(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn while_what_is_secret_cannot_be_read_nothing_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(files::SECRETS), "[\"secretsecr").unwrap();
        let why = of_build(folder.path(), &job(folder.path().to_owned()), []).unwrap_err();
        assert!(!why.to_string().contains("secretsecr"), "{why}");
    }

    #[test]
    fn what_the_middle_of_an_unclosed_log_says_was_made_is_known() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(files::LOG), "1,,ui,say,x\n").unwrap();
        let made = "1,,ui,say,==> x: Creating temporary keypair: packer_0011\n";
        fs::write(bounded::kept(&folder.path().join(files::LOG)), made).unwrap();
        made_resources::keep(folder.path()).unwrap();
        let said = made_resources::read(folder.path()).unwrap();
        assert_eq!(said.traces.key_pairs, ["packer_0011"]);
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
        let said = made_resources::read(folder.path()).unwrap();
        assert_eq!(said.traces.key_pairs, ["packer_0011"]);
        assert_eq!(said.artifacts.len(), 1);
    }

    #[test]
    fn the_secrets_of_a_build_are_those_of_its_environment_and_of_its_template() {
        let folder = tempfile::tempdir().unwrap();
        let template = "variable \"token\" {\n  sensitive = true\n}\n";
        fs::write(folder.path().join("x.pkr.hcl"), template).unwrap();
        fs::write(folder.path().join("x.pkrvars.hcl"), "token = \"in-a-file\"\n").unwrap();
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "of-aws"),
            ("PKR_VAR_token", "of-environment"),
            ("PATH", "/usr/bin"),
        ];
        let secrets = of_build(
            folder.path(),
            &job(folder.path().to_owned()),
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())),
        )
        .unwrap();
        assert_eq!(
            secrets.text("of-aws in-a-file of-environment /usr/bin"),
            "<redacted> <redacted> <redacted> /usr/bin"
        );
    }
}
