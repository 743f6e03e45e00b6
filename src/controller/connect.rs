//! The outside world of one workflow, behind its four ports.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::config::{AwsConfig, Config, InventoryConfig};
use crate::controller::context::Context;
use crate::controller::error::PassError;
use crate::controller::fenced::BehindLease;
use crate::controller::process_identity::host_name;
use crate::controller::state_folder;
use crate::failpoint;
use crate::git::fetcher::this_program;
use crate::packer::supervisor::files::InventoryPlace;
use crate::packer::{HeartbeatSettings, PackerBuilder, PackerSettings};
use crate::secrets::CurrentSecrets;
use crate::sqlite::SqliteInventory;
use reconciler_aws::budget::CallBudget;
use reconciler_aws::calls::SharedCallCounter;
use reconciler_aws::dynamodb::DynamoDbInventory;
use reconciler_aws::ec2::Ec2Catalog;
use reconciler_aws::person::PersonalEc2;
use reconciler_aws::session::{PackerEnvironment, Session, SessionSettings, StaticKeys};
use reconciler_aws::survey::AwsSurvey;
use reconciler_core::build::job::ImageBuilder;
use reconciler_core::workflow::WorkflowParams;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::{Digest, Encoder};
use reconciler_model::ids::Region;
#[cfg(test)]
use reconciler_model::images::ImageWriter;
use reconciler_model::images::{ImageMaker, ImageReader, ImageRemover};
use reconciler_model::inventory::Inventory;
use reconciler_model::inventory::journal::Reach;
use reconciler_model::survey::ImageSurvey;

/// What a pass looks at and acts through.
#[derive(Clone)]
pub struct Ports {
    /// Records, journal, leases.
    pub inventory: Arc<dyn Inventory>,
    /// Images at EC2; none when EC2 is not to be asked.
    pub catalog: Option<Arc<dyn ImageReader>>,
    /// What changes them, for the holder of the lease.
    pub(super) image_writer: Option<BehindLease>,
    /// Builds.
    pub builder: Arc<dyn ImageBuilder>,
    /// Where images are made.
    pub region: Region,
    /// Takes secrets out of what is recorded.
    pub redactor: CurrentSecrets,
    /// Whether it knows all that there are: not where the commit cannot be read that they stand in.
    pub knows_secrets: bool,
    /// The machine.
    pub context: Context,
    access: Option<Arc<Access>>,
}

/// What AWS is reached with again: for the credentials of each build, for another region, and for
/// what only some commands ask.
struct Access {
    session: Session,
    settings: PackerSettings,
}

impl Ports {
    /// Ports that take no credentials and reach one region.
    #[cfg(test)]
    pub(in crate::controller) fn new(
        inventory: Arc<dyn Inventory>,
        images: Option<Arc<impl ImageReader + ImageWriter + 'static>>,
        builder: Arc<dyn ImageBuilder>,
        region: Region,
        redactor: CurrentSecrets,
        context: Context,
    ) -> Self {
        Self {
            inventory,
            catalog: images.clone().map(|images| images as _),
            image_writer: images.map(|images| BehindLease::new(images)),
            builder,
            region,
            redactor,
            knows_secrets: true,
            context,
            access: None,
        }
    }

    /// The same ports, with credentials for builds that are as fresh as can be had.
    pub async fn with_fresh_credentials(&self) -> Result<Self, PassError> {
        let Some(access) = &self.access else {
            return Ok(self.clone());
        };
        let mut settings = access.settings.clone();
        settings.environment = access.session.packer_environment().await?;
        Ok(Self {
            builder: failpoint::around_builder(Arc::new(PackerBuilder::new(settings))),
            ..self.clone()
        })
    }

    /// What people ask about the images of this region; none where EC2 is not to be asked.
    #[must_use]
    pub fn survey(&self) -> Option<Arc<dyn ImageSurvey>> {
        let session = &self.access.as_ref()?.session;
        let (ec2, scaling) = (session.ec2_in(&self.region), session.autoscaling_in(&self.region));
        let place = session.place(&self.region);
        Some(Arc::new(AwsSurvey::new(&ec2, &scaling).at(place)))
    }

    /// What has images made of instances, for the process of a person; none without credentials.
    #[must_use]
    pub fn image_maker(&self) -> Option<Arc<dyn ImageMaker>> {
        let access = self.access.as_ref()?;
        Some(failpoint::around_image_maker(Arc::new(PersonalEc2::new(access.session.ec2()))))
    }

    /// What takes images of this region away, under a reservation; none without credentials.
    pub(super) fn image_remover(&self) -> Option<Arc<dyn ImageRemover>> {
        let session = &self.access.as_ref()?.session;
        let catalog = Ec2Catalog::new(session.ec2_in(&self.region)).at(session.place(&self.region));
        Some(failpoint::around_image_remover(Arc::new(catalog)))
    }

    /// The same ports, with the images of another region where that is not theirs.
    #[must_use]
    pub fn in_region(&self, region: &Region) -> Self {
        match &self.access {
            Some(access) if self.region != *region => {
                let (client, place) = (access.session.ec2_in(region), access.session.place(region));
                let catalog = Arc::new(Ec2Catalog::new(client).at(place));
                Self {
                    catalog: Some(catalog.clone()),
                    image_writer: Some(BehindLease::new(catalog)),
                    region: region.clone(),
                    ..self.clone()
                }
            }
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

/// What opens ports for a controller, on a machine.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The machine.
    fn context(&self) -> &Context;

    /// Opens ports.
    async fn connect(&self, config: &Config, who: &Who<'_>, usage: Use)
    -> Result<Ports, PassError>;
}

/// Opens the real ports, on this machine.
#[derive(Debug)]
pub struct RealConnector {
    context: Context,
    counter: Option<SharedCallCounter>,
}

impl Default for RealConnector {
    fn default() -> Self {
        Self { context: Context::of_this_machine(), counter: None }
    }
}

impl RealConnector {
    /// The same, and what is asked of AWS is counted.
    #[must_use]
    pub fn counted_by(self, counter: SharedCallCounter) -> Self {
        Self { counter: Some(counter), ..self }
    }
}

#[async_trait]
impl Connector for RealConnector {
    fn context(&self) -> &Context {
        &self.context
    }

    async fn connect(
        &self,
        config: &Config,
        who: &Who<'_>,
        usage: Use,
    ) -> Result<Ports, PassError> {
        connect_for(&self.context, config, who, usage, self.counter.as_ref()).await
    }
}

/// Opens the ports of a workflow.
pub async fn connect(
    config: &Config,
    params: &WorkflowParams,
    usage: Use,
) -> Result<Ports, PassError> {
    connect_for(&Context::of_this_machine(), config, &Who::of(params), usage, None).await
}

/// Opens ports.
async fn connect_for(
    context: &Context,
    config: &Config,
    who: &Who<'_>,
    usage: Use,
    counter: Option<&SharedCallCounter>,
) -> Result<Ports, PassError> {
    let redactor = CurrentSecrets::new(&config.secrets, who.values.unwrap_or(&Map::new()));
    state_folder::check(config)?;
    if usage == Use::Act {
        make_private(&config.state_dir).map_err(|error| {
            Diagnostic::new(format!("cannot be made this user's own: {error}"))
                .in_file(config.state_dir.display().to_string())
        })?;
    }
    let settings =
        SessionSettings { counter: counter.cloned(), ..session_settings(&config.aws, who) };
    if usage == Use::LookOffline
        && let InventoryConfig::Sqlite { path } = &config.inventory
    {
        return Ok(Ports {
            inventory: Arc::new(SqliteInventory::open_read_only(path)?),
            catalog: None,
            image_writer: None,
            builder: Arc::new(PackerBuilder::new(packer_settings(
                config,
                PackerEnvironment::default(),
            ))),
            region: Session::region_of(&settings).await?,
            redactor,
            knows_secrets: !who.hides,
            context: context.clone(),
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
    let builder = Arc::new(PackerBuilder::new(settings.clone()));
    let (catalog, image_writer) = match usage {
        Use::LookOffline => (None, None),
        Use::Look | Use::Ask | Use::Act => {
            let catalog = Ec2Catalog::new(session.ec2()).at(session.place(session.region()));
            let (reader, writer) = failpoint::around_images(Arc::new(catalog));
            (Some(reader), Some(BehindLease::new(writer)))
        }
    };
    Ok(Ports {
        inventory: failpoint::around_inventory(inventory),
        catalog,
        image_writer,
        builder: failpoint::around_builder(builder),
        region: session.region().clone(),
        redactor,
        knows_secrets: !who.hides,
        context: context.clone(),
        access: (usage != Use::LookOffline).then(|| Arc::new(Access { session, settings })),
    })
}

/// What a workflow says comes before what the configuration says (docs/contract.md §2).
fn session_settings(config: &AwsConfig, who: &Who<'_>) -> SessionSettings {
    SessionSettings {
        keys: who.keys.clone(),
        profile: who.profile.or(config.profile.as_ref()).cloned(),
        region: who.region.cloned(),
        default_region: config.region.clone(),
        endpoint_url: config.endpoint_url.clone(),
        or_environment: false,
        budget: Some(CallBudget::of_process(config.max_calls_per_second)),
        counter: None,
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use reconciler_core::workflow::RootBase;
    use reconciler_model::ids::{AmiId, WorkflowId};

    fn params(values: &Value) -> WorkflowParams {
        let text = |key: &str| values[key].as_str().map(str::to_owned);
        WorkflowParams {
            workflow_id: WorkflowId::new("wf"),
            profile: text("profile_name"),
            region: text("region_name"),
            root_base: RootBase::Image { id: AmiId::new("ami-1"), name: "ubuntu".into() },
            aws_tags: BTreeMap::new(),
            values: values.as_object().unwrap().clone(),
            settings: reconciler_core::workflow::settings::Settings::default(),
        }
    }

    fn config() -> AwsConfig {
        AwsConfig {
            region: Some("eu-central-1".into()),
            profile: Some("of-config".into()),
            ..AwsConfig::default()
        }
    }

    #[test]
    fn what_the_workflow_says_comes_before_the_configuration() {
        let said = params(&json!({ "profile_name": "of-workflow", "region_name": "us-east-1" }));
        let settings = session_settings(&config(), &Who::of(&said));
        assert_eq!(settings.profile.as_deref(), Some("of-workflow"));
        assert_eq!(settings.region.as_deref(), Some("us-east-1"));
        let none = params(&json!({}));
        let settings = session_settings(&config(), &Who::of(&none));
        assert_eq!(settings.profile.as_deref(), Some("of-config"));
        assert_eq!(settings.region, None);
        assert_eq!(settings.default_region.as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn keys_of_the_workflow_are_taken_whole_and_never_shown() {
        let said = params(&json!({
            "aws_access_key_id": "AKIDINGIT", "aws_secret_access_key": "s3cr3t", "aws_session_token": null,
        }));
        let settings = session_settings(&config(), &Who::of(&said));
        let keys = settings.keys.clone().unwrap();
        assert_eq!(keys.secret_access_key, "s3cr3t");
        assert_eq!(keys.session_token, None);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("AKIDINGIT"), "{shown}");

        let half = params(&json!({ "aws_access_key_id": "AKIDINGIT" }));
        assert_eq!(session_settings(&config(), &Who::of(&half)).keys, None);
    }
}
