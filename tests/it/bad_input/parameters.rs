//! Parameter files that are malformed, incomplete, or contradict each other.

use super::{check, sound};
use crate::harness::cli::{Cli, Ran};
use crate::harness::repo::Repo;

fn with_step(text: &str) -> Ran {
    let repo = sound();
    repo.write("packer_workspaces/b/step_param.json", text);
    check(&repo)
}

const B: &str = "packer_workspaces/b/step_param.json";
const TEMPLATE: &str = "packer_workspaces/b/templates/.pkr.hcl";

#[test]
fn malformed_json_is_shown_at_its_place() {
    with_step("{\n  \"step_id\": \"b\",\n}\n")
        .refuses(&["malformed JSON: trailing commas", "help:"])
        .points_at(&format!("{B}:2:17"));
}

#[test]
fn a_wrong_type_a_missing_and_a_duplicate_key_are_shown() {
    with_step("{\"step_id\": 7, \"previous_step_id\": null}")
        .refuses(&["`step_id` must be a string, not a number"])
        .points_at(&format!("{B}:1:13"));
    with_step("{\"step_id\": \"b\"}")
        .refuses(&["`previous_step_id` is missing", "null"])
        .points_at(&format!("{B}:1:1"));
    with_step("{\"step_id\": \"b\",\n \"step_id\": \"c\", \"previous_step_id\": null}")
        .refuses(&["`step_id` is there twice"])
        .points_at(&format!("{B}:2:2"));
}

#[test]
fn a_misspelt_switch_is_shown_with_the_nearest() {
    with_step(
        "{\"step_id\": \"b\", \"previous_step_id\": null, \"reconciler\": {\"timeut\": \"1h\"}}",
    )
    .refuses(&["no switch `timeut`", "did you mean `timeout`?"])
    .points_at(&format!("{B}:1:"));
}

#[test]
fn a_duplicate_id_names_both_files() {
    with_step("{\"step_id\": \"a\", \"previous_step_id\": null}")
        .refuses(&[
            "`a` is used 2 times",
            "a/step_param.json and packer_workspaces/b/step_param.json",
            "give each step an id of its own",
        ])
        .points_at(&format!("{B}:1:13"));
}

#[test]
fn an_unknown_parent_is_shown_with_the_nearest_step() {
    with_step("{\"step_id\": \"b\", \"previous_step_id\": \"aa\"}")
        .refuses(&["names `aa`, and there is no such step", "there are: a"])
        .points_at(&format!("{B}:1:38"));
    with_step("{\"step_id\": \"b\", \"previous_step_id\": \"pyenv\"}").refuses(&["there are: a"]);
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
    check(&repo).refuses(&[
        "leads around in a circle",
        "a (packer_workspaces/a/step_param.json) -> b (packer_workspaces/b/step_param.json) -> a",
    ])
    .points_at("packer_workspaces/a/step_param.json:1:38");
}

#[test]
fn templates_without_parameters_are_a_broken_step() {
    let repo = sound();
    repo.remove("packer_workspaces/b/step_param.json");
    check(&repo).refuses(&[
        "has templates but no step_param.json",
        "--> packer_workspaces/b",
        "help:",
    ]);
}

#[test]
fn workflow_parameters_are_shown_at_their_place_as_well() {
    const FILE: &str = "packer_workspaces/workflow_param.json";
    let with = |text: &str| {
        let repo = sound();
        repo.write(FILE, text);
        check(&repo)
    };
    with("{\n  \"workflow_id\": \"w\"\n  \"x\": 1\n}")
        .refuses(&["malformed JSON"])
        .points_at(&format!("{FILE}:"));
    with("{\"workflow_id\": 7}")
        .refuses(&["`workflow_id` must be a string, not a number"])
        .points_at(&format!("{FILE}:1:17"));
    with("{\"workflw_id\": \"w\"}")
        .refuses(&["`workflow_id` is missing", "there is `workflw_id`"])
        .points_at(&format!("{FILE}:1:1"));
    let tags = super::WORKFLOW
        .replace("\"is_default_vpc\"", "\"aws_tags\": {\"aws:x\": \"y\"}, \"is_default_vpc\"");
    with(&tags).refuses(&["the tag `aws:x` starts with `aws:`", FILE]);
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
    repo.write("packer_workspaces/workflow_param.json", super::WORKFLOW.replace("wf-1", "wf:1"));
    check(&repo).refuses(&["':'", "which EC2 does not take"]);
}

#[test]
fn what_is_not_content_is_refused() {
    let repo = sound();
    repo.write(
        "packer_workspaces/b/step_param.json",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    );
    check(&repo).refuses(&[B, "git-LFS pointer", "commit the file itself"]);
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
    Cli::within(repo.path()).run(&["check"]).refuses(&[
        "packer_workspaces/b/vendor",
        "is a submodule where content is expected",
        "commit the files themselves",
    ]);
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
    ran.refuses(&["has 2048 MB", path, "keep large files in S3"]);
    let ran = Cli::within(repo.path()).run(&["plan", "--offline"]);
    ran.refuses(&["has 2048 MB"]);
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
    check(&repo)
        .refuses(&["is not UTF-8", "save the file as UTF-8"])
        .points_at(&format!("{B}:2:8"));
    let repo = sound();
    repo.write("packer_workspaces/workflow_param.json", b"\xff{}");
    check(&repo).refuses(&["is not UTF-8"]).points_at("packer_workspaces/workflow_param.json:1:1");
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
