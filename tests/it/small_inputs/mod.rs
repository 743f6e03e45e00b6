//! Small inputs, each a repository of a few files, and what the real program says of it: tables, so
//! that the next one costs a few lines.
//!
//! A case starts from a sound workflow of one step `a`, changes or adds files, runs one command
//! (`check`, unless it says otherwise) and tells the exit code and words of the output. A table
//! names a kind; all cases of a table run at once, and all that fail are told.

mod templates;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::repo::Repo;

const FOLDER: &str = "packer_workspaces";

/// Parameters of a workflow, as people have them.
pub(super) const WORKFLOW: &str = r#"{
  "workflow_id": "game-2026-01-01",
  "region_name": "us-east-1",
  "is_default_vpc": "true",
  "vpc_name": "",
  "subnet_name": "",
  "security_group_name": "",
  "ec2_iam_role_name": "",
  "root_base_ami_id": "ami-0123456789abcdef0",
  "root_base_ami_name": "ubuntu-22.04-server-20261101",
  "aws_tags": {"project": "game"},
  "environment": "prod",
  "path": "usr/local"
}
"#;

/// A template that makes the image which is asked for.
pub(super) const TEMPLATE: &str = r#"source "amazon-ebs" "x" {
  region        = "{{ builder.workflow_param.aws_region }}"
  source_ami    = "{{ builder.source_ami_id }}"
  ami_name      = "{{ builder.output_ami_name }}"
  instance_type = "t3.micro"
  ssh_username  = "ubuntu"
}
build {
  sources = ["source.amazon-ebs.x"]
}
"#;

/// One small input.
pub(super) struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    command: Vec<String>,
    variables: Vec<(String, String)>,
    code: i32,
    words: Vec<String>,
    never: Vec<String>,
}

/// A case, by a sentence that is true where it passes. It has to pass `check` unless something else
/// is said.
pub(super) fn case(name: impl Into<String>) -> Case {
    let step = r#"{"step_id": "a", "previous_step_id": null}"#;
    Case {
        name: name.into(),
        files: Vec::new(),
        command: vec!["check".to_owned()],
        variables: Vec::new(),
        code: 0,
        words: Vec::new(),
        never: Vec::new(),
    }
    .file(&format!("{FOLDER}/workflow_param.json"), WORKFLOW)
    .file(&format!("{FOLDER}/a/step_param.json"), step)
    .template(TEMPLATE)
}

impl Case {
    /// Writes a file, or writes it anew.
    pub(super) fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self = self.without(path);
        self.files.push((path.to_owned(), content.into()));
        self
    }

    /// Without a file, or without all files of a folder.
    pub(super) fn without(mut self, path: &str) -> Self {
        let below = format!("{path}/");
        self.files.retain(|(name, _)| name != path && !name.starts_with(&below));
        self
    }

    /// The whole template of step `a`.
    pub(super) fn template(self, text: impl Into<Vec<u8>>) -> Self {
        self.file(&format!("{FOLDER}/a/templates/.pkr.hcl"), text)
    }

    /// More of the source's block of step `a`.
    pub(super) fn in_source(self, lines: &str) -> Self {
        let begin = "source \"amazon-ebs\" \"x\" {\n";
        self.template(TEMPLATE.replace(begin, &format!("{begin}{lines}\n")))
    }

    /// More of the build's block of step `a`.
    pub(super) fn in_build(self, lines: &str) -> Self {
        let begin = "  sources = [\"source.amazon-ebs.x\"]\n";
        self.template(TEMPLATE.replace(begin, &format!("{begin}{lines}\n")))
    }

    /// Another command than `check`.
    pub(super) fn runs(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// With a variable of the environment.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ends with 0, and its output has all of these words.
    pub(super) fn passes(self, words: &[&str]) -> Self {
        self.exits(0, words)
    }

    /// Ends with 1, and its output has all of these words.
    pub(super) fn refused(self, words: &[&str]) -> Self {
        self.exits(1, words)
    }

    /// Ends with this code, and its output has all of these words.
    pub(super) fn exits(mut self, code: i32, words: &[&str]) -> Self {
        self.code = code;
        self.words.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Its output has none of these words.
    pub(super) fn never(mut self, words: &[&str]) -> Self {
        self.never.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    fn run(&self) -> CommandOutput {
        let repo = Repo::new();
        for (path, content) in &self.files {
            repo.write(path, content);
        }
        repo.commit("as it is");
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        self.variables
            .iter()
            .fold(Cli::within(repo.path()), |cli, (name, value)| cli.env(name, value))
            .run(&command)
    }

    /// What is wrong with it.
    fn failure(&self) -> Option<String> {
        let ran = self.run();
        let said = format!("{}{}", ran.out, ran.err);
        let mut wrong = Vec::new();
        if ran.code != self.code {
            wrong.push(format!("ends with {}, not with {}", ran.code, self.code));
        }
        let missing = self.words.iter().filter(|word| !said.contains(*word));
        wrong.extend(missing.map(|word| format!("does not say {word:?}")));
        // What is for programmers is for nobody who runs this.
        let debug = ["panicked", "RUST_BACKTRACE", "Os {", "Some(\"", "Error {"];
        let never = self.never.iter().map(String::as_str).chain(debug);
        wrong.extend(never.filter(|word| said.contains(word)).map(|word| format!("says {word:?}")));
        (!wrong.is_empty()).then(|| {
            format!("{} ({}): {}\n{said}", self.name, self.command.join(" "), wrong.join("; "))
        })
    }
}

/// Runs all cases of a table, some at once, and tells of all that fail.
#[track_caller]
pub(super) fn table<const N: usize>(cases: &[Case; N]) {
    const AT_ONCE: usize = 4;
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(N) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = case.failure() {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {N} cases:\n\n{}", failures.len(), failures.join("\n\n"));
}
