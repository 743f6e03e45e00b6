//! Real git repositories in temporary folders, made with the git command line and hardened against
//! the configuration of whoever runs the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use reconciler_model::ids::Revision;
use tempfile::TempDir;

/// Parameters of a workflow, no more than there must be.
pub(crate) const WORKFLOW: &str = r#"{
  "workflow_id": "wf-1", "region_name": "us-east-1", "is_default_vpc": "true",
  "root_base_ami_id": "ami-0123456789abcdef0", "root_base_ami_name": "base"
}"#;

/// A template that makes one image of the name that it is given.
pub(crate) const TEMPLATE: &str = r#"source "amazon-ebs" "x" {
  source_ami = "{{ builder.source_ami_id }}"
  ami_name   = "{{ builder.output_ami_name }}"
}
build {
  sources = ["source.amazon-ebs.x"]
}
"#;

/// A repository that a test writes; gone when it is dropped.
pub(crate) struct Repo {
    folder: TempDir,
    bare: bool,
}

impl Repo {
    /// A repository with a work tree, on the branch `main`.
    pub(crate) fn new() -> Self {
        Self::init(false)
    }

    /// A bare one, as a server keeps it.
    pub(crate) fn bare() -> Self {
        Self::init(true)
    }

    /// A repository whose first commit holds a folder of this project, at the same path
    /// (`packer_workspaces`).
    pub(crate) fn from_folder(folder: &str) -> Self {
        let repo = Self::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        copy(&source, &repo.path().join(folder));
        repo.commit("first");
        repo
    }

    fn init(bare: bool) -> Self {
        let repo =
            Self { folder: tempfile::Builder::new().prefix("repo-").tempdir().unwrap(), bare };
        let kind: &[&str] = if bare { &["--bare"] } else { &[] };
        repo.git(&[&["init", "--quiet", "--initial-branch=main"], kind].concat());
        repo
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that holds `HEAD`.
    pub(crate) fn git_dir(&self) -> PathBuf {
        if self.bare { self.path().to_owned() } else { self.path().join(".git") }
    }

    /// Writes a file of the work tree.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self
    }

    /// Writes a file of the work tree that may be executed.
    pub(crate) fn write_exec(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        use std::os::unix::fs::PermissionsExt;
        self.write(path, content);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path().join(path), mode).unwrap();
        self
    }

    /// Removes a file or a folder of the work tree.
    pub(crate) fn remove(&self, path: &str) -> &Self {
        let path = self.path().join(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        self
    }

    /// Commits the whole work tree, changed or not.
    pub(crate) fn commit(&self, message: &str) -> Revision {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        Revision::new(self.git(&["rev-parse", "HEAD"]))
    }

    /// Pushes the checked out branch to the branch of the same name.
    pub(crate) fn push_to(&self, remote: &Repo) -> &Self {
        self.git(&["push", "--quiet", &remote.path().display().to_string(), "HEAD"]);
        self
    }

    /// Pushes the checked out branch, whatever was there.
    pub(crate) fn force_push(&self, remote: &Repo) -> &Self {
        let remote = remote.path().display().to_string();
        self.git(&["push", "--quiet", "--force", &remote, "HEAD"]);
        self
    }

    /// Copies a folder of this project into the work tree.
    pub(crate) fn copy_in(&self, folder: &str, path: &str) -> &Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        copy(&source, &self.path().join(path));
        self
    }

    /// Runs git in it, and gives its output without the last newline.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(self.path(), arguments)
    }
}

/// Runs git in a folder, and gives its output without the last newline.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
