//! An answer of EC2 that was cut short is no answer.
//!
//! The SDK reads XML as far as it goes: half a `DescribeImages` would show half of the images, and
//! those that are not in it would be built again. An answer without its closing tag is an error
//! here, and is asked for once more like any that the network broke.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Intercept;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// The same client, which believes whole answers only.
pub(crate) fn believing_whole_answers(client: &Client) -> Client {
    let config = client.config().to_builder();
    Client::from_conf(config.interceptor(WholeAnswers).retry_classifier(WholeAnswers).build())
}

/// The same for Auto Scaling, whose answers are of the same form.
pub(crate) fn believing_whole_answers_of_groups(
    client: &aws_sdk_autoscaling::Client,
) -> aws_sdk_autoscaling::Client {
    let config = client.config().to_builder();
    let config = config.interceptor(WholeAnswers).retry_classifier(WholeAnswers);
    aws_sdk_autoscaling::Client::from_conf(config.build())
}

#[derive(Clone, Copy, Debug)]
struct WholeAnswers;

#[derive(Debug, thiserror::Error)]
#[error("EC2's answer ends in the middle")]
struct CutShort;

#[dyn_dispatch_hint]
impl Intercept for WholeAnswers {
    fn name(&self) -> &'static str {
        "WholeAnswers"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if is_cut_short(context.response()) {
            return Err(CutShort.into());
        }
        Ok(())
    }
}

impl ClassifyRetry for WholeAnswers {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if context.response().is_some_and(is_cut_short) {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "WholeAnswers"
    }
}

/// Every answer of EC2 is an element whose name ends so: `DescribeImagesResponse`.
fn is_cut_short(response: &HttpResponse) -> bool {
    response.status().is_success()
        && response
            .body()
            .bytes()
            .is_some_and(|body| !body.trim_ascii_end().ends_with(b"Response>"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_sdk_ec2::config::retry::RetryConfig;

    use super::*;
    use crate::ec2::scripted::{Answer, Ec2, image_xml};
    use crate::error::{AwsFailure, classify};

    /// Cuts its first answers in the middle, then gives whole ones.
    fn cutting(times: usize) -> Ec2 {
        let at = AtomicUsize::new(0);
        Ec2::answering(move |_| {
            let answer = Answer::images([
                image_xml("ami-1", "a", "available"),
                image_xml("ami-2", "b", "available"),
            ]);
            if at.fetch_add(1, Ordering::SeqCst) < times { answer.cut() } else { answer }
        })
    }

    #[tokio::test]
    async fn half_an_answer_is_an_error_and_not_half_of_the_images() {
        let client = believing_whole_answers(&cutting(1).client());
        let error = client.describe_images().send().await.unwrap_err();
        let AwsFailure::Unavailable(said) = classify(&error) else {
            panic!("{error:?}");
        };
        assert!(said.contains("ends in the middle"), "{said}");
    }

    #[tokio::test]
    async fn half_an_answer_is_asked_for_again() {
        let ec2 = cutting(1);
        let config = ec2.client().config().to_builder();
        let retrying = Client::from_conf(config.retry_config(RetryConfig::standard()).build());
        let client = believing_whole_answers(&retrying);
        let answer = client.describe_images().send().await.unwrap();
        assert_eq!((answer.images().len(), ec2.calls().len()), (2, 2));
    }
}
