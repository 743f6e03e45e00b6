//! Takes secret values out of what is kept or shown.
//!
//! Packer writes its log to the file itself, so that a build can outlive everybody; the supervisor, which is the one that has the build's
//! environment, takes the secrets out when the build is over. What is shown before that is redacted as it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::build::supervisor::files::{self, Job};
use crate::desired::hcl::sensitive;

/// What stands in the place of a secret.
const MARK: &str = "<redacted>";

/// A shorter value is guessed at once, and would tear holes into every line.
const SHORTEST: usize = 6;

/// A shorter part of a value (one of its lines, its base64) is no secret by itself.
const SHORTEST_PART: usize = 8;

/// How much of a line is read at once: a log may have gigabytes, in one line.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// Values that must not appear.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Takes whole values; each line of one counts too, its base64, and both as `-machine-readable` writes them.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut all = BTreeSet::new();
        for value in values {
            let value = value.trim_matches(['\r', '\n']);
            let lines = value.lines().map(str::trim).filter(|line| *line != value);
            let parts = lines.map(str::to_owned).chain([base64(value)]);
            all.extend(parts.filter(|part| part.len() >= SHORTEST_PART));
            if value.len() >= SHORTEST {
                all.insert(value.to_owned());
            }
        }
        let escaped: Vec<_> = all
            .iter()
            .filter(|value| value.contains([',', '\n', '\r']))
            .map(|value| {
                value
                    .replace(',', "%!(PACKER_COMMA)")
                    .replace('\n', "\\n")
                    .replace('\r', "\\r")
            })
            .collect();
        let mut all: Vec<_> = all.into_iter().chain(escaped).collect();
        // The longest first: one may be a part of another.
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(all)
    }

    /// The text without them.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), MARK)
        })
    }

    fn appear_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret.as_str()))
    }
}

/// Base64 of the whole groups of three bytes: the rest depends on what follows (`echo` adds a line feed).
fn base64(value: &str) -> String {
    aws_smithy_types::base64::encode(&value.as_bytes()[..value.len() / 3 * 3])
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// The secrets of a build: the values of the secret variables of its environment, as far as the caller has it, and whatever its template
/// declares `sensitive`.
#[must_use]
pub fn of_build(job: &Job, environment: impl IntoIterator<Item = (String, String)>) -> Secrets {
    let declared = sensitive(&templates(&job.folder));
    let given = environment.into_iter().filter(|(name, _)| {
        job.secret_variables.contains(name)
            || name
                .strip_prefix("PKR_VAR_")
                .is_some_and(|variable| declared.variables.contains(variable))
    });
    let given: Vec<_> = given.map(|(_, value)| value).collect();
    Secrets::new(given.into_iter().chain(declared.values))
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

/// Rewrites the logs of a build without its secrets.
pub fn build(folder: &Path, secrets: &Secrets) -> io::Result<()> {
    for name in [files::LOG, files::ERRORS] {
        let path = folder.join(name);
        if path.is_file() {
            file(&path, secrets)?;
        }
    }
    Ok(())
}

/// Rewrites a file without secrets, if one is in it; keeps its lines and every byte that is not a secret's.
fn file(path: &Path, secrets: &Secrets) -> io::Result<()> {
    let mut found = false;
    let search = |line: &[u8]| {
        found |= secrets.appear_in(&String::from_utf8_lossy(line));
        Ok(!found)
    };
    if !secrets.0.is_empty() {
        while_lines(path, search)?;
    }
    if !found {
        return Ok(());
    }
    let beside = path.with_extension("redacted");
    let mut out = BufWriter::new(
        fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?,
    );
    while_lines(path, |line| {
        let text = String::from_utf8_lossy(line);
        if secrets.appear_in(&text) {
            out.write_all(secrets.redact(&text).as_bytes())?;
        } else {
            out.write_all(line)?;
        }
        Ok(true)
    })?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&beside, path)
}

/// Hands on each line with its end, as long as it is asked for more.
fn while_lines(path: &Path, mut more: impl FnMut(&[u8]) -> io::Result<bool>) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut part = reader.by_ref().take(LONGEST_LINE);
        if part.read_until(b'\n', &mut line)? == 0 || !more(&line)? {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(content: &[u8], secrets: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        fs::write(&path, content).unwrap();
        let secrets = secrets.iter().map(|&secret| secret.to_owned());
        file(&path, &Secrets::new(secrets)).unwrap();
        fs::read(&path).unwrap()
    }

    #[test]
    fn a_secret_is_taken_out_of_a_kept_log_and_each_line_of_a_long_one() {
        assert_eq!(
            redacted(
                b"a secretsecret b\nfirst-line-of-key\nclean\n",
                &["secretsecret", "first-line-of-key\nsecond-line"]
            ),
            b"a <redacted> b\n<redacted>\nclean\n"
        );
    }

    #[test]
    fn its_base64_is_taken_out_and_its_form_in_machine_readable_output() {
        // `echo 'pass,word-1' | base64`
        assert_eq!(
            redacted(b"cGFzcyx3b3JkLTEK\n", &["pass,word-1"]),
            b"<redacted>LTEK\n"
        );
        assert_eq!(
            redacted(b"1,,ui,say,pass%!(PACKER_COMMA)word-1\n", &["pass,word-1"]),
            b"1,,ui,say,<redacted>\n"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_as_they_are() {
        assert_eq!(
            redacted(b"\xff\xfe\nsecretsecret\n", &["secretsecret"]),
            b"\xff\xfe\n<redacted>\n"
        );
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
        let job = Job {
            packer: "packer".into(),
            folder: folder.path().to_owned(),
            temporary: "/tmp".into(),
            commands: vec![],
            timeout_seconds: 1,
            grace_seconds: 1,
            secret_variables: vec!["AWS_SECRET_ACCESS_KEY".into()],
            heartbeat: None,
            start_before: None,
        };
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "of-aws"),
            ("PKR_VAR_token", "of-environment"),
            ("PATH", "/usr/bin"),
        ];
        let secrets = of_build(
            &job,
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(
            secrets.redact("of-aws in-a-file of-environment /usr/bin"),
            "<redacted> <redacted> <redacted> /usr/bin"
        );
    }
}
