//! Configuration that is missing or invalid.

use super::sound;
use crate::harness::cli::{Cli, CommandOutput};

fn with(text: impl AsRef<[u8]>) -> CommandOutput {
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
    insta::assert_snapshot!(ran.refusal(), @"
    error: there is no such configuration file
    --> [repository]/no.yaml
     = help: see config/reconciler.yaml for an example
    ");
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest() {
    insta::assert_snapshot!(with("interval: 5m\ninventry:\n  table: t\n").refusal(), @"
    error: unknown field `inventry`
     --> [folder]/reconciler.yaml:2:1
      |
    2 | inventry:
      | ^^^^^^^^
      |
      = help: did you mean `inventory`? there are: state_dir, repositories, inventory, aws, packer, ami_name, base_ami_policy, max_concurrent_builds, on_superseded, on_shutdown, interval, lease_duration, retry, secrets, builds, log_format, web, metrics
    ");
}

#[test]
fn invalid_yaml_and_a_wrong_type_are_shown_at_their_place() {
    insta::assert_snapshot!(with("interval: [5m\n").refusal(), @"
    error: text is expected here
     --> [folder]/reconciler.yaml:1:11
      |
    1 | interval: [5m
      |           ^
    ");
    insta::assert_snapshot!(with("max_concurrent_builds: many\n").refusal(), @"
    error: a whole number is expected here
     --> [folder]/reconciler.yaml:1:24
      |
    1 | max_concurrent_builds: many
      |                        ^^^^
    ");
    insta::assert_snapshot!(with("- a\n").refusal(), @"
    error: keys with values are expected here
     --> [folder]/reconciler.yaml:1:1
      |
    1 | - a
      | ^
    ");
    insta::assert_snapshot!(with("interval: 5m\ninterval: 6m\n").refusal(), @"
    error: the key `interval` is there twice
     --> [folder]/reconciler.yaml:2:1
      |
    2 | interval: 6m
      | ^^^^^^^^
    ");
    insta::assert_snapshot!(with(b"interval: \xff\n").refusal(), @"
    error: cannot be read: stream did not contain valid UTF-8
    --> [folder]/reconciler.yaml
    ");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    insta::assert_snapshot!(with("# first\ninterval: soon\n").refusal(), @r#"
    error: `interval` is no duration: "soon"
     --> [folder]/reconciler.yaml:2:11
      |
    2 | interval: soon
      |           ^^^^
      |
      = help: write whole numbers with their units, the largest first: w (weeks), d (days), h, m, s; for instance 30s, 5m, 1h 30m, 90d
    "#);
    insta::assert_snapshot!(with("packer:\n  timeout: 0s\n").refusal(), @"
    error: `packer.timeout` is 0s, which is too short
     --> [folder]/reconciler.yaml:2:12
      |
    2 |   timeout: 0s
      |            ^^
      |
      = help: 1s or more: without any time nothing can happen in it
    ");
    insta::assert_snapshot!(with("ami_name: \"{step_id}\"\n").refusal(), @r#"
    error: `ami_name` has no {fingerprint}: "{step_id}"
     --> [folder]/reconciler.yaml:1:11
      |
    1 | ami_name: "{step_id}"
      |           ^^^^^^^^^^^
      |
      = help: without it a rebuilt image would need the name that the old one still has
    "#);
    insta::assert_snapshot!(with("repositories: []\n").refusal(), @"
    error: `repositories` is empty
     --> [folder]/reconciler.yaml:1:1
      |
    1 | repositories: []
      | ^^^^^^^^^^^^
      |
      = help: write one below it, `- path: FOLDER` or `- url: URL`; without the key it is the repository of the current folder
    ");
    insta::assert_snapshot!(with("repositories:\n  - name: a\n").refusal(), @"
    error: one of `repositories` has neither `path` nor `url`
     --> [folder]/reconciler.yaml:2:5
      |
    2 |   - name: a
      |     ^^^^
      |
      = help: `path` for a folder of this host, `url` for anything that is fetched
    ");
    insta::assert_snapshot!(with("repositories:\n  - path: a\n    url: file:///a\n").refusal(), @"
    error: a repository has `path` and `url`, and takes one of them
     --> [folder]/reconciler.yaml:2:11
      |
    2 |   - path: a
      |           ^
      |
      = help: `path` for a folder of this host, `url` for anything that is fetched
    ");
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
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: `interval` is no duration: "soon" (from the environment variable RECONCILER_INTERVAL)
     |
     = help: write whole numbers with their units, the largest first: w (weeks), d (days), h, m, s; for instance 30s, 5m, 1h 30m, 90d
    "#);
    assert!(!ran.err.contains("reconciler.yaml"), "{}", ran.err);
}

#[test]
fn a_repository_of_the_configuration_that_is_not_there_is_named() {
    insta::assert_snapshot!(with("repositories:\n  - path: /nowhere/repo\n").refusal(), @"
    error: /nowhere/repo does not exist
     |
     = help: `path` under `repositories` in the configuration names the folder of a git repository
    ");
}

#[test]
fn a_variable_that_names_no_key_is_refused_with_the_nearest() {
    let repo = sound();
    let ran = Cli::within(repo.path()).env("RECONCILER_AWS__ENDPOINT", "x").run(&["check"]);
    insta::assert_snapshot!(ran.refusal(), @"
    error: the environment variable RECONCILER_AWS__ENDPOINT names no key of the configuration
     |
     = help: did you mean RECONCILER_AWS__ENDPOINT_URL?
    ");
}

#[test]
fn a_value_that_is_none_of_those_that_there_are_is_answered_with_all_of_them() {
    insta::assert_snapshot!(with("base_ami_policy: pinned\n").refusal(), @"
    error: unknown variant `pinned`
     --> [folder]/reconciler.yaml:1:18
      |
    1 | base_ami_policy: pinned
      |                  ^^^^^^
      |
      = help: there are: pin, follow
    ");
    insta::assert_snapshot!(with("on_shutdown: Leave\n").refusal(), @"
    error: unknown variant `Leave`
     --> [folder]/reconciler.yaml:1:14
      |
    1 | on_shutdown: Leave
      |              ^^^^^
      |
      = help: did you mean `leave`? there are: leave, cancel
    ");
    insta::assert_snapshot!(with("log_format: syslog\n").refusal(), @"
    error: unknown variant `syslog`
     --> [folder]/reconciler.yaml:1:13
      |
    1 | log_format: syslog
      |             ^^^^^^
      |
      = help: there are: auto, text, json, journald
    ");
    insta::assert_snapshot!(with("aws: {profil: x}\n").refusal(), @"
    error: unknown field `profil`
     --> [folder]/reconciler.yaml:1:7
      |
    1 | aws: {profil: x}
      |       ^^^^^^
      |
      = help: did you mean `profile`? there are: region, profile, endpoint_url, max_calls_per_second, emulator
    ");
}

#[test]
fn values_that_cannot_work_are_refused_with_what_to_write() {
    insta::assert_snapshot!(with("aws:\n  endpoint_url: localhost:5000\n").refusal(), @r#"
    error: `aws.endpoint_url` is no URL: "localhost:5000"
     --> [folder]/reconciler.yaml:2:17
      |
    2 |   endpoint_url: localhost:5000
      |                 ^^^^^^^^^^^^^^
      |
      = help: write http:// or https://, host and port: http://localhost:5000
    "#);
    insta::assert_snapshot!(with("lease_duration: 1s\n").refusal(), @"
    error: `lease_duration` is 1s, which is too short
     --> [folder]/reconciler.yaml:1:17
      |
    1 | lease_duration: 1s
      |                 ^^
      |
      = help: 2s or more: it is renewed every third of it, and one slow answer of the inventory would lose it
    ");
    insta::assert_snapshot!(with("retry: {initial: 1h}\n").refusal(), @"
    error: `retry.initial` is 1h, longer than `retry.max`, which is 30m by default
     --> [folder]/reconciler.yaml:1:18
      |
    1 | retry: {initial: 1h}
      |                  ^^
      |
      = help: the wait begins with `initial` and doubles up to `max`: set both
    ");
    insta::assert_snapshot!(with("builds: {keep: 0}\n").refusal(), @"
    error: `builds.keep` is 0
     --> [folder]/reconciler.yaml:1:16
      |
    1 | builds: {keep: 0}
      |                ^
      |
      = help: 1 to 1000000: a build's folder holds its log; one that runs always stays
    ");
    insta::assert_snapshot!(with("packer:\n  log_limit_mib: 0\n").refusal(), @"
    error: `packer.log_limit_mib` is 0
     --> [folder]/reconciler.yaml:2:18
      |
    2 |   log_limit_mib: 0
      |                  ^
      |
      = help: 1 to 67108864: MiB of a build's log; 64 by default
    ");
    let ran = with("repositories:\n- path: /a\n- path: /b\n  poll_interval: 0s\n");
    insta::assert_snapshot!(ran.refusal(), @"
    error: `poll_interval` is 0s, which is too short
     --> [folder]/reconciler.yaml:4:18
      |
    4 |   poll_interval: 0s
      |                  ^^
      |
      = help: 1s or more: without any time nothing can happen in it
    ");
}

#[test]
fn how_a_list_is_written_in_the_environment_is_said() {
    let repo = sound();
    repo.commit("as it is");
    let with = |name: &str, value: &str| Cli::within(repo.path()).env(name, value).run(&["check"]);
    let ran = with("RECONCILER_PACKER__PASS_ENV", "[\"HTTPS_PROXY\", \"NO_PROXY\"]");
    insta::assert_snapshot!(ran.refusal(), @"
    error: the environment variable RECONCILER_PACKER__PASS_ENV must be a list with commas between its items, without brackets and quotes
     |
     = help: write RECONCILER_PACKER__PASS_ENV=one,two
    ");
    insta::assert_snapshot!(with("RECONCILER_REPOSITORIES", "/srv/a.git,/srv/b.git").refusal(), @r#"
    error: the environment variable RECONCILER_REPOSITORIES must be a list as JSON
     |
     = help: write RECONCILER_REPOSITORIES='[{"path": "/srv/git/images.git"}]'; RECONCILER_REPOSITORY names a single path or URL
    "#);
    let ran = with("RECONCILER_REPOSITORIES", "{\"path\": \"/srv/a.git\"}");
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: the environment variable RECONCILER_REPOSITORIES must be a list as JSON
     |
     = help: write RECONCILER_REPOSITORIES='[{"path": "/srv/git/images.git"}]'; RECONCILER_REPOSITORY names a single path or URL
    "#);
    insta::assert_snapshot!(with("RECONCILER_BASE_AMI_POLICY", "pinned").refusal(), @"
    error: the environment variable RECONCILER_BASE_AMI_POLICY: unknown variant `pinned`
     |
     = help: there are: pin, follow
    ");
    insta::assert_snapshot!(with("RECONCILER_AWS__ENDPOINT_URL", "localhost:5000").refusal(), @r#"
    error: `aws.endpoint_url` is no URL: "localhost:5000" (from the environment variable RECONCILER_AWS__ENDPOINT_URL)
     |
     = help: write http:// or https://, host and port: http://localhost:5000
    "#);
    let ran = with("RECONCILER_PACKER__PASS_ENV", "HTTPS_PROXY=http://me:hunter2@proxy");
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: `packer.pass_env` names what is no name of a variable: "HTTPS_PROXY" with a value behind it (from the environment variable RECONCILER_PACKER__PASS_ENV)
     |
     = help: write names only, such as HTTPS_PROXY: the value is taken from the daemon's own environment
    "#);
    let sound = with("RECONCILER_PACKER__PASS_ENV", "HTTPS_PROXY, NO_PROXY");
    assert_eq!(sound.code, 0, "{sound:?}");
}
