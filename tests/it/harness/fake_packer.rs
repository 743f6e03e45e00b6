//! A Packer that does what a transcript tells it: `tests/fake_packer.py`, whose opening comment
//! lists the words of a transcript.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What a Packer makes as a rule: key, group, instance, image, and it cleans up.
pub(crate) const WHOLE: &str = "key\ngroup\ninstance\nimage\nterminate\nungroup\nunkey\nartifact\n";

/// A Packer that goes on until it is ended, and leaves what today's leaves then: an instance.
pub(crate) const ENDLESS: &str = "key\ngroup\ninstance\nwrite running\nhang\non-term\nungroup\nunkey\n\
                                  error Cancelling build after receiving terminated\nexit 1\n";

/// A Packer with a transcript; both go when it is dropped.
pub(crate) struct FakePacker {
    folder: tempfile::TempDir,
}

impl FakePacker {
    /// One that plays this transcript.
    pub(crate) fn new(transcript: &str) -> Self {
        let fake = Self { folder: tempfile::Builder::new().prefix("packer-").tempdir().unwrap() };
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_packer.py");
        symlink(program, fake.binary()).unwrap();
        fake.plays(transcript);
        fake
    }

    /// Another transcript from now on; its runs count anew.
    pub(crate) fn plays(&self, transcript: &str) {
        for command in ["init", "validate", "build"] {
            let _ = std::fs::remove_file(self.file(&format!("transcript.{command}")));
        }
        std::fs::write(self.file("transcript"), transcript).unwrap();
    }

    /// What is to be named as `packer.binary`.
    pub(crate) fn binary(&self) -> PathBuf {
        self.file("packer")
    }

    /// How often a command was run.
    pub(crate) fn runs(&self, command: &str) -> u64 {
        std::fs::metadata(self.file(&format!("transcript.{command}"))).map_or(0, |file| file.len())
    }

    /// What a transcript's `write FILE …` wrote, once it has.
    pub(crate) fn wrote(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.file(file)).ok()
    }

    /// What a transcript's `dump FILE` saw.
    pub(crate) fn saw(&self, file: &str) -> Value {
        serde_json::from_str(&self.wrote(file).unwrap()).unwrap()
    }

    /// Lets a transcript's `wait FILE` go on.
    pub(crate) fn let_go(&self, file: &str) {
        std::fs::write(self.file(file), "").unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
