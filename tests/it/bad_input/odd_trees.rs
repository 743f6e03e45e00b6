//! Names that are nearly right, things in place of folders, ids and names that are given out twice:
//! said, never silently left out.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{check, sound};
use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::repo::{Repo, TEMPLATE, WORKFLOW};

const SECOND: &str = "packer_workspaces/b";

fn moved(repo: &Repo, from: &str, to: &str) {
    let path = |name: &str| repo.path().join(name);
    std::fs::rename(path(from), path(to)).unwrap();
}

/// A commit that another repository's folder would have, in place of a folder.
fn submodule(repo: &Repo, path: &str) {
    repo.git(&["add", "--all"]);
    let entry = format!("160000,{},{path}", "4f2c1e9d".repeat(5));
    repo.git(&["update-index", "--add", "--cacheinfo", &entry]);
    repo.git(&["commit", "-q", "-m", "a submodule"]);
}

fn run(repo: &Repo, arguments: &[&str]) -> CommandOutput {
    Cli::within(repo.path()).run(arguments)
}

#[track_caller]
fn warns(ran: &CommandOutput, words: &[&str]) {
    assert_eq!(ran.code, 0, "{ran:#?}");
    for word in words.iter().chain(&["warning: "]) {
        assert!(ran.err.contains(word), "{word:?} is in:\n{}", ran.err);
    }
}

#[test]
fn a_step_that_is_a_submodule_or_a_link_is_an_error_of_that_step() {
    let repo = sound();
    submodule(&repo, "packer_workspaces/c");
    let told = ["packer_workspaces/c", "is a submodule"];
    run(&repo, &["check"]).refuses(&told);
    let status = run(&repo, &["status", "--offline"]);
    assert!(status.out.contains('c') && status.out.contains("submodule"), "{status:?}");

    let repo = sound();
    repo.write("shared/c/step_param.json", r#"{"step_id": "c", "previous_step_id": null}"#);
    symlink("../shared/c", repo.path().join("packer_workspaces/c")).unwrap();
    check(&repo).refuses(&["packer_workspaces/c", "is a symbolic link to shared/c"]);

    let repo = sound();
    symlink("b", repo.path().join("packer_workspaces/latest")).unwrap();
    symlink("../README", repo.path().join("packer_workspaces/README")).unwrap();
    symlink("/etc", repo.path().join("packer_workspaces/etc")).unwrap();
    assert_eq!(check(&repo).code, 0, "second names and other links are none of ours");

    let repo = sound();
    moved(&repo, "packer_workspaces", "elsewhere");
    symlink("elsewhere", repo.path().join("packer_workspaces")).unwrap();
    check(&repo).refuses(&["packer_workspaces", "is a symbolic link"]);
}

#[test]
fn templates_under_another_name_are_no_manual_step() {
    for name in ["template", "Templates", "TEMPLATES"] {
        let repo = sound();
        moved(&repo, &format!("{SECOND}/templates"), &format!("{SECOND}/{name}"));
        let told = format!("{SECOND}/{name}");
        let ran = check(&repo);
        ran.refuses(&[&told, "is not `templates/`", "manual"]);
        let status = run(&repo, &["status", "--offline"]);
        assert!(status.out.contains("broken"), "{status:?}");
        repo.write(
            &format!("{SECOND}/step_param.json"),
            r#"{"step_id": "b", "previous_step_id": "a", "reconciler": {"manual": true}}"#,
        );
        assert_eq!(check(&repo).code, 0, "a person says so");
    }
    let repo = sound();
    moved(&repo, &format!("{SECOND}/templates"), "kept");
    symlink("../../kept", repo.path().join(SECOND).join("templates")).unwrap();
    check(&repo).refuses(&["b/templates", "is a symbolic link"]);
    let repo = sound();
    repo.remove(&format!("{SECOND}/templates"));
    assert_eq!(check(&repo).code, 0, "a manual step");
}

#[test]
fn parameter_files_of_another_spelling_are_said() {
    for name in ["Step_param.json", "step_params.json", "step-param.json", "Param.json"] {
        let repo = sound();
        repo.remove(&format!("{SECOND}/templates"));
        moved(&repo, &format!("{SECOND}/step_param.json"), &format!("{SECOND}/{name}"));
        check(&repo).refuses(&[&format!("{SECOND}/{name}"), "is not `step_param.json`"]);
    }
    let repo = sound();
    repo.write(&format!("{SECOND}/param.json"), "{}");
    for command in [vec!["check"], vec!["plan", "--offline"], vec!["status", "--offline"]] {
        repo.commit("as it is");
        let ran = run(&repo, &command);
        warns(&ran, &["b/param.json", "is not read"]);
        let again = run(&repo, &command);
        assert_eq!(again.err, ran.err, "and again, though the step is known by now");
    }
    let repo = sound();
    repo.write("packer_workspaces/other/Workflow_param.json", WORKFLOW);
    moved(&repo, "packer_workspaces/workflow_param.json", "packer_workspaces/Workflow_param.json");
    check(&repo).refuses(&["no workflow found", "Workflow_param.json"]);
}

#[test]
fn what_lies_too_deep_is_said() {
    let repo = sound();
    repo.write("packer_workspaces/windows/workflow_param.json", WORKFLOW);
    repo.write("packer_workspaces/more/c/step_param.json", "{}");
    warns(
        &check(&repo),
        &[
            "windows/workflow_param.json",
            "below another one",
            "more/c/step_param.json",
            "right below",
        ],
    );
    let status = run(&repo, &["status", "--offline"]);
    warns(&status, &["windows/workflow_param.json"]);
}

/// Two workflows of one id, each with a step.
fn twins() -> Repo {
    let repo = Repo::new();
    for folder in ["linux", "windows"] {
        let folder = format!("packer_workspaces/{folder}");
        repo.write(&format!("{folder}/workflow_param.json"), WORKFLOW);
        repo.write(
            &format!("{folder}/a/step_param.json"),
            r#"{"step_id": "a", "previous_step_id": null}"#,
        );
        repo.write(&format!("{folder}/a/templates/.pkr.hcl"), TEMPLATE);
    }
    let third = WORKFLOW.replace("wf-1", "wf-2");
    repo.write("packer_workspaces/mac/workflow_param.json", third);
    repo.write(
        "packer_workspaces/mac/a/step_param.json",
        r#"{"step_id": "a", "previous_step_id": null}"#,
    );
    repo.write("packer_workspaces/mac/a/templates/.pkr.hcl", TEMPLATE);
    repo.commit("three workflows, two ids");
    repo
}

#[test]
fn two_workflows_of_one_id_are_an_error_that_names_both_and_stops_nobody_else() {
    let repo = twins();
    let both = [
        "workflow_id `wf-1`",
        "packer_workspaces/linux/workflow_param.json",
        "packer_workspaces/windows/workflow_param.json",
    ];
    run(&repo, &["check"]).refuses(&both);
    for command in ["plan", "status"] {
        let ran = run(&repo, &[command, "--offline"]);
        ran.refuses(&both);
        assert!(ran.out.contains("wf-2"), "{ran:?}");
        assert!(!ran.out.contains("wf-1"), "{ran:?}");
    }
    let ran = run(&repo, &["plan", "--offline", "--workflow", "packer_workspaces/linux"]);
    ran.refuses(&both);
    assert_eq!(run(&repo, &["check", "--workflow", "wf-2"]).code, 0);
    assert_eq!(run(&repo, &["plan", "--offline", "--workflow", "wf-2"]).code, 0);
    run(&repo, &["adopt", "--workflow", "packer_workspaces/linux"]).refuses(&both);
}

fn configured(repositories: &[(&str, &Path)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let of = |(name, path): &(&str, &Path)| format!("{{name: {name}, path: '{}'}}", path.display());
    let list: Vec<String> = repositories.iter().map(of).collect();
    let state = folder.path().join("state");
    let text = format!("state_dir: '{}'\nrepositories: [{}]\n", state.display(), list.join(", "));
    std::fs::write(folder.path().join("reconciler.yaml"), text).unwrap();
    folder
}

#[test]
fn one_id_in_two_repositories_and_one_repository_under_two_names_are_said() {
    let (one, other) = (sound(), sound());
    one.commit("one");
    other.commit("other");
    let within = |folder: &tempfile::TempDir, arguments: &[&str]| {
        let file = folder.path().join("reconciler.yaml");
        Cli::within(folder.path()).env("RECONCILER_CONFIG", file).run(arguments)
    };
    let folder = configured(&[("one", one.path()), ("other", other.path())]);
    let both = ["workflow_id `wf-1`", "repository `one`", "repository `other`", "an id of its own"];
    for command in [["check", "--repository", "one"], ["plan", "--offline", "--repository"]] {
        let arguments =
            [&command[..], if command[0] == "plan" { &["other"][..] } else { &[] }].concat();
        within(&folder, &arguments).refuses(&both);
    }
    within(&folder, &["status", "--offline"]).refuses(&both);

    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("link");
    symlink(one.path(), &link).unwrap();
    for path in
        [link, one.path().join(".git"), one.path().join("packer_workspaces"), one.path().join("./")]
    {
        let folder = configured(&[("x", one.path()), ("y", &path)]);
        within(&folder, &["check"]).refuses(&["`x` and `y` are one repository", "`roots`"]);
    }
}

#[test]
fn a_name_that_is_a_branch_and_a_tag_is_the_branch_everywhere_and_that_is_said() {
    let repo = sound();
    let old = repo.commit("old");
    repo.git(&["tag", "release"]);
    repo.git(&["branch", "plain"]);
    let new = repo.write("README", "new").commit("new");
    repo.git(&["branch", "release"]);
    let folder = configured(&[("r", repo.path())]);
    let file = folder.path().join("reconciler.yaml");
    let within = |arguments: &[&str]| {
        Cli::within(folder.path()).env("RECONCILER_CONFIG", &file).run(arguments)
    };
    for packed in [false, true] {
        if packed {
            repo.git(&["pack-refs", "--all"]);
        }
        let by_rev = within(&["check", "--rev", "release"]);
        warns(&by_rev, &["`release` is a branch and a tag", "refs/tags/release"]);
        assert!(by_rev.out.contains(new.short()), "{by_rev:?}");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("{name: r,", "{name: r, reference: release,")).unwrap();
        for command in [vec!["check"], vec!["plan", "--offline"], vec!["status", "--offline"]] {
            let followed = within(&command);
            warns(&followed, &["`release` is a branch and a tag"]);
            assert!(followed.out.contains(new.short()), "{followed:?}");
        }
        std::fs::write(&file, text).unwrap();
        for (rev, commit) in
            [("refs/tags/release", &old), ("refs/heads/release", &new), ("plain", &old)]
        {
            let ran = within(&["check", "--rev", rev]);
            assert!(ran.out.contains(commit.short()), "{rev}: {ran:?}");
            assert!(!ran.err.contains("warning"), "{rev}: {ran:?}");
        }
    }
}
