//! Parameter files that are malformed, incomplete, or contradict each other.

use super::{check, sound};
use crate::harness::cli::{Cli, Ran};

fn with_step(text: &str) -> Ran {
    let repo = sound();
    repo.write("packer_workspaces/b/step_param.json", text);
    check(&repo)
}

const B: &str = "packer_workspaces/b/step_param.json";

#[test]
fn malformed_json_is_shown_at_its_place() {
    with_step("{\n  \"step_id\": \"b\",\n}\n")
        .refuses(&["malformed JSON", "help:"])
        .points_at(&format!("{B}:"));
}

#[test]
fn a_wrong_type_a_missing_and_a_duplicate_key_are_shown() {
    with_step("{\"step_id\": 7, \"previous_step_id\": null}")
        .refuses(&["`step_id` must be a string, not a number"])
        .points_at(&format!("{B}:1:13"));
    with_step("{\"step_id\": \"b\"}")
        .refuses(&["`previous_step_id` is missing", "null"])
        .points_at(B);
    with_step("{\"step_id\": \"b\",\n \"step_id\": \"c\", \"previous_step_id\": null}")
        .refuses(&["`step_id` is there twice"])
        .points_at(&format!("{B}:2:2"));
}

#[test]
fn a_misspelt_switch_is_shown_with_the_nearest() {
    with_step(
        "{\"step_id\": \"b\", \"previous_step_id\": null, \"reconciler\": {\"timeut\": \"1h\"}}",
    )
    .refuses(&["no switch `timeut`", "did you mean `timeout`?"]);
}

#[test]
fn a_duplicate_id_names_both_files() {
    with_step("{\"step_id\": \"a\", \"previous_step_id\": null}").refuses(&[
        "`a` is used 2 times",
        "a/step_param.json and packer_workspaces/b/step_param.json",
    ]);
}

#[test]
fn an_unknown_parent_is_shown_with_the_nearest_step() {
    with_step("{\"step_id\": \"b\", \"previous_step_id\": \"aa\"}")
        .refuses(&["names `aa`, and there is no such step", "there are: a"]);
}

#[test]
fn a_cycle_is_shown_whole() {
    let repo = sound();
    repo.write(
        "packer_workspaces/a/step_param.json",
        "{\"step_id\": \"a\", \"previous_step_id\": \"b\"}",
    );
    check(&repo).refuses(&[
        "leads around in a circle",
        "a (packer_workspaces/a/step_param.json) -> b (packer_workspaces/b/step_param.json) -> a",
    ]);
}

#[test]
fn templates_without_parameters_are_a_broken_step() {
    let repo = sound();
    repo.remove("packer_workspaces/b/step_param.json");
    check(&repo).refuses(&["has templates but no step_param.json", "help:"]);
}

#[test]
fn a_pattern_without_an_owner_is_refused() {
    let repo = sound();
    repo.write(
        "packer_workspaces/workflow_param.json",
        "{\"workflow_id\": \"w\", \"root_base_ami_name\": \"ubuntu-*\"}",
    );
    check(&repo)
        .refuses(&["given by name only", "root_base_ami_owner_account_id"])
        .points_at("packer_workspaces/workflow_param.json:1:");
}

#[test]
fn a_secret_in_parameters_is_warned_of_and_never_shown() {
    let repo = sound();
    let text = super::WORKFLOW.replace(
        "\"workflow_id\"",
        "\"aws_secret_access_key\": \"topsecretvalue\", \"workflow_id\"",
    );
    repo.write("packer_workspaces/workflow_param.json", text);
    let ran = check(&repo);
    assert_eq!(ran.code, 0);
    assert!(
        ran.err.contains("warning") && ran.err.contains("`aws_secret_access_key` is in git"),
        "{}",
        ran.err
    );
    assert!(!format!("{ran:?}").contains("topsecretvalue"));
}

#[test]
fn a_name_that_ec2_refuses_is_refused_before_a_build() {
    let repo = sound();
    repo.write(
        "packer_workspaces/workflow_param.json",
        super::WORKFLOW.replace("wf-1", &"w".repeat(120)),
    );
    check(&repo).refuses(&["characters, EC2 takes 3 to 128", "help:"]);
    repo.write(
        "packer_workspaces/workflow_param.json",
        super::WORKFLOW.replace("wf-1", "wf:1"),
    );
    check(&repo).refuses(&["':'", "which EC2 does not take"]);
}

#[test]
fn what_is_not_content_is_refused() {
    let repo = sound();
    repo.write(
        "packer_workspaces/b/step_param.json",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    );
    check(&repo).refuses(&["git-LFS pointer"]);
    let repo = sound();
    repo.write(
        "packer_workspaces/b/data.bin",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    );
    check(&repo).refuses(&["packer_workspaces/b/data.bin", "git-LFS pointer"]);
    let repo = sound();
    std::os::unix::fs::symlink("/etc/passwd", repo.path().join("packer_workspaces/b/link"))
        .unwrap();
    check(&repo).refuses(&["packer_workspaces/b/link", "symbolic link", "commit a copy"]);
}

#[test]
fn a_broken_step_stops_itself_and_its_descendants_only() {
    let repo = sound();
    repo.write(
        "packer_workspaces/a/step_param.json",
        "{\"step_id\": \"a\",}",
    );
    repo.write(
        "packer_workspaces/c/step_param.json",
        "{\"step_id\": \"c\", \"previous_step_id\": null}",
    );
    repo.write("packer_workspaces/c/templates/.pkr.hcl", super::TEMPLATE);
    repo.commit("one is broken");
    let ran = Cli::within(repo.path()).run(&["plan", "--offline"]);
    assert_eq!(ran.code, 1);
    let line = |step: &str| {
        ran.out
            .lines()
            .find(|line| line.contains(&format!(" {step} ")))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        line("a").contains("broken: packer_workspaces/a/step_param.json:1:"),
        "{}",
        ran.out
    );
    assert!(line("b").contains("blocked: a is broken"), "{}", ran.out);
    assert!(line("c").contains("build: no image yet"), "{}", ran.out);
}
