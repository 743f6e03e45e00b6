//! Every bad input is answered with what happened, where, and what to do: through the real program,
//! looking at the message.

mod aws;
mod configuration;
mod odd_trees;
mod packer;
mod parameters;
mod repository;
mod templates;

use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::repo::{Repo, TEMPLATE, WORKFLOW};

/// A workflow of two sound steps, `a` and its child `b`.
fn sound() -> Repo {
    let repo = Repo::new();
    repo.write("packer_workspaces/workflow_param.json", WORKFLOW);
    for (id, parent) in [("a", "null"), ("b", "\"a\"")] {
        let param = format!("{{\n  \"step_id\": \"{id}\",\n  \"previous_step_id\": {parent}\n}}\n");
        repo.write(&format!("packer_workspaces/{id}/step_param.json"), param);
        repo.write(&format!("packer_workspaces/{id}/templates/.pkr.hcl"), TEMPLATE);
    }
    repo
}

fn check(repo: &Repo) -> CommandOutput {
    repo.commit("as it is");
    Cli::within(repo.path()).run(&["check"])
}

#[test]
fn a_sound_workflow_passes_without_any_network() {
    let ran = check(&sound());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("2 steps, sound"), "{}", ran.out);
}

#[test]
fn bad_usage_has_an_exit_code_of_its_own() {
    let repo = sound();
    assert_eq!(Cli::within(repo.path()).run(&["plna"]).code, 64);
    assert_eq!(Cli::within(repo.path()).run(&["--help"]).code, 0);
}
