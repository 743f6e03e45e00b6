//! Commits and trees as values: what is read of git, whoever reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::host_cause::HostCause;
use crate::ids::Revision;

/// The id of a git object: 20 bytes of SHA-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 20]);

impl std::fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a tree entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// Mode 040000.
    Tree,
    /// Mode 100644.
    File,
    /// Mode 100755.
    Executable,
    /// Mode 120000.
    Symlink,
    /// Mode 160000.
    Submodule,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without a slash.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// The object it names.
    pub id: ObjectId,
}

/// A file with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// File or executable, or a symlink or submodule that the reader of it must refuse.
    pub kind: EntryKind,
    /// The blob.
    pub id: ObjectId,
    /// Its bytes; for a symlink its target; for a submodule nothing.
    pub content: Arc<[u8]>,
}

/// All files below a folder, by path relative to it (`templates/.pkr.hcl`).
pub type Files = BTreeMap<String, SourceFile>;

/// A repository at one commit.
pub trait GitTree: Send + Sync {
    /// The commit.
    fn revision(&self) -> &Revision;

    /// The entry at a path from the root; none if there is nothing. The empty path is the root
    /// tree.
    fn entry(&self, path: &str) -> Result<Option<Entry>, SourceError>;

    /// The entries of one tree, in git's order.
    fn list(&self, tree: ObjectId) -> Result<Vec<Entry>, SourceError>;

    /// The bytes of a blob. `path` is for the message only. Refuses blobs above [`MAX_FILE_BYTES`]
    /// without reading them.
    fn blob(&self, id: ObjectId, path: &str) -> Result<Arc<[u8]>, SourceError>;

    /// All files below a tree. `path` (the folder's path from the root) is for messages only.
    fn files(&self, tree: ObjectId, path: &str) -> Result<Files, SourceError>;
}

/// Larger files are refused: nothing that a template step uploads from git is this large, and one
/// would fill the memory.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;

/// Why git could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A person has to do something: not a repository, no such branch, another user's, reftable,
    /// denied.
    #[error("{0}")]
    Person(Diagnostic),
    /// It may work later: the network, a lock.
    #[error("{place} cannot be read now: {detail}")]
    Transient {
        /// Which repository.
        place: String,
        /// What libgit2 said.
        detail: String,
    },
    /// This host keeps it from being read; another host may read it.
    #[error("{place} cannot be read on this host, for {cause}: {detail}")]
    Host {
        /// Which repository.
        place: String,
        /// What this host lacks.
        cause: HostCause,
        /// What libgit2 said.
        detail: String,
    },
    /// Something that the repository names is not in it, or cannot be read from it.
    #[error("{0}")]
    Damaged(Diagnostic),
}

impl SourceError {
    /// As an error for a person, where nobody else can mend what is damaged.
    #[must_use]
    pub fn final_word(self) -> Self {
        match self {
            Self::Damaged(why) => Self::Person(why),
            other => other,
        }
    }
}
