//! A release of Packer: how its files are called, which one a system takes, which version is the
//! newest, and what the signed list says about a file. Pure; nothing here is downloaded or trusted.

use std::fmt;

use crate::packer::version::PackerVersion;
use reconciler_model::digest::Digest;

/// A version as a release is named by it: `1.11.2`, or `1.12.0-beta1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseVersion {
    number: PackerVersion,
    /// What makes it no finished release; none sorts last by being no text at all.
    unfinished: Option<String>,
}

impl ReleaseVersion {
    /// Reads three numbers and perhaps what makes it unfinished, with or without a `v` before them.
    /// Nothing else: the text becomes part of names of files and of an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (numbers, unfinished) = match text.split_once('-') {
            Some((numbers, unfinished)) => (numbers, Some(unfinished)),
            None => (text, None),
        };
        let is_plain =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if unfinished.is_some_and(|part| !part.split('.').all(is_plain)) {
            return None;
        }
        let number = PackerVersion::of_three(numbers)?;
        Some(Self { number, unfinished: unfinished.map(str::to_owned) })
    }

    /// Its number, as the program says it.
    #[must_use]
    pub fn number(&self) -> PackerVersion {
        self.number
    }

    /// The list of sums of its files.
    #[must_use]
    pub fn sums_file(&self) -> String {
        format!("packer_{self}_SHA256SUMS")
    }

    /// The signature of that list.
    #[must_use]
    pub fn signature_file(&self) -> String {
        format!("packer_{self}_SHA256SUMS.sig")
    }

    /// The file for a system.
    #[must_use]
    pub fn zip_file(&self, platform: Platform) -> String {
        format!("packer_{self}_{platform}.zip")
    }
}

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unfinished {
            None => write!(f, "{}", self.number),
            Some(unfinished) => write!(f, "{}-{unfinished}", self.number),
        }
    }
}

/// The newest finished release of these names; what is no version is passed over.
#[must_use]
pub fn newest<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<ReleaseVersion> {
    let versions = names.into_iter().filter_map(ReleaseVersion::parse);
    versions.filter(|version| version.unfinished.is_none()).max()
}

/// The version whose list of sums a file is, by its name.
#[must_use]
pub fn version_of_sums(file: &str) -> Option<&str> {
    file.strip_prefix("packer_")?.strip_suffix("_SHA256SUMS")
}

/// A system and a processor, as the names of a release have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    system: &'static str,
    processor: &'static str,
}

impl Platform {
    /// Of the words that Rust has for a system and a processor (`std::env::consts`); none for what
    /// there is no release for.
    #[must_use]
    pub fn of(system: &str, processor: &str) -> Option<Self> {
        let system = match system {
            "linux" => "linux",
            "macos" => "darwin",
            "freebsd" => "freebsd",
            "netbsd" => "netbsd",
            "openbsd" => "openbsd",
            _ => return None,
        };
        let processor = match processor {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "arm" => "arm",
            "powerpc64" => "ppc64le",
            _ => return None,
        };
        Some(Self { system, processor })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.system, self.processor)
    }
}

/// What a list of sums says about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Its SHA-256.
    Sum(Digest),
    /// Nothing.
    Missing,
    /// Two sums: which one counts would be a guess.
    Twice,
}

/// Looks a file up in a list of lines `SUM  NAME`. A line of another form says nothing.
#[must_use]
pub fn listed(list: &str, file: &str) -> Listed {
    let mut found = list.lines().filter_map(|line| {
        let (sum, name) = line.split_once(char::is_whitespace)?;
        let name = name.trim_start();
        let is_named = name.strip_prefix('*').unwrap_or(name) == file;
        let is_digits = sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_named && is_digits).then(|| sum.parse().ok()).flatten()
    });
    match (found.next(), found.next()) {
        (None, _) => Listed::Missing,
        (Some(sum), None) => Listed::Sum(sum),
        (Some(_), Some(_)) => Listed::Twice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_and_nothing_that_leads_elsewhere() {
        for (text, read) in [
            ("1.11.2", Some("1.11.2")),
            ("v1.11.2", Some("1.11.2")),
            ("1.12.0-beta1", Some("1.12.0-beta1")),
            ("1.12.0-rc.1", Some("1.12.0-rc.1")),
            ("1.11", None),
            ("1.11.2.3", None),
            ("1.11.x", None),
            ("1.11.+2", None),
            ("1.11.2-", None),
            ("1.11.2+ent", None),
            ("1.11.2-a/../../b", None),
            ("../1.11.2", None),
            ("", None),
            ("latest", None),
        ] {
            let version = ReleaseVersion::parse(text).map(|version| version.to_string());
            assert_eq!(version.as_deref(), read, "{text}");
        }
    }

    #[test]
    fn the_newest_is_counted_in_numbers_and_is_finished() {
        let names = ["1.9.5", "1.11.2", "1.12.0-beta1", "1.11.10", "0.12.3", "nonsense"];
        assert_eq!(newest(names).unwrap().to_string(), "1.11.10");
        assert_eq!(newest(["1.12.0-beta1"]), None);
    }

    #[test]
    fn the_files_of_a_release_are_called_as_the_vendor_calls_them() {
        let version = ReleaseVersion::parse("1.11.2").unwrap();
        for (system, processor, name) in [
            ("linux", "x86_64", Some("packer_1.11.2_linux_amd64.zip")),
            ("linux", "aarch64", Some("packer_1.11.2_linux_arm64.zip")),
            ("linux", "powerpc64", Some("packer_1.11.2_linux_ppc64le.zip")),
            ("macos", "aarch64", Some("packer_1.11.2_darwin_arm64.zip")),
            ("linux", "s390x", None),
            ("plan9", "x86_64", None),
        ] {
            let zip = Platform::of(system, processor).map(|platform| version.zip_file(platform));
            assert_eq!(zip.as_deref(), name);
        }
        assert_eq!(version_of_sums(&version.sums_file()), Some("1.11.2"));
        assert_eq!(version_of_sums(&version.signature_file()), None);
    }

    #[test]
    fn a_file_has_the_one_sum_that_is_listed_under_its_whole_name() {
        let (one, other) = ("A1".repeat(32), "b2".repeat(32));
        let list = format!(
            "{one}  a.zip\n{other} *b.zip\n{other}  sub/a.zip\n{}  c.zip\n",
            "zz".repeat(32)
        );
        assert_eq!(listed(&list, "a.zip"), Listed::Sum("a1".repeat(32).parse().unwrap()));
        assert_eq!(listed(&list, "b.zip"), Listed::Sum(other.parse().unwrap()));
        for missing in ["c.zip", "zip", ".zip", ""] {
            assert_eq!(listed(&list, missing), Listed::Missing, "{missing}");
        }
        let twice = format!("{list}{other}  a.zip\n");
        assert_eq!(listed(&twice, "a.zip"), Listed::Twice);
    }
}
