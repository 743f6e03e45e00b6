//! Whom the reconciler believes: real signatures of real keys, rewritten histories, templates that
//! reach for the build host, and the permissions that it needs at AWS.

mod evaluator;
mod local_exec;
mod planted;
mod policies;
mod rewrite;
mod signed;

use std::path::PathBuf;

use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::keys::{Keys, search_path};
use crate::harness::repo::{Repo, TEMPLATE, WORKFLOW};

/// A repository with one step, keys, and a configuration.
struct Guarded {
    repo: Repo,
    keys: Keys,
    folder: tempfile::TempDir,
}

impl Guarded {
    /// `asks` are lines of the repository's configuration; `{keys}` in them is the folder of keys.
    fn new(asks: &[&str]) -> Self {
        let guarded =
            Self { repo: Repo::new(), keys: Keys::new(), folder: tempfile::tempdir().unwrap() };
        let repo = &guarded.repo;
        repo.write("packer_workspaces/workflow_param.json", WORKFLOW);
        repo.write(
            "packer_workspaces/a/step_param.json",
            "{ \"step_id\": \"a\", \"previous_step_id\": null }\n",
        );
        repo.write("packer_workspaces/a/templates/.pkr.hcl", TEMPLATE);
        guarded.ask(asks);
        guarded
    }

    /// Asks for something else.
    fn ask(&self, asks: &[&str]) -> &Self {
        let mut text = format!(
            "state_dir: {}\nrepositories:\n  - path: {}\n    name: repo\n",
            self.folder.path().join("state").display(),
            self.repo.path().display()
        );
        let keys = self.keys.path().display().to_string();
        for line in asks {
            text += &format!("    {}\n", line.replace("{keys}", &keys));
        }
        std::fs::write(self.configuration(), text).unwrap();
        self
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("reconciler.yaml")
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        Cli::within(self.repo.path())
            .env("RECONCILER_CONFIG", self.configuration())
            .env("PATH", search_path())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test-secret-value")
            .run(arguments)
    }

    fn plan(&self) -> CommandOutput {
        self.run(&["plan", "--offline"])
    }

    /// The plan is made.
    #[track_caller]
    fn plans(&self) -> &Self {
        let ran = self.plan();
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert!(ran.out.contains("Plan: 1 to build"), "{ran:#?}");
        self
    }

    /// Neither `plan` nor `status` shows anything but why.
    #[track_caller]
    fn refuses(&self, words: &[&str]) -> &Self {
        for command in ["plan", "status"] {
            let ran = self.run(&[command, "--offline"]);
            ran.refuses(words);
            assert_eq!(ran.out, "", "{command} shows nothing of it");
        }
        self
    }
}
