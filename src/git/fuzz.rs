//! Git objects made of any bytes, read as a commit's tree is read. Only fuzzing uses it; nothing is
//! written to a disk.

use git2::{ObjectType, Odb, Repository};

use crate::git::signature::object;
use crate::git::tree::Reader;
use reconciler_model::source::Files;

/// Reads bytes as a tree with all that is below it, as a commit and as a tag.
pub(crate) fn objects(bytes: &[u8]) {
    let (as_commit, as_tag) = (object::commit(bytes), object::tag(bytes));
    for signed in [as_commit, as_tag].into_iter().flatten().flatten() {
        assert!(signed.payload.len() < bytes.len(), "a signature is no part of what it signs");
    }
    let _ = object::tag_name(bytes);
    if let Some(files) = tree(bytes) {
        for path in files.keys() {
            let sound = |part: &str| !matches!(part, "" | "." | ".." | ".git");
            assert!(path.split('/').all(sound), "{path:?}");
        }
    }
}

fn tree(bytes: &[u8]) -> Option<Files> {
    let odb = Odb::new().ok()?;
    odb.add_new_mempack_backend(1).ok()?;
    // What an entry of the corpus may name.
    odb.write(ObjectType::Blob, b"").ok()?;
    odb.write(ObjectType::Tree, b"").ok()?;
    let tree = odb.write(ObjectType::Tree, bytes).ok()?;
    let repository = Repository::from_odb(odb).ok()?;
    let mut files = Files::new();
    let reader = Reader::new(&repository, "memory").ok()?;
    reader.walk(tree, "folder", &mut files).ok()?;
    Some(files)
}
