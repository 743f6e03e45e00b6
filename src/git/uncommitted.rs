//! Whether a work tree has changes below some folders that no commit has: staged or not, tracked or
//! not.
//!
//! What git noted of each file in its index (size, times, inode) and the listing of the folders
//! mostly say that there are none, for less than getting libgit2 ready costs. Where they do not say
//! so beyond doubt, libgit2 compares.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use git2::{Repository, StatusOptions};

use crate::git::plain::PlainRepository;
use reconciler_model::source::{GitTree, ObjectId};

/// A folder, as git names it: without a slash at its ends, and empty for the repository's root.
fn plain_root(root: &str) -> &str {
    match root.trim_matches('/') {
        "." => "",
        root => root,
    }
}

/// Of these folders those with changes, as libgit2 sees them.
pub(super) fn compared(
    repository: &Repository,
    roots: &[String],
) -> Result<Vec<String>, git2::Error> {
    let mut options = StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(false)
        .disable_pathspec_match(true)
        .update_index(false);
    for root in roots.iter().map(|root| plain_root(root)) {
        if !root.is_empty() {
            options.pathspec(root);
        }
    }
    let statuses = repository.statuses(Some(&mut options))?;
    let is_changed = |root: &&String| {
        let root = plain_root(root);
        statuses.iter().any(|one| {
            let path = one.path_bytes();
            let rest = path.strip_prefix(root.as_bytes());
            root.is_empty() || rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        })
    };
    Ok(roots.iter().filter(is_changed).cloned().collect())
}

/// What can be told without libgit2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// There are no changes.
    Clean,
    /// There may be some.
    Unsure,
    /// There are more files than were to be looked at.
    TooMany,
}

/// Looks at files and folders, at most so many.
pub(super) fn glance(
    repository: &PlainRepository,
    tree: &dyn GitTree,
    roots: &[String],
    most: usize,
) -> Glance {
    let path = repository.git_dir.join("index");
    let Ok(found) = fs::metadata(&path) else {
        return Glance::Unsure;
    };
    if found.len() / LONGEST_ENTRY > most as u64 {
        return Glance::TooMany;
    }
    let Ok(bytes) = fs::read(&path) else {
        return Glance::Unsure;
    };
    let Some(index) = Index::read(&bytes, most) else {
        return Glance::Unsure;
    };
    if index.count > most {
        return Glance::TooMany;
    }
    let written = (found.mtime(), found.mtime_nsec());
    let is_clean = |root: &String| {
        let root = plain_root(root);
        index.is_committed(tree, root) && index.is_in(&repository.folder, root, written)
    };
    if roots.iter().all(is_clean) { Glance::Clean } else { Glance::Unsure }
}

/// The index file, as far as it is plain: version 2 or 3, each file once and without special flags.
struct Index<'a> {
    count: usize,
    entries: HashMap<&'a [u8], Noted>,
    trees: HashMap<Vec<u8>, ObjectId>,
}

/// What git noted of a file when it last looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    changed: (u32, u32),
    modified: (u32, u32),
    inode: u32,
    mode: u32,
    size: u32,
}

/// What comes before a name.
const ENTRY: usize = 62;

/// Hardly any entry takes more bytes.
const LONGEST_ENTRY: u64 = 400;

impl<'a> Index<'a> {
    /// None if it is anything but plain. With more than `most` files only their number is read.
    fn read(bytes: &'a [u8], most: usize) -> Option<Self> {
        let version = number(bytes, 4)?;
        if !bytes.starts_with(b"DIRC") || !matches!(version, 2 | 3) {
            return None;
        }
        let count = usize::try_from(number(bytes, 8)?).ok()?;
        let mut index = Self { count, entries: HashMap::new(), trees: HashMap::new() };
        if count > most {
            return Some(index);
        }
        let mut at = 12;
        for _ in 0..count {
            at = index.entry(bytes, at)?;
        }
        let end = bytes.len().checked_sub(20)?;
        while at + 8 <= end {
            let size = usize::try_from(number(bytes, at + 4)?).ok()?;
            let data = bytes.get(at + 8..at + 8 + size)?;
            match &bytes[at..at + 4] {
                b"TREE" => index.trees(data)?,
                // In small letters: the file cannot be understood without it.
                [first, ..] if first.is_ascii_lowercase() => return None,
                _ => {}
            }
            at += 8 + size;
        }
        Some(index)
    }

    fn entry(&mut self, bytes: &'a [u8], at: usize) -> Option<usize> {
        let word = |place: usize| number(bytes, at + 4 * place);
        let flags = u16::from_be_bytes(bytes.get(at + 60..at + ENTRY)?.try_into().ok()?);
        // Assumed to be unchanged, extended, or one side of a merge.
        if flags & 0xf000 != 0 {
            return None;
        }
        let name = bytes.get(at + ENTRY..)?;
        let length = name.iter().position(|byte| *byte == 0)?;
        let noted = Noted {
            changed: (word(0)?, word(1)?),
            modified: (word(2)?, word(3)?),
            inode: word(5)?,
            mode: word(6)?,
            size: word(9)?,
        };
        let is_new = self.entries.insert(&name[..length], noted).is_none();
        is_new.then_some(at + (ENTRY + length + 8) / 8 * 8)
    }

    /// The trees that git has written already of what is in the index.
    fn trees(&mut self, mut data: &[u8]) -> Option<()> {
        // The path of each tree that is not complete yet, and how many are still to come below it.
        let mut open: Vec<(Vec<u8>, usize)> = Vec::new();
        while !data.is_empty() {
            let (name, rest) = cut(data, 0)?;
            let (line, rest) = cut(rest, b'\n')?;
            let mut numbers = std::str::from_utf8(line).ok()?.split(' ');
            let files: i64 = numbers.next()?.parse().ok()?;
            let below: usize = numbers.next()?.parse().ok()?;
            data = rest;
            let mut path = open.last().map_or_else(Vec::new, |(path, _)| path.clone());
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if files >= 0 {
                let (id, rest) = data.split_first_chunk::<20>()?;
                self.trees.insert(path.clone(), ObjectId(*id));
                data = rest;
            }
            if let Some((_, left)) = open.last_mut() {
                *left = left.checked_sub(1)?;
            }
            open.push((path, below));
            while open.last().is_some_and(|(_, left)| *left == 0) {
                open.pop();
            }
        }
        Some(())
    }

    /// Whether a folder is in the index as it is in the commit.
    fn is_committed(&self, tree: &dyn GitTree, root: &str) -> bool {
        match tree.entry(root) {
            Ok(Some(entry)) => self.trees.get(root.as_bytes()) == Some(&entry.id),
            Ok(None) => !self.entries.keys().any(|path| is_below(path, root)),
            Err(_) => false,
        }
    }

    /// Whether a folder of the work tree holds what the index has of it, untouched since, and
    /// nothing else.
    fn is_in(&self, work_tree: &Path, root: &str, written: (i64, i64)) -> bool {
        let expected = self.entries.keys().filter(|path| is_below(path, root));
        let mut waiting = vec![root.as_bytes().to_vec()];
        let mut seen = 0;
        while let Some(folder) = waiting.pop() {
            let path = work_tree.join(std::ffi::OsStr::from_bytes(&folder));
            let entries = match fs::read_dir(path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) => return false,
            };
            for entry in entries {
                let Ok(entry) = entry else { return false };
                let name = entry.file_name();
                if folder.is_empty() && name == ".git" {
                    continue;
                }
                let mut path = folder.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.as_bytes());
                match entry.file_type() {
                    // A repository in the repository.
                    Ok(_) if name == ".git" => return false,
                    Ok(kind) if kind.is_dir() => waiting.push(path),
                    Ok(_) => match (self.entries.get(path.as_slice()), entry.metadata()) {
                        (Some(noted), Ok(found)) if noted.is_of(&found, written) => seen += 1,
                        _ => return false,
                    },
                    Err(_) => return false,
                }
            }
        }
        seen == expected.count()
    }
}

impl Noted {
    /// Whether a file is the one that git looked at. One that was changed after the index was
    /// written, or in the same moment, may be another.
    fn is_of(&self, found: &fs::Metadata, written: (i64, i64)) -> bool {
        let time = |(seconds, part): (u32, u32)| (i64::from(seconds), i64::from(part));
        let is_executable = found.permissions().mode() & 0o100 != 0;
        let mode = match (found.is_file(), found.is_symlink(), is_executable) {
            (true, _, false) => 0o100_644,
            (true, _, true) => 0o100_755,
            (_, true, _) => 0o120_000,
            _ => return false,
        };
        #[expect(clippy::cast_possible_truncation, reason = "git notes the lower half")]
        let (inode, size) = (found.ino() as u32, found.size() as u32);
        mode == self.mode
            && (inode, size) == (self.inode, self.size)
            && (found.ctime(), found.ctime_nsec()) == time(self.changed)
            && (found.mtime(), found.mtime_nsec()) == time(self.modified)
            && time(self.modified) < written
    }
}

fn is_below(path: &[u8], root: &str) -> bool {
    let rest = path.strip_prefix(root.as_bytes());
    root.is_empty() || rest.is_some_and(|rest| rest.starts_with(b"/"))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}
