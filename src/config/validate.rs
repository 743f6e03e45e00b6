//! From what is typed to what is meant: checks, and fills in defaults. Single values are held
//! against what can work by `values`; here is what has to fit together.

use std::path::Path;
use std::time::Duration;

use crate::config::load::ProcessEnvironment;
use crate::config::patterns::{ATTRIBUTE, ENDPOINT, IMAGE_NAME, REGION, TABLE, VARIABLE, fits};
use crate::config::raw::{
    RawAws, RawBaseAmiPolicy, RawBuilds, RawConfig, RawInventory, RawPacker, RawRetry,
};
use crate::config::refusal::Refusal;
use crate::config::repository::repositories;
use crate::config::state::{StateFolder, named, state_folder};
use crate::config::values::{A_SECOND, Least, count, duration, items, path, something, text};
use crate::config::{AwsConfig, Config, InventoryConfig, PackerConfig, secrets, web};
use reconciler_core::desired::ami_name::DEFAULT_TEMPLATE;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::duration;
use reconciler_model::policy::{BaseAmiPolicy, Retention, RetryConfig};

/// A heartbeat comes every third of a lease, and its answer has a quarter of it: shorter, and an
/// answer that takes as long as one of DynamoDB now and then does costs the lease.
const SHORTEST_LEASE: Least = Least {
    duration: Duration::from_secs(2),
    why: "it is renewed every third of it, and one slow answer of the inventory would lose it",
};

/// Beyond these a number has more digits than was meant, or bytes are counted that no disk has.
pub(super) const MOST_BUILDS_AT_ONCE: usize = 1000;
pub(super) const MOST_CALLS: usize = 10_000;
pub(super) const MOST_KEPT: usize = 1_000_000;
pub(super) const MOST_STEPS: usize = 1_000_000;
pub(super) const MOST_MIB: usize = 64 * 1024 * 1024;

/// Where Packer's vendor puts its releases.
const VENDORS_SITE: &str = "https://releases.hashicorp.com";

/// Variables that every build has from the reconciler itself, and a prefix of those that none gets.
const OWN_VARIABLES: [&str; 2] = ["TMPDIR", "CHECKPOINT_DISABLE"];
const NEVER_PASSED: &str = "HCP_PACKER_";

/// From what is typed to what is meant, where no place in a file is to be shown.
pub(crate) fn check(raw: RawConfig, around: &ProcessEnvironment) -> Result<Config, Diagnostic> {
    meant(raw, around).map_err(|refusal| refusal.said)
}

/// From what is typed to what is meant.
pub(super) fn meant(raw: RawConfig, around: &ProcessEnvironment) -> Result<Config, Refusal> {
    let StateFolder { path: state_dir, above: state_above } = state_folder(raw.state_dir, around)?;
    let lease_duration = duration(
        "lease_duration",
        raw.lease_duration.as_deref(),
        Duration::from_secs(30),
        &SHORTEST_LEASE,
    )?;
    let interval = raw.interval.as_deref();
    Ok(Config {
        inventory: inventory(raw.inventory.unwrap_or_default(), &state_dir, around)?,
        names_repositories: raw.repositories.is_some(),
        repositories: repositories(raw.repositories, around)?,
        aws: aws(raw.aws.unwrap_or_default())?,
        packer: packer(raw.packer.unwrap_or_default(), around)?,
        ami_name: ami_name(raw.ami_name)?,
        base_ami_policy: match raw.base_ami_policy {
            None | Some(RawBaseAmiPolicy::Pin) => BaseAmiPolicy::Pin,
            Some(RawBaseAmiPolicy::Follow) => BaseAmiPolicy::Follow,
        },
        max_concurrent_builds: count(
            "max_concurrent_builds",
            raw.max_concurrent_builds,
            2,
            MOST_BUILDS_AT_ONCE,
            "stop the service to build nothing",
        )?,
        on_shutdown: raw.on_shutdown.unwrap_or_default(),
        on_superseded: raw.on_superseded.unwrap_or_default(),
        interval: duration("interval", interval, Duration::from_mins(5), &A_SECOND)?,
        lease_duration,
        builds: builds(&raw.builds.unwrap_or_default())?,
        retry: retry(&raw.retry.unwrap_or_default())?,
        secrets: secrets::check(raw.secrets.unwrap_or_default(), around)?,
        log_format: raw.log_format.unwrap_or_default(),
        web: raw.web.map(web::check).transpose()?,
        metrics: web::metrics(&raw.metrics.unwrap_or_default())?,
        state_dir,
        state_above,
    })
}

fn ami_name(typed: Option<String>) -> Result<String, Refusal> {
    let Some(typed) = typed else {
        return Ok(DEFAULT_TEMPLATE.to_owned());
    };
    if !typed.contains("{fingerprint}") {
        return Err(Refusal::new(
            "ami_name",
            format!("`ami_name` has no {{fingerprint}}: {typed:?}"),
        )
        .hint("without it a rebuilt image would need the name that the old one still has"));
    }
    let hint = "the parts are {root_base_ami_name}, {workflow_id}, {step_id} and {fingerprint}; between them EC2 takes letters, digits, spaces and ()[]./-'@_";
    let read = text("ami_name", Some(typed), IMAGE_NAME, "no template of a name", hint)?;
    Ok(read.unwrap_or_else(|| DEFAULT_TEMPLATE.to_owned()))
}

fn inventory(
    raw: RawInventory,
    state_dir: &Path,
    around: &ProcessEnvironment,
) -> Result<InventoryConfig, Refusal> {
    let hint = "3 to 246 letters, digits, `_`, `-` and `.`: other tables have `_requests` behind this name, and DynamoDB takes 255";
    let table = text("inventory.table", raw.table, TABLE, "no name of a table", hint)?;
    let region = region("inventory.region", raw.region)?;
    let file = named("inventory.path", raw.path, around)?;
    let alone = |key: &str| {
        Refusal::new(
            format!("inventory.{key}"),
            format!("`inventory.{key}` does nothing without `inventory.table`"),
        )
        .hint("name the DynamoDB table, or remove it: records are kept in a SQLite file then")
    };
    match (table, file) {
        (Some(_), Some(_)) => Err(Refusal::new(
            "inventory.path",
            "`inventory.path` and `inventory.table` are both set, and records are in one of them",
        )
        .hint("`table` for DynamoDB, `path` for a SQLite file of this host")),
        (Some(table), None) => {
            Ok(InventoryConfig::DynamoDb { table, region, create: raw.create.unwrap_or(true) })
        }
        (None, _) if region.is_some() => Err(alone("region")),
        (None, _) if raw.create.is_some() => Err(alone("create")),
        (None, file) => Ok(InventoryConfig::Sqlite {
            path: file.unwrap_or_else(|| state_dir.join("inventory.sqlite")),
        }),
    }
}

fn region(key: &str, typed: Option<String>) -> Result<Option<String>, Refusal> {
    let hint = "regions look like us-east-1; us-east-1a is an availability zone";
    text(key, typed, REGION, "no region of AWS", hint)
}

fn aws(raw: RawAws) -> Result<AwsConfig, Refusal> {
    let hint = "write http:// or https://, host and port: http://localhost:5000";
    let endpoint_url = text("aws.endpoint_url", raw.endpoint_url, ENDPOINT, "no URL", hint)?;
    let port = endpoint_url.as_deref().and_then(port_of);
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        let said =
            format!("`aws.endpoint_url` has no port that there is: {}", port.unwrap_or_default());
        return Err(Refusal::new("aws.endpoint_url", said).hint("ports are 1 to 65535"));
    }
    let source_overrides = raw.emulator.and_then(|emulator| emulator.source_overrides);
    if source_overrides.is_some() && endpoint_url.is_none() {
        return Err(Refusal::new(
            "aws.emulator",
            "`aws.emulator` does nothing without `aws.endpoint_url`",
        )
        .hint("set the URL of the emulator, or remove it"));
    }
    for name in source_overrides.iter().flat_map(|some| some.keys()) {
        if !fits(ATTRIBUTE, name) {
            return Err(Refusal::new(
                format!("aws.emulator.source_overrides.{name}"),
                format!(
                    "`aws.emulator.source_overrides` has {name:?}, which is no attribute of HCL"
                ),
            )
            .hint("letters, digits, `_` and `-`"));
        }
    }
    Ok(AwsConfig {
        region: region("aws.region", raw.region)?,
        profile: something("aws.profile", raw.profile, "write the name of a profile of ~/.aws")?,
        endpoint_url,
        max_calls_per_second: count(
            "aws.max_calls_per_second",
            raw.max_calls_per_second,
            AwsConfig::default().max_calls_per_second,
            MOST_CALLS,
            "50 by default; a build needs some forty in all",
        )?,
        source_overrides: source_overrides.unwrap_or_default(),
    })
}

fn port_of(url: &str) -> Option<&str> {
    let authority = url.split("://").nth(1)?.split('/').next()?;
    let port = authority.rsplit_once(':')?.1;
    (!port.contains(']')).then_some(port)
}

fn packer(raw: RawPacker, around: &ProcessEnvironment) -> Result<PackerConfig, Refusal> {
    let key = "packer.pass_env";
    let hint = "write names only, such as HTTPS_PROXY: the value is taken from the daemon's own environment";
    items(key, raw.pass_env.as_deref(), VARIABLE, "what is no name of a variable", hint)?;
    for (at, name) in raw.pass_env.iter().flatten().enumerate() {
        if OWN_VARIABLES.contains(&name.as_str()) || name.starts_with(NEVER_PASSED) {
            return Err(Refusal::new(
                format!("{key}[{at}]"),
                format!("`{key}` names {name}, which does nothing"),
            )
            .hint("the reconciler decides over it for every build; remove it"));
        }
    }
    let log_limit = count(
        "packer.log_limit_mib",
        raw.log_limit_mib,
        64,
        MOST_MIB,
        "MiB of a build's log; 64 by default",
    )?;
    let key = "packer.release_site";
    let hint = "write https://, host and perhaps a path, below which packer/VERSION/FILE lies";
    let release_site = text(key, raw.release_site, ENDPOINT, "no URL", hint)?;
    let a_second = &A_SECOND;
    let timeout = raw.timeout.as_deref();
    let grace = raw.grace.as_deref();
    Ok(PackerConfig {
        binary: path("packer.binary", raw.binary, around)?,
        plugin_path: path("packer.plugin_path", raw.plugin_path, around)?,
        timeout: duration("packer.timeout", timeout, Duration::from_hours(4), a_second)?,
        grace: duration("packer.grace", grace, Duration::from_mins(5), a_second)?,
        pass_env: raw.pass_env.unwrap_or_default(),
        log_limit: mib(log_limit),
        release_site: release_site.unwrap_or_else(|| VENDORS_SITE.to_owned()),
        release_keys: path("packer.release_keys", raw.release_keys, around)?,
    })
}

fn mib(number: usize) -> u64 {
    number as u64 * 1024 * 1024
}

fn builds(raw: &RawBuilds) -> Result<Retention, Refusal> {
    let default = Retention::default();
    let max_age = raw.max_age.as_deref();
    let keep = "a build's folder holds its log; one that runs always stays";
    let size = "MiB of the disk, for all builds; 4096 by default";
    let max_bytes = match raw.max_size_mib {
        None => default.max_bytes,
        typed => mib(count("builds.max_size_mib", typed, 1, MOST_MIB, size)?),
    };
    Ok(Retention {
        keep: count("builds.keep", raw.keep, default.keep, MOST_KEPT, keep)?,
        max_age: duration("builds.max_age", max_age, default.max_age, &A_SECOND)?,
        max_bytes,
    })
}

fn retry(raw: &RawRetry) -> Result<RetryConfig, Refusal> {
    let of = |key: &str, typed: Option<&str>, default: u64| {
        duration(key, typed, Duration::from_secs(default), &A_SECOND)
    };
    let read = RetryConfig {
        initial: of("retry.initial", raw.initial.as_deref(), 30)?,
        max: of("retry.max", raw.max.as_deref(), 1800)?,
        person: of("retry.person", raw.person.as_deref(), 3600)?,
    };
    if read.initial > read.max {
        // The caret stands at what was typed.
        let key = if raw.initial.is_some() { "retry.initial" } else { "retry.max" };
        let said = |typed: bool, of: Duration| {
            let by_default = if typed { "" } else { " by default" };
            format!("{}{by_default}", duration::text(of))
        };
        return Err(Refusal::new(
            key,
            format!(
                "`retry.initial` is {}, longer than `retry.max`, which is {}",
                said(raw.initial.is_some(), read.initial),
                said(raw.max.is_some(), read.max)
            ),
        )
        .hint("the wait begins with `initial` and doubles up to `max`: set both"));
    }
    Ok(read)
}
