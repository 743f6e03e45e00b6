//! Takes secret values out of what is kept or shown.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What stands in the place of a secret.
const MARK: &str = "<redacted>";

/// Shorter values are no secrets, and would tear holes into every line.
const SHORTEST: usize = 8;

/// Values that must not appear.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Takes whole values; each line of one that has several counts by itself.
    #[must_use]
    pub fn new(values: &[String]) -> Self {
        let mut all: Vec<String> = values
            .iter()
            .flat_map(|value| std::iter::once(value.as_str()).chain(value.lines()))
            .filter(|value| value.len() >= SHORTEST)
            .map(str::to_owned)
            .collect();
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        all.dedup();
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

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Rewrites a file without secrets, if one is in it. Read line by line: a log may have gigabytes.
pub fn file(path: &Path, secrets: &Secrets) -> std::io::Result<()> {
    if secrets.0.is_empty() || !any_line(path, |line| secrets.appear_in(line))? {
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
    any_line(path, |line| {
        out.write_all(secrets.redact(line).as_bytes()).is_err()
    })?;
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&beside, path)
}

fn any_line(path: &Path, mut stop: impl FnMut(&str) -> bool) -> std::io::Result<bool> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        if reader
            .by_ref()
            .take(4 * 1024 * 1024)
            .read_until(b'\n', &mut buffer)?
            == 0
        {
            return Ok(false);
        }
        if stop(&String::from_utf8_lossy(&buffer)) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_a_kept_log_and_each_line_of_a_long_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packer.log");
        fs::write(&path, "a secretsecret b\nfirst-line-of-key\nclean\n").unwrap();
        file(
            &path,
            &Secrets::new(&[
                "secretsecret".into(),
                "first-line-of-key\nsecond-line".into(),
            ]),
        )
        .unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "a <redacted> b\n<redacted>\nclean\n"
        );
    }
}
