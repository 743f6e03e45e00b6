//! The packs of a mirror: whether they are whole, and how many become few.
//!
//! Every fetch brings a pack, and whoever reads keeps a file open for each that it reads from.
//! Joining keeps every object, also those that no reference leads to any more: a build may have
//! been begun from them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use git2::{Repository, RepositoryInitOptions};

use crate::git::mirror::{files, remove, tail};

/// With more packs than this some are joined.
pub(super) const MOST_PACKS: usize = 16;

/// So many are left at most.
const LEFT: usize = 8;

/// The shortest pack: a header and a checksum.
const SHORTEST_PACK: u64 = 12 + 20;

/// The shortest index: a header, the fan-out table and two checksums.
const SHORTEST_INDEX: u64 = 8 + 256 * 4 + 2 * 20;

/// A pack with its index.
#[derive(Clone, Debug)]
pub(super) struct Pack {
    path: PathBuf,
    size: u64,
}

/// The packs of a repository that have an index.
pub(super) fn all(git_dir: &Path) -> Vec<Pack> {
    let indexes = files(&git_dir.join("objects/pack"));
    let indexes =
        indexes.into_iter().filter(|path| path.extension().is_some_and(|end| end == "idx"));
    indexes
        .map(|index| {
            let path = index.with_extension("pack");
            let size = fs::metadata(&path).map_or(0, |found| found.len());
            Pack { path, size }
        })
        .collect()
}

impl Pack {
    /// The file's name.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether the pack ends with the checksum that its index names, and the index is as long as it
    /// says.
    pub(super) fn is_whole(&self) -> bool {
        self.ends_match().unwrap_or(false)
    }

    fn ends_match(&self) -> io::Result<bool> {
        let index = self.path.with_extension("idx");
        let (length, of_pack) = tail::<20>(&index, 40)?;
        let (size, checksum) = tail::<20>(&self.path, 20)?;
        if length < SHORTEST_INDEX || size < SHORTEST_PACK {
            return Ok(false);
        }
        // The last entry of the fan-out table counts the objects; each takes an id, a checksum and
        // an offset.
        let (_, count) = tail::<4>(&index, length - (8 + 255 * 4))?;
        let entries = u64::from(u32::from_be_bytes(count)) * (20 + 4 + 4);
        Ok(checksum == of_pack && length >= SHORTEST_INDEX + entries)
    }
}

/// Joins packs of a mirror where they have become many. `working` is a folder for what is in the
/// making; `alive` is called now and then.
pub(super) fn join(mirror: &Path, working: &Path, alive: &dyn Fn()) -> Result<(), git2::Error> {
    let parts = to_join(all(mirror));
    if parts.is_empty() {
        return Ok(());
    }
    let joined = joined(mirror, &parts, working, alive);
    remove(working);
    let name = joined?;
    for part in parts.iter().filter(|part| part.name() != name) {
        // The index first: by it a pack is found.
        for end in ["idx", "rev", "bitmap", "pack"] {
            let file = part.path.with_extension(end);
            if file.exists() {
                remove(&file);
            }
        }
    }
    Ok(())
}

/// The smallest packs, so that what is left is at least twice as large as all that is smaller, and
/// few.
fn to_join(mut packs: Vec<Pack>) -> Vec<Pack> {
    // Seeded bug: packs-never-joined
    if packs.len() <= MOST_PACKS {
        return Vec::new();
    }
    packs.sort_by_key(|pack| pack.size);
    let fewest = packs.len() + 1 - LEFT;
    let mut sum = 0;
    let cut = packs.iter().zip(1..).position(|(pack, number)| {
        let is_large = number > fewest && pack.size >= 2 * sum;
        sum += pack.size;
        is_large
    });
    packs.truncate(cut.unwrap_or(packs.len()));
    packs
}

/// Writes one pack of all objects of the parts into the mirror. Its file's name.
fn joined(
    mirror: &Path,
    parts: &[Pack],
    working: &Path,
    alive: &dyn Fn(),
) -> Result<String, git2::Error> {
    let repository = holding(parts, working)?;
    let mut builder = repository.packbuilder()?;
    builder.set_threads(1);
    let mut failed = None;
    let counted = repository.odb()?.foreach(|id| {
        alive();
        failed = builder.insert_object(*id, None).err();
        failed.is_none()
    });
    failed.map_or(Ok(()), Err)?;
    counted?;
    let folder = mirror.join("objects/pack");
    builder.write(&folder, 0o444)?;
    let name = builder.name()?.unwrap_or_default();
    let name = format!("pack-{name}.pack");
    let pack = folder.join(&name);
    // The parts go now: what takes their place is on the disk before.
    for path in [&pack, &pack.with_extension("idx"), &folder] {
        File::open(path).and_then(|file| file.sync_all()).map_err(|error| io_error(&error))?;
    }
    Ok(name)
}

/// A repository that holds these packs and nothing else.
fn holding(parts: &[Pack], folder: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false);
    let repository = Repository::init_opts(folder, &options)?;
    let inside = folder.join("objects/pack");
    fs::create_dir_all(&inside).map_err(|error| io_error(&error))?;
    for part in parts {
        for file in [part.path.clone(), part.path.with_extension("idx")] {
            let to = inside.join(file.file_name().unwrap_or_default());
            fs::hard_link(&file, &to)
                .or_else(|_| fs::copy(&file, &to).map(|_| ()))
                .map_err(|error| io_error(&error))?;
        }
    }
    Ok(repository)
}

/// An error of the system, as libgit2 would tell it.
pub(super) fn io_error(error: &io::Error) -> git2::Error {
    git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Os, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs(sizes: impl IntoIterator<Item = u64>) -> Vec<Pack> {
        let pack = |size| Pack { path: PathBuf::from(format!("{size}.pack")), size };
        sizes.into_iter().map(pack).collect()
    }

    fn joined_sizes(sizes: impl IntoIterator<Item = u64>) -> Vec<u64> {
        to_join(packs(sizes)).iter().map(|pack| pack.size).collect()
    }

    #[test]
    fn few_packs_are_left_alone_and_of_many_the_large_ones_stay() {
        assert_eq!(joined_sizes([1; MOST_PACKS]), [0; 0]);
        assert_eq!(joined_sizes([1; MOST_PACKS + 1]).len(), MOST_PACKS + 1);
        let with_a_large_one = (0..16).map(|_| 5).chain([1_000_000]);
        assert_eq!(joined_sizes(with_a_large_one), [5; 16]);
        let doubling = (0..17).map(|power| 1 << (2 * power));
        assert_eq!(joined_sizes(doubling).len(), 17 + 1 - LEFT);
    }

    #[test]
    fn however_many_fetches_there_are_few_packs_are_left_and_each_object_is_joined_a_few_times() {
        let (mut sizes, mut written): (Vec<u64>, u64) = (vec![50_000], 0);
        for _ in 0..10_000 {
            sizes.push(3);
            let parts = joined_sizes(sizes.clone());
            if !parts.is_empty() {
                let sum: u64 = parts.iter().sum();
                sizes.sort_unstable();
                sizes.drain(..parts.len());
                sizes.push(sum);
                written += sum;
            }
            assert!(sizes.len() <= MOST_PACKS, "{}", sizes.len());
        }
        assert!(written < 12 * 80_000, "{written}");
    }
}
