//! Parameter files that are malformed, incomplete, or contradict each other.

use super::{check, sound};
use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::repo::Repo;

fn with_step(text: &str) -> CommandOutput {
    let repo = sound();
    repo.write("packer_workspaces/b/step_param.json", text);
    check(&repo)
}

const B: &str = "packer_workspaces/b/step_param.json";
const TEMPLATE: &str = "packer_workspaces/b/templates/.pkr.hcl";

#[test]
fn malformed_json_is_shown_at_its_place() {
    insta::assert_snapshot!(with_step("{\n  \"step_id\": \"b\",\n}\n").refusal(), @r#"
    error: malformed JSON: trailing commas are not allowed
     --> packer_workspaces/b/step_param.json:2:17
      |
    2 |   "step_id": "b",
      |                 ^
      |
      = help: JSON with // and # comments; strings in double quotes, no comma before a closing bracket
    "#);
}

#[test]
fn a_wrong_type_a_missing_and_a_duplicate_key_are_shown() {
    insta::assert_snapshot!(with_step("{\"step_id\": 7, \"previous_step_id\": null}").refusal(), @r#"
    error: `step_id` must be a string, not a number
     --> packer_workspaces/b/step_param.json:1:13
      |
    1 | {"step_id": 7, "previous_step_id": null}
      |             ^
    "#);
    insta::assert_snapshot!(with_step("{\"step_id\": \"b\"}").refusal(), @r#"
    error: `previous_step_id` is missing
     --> packer_workspaces/b/step_param.json:1:1
      |
    1 | {"step_id": "b"}
      | ^
      |
      = help: write null for a step that starts from the root base image
    "#);
    let ran = with_step("{\"step_id\": \"b\",\n \"step_id\": \"c\", \"previous_step_id\": null}");
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: the key `step_id` is there twice
     --> packer_workspaces/b/step_param.json:2:2
      |
    2 |  "step_id": "c", "previous_step_id": null}
      |  ^^^^^^^^^
      |
      = help: it is there for the first time in line 1; delete one of them
    "#);
}

#[test]
fn a_misspelt_switch_is_shown_with_the_nearest() {
    let ran = with_step(
        "{\"step_id\": \"b\", \"previous_step_id\": null, \"reconciler\": {\"timeut\": \"1h\"}}",
    );
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: `reconciler` has no switch `timeut`
     --> packer_workspaces/b/step_param.json:1:69
      |
    1 | {"step_id": "b", "previous_step_id": null, "reconciler": {"timeut": "1h"}}
      |                                                                     ^^^^
      |
      = help: did you mean `timeout`? there are: manual, suspend, timeout, include, ignore
    "#);
}

#[test]
fn a_duplicate_id_names_both_files() {
    let ran = with_step("{\"step_id\": \"a\", \"previous_step_id\": null}");
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: step id `a` is used 2 times: packer_workspaces/a/step_param.json and packer_workspaces/b/step_param.json
     --> packer_workspaces/b/step_param.json:1:13
      |
    1 | {"step_id": "a", "previous_step_id": null}
      |             ^^^
      |
      = help: give each step an id of its own
    "#);
}

#[test]
fn an_unknown_parent_is_shown_with_the_nearest_step() {
    let ran = with_step("{\"step_id\": \"b\", \"previous_step_id\": \"aa\"}");
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: `previous_step_id` of step `b` names `aa`, and there is no such step
     --> packer_workspaces/b/step_param.json:1:38
      |
    1 | {"step_id": "b", "previous_step_id": "aa"}
      |                                      ^^^^
      |
      = help: there are: a
    "#);
    let ran = with_step("{\"step_id\": \"b\", \"previous_step_id\": \"pyenv\"}");
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: `previous_step_id` of step `b` names `pyenv`, and there is no such step
     --> packer_workspaces/b/step_param.json:1:38
      |
    1 | {"step_id": "b", "previous_step_id": "pyenv"}
      |                                      ^^^^^^^
      |
      = help: there are: a
    "#);
}

#[test]
fn an_include_names_neither_what_packer_would_read_nor_a_path_in_disguise() {
    for path in [
        "packer_workspaces/b/z.pkrvars.hcl",
        "./packer_workspaces/b/z.auto.pkrvars.json",
        "packer_workspaces/b/more.pkr.hcl",
        "packer_workspaces/b/more.pkr.json",
        "packer_workspaces/./b/z.pkrvars.hcl",
        "packer_workspaces/b/./z.pkrvars.hcl",
        "packer_workspaces/b/../b/z.pkrvars.hcl",
    ] {
        let repo = sound();
        repo.write("packer_workspaces/b/z.pkrvars.hcl", "p = \"/etc/shadow\"\n");
        repo.write(
            "packer_workspaces/b/step_param.json",
            format!(
                "{{\"step_id\": \"b\", \"previous_step_id\": null, \"reconciler\": {{\"include\": [\"{path}\"]}}}}"
            ),
        );
        check(&repo)
            .refuses(&["`include`", path, "help:"])
            .points_at("packer_workspaces/b/step_param.json:1:");
    }
}

#[test]
fn a_cycle_is_shown_whole() {
    let repo = sound();
    repo.write(
        "packer_workspaces/a/step_param.json",
        "{\"step_id\": \"a\", \"previous_step_id\": \"b\"}",
    );
    insta::assert_snapshot!(check(&repo).refusal(), @r#"
    error: `previous_step_id` leads around in a circle: a (packer_workspaces/a/step_param.json) -> b (packer_workspaces/b/step_param.json) -> a
     --> packer_workspaces/a/step_param.json:1:38
      |
    1 | {"step_id": "a", "previous_step_id": "b"}
      |                                      ^^^
      |
      = help: one of these steps has to start from another step, or from the root base image (null)
    error: `previous_step_id` leads around in a circle: a (packer_workspaces/a/step_param.json) -> b (packer_workspaces/b/step_param.json) -> a
     --> packer_workspaces/b/step_param.json:3:23
      |
    3 |   "previous_step_id": "a"
      |                       ^^^
      |
      = help: one of these steps has to start from another step, or from the root base image (null)
    "#);
}

#[test]
fn templates_without_parameters_are_a_broken_step() {
    let repo = sound();
    repo.remove("packer_workspaces/b/step_param.json");
    insta::assert_snapshot!(check(&repo).refusal(), @"
    error: has templates but no step_param.json
    --> packer_workspaces/b
     = help: add a step_param.json with `step_id` and `previous_step_id`, or name the folder under `exclude`
    ");
}

#[test]
fn workflow_parameters_are_shown_at_their_place_as_well() {
    const FILE: &str = "packer_workspaces/workflow_param.json";
    let with = |text: &str| {
        let repo = sound();
        repo.write(FILE, text);
        check(&repo)
    };
    insta::assert_snapshot!(with("{\n  \"workflow_id\": \"w\"\n  \"x\": 1\n}").refusal(), @r#"
    error: malformed JSON: expected comma
     --> packer_workspaces/workflow_param.json:2:21
      |
    2 |   "workflow_id": "w"
      |                     ^
      |
      = help: JSON with // and # comments; strings in double quotes, no comma before a closing bracket
    "#);
    insta::assert_snapshot!(with("{\"workflow_id\": 7}").refusal(), @r#"
    error: `workflow_id` must be a string, not a number
     --> packer_workspaces/workflow_param.json:1:17
      |
    1 | {"workflow_id": 7}
      |                 ^
    "#);
    insta::assert_snapshot!(with("{\"workflw_id\": \"w\"}").refusal(), @r#"
    error: `workflow_id` is missing
     --> packer_workspaces/workflow_param.json:1:1
      |
    1 | {"workflw_id": "w"}
      | ^
      |
      = help: there is `workflw_id`; did you mean `workflow_id`?
    "#);
    let tags = super::WORKFLOW
        .replace("\"is_default_vpc\"", "\"aws_tags\": {\"aws:x\": \"y\"}, \"is_default_vpc\"");
    insta::assert_snapshot!(with(&tags).refusal(), @"
    error: the tag `aws:x` starts with `aws:`
    --> packer_workspaces/workflow_param.json
     = help: AWS keeps that prefix for itself
    ");
}

#[test]
fn a_pattern_without_an_owner_is_refused() {
    let repo = sound();
    repo.write(
        "packer_workspaces/workflow_param.json",
        "{\"workflow_id\": \"w\", \"root_base_ami_name\": \"ubuntu-*\"}",
    );
    insta::assert_snapshot!(check(&repo).refusal(), @r#"
    error: the base image is given by name only
     --> packer_workspaces/workflow_param.json:1:44
      |
    1 | {"workflow_id": "w", "root_base_ami_name": "ubuntu-*"}
      |                                            ^^^^^^^^^^
      |
      = help: add `root_base_ami_id`, or `root_base_ami_owner_account_id`: anybody can publish an image of this name
    "#);
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
    insta::assert_snapshot!(check(&repo).refusal(), @"
    error: the image name has 136 characters, EC2 takes 3 to 128: `base/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww/a/55633902`
    --> packer_workspaces/a
     = help: shorten `workflow_id`, `step_id` or `root_base_ami_name`, or set `ami_name` in the configuration
    error: the image name has 136 characters, EC2 takes 3 to 128: `base/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww/b/8d31cd15`
    --> packer_workspaces/b
     = help: shorten `workflow_id`, `step_id` or `root_base_ami_name`, or set `ami_name` in the configuration
    ");
    repo.write("packer_workspaces/workflow_param.json", super::WORKFLOW.replace("wf-1", "wf:1"));
    insta::assert_snapshot!(check(&repo).refusal(), @"
    error: the image name contains ':', which EC2 does not take: `base/wf:1/a/6900b8c9`
    --> packer_workspaces/a
     = help: EC2 takes letters, digits, spaces and ()[]./-'@_
    error: the image name contains ':', which EC2 does not take: `base/wf:1/b/e77784b6`
    --> packer_workspaces/b
     = help: EC2 takes letters, digits, spaces and ()[]./-'@_
    ");
}

#[test]
fn what_is_not_content_is_refused() {
    let repo = sound();
    repo.write(
        "packer_workspaces/b/step_param.json",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    );
    insta::assert_snapshot!(check(&repo).refusal(), @"
    error: is a git-LFS pointer where content is expected
    --> packer_workspaces/b/step_param.json
     = help: commit the file itself
    ");
    for file in ["packer_workspaces/b/data.bin", TEMPLATE] {
        let repo = sound();
        repo.write(file, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
        check(&repo).refuses(&[file, "git-LFS pointer", "commit the file itself"]);
    }
}

#[test]
fn a_symbolic_link_is_refused_wherever_content_is_expected() {
    for (file, hint) in [
        (B, "commit the file itself"),
        (TEMPLATE, "commit a copy"),
        ("packer_workspaces/b/link", "commit a copy"),
        ("packer_workspaces/workflow_param.json", "as a file"),
    ] {
        let repo = sound();
        let _ = std::fs::remove_file(repo.path().join(file));
        std::os::unix::fs::symlink("/etc/passwd", repo.path().join(file)).unwrap();
        let ran = check(&repo);
        ran.refuses(&[file, "symbolic link", hint]);
        assert!(!ran.err.contains("root:"), "{}", ran.err);
    }
}

#[test]
fn a_submodule_is_refused_where_content_is_expected() {
    let repo = sound();
    let other = Repo::new();
    let commit = other.commit("of another repository");
    repo.commit("without it");
    let entry = format!("160000,{commit},packer_workspaces/b/vendor");
    repo.git(&["update-index", "--add", "--cacheinfo", &entry]);
    repo.git(&["commit", "--quiet", "--message", "with it"]);
    insta::assert_snapshot!(Cli::within(repo.path()).run(&["check"]).refusal(), @"
    note: this is [commit]; packer_workspaces/ has uncommitted changes that are not in it
    error: is a submodule where content is expected
    --> packer_workspaces/b/vendor
     = help: the content of a submodule is not in this repository; commit the files themselves
    ");
}

/// The object says that it has 2 GB, and holds a few bytes: whoever reads more than its header
/// fails otherwise.
#[test]
fn a_file_of_two_gigabytes_is_refused_by_its_size_alone() {
    const SIZE: u64 = 2 << 30;
    let repo = sound();
    repo.commit("without it");
    let id = "2".repeat(40);
    let folder = repo.git_dir().join("objects/22");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&id[2..]), deflated(format!("blob {SIZE}\0few").as_bytes()))
        .unwrap();
    let path = "packer_workspaces/b/huge.bin";
    repo.git(&[
        "update-index",
        "--add",
        "--info-only",
        "--cacheinfo",
        &format!("100644,{id},{path}"),
    ]);
    let tree = repo.git(&["write-tree", "--missing-ok"]);
    let commit = repo.git(&["commit-tree", "-p", "HEAD", "-m", "with it", &tree]);
    repo.git(&["update-ref", "refs/heads/main", &commit]);
    let ran = Cli::within(repo.path()).run(&["check"]);
    insta::assert_snapshot!(ran.refusal(), @"
    note: this is [commit]; packer_workspaces/ has uncommitted changes that are not in it
    error: has 2048 MB; files above 512 MB are not read
    --> packer_workspaces/b/huge.bin
     = help: keep large files in S3 and fetch them in a provisioner
    ");
    let ran = Cli::within(repo.path()).run(&["plan", "--offline"]);
    insta::assert_snapshot!(ran.refusal(), @"
    error: has 2048 MB; files above 512 MB are not read
    --> packer_workspaces/b/huge.bin
     = help: keep large files in S3 and fetch them in a provisioner
    note: this is [commit]; packer_workspaces/ has uncommitted changes that are not in it
    ");
    assert!(ran.out.contains("+ a"), "the other step goes on: {}", ran.out);
}

/// A zlib stream that stores its bytes as they are (RFC 1950, 1951).
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let mut out = vec![0x78, 0x01, 0x01];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(bytes);
    out.extend(((b << 16) | a).to_be_bytes());
    out
}

#[test]
fn what_is_not_utf8_is_shown_at_its_place() {
    let repo = sound();
    repo.write(B, b"{\"step_id\": \"b\",\n \"x\": \"\xff\"}");
    insta::assert_snapshot!(check(&repo).refusal(), @r#"
    error: is not UTF-8: the byte at 24 is wrong
     --> packer_workspaces/b/step_param.json:2:8
      |
    2 |  "x": "�"}
      |        ^
      |
      = help: save the file as UTF-8
    "#);
    let repo = sound();
    repo.write("packer_workspaces/workflow_param.json", b"\xff{}");
    insta::assert_snapshot!(check(&repo).refusal(), @"
    error: is not UTF-8: the byte at 0 is wrong
     --> packer_workspaces/workflow_param.json:1:1
      |
    1 | �{}
      | ^
      |
      = help: save the file as UTF-8
    ");
}

#[test]
fn a_broken_step_stops_itself_and_its_descendants_only() {
    let repo = sound();
    repo.write("packer_workspaces/a/step_param.json", "{\"step_id\": \"a\",}");
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
    assert!(line("a").contains("broken: packer_workspaces/a/step_param.json:1:"), "{}", ran.out);
    assert!(line("b").contains("blocked: a is broken"), "{}", ran.out);
    assert!(line("c").contains("build: no inventory yet"), "{}", ran.out);
    let status = Cli::within(repo.path()).run(&["status", "--offline"]);
    let states: Vec<_> = status
        .out
        .lines()
        .skip(1)
        .take(3)
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(states, ["c build", "a broken", "b blocked"], "{}", status.out);
    assert!(
        status.out.contains("broken: packer_workspaces/a/step_param.json:1:"),
        "{}",
        status.out
    );
    assert!(status.out.contains("blocked: a is broken"), "{}", status.out);
}
