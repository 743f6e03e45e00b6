//! Where a workflow's credentials and region come from: what the workflow says before what the
//! configuration says.
//!
//! Only words are put in order here; `session` looks them up.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::budget::CallBudget;
use crate::calls::SharedCallCounter;
use reconciler_core::workflow::WorkflowParams;

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
    /// Who counts calls; none: nobody.
    pub counter: Option<SharedCallCounter>,
}

impl SessionSettings {
    /// Whether the environment's keys serve where a named profile gives none. An emulator takes
    /// any.
    pub(crate) fn environment_may_stand_in(&self, emulated: bool) -> bool {
        emulated || self.or_environment
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
