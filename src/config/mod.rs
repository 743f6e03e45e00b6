//! The configuration as it is meant: checked, with every default filled in.
//!
//! `raw` holds it as it is typed; `load` turns one into the other, with the files beside it.
//! Everything after this stage takes these types only.

mod environment;
pub mod load;
mod patterns;
mod place;
pub mod raw;
mod refusal;
mod repository;
pub mod schema;
pub mod schema_of_workflows;
mod secrets;
mod state;
mod trust;
pub mod validate;
mod values;
mod web;
pub mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secrets::SecretsConfig;
use reconciler_model::policy::{BaseAmiPolicy, Retention, RetryConfig};
pub use trust::{LocalExec, Rewrite, SignaturePolicy, TrustConfig};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where this program keeps its own files: embedded inventory, build folders, logs, fetched
    /// repositories, caches.
    pub state_dir: PathBuf,
    /// The folder that has to be there for that; what is missing below it is made.
    pub state_above: PathBuf,
    /// The repositories that are followed; at least one.
    pub repositories: Vec<RepositoryConfig>,
    /// Whether the configuration names them. If not, the current folder is taken for one.
    pub names_repositories: bool,
    /// Where records are kept.
    pub inventory: InventoryConfig,
    /// How AWS is reached.
    pub aws: AwsConfig,
    /// How Packer is run.
    pub packer: PackerConfig,
    /// Template of image names with the four parts `{root_base_ami_name}`, `{workflow_id}`,
    /// `{step_id}`, `{fingerprint}`.
    pub ami_name: String,
    /// What happens when a newer base image appears.
    pub base_ami_policy: BaseAmiPolicy,
    /// How many Packer builds run at once, over all workflows.
    pub max_concurrent_builds: usize,
    /// What happens to a running build whose inputs changed again.
    pub on_superseded: OnSuperseded,
    /// What happens to running builds when the daemon is told to end.
    pub on_shutdown: OnShutdown,
    /// How often a pass is made when nothing wakes the loop.
    pub interval: Duration,
    /// How long a lease holds without a heartbeat.
    pub lease_duration: Duration,
    /// How often and when failed builds are tried again.
    pub retry: RetryConfig,
    /// Where secrets come from, and which parameters are secret.
    pub secrets: SecretsConfig,
    /// Which folders of old builds are kept.
    pub builds: Retention,
    /// How logs are written by the daemon.
    pub log_format: LogFormat,
    /// Where the daemon answers over HTTP; none: nowhere, which is the default.
    pub web: Option<WebConfig>,
    /// What is measured for Prometheus.
    pub metrics: MetricsConfig,
}

/// Where the daemon answers over HTTP, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// The address and the port.
    pub listen: SocketAddr,
    /// The names that it answers to, beside those of this host to itself.
    pub hosts: Vec<String>,
}

/// What is measured for Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Of how many steps each has series of its own; of more than that none has.
    pub max_steps: usize,
}

/// A repository that is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryConfig {
    /// Its name in output; the last part of its path by default.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// Branch or tag; none: what `HEAD` names.
    pub reference: Option<String>,
    /// How often a remote is fetched and a local one is polled beside being watched.
    pub poll_interval: Duration,
    /// Folders below which workflows are looked for: a folder with a `workflow_param.json`, itself
    /// or below.
    pub roots: Vec<String>,
    /// Folder names that are not part of a workflow (`example`).
    pub exclude: Vec<String>,
    /// Private key for ssh; none: the agent.
    pub ssh_key: Option<PathBuf>,
    /// Environment variable that holds an https token.
    pub token_env: Option<String>,
    /// Which of its commits count, and what they may do on the build host.
    pub trust: TrustConfig,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this host: watched and polled.
    Local(PathBuf),
    /// An URL: fetched.
    Remote(String),
}

/// Where records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InventoryConfig {
    /// A file of this host.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// The users' table; the journal is `{table}_builds`.
    DynamoDb {
        /// The table.
        table: String,
        /// Its region; none: that of the session.
        region: Option<String>,
        /// Create it when it is missing.
        create: bool,
    },
}

/// How AWS is reached. What the workflow says (profile, region, keys) comes before this.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsConfig {
    /// Region where neither the workflow nor the profile names one.
    pub region: Option<String>,
    /// Profile where the workflow names none.
    pub profile: Option<String>,
    /// An emulator for every service.
    pub endpoint_url: Option<String>,
    /// Attributes put into every `source "amazon-…"` while an emulator is used: name to JSON value.
    pub source_overrides: BTreeMap<String, serde_json::Value>,
    /// How many calls this program makes in one second, at most, over all workflows.
    pub max_calls_per_second: usize,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            region: None,
            profile: None,
            endpoint_url: None,
            source_overrides: BTreeMap::new(),
            max_calls_per_second: 50,
        }
    }
}

/// How Packer is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackerConfig {
    /// The binary; none: `packer` on the `PATH`.
    pub binary: Option<PathBuf>,
    /// `PACKER_PLUGIN_PATH` for builds; none: what the environment says.
    pub plugin_path: Option<PathBuf>,
    /// Limit of a build whose step names none.
    pub timeout: Duration,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Names of environment variables that builds get beside the fixed list.
    pub pass_env: Vec<String>,
    /// How many bytes of a build's log are kept, more or less: its head and its tail.
    pub log_limit: u64,
    /// Where releases of Packer are taken from: `BASE/packer/VERSION/FILE`.
    pub release_site: String,
    /// A file of the public keys that may sign a release; none: the vendor's.
    pub release_keys: Option<PathBuf>,
}

/// What happens to a running build whose inputs changed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnSuperseded {
    /// It is finished and recorded.
    #[default]
    Finish,
    /// It is cancelled and cleaned up.
    Cancel,
}

/// What happens to running builds when the daemon is told to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnShutdown {
    /// They go on under their supervisors.
    #[default]
    Leave,
    /// They are cancelled and cleaned up.
    Cancel,
}

/// How the daemon writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, journald under systemd, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
    /// The journal's own protocol.
    Journald,
}
