//! Where credentials and region come from, each time in a process with an environment and AWS files of its own.

use std::process::Command;

use reconciler::aws::session::{Session, SessionSettings};

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
        .env(
            "AWS_SHARED_CREDENTIALS_FILE",
            file("credentials", CREDENTIALS),
        )
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
    let (_, rest) = text
        .split_once("probe says: ")
        .unwrap_or_else(|| panic!("{text}"));
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
        budget: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async {
        let session = Session::open(&settings).await?;
        let environment = session.packer_environment().await?;
        let key = environment
            .variables
            .iter()
            .find(|(name, _)| name == "AWS_ACCESS_KEY_ID");
        Ok(format!("{} {}", session.region(), key.unwrap().1))
    });
    println!(
        "probe says: {}",
        answer.unwrap_or_else(|error: reconciler::diagnostic::Diagnostic| format!(
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
fn without_a_profile_the_region_is_the_configurations_the_environments_then_the_default_profiles() {
    let said = Said {
        default_region: Some("us-west-2"),
        environment: &KEYS,
        ..Said::default()
    };
    assert_eq!(asked(said), "us-west-2 ENVKEY");
    let default_region = None;
    assert_eq!(
        asked(Said {
            default_region,
            ..said
        }),
        "us-west-1 ENVKEY"
    );
    let environment = &KEYS[..2];
    let said = Said {
        environment,
        ..Said::default()
    };
    assert_eq!(asked(said), "sa-east-1 ENVKEY");
}

#[test]
fn a_named_profile_that_is_missing_is_never_replaced_but_on_an_emulator() {
    let said = Said {
        profile: Some("missing"),
        environment: &KEYS,
        ..Said::default()
    };
    let error = asked(said);
    assert!(
        error.starts_with("no AWS credentials: profile `missing` was not defined"),
        "{error}"
    );
    let endpoint_url = Some("http://127.0.0.1:9");
    assert_eq!(
        asked(Said {
            endpoint_url,
            ..said
        }),
        "us-west-1 ENVKEY"
    );
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
