//! Writes a person's parameter file in a work tree, whole or not at all, and only while it is what
//! was read. What is written is for `reconciler_core::workflow::base_edit` to say.

use std::fs;
use std::path::{Path, PathBuf};

use crate::atomic_file;
use reconciler_model::diagnostic::Diagnostic;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ParameterFile {
    /// Reads it.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let bytes = fs::read(path).map_err(|error| said(path, &error, "read"))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// What stood in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts these bytes in the place of what was read, with the same mode.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), Diagnostic> {
        if Self::read(&self.path)? != *self {
            return Err(Diagnostic::new("was changed by somebody else just now")
                .in_file(self.path.display().to_string())
                .hint("nothing was written: look at it, and ask again"));
        }
        atomic_file::rewrite(&self.path, bytes).map_err(|error| said(&self.path, &error, "written"))
    }
}

fn said(path: &Path, error: &std::io::Error, done: &str) -> Diagnostic {
    Diagnostic::new(format!("cannot be {done}: {error}")).in_file(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_written_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workflow_param.json");
        fs::write(&path, "one").unwrap();
        let file = ParameterFile::read(&path).unwrap();
        fs::write(&path, "two").unwrap();
        assert!(file.replace(b"three").unwrap_err().message.contains("somebody else"));
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let file = ParameterFile::read(&path).unwrap();
        file.replace(b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
    }
}
