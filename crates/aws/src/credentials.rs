//! Credentials that are read again: the SDK's own providers read a file once, and a daemon lives
//! longer than what stands in it.
//!
//! # Guarantees
//!
//! What has a known end is read again before it; what has none is believed for a minute, since
//! reading two files costs nothing. After a call that AWS refused for its credentials, the next try
//! reads them again whatever their age, and the refused call itself is tried once more if that may
//! help. What cannot be read while what is held is still good, such as a file that is just being
//! written, changes nothing.
//!
//! What is read is the same as the SDK would: it is asked anew each time, from the files of a
//! profile to the role of an instance.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region as SdkRegion};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_ec2::config::{Credentials, Intercept};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::error::BAD_CREDENTIALS;

/// How long credentials without a known end are believed.
const BELIEVED: Duration = Duration::from_mins(1);

/// How long before their end credentials are read again, if they last that long.
const BEFORE_THEIR_END: Duration = Duration::from_mins(5);

/// How long it is remembered that reading again brought nothing new: so long a refused call is not
/// tried once more.
const IN_VAIN: Duration = Duration::from_secs(10);

/// Where credentials come from, in words of the SDK.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The SDK's own chain.
    Default,
    /// A profile, and nothing else.
    Profile(String),
    /// On an emulator, which takes any keys: a profile that this host may not have, then the
    /// environment.
    ProfileOrEnvironment(String),
    /// On an emulator: the environment, then the default profile. No instance gives out a role.
    EnvironmentOrProfile,
}

/// A provider that reads again.
pub(super) struct Renewed {
    source: Source,
    region: SdkRegion,
    held: Mutex<Held>,
    /// One reads at a time.
    reading: tokio::sync::Mutex<()>,
}

/// What is held, and what is known of it.
#[derive(Default)]
struct Held {
    credentials: Option<Credentials>,
    /// When they were read.
    read_at: Option<Instant>,
    /// Since when other ones than before are held.
    changed_at: Option<Instant>,
    /// AWS has refused a call since they were read.
    refused: bool,
    /// When reading again after a refusal brought the same.
    in_vain: Option<Instant>,
}

impl Held {
    /// What may be used without reading again.
    fn fresh(&self, now: Instant, clock: SystemTime) -> Option<&Credentials> {
        let held = self.credentials.as_ref()?;
        let age = now.saturating_duration_since(self.read_at?);
        let good = match held.expiry() {
            Some(end) => {
                let left = end.duration_since(clock).unwrap_or_default();
                // What lasts shorter than that would be read at every call.
                left > BEFORE_THEIR_END || (!left.is_zero() && age < BELIEVED)
            }
            None => age < BELIEVED,
        };
        (good && !self.refused).then_some(held)
    }

    /// What may still be used where reading again failed.
    fn still_good(&self, clock: SystemTime) -> Option<&Credentials> {
        let held = self.credentials.as_ref()?;
        let over = held.expiry().is_some_and(|end| end <= clock);
        (!over && !self.refused).then_some(held)
    }

    fn take(&mut self, read: &Credentials, now: Instant) {
        let same = self.credentials.as_ref().is_some_and(|held| {
            held.access_key_id() == read.access_key_id()
                && held.secret_access_key() == read.secret_access_key()
                && held.session_token() == read.session_token()
        });
        if !same {
            self.changed_at = Some(now);
            self.in_vain = None;
        } else if self.refused && !self.is_new(now) {
            self.in_vain = Some(now);
        }
        self.credentials = Some(read.clone());
        self.read_at = Some(now);
        self.refused = false;
    }

    /// Other ones came a moment ago: a refusal that is heard now was of the old ones.
    fn is_new(&self, now: Instant) -> bool {
        self.changed_at.is_some_and(|at| now.saturating_duration_since(at) < IN_VAIN)
    }

    fn may_help(&self, now: Instant) -> bool {
        self.in_vain.is_none_or(|at| now.saturating_duration_since(at) >= IN_VAIN)
    }
}

impl Renewed {
    /// A profile that assumes a role asks STS in this region.
    pub(super) fn new(source: Source, region: SdkRegion) -> Self {
        Self { source, region, held: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held, if it is fresh; else what is read now.
    async fn current(&self) -> provider::Result {
        let fresh = || {
            let held = self.held();
            held.fresh(Instant::now(), SystemTime::now()).cloned()
        };
        if let Some(held) = fresh() {
            return Ok(held);
        }
        let _one = self.reading.lock().await;
        if let Some(held) = fresh() {
            return Ok(held);
        }
        self.read().await
    }

    /// Reads them now: a build is to begin with the newest.
    pub(super) async fn newest(&self) -> provider::Result {
        let _one = self.reading.lock().await;
        self.read().await
    }

    async fn read(&self) -> provider::Result {
        match self.ask().await {
            Ok(read) => {
                self.held().take(&read, Instant::now());
                Ok(read)
            }
            Err(error) => match self.held().still_good(SystemTime::now()) {
                Some(held) => Ok(held.clone()),
                None => Err(error),
            },
        }
    }

    /// Asks providers that know nothing of what was read before.
    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        // This too: it keeps the files that it has read.
        let surroundings = ProviderConfig::without_region()
            .with_region(Some(self.region.clone()))
            .with_behavior_version(Some(BehaviorVersion::latest()));
        let profile = || ProfileFileCredentialsProvider::builder().configure(&surroundings);
        let environment = EnvironmentVariableCredentialsProvider::new;
        match &self.source {
            Source::Default => {
                let chain = DefaultCredentialsChain::builder().configure(surroundings);
                chain.build().await.provide_credentials().await
            }
            Source::Profile(name) => {
                let named = profile().profile_name(name).build();
                named.provide_credentials().await
            }
            Source::ProfileOrEnvironment(name) => {
                let named = profile().profile_name(name).build();
                CredentialsProviderChain::first_try("Profile", named)
                    .or_else("Environment", environment())
                    .provide_credentials()
                    .await
            }
            Source::EnvironmentOrProfile => {
                CredentialsProviderChain::first_try("Environment", environment())
                    .or_else("Profile", profile().build())
                    .provide_credentials()
                    .await
            }
        }
    }
}

impl ProvideCredentials for Renewed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewed({:?})", self.source)
    }
}

/// Hears AWS refuse a call for its credentials.
#[derive(Clone, Debug)]
pub(super) struct Refusals(pub(super) Arc<Renewed>);

#[dyn_dispatch_hint]
impl Intercept for Refusals {
    fn name(&self) -> &'static str {
        "Refusals"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if is_refusal(context.response()) {
            self.0.held().refused = true;
        }
        Ok(())
    }
}

impl ClassifyRetry for Refusals {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if context.response().is_some_and(is_refusal) && self.0.held().may_help(Instant::now()) {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "Refusals"
    }
}

/// Whether an answer says that the credentials are not (or no longer) good:
/// `<Code>RequestExpired</Code>`, `…#ExpiredTokenException"`.
fn is_refusal(response: &HttpResponse) -> bool {
    if !response.status().is_client_error() {
        return false;
    }
    let text = response.body().bytes().map(String::from_utf8_lossy);
    text.is_some_and(|text| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| BAD_CREDENTIALS.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, end: Option<SystemTime>) -> Credentials {
        Credentials::new(id, "secret", None, end, "test")
    }

    fn held(credentials: &Credentials, now: Instant) -> Held {
        let mut held = Held::default();
        held.take(credentials, now);
        held
    }

    #[test]
    fn what_has_no_end_is_believed_for_a_minute_and_what_has_one_until_shortly_before() {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let lasting = held(&keys("A", None), now);
        assert!(lasting.fresh(now + Duration::from_secs(59), clock).is_some());
        assert!(lasting.fresh(now + Duration::from_secs(61), clock).is_none());
        let ending = held(&keys("A", Some(clock + Duration::from_hours(1))), now);
        let after = |minutes: u64| {
            let passed = Duration::from_mins(minutes);
            ending.fresh(now + passed, clock + passed).is_some()
        };
        assert!(after(54) && !after(56));
        let short = held(&keys("A", Some(clock + Duration::from_mins(3))), now);
        assert!(short.fresh(now + Duration::from_secs(30), clock).is_some());
        assert!(short.fresh(now + Duration::from_secs(90), clock).is_none());
    }

    #[test]
    fn where_reading_again_fails_what_is_not_over_and_not_refused_still_serves() {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let mut ending = held(&keys("A", Some(clock + Duration::from_mins(3))), now);
        assert!(ending.still_good(clock).is_some());
        assert!(ending.still_good(clock + Duration::from_mins(4)).is_none());
        ending.refused = true;
        assert!(ending.still_good(clock).is_none());
    }

    #[test]
    fn a_refused_call_is_tried_again_unless_reading_again_brought_the_same() {
        let now = Instant::now();
        let later = |seconds: u64| now + Duration::from_secs(seconds);
        let mut one = held(&keys("OLD", None), now);
        one.refused = true;
        assert!(one.fresh(now, SystemTime::now()).is_none(), "whatever its age");
        assert!(one.may_help(later(60)));
        one.take(&keys("OLD", None), later(60));
        assert!(!one.may_help(later(61)), "it brought the same");
        assert!(one.may_help(later(71)));
        one.refused = true;
        one.take(&keys("NEW", None), later(72));
        assert!(one.may_help(later(72)));
        // A call of the old ones that is answered late.
        one.refused = true;
        one.take(&keys("NEW", None), later(73));
        assert!(one.may_help(later(73)));
    }
}
