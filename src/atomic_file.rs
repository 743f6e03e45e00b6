//! Files that are written whole or not at all: a reader sees what was there before, or all of what
//! is there now. They are for this user only.
//!
//! Where the folder of a file is gone nothing is written: somebody has removed what it belongs to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The end of the name of a file that is being written beside the one that it is to be.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Puts a file with these bytes in the place of whatever is there. Once that is done, no power loss
/// takes it away.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |beside| write_new(beside, bytes))?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The same for a file of a person's that is there: it keeps its mode.
pub(crate) fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions();
    replace(path, |beside| {
        let mut file = create(beside)?;
        file.write_all(bytes)?;
        file.set_permissions(mode)?;
        file.sync_all()
    })
}

/// The same for what can be worked out again: a power loss may take it away.
pub(crate) fn write_derived(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, |beside| create(beside)?.write_all(bytes))
}

/// Writes a file where it stands, and sees to it that its content is on the disk.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder and those above it, for this user only.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the folder of a file.
pub(crate) fn make_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_folder)
}

/// What was done with a file that may be missing; none if it is.
pub(crate) fn if_there<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let beside = beside(path);
    let written = write(&beside).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What could not be written whole, on a full disk, is not to lie about: it may be a list of
        // secrets.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Makes an empty file in the place of whatever is there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// Of this process only: two that write the same file do not write into each other's.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{UNFINISHED}", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        assert!(write_derived(&path, b"x").is_err(), "its folder is gone");
        make_folder_of(&path).unwrap();
        for write in [write_durably, write_derived] {
            for text in ["one", "two"] {
                write(&path, text.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
            }
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_a_persons_keeps_its_mode_and_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(rewrite(&path, b"x").is_err());
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        rewrite(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o664);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_its_place_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::create_dir_all(path.join("in its way")).unwrap();
        for write in [write_durably, write_derived] {
            assert!(write(&path, b"x").is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
