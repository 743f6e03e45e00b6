//! Keys made for one test, and commits signed with them by the real git.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::repo::Repo;

/// A folder of keys.
pub(crate) struct Keys {
    folder: tempfile::TempDir,
}

/// The `PATH`, and behind it what `make tools` unpacked.
pub(crate) fn search_path() -> OsString {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([tools]);
    std::env::join_paths(folders).unwrap()
}

fn ssh_keygen() -> PathBuf {
    std::env::split_paths(&search_path())
        .map(|folder| folder.join("ssh-keygen"))
        .find(|file| file.is_file())
        .expect("ssh-keygen is there: make tools")
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("k").tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an SSH key, and gives its public half.
    pub(crate) fn ssh(&self, name: &str) -> String {
        let file = self.path().join(name);
        let made = Command::new(ssh_keygen())
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&file)
            .status()
            .unwrap();
        assert!(made.success());
        std::fs::read_to_string(file.with_extension("pub")).unwrap().trim().to_owned()
    }

    /// Writes the file of allowed signers.
    pub(crate) fn allow(&self, lines: &[String]) {
        std::fs::write(self.path().join("allowed"), lines.join("\n") + "\n").unwrap();
    }

    /// How git is told to sign with a key of this folder.
    fn signing(&self, key: &str) -> Vec<String> {
        let key = self.path().join(key).display().to_string();
        let program = ssh_keygen().display().to_string();
        [
            "gpg.format=ssh".to_owned(),
            format!("gpg.ssh.program={program}"),
            format!("user.signingkey={key}"),
        ]
        .into_iter()
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
    }

    /// Runs git with a key to sign with.
    pub(crate) fn git(&self, repo: &Repo, key: &str, arguments: &[&str]) -> String {
        let signing = self.signing(key);
        let mut all: Vec<&str> = signing.iter().map(String::as_str).collect();
        all.extend(arguments);
        repo.git(&all)
    }

    /// Commits the work tree, signed.
    pub(crate) fn commit(&self, repo: &Repo, key: &str) -> String {
        repo.git(&["add", "--all"]);
        self.git(repo, key, &["commit", "--quiet", "--allow-empty", "-S", "-m", "signed"]);
        repo.git(&["rev-parse", "HEAD"])
    }

    /// Commits the work tree, signed, with a date of its own.
    pub(crate) fn commit_dated(&self, repo: &Repo, key: &str, date: &str) {
        let committed = Command::new("git")
            .args(self.signing(key))
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(["commit", "--quiet", "--allow-empty", "-S", "-m", "dated", "--date", date])
            .current_dir(repo.path())
            .env("GIT_COMMITTER_DATE", date)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .status()
            .unwrap();
        assert!(committed.success());
    }

    /// Runs gpg on the keyring of a name, which is made if it is not there.
    pub(crate) fn gpg(&self, home: &str, arguments: &[&str]) -> String {
        use std::os::unix::fs::DirBuilderExt as _;
        let home = self.path().join(home);
        if !home.is_dir() {
            std::fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        }
        let ran = Command::new("gpg")
            .args(["--batch", "--quiet", "--homedir"])
            .arg(&home)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "gpg {arguments:?}: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Commits the work tree, signed by the only secret key of a keyring.
    pub(crate) fn gpg_commit(&self, repo: &Repo, home: &str) {
        let signer = format!("user.signingkey={home}@example.com");
        let home = self.path().join(home);
        let wrapper = self.path().join("gpg-of-test");
        let script = format!("#!/bin/sh\nexec gpg --homedir '{}' \"$@\"\n", home.display());
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let program = format!("gpg.program={}", wrapper.display());
        let mut sign = vec!["-c", &program, "-c", &signer, "commit", "--quiet"];
        sign.extend(["--allow-empty", "-S", "-m", "signed"]);
        repo.git(&["add", "--all"]);
        repo.git(&sign);
    }
}

impl Drop for Keys {
    /// gpg leaves its agent running, one for each keyring.
    fn drop(&mut self) {
        for home in std::fs::read_dir(self.path()).into_iter().flatten().flatten() {
            if home.path().join("private-keys-v1.d").is_dir() {
                let _ = Command::new("gpgconf")
                    .arg("--homedir")
                    .arg(home.path())
                    .args(["--kill", "all"])
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}
