//! Configuration that is missing or invalid.

use super::sound;
use crate::harness::cli::{Cli, Ran};

fn with(text: impl AsRef<[u8]>) -> Ran {
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
    with("interval: [5m\n").refuses(&["text is expected here", "reconciler.yaml:1:11", "^"]);
    with("max_concurrent_builds: many\n").refuses(&[
        "a whole number is expected here",
        "reconciler.yaml:1:24",
        "^",
    ]);
    with("- a\n").refuses(&["keys with values are expected here", "reconciler.yaml:1:"]);
    with("interval: 5m\ninterval: 6m\n").refuses(&[
        "the key `interval` is there twice",
        "reconciler.yaml:2:1",
        "^",
    ]);
    with(b"interval: \xff\n").refuses(&["cannot be read", "UTF-8", "reconciler.yaml"]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    with("# first\ninterval: soon\n").refuses(&[
        "`interval` is no duration",
        "reconciler.yaml:2:11",
        "^^^^",
        "for instance 30s",
    ]);
    with("packer:\n  timeout: 0s\n").refuses(&["`packer.timeout`", "reconciler.yaml:2:12"]);
    with("ami_name: \"{step_id}\"\n").refuses(&["{fingerprint}", "reconciler.yaml:1:11"]);
    with("repositories: []\n").refuses(&["`repositories` is empty", "reconciler.yaml:1:15"]);
    with("repositories:\n  - name: a\n").refuses(&[
        "neither `path` nor `url`",
        "reconciler.yaml:1:1",
        "help:",
    ]);
    with("repositories:\n  - path: a\n    url: file:///a\n").refuses(&[
        "`path` and `url`",
        "reconciler.yaml:2:11",
        "help:",
    ]);
}

#[test]
fn a_value_of_the_environment_is_not_shown_in_the_file() {
    let repo = sound();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reconciler.yaml");
    std::fs::write(&path, "interval: 5m\n").unwrap();
    let ran = Cli::within(repo.path())
        .env("RECONCILER_INTERVAL", "soon")
        .env("RECONCILER_CONFIG", &path)
        .run(&["check"]);
    ran.refuses(&["`interval` is no duration", "RECONCILER_INTERVAL"]);
    assert!(!ran.err.contains("reconciler.yaml"), "{}", ran.err);
}

#[test]
fn a_repository_of_the_configuration_that_is_not_there_is_named() {
    with("repositories:\n  - path: /nowhere/repo\n")
        .refuses(&["/nowhere/repo does not exist", "help:"]);
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
