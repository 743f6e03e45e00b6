//! Credentials, region and clients for one workflow.
//!
//! Looked at in this order. Credentials: the workflow's keys; the profile that the workflow or the
//! configuration names; else the SDK's own chain (environment, `AWS_PROFILE` or the default
//! profile, web identity, container, instance). Region: the workflow's; that of the named profile;
//! the configuration's; the environment's; the default profile's; the instance's. Those of this
//! host are read again when they end or are refused (`credentials`). Opening one asks nobody over
//! the network unless no region is found on this host: a fresh `status` has 30 ms.

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region as SdkRegion, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{Credentials, IdentityCache};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::calls::SharedCallCounter;
use crate::credentials::{Refusals, Renewed, Source};
pub use crate::environment::PackerEnvironment;
use crate::environment::Reach;
use crate::error::why_no_credentials;
use crate::profiles::Profiles;
pub use crate::settings::{SessionSettings, StaticKeys};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Region;

/// A way to AWS for one workflow.
#[derive(Clone)]
pub struct Session {
    config: SdkConfig,
    credentials: Access,
    region: Region,
    profile: Option<String>,
    endpoint_url: Option<String>,
    counter: Option<SharedCallCounter>,
}

/// Whose credentials.
#[derive(Clone)]
enum Access {
    /// Those of the workflow's parameters: another commit brings others.
    OfWorkflow(Credentials),
    /// Those of this host, which are read again.
    Renewed(Arc<Renewed>),
}

impl Session {
    /// Where images are made, for whoever asks AWS nothing.
    pub async fn region_of(settings: &SessionSettings) -> Result<Region, Diagnostic> {
        let region = region(settings, is_emulated(endpoint(settings).as_deref())).await;
        region.map(|region| Region::new(region.as_ref())).ok_or_else(|| no_region(settings))
    }

    /// Resolves the region and sets up the transport. Credentials are resolved by the first call
    /// that needs them.
    pub async fn open(settings: &SessionSettings) -> Result<Self, Diagnostic> {
        let endpoint_url = endpoint(settings);
        let emulated = is_emulated(endpoint_url.as_deref());
        // An emulator takes any keys: a profile that this host does not have is no reason to stop.
        let must_exist = !settings.environment_may_stand_in(emulated);
        if let (Some(name), None, true) = (&settings.profile, &settings.keys, must_exist) {
            Profiles::of_this_host().check(name)?;
        }
        let region = region(settings, emulated).await.ok_or_else(|| no_region(settings))?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(region.clone())
            .retry_config(retries())
            .timeout_config(timeouts());
        // Loading the host's TLS roots takes longer than all the rest; a plain endpoint has no use
        // for them.
        let transport = aws_smithy_http_client::Builder::new();
        let transport = if emulated {
            transport.build_http()
        } else {
            transport.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https()
        };
        loader = loader.http_client(match &settings.budget {
            Some(budget) => budget.limit(transport),
            None => transport,
        });
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let credentials = access(settings, &region, emulated);
        loader = match &credentials {
            Access::OfWorkflow(keys) => loader.credentials_provider(keys.clone()),
            // The provider keeps what it has read, and knows when to read again.
            Access::Renewed(renewed) => {
                let provider: Arc<dyn ProvideCredentials> = Arc::clone(renewed) as _;
                loader
                    .credentials_provider(SharedCredentialsProvider::new(provider))
                    .identity_cache(IdentityCache::no_cache())
            }
        };
        if let Some(name) = &settings.profile {
            loader = loader.profile_name(name);
        }
        Ok(Self {
            config: loader.load().await,
            credentials,
            region: Region::new(region.as_ref()),
            profile: settings.profile.clone(),
            endpoint_url,
            counter: settings.counter.clone(),
        })
    }

    /// Where images are made.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Where EC2 is asked, for people: the region, and the endpoint where it is not AWS's own.
    #[must_use]
    pub fn place(&self, region: &Region) -> String {
        match &self.endpoint_url {
            Some(url) => format!("{region}, {url}"),
            None => region.to_string(),
        }
    }

    /// A client for EC2.
    #[must_use]
    pub fn ec2(&self) -> aws_sdk_ec2::Client {
        self.ec2_in(&self.region)
    }

    /// A client for EC2 in another region.
    #[must_use]
    pub fn ec2_in(&self, region: &Region) -> aws_sdk_ec2::Client {
        let mut config = aws_sdk_ec2::config::Builder::from(&self.config)
            .region(SdkRegion::new(region.as_str().to_owned()));
        if let Some(refusals) = self.refusals() {
            config = config.interceptor(refusals.clone()).retry_classifier(refusals);
        }
        if let Some(counter) = &self.counter {
            config = config.interceptor(counter.clone());
        }
        aws_sdk_ec2::Client::from_conf(config.build())
    }

    /// A client for Auto Scaling in a region.
    #[must_use]
    pub fn autoscaling_in(&self, region: &Region) -> aws_sdk_autoscaling::Client {
        let mut config = aws_sdk_autoscaling::config::Builder::from(&self.config)
            .region(SdkRegion::new(region.as_str().to_owned()));
        if let Some(refusals) = self.refusals() {
            config = config.interceptor(refusals.clone()).retry_classifier(refusals);
        }
        if let Some(counter) = &self.counter {
            config = config.interceptor(counter.clone());
        }
        aws_sdk_autoscaling::Client::from_conf(config.build())
    }

    /// A client for DynamoDB, of another region if the table is elsewhere.
    #[must_use]
    pub fn dynamodb(&self, region: Option<&str>) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        if let Some(region) = region {
            config = config.region(SdkRegion::new(region.to_owned()));
        }
        if let Some(refusals) = self.refusals() {
            config = config.interceptor(refusals.clone()).retry_classifier(refusals);
        }
        if let Some(counter) = &self.counter {
            config = config.interceptor(counter.clone());
        }
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    fn refusals(&self) -> Option<Refusals> {
        match &self.credentials {
            Access::OfWorkflow(_) => None,
            Access::Renewed(renewed) => Some(Refusals(Arc::clone(renewed))),
        }
    }

    /// The environment variables by which a build reaches AWS with the same credentials. Secret.
    pub async fn packer_environment(&self) -> Result<PackerEnvironment, Diagnostic> {
        let missing = |detail: String| {
            let mut places = String::from(
                "looked at the workflow's keys, AWS_ACCESS_KEY_ID, the profile, web identity, and the container's and instance's role",
            );
            if let Some(profile) = &self.profile {
                places = format!(
                    "looked at the profile `{profile}` only, because the workflow or the configuration names it"
                );
            }
            Diagnostic::new(format!("no AWS credentials: {detail}")).hint(places)
        };
        let credentials = match &self.credentials {
            Access::OfWorkflow(keys) => keys.clone(),
            Access::Renewed(renewed) => {
                renewed.newest().await.map_err(|error| missing(why_no_credentials(&error)))?
            }
        };
        let is_of_host = matches!(self.credentials, Access::Renewed(_));
        let reach = Reach {
            credentials: &credentials,
            profile: self.profile.as_deref(),
            is_of_host,
            region: &self.region,
            endpoint_url: self.endpoint_url.as_deref(),
        };
        Ok(PackerEnvironment::new(&reach, variable))
    }
}

fn endpoint(settings: &SessionSettings) -> Option<String> {
    settings.endpoint_url.clone().or_else(|| variable("AWS_ENDPOINT_URL"))
}

/// Only an emulator speaks plain HTTP.
fn is_emulated(endpoint_url: Option<&str>) -> bool {
    endpoint_url.is_some_and(|url| url.starts_with("http://"))
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(4).with_initial_backoff(Duration::from_millis(200))
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(30))
        .build()
}

fn access(settings: &SessionSettings, region: &SdkRegion, emulated: bool) -> Access {
    if let Some(keys) = &settings.keys {
        return Access::OfWorkflow(Credentials::new(
            keys.access_key_id.clone(),
            keys.secret_access_key.clone(),
            keys.session_token.clone(),
            None,
            "workflow_param.json",
        ));
    }
    let source = match settings.profile.clone() {
        None if emulated => Source::EnvironmentOrProfile,
        None => Source::Default,
        Some(name) if settings.environment_may_stand_in(emulated) => {
            Source::ProfileOrEnvironment(name)
        }
        Some(name) => Source::Profile(name),
    };
    Access::Renewed(Arc::new(Renewed::new(source, region.clone())))
}

async fn region(settings: &SessionSettings, emulated: bool) -> Option<SdkRegion> {
    let given = |name: &Option<String>| {
        name.clone().filter(|name| !name.trim().is_empty()).map(SdkRegion::new)
    };
    let mut places = RegionProviderChain::first_try(given(&settings.region));
    if let Some(profile) = &settings.profile {
        places = places.or_else(ProfileFileRegionProvider::builder().profile_name(profile).build());
    }
    places = places
        .or_else(given(&settings.default_region))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    if !emulated {
        // Elsewhere than on EC2 nobody answers there: one short try.
        let instance = imds::Client::builder()
            .max_attempts(1)
            .connect_timeout(Duration::from_millis(500))
            .read_timeout(Duration::from_secs(1))
            .build();
        places = places
            .or_else(imds::region::ImdsRegionProvider::builder().imds_client(instance).build());
    }
    places.region().await
}

fn no_region(settings: &SessionSettings) -> Diagnostic {
    let message = match &settings.profile {
        Some(profile) => format!("no AWS region is known: the profile `{profile}` names none"),
        None => "no AWS region is known".to_owned(),
    };
    Diagnostic::new(message).hint(
        "set `region_name` in workflow_param.json, `aws.region` in the configuration, or AWS_REGION",
    )
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emulator() -> SessionSettings {
        SessionSettings {
            keys: Some(StaticKeys {
                access_key_id: "AKID".into(),
                secret_access_key: "s3cr3t".into(),
                session_token: None,
            }),
            region: Some("eu-west-3".into()),
            default_region: Some("us-west-2".into()),
            endpoint_url: Some("http://127.0.0.1:9".into()),
            ..SessionSettings::default()
        }
    }

    #[tokio::test]
    async fn the_workflows_keys_and_region_reach_the_build() {
        let session = Session::open(&emulator()).await.unwrap();
        assert_eq!(session.region().as_str(), "eu-west-3");
        let environment = session.packer_environment().await.unwrap();
        let value = |name: &str| {
            let found = environment.variables.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("AWS_ACCESS_KEY_ID"), Some("AKID"));
        assert_eq!(value("AWS_REGION"), Some("eu-west-3"));
        assert_eq!(value("AWS_ENDPOINT_URL"), Some("http://127.0.0.1:9"));
    }

    #[tokio::test]
    async fn the_configurations_region_stands_in_where_the_workflow_names_none() {
        let settings = SessionSettings { region: None, ..emulator() };
        let session = Session::open(&settings).await.unwrap();
        assert_eq!(session.region().as_str(), "us-west-2");
    }

    #[test]
    fn no_region_says_where_one_can_be_set() {
        let said = no_region(&SessionSettings::default());
        let hint = said.hint.unwrap();
        for place in ["region_name", "aws.region", "AWS_REGION"] {
            assert!(hint.contains(place), "{hint}");
        }
    }
}
