//! Which Packer this is, and what it knows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::atomic_file::write_durably;
use crate::packer::io;
use reconciler_model::build::BuildError;
use reconciler_model::diagnostic::Diagnostic;

/// A version of Packer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackerVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl PackerVersion {
    /// Reads `Packer v1.6.6` as `packer version` prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let word = text
            .split_ascii_whitespace()
            .find(|word| word.starts_with('v') && word.contains('.'))?;
        let mut numbers = word[1..].split(['.', '-', '+']).map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next().unwrap_or(0) })
    }

    /// Whether it is what `required_version` asks for (`>= 1.7.0, < 2.0`, `~> 1.8`); none where
    /// that is written in a way that is not known here: Packer will tell.
    #[must_use]
    pub fn satisfies(self, constraint: &str) -> Option<bool> {
        let mut all = true;
        for one in constraint.split(',').map(str::trim) {
            let at = one.find(|c: char| c.is_ascii_digit() || c == 'v')?;
            let (operator, text) = (one[..at].trim(), one[at..].trim_start_matches('v'));
            let numbers: Vec<u32> =
                text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
            let number = |place: usize| numbers.get(place).copied().unwrap_or(0);
            let wanted = Self { major: number(0), minor: number(1), patch: number(2) };
            all &= match operator {
                "" | "=" => self == wanted,
                "!=" => self != wanted,
                ">" => self > wanted,
                ">=" => self >= wanted,
                "<" => self < wanted,
                "<=" => self <= wanted,
                "~>" if numbers.len() == 2 => self >= wanted && self.major == wanted.major,
                "~>" if numbers.len() == 3 => {
                    self >= wanted && (self.major, self.minor) == (wanted.major, wanted.minor)
                }
                _ => return None,
            };
        }
        Some(all)
    }

    /// `required_plugins` and `packer init` came with 1.7.
    #[must_use]
    pub fn knows_required_plugins(self) -> bool {
        (self.major, self.minor) >= (1, 7)
    }
}

impl fmt::Display for PackerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Finds Packer: the configured binary, or the first on the `PATH`.
pub fn locate(configured: Option<&Path>) -> Result<PathBuf, BuildError> {
    let missing = |message: String| {
        BuildError::Host(
            Diagnostic::new(message)
                .hint("install Packer, or name its binary in `packer.binary` of the configuration"),
        )
    };
    if let Some(path) = configured {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(missing(format!("Packer is not at {}", path.display())))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("packer"))
        .find(|file| file.is_file())
        .ok_or_else(|| missing("Packer is not on the PATH".to_owned()))
}

/// Asks a binary for its version, once for each change of the file: the answer is kept in `cache`.
pub async fn ask(binary: &Path, cache: &Path) -> Result<PackerVersion, BuildError> {
    let facts = std::fs::metadata(binary).map_err(io("looking at Packer"))?;
    let changed = facts
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .unwrap_or_default();
    let key = format!("{} {} {}", binary.display(), facts.len(), changed.as_nanos());
    let kept = std::fs::read_to_string(cache).unwrap_or_default();
    if let Some(version) =
        kept.lines().find_map(|line| line.strip_prefix(&key)).and_then(PackerVersion::parse)
    {
        return Ok(version);
    }
    let run = tokio::process::Command::new(binary)
        .arg("version")
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), run).await.map_err(|_| {
        BuildError::Host(Diagnostic::new(format!("{} version does not answer", binary.display())))
    })?;
    let output = output.map_err(io("starting Packer"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.lines().find_map(PackerVersion::parse).ok_or_else(|| {
        BuildError::Host(
            Diagnostic::new(format!(
                "{} does not say its version; it printed {:?}",
                binary.display(),
                said.trim()
            ))
            .hint("is it HashiCorp's Packer?"),
        )
    })?;
    // Only a shortcut for the next time.
    let _ = write_durably(cache, format!("{key} v{version}\n").as_bytes());
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_held_against_what_a_template_asks_for() {
        let debian = PackerVersion::parse("Packer v1.6.6").unwrap();
        let cases = [
            (">= 1.7.0", Some(false)),
            (">= 1.6, < 2", Some(true)),
            ("~> 1.6", Some(true)),
            ("~> 1.6.7", Some(false)),
            ("1.6.6", Some(true)),
            ("!= 1.6.6", Some(false)),
            ("newest", None),
        ];
        for (constraint, expected) in cases {
            assert_eq!(debian.satisfies(constraint), expected, "{constraint}");
        }
    }

    #[test]
    fn a_version_is_read_from_what_packer_prints() {
        let said = "Packer v1.16.0-dev (abc)\n";
        assert_eq!(PackerVersion::parse(said).unwrap().to_string(), "1.16.0");
        assert_eq!(PackerVersion::parse("cracklib-packer 2.9"), None);
    }
}
