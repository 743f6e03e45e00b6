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
        let pairs = id.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
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
    for name in ["../../outside", "..", ".git", ".GIT", "/etc/cron.d/x", "x/y"] {
        let folder = [
            ("100644", name, step.as_str()),
            ("100644", "step_param.json", &step),
            ("40000", "templates", &templates),
        ];
        let folder = tree(repo, &folder);
        let workspaces =
            [("40000", "a", folder.as_str()), ("100644", "workflow_param.json", &workflow)];
        let root = [("40000", "packer_workspaces", &*tree(repo, &workspaces))];
        let commit = repo.git(&["commit-tree", "-m", "by hand", &tree(repo, &root)]);
        repo.git(&["update-ref", "refs/tags/planted", &commit]);
        let ran = guarded.run(&["plan", "--offline", "--rev", "planted"]);
        ran.refuses(&["which git never writes", "packer_workspaces/a"]);
    }
}

#[test]
fn a_folder_that_is_too_deep_or_has_too_much_in_it_breaks_its_step_and_no_other() {
    let guarded = Guarded::new(&[]);
    let repo = &guarded.repo;
    repo.commit("sound");
    let id = |path: &str| repo.git(&["rev-parse", &format!("HEAD:packer_workspaces/{path}")]);
    let (templates, step) = (id("a/templates"), id("a/step_param.json"));
    let (sound, workflow) = (id("a"), id("workflow_param.json"));
    let other = object(repo, "blob", b"{ \"step_id\": \"other\", \"previous_step_id\": null }");
    let deep = (0..80).fold(templates.clone(), |below, _| tree(repo, &[("40000", "d", &below)]));
    // Ten folders in each of ten, seven times: ten million files of two hundred bytes of git.
    let names: Vec<String> = (0..10).map(|at| at.to_string()).collect();
    let wide = (0..7).fold(templates.clone(), |below, _| {
        let entries: Vec<_> =
            names.iter().map(|name| ("40000", name.as_str(), below.as_str())).collect();
        tree(repo, &entries)
    });
    for (hostile, words) in
        [(deep, "more than 64 deep"), (wide, "more than 100000 files and folders")]
    {
        let folder = tree(
            repo,
            &[
                ("40000", "d", &hostile),
                ("100644", "step_param.json", &other),
                ("40000", "templates", &templates),
            ],
        );
        let workspaces = tree(
            repo,
            &[
                ("40000", "a", &sound),
                ("40000", "b", &folder),
                ("100644", "workflow_param.json", &workflow),
            ],
        );
        let root = tree(repo, &[("40000", "packer_workspaces", &workspaces)]);
        let commit = repo.git(&["commit-tree", "-m", "by hand", &root]);
        repo.git(&["update-ref", "refs/tags/planted", &commit]);
        let ran = guarded.run(&["plan", "--offline", "--rev", "planted"]);
        ran.refuses(&[words, "packer_workspaces/b", "help:"]);
        assert!(ran.out.contains("1 to build"), "the other step: {ran:#?}");
    }
    assert_ne!(step, other);
}
