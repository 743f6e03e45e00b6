//! The configuration as it is typed. Unknown keys are errors. What a value means, and its default,
//! is decided in `load`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::patterns::{
    ENDPOINT, FOLDER_NAME, HOST, IMAGE_NAME, LISTEN, PLUGIN, REGION, REMOTE, SECRET_SOURCE,
    SOMETHING, TABLE, VARIABLE,
};
use crate::config::schema;
use crate::config::validate::{MOST_BUILDS_AT_ONCE, MOST_CALLS, MOST_KEPT, MOST_MIB, MOST_STEPS};
use crate::config::{LogFormat, OnShutdown, OnSuperseded};
use reconciler_model::duration;

/// The configuration of the reconciler. Every key may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Configuration", transform = schema::identified)]
pub struct RawConfig {
    /// Folder for this program's own files: embedded inventory, build folders, logs, fetched
    /// repositories, caches.
    #[schemars(regex(pattern = SOMETHING))]
    pub state_dir: Option<String>,
    /// The repositories that are followed.
    #[schemars(length(min = 1))]
    pub repositories: Option<Vec<RawRepository>>,
    /// Where records are kept.
    pub inventory: Option<RawInventory>,
    /// How AWS is reached.
    pub aws: Option<RawAws>,
    /// How Packer is run.
    pub packer: Option<RawPacker>,
    /// Template of image names; must contain `{fingerprint}`.
    #[schemars(regex(pattern = IMAGE_NAME))]
    pub ami_name: Option<String>,
    /// `pin` keeps the base image that a pattern was first resolved to, `follow` rebuilds on a
    /// newer one.
    pub base_ami_policy: Option<RawBaseAmiPolicy>,
    /// How many Packer builds run at once.
    #[schemars(range(min = 1, max = MOST_BUILDS_AT_ONCE))]
    pub max_concurrent_builds: Option<usize>,
    /// What happens to a running build whose inputs changed again: `finish` or `cancel`.
    pub on_superseded: Option<OnSuperseded>,
    /// What happens to running builds when the daemon is told to end: `leave` or `cancel`.
    pub on_shutdown: Option<OnShutdown>,
    /// How often a pass is made when nothing wakes the loop, as a duration such as `5m`.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub interval: Option<String>,
    /// How long a lease holds without a heartbeat; a build may be silent four times as long.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub lease_duration: Option<String>,
    /// How often and when failed builds are tried again.
    pub retry: Option<RawRetry>,
    /// Where secrets come from, and which parameters are secret.
    pub secrets: Option<RawSecrets>,
    /// Which folders of old builds, with their logs, are kept on this host.
    pub builds: Option<RawBuilds>,
    /// How the daemon writes its log: `auto`, `text`, `json` or `journald`.
    pub log_format: Option<LogFormat>,
    /// Has the daemon answer over HTTP: `/metrics`, `/healthz`, `/readyz`. Without this key, which
    /// may be empty (`web: {}`), it listens nowhere.
    pub web: Option<RawWeb>,
    /// What is measured for Prometheus.
    pub metrics: Option<RawMetrics>,
}

/// Where the daemon answers over HTTP, and to whom.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Web")]
pub struct RawWeb {
    /// Address and port; `127.0.0.1:9180` by default. Port 0 takes one that is free.
    #[schemars(regex(pattern = LISTEN))]
    pub listen: Option<String>,
    /// Names that it answers to, as clients write them, without a port; this host's own names for
    /// itself (`localhost`, `127.0.0.1`, `[::1]`) and the address of `listen` always count.
    #[schemars(inner(regex(pattern = HOST)))]
    pub hosts: Option<Vec<String>>,
}

/// What is measured for Prometheus.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Metrics")]
pub struct RawMetrics {
    /// Of how many steps each has series of its own; of more than that none has, and a series says
    /// how many are left out.
    #[schemars(range(min = 1, max = MOST_STEPS))]
    pub max_steps: Option<usize>,
}

/// A repository that is followed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Repository", transform = schema::path_or_url)]
pub struct RawRepository {
    /// Its name in output; the last part of its path or URL by default.
    #[schemars(regex(pattern = SOMETHING))]
    pub name: Option<String>,
    /// A folder of this host. Either this or `url`.
    #[schemars(regex(pattern = SOMETHING))]
    pub path: Option<String>,
    /// An URL: file, https or ssh. Either this or `path`.
    #[schemars(regex(pattern = REMOTE))]
    pub url: Option<String>,
    /// Branch or tag; what HEAD names by default. A name that is both is the branch's.
    #[schemars(regex(pattern = SOMETHING))]
    pub reference: Option<String>,
    /// How often a remote is fetched, and a local one is looked at beside being watched.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub poll_interval: Option<String>,
    /// Folders below which workflows are looked for.
    #[schemars(length(min = 1), inner(regex(pattern = SOMETHING)))]
    pub roots: Option<Vec<String>>,
    /// Folder names that are not part of a workflow.
    #[schemars(inner(regex(pattern = FOLDER_NAME)))]
    pub exclude: Option<Vec<String>>,
    /// Private key for ssh; the agent by default.
    #[schemars(regex(pattern = SOMETHING))]
    pub ssh_key: Option<String>,
    /// Environment variable that holds an https token.
    #[schemars(regex(pattern = VARIABLE))]
    pub token_env: Option<String>,
    /// Plan and build only commits that are signed by somebody who is allowed.
    pub require_signed_commits: Option<bool>,
    /// SSH keys that may sign, as `ssh-keygen(1)` describes it under ALLOWED SIGNERS.
    #[schemars(regex(pattern = SOMETHING))]
    pub allowed_signers: Option<String>,
    /// SSH keys that no longer count: a revocation list, or public keys, one a line.
    #[schemars(regex(pattern = SOMETHING))]
    pub revoked_keys: Option<String>,
    /// Home folder of a keyring whose `OpenPGP` keys may sign.
    #[schemars(regex(pattern = SOMETHING))]
    pub gpg_home: Option<String>,
    /// Whether a commit may take the place of one that it does not descend from; not by default
    /// where commits have to be signed.
    pub allow_rewrite: Option<bool>,
    /// Refuse templates that run programs on the build host or read its files.
    pub deny_local_exec: Option<bool>,
    /// Where plugins may come from while `deny_local_exec` is set.
    #[schemars(inner(regex(pattern = PLUGIN)))]
    pub allowed_plugins: Option<Vec<String>>,
}

/// Where records are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Inventory", transform = schema::table_or_path)]
pub struct RawInventory {
    /// DynamoDB table; without one, records are kept in a `SQLite` file.
    #[schemars(regex(pattern = TABLE))]
    pub table: Option<String>,
    /// Region of the table; that of the workflow by default.
    #[schemars(regex(pattern = REGION))]
    pub region: Option<String>,
    /// Create the tables when they are missing.
    pub create: Option<bool>,
    /// The `SQLite` file, where no table is named.
    #[schemars(regex(pattern = SOMETHING))]
    pub path: Option<String>,
}

/// How AWS is reached.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Aws", transform = schema::emulator_needs_endpoint)]
pub struct RawAws {
    /// Region where neither the workflow nor the profile names one.
    #[schemars(regex(pattern = REGION))]
    pub region: Option<String>,
    /// Profile where the workflow names none.
    #[schemars(regex(pattern = SOMETHING))]
    pub profile: Option<String>,
    /// An emulator for every service.
    #[schemars(regex(pattern = ENDPOINT))]
    pub endpoint_url: Option<String>,
    /// How many calls this program makes in one second, at most, over all workflows; Packer's are
    /// its own.
    #[schemars(range(min = 1, max = MOST_CALLS))]
    pub max_calls_per_second: Option<usize>,
    /// Only while `endpoint_url` is set.
    pub emulator: Option<RawEmulator>,
}

/// What differs while an emulator is used.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Emulator")]
pub struct RawEmulator {
    /// Attributes put into every `source "amazon-…"` when a step is laid out for Packer; they never
    /// count.
    #[schemars(transform = schema::attributes)]
    pub source_overrides: Option<BTreeMap<String, serde_json::Value>>,
}

/// How Packer is run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Packer")]
pub struct RawPacker {
    /// The binary; `packer` on the PATH by default.
    #[schemars(regex(pattern = SOMETHING))]
    pub binary: Option<String>,
    /// `PACKER_PLUGIN_PATH` for builds.
    #[schemars(regex(pattern = SOMETHING))]
    pub plugin_path: Option<String>,
    /// Limit of a build whose step names none.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub timeout: Option<String>,
    /// Time between SIGTERM and SIGKILL.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub grace: Option<String>,
    /// Environment variables that builds get beside the fixed list.
    #[schemars(inner(regex(pattern = VARIABLE)))]
    pub pass_env: Option<Vec<String>>,
    /// How much of a build's log is kept, in MiB: its head and its tail.
    #[schemars(range(min = 1, max = MOST_MIB))]
    pub log_limit_mib: Option<usize>,
    /// Where `packer install` takes releases from: `BASE/packer/VERSION/FILE`, as at
    /// `https://releases.hashicorp.com`.
    #[schemars(regex(pattern = ENDPOINT))]
    pub release_site: Option<String>,
    /// A file of the public `OpenPGP` keys that may sign a release; by default `HashiCorp`'s.
    #[schemars(regex(pattern = SOMETHING))]
    pub release_keys: Option<String>,
}

/// Secrets: never a value, only where one is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Secrets", transform = schema::secrets_need_a_key)]
pub struct RawSecrets {
    /// The key under which secrets count in fingerprints, as `env:NAME` or `file:PATH`; the same on
    /// every host.
    #[schemars(regex(pattern = SECRET_SOURCE))]
    pub fingerprint_key: Option<String>,
    /// Names of secret parameters; `*` stands for anything.
    #[schemars(inner(regex(pattern = SOMETHING)))]
    pub parameters: Option<Vec<String>>,
    /// What templates get by `secret("name")`: each name with `env:NAME` or `file:PATH`.
    #[schemars(transform = schema::secret_values)]
    pub values: Option<BTreeMap<String, String>>,
}

/// How often and when failed builds are tried again.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Retry")]
pub struct RawRetry {
    /// First wait after a transient failure; doubles with each.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub initial: Option<String>,
    /// Longest wait after a transient failure.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub max: Option<String>,
    /// Wait after a failure that a person has to mend.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub person: Option<String>,
}

/// Which folders of old builds are kept: one goes that is older than `max_age`, or has `keep` newer
/// ones, or for which `max_size_mib` has no room. A build that runs, and one that a step's state
/// speaks of, always stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Builds")]
pub struct RawBuilds {
    /// How many.
    #[schemars(range(min = 1, max = MOST_KEPT))]
    pub keep: Option<usize>,
    /// How long.
    #[schemars(regex(pattern = duration::PATTERN))]
    pub max_age: Option<String>,
    /// How much of the disk, all in all, in MiB.
    #[schemars(range(min = 1, max = MOST_MIB))]
    pub max_size_mib: Option<usize>,
}

/// What happens when a newer base image appears.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "BaseAmiPolicy")]
pub enum RawBaseAmiPolicy {
    /// It is reported.
    Pin,
    /// The first steps are rebuilt on it.
    Follow,
}
