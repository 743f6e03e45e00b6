//! The board on which a daemon writes what it tries without success, for `reconciler status` on the
//! same host: a file of the state directory.
//!
//! It helps people only; nothing is decided by it. What cannot be written is in the daemon's log
//! all the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::atomic_file::write_durably;
use crate::controller::lease_holder::{holder_name, is_gone};
use reconciler_core::status::trouble::Trouble;

/// Where a daemon writes.
#[derive(Debug)]
pub struct StatusFile {
    file: PathBuf,
    shown: Mutex<BTreeMap<String, Vec<Trouble>>>,
    /// Files that are open for nothing, so that there is room for this one where no more can be
    /// opened.
    reserve: Mutex<Vec<fs::File>>,
}

/// What stands in the file.
#[derive(Serialize, Deserialize)]
struct Sheet {
    /// The daemon: what a process that is gone wrote says nothing.
    by: String,
    troubles: Vec<Trouble>,
}

impl StatusFile {
    /// An empty board. Touches nothing.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        Self { file: file(state_dir), shown: Mutex::default(), reserve: Mutex::new(reserve()) }
    }

    /// Shows what one part of the daemon is troubled by, in place of what it showed before.
    pub fn show(&self, part: &str, troubles: Vec<Trouble>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // The first word also takes away what a process that died here left.
        if shown.get(part) == Some(&troubles) {
            return;
        }
        shown.insert(part.to_owned(), troubles);
        let sheet =
            Sheet { by: holder_name(), troubles: shown.values().flatten().cloned().collect() };
        if self.put(&sheet).is_err() {
            let mut kept = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
            kept.clear();
            // On a full disk the old sheet stays.
            let _ = self.put(&sheet);
            *kept = reserve();
        }
    }

    /// What all parts of the daemon are troubled by.
    #[must_use]
    pub fn shown(&self) -> Vec<Trouble> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.values().flatten().cloned().collect()
    }

    fn put(&self, sheet: &Sheet) -> io::Result<()> {
        if !sheet.troubles.is_empty() {
            return write_durably(&self.file, &serde_json::to_vec(sheet)?);
        }
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn reserve() -> Vec<fs::File> {
    const RESERVE: usize = 4;
    let open = |_| fs::File::open("/dev/null").ok();
    (0..RESERVE).filter_map(open).collect()
}

/// A daemon that has ended is troubled by nothing.
impl Drop for StatusFile {
    fn drop(&mut self) {
        if self.shown.get_mut().is_ok_and(|shown| !shown.is_empty()) {
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// What a daemon of this host that runs now is troubled by.
#[must_use]
pub fn read(state_dir: &Path) -> Vec<Trouble> {
    let sheet = fs::read(file(state_dir)).ok();
    let sheet = sheet.and_then(|bytes| serde_json::from_slice::<Sheet>(&bytes).ok());
    sheet.filter(|sheet| !is_gone(&sheet.by)).map_or_else(Vec::new, |sheet| sheet.troubles)
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("troubles.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::format_stability::stays_readable;

    /// See `format_stability`: a literal is never changed, another one is added.
    #[test]
    fn what_an_earlier_version_is_troubled_by_is_shown() {
        stays_readable::<Sheet>(
            &[r#"{ "by": "one/4242/98765", "troubles": [] }"#],
            r#"{
                "by": "one/4242/98765-0123456789abcdef",
                "troubles": [{
                    "what": "settling build 1", "cause": "no space left", "hint": "make room", "times": 3, "since": "2026-11-25T00:00:00Z",
                    "next_try": "2026-11-25T00:05:00Z"
                }]
            }"#,
        );
    }

    fn trouble(what: &str) -> Trouble {
        Trouble {
            what: what.into(),
            cause: "no".into(),
            hint: None,
            times: 1,
            since: jiff::Timestamp::UNIX_EPOCH,
            next_try: None,
        }
    }

    #[test]
    fn what_a_living_daemon_shows_is_read_and_what_a_dead_one_showed_is_not() {
        let state = tempfile::tempdir().unwrap();
        let status_file = StatusFile::of(state.path());
        status_file.show("passes", vec![]);
        assert_eq!(read(state.path()), []);
        status_file.show("passes", vec![trouble("a")]);
        status_file.show("fetching x", vec![trouble("b")]);
        assert_eq!(read(state.path()), [trouble("b"), trouble("a")]);
        status_file.show("fetching x", vec![]);
        assert_eq!(read(state.path()), [trouble("a")]);
        let text = fs::read_to_string(file(state.path())).unwrap();
        let dead = text.replacen(&format!("/{}/", std::process::id()), "/1/", 1);
        fs::write(file(state.path()), dead).unwrap();
        assert_eq!(read(state.path()), []);
        drop(status_file);
        assert!(!file(state.path()).exists());
    }
}
