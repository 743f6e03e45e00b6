//! `check` of what is not committed yet, by real git running real hooks, and the word about
//! uncommitted changes.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::cli::Cli;
use crate::harness::repo::{Repo, TEMPLATE, WORKFLOW};

const STEP: &str = r#"{ "step_id": "a", "previous_step_id": null }"#;
const BAD: &str = r#"{ "step_id": "a" "previous_step_id": null }"#;
const PARAMS: &str = "packer_workspaces/s1/step_param.json";

fn sound() -> Repo {
    let repo = Repo::new();
    repo.write("packer_workspaces/workflow_param.json", WORKFLOW)
        .write(PARAMS, STEP)
        .write("packer_workspaces/s1/templates/.pkr.hcl", TEMPLATE);
    repo.commit("sound");
    repo
}

/// Makes git run `check` before each commit.
fn with_hook(repo: &Repo, command: &str) {
    let state = repo.path().join(".git/state");
    let hook = format!(
        "#!/bin/sh\nexport RECONCILER_STATE_DIR='{}'\nexec '{}' {command}\n",
        state.display(),
        env!("CARGO_BIN_EXE_reconciler"),
    );
    repo.write_exec(".git/hooks/pre-commit", hook);
}

fn git(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .output()
        .unwrap()
}

#[track_caller]
fn passes(repo: &Repo, arguments: &[&str]) {
    let output = git(repo.path(), arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[track_caller]
fn is_refused(repo: &Repo, arguments: &[&str]) {
    let before = repo.git(&["rev-parse", "HEAD"]);
    let output = git(repo.path(), arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} went through");
    assert!(said.contains("step_param.json"), "{arguments:?}: {said}");
    assert_eq!(repo.git(&["rev-parse", "HEAD"]), before);
}

mod hooks {
    use super::*;

    #[test]
    fn a_bad_commit_is_refused_and_the_one_that_mends_it_goes_through() {
        let repo = sound();
        with_hook(&repo, "check");
        repo.write(PARAMS, BAD);
        repo.git(&["add", "--all"]);
        is_refused(&repo, &["commit", "-m", "bad"]);
        passes(&repo, &["commit", "-m", "bad", "--no-verify"]);
        repo.write(PARAMS, STEP);
        repo.git(&["add", "--all"]);
        passes(&repo, &["commit", "-m", "mended"]);
    }

    #[test]
    fn what_counts_is_what_would_be_committed_and_not_what_lies_there() {
        let repo = sound();
        with_hook(&repo, "check");
        repo.write("README", "1");
        repo.git(&["add", "README"]);
        repo.write(PARAMS, BAD);
        passes(&repo, &["commit", "-m", "the bad file is not staged"]);
        is_refused(&repo, &["commit", "-a", "-m", "all"]);
        is_refused(&repo, &["commit", "-m", "one file", "--", PARAMS]);
        is_refused(&repo, &["commit", "--amend", "-a", "--no-edit"]);
        repo.write("README", "2");
        passes(&repo, &["commit", "-m", "another file", "--", "README"]);
        repo.git(&["add", PARAMS]);
        repo.write(PARAMS, STEP);
        is_refused(&repo, &["commit", "-m", "staged bad, mended on disk"]);
        repo.write("README", "3");
        passes(&repo, &["commit", "-a", "-m", "all is well"]);
        repo.git(&["rm", "-q", "--cached", "packer_workspaces/workflow_param.json"]);
        let output = git(repo.path(), &["commit", "-m", "no workflow"]);
        assert!(!output.status.success(), "the workflow is gone");
    }

    #[test]
    fn a_file_that_is_only_meant_to_be_added_is_not_committed_and_does_not_count() {
        let repo = sound();
        with_hook(&repo, "check");
        repo.write("packer_workspaces/s2/step_param.json", BAD);
        repo.write("README", "1");
        repo.git(&["add", "README"]);
        repo.git(&["add", "--intent-to-add", "packer_workspaces/s2"]);
        passes(&repo, &["commit", "-m", "a word"]);
    }

    #[test]
    fn in_a_linked_work_tree_its_own_index_is_checked() {
        let repo = sound();
        with_hook(&repo, "check");
        let folder = tempfile::tempdir().unwrap();
        let linked = folder.path().join("linked");
        repo.git(&["worktree", "add", "-q", "-b", "side", &linked.display().to_string()]);
        std::fs::write(linked.join(PARAMS), BAD).unwrap();
        let output = git(&linked, &["commit", "-a", "-m", "bad"]);
        assert!(!output.status.success());
        std::fs::write(linked.join("README"), "1").unwrap();
        assert!(git(&linked, &["add", "README"]).status.success());
        assert!(git(&linked, &["commit", "-m", "a word"]).status.success());
    }

    #[test]
    fn the_first_commit_of_a_repository_is_checked() {
        let repo = Repo::new();
        with_hook(&repo, "check");
        repo.write("packer_workspaces/workflow_param.json", WORKFLOW)
            .write(PARAMS, BAD)
            .write("packer_workspaces/s1/templates/.pkr.hcl", TEMPLATE);
        repo.git(&["add", "--all"]);
        assert!(!git(repo.path(), &["commit", "-m", "bad"]).status.success());
        repo.write(PARAMS, STEP);
        passes(&repo, &["commit", "-a", "-m", "first"]);
    }

    #[test]
    fn a_hook_of_another_repository_says_that_it_checks_commits() {
        let (repo, other) = (sound(), sound());
        let configuration =
            format!("repositories: [{{name: r, path: '{}'}}]\n", repo.path().display());
        other.write("reconciler.yaml", configuration);
        with_hook(&other, "check --config reconciler.yaml");
        other.git(&["add", "--all"]);
        let output = git(other.path(), &["commit", "-m", "a word"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("none of the configured ones"), "{said}");
    }

    #[test]
    fn a_server_may_check_what_is_pushed_before_it_takes_it() {
        let (repo, server) = (sound(), Repo::bare());
        repo.push_to(&server);
        let hook = format!(
            "#!/bin/sh\nexport RECONCILER_STATE_DIR='{}'\nwhile read -r old new name; do '{}' check --rev \"$new\" || exit 1; done\n",
            server.path().join("state").display(),
            env!("CARGO_BIN_EXE_reconciler"),
        );
        server.write_exec("hooks/pre-receive", hook);
        repo.write(PARAMS, BAD).commit("bad");
        let url = server.path().display().to_string();
        let output = git(repo.path(), &["push", &url, "main"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("step_param.json"), "{said}");
        repo.write(PARAMS, STEP).commit("mended");
        passes(&repo, &["push", &url, "main"]);
    }
}

fn check(repo: &Repo, arguments: &[&str]) -> crate::harness::cli::CommandOutput {
    Cli::within(repo.path()).run(&[&["check"], arguments].concat())
}

#[test]
fn the_index_and_the_work_tree_are_checked_where_that_is_asked_for_and_left_as_they_are() {
    let repo = sound();
    repo.write(PARAMS, BAD);
    repo.write("packer_workspaces/.gitignore", "ignored/\n");
    repo.write("packer_workspaces/ignored/step_param.json", BAD);
    let state = || {
        let list = |arguments: &[&str]| repo.git(arguments);
        (list(&["status", "--porcelain"]), list(&["count-objects"]))
    };
    let before = state();
    assert_eq!(check(&repo, &[]).code, 0);
    assert_eq!(check(&repo, &["--index"]).code, 0);
    let ran = check(&repo, &["--worktree"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("s1/step_param.json"), "{ran:?}");
    assert!(!ran.err.contains("ignored"), "{ran:?}");
    assert!(ran.out.contains("work tree"), "{ran:?}");
    assert_eq!(state(), before);
    repo.git(&["add", "--all"]);
    let ran = check(&repo, &["--index"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("staged"), "{ran:?}");
    assert_eq!(check(&repo, &["--rev", "HEAD"]).code, 0);
    assert_eq!(check(&repo, &["--index", "--rev", "HEAD"]).code, 64);
    repo.write(PARAMS, STEP);
    repo.write("packer_workspaces/s2/step_param.json", BAD);
    let ran = check(&repo, &["--worktree"]);
    assert!(ran.err.contains("s2/step_param.json"), "untracked: {ran:?}");
    repo.remove("packer_workspaces/s2").remove("packer_workspaces/s1");
    let ran = check(&repo, &["--worktree"]);
    assert!(ran.out.contains("0 steps"), "removed: {ran:?}");
    let bare = Repo::bare();
    repo.push_to(&bare);
    let ran = check(&bare, &["--index"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("work tree"), "{ran:?}");
}

/// What is changed, whether that is told, and how it is done.
type Change<'a> = (&'static str, bool, Box<dyn Fn() + 'a>);

/// What may be changed in a work tree.
fn changes(repo: &Repo) -> [Change<'_>; 8] {
    [
        ("nothing", false, Box::new(|| {})),
        (
            "another folder",
            false,
            Box::new(|| {
                repo.write("README", "x");
            }),
        ),
        (
            "an untracked file",
            true,
            Box::new(|| {
                repo.write("packer_workspaces/s1/new", "x");
            }),
        ),
        (
            "an empty folder",
            false,
            Box::new(|| {
                std::fs::create_dir_all(repo.path().join("packer_workspaces/empty")).unwrap();
            }),
        ),
        (
            "a change",
            true,
            Box::new(|| {
                repo.write(PARAMS, format!("{STEP} "));
            }),
        ),
        (
            "a staged change",
            true,
            Box::new(|| {
                repo.write(PARAMS, format!("{STEP}\n"));
                repo.git(&["add", "--all"]);
            }),
        ),
        (
            "a removed file",
            true,
            Box::new(|| {
                repo.remove(PARAMS);
            }),
        ),
        (
            "a mode",
            true,
            Box::new(|| {
                repo.write_exec(PARAMS, STEP);
            }),
        ),
    ]
}

#[test]
fn uncommitted_changes_of_what_is_followed_are_told_and_others_are_not() {
    let repo = sound();
    let short = repo.git(&["rev-parse", "--short=7", "HEAD"]);
    let said = |arguments: &[&str]| {
        let ran = Cli::within(repo.path()).run(arguments);
        ran.err
            .lines()
            .filter(|line| line.starts_with("note: "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let expected = [format!(
        "note: this is {short}; packer_workspaces/ has uncommitted changes that are not in it"
    )];
    let commands: [&[&str]; 5] = [
        &["check"],
        &["plan", "--offline"],
        &["status", "--offline"],
        &["diff", "a"],
        &["render", "a"],
    ];
    let nothing = [""; 0];
    for (what, is_told, change) in changes(&repo) {
        change();
        for command in commands {
            let told = said(command);
            if is_told {
                assert_eq!(told, expected, "{what}, {command:?}");
            } else {
                assert_eq!(told, nothing, "{what}, {command:?}");
            }
        }
        repo.git(&["reset", "-q", "--hard"]);
        repo.git(&["clean", "-qfd"]);
    }
    repo.write(PARAMS, format!("{STEP} "));
    assert_eq!(said(&["check", "--rev", "HEAD"]), nothing);
    assert_eq!(said(&["check", "--worktree"]), nothing);
    repo.git(&["reset", "-q", "--hard"]);
    // Files that git ignores are no changes.
    repo.write(".git/info/exclude", "*.log\n");
    repo.write("packer_workspaces/s1/build.log", "x");
    assert_eq!(said(&["plan", "--offline"]), nothing);
}

#[test]
fn a_change_of_one_moment_and_one_size_is_seen() {
    let repo = sound();
    for round in 0..30 {
        let other = if round % 2 == 0 { "b" } else { "a" };
        let text = STEP.replace("\"a\"", &format!("\"{other}\""));
        repo.write(PARAMS, text);
        let ran = Cli::within(repo.path()).run(&["plan", "--offline"]);
        let is_changed = !repo.git(&["status", "--porcelain"]).is_empty();
        assert_eq!(ran.err.contains("uncommitted"), is_changed, "{round}: {ran:?}");
        if round % 3 == 0 {
            repo.commit("next");
        }
    }
}
