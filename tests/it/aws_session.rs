//! Where credentials and region come from, each time in a process with an environment and AWS files
//! of its own.

use std::path::Path;
use std::process::Command;

use reconciler_aws::session::{Session, SessionSettings};
use serde_json::json;

use crate::harness::emulator::Emulator;
use crate::harness::farm::Farm;

const CONFIG: &str = "[default]\nregion = sa-east-1\n[profile ops]\nregion = eu-west-1\n";
const CREDENTIALS: &str = "[ops]\naws_access_key_id = OPSKEY\naws_secret_access_key = opssecret\n";

/// What a probe is told.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    profile: Option<&'a str>,
    region: Option<&'a str>,
    default_region: Option<&'a str>,
    endpoint_url: Option<&'a str>,
    environment: &'a [(&'a str, &'a str)],
}

const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ENVKEY"),
    ("AWS_SECRET_ACCESS_KEY", "envsecret"),
    ("AWS_REGION", "us-west-1"),
];

/// Runs [`probe`] in a process of its own: `region key`, or the error.
fn asked(said: Said<'_>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "aws_session::probe", "--ignored", "--nocapture"])
        .env_clear()
        .env("AWS_CONFIG_FILE", file("config", CONFIG))
        .env("AWS_SHARED_CREDENTIALS_FILE", file("credentials", CREDENTIALS))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(said.environment.iter().copied());
    for (name, value) in [
        ("PROBE_PROFILE", said.profile),
        ("PROBE_REGION", said.region),
        ("PROBE_DEFAULT_REGION", said.default_region),
        ("PROBE_ENDPOINT", said.endpoint_url),
    ] {
        command.envs(value.map(|value| (name, value)));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once("probe says: ").unwrap_or_else(|| panic!("{text}"));
    rest.lines().next().unwrap().to_owned()
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn probe() {
    let told = |name: &str| std::env::var(name).ok();
    let settings = SessionSettings {
        keys: None,
        profile: told("PROBE_PROFILE"),
        region: told("PROBE_REGION"),
        default_region: told("PROBE_DEFAULT_REGION"),
        endpoint_url: told("PROBE_ENDPOINT"),
        or_environment: false,
        budget: None,
        counter: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let session = Session::open(&settings).await?;
        let environment = session.packer_environment().await?;
        let key = environment.variables.iter().find(|(name, _)| name == "AWS_ACCESS_KEY_ID");
        Ok(format!("{} {}", session.region(), key.unwrap().1))
    });
    println!(
        "probe says: {}",
        answer.unwrap_or_else(|error: reconciler_model::diagnostic::Diagnostic| format!(
            "{error} ({})",
            error.hint.as_deref().unwrap_or_default()
        ))
    );
}

#[test]
fn a_named_profile_comes_before_the_environment_with_its_keys_and_its_region() {
    let said = Said {
        profile: Some("ops"),
        default_region: Some("us-west-2"),
        environment: &KEYS,
        ..Said::default()
    };
    assert_eq!(asked(said), "eu-west-1 OPSKEY");
    let region = Some("us-east-2");
    assert_eq!(asked(Said { region, ..said }), "us-east-2 OPSKEY");
}

#[test]
fn without_a_profile_the_configurations_region_comes_before_the_environments_and_the_default() {
    let said = Said { default_region: Some("us-west-2"), environment: &KEYS, ..Said::default() };
    assert_eq!(asked(said), "us-west-2 ENVKEY");
    let default_region = None;
    assert_eq!(asked(Said { default_region, ..said }), "us-west-1 ENVKEY");
    let environment = &KEYS[..2];
    let said = Said { environment, ..Said::default() };
    assert_eq!(asked(said), "sa-east-1 ENVKEY");
}

#[test]
fn a_named_profile_that_is_missing_is_never_replaced_but_on_an_emulator() {
    let said = Said { profile: Some("missing"), environment: &KEYS, ..Said::default() };
    let error = asked(said);
    assert!(error.starts_with("the AWS profile `missing` does not exist (/"), "{error}");
    assert!(error.ends_with(" have: default, ops)"), "{error}");
    let endpoint_url = Some("http://127.0.0.1:9");
    assert_eq!(asked(Said { endpoint_url, ..said }), "us-west-1 ENVKEY");
}

#[test]
fn no_credentials_at_all_says_where_was_looked() {
    let error = asked(Said::default());
    assert!(
        error.starts_with(
            "no AWS credentials: none were found (looked at the workflow's keys, AWS_ACCESS_KEY_ID"
        ),
        "{error}"
    );
}

/// The keys of a profile in a file, or what a program of a profile prints.
fn keys(id: &str) -> String {
    format!("aws_access_key_id = {id}\naws_secret_access_key = secret-of-{id}\n")
}

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn rotated_under_it() {
    let told = |name: &str| std::env::var(name).unwrap();
    let (emulator, file) = (told("PROBE_ENDPOINT"), told("PROBE_FILE"));
    let settings = SessionSettings {
        profile: Some(told("PROBE_PROFILE")).filter(|name| !name.is_empty()),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(emulator.clone()),
        ..SessionSettings::default()
    };
    let write = |id: &str| {
        let text = told("PROBE_TEXT").replace("KEYS", &keys(id)).replace("KEYID", id);
        std::fs::write(&file, text).unwrap();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        write("FIRST");
        let session = Session::open(&settings).await.unwrap();
        let (ec2, tables) = (session.ec2(), session.dynamodb(None));
        ec2.describe_images().owners("self").send().await.unwrap();
        tables.list_tables().send().await.unwrap();
        println!("probe is ready");
        for (old, new) in [("FIRST", "SECOND"), ("SECOND", "THIRD")] {
            write(new);
            println!("probe wrote: {new} instead of {old}");
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer).unwrap();
            let images = ec2.describe_images().owners("self").send().await;
            let listed = tables.list_tables().send().await;
            let key = session.packer_environment().await.unwrap();
            let key = key.variables.iter().find(|(name, _)| name == "AWS_ACCESS_KEY_ID");
            println!("probe says: {} {} {key:?}", images.is_ok(), listed.is_ok());
        }
        // A refusal that reading again does not mend is told as AWS said it, after one more try.
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).unwrap();
        let error = ec2.describe_images().owners("self").send().await.unwrap_err();
        println!("probe says: {:?}", aws_sdk_ec2::error::ProvideErrorMetadata::code(&error));
    });
}

/// What a profile's keys come to that are changed while the process runs and the old ones refused.
fn rotated(profile: &str, config: &str, file: &str, text: &str) {
    use std::io::{BufRead as _, Write as _};
    let emulator = Emulator::start();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    std::fs::write(place("config"), config.replace("FOLDER", &folder.path().display().to_string()))
        .unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "aws_session::rotated_under_it", "--ignored", "--nocapture"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_CONFIG_FILE", place("config"))
        .env("AWS_SHARED_CREDENTIALS_FILE", place("credentials"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PROBE_PROFILE", profile)
        .env("PROBE_ENDPOINT", emulator.endpoint())
        .env("PROBE_FILE", place(file))
        .env("PROBE_TEXT", text)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    let mut until = |word: &str| loop {
        let line = lines.next().expect("the probe goes on").unwrap();
        if line.contains(word) {
            return line;
        }
    };
    for (old, new, kind) in [("FIRST", "SECOND", "expired"), ("SECOND", "THIRD", "unknown")] {
        until("probe wrote");
        emulator.control_post("/_control/refuse-keys", &json!({ old: kind }));
        writeln!(stdin).unwrap();
        let said = until("probe says");
        let expected = format!("true true Some((\"AWS_ACCESS_KEY_ID\", \"{new}\"))");
        assert!(said.ends_with(&expected), "{profile} {file} {kind}: {said}");
    }
    emulator.control_post("/_control/refuse-keys", &json!({ "THIRD": "expired" }));
    emulator.control_post("/_control/reset-calls", &json!(null));
    writeln!(stdin).unwrap();
    assert!(until("probe says").contains("RequestExpired"));
    let calls = emulator.control_get("/_control/calls");
    let tries = calls["ec2.DescribeImages"].as_u64().unwrap();
    assert!((2..=4).contains(&tries), "no more often than any call: {calls}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn keys_of_a_file_that_is_changed_are_read_again_at_the_first_refusal() {
    let default = "[default]\nKEYS";
    rotated("", "", "credentials", default);
    rotated("ops", "", "credentials", "[default]\n[ops]\nKEYS");
    rotated("ops", "", "config", "[profile ops]\nregion = eu-west-1\nKEYS");
    rotated("ops", "[profile ops]\nsource_profile = ops\n", "credentials", "[ops]\nKEYS");
}

#[test]
fn a_program_that_gives_credentials_is_asked_again_at_the_first_refusal() {
    let config = "[profile ops]\ncredential_process = cat FOLDER/printed\n";
    let printed = r#"{ "Version": 1, "AccessKeyId": "KEYID", "SecretAccessKey": "secret" }"#;
    rotated("ops", config, "printed", printed);
}

#[test]
fn a_build_gives_signs_of_life_with_the_keys_that_its_file_is_given_meanwhile() {
    let (mut farm, _packer) = Farm::playing("[build]\nhang\n");
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    let file = farm.configuration().with_file_name("credentials");
    let write = |id: &str| std::fs::write(&file, format!("[default]\n{}", keys(id))).unwrap();
    write("FIRST");
    farm.env("AWS_ACCESS_KEY_ID", "")
        .env("AWS_SECRET_ACCESS_KEY", "")
        .env("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string());
    let _daemon = farm.daemon();
    farm.wait_until("it gives signs of life", |farm| farm.last_beat("a").is_some());
    write("SECOND");
    farm.emulator().control_post("/_control/refuse-keys", &json!({ "FIRST": "expired" }));
    let last = farm.last_beat("a").unwrap().version;
    farm.wait_until("another one with the new keys", |farm| {
        farm.last_beat("a").unwrap().version != last
    });
}

#[test]
fn a_daemon_goes_on_with_the_keys_that_its_file_is_given() {
    let mut farm = Farm::of_one_step("interval: 1s\nretry:\n  initial: 1s\n  person: 1h\n");
    let file = farm.configuration().with_file_name("credentials");
    let write =
        |id: &str, to: &Path| std::fs::write(to, format!("[default]\n{}", keys(id))).unwrap();
    write("FIRST", &file);
    farm.env("AWS_ACCESS_KEY_ID", "")
        .env("AWS_SECRET_ACCESS_KEY", "")
        .env("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string());
    let _daemon = farm.daemon();
    farm.wait_for_state("a", "in-sync");
    write("SECOND", &file);
    farm.emulator().control_post("/_control/refuse-keys", &json!({ "FIRST": "expired" }));
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    farm.wait_until("the second is recorded", |farm| {
        farm.made_images() == 2 && farm.state_of("a") == "in-sync"
    });
}
