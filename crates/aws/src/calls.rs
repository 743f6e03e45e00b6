//! Tells whoever counts of each try of each call: of which service, which operation, how long it
//! took and what came of it. Retries are tries of their own. Who counts decides nothing.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ec2::config::Intercept;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

/// One try of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The service, as its SDK names it: `EC2`, `DynamoDB`.
    pub service: String,
    /// The operation: `DescribeImages`.
    pub operation: String,
    /// What came of it.
    pub outcome: CallOutcome,
    /// How long it took.
    pub took: Duration,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallOutcome {
    /// An answer.
    Answered,
    /// The service refused it, or could not do it.
    Refused,
    /// No answer came.
    Unanswered,
}

impl CallOutcome {
    /// Its name, for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Counts calls. It is asked by whoever makes them, and must not let them wait.
pub trait CallCounter: Send + Sync {
    /// A try is over.
    fn count(&self, call: Call);
}

/// A counter, as it is handed on.
#[derive(Clone)]
pub struct SharedCallCounter(pub Arc<dyn CallCounter>);

impl fmt::Debug for SharedCallCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedCallCounter")
    }
}

/// When a try began.
#[derive(Debug)]
struct Begun(Instant);

impl Storable for Begun {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for SharedCallCounter {
    fn name(&self) -> &'static str {
        "SharedCallCounter"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Begun(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(of) = config.load::<Metadata>() else {
            return Ok(());
        };
        let outcome = match context.response() {
            Some(response) if response.status().is_success() => CallOutcome::Answered,
            Some(_) => CallOutcome::Refused,
            None => CallOutcome::Unanswered,
        };
        self.0.count(Call {
            service: of.service().to_owned(),
            operation: of.name().to_owned(),
            outcome,
            took: config.load::<Begun>().map(|begun| begun.0.elapsed()).unwrap_or_default(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_sdk_ec2::Client;

    use super::*;
    use crate::ec2::scripted::{Answer, Ec2, image_xml};

    #[derive(Default)]
    struct Kept(Mutex<Vec<Call>>);

    impl CallCounter for Kept {
        fn count(&self, call: Call) {
            self.0.lock().unwrap().push(call);
        }
    }

    #[tokio::test]
    async fn each_try_is_told_with_its_operation() {
        let ec2 = Ec2::answering(|_| Answer::images([image_xml("ami-1", "a", "available")]));
        let kept = Arc::new(Kept::default());
        let counter = SharedCallCounter(Arc::clone(&kept) as _);
        let client = ec2.client();
        let client = Client::from_conf(client.config().to_builder().interceptor(counter).build());
        client.describe_images().send().await.unwrap();
        let calls = kept.0.lock().unwrap().clone();
        let told: Vec<_> = calls
            .iter()
            .map(|call| (call.service.as_str(), call.operation.as_str(), call.outcome))
            .collect();
        assert_eq!(told, [("EC2", "DescribeImages", CallOutcome::Answered)]);
    }
}
