//! What a plain repository's references say, read from git's files without libgit2.
//!
//! Getting libgit2 ready reads and parses every TLS root of the host, which takes longer than a
//! whole plan where nothing has moved. So the common case is read here, and only that: an ordinary
//! repository of this user, a branch, its commit. Whatever is unusual in any way is "not known"
//! here, and libgit2 decides about it as ever, with its errors.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use reconciler_model::ids::Revision;

/// An ordinary repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlainRepository {
    /// The folder that holds `HEAD`, `refs/` and `objects/`.
    pub(super) git_dir: PathBuf,
    /// Its work tree, or the same folder.
    pub(super) folder: PathBuf,
}

impl PlainRepository {
    /// The repository that `path` is, or is in.
    pub(super) fn find(path: &Path) -> Option<Self> {
        let start = path.canonicalize().ok()?;
        let device = fs::metadata(&start).ok()?.dev();
        for folder in start.ancestors() {
            if fs::metadata(folder).ok()?.dev() != device {
                return None;
            }
            let inner = folder.join(".git");
            if fs::symlink_metadata(&inner).is_ok() {
                return Self::checked(inner, folder.to_owned(), false);
            }
            if holds_git(folder) {
                return Self::checked(folder.to_owned(), folder.to_owned(), true);
            }
        }
        None
    }

    fn checked(git_dir: PathBuf, folder: PathBuf, bare: bool) -> Option<Self> {
        let own = rustix::process::geteuid().as_raw();
        let is_own_folder = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == own)
        };
        let is_plain = is_own_folder(&git_dir)
            && is_own_folder(&folder)
            && holds_git(&git_dir)
            && !git_dir.join("commondir").exists()
            && !git_dir.join("reftable").exists()
            && is_plain_config(&fs::read_to_string(git_dir.join("config")).ok()?, bare);
        is_plain.then_some(Self { git_dir, folder })
    }

    /// The branch that `HEAD` names.
    pub(super) fn head(&self) -> Option<String> {
        let head = fs::read_to_string(self.git_dir.join("HEAD")).ok()?;
        let name = head.strip_prefix("ref: refs/heads/")?.strip_suffix('\n')?;
        is_plain_name(name).then(|| name.to_owned())
    }

    /// The commit that a branch names.
    pub(super) fn tip(&self, branch: &str) -> Option<Revision> {
        // A name that is written out is not looked for below the branches.
        if !is_plain_name(branch) || branch.starts_with("refs/") {
            return None;
        }
        let name = format!("refs/heads/{branch}");
        match fs::read_to_string(self.git_dir.join(&name)) {
            Ok(id) => commit(id.strip_suffix('\n')?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let packed = fs::read_to_string(self.git_dir.join("packed-refs")).ok()?;
                let line = |line: &&str| line.split_once(' ').is_some_and(|(_, of)| of == name);
                commit(packed.lines().find(line)?.split_once(' ')?.0)
            }
            Err(_) => None,
        }
    }
}

impl PlainRepository {
    /// Whether a tag of this name may be there. None is for sure where this is false.
    pub(super) fn may_have_tag(&self, name: &str) -> bool {
        let name = format!("refs/tags/{name}");
        fs::symlink_metadata(self.git_dir.join(&name)).is_ok()
            || match fs::read_to_string(self.git_dir.join("packed-refs")) {
                Ok(packed) => packed.contains(&name),
                Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            }
    }
}

fn holds_git(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

/// Nothing that changes where or how git keeps things.
fn is_plain_config(text: &str, bare: bool) -> bool {
    let lower = text.to_ascii_lowercase();
    let says = |wanted: &str, value: &str| {
        let mut found = lower
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| key.trim() == wanted)
            .peekable();
        found.peek().is_some() && found.all(|(_, said)| said.trim() == value)
    };
    !["extensions", "include", "worktree", "\\\n"].iter().any(|unusual| lower.contains(unusual))
        && says("repositoryformatversion", "0")
        && says("bare", if bare { "true" } else { "false" })
}

#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "git refuses `.lock` in this spelling only"
)]
fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
    !name.is_empty()
        && name.chars().all(plain)
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
        && !name.contains("..")
        && !name.ends_with('.')
}

fn commit(id: &str) -> Option<Revision> {
    let is_id = id.len() == 40 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| Revision::new(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repository(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        for inside in ["objects", "refs/heads/team", "inner"] {
            fs::create_dir_all(git.join(inside)).unwrap();
        }
        fs::create_dir_all(folder.path().join("deep/er")).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("config"), config).unwrap();
        fs::write(git.join("refs/heads/team/a"), format!("{ID}\n")).unwrap();
        fs::write(
            git.join("packed-refs"),
            format!("# pack-refs with: peeled fully-peeled sorted\n{ID} refs/heads/main\n{} refs/heads/team/a\n", ID.replace('0', "f")),
        )
        .unwrap();
        folder
    }

    const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";

    #[test]
    fn a_branch_is_read_from_its_file_and_then_from_the_packed_ones() {
        let folder = repository(CONFIG);
        let found = PlainRepository::find(&folder.path().join("deep/er")).unwrap();
        assert_eq!(found.folder, folder.path().canonicalize().unwrap());
        assert_eq!(found.head().as_deref(), Some("main"));
        assert_eq!(found.tip("main"), Some(Revision::new(ID)));
        assert_eq!(found.tip("team/a"), Some(Revision::new(ID)));
        for unknown in ["nobody", "../../HEAD", "", "team", "a..b", "main.lock", "Ñ"] {
            assert_eq!(found.tip(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_libgit2() {
        for config in [
            "",
            "[core]\n\tbare = false\n",
            "[core]\n\trepositoryformatversion = 1\n\tbare = false\n",
            "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = ../x\n",
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n[extensions]\n\tobjectFormat = sha256\n",
            "[core]\n\trepositoryformatversion = 0\n\tbare = false\n[include]\n\tpath = x\n",
        ] {
            let folder = repository(config);
            assert_eq!(PlainRepository::find(folder.path()), None, "{config}");
        }
        let folder = repository(CONFIG);
        let git = folder.path().join(".git");
        fs::create_dir(git.join("reftable")).unwrap();
        assert_eq!(PlainRepository::find(folder.path()), None);
        fs::remove_dir(git.join("reftable")).unwrap();
        assert!(PlainRepository::find(folder.path()).is_some());
        fs::write(git.join("HEAD"), format!("{ID}\n")).unwrap();
        assert_eq!(PlainRepository::find(folder.path()).unwrap().head(), None, "detached");
        assert_eq!(PlainRepository::find(&git.join("inner")), None, "inside of git's own folder");
    }
}
