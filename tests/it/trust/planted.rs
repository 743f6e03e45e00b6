//! Objects that git itself would not make, but stores and sends when somebody makes them by hand.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::Guarded;
use crate::harness::repo::Repo;

/// Stores an object of these bytes; its id.
pub(super) fn object(repo: &Repo, kind: &str, bytes: &[u8]) -> String {
    let mut git = Command::new("git")
        .args(["hash-object", "-t", kind, "-w", "--stdin", "--literally"])
        .current_dir(repo.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(bytes).unwrap();
    let id = String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(id.trim().len(), 40, "{id:?}");
    id.trim().to_owned()
}

/// A tree of these entries: mode, name, id.
fn tree(repo: &Repo, entries: &[(&str, &str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend(format!("{mode} {name}\0").bytes());
        let pairs = id
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        bytes.extend(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
    }
    object(repo, "tree", &bytes)
}

#[test]
fn a_tree_made_by_hand_cannot_name_what_lies_elsewhere() {
    let guarded = Guarded::new(&[]);
    let repo = &guarded.repo;
    repo.commit("sound");
    guarded.plans();
    let id = |path: &str| repo.git(&["rev-parse", &format!("HEAD:packer_workspaces/{path}")]);
    let (templates, step) = (id("a/templates"), id("a/step_param.json"));
    let workflow = id("workflow_param.json");
    for name in [
        "../../outside",
        "..",
        ".git",
        ".GIT",
        "/etc/cron.d/x",
        "x/y",
    ] {
        let folder = [
            ("100644", name, step.as_str()),
            ("100644", "step_param.json", &step),
            ("40000", "templates", &templates),
        ];
        let folder = tree(repo, &folder);
        let workspaces = [
            ("40000", "a", folder.as_str()),
            ("100644", "workflow_param.json", &workflow),
        ];
        let root = [("40000", "packer_workspaces", &*tree(repo, &workspaces))];
        let commit = repo.git(&["commit-tree", "-m", "by hand", &tree(repo, &root)]);
        repo.git(&["update-ref", "refs/tags/planted", &commit]);
        let ran = guarded.run(&["plan", "--offline", "--rev", "planted"]);
        ran.refuses(&["which git never writes", "packer_workspaces/a"]);
    }
}
