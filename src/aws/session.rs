//! Credentials, region and clients for one workflow.
//!
//! What the workflow says comes first, then the configuration, then the environment, then the profile's region (contract §2).
//! Opening one asks nobody over the network where the environment holds all that is needed: a fresh `status` has 30 ms.

use std::fmt;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region as SdkRegion, SdkConfig};
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{Credentials, ProvideCredentials};

use crate::diagnostic::Diagnostic;
use crate::ids::Region;

/// Where credentials and region come from, if not from the environment.
#[derive(Clone, Default)]
pub struct SessionSettings {
    /// Profile of `~/.aws`.
    pub profile: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// An emulator for every service.
    pub endpoint_url: Option<String>,
    /// Keys that stand in the workflow's parameters.
    pub keys: Option<StaticKeys>,
}

/// Keys that stand in the workflow's parameters: never shown.
#[derive(Clone)]
pub struct StaticKeys {
    /// `aws_access_key_id`
    pub access_key_id: String,
    /// `aws_secret_access_key`
    pub secret_access_key: String,
    /// `aws_session_token`
    pub session_token: Option<String>,
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKeys(<redacted>)")
    }
}

/// A way to AWS for one workflow.
#[derive(Clone)]
pub struct Session {
    config: SdkConfig,
    region: Region,
    endpoint_url: Option<String>,
}

impl Session {
    /// Resolves the region and sets up the transport. Credentials are resolved by the first call that needs them.
    pub async fn open(settings: &SessionSettings) -> Result<Self, Diagnostic> {
        let endpoint_url = settings
            .endpoint_url
            .clone()
            .or_else(|| std::env::var("AWS_ENDPOINT_URL").ok());
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(4)
                    .with_initial_backoff(Duration::from_millis(200)),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(Duration::from_secs(30))
                    .build(),
            );
        // Loading the host's TLS roots takes longer than all the rest; a plain endpoint has no use for them.
        if endpoint_url
            .as_deref()
            .is_some_and(|url| url.starts_with("http://"))
        {
            loader = loader.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(SdkRegion::new(region.clone()));
        }
        if let Some(keys) = &settings.keys {
            loader = loader.credentials_provider(Credentials::new(
                keys.access_key_id.clone(),
                keys.secret_access_key.clone(),
                keys.session_token.clone(),
                None,
                "workflow_param.json",
            ));
        }
        let config = loader.load().await;
        let region = config.region().map(|region| Region::new(region.as_ref())).ok_or_else(|| {
            Diagnostic::new("no AWS region is known").hint(
                "set `region_name` in workflow_param.json, `aws.region` in the configuration, or AWS_REGION",
            )
        })?;
        Ok(Self {
            config,
            region,
            endpoint_url,
        })
    }

    /// Where images are made.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// A client for EC2.
    #[must_use]
    pub fn ec2(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&self.config)
    }

    /// A client for DynamoDB, of another region if the table is elsewhere.
    #[must_use]
    pub fn dynamodb(&self, region: Option<&str>) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        if let Some(region) = region {
            config = config.region(SdkRegion::new(region.to_owned()));
        }
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// The environment variables by which a build reaches AWS with the same credentials. Secret.
    pub async fn packer_environment(&self) -> Result<PackerEnvironment, Diagnostic> {
        let missing = |detail: String| {
            Diagnostic::new(format!("no AWS credentials: {detail}")).hint(
                "looked at the workflow's keys and profile, the configuration, AWS_ACCESS_KEY_ID, AWS_PROFILE, and the instance's role",
            )
        };
        let provider = self
            .config
            .credentials_provider()
            .ok_or_else(|| missing("no source is set up".to_owned()))?;
        let credentials = provider.provide_credentials().await.map_err(|error| {
            missing(aws_smithy_types::error::display::DisplayErrorContext(&error).to_string())
        })?;
        let mut variables = vec![
            (
                "AWS_ACCESS_KEY_ID".to_owned(),
                credentials.access_key_id().to_owned(),
            ),
            (
                "AWS_SECRET_ACCESS_KEY".to_owned(),
                credentials.secret_access_key().to_owned(),
            ),
            ("AWS_REGION".to_owned(), self.region.as_str().to_owned()),
            (
                "AWS_DEFAULT_REGION".to_owned(),
                self.region.as_str().to_owned(),
            ),
        ];
        if let Some(token) = credentials.session_token() {
            variables.push(("AWS_SESSION_TOKEN".to_owned(), token.to_owned()));
        }
        if let Some(url) = &self.endpoint_url {
            variables.push(("AWS_ENDPOINT_URL".to_owned(), url.clone()));
        }
        Ok(PackerEnvironment { variables })
    }
}

/// Environment variables of a build. Shows nothing of their values.
#[derive(Clone, Default)]
pub struct PackerEnvironment {
    /// Name and value.
    pub variables: Vec<(String, String)>,
}

impl PackerEnvironment {
    /// The values that must not appear in a kept log.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let secret = |name: &str| {
            matches!(
                name,
                "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" | "AWS_ACCESS_KEY_ID"
            )
        };
        self.variables
            .iter()
            .filter(|(name, _)| secret(name))
            .map(|(_, value)| value.clone())
            .collect()
    }
}

impl fmt::Debug for PackerEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.variables.iter().map(|(name, _)| name))
            .finish()
    }
}
