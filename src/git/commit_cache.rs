//! A commit whose trees were read before: what was asked of it then is answered from a file,
//! without opening the repository.
//!
//! A commit never changes, so an answer once given is right for ever; the file holds those for the
//! newest commit that was asked about. What is not among them is read from git and remembered by
//! [`CachedTree::keep`]. Step folders, which are large, are not: `controller::step_cache` remembers
//! what was worked out of them. A file's content is remembered only where the caller says that it
//! may lie on this disk: parameters can hold keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::checksummed_file::{ChecksummedWriter, Reader, unseal};
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::ids::Revision;
use reconciler_model::source::{Entry, EntryKind, Files, GitTree, ObjectId, SourceError};

/// How many answers of a kind are remembered: a plan asks for a few of each workflow.
const MOST: usize = 256;

/// A larger file is read from git.
const LARGEST: usize = 64 * 1024;

/// Whether a file's content may be kept on disk.
pub type MayKeep = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A commit, with what was asked of it before.
pub struct CachedTree {
    inner: Box<dyn GitTree>,
    may_keep: MayKeep,
    file: PathBuf,
    key: Digest,
    known: Answers,
    asked: Mutex<Answers>,
}

#[derive(Clone, Default)]
struct Answers {
    entries: BTreeMap<String, Option<Entry>>,
    lists: BTreeMap<ObjectId, Vec<Entry>>,
    blobs: BTreeMap<ObjectId, Arc<[u8]>>,
}

impl CachedTree {
    /// A commit of the repository at `place`, with the memory that is kept below `state_dir`.
    #[must_use]
    pub fn new(inner: Box<dyn GitTree>, state_dir: &Path, place: &str, may_keep: MayKeep) -> Self {
        let mut repository = Encoder::new("remembered commit file");
        repository.field(place.as_bytes());
        let repository = repository.finish();
        let mut key = Encoder::new("reconciler remembered commit 1: entries lists blobs");
        key.field(repository.as_bytes()).field(inner.revision().as_str().as_bytes());
        let key = key.finish();
        let name = format!("commit-{}", &repository.to_string()[..32]);
        let file = state_dir.join("cache").join(name);
        let mut known = std::fs::read(&file)
            .ok()
            .and_then(|bytes| Answers::read(unseal(&bytes, &key)?))
            .unwrap_or_default();
        let kept = known.blobs.len();
        known.blobs.retain(|_, blob| may_keep(blob));
        if known.blobs.len() < kept {
            // Kept before this was said to be a secret.
            let _ = std::fs::remove_file(&file);
        }
        Self { inner, may_keep, file, key, known, asked: Mutex::default() }
    }

    /// Remembers what was asked this time.
    pub fn keep(&self) {
        let asked = self.asked();
        if asked.is_empty() {
            return;
        }
        let mut all = self.known.clone();
        all.entries.extend(asked.entries.clone());
        all.lists.extend(asked.lists.clone());
        all.blobs.extend(asked.blobs.clone());
        // Without a memory git is read: slower, not wrong.
        let _ = all.sealed(&self.key).write(&self.file);
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GitTree for CachedTree {
    fn revision(&self) -> &Revision {
        self.inner.revision()
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError> {
        if let Some(known) = self.known.entries.get(path) {
            return Ok(known.clone());
        }
        let entry = self.inner.entry(path)?;
        let mut asked = self.asked();
        if asked.entries.len() < MOST {
            asked.entries.insert(path.to_owned(), entry.clone());
        }
        Ok(entry)
    }

    fn list(&self, tree: ObjectId) -> Result<Vec<Entry>, SourceError> {
        if let Some(known) = self.known.lists.get(&tree) {
            return Ok(known.clone());
        }
        let list = self.inner.list(tree)?;
        let mut asked = self.asked();
        if asked.lists.len() < MOST {
            asked.lists.insert(tree, list.clone());
        }
        Ok(list)
    }

    fn blob(&self, id: ObjectId, path: &str) -> Result<Arc<[u8]>, SourceError> {
        if let Some(known) = self.known.blobs.get(&id) {
            return Ok(Arc::clone(known));
        }
        let blob = self.inner.blob(id, path)?;
        let mut asked = self.asked();
        if blob.len() <= LARGEST && asked.blobs.len() < MOST && (self.may_keep)(&blob) {
            asked.blobs.insert(id, Arc::clone(&blob));
        }
        Ok(blob)
    }

    fn files(&self, tree: ObjectId, path: &str) -> Result<Files, SourceError> {
        self.inner.files(tree, path)
    }
}

impl Answers {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lists.is_empty() && self.blobs.is_empty()
    }

    fn sealed(&self, key: &Digest) -> ChecksummedWriter {
        let listed: usize = self.lists.values().map(Vec::len).sum();
        let mut out = ChecksummedWriter::new(key, 48 * listed + 4096);
        out.number(self.entries.len());
        for (path, entry) in &self.entries {
            out.text(path);
            out.number(usize::from(entry.is_some()));
            if let Some(entry) = entry {
                seal_entry(&mut out, entry);
            }
        }
        out.number(self.lists.len());
        for (id, list) in &self.lists {
            out.bytes(&id.0);
            out.number(list.len());
            for entry in list {
                seal_entry(&mut out, entry);
            }
        }
        out.number(self.blobs.len());
        for (id, blob) in &self.blobs {
            out.bytes(&id.0);
            out.block(blob);
        }
        out
    }

    fn read(mut from: Reader<'_>) -> Option<Self> {
        let mut answers = Self::default();
        for _ in 0..from.number()? {
            let path = from.text()?.to_owned();
            let entry = match from.number()? {
                0 => None,
                _ => Some(read_entry(&mut from)?),
            };
            answers.entries.insert(path, entry);
        }
        for _ in 0..from.number()? {
            let id = ObjectId(*from.chunk()?);
            let list = (0..from.number()?).map(|_| read_entry(&mut from)).collect::<Option<_>>()?;
            answers.lists.insert(id, list);
        }
        for _ in 0..from.number()? {
            let id = ObjectId(*from.chunk()?);
            answers.blobs.insert(id, Arc::from(from.block()?));
        }
        from.is_at_end().then_some(answers)
    }
}

const KINDS: [EntryKind; 5] = [
    EntryKind::Tree,
    EntryKind::File,
    EntryKind::Executable,
    EntryKind::Symlink,
    EntryKind::Submodule,
];

fn seal_entry(out: &mut ChecksummedWriter, entry: &Entry) {
    out.text(&entry.name);
    let kind = KINDS.iter().zip(0..).find(|(kind, _)| **kind == entry.kind);
    out.bytes(&[kind.map_or(u8::MAX, |(_, number)| number)]);
    out.bytes(&entry.id.0);
}

fn read_entry(from: &mut Reader<'_>) -> Option<Entry> {
    Some(Entry {
        name: from.text()?.to_owned(),
        kind: *KINDS.get(usize::from(from.byte()?))?,
        id: ObjectId(*from.chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A commit that counts what it is asked.
    struct Counting(Revision, Arc<AtomicUsize>);

    impl Counting {
        #[expect(clippy::unnecessary_wraps, reason = "every answer of the port is a result")]
        fn asked<T>(&self, answer: T) -> Result<T, SourceError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(answer)
        }
    }

    fn entry(name: &str, kind: EntryKind) -> Entry {
        Entry {
            name: name.to_owned(),
            kind,
            id: ObjectId([name.len().try_into().unwrap_or(0); 20]),
        }
    }

    impl GitTree for Counting {
        fn revision(&self) -> &Revision {
            &self.0
        }

        fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError> {
            self.asked((path != "none").then(|| entry(path, EntryKind::Tree)))
        }

        fn list(&self, _: ObjectId) -> Result<Vec<Entry>, SourceError> {
            self.asked(KINDS.iter().map(|kind| entry("é", *kind)).collect())
        }

        fn blob(&self, id: ObjectId, _: &str) -> Result<Arc<[u8]>, SourceError> {
            self.asked(Arc::from(vec![id.0[0]; 70_000 * usize::from(id.0[0])]))
        }

        fn files(&self, _: ObjectId, _: &str) -> Result<Files, SourceError> {
            self.asked(Files::new())
        }
    }

    #[test]
    fn what_was_asked_of_a_commit_is_answered_alike_without_asking_git() {
        let state = tempfile::tempdir().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let (small, large) = (ObjectId([0; 20]), ObjectId([1; 20]));
        let look = |revision: &str, place: &str| {
            count.store(0, Ordering::Relaxed);
            let inner = Counting(Revision::new(revision), Arc::clone(&count));
            let tree = CachedTree::new(Box::new(inner), state.path(), place, Box::new(|_| true));
            let seen = (
                tree.entry("w").unwrap(),
                tree.entry("none").unwrap(),
                tree.list(small).unwrap(),
                tree.blob(small, "").unwrap(),
                tree.blob(large, "").unwrap(),
            );
            tree.keep();
            (seen, count.load(Ordering::Relaxed))
        };
        let (first, asked) = look("a", "repo");
        assert_eq!(asked, 5);
        let (again, asked) = look("a", "repo");
        assert_eq!(again, first);
        assert_eq!(asked, 1, "the large file is read each time");
        assert_eq!(look("b", "repo").1, 5, "another commit");
        assert_eq!(look("b", "other").1, 5, "another repository");
        assert_eq!(look("b", "repo").1, 1);
        assert_eq!(look("a", "repo").1, 5, "only the newest is remembered");
    }

    #[test]
    fn what_may_not_lie_on_disk_is_asked_again_and_what_was_kept_of_it_goes() {
        let state = tempfile::tempdir().unwrap();
        let blob = |may_keep: bool| {
            let count = Arc::new(AtomicUsize::new(0));
            let inner = Counting(Revision::new("a"), Arc::clone(&count));
            let keeps = Box::new(move |_: &[u8]| may_keep);
            let tree = CachedTree::new(Box::new(inner), state.path(), "repo", keeps);
            tree.blob(ObjectId([0; 20]), "").unwrap();
            tree.keep();
            count.load(Ordering::Relaxed)
        };
        assert_eq!([blob(true), blob(true)], [1, 0]);
        assert_eq!([blob(false), blob(false)], [1, 1]);
        assert_eq!(blob(true), 1, "nothing of it was left");
    }
}
