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
        "w (weeks), d (days), h, m, s; for instance 30s",
    ]);
    with("packer:\n  timeout: 0s\n").refuses(&["`packer.timeout`", "reconciler.yaml:2:12"]);
    with("ami_name: \"{step_id}\"\n").refuses(&["{fingerprint}", "reconciler.yaml:1:11"]);
    with("repositories: []\n").refuses(&["`repositories` is empty", "reconciler.yaml:1:1"]);
    with("repositories:\n  - name: a\n").refuses(&[
        "neither `path` nor `url`",
        "reconciler.yaml:2:5",
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
    let ran = Cli::within(repo.path()).env("RECONCILER_AWS__ENDPOINT", "x").run(&["check"]);
    ran.refuses(&["RECONCILER_AWS__ENDPOINT ", "did you mean RECONCILER_AWS__ENDPOINT_URL?"]);
}

#[test]
fn a_value_that_is_none_of_those_that_there_are_is_answered_with_all_of_them() {
    with("base_ami_policy: pinned\n")
        .refuses(&["unknown variant `pinned`", "there are: pin, follow"])
        .points_at("/");
    with("on_shutdown: Leave\n").refuses(&["did you mean `leave`? there are: leave, cancel"]);
    with("log_format: syslog\n").refuses(&["there are: auto, text, json, journald"]);
    with("aws: {profil: x}\n").refuses(&[
        "did you mean `profile`? there are: region, profile, endpoint_url",
        "reconciler.yaml:1:7",
    ]);
}

#[test]
fn values_that_cannot_work_are_refused_with_what_to_write() {
    with("aws:\n  endpoint_url: localhost:5000\n").refuses(&[
        "`aws.endpoint_url` is no URL: \"localhost:5000\"",
        "reconciler.yaml:2:17",
        "^^^^^^^^^^^^^^",
        "http://localhost:5000",
    ]);
    with("lease_duration: 1s\n")
        .refuses(&["`lease_duration` is 1s, which is too short", "2s or more"]);
    with("retry: {initial: 1h}\n").refuses(&[
        "`retry.initial` is 1h, longer than `retry.max`, which is 30m by default",
        "reconciler.yaml:1:18",
    ]);
    with("builds: {keep: 0}\n").refuses(&["`builds.keep` is 0", "reconciler.yaml:1:16"]);
    with("packer:\n  log_limit_mib: 0\n").refuses(&["`packer.log_limit_mib` is 0"]);
    with("repositories:\n- path: /a\n- path: /b\n  poll_interval: 0s\n")
        .refuses(&["`poll_interval` is 0s, which is too short", "reconciler.yaml:4:18"]);
}

#[test]
fn how_a_list_is_written_in_the_environment_is_said() {
    let repo = sound();
    repo.commit("as it is");
    let with = |name: &str, value: &str| Cli::within(repo.path()).env(name, value).run(&["check"]);
    with("RECONCILER_PACKER__PASS_ENV", "[\"HTTPS_PROXY\", \"NO_PROXY\"]").refuses(&[
        "RECONCILER_PACKER__PASS_ENV must be a list with commas between its items",
        "write RECONCILER_PACKER__PASS_ENV=one,two",
    ]);
    with("RECONCILER_REPOSITORIES", "/srv/a.git,/srv/b.git").refuses(&[
        "RECONCILER_REPOSITORIES must be a list as JSON",
        "[{\"path\": \"/srv/git/images.git\"}]",
        "RECONCILER_REPOSITORY names a single path or URL",
    ]);
    with("RECONCILER_REPOSITORIES", "{\"path\": \"/srv/a.git\"}")
        .refuses(&["must be a list as JSON"]);
    with("RECONCILER_BASE_AMI_POLICY", "pinned").refuses(&[
        "RECONCILER_BASE_AMI_POLICY: unknown variant `pinned`",
        "there are: pin, follow",
    ]);
    with("RECONCILER_AWS__ENDPOINT_URL", "localhost:5000")
        .refuses(&["(from the environment variable RECONCILER_AWS__ENDPOINT_URL)"]);
    with("RECONCILER_PACKER__PASS_ENV", "HTTPS_PROXY=http://me:hunter2@proxy")
        .refuses(&["`packer.pass_env` names what is no name of a variable: \"HTTPS_PROXY\""]);
    let sound = with("RECONCILER_PACKER__PASS_ENV", "HTTPS_PROXY, NO_PROXY");
    assert_eq!(sound.code, 0, "{sound:?}");
}
