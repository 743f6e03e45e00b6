//! The place of the program: a new one takes the old one's place in one step, and whatever goes
//! wrong before leaves everything as it was, without a trace of the attempt.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::packer::install::error::InstallError;

/// Everybody may run it, as everybody may run what lies in a folder of programs.
const RUNNABLE: u32 = 0o755;

/// Where a program is to be, with a folder beside it to work in: on the same file system, so that
/// the last step is one rename. What was made is gone when it is dropped.
pub(super) struct Place {
    target: PathBuf,
    /// Goes before the folders that it lies in.
    work: TempDir,
    made: MadeFolders,
}

impl Place {
    /// Finds out whether a file can be put there, before anything is asked of a network.
    pub(super) fn prepare(target: &Path) -> Result<Self, InstallError> {
        if target.is_dir() {
            return Err(InstallError::IsFolder(target.to_owned()));
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let fault = InstallError::place(folder);
        let made = MadeFolders::down_to(folder).map_err(&fault)?;
        let work = tempfile::Builder::new().prefix(".packer-").tempdir_in(folder).map_err(fault)?;
        Ok(Self { target: target.to_owned(), work, made })
    }

    /// A file to work with.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Makes a file that was written there a program, on the disk.
    pub(super) fn make_runnable(&self, program: &File) -> Result<(), InstallError> {
        let ready = program.set_permissions(Permissions::from_mode(RUNNABLE));
        ready.and_then(|()| program.sync_all()).map_err(InstallError::place(&self.target))
    }

    /// Puts a finished program in its place.
    pub(super) fn take(mut self, program: &Path) -> Result<(), InstallError> {
        let fault = InstallError::place(&self.target);
        // Seeded bug: the-old-packer-goes-first
        fs::rename(program, &self.target).map_err(&fault)?;
        self.made.0.clear();
        let folder = self.work.path().parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(&fault)
    }
}

/// Folders that were made for a program, and go again if it does not come.
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn down_to(folder: &Path) -> std::io::Result<Self> {
        let missing: Vec<_> = folder.ancestors().take_while(|above| !above.exists()).collect();
        let mut made = Self(Vec::new());
        for one in missing.into_iter().rev().filter(|one| !one.as_os_str().is_empty()) {
            fs::create_dir(one)?;
            made.0.push(one.to_owned());
            fs::set_permissions(one, Permissions::from_mode(RUNNABLE))?;
        }
        Ok(made)
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Only if nobody has put something in it.
            let _ = fs::remove_dir(folder);
        }
    }
}
