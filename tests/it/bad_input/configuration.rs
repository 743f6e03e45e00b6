//! Configuration that is missing or invalid.

use super::sound;
use crate::harness::cli::{Cli, Ran};

fn with(text: &str) -> Ran {
    let repo = sound();
    repo.commit("as it is");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reconciler.yaml");
    std::fs::write(&path, text).unwrap();
    Cli::within(repo.path()).run(&["check", "--config", path.to_str().unwrap()])
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let repo = sound();
    let ran = Cli::within(repo.path()).run(&["check", "--config", "no.yaml"]);
    ran.refuses(&["no such configuration file", "no.yaml", "help:"]);
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest() {
    with("interval: 5m\ninventry:\n  table: t\n")
        .refuses(&["unknown field `inventry`", "did you mean `inventory`?"])
        .points_at("/");
}

#[test]
fn invalid_yaml_and_a_wrong_type_are_shown_at_their_place() {
    with("interval: [5m\n").refuses(&["reconciler.yaml"]);
    with("max_concurrent_builds: many\n").refuses(&["reconciler.yaml:1:", "^"]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    with("interval: soon\n").refuses(&["`interval` is no duration", "for instance 30s"]);
    with("ami_name: \"{step_id}\"\n").refuses(&["{fingerprint}"]);
    with("repositories: []\n").refuses(&["`repositories` is empty"]);
}

#[test]
fn a_variable_that_names_no_key_is_refused_with_the_nearest() {
    let repo = sound();
    let ran = Cli::within(repo.path())
        .env("RECONCILER_AWS__ENDPOINT", "x")
        .run(&["check"]);
    ran.refuses(&[
        "RECONCILER_AWS__ENDPOINT ",
        "did you mean RECONCILER_AWS__ENDPOINT_URL?",
    ]);
}
