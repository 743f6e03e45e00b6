//! Single keys of the configuration that are given by variables of the environment.

use serde_json::{Map, Value};

use crate::config::load::Surroundings;
use crate::config::raw::{RawConfig, RawRepository};
use crate::diagnostic::Diagnostic;
use crate::workflow::jsonc::nearest;

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
pub(super) const KEYS: [(&str, Kind); 35] = [
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
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    List,
    Json,
}

/// The configuration with what the environment says in place of what the file says.
pub(super) fn overridden(raw: RawConfig, around: &Surroundings) -> Result<RawConfig, Diagnostic> {
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
