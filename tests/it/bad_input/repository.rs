//! Repositories that are none, empty, another's, or hold no workflow.

use super::{check, sound};
use crate::harness::cli::Cli;
use crate::harness::repo::{Repo, git};

#[test]
fn a_folder_that_is_no_repository_is_named() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(Cli::within(folder.path()).run(&["check"]).refusal(), @"
    error: [folder] is not a git repository
     |
     = help: run in a folder of one, or name it under `repositories` in the configuration
    ");
}

#[test]
fn an_empty_repository_has_no_commit() {
    insta::assert_snapshot!(Cli::within(Repo::new().path()).run(&["check"]).refusal(), @"
    error: [repository] has no commit yet
     |
     = help: commit something, then try again
    ");
}

#[test]
fn a_branch_that_does_not_exist_is_shown_with_those_that_do() {
    let repo = sound();
    repo.commit("as it is");
    insta::assert_snapshot!(Cli::within(repo.path()).run(&["check", "--rev", "mian"]).refusal(), @"
    error: [repository] has no commit, branch or tag `mian`
     |
     = help: did you mean `main`? there are: main
    ");
}

#[test]
fn where_no_workflow_is_found_it_is_said_where_it_was_looked() {
    let repo = Repo::new();
    repo.write("images/workflow_param.json", super::WORKFLOW);
    insta::assert_snapshot!(check(&repo).refusal(), @"
    error: no workflow found at [commit]: looked below packer_workspaces/, workflow/ for a folder with a workflow_param.json
     |
     = help: there is one in images/: name it under `roots` of the repository in the configuration
    ");
}

#[test]
fn reftable_is_refused_with_the_way_out() {
    let repo = sound();
    repo.commit("as it is");
    git(repo.path(), &["config", "core.repositoryformatversion", "1"]);
    git(repo.path(), &["config", "extensions.refstorage", "reftable"]);
    insta::assert_snapshot!(Cli::within(repo.path()).run(&["check"]).refusal(), @"
    error: [repository] keeps its references in the reftable format, which is not supported
     |
     = help: convert it with `git refs migrate --ref-format=files`
    ");
}

#[test]
fn another_users_repository_is_refused_with_the_way_out() {
    let repo = sound();
    repo.commit("as it is");
    if std::process::Command::new("chown")
        .args(["-R", "65533"])
        .arg(repo.path())
        .status()
        .is_ok_and(|s| s.success())
    {
        Cli::within(repo.path()).run(&["check"]).refuses(&["another user", "safe.directory"]);
    } else {
        // Only root can give a folder away; then its own repository must be fine.
        assert_eq!(Cli::within(repo.path()).run(&["check"]).code, 0);
    }
}
