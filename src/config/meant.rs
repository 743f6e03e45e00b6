//! From what is typed to what is meant: checks, and fills in defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;

use crate::build::retention::Retention;
use crate::config::load::Surroundings;
use crate::config::raw::{
    RawBaseAmiPolicy, RawConfig, RawLogFormat, RawOnShutdown, RawOnSuperseded,
};
use crate::config::repository::repositories;
use crate::config::{
    AwsConfig, BaseAmiPolicy, Config, InventoryConfig, LogFormat, OnShutdown, OnSuperseded,
    PackerConfig, RetryConfig, secrets,
};
use crate::desired::ami_name::DEFAULT_TEMPLATE;
use crate::diagnostic::Diagnostic;

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

pub(super) fn expand(path: &str, around: &Surroundings) -> PathBuf {
    match (path.strip_prefix("~/"), around.env.get("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => around.folder.join(path),
    }
}

pub(super) fn duration(
    key: &str,
    text: Option<&str>,
    default_seconds: u64,
) -> Result<Duration, Diagnostic> {
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
