//! Whether this host can do right now what every pass needs: open a few files, and write one to the
//! state directory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use reconciler_model::host_cause::HostCause;

/// So many files are opened at once: what a build needs to begin.
const FILES: usize = 8;

/// So many bytes are written.
const BYTES: usize = 16 * 1024;

/// What this host lacks; none if all is well.
#[must_use]
pub fn probe(state_dir: &Path) -> Option<HostCause> {
    let file = state_dir.join(format!("probe.{}", std::process::id()));
    let tried = open_some().and_then(|()| write(&file));
    // It may be there in part.
    let _ = fs::remove_file(&file);
    HostCause::of(&tried.err()?.to_string())
}

fn open_some() -> io::Result<()> {
    let open = |_| File::open("/dev/null");
    let files: io::Result<Vec<File>> = (0..FILES).map(open).collect();
    files.map(drop)
}

fn write(file: &Path) -> io::Result<()> {
    let mut file = File::create(file)?;
    file.write_all(&[b'x'; BYTES])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_well_lacks_nothing_and_nothing_is_left() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(probe(state.path()), None);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_that_cannot_take_more_is_noticed() {
        assert_eq!(
            HostCause::of(&write(Path::new("/dev/full")).unwrap_err().to_string()),
            Some(HostCause::Disk)
        );
    }
}
