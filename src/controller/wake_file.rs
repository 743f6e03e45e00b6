//! Wakes the daemon of this host, so that it looks at once whether something is asked of it and not
//! at its next heartbeat. Only a hint: whoever may not write the file waits a few seconds longer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file in the state directory that is written to wake whoever looks at it.
#[derive(Clone, Debug)]
pub(super) struct WakeFile {
    path: PathBuf,
    seen: Option<SystemTime>,
}

impl WakeFile {
    /// That of a state directory, as it is now: what was asked before is found without it.
    pub(super) fn of(state_dir: &Path) -> Self {
        let path = place(state_dir);
        Self { seen: written_at(&path), path }
    }

    /// Whether somebody has written it since the last look that was taken in.
    pub(super) fn is_written(&self) -> bool {
        written_at(&self.path) != self.seen
    }

    /// Takes the look in: whether somebody had written it.
    pub(super) fn take_in(&mut self) -> bool {
        let now = written_at(&self.path);
        std::mem::replace(&mut self.seen, now) != now
    }
}

/// Wakes whoever runs with this state directory.
pub fn wake(state_dir: &Path) {
    // Where it cannot be written, a heartbeat finds what is asked.
    let _ = fs::write(place(state_dir), "somebody asks for something\n");
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("wake")
}

fn written_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_is_woken_once_for_each_time_it_is_written() {
        let state = tempfile::tempdir().unwrap();
        let mut file = WakeFile::of(state.path());
        assert!(!file.is_written() && !file.take_in());
        wake(state.path());
        assert!(file.is_written() && file.take_in());
        assert!(!file.is_written() && !file.take_in());
        // What was asked before a daemon began is found at its first look.
        assert!(!WakeFile::of(state.path()).is_written());
    }

    #[test]
    fn a_state_folder_that_is_not_there_is_no_matter() {
        wake(Path::new("/nowhere/at/all"));
        assert!(!WakeFile::of(Path::new("/nowhere/at/all")).is_written());
    }
}
