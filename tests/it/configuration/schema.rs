//! The schema, judged by a validator that editors use as well, and the program agree on what a
//! configuration may say.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reconciler::config::load::{ProcessEnvironment, load};
use serde_json::{Value, json};

use crate::harness::emulator::python;

/// Who refuses a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// Nobody.
    By0,
    /// The schema and the program.
    Both,
    /// The program alone: a schema cannot say it.
    ByProgram,
}

use Refused::{Both, By0, ByProgram};

const TABLE: &[(Refused, &str)] = &[
    (By0, "{}"),
    (By0, "state_dir: ~/state"),
    (Both, "state_dir: ''"),
    (Both, "state_dri: x"),
    (ByProgram, "state_dir: ~someone/state"),
    (ByProgram, "state_dir: $HOME/state"),
    // Durations.
    (By0, "interval: 5m"),
    (By0, "interval: 1h 30m"),
    (By0, "interval: 10 minutes"),
    (By0, "builds: {max_age: 90d}"),
    (By0, "builds: {max_age: 2w}"),
    (Both, "interval: 0s"),
    (Both, "interval: 0h 0m"),
    (Both, "interval: 300"),
    (Both, "interval: '300'"),
    (Both, "interval: 5x"),
    (Both, "interval: soon"),
    (Both, "interval: -5m"),
    (Both, "interval: 1.5h"),
    (Both, "interval: PT5M"),
    (Both, "interval: 500ms"),
    (Both, "interval: 1mo"),
    (Both, "interval: ''"),
    (Both, "repositories: [{path: /r, poll_interval: 0s}]"),
    (By0, "lease_duration: 30s"),
    (ByProgram, "lease_duration: 1s"),
    (ByProgram, "packer: {timeout: 999999w}"),
    (Both, "packer: {grace: 0m}"),
    (Both, "packer: {timeout: 0s}"),
    (By0, "retry: {initial: 10s, max: 10s}"),
    (ByProgram, "retry: {initial: 1h, max: 30m}"),
    (ByProgram, "retry: {initial: 1h}"),
    (ByProgram, "retry: {max: 10s}"),
    // Numbers.
    (By0, "max_concurrent_builds: 1"),
    (Both, "max_concurrent_builds: 0"),
    (Both, "max_concurrent_builds: -1"),
    (Both, "max_concurrent_builds: 1.5"),
    (Both, "max_concurrent_builds: many"),
    (Both, "max_concurrent_builds: 5000"),
    (Both, "aws: {max_calls_per_second: 0}"),
    (Both, "aws: {max_calls_per_second: 99999}"),
    (Both, "packer: {log_limit_mib: 0}"),
    (Both, "packer: {log_limit_mib: 99999999999999}"),
    (Both, "builds: {keep: 0}"),
    (Both, "builds: {max_size_mib: 0}"),
    (Both, "builds: {max_size_mib: 99999999999999}"),
    (By0, "builds: {keep: 1, max_size_mib: 1}"),
    // Names that there are.
    (By0, "base_ami_policy: follow"),
    (Both, "base_ami_policy: pinned"),
    (Both, "base_ami_policy: Pin"),
    (Both, "on_superseded: stop"),
    (Both, "on_shutdown: kill"),
    (Both, "log_format: logfmt"),
    // What is shown over HTTP.
    (By0, "web: {}"),
    (By0, "web: {listen: '[::1]:9180', hosts: [ami.example.com]}"),
    (Both, "web: {listen: 9180}"),
    (Both, "web: {listen: 'localhost:9180'}"),
    (ByProgram, "web: {listen: '127.0.0.1:99999'}"),
    (Both, "web: {hosts: ['https://ami.example.com']}"),
    (Both, "web: {host: a}"),
    (By0, "metrics: {max_steps: 1}"),
    (Both, "metrics: {max_steps: 0}"),
    // Names of images.
    (By0, "ami_name: '{workflow_id}/{step_id}-{fingerprint}'"),
    (Both, "ami_name: '{step_id}'"),
    (Both, "ami_name: '{step}/{fingerprint}'"),
    (Both, "ami_name: 'a:{fingerprint}'"),
    // Records.
    (By0, "inventory: {table: images, region: us-east-1, create: false}"),
    (By0, "inventory: {path: /srv/i.sqlite}"),
    (Both, "inventory: {table: images, path: /srv/i.sqlite}"),
    (Both, "inventory: {region: us-east-1}"),
    (Both, "inventory: {create: true}"),
    (Both, "inventory: {table: ab}"),
    (Both, "inventory: {table: my images}"),
    (Both, "inventory: {table: images, region: us-east-1a}"),
    (Both, "inventory: {table: images, create: 1}"),
    // AWS.
    (
        By0,
        "aws: {endpoint_url: 'http://localhost:5000', emulator: {source_overrides: {skip_region_validation: true}}}",
    ),
    (By0, "aws: {endpoint_url: 'https://[::1]:80/'}"),
    (Both, "aws: {endpoint_url: 'localhost:5000'}"),
    (Both, "aws: {endpoint_url: 'http://'}"),
    (Both, "aws: {endpoint_url: 'http://h:port'}"),
    (Both, "aws: {endpoint_url: 'ftp://h'}"),
    (ByProgram, "aws: {endpoint_url: 'http://h:99999'}"),
    (Both, "aws: {emulator: {source_overrides: {a: 1}}}"),
    (Both, "aws: {endpoint_url: 'http://h', emulator: {source_overrides: {a b: 1}}}"),
    (Both, "aws: {region: Ireland}"),
    (Both, "aws: {profile: ''}"),
    // Packer.
    (By0, "packer: {pass_env: [HTTPS_PROXY, no_proxy]}"),
    (By0, "packer: {pass_env: []}"),
    (Both, "packer: {pass_env: [A=b]}"),
    (Both, "packer: {pass_env: HTTPS_PROXY}"),
    (ByProgram, "packer: {pass_env: [TMPDIR]}"),
    (Both, "packer: {binary: ''}"),
    (
        By0,
        "packer: {release_site: 'https://mirror.example.com/hashicorp', release_keys: ~/keys.asc}",
    ),
    (Both, "packer: {release_site: mirror.example.com}"),
    (Both, "packer: {release_site: 'file:///srv/releases'}"),
    (Both, "packer: {release_keys: ''}"),
    (ByProgram, "packer: {release_keys: $HOME/keys.asc}"),
    // Repositories.
    (
        By0,
        "repositories: [{path: /r}, {url: 'https://h/a.git', token_env: TOKEN}, {url: 'git@h:b.git', ssh_key: ~/.ssh/k}]",
    ),
    (Both, "repositories: []"),
    (Both, "repositories: [{name: a}]"),
    (Both, "repositories: [{path: /r, url: 'https://h/a'}]"),
    (Both, "repositories: {path: /r}"),
    (Both, "repositories: [{url: github.com/a/b}]"),
    (Both, "repositories: [{path: ''}]"),
    (ByProgram, "repositories: [{path: /a/r}, {path: /b/r}]"),
    (Both, "repositories: [{path: /r, roots: []}]"),
    (Both, "repositories: [{path: /r, roots: ['']}]"),
    (ByProgram, "repositories: [{path: /r, roots: [../x]}]"),
    (Both, "repositories: [{path: /r, exclude: [a/b]}]"),
    (Both, "repositories: [{path: /r, reference: ''}]"),
    (ByProgram, "repositories: [{path: /r, reference: a..b}]"),
    (Both, "repositories: [{path: /r, token_env: TOKEN}]"),
    (ByProgram, "repositories: [{url: 'git@h:b.git', token_env: TOKEN}]"),
    (ByProgram, "repositories: [{url: 'https://h/b.git', ssh_key: /k}]"),
    (Both, "repositories: [{url: 'https://h/b.git', token_env: ghp-1}]"),
    (Both, "repositories: [{path: /r, allowed_signers: /s}]"),
    (ByProgram, "repositories: [{path: /r, require_signed_commits: true}]"),
    (By0, "repositories: [{path: /r, require_signed_commits: true, allowed_signers: /s}]"),
    (Both, "repositories: [{path: /r, allowed_plugins: [github.com/hashicorp/amazon]}]"),
    (Both, "repositories: [{path: /r, deny_local_exec: true, allowed_plugins: [amazon]}]"),
    (Both, "repositories: [{path: /r, deny_local_exec: yes please}]"),
    // Secrets.
    (
        By0,
        "secrets: {fingerprint_key: 'file:/k', parameters: ['*_password'], values: {db: 'env:DB'}}",
    ),
    (By0, "secrets: {values: {}}"),
    (Both, "secrets: {fingerprint_key: hunter2}"),
    (Both, "secrets: {fingerprint_key: 'env:K', values: {db: hunter2}}"),
    (Both, "secrets: {fingerprint_key: 'env:K', values: {a b: 'env:DB'}}"),
    (Both, "secrets: {values: {db: 'env:DB'}}"),
    (Both, "secrets: {parameters: ['*_password']}"),
    (ByProgram, "secrets: {fingerprint_key: 'env:K', parameters: ['[']}"),
    // A key without a value is one that is left out.
    (By0, "interval:\naws:\nrepositories:\nbase_ami_policy:\n"),
];

fn schema_takes(texts: &[&str]) -> Vec<Vec<String>> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut child = Command::new(python())
        .arg(format!("{root}/tests/python/validate_configurations.py"))
        .arg(format!("{root}/config/reconciler.schema.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(json!(texts).to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the validator ends well");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_schema_and_the_program_agree_on_good_and_bad_values() {
    let texts: Vec<_> = TABLE.iter().map(|(_, text)| *text).collect();
    let folder = tempfile::tempdir().unwrap();
    let around = ProcessEnvironment {
        env: [("HOME".to_owned(), folder.path().display().to_string())].into(),
        folder: folder.path().to_owned(),
    };
    let file = folder.path().join("reconciler.yaml");
    let mut wrong = Vec::new();
    for ((expected, text), schema) in TABLE.iter().zip(schema_takes(&texts)) {
        std::fs::write(&file, text).unwrap();
        let program = load(Some(&file), &around).err();
        let found = match (schema.is_empty(), &program) {
            (true, None) => Some(By0),
            (false, Some(_)) => Some(Both),
            (true, Some(_)) => Some(ByProgram),
            (false, None) => None,
        };
        if found != Some(*expected) {
            wrong.push(format!("{text}\n  the schema: {schema:?}\n  the program: {program:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_the_program_refuses_it_shows_with_line_caret_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let around = ProcessEnvironment {
        env: [("HOME".to_owned(), folder.path().display().to_string())].into(),
        folder: folder.path().to_owned(),
    };
    let file = folder.path().join("reconciler.yaml");
    let refused = TABLE.iter().filter(|(refused, _)| *refused != By0);
    for (_, text) in refused {
        std::fs::write(&file, text).unwrap();
        let said = load(Some(&file), &around).unwrap_err().render(false);
        assert!(said.contains("reconciler.yaml:1:"), "{text}\n{said}");
        assert!(said.contains('^'), "{text}\n{said}");
        for secret in ["hunter2", "A=b", "ghp-1"] {
            assert!(!said.contains(secret), "{text}\n{said}");
        }
        let typed = ["create: 1", "many", "300", "1.5", "-1", "[{", "{path", "HTTPS_PROXY}"];
        if !typed.iter().any(|wrong_type| text.contains(wrong_type)) {
            assert!(said.contains("help: "), "{text}\n{said}");
        }
    }
}

#[test]
fn the_example_names_the_schema_for_editors_and_the_schema_names_itself() {
    let root = env!("CARGO_MANIFEST_DIR");
    let example = std::fs::read_to_string(format!("{root}/config/reconciler.yaml")).unwrap();
    let first = example.lines().next().unwrap();
    assert_eq!(first, "# yaml-language-server: $schema=reconciler.schema.json");
    let schema = std::fs::read(format!("{root}/config/reconciler.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let id = schema["$id"].as_str().unwrap();
    assert!(id.starts_with("urn:reconciler:"), "{id}");
    let uncommented = example.replace("\n# ", "\n");
    let both = schema_takes(&[&example, &uncommented]);
    assert_eq!(both, [Vec::<String>::new(), Vec::new()]);
}
