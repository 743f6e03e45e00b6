//! What changed in one file between two commits: counts of lines, and a unified diff for people.
//!
//! It reads through the port, so it works on any two trees. What the change means for an image is
//! for `plan`.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use reconciler_model::source::{Entry, EntryKind, GitTree, SourceError};

/// Lines around a change.
const CONTEXT: usize = 3;

/// Larger contents are compared by id only: nobody reads such a diff, and it would take long.
const MAX_DIFF_BYTES: usize = 2 * 1024 * 1024;

/// After this the diff is no longer the smallest one, but still a right one.
const PATIENCE: Duration = Duration::from_millis(500);

/// The difference between two states of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiff {
    /// Lines that are new.
    pub added: usize,
    /// Lines that are gone.
    pub removed: usize,
    /// As `diff -u` writes it, with `a/` and `b/` before the path as git does.
    pub unified: String,
}

/// The difference of one path between two commits; none if content and mode are the same.
pub fn changed(
    old: &dyn GitTree,
    new: &dyn GitTree,
    path: &str,
) -> Result<Option<FileDiff>, SourceError> {
    let (was, is) = (file(old, path)?, file(new, path)?);
    let state = |entry: &Option<Entry>| entry.as_ref().map(|entry| (entry.id, entry.kind));
    if state(&was) == state(&is) {
        return Ok(None);
    }
    let content = |tree: &dyn GitTree, entry: &Option<Entry>| match entry {
        Some(entry) if entry.kind != EntryKind::Submodule => tree.blob(entry.id, path).map(Some),
        Some(entry) => {
            let text = format!("Subproject commit {:?}\n", entry.id);
            Ok(Some(text.into_bytes().into()))
        }
        None => Ok(None),
    };
    let (before, after) = (content(old, &was)?, content(new, &is)?);
    let mut diff = compare(path, before.as_deref(), after.as_deref());
    if let (Some(was), Some(is)) = (was, is)
        && was.kind != is.kind
    {
        let modes = format!("old mode {}\nnew mode {}\n", mode(was.kind), mode(is.kind));
        diff.unified.insert_str(0, &modes);
    }
    Ok(Some(diff))
}

fn file(tree: &dyn GitTree, path: &str) -> Result<Option<Entry>, SourceError> {
    let entry = tree.entry(path)?;
    Ok(entry.filter(|entry| entry.kind != EntryKind::Tree))
}

fn mode(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Tree => "040000",
        EntryKind::File => "100644",
        EntryKind::Executable => "100755",
        EntryKind::Symlink => "120000",
        EntryKind::Submodule => "160000",
    }
}

/// The difference between two contents of one path; none stands for a file that is not there.
#[must_use]
pub fn compare(path: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> FileDiff {
    let (from, to) = (
        old.map_or("/dev/null".to_owned(), |_| format!("a/{path}")),
        new.map_or("/dev/null".to_owned(), |_| format!("b/{path}")),
    );
    let (before, after) = (old.unwrap_or_default(), new.unwrap_or_default());
    let (Some(before), Some(after)) = (text(before), text(after)) else {
        return FileDiff {
            added: 0,
            removed: 0,
            unified: format!("Binary files {from} and {to} differ\n"),
        };
    };
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    FileDiff {
        added: count(ChangeTag::Insert),
        removed: count(ChangeTag::Delete),
        unified: diff.unified_diff().context_radius(CONTEXT).header(&from, &to).to_string(),
    }
}

fn text(content: &[u8]) -> Option<&str> {
    if content.len() > MAX_DIFF_BYTES || content.contains(&0) {
        return None;
    }
    std::str::from_utf8(content).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_counts_as_one_added_and_one_removed() {
        let diff = compare("run.sh", Some(b"a\nb\nc\n"), Some(b"a\nB\nc\nd\n"));
        assert_eq!((diff.added, diff.removed), (2, 1));
        assert_eq!(
            diff.unified,
            "--- a/run.sh\n+++ b/run.sh\n@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d\n"
        );
    }

    #[test]
    fn a_missing_newline_at_the_end_is_said() {
        let diff = compare("f", Some(b"a\n"), Some(b"a"));
        assert!(diff.unified.contains("\\ No newline at end of file"), "{}", diff.unified);
    }

    #[test]
    fn a_file_that_appears_or_goes_is_compared_with_nothing() {
        let new = compare("f", None, Some(b"a\nb\n"));
        assert_eq!((new.added, new.removed), (2, 0));
        assert!(new.unified.starts_with("--- /dev/null\n+++ b/f\n"), "{}", new.unified);
        let gone = compare("f", Some(b"a\nb\n"), None);
        assert_eq!((gone.added, gone.removed), (0, 2));
    }

    #[test]
    fn a_binary_file_is_said_to_differ_without_its_bytes() {
        let diff = compare("logo.png", Some(b"\x89PNG\0"), Some(b"\x89PNG\0\0"));
        assert_eq!(diff.unified, "Binary files a/logo.png and b/logo.png differ\n");
    }
}
