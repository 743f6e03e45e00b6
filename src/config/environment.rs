//! Single keys of the configuration that are given by variables of the environment.

use serde_json::{Value, json};

use crate::config::load::ProcessEnvironment;
use crate::config::raw::RawConfig;
use crate::config::yaml::Unknown;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::suggest::nearest;

/// Variables of this prefix override single keys; `__` stands between the parts:
/// `RECONCILER_AWS__ENDPOINT_URL`.
const PREFIX: &str = "RECONCILER_";

/// Variables of that prefix that are no keys.
const NOT_KEYS: [&str; 4] =
    ["RECONCILER_CONFIG", "RECONCILER_HOST", "RECONCILER_LOG", crate::failpoint::VARIABLE];

/// Keys that may be overridden, each with the type of its value.
pub(super) const KEYS: [(&str, Kind); 40] = [
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
    ("packer.release_site", Kind::Text),
    ("packer.release_keys", Kind::Text),
    ("builds.keep", Kind::Number),
    ("builds.max_age", Kind::Text),
    ("builds.max_size_mib", Kind::Number),
    ("retry.initial", Kind::Text),
    ("retry.max", Kind::Text),
    ("retry.person", Kind::Text),
    ("web.listen", Kind::Text),
    ("web.hosts", Kind::List),
    ("metrics.max_steps", Kind::Number),
    ("repositories", Kind::Json),
    ("repository", Kind::Text),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    List,
    Json,
}

/// The configuration with what the environment says in place of what the file says. Each override
/// is a whole value of its own.
pub(super) fn overridden(
    raw: RawConfig,
    around: &ProcessEnvironment,
) -> Result<RawConfig, Diagnostic> {
    let mut overrides = Vec::new();
    for (name, text) in &around.env {
        let ours = name.strip_prefix(PREFIX).filter(|rest| {
            !NOT_KEYS.contains(&name.as_str())
                && !rest.starts_with("TEST_")
                && !rest.starts_with("UPDATE_")
        });
        let Some(rest) = ours else { continue };
        let key = rest.to_lowercase().replace("__", ".");
        let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == key) else {
            return Err(no_key(name, &key));
        };
        if key == "repository" {
            // A whole list comes before a single one.
            let place = if is_remote(text) { "url" } else { "path" };
            overrides.insert(0, ("repositories".to_owned(), json!([{ place: text }])));
            continue;
        }
        let value = typed(*kind, text).ok_or_else(|| no_value(name, &key, *kind, text))?;
        // What is wrong with one variable is said of that one.
        let mut alone = Value::Null;
        put(&mut alone, &key, value.clone());
        serde_json::from_value::<RawConfig>(alone)
            .map_err(|error| unfit(name, &key, *kind, text, &error))?;
        overrides.push((key, value));
    }
    if overrides.is_empty() {
        return Ok(raw);
    }
    let unfit = |error: serde_json::Error| {
        Diagnostic::new(format!("a RECONCILER_ environment variable has no fitting value: {error}"))
    };
    let mut whole = serde_json::to_value(raw).map_err(unfit)?;
    for (key, value) in overrides {
        put(&mut whole, &key, value);
    }
    serde_json::from_value(whole).map_err(unfit)
}

/// Puts a value where its key says; sections that are not there yet are made.
fn put(whole: &mut Value, key: &str, value: Value) {
    *key.split('.').fold(whole, |section, part| &mut section[part]) = value;
}

/// The variable that a key came from: its own, or that of what it is part of.
pub(super) fn variable_of(key: &str, around: &ProcessEnvironment) -> Option<String> {
    let there = |name: String| around.env.contains_key(&name).then_some(name);
    let section = key.split('[').next().unwrap_or(key);
    let mut part = section;
    loop {
        if let Some(found) = there(variable(part)) {
            return Some(found);
        }
        match part.rsplit_once('.') {
            Some((above, _)) => part = above,
            None if section == "repositories" => return there(variable("repository")),
            None => return None,
        }
    }
}

/// The variables that override keys of a section.
pub(super) fn overriding(section: &str, around: &ProcessEnvironment) -> Vec<String> {
    let of_section = KEYS.iter().filter(|(key, _)| key.split('.').next() == Some(section));
    of_section.map(|(key, _)| variable(key)).filter(|name| around.env.contains_key(name)).collect()
}

/// `aws.endpoint_url` is `RECONCILER_AWS__ENDPOINT_URL`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn no_key(name: &str, key: &str) -> Diagnostic {
    let wrong = Diagnostic::new(format!(
        "the environment variable {name} names no key of the configuration"
    ));
    match nearest(key, KEYS.iter().map(|(known, _)| *known)) {
        Some(near) => wrong.hint(format!("did you mean {}?", variable(near))),
        None => wrong.hint(
            "`__` stands between the parts of a key: RECONCILER_AWS__ENDPOINT_URL; config/reconciler.yaml has every key",
        ),
    }
}

/// Says how the value of a variable is written. What is written as JSON is not quoted: a URL in it
/// may hold a token.
fn no_value(name: &str, key: &str, kind: Kind, text: &str) -> Diagnostic {
    let quoted = match kind {
        Kind::Number | Kind::Flag => format!(", not {text:?}"),
        Kind::Text | Kind::List | Kind::Json => String::new(),
    };
    let (what, how) = how(name, key, kind);
    Diagnostic::new(format!("the environment variable {name} must be {what}{quoted}")).hint(how)
}

/// What a variable takes, and how it is written.
fn how(name: &str, key: &str, kind: Kind) -> (&'static str, String) {
    let example = match key {
        "repositories" => r#"[{"path": "/srv/git/images.git"}]"#,
        "secrets.values" => r#"{"db_password": "env:DB_PASSWORD"}"#,
        "aws.emulator.source_overrides" => r#"{"skip_region_validation": true}"#,
        _ => "",
    };
    match kind {
        Kind::Text => ("text", format!("write {name}=text")),
        Kind::Number => ("a whole number", format!("write {name}=2")),
        Kind::Flag => ("true or false", format!("write {name}=true")),
        Kind::List => (
            "a list with commas between its items, without brackets and quotes",
            format!("write {name}=one,two"),
        ),
        Kind::Json if key == "repositories" => (
            "a list as JSON",
            format!("write {name}='{example}'; RECONCILER_REPOSITORY names a single path or URL"),
        ),
        Kind::Json => ("an object as JSON", format!("write {name}='{example}'")),
    }
}

/// A value that is written well and does not fit its key.
fn unfit(name: &str, key: &str, kind: Kind, text: &str, error: &serde_json::Error) -> Diagnostic {
    let said = error.to_string();
    match Unknown::of(&said) {
        Some(unknown) => {
            let shown = format!("the environment variable {name}: {}", unknown.shown());
            Diagnostic::new(shown).hint(unknown.hint())
        }
        None => no_value(name, key, kind, text),
    }
}

fn typed(kind: Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Number => Value::from(text.trim().parse::<u64>().ok()?),
        Kind::Flag => Value::Bool(text.trim().parse().ok()?),
        Kind::List if text.trim_start().starts_with('[') => return None,
        Kind::List if text.trim().is_empty() => Value::Array(Vec::new()),
        Kind::List => text.split(',').map(|item| Value::String(item.trim().to_owned())).collect(),
        Kind::Json => serde_json::from_str(text).ok()?,
    })
}

/// Whether `RECONCILER_REPOSITORY` names something that is fetched: `https://…`, or
/// `git@host:path`.
fn is_remote(place: &str) -> bool {
    let before_colon = place.split_once(':').map(|(before, _)| before);
    place.contains("://")
        || before_colon.is_some_and(|before| before.contains('@') && !before.contains('/'))
}
