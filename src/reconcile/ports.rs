//! The outside world of one workflow, behind its four ports.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::aws::session::{PackerEnvironment, Session, SessionSettings, StaticKeys};
use crate::build::ImageBuilder;
use crate::build::packer::{HeartbeatSettings, PackerBuilder, PackerSettings};
use crate::build::supervisor::files::InventoryPlace;
use crate::catalog::ImageCatalog;
use crate::catalog::ec2::Ec2Catalog;
use crate::config::{Config, InventoryConfig};
use crate::desired::digest::{Digest, Encoder};
use crate::diagnostic::Diagnostic;
use crate::failpoint;
use crate::ids::Region;
use crate::inventory::Inventory;
use crate::inventory::dynamodb::DynamoDbInventory;
use crate::inventory::journal::Reach;
use crate::inventory::sqlite::SqliteInventory;
use crate::reconcile::error::PassError;
use crate::reconcile::host::host_name;
use crate::reconcile::state_folder;
use crate::secrets::CurrentSecrets;
use crate::source::fetcher::this_program;
use crate::workflow::WorkflowParams;

/// What a pass looks at and acts through.
#[derive(Clone)]
pub struct Ports {
    /// Records, journal, leases.
    pub inventory: Arc<dyn Inventory>,
    /// Images at EC2; none when EC2 is not to be asked.
    pub catalog: Option<Arc<dyn ImageCatalog>>,
    /// Builds.
    pub builder: Arc<dyn ImageBuilder>,
    /// Where images are made.
    pub region: Region,
    /// Takes secrets out of what is recorded.
    pub redactor: CurrentSecrets,
    /// Whether it knows all that there are: not where the commit cannot be read that they stand in.
    pub knows_secrets: bool,
    access: Option<Arc<Access>>,
}

/// What the credentials of builds are fetched with, anew for each.
struct Access {
    session: Session,
    settings: PackerSettings,
}

impl Ports {
    /// The same ports, with credentials for builds that are as fresh as can be had.
    pub async fn with_fresh_credentials(&self) -> Result<Self, PassError> {
        let Some(access) = &self.access else {
            return Ok(self.clone());
        };
        let mut settings = access.settings.clone();
        settings.environment = access.session.packer_environment().await?;
        Ok(Self {
            builder: failpoint::building(Arc::new(PackerBuilder::new(settings))),
            ..self.clone()
        })
    }

    /// The same ports, with the images of another region where that is not theirs.
    #[must_use]
    pub fn in_region(&self, region: &Region) -> Self {
        match &self.access {
            Some(access) if self.region != *region => Self {
                catalog: Some(Arc::new(
                    Ec2Catalog::new(access.session.ec2_in(region)).at(access.session.place(region)),
                )),
                region: region.clone(),
                ..self.clone()
            },
            _ => self.clone(),
        }
    }
}

/// What the ports are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To look, without EC2.
    LookOffline,
    /// To look.
    Look,
    /// To look, and to write what a person asks for.
    Ask,
    /// To build and record.
    Act,
}

/// For whom AWS is reached: what decides it, of a workflow as git has it or of a build as the
/// journal has it.
pub struct Who<'a> {
    profile: Option<&'a String>,
    region: Option<&'a String>,
    keys: Option<StaticKeys>,
    /// None: what is secret among the parameters is not known.
    values: Option<&'a Map<String, Value>>,
    hides: bool,
}

impl<'a> Who<'a> {
    /// A workflow as git has it.
    #[must_use]
    pub fn of(params: &'a WorkflowParams) -> Self {
        Self {
            profile: params.profile.as_ref(),
            region: params.region.as_ref(),
            keys: StaticKeys::of_workflow(params),
            values: Some(&params.values),
            hides: false,
        }
    }

    /// A workflow as it was when something was begun for it. The keys that stood in its parameters
    /// are not known any more.
    #[must_use]
    pub fn by(reach: &'a Reach) -> Self {
        Self {
            profile: reach.profile.as_ref(),
            region: reach.region.as_ref(),
            keys: None,
            values: None,
            hides: reach.hides,
        }
    }

    /// What else than the profile decides how AWS is reached: a digest, for there may be a secret
    /// among it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut all = Encoder::new("reach");
        let keys = self.keys.as_ref();
        let parts = [
            keys.map(|keys| &keys.access_key_id),
            keys.map(|keys| &keys.secret_access_key),
            keys.and_then(|keys| keys.session_token.as_ref()),
            self.region,
        ];
        for part in parts {
            all.field(part.is_some().to_string().as_bytes());
            all.field(part.map_or(&[], |part| part.as_bytes()));
        }
        all.finish()
    }
}

/// How AWS is reached for a workflow, without any secret: what a build's intent keeps of it.
#[must_use]
pub fn reach(config: &Config, params: &WorkflowParams) -> Reach {
    Reach {
        profile: params.profile.clone(),
        region: params.region.clone(),
        own_keys: StaticKeys::of_workflow(params).is_some(),
        hides: !config.secrets.marks.values_of(&params.values).is_empty(),
    }
}

/// Opens the ports of a workflow.
pub async fn connect(
    config: &Config,
    params: &WorkflowParams,
    usage: Use,
) -> Result<Ports, PassError> {
    connect_for(config, &Who::of(params), usage).await
}

/// Opens ports.
pub async fn connect_for(config: &Config, who: &Who<'_>, usage: Use) -> Result<Ports, PassError> {
    let redactor = CurrentSecrets::new(&config.secrets, who.values.unwrap_or(&Map::new()));
    state_folder::check(config)?;
    if usage == Use::Act {
        make_private(&config.state_dir).map_err(|error| {
            Diagnostic::new(format!("cannot be made this user's own: {error}"))
                .in_file(config.state_dir.display().to_string())
        })?;
    }
    let settings = SessionSettings {
        profile: who.profile.or(config.aws.profile.as_ref()).cloned(),
        region: who.region.cloned(),
        keys: who.keys.clone(),
        ..SessionSettings::of_config(&config.aws)
    };
    if usage == Use::LookOffline
        && let InventoryConfig::Sqlite { path } = &config.inventory
    {
        return Ok(Ports {
            inventory: Arc::new(SqliteInventory::open_read_only(path)?),
            catalog: None,
            builder: Arc::new(PackerBuilder::new(packer_settings(
                config,
                PackerEnvironment::default(),
            ))),
            region: Session::region_of(&settings).await?,
            redactor,
            knows_secrets: !who.hides,
            access: None,
        });
    }
    let session = Session::open(&settings).await?;
    let inventory = open_inventory(config, &session, usage)?;
    let environment = if usage == Use::Act {
        session.packer_environment().await?
    } else {
        PackerEnvironment::default()
    };
    let settings = packer_settings(config, environment);
    let builder = PackerBuilder::new(settings.clone());
    let catalog: Option<Arc<dyn ImageCatalog>> = match usage {
        Use::LookOffline => None,
        Use::Look | Use::Ask | Use::Act => {
            Some(Arc::new(Ec2Catalog::new(session.ec2()).at(session.place(session.region()))))
        }
    };
    Ok(failpoint::within(Ports {
        inventory,
        catalog,
        builder: Arc::new(builder),
        region: session.region().clone(),
        redactor,
        knows_secrets: !who.hides,
        access: (usage == Use::Act).then(|| Arc::new(Access { session, settings })),
    }))
}

/// How long a build may be silent before another host takes it for dead. Longer than a lease: an
/// hour of work hangs on it.
#[must_use]
pub fn silence(config: &Config) -> Duration {
    config.lease_duration * 4
}

fn packer_settings(config: &Config, environment: PackerEnvironment) -> PackerSettings {
    PackerSettings {
        packer: config.packer.clone(),
        builds_dir: config.state_dir.join("builds"),
        source_overrides: if config.aws.endpoint_url.is_some() {
            config.aws.source_overrides.clone()
        } else {
            std::collections::BTreeMap::new()
        },
        environment,
        own_binary: this_program(),
        heartbeat: Some(HeartbeatSettings {
            inventory: inventory_place(&config.inventory),
            host: host_name(),
            silence: silence(config),
        }),
    }
}

fn inventory_place(config: &InventoryConfig) -> InventoryPlace {
    match config {
        InventoryConfig::Sqlite { path } => InventoryPlace::Sqlite {
            // The supervisor may run in another folder.
            path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        },
        InventoryConfig::DynamoDb { table, region, .. } => {
            InventoryPlace::DynamoDb { table: table.clone(), region: region.clone() }
        }
    }
}

/// The state folder is for this user only, whatever made it and whatever the umask was then.
fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = std::fs::metadata(folder)?;
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if is_own && found.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn open_inventory(
    config: &Config,
    session: &Session,
    usage: Use,
) -> Result<Arc<dyn Inventory>, PassError> {
    Ok(match &config.inventory {
        InventoryConfig::Sqlite { path } if usage == Use::Act => {
            Arc::new(SqliteInventory::open(path)?)
        }
        // What a person asks for needs something to be asked of.
        InventoryConfig::Sqlite { path } if usage == Use::Ask && path.exists() => {
            Arc::new(SqliteInventory::open_existing(path)?)
        }
        InventoryConfig::Sqlite { path } => Arc::new(SqliteInventory::open_read_only(path)?),
        InventoryConfig::DynamoDb { table, region, create } => Arc::new(DynamoDbInventory::new(
            session.dynamodb(region.as_deref()),
            table.clone(),
            *create,
        )),
    })
}
