//! From what is typed to what is meant: finds the file, takes in overrides from the environment, checks, fills in defaults.
//!
//! The environment and the current folder are arguments; only the configuration file itself is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use crate::build::retention::Retention;
use crate::config::place::placed;
use crate::config::raw::{
    RawBaseAmiPolicy, RawConfig, RawLogFormat, RawOnShutdown, RawOnSuperseded, RawRepository,
};
use crate::config::secrets;
use crate::config::{
    AwsConfig, BaseAmiPolicy, Config, InventoryConfig, Location, LogFormat, OnShutdown,
    OnSuperseded, PackerConfig, RepositoryConfig, RetryConfig, trust,
};
use crate::desired::ami_name::DEFAULT_TEMPLATE;
use crate::diagnostic::Diagnostic;
use crate::workflow::jsonc::nearest;

/// What the process was started in.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// The current folder.
    pub folder: PathBuf,
}

/// Variables of this prefix override single keys; `__` stands between the parts: `RECONCILER_AWS__ENDPOINT_URL`.
const PREFIX: &str = "RECONCILER_";

/// Variables of that prefix that are no keys.
const NOT_KEYS: [&str; 4] = [
    "RECONCILER_CONFIG",
    "RECONCILER_HOST",
    "RECONCILER_LOG",
    crate::failpoint::VARIABLE,
];

/// Keys that may be overridden, each with the type of its value.
const KEYS: [(&str, Kind); 35] = [
    ("state_dir", Kind::Text),
    ("ami_name", Kind::Text),
    ("base_ami_policy", Kind::Text),
    ("max_concurrent_builds", Kind::Number),
    ("on_superseded", Kind::Text),
    ("on_shutdown", Kind::Text),
    ("interval", Kind::Text),
    ("lease_duration", Kind::Text),
    ("log_format", Kind::Text),
    ("inventory.table", Kind::Text),
    ("inventory.region", Kind::Text),
    ("inventory.create", Kind::Flag),
    ("inventory.path", Kind::Text),
    ("aws.region", Kind::Text),
    ("aws.profile", Kind::Text),
    ("aws.endpoint_url", Kind::Text),
    ("aws.max_calls_per_second", Kind::Number),
    ("aws.emulator.source_overrides", Kind::Json),
    ("packer.binary", Kind::Text),
    ("packer.plugin_path", Kind::Text),
    ("packer.timeout", Kind::Text),
    ("packer.grace", Kind::Text),
    ("packer.pass_env", Kind::List),
    ("secrets.fingerprint_key", Kind::Text),
    ("secrets.parameters", Kind::List),
    ("secrets.values", Kind::Json),
    ("packer.log_limit_mib", Kind::Number),
    ("builds.keep", Kind::Number),
    ("builds.max_age", Kind::Text),
    ("builds.max_size_mib", Kind::Number),
    ("retry.initial", Kind::Text),
    ("retry.max", Kind::Text),
    ("retry.person", Kind::Text),
    ("repositories", Kind::Json),
    ("repository", Kind::Text),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
    Json,
}

/// Loads the configuration. `named` is what `--config` says.
pub fn load(named: Option<&Path>, around: &Surroundings) -> Result<Config, Diagnostic> {
    let Some(path) = find(named, around)? else {
        return check(overridden(RawConfig::default(), around)?, around);
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Diagnostic::new(format!("cannot be read: {error}")).in_file(path.display().to_string())
    })?;
    let raw = overridden(parse(&path.display().to_string(), &text)?, around)?;
    check(raw, around).map_err(|wrong| placed(wrong, &path, &text, around))
}

/// Reads the YAML of a file.
pub fn parse(path: &str, text: &str) -> Result<RawConfig, Diagnostic> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(RawConfig::default());
    }
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|error| explain(path, text, &error))
}

fn explain(path: &str, text: &str, error: &serde_yaml::Error) -> Diagnostic {
    let error = error.without_snippet();
    let said = error.to_string();
    let said = said
        .split(" at line ")
        .next()
        .unwrap_or(&said)
        .trim()
        .to_owned();
    let shown = said.split(", expected").next().unwrap_or(&said).to_owned();
    let mut wrong = Diagnostic::new(if said.starts_with("unknown") {
        shown
    } else {
        in_words(&said)
    });
    wrong = match error.location() {
        Some(location) => {
            let line = usize::try_from(location.line()).unwrap_or(1);
            let column = usize::try_from(location.column()).unwrap_or(1);
            let start: usize = text
                .split_inclusive('\n')
                .take(line.saturating_sub(1))
                .map(str::len)
                .sum();
            let within = text
                .get(start..)
                .and_then(|rest| rest.char_indices().nth(column.saturating_sub(1)))
                .map_or(0, |(at, _)| at);
            let start = (start + within).min(text.len());
            let length = text[start..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .map(char::len_utf8)
                .sum::<usize>();
            wrong.at(path, text, start..start + length)
        }
        None => wrong.in_file(path),
    };
    match suggestion(&said) {
        Some(near) => wrong.hint(format!("did you mean `{near}`?")),
        None => wrong,
    }
}

/// What the parser expects, for people who do not know its types.
fn in_words(said: &str) -> String {
    if let Some(rest) = said.strip_prefix("duplicate mapping key: ") {
        let key = rest.split(',').next().unwrap_or(rest);
        return format!("the key `{key}` is there twice");
    }
    let expected = match said {
        "expected string scalar" => "text is",
        "expected mapping start" => "keys with values are",
        "expected sequence start" => "a list is",
        "invalid u64" | "invalid usize" | "invalid u32" => "a whole number is",
        "invalid bool" | "invalid boolean" => "true or false is",
        other => return other.to_owned(),
    };
    format!("{expected} expected here")
}

/// serde says: unknown field `x`, expected one of a, b (with or without back quotes).
fn suggestion(said: &str) -> Option<String> {
    let (wrong, known) = said.strip_prefix("unknown ")?.split_once(", expected ")?;
    let wrong = wrong.split('`').nth(1)?;
    let known = known
        .trim_start_matches("one of ")
        .split(", ")
        .map(|name| name.trim_matches('`'));
    nearest(wrong, known).map(str::to_owned)
}

fn find(named: Option<&Path>, around: &Surroundings) -> Result<Option<PathBuf>, Diagnostic> {
    let named = named
        .map(Path::to_owned)
        .or_else(|| around.env.get("RECONCILER_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        let path = around.folder.join(path);
        if !path.is_file() {
            return Err(Diagnostic::new("there is no such configuration file")
                .in_file(path.display().to_string())
                .hint("see config/reconciler.yaml for an example"));
        }
        return Ok(Some(path));
    }
    let home = around
        .env
        .get("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| {
            around
                .env
                .get("HOME")
                .map(|home| Path::new(home).join(".config"))
        });
    let places = [
        home.map(|home| home.join("reconciler/reconciler.yaml")),
        Some(PathBuf::from("/etc/reconciler/reconciler.yaml")),
    ];
    Ok(places.into_iter().flatten().find(|path| path.is_file()))
}

fn overridden(raw: RawConfig, around: &Surroundings) -> Result<RawConfig, Diagnostic> {
    let mut overrides = Map::new();
    for (name, text) in &around.env {
        let ours = name.strip_prefix(PREFIX).filter(|rest| {
            !NOT_KEYS.contains(&name.as_str())
                && !rest.starts_with("TEST_")
                && !rest.starts_with("UPDATE_")
        });
        let Some(rest) = ours else { continue };
        let key = rest.to_lowercase().replace("__", ".");
        let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == key) else {
            let wrong = Diagnostic::new(format!(
                "the environment variable {name} names no key of the configuration"
            ));
            let near = nearest(&key, KEYS.iter().map(|(known, _)| *known));
            return Err(match near {
                Some(near) => wrong.hint(format!(
                    "did you mean {PREFIX}{}?",
                    near.to_uppercase().replace('.', "__")
                )),
                None => wrong
                    .hint("`__` stands between the parts of a key: RECONCILER_AWS__ENDPOINT_URL"),
            });
        };
        let value = typed(*kind, text).ok_or_else(|| {
            // JSON is not quoted: an URL in it may hold a token.
            let expected = match kind {
                Kind::Text | Kind::List => "text".to_owned(),
                Kind::Number => format!("a number, not {text:?}"),
                Kind::Flag => format!("true or false, not {text:?}"),
                Kind::Json => "JSON".to_owned(),
            };
            Diagnostic::new(format!(
                "the environment variable {name} must be {expected}"
            ))
        })?;
        put(&mut overrides, &key, value);
    }
    if overrides.is_empty() {
        return Ok(raw);
    }
    apply(raw, overrides)
}

fn typed(kind: Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Number => Value::from(text.parse::<u64>().ok()?),
        Kind::Flag => Value::Bool(text.parse().ok()?),
        Kind::List => text
            .split(',')
            .map(|item| Value::String(item.trim().to_owned()))
            .collect(),
        Kind::Json => serde_json::from_str(text).ok()?,
    })
}

fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let below = map
                .entry(first.to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                put(below, rest, value);
            }
        }
    }
}

/// Each override is a whole value of its own, so it replaces what the file says, key by key.
fn apply(mut raw: RawConfig, mut overrides: Map<String, Value>) -> Result<RawConfig, Diagnostic> {
    if let Some(Value::String(place)) = overrides.remove("repository") {
        let remote = place.contains("://") || place.contains('@');
        let (path, url) = if remote {
            (None, Some(place))
        } else {
            (Some(place), None)
        };
        raw.repositories = Some(vec![RawRepository {
            path,
            url,
            ..RawRepository::default()
        }]);
    }
    let typed: RawConfig = serde_json::from_value(Value::Object(overrides)).map_err(|error| {
        Diagnostic::new(format!(
            "a RECONCILER_ environment variable has no fitting value: {error}"
        ))
    })?;
    macro_rules! take {
        ($($field:ident),*) => { $( if typed.$field.is_some() { raw.$field = typed.$field; } )* };
    }
    macro_rules! take_below {
        ($section:ident: $($field:ident),*) => {
            if let Some(typed) = typed.$section {
                let raw = raw.$section.get_or_insert_default();
                $( if typed.$field.is_some() { raw.$field = typed.$field; } )*
            }
        };
    }
    take!(
        state_dir,
        repositories,
        ami_name,
        base_ami_policy,
        max_concurrent_builds,
        on_superseded,
        on_shutdown,
        interval,
        lease_duration,
        log_format
    );
    take_below!(secrets: fingerprint_key, parameters, values);
    take_below!(inventory: table, region, create, path);
    take_below!(aws: region, profile, endpoint_url, max_calls_per_second, emulator);
    take_below!(packer: binary, plugin_path, timeout, grace, pass_env, log_limit_mib);
    take_below!(builds: keep, max_age, max_size_mib);
    take_below!(retry: initial, max, person);
    Ok(raw)
}

/// From what is typed to what is meant.
pub(crate) fn check(raw: RawConfig, around: &Surroundings) -> Result<Config, Diagnostic> {
    let state_dir = state_dir(raw.state_dir.as_deref(), around)?;
    let inventory = raw.inventory.unwrap_or_default();
    let aws = raw.aws.unwrap_or_default();
    let packer = raw.packer.unwrap_or_default();
    let retry = raw.retry.unwrap_or_default();
    let builds = raw.builds.unwrap_or_default();
    let ami_name = raw.ami_name.unwrap_or_else(|| DEFAULT_TEMPLATE.to_owned());
    if !ami_name.contains("{fingerprint}") {
        return Err(
            Diagnostic::new(format!("`ami_name` has no {{fingerprint}}: {ami_name:?}"))
                .hint("without it a rebuilt image would need the name that the old one still has"),
        );
    }
    let max_concurrent_builds = raw.max_concurrent_builds.unwrap_or(2);
    if max_concurrent_builds == 0 {
        return Err(Diagnostic::new("`max_concurrent_builds` is 0")
            .hint("1 or more; stop the service to build nothing"));
    }
    let max_calls_per_second = aws
        .max_calls_per_second
        .unwrap_or_else(|| AwsConfig::default().max_calls_per_second);
    if max_calls_per_second == 0 {
        return Err(Diagnostic::new("`aws.max_calls_per_second` is 0")
            .hint("1 or more, 50 by default; a build needs some forty in all"));
    }
    Ok(Config {
        inventory: match inventory.table {
            Some(table) => InventoryConfig::DynamoDb {
                table,
                region: inventory.region,
                create: inventory.create.unwrap_or(true),
            },
            None => InventoryConfig::Sqlite {
                path: inventory.path.map_or_else(
                    || state_dir.join("inventory.sqlite"),
                    |path| expand(&path, around),
                ),
            },
        },
        repositories: repositories(raw.repositories, around)?,
        aws: AwsConfig {
            region: aws.region,
            profile: aws.profile,
            endpoint_url: aws.endpoint_url,
            max_calls_per_second,
            source_overrides: aws
                .emulator
                .and_then(|emulator| emulator.source_overrides)
                .unwrap_or_default(),
        },
        packer: PackerConfig {
            binary: packer.binary.map(|path| expand(&path, around)),
            plugin_path: packer.plugin_path.map(|path| expand(&path, around)),
            timeout: duration("packer.timeout", packer.timeout.as_deref(), 4 * 3600)?,
            grace: duration("packer.grace", packer.grace.as_deref(), 300)?,
            pass_env: packer.pass_env.unwrap_or_default(),
            log_limit: packer.log_limit_mib.unwrap_or(64).max(1) as u64 * 1024 * 1024,
        },
        ami_name,
        base_ami_policy: match raw.base_ami_policy {
            None | Some(RawBaseAmiPolicy::Pin) => BaseAmiPolicy::Pin,
            Some(RawBaseAmiPolicy::Follow) => BaseAmiPolicy::Follow,
        },
        max_concurrent_builds,
        on_shutdown: match raw.on_shutdown {
            None | Some(RawOnShutdown::Leave) => OnShutdown::Leave,
            Some(RawOnShutdown::Cancel) => OnShutdown::Cancel,
        },
        on_superseded: match raw.on_superseded {
            None | Some(RawOnSuperseded::Finish) => OnSuperseded::Finish,
            Some(RawOnSuperseded::Cancel) => OnSuperseded::Cancel,
        },
        interval: duration("interval", raw.interval.as_deref(), 300)?,
        lease_duration: duration("lease_duration", raw.lease_duration.as_deref(), 30)?,
        builds: Retention {
            keep: builds.keep.unwrap_or(Retention::default().keep),
            max_age: duration("builds.max_age", builds.max_age.as_deref(), 90 * 24 * 3600)?,
            max_bytes: builds
                .max_size_mib
                .map_or(Retention::default().max_bytes, |mib| {
                    mib as u64 * 1024 * 1024
                }),
        },
        retry: RetryConfig {
            initial: duration("retry.initial", retry.initial.as_deref(), 30)?,
            max: duration("retry.max", retry.max.as_deref(), 1800)?,
            person: duration("retry.person", retry.person.as_deref(), 3600)?,
        },
        secrets: secrets::check(raw.secrets.unwrap_or_default(), |path| expand(path, around))?,
        log_format: match raw.log_format {
            None | Some(RawLogFormat::Auto) => LogFormat::Auto,
            Some(RawLogFormat::Text) => LogFormat::Text,
            Some(RawLogFormat::Json) => LogFormat::Json,
            Some(RawLogFormat::Journald) => LogFormat::Journald,
        },
        state_dir,
    })
}

fn state_dir(typed: Option<&str>, around: &Surroundings) -> Result<PathBuf, Diagnostic> {
    let env = |name: &str| around.env.get(name).filter(|value| !value.is_empty());
    if let Some(path) = typed {
        return Ok(expand(path, around));
    }
    if let Some(path) = env("STATE_DIRECTORY") {
        return Ok(PathBuf::from(path));
    }
    if let Some(path) = env("XDG_STATE_HOME") {
        return Ok(Path::new(path).join("reconciler"));
    }
    env("HOME")
        .map(|home| Path::new(home).join(".local/state/reconciler"))
        .ok_or_else(|| {
            Diagnostic::new("no folder for the state is known: HOME is not set")
                .hint("set `state_dir` in the configuration, or RECONCILER_STATE_DIR")
        })
}

fn expand(path: &str, around: &Surroundings) -> PathBuf {
    match (path.strip_prefix("~/"), around.env.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => around.folder.join(path),
    }
}

fn duration(key: &str, text: Option<&str>, default_seconds: u64) -> Result<Duration, Diagnostic> {
    let Some(text) = text else {
        return Ok(Duration::from_secs(default_seconds));
    };
    let parsed = text
        .parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok());
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| {
            Diagnostic::new(format!("`{key}` is no duration: {text:?}"))
                .hint("for instance 30s, 5m, 1h 30m")
        })
}

fn repositories(
    raw: Option<Vec<RawRepository>>,
    around: &Surroundings,
) -> Result<Vec<RepositoryConfig>, Diagnostic> {
    let raw = match raw {
        None => vec![RawRepository {
            path: Some(around.folder.display().to_string()),
            ..RawRepository::default()
        }],
        Some(list) if list.is_empty() => {
            return Err(Diagnostic::new("`repositories` is empty")
                .hint("leave the key out to use the repository of the current folder"));
        }
        Some(list) => list,
    };
    let mut found: Vec<RepositoryConfig> = Vec::new();
    for one in raw {
        let repository = repository(one, around)?;
        if found.iter().any(|other| other.name == repository.name) {
            return Err(Diagnostic::new(format!(
                "two repositories are named `{}`",
                repository.name
            ))
            .hint("give each a `name`"));
        }
        found.push(repository);
    }
    Ok(found)
}

fn repository(
    mut raw: RawRepository,
    around: &Surroundings,
) -> Result<RepositoryConfig, Diagnostic> {
    let trust = trust::check(&mut raw, |path| expand(path, around))?;
    let (location, place) = match (raw.path, raw.url) {
        (Some(path), None) => {
            let path = expand(&path, around);
            let place = path.display().to_string();
            (Location::Local(path), place)
        }
        (None, Some(url)) => (Location::Remote(url.clone()), url),
        (Some(_), Some(_)) => {
            return Err(Diagnostic::new(
                "a repository has `path` and `url`, and takes one of them",
            )
            .hint("`path` for a folder of this host, `url` for anything that is fetched"));
        }
        (None, None) => {
            return Err(
                Diagnostic::new("one of `repositories` has neither `path` nor `url`")
                    .hint("`path` for a folder of this host, `url` for anything that is fetched"),
            );
        }
    };
    let last = place
        .trim_end_matches('/')
        .rsplit(['/', ':'])
        .next()
        .unwrap_or("repository");
    if let Some(root) = raw
        .roots
        .iter()
        .flatten()
        .find(|root| Path::new(root).is_absolute() || root.split('/').any(|part| part == ".."))
    {
        return Err(
            Diagnostic::new(format!("`roots` leads out of the repository: {root:?}"))
                .hint("write folders from the repository's root, such as packer_workspaces"),
        );
    }
    Ok(RepositoryConfig {
        name: raw
            .name
            .unwrap_or_else(|| last.trim_end_matches(".git").to_owned()),
        location,
        reference: raw.reference,
        poll_interval: duration("poll_interval", raw.poll_interval.as_deref(), 60)?,
        roots: raw
            .roots
            .unwrap_or_else(|| vec!["packer_workspaces".to_owned(), "workflow".to_owned()]),
        exclude: raw.exclude.unwrap_or_else(|| vec!["example".to_owned()]),
        ssh_key: raw.ssh_key.map(|path| expand(&path, around)),
        token_env: raw.token_env,
        trust,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(env: &[(&str, &str)]) -> Surroundings {
        let mut all: BTreeMap<_, _> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.insert("HOME".into(), "/nowhere".into());
        Surroundings {
            env: all,
            folder: "/repo".into(),
        }
    }

    #[test]
    fn no_configuration_means_the_repository_here_and_the_embedded_inventory() {
        let config = load(None, &around(&[])).unwrap();
        assert_eq!(
            config.repositories[0].location,
            Location::Local("/repo".into())
        );
        assert_eq!(
            config.inventory,
            InventoryConfig::Sqlite {
                path: "/nowhere/.local/state/reconciler/inventory.sqlite".into()
            }
        );
    }

    #[test]
    fn an_unknown_key_is_shown_with_a_suggestion() {
        let wrong = parse(
            "c.yaml",
            "max_concurrent_builds: 3\ninventry:\n  table: x\n",
        )
        .unwrap_err();
        assert_eq!(
            wrong.hint.as_deref(),
            Some("did you mean `inventory`?"),
            "{wrong:?}"
        );
        assert!(
            wrong
                .one_line()
                .starts_with("c.yaml:2:1: unknown field `inventry`"),
            "{}",
            wrong.one_line()
        );
    }

    #[test]
    fn a_variable_overrides_one_key_and_an_unknown_one_is_refused() {
        let env = [
            ("RECONCILER_AWS__ENDPOINT_URL", "http://x"),
            ("RECONCILER_INVENTORY__TABLE", "t"),
            ("RECONCILER_MAX_CONCURRENT_BUILDS", "7"),
            ("RECONCILER_TEST_X", "1"),
        ];
        let config = load(None, &around(&env)).unwrap();
        assert_eq!(config.aws.endpoint_url.as_deref(), Some("http://x"));
        assert_eq!(config.max_concurrent_builds, 7);
        let wrong = load(None, &around(&[("RECONCILER_AWS__ENDPOINT", "x")])).unwrap_err();
        assert_eq!(
            wrong.hint.as_deref(),
            Some("did you mean RECONCILER_AWS__ENDPOINT_URL?")
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |env: &[(&str, &str)]| load(None, &around(env)).unwrap_err().message;
        assert!(refused(&[("RECONCILER_INTERVAL", "soon")]).contains("`interval` is no duration"));
        assert!(refused(&[("RECONCILER_AMI_NAME", "{step_id}")]).contains("{fingerprint}"));
        assert!(
            refused(&[("RECONCILER_MAX_CONCURRENT_BUILDS", "many")])
                .contains("RECONCILER_MAX_CONCURRENT_BUILDS must be a number, not \"many\"")
        );
        assert!(
            !refused(&[("RECONCILER_REPOSITORIES", "[{url: https://token@host}")])
                .contains("token")
        );
        assert!(
            refused(&[(
                "RECONCILER_REPOSITORIES",
                r#"[{"path": "/r", "roots": ["../x"]}]"#
            )])
            .contains("`roots` leads out")
        );
        assert!(
            load(Some(Path::new("no.yaml")), &around(&[]))
                .unwrap_err()
                .message
                .contains("no such configuration file")
        );
    }

    #[test]
    fn the_example_names_every_key_and_means_the_defaults() {
        let text = include_str!("../../config/reconciler.yaml");
        for (key, _) in KEYS.iter().filter(|(key, _)| *key != "repository") {
            let last = key.rsplit('.').next().unwrap();
            assert!(
                text.contains(&format!("{last}:")),
                "{key} is not in config/reconciler.yaml"
            );
        }
        let uncommented: String = text
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|l| {
                        l.contains(": ") || l.ends_with(':') || l.trim_start().starts_with("- ")
                    })
                    .unwrap_or(if line.starts_with('#') { "" } else { line })
            })
            .fold(String::new(), |all, line| all + line + "\n");
        let config = check(
            parse("config/reconciler.yaml", &uncommented).unwrap(),
            &around(&[]),
        )
        .unwrap();
        assert_eq!(config.max_concurrent_builds, 2);
    }
}
