//! The last commit of a repository that was applied, kept in a file of the state directory, so that
//! a rewritten history is seen across restarts. One file for each followed reference: following
//! another one is the operator's own doing and starts anew.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::atomic_file::{make_folder_of, write_durably};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Revision;

/// Where the last applied commit of one reference is kept.
#[derive(Clone, Debug)]
pub struct LastApplied {
    path: PathBuf,
}

impl LastApplied {
    /// For a reference of a repository; the file need not exist.
    #[must_use]
    pub fn of(state_dir: &Path, place: &str, reference: &str) -> Self {
        let digest = Sha256::digest(format!("{place}\n{reference}").as_bytes());
        let digest: [u8; 32] = digest.into();
        let begin = digest.first_chunk().copied().unwrap_or_default();
        let name = format!("{:016x}", u64::from_be_bytes(begin));
        Self { path: state_dir.join("applied").join(name) }
    }

    /// The commit; none if nothing was applied yet. What cannot be read is an error: taking it for
    /// nothing would allow anything.
    pub fn read(&self) -> Result<Option<Revision>, Diagnostic> {
        match fs::read_to_string(&self.path) {
            Ok(text) => {
                let id = text.trim();
                if id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    Ok(Some(Revision::new(id)))
                } else {
                    Err(self.unusable("it does not hold the id of a commit"))
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable(&error.to_string())),
        }
    }

    /// Keeps a commit, whole or not at all.
    pub fn write(&self, revision: &Revision) -> Result<(), Diagnostic> {
        self.replace(revision).map_err(|error| self.unusable(&error.to_string()))
    }

    fn replace(&self, revision: &Revision) -> std::io::Result<()> {
        make_folder_of(&self.path)?;
        write_durably(&self.path, format!("{revision}\n").as_bytes())
    }

    fn unusable(&self, said: &str) -> Diagnostic {
        Diagnostic::new(format!("the last applied commit cannot be kept: {said}"))
            .in_file(self.path.display().to_string())
            .hint(
                "mend the file or its folder; removing the file accepts whatever commit comes next",
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_kept_and_what_is_damaged_is_no_permission() {
        let folder = tempfile::tempdir().unwrap();
        let kept = LastApplied::of(folder.path(), "/srv/x.git", "main");
        assert_eq!(kept.read().unwrap(), None);
        let commit = Revision::new("4f2c1e9d".repeat(5));
        kept.write(&commit).unwrap();
        assert_eq!(kept.read().unwrap(), Some(commit));
        let other = LastApplied::of(folder.path(), "/srv/x.git", "release");
        assert_eq!(other.read().unwrap(), None);
        fs::write(&kept.path, "nonsense").unwrap();
        assert!(kept.read().is_err());
    }
}
