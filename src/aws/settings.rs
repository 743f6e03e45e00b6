//! Where a workflow's credentials and region come from: what the workflow says before what the
//! configuration says.
//!
//! Only words are put in order here; `session` looks them up.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::aws::budget::CallBudget;
use crate::config::AwsConfig;
use crate::workflow::WorkflowParams;

/// Where credentials and region come from, if not from the environment.
#[derive(Clone, Debug, Default)]
pub struct SessionSettings {
    /// Keys that stand in the workflow's parameters; they come before everything else.
    pub keys: Option<StaticKeys>,
    /// A profile of `~/.aws`, by the workflow or the configuration. A named profile comes before
    /// the environment, and is never replaced by it.
    pub profile: Option<String>,
    /// The region that the workflow names.
    pub region: Option<String>,
    /// The configuration's region, where neither the workflow nor its profile names one.
    pub default_region: Option<String>,
    /// An emulator for every service.
    pub endpoint_url: Option<String>,
    /// Whether the environment's keys serve where the profile gives none: a build's supervisor has
    /// those that were read from it.
    pub or_environment: bool,
    /// How many calls may be made; none: as many as there are.
    pub budget: Option<Arc<CallBudget>>,
}

impl SessionSettings {
    /// The settings of one workflow (docs/contract.md §2: its own, then those of the configuration).
    #[must_use]
    pub fn of_workflow(params: &WorkflowParams, config: &AwsConfig) -> Self {
        Self {
            keys: StaticKeys::of_workflow(params),
            profile: params.profile.clone().or_else(|| config.profile.clone()),
            region: params.region.clone(),
            default_region: config.region.clone(),
            endpoint_url: config.endpoint_url.clone(),
            or_environment: false,
            budget: Some(CallBudget::of_process(config.max_calls_per_second)),
        }
    }

    /// The settings where no workflow is meant: the table of another account, say.
    #[must_use]
    pub fn of_config(config: &AwsConfig) -> Self {
        Self {
            profile: config.profile.clone(),
            default_region: config.region.clone(),
            endpoint_url: config.endpoint_url.clone(),
            budget: Some(CallBudget::of_process(config.max_calls_per_second)),
            ..Self::default()
        }
    }
}

/// Keys that stand in the workflow's parameters: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// `aws_access_key_id`
    pub access_key_id: String,
    /// `aws_secret_access_key`
    pub secret_access_key: String,
    /// `aws_session_token`
    pub session_token: Option<String>,
}

impl StaticKeys {
    /// Those of a workflow's parameters, if there are any.
    #[must_use]
    pub fn of_workflow(params: &WorkflowParams) -> Option<Self> {
        let text = |key: &str| match params.values.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        Some(Self {
            access_key_id: text("aws_access_key_id")?,
            secret_access_key: text("aws_secret_access_key")?,
            session_token: text("aws_session_token"),
        })
    }
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKeys(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::ids::{AmiId, WorkflowId};
    use crate::workflow::RootBase;

    fn params(values: &Value) -> WorkflowParams {
        let text = |key: &str| values[key].as_str().map(str::to_owned);
        WorkflowParams {
            workflow_id: WorkflowId::new("wf"),
            profile: text("profile_name"),
            region: text("region_name"),
            root_base: RootBase::Image { id: AmiId::new("ami-1"), name: "ubuntu".into() },
            aws_tags: BTreeMap::new(),
            values: values.as_object().unwrap().clone(),
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
        let settings = SessionSettings::of_workflow(&said, &config());
        assert_eq!(settings.profile.as_deref(), Some("of-workflow"));
        assert_eq!(settings.region.as_deref(), Some("us-east-1"));
        let settings = SessionSettings::of_workflow(&params(&json!({})), &config());
        assert_eq!(settings.profile.as_deref(), Some("of-config"));
        assert_eq!(settings.region, None);
        assert_eq!(settings.default_region.as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn keys_of_the_workflow_are_taken_whole_and_never_shown() {
        let said = params(&json!({
            "aws_access_key_id": "AKIDINGIT", "aws_secret_access_key": "s3cr3t", "aws_session_token": null,
        }));
        let settings = SessionSettings::of_workflow(&said, &config());
        let keys = settings.keys.clone().unwrap();
        assert_eq!(keys.secret_access_key, "s3cr3t");
        assert_eq!(keys.session_token, None);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("AKIDINGIT"), "{shown}");

        let half = params(&json!({ "aws_access_key_id": "AKIDINGIT" }));
        assert_eq!(SessionSettings::of_workflow(&half, &config()).keys, None);
    }
}
