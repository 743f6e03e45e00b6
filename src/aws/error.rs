//! What an error of an AWS call means: whose turn it is to do something.

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// An AWS call that failed, by consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsFailure {
    /// No credentials, or expired or wrong ones.
    Credentials(String),
    /// No permission.
    Denied(String),
    /// It may work later: throttling, 5xx, network, capacity.
    Unavailable(String),
    /// It will not work by itself; code and message.
    Refused {
        /// AWS's error code.
        code: String,
        /// AWS's message.
        message: String,
    },
}

/// Error codes by which services say that a call may be made again later.
/// Source: the EC2 and DynamoDB API references, "common errors".
const TRANSIENT: [&str; 22] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "LimitExceededException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "EC2ThrottledException",
    "SlowDown",
    "PriorRequestNotComplete",
    "TransactionConflictException",
];

const NO_PERMISSION: [&str; 4] = [
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "OptInRequired",
];

const BAD_CREDENTIALS: [&str; 10] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "InvalidAccessKeyId",
];

/// Sorts an error of the SDK.
pub fn classify<E>(error: &SdkError<E, HttpResponse>) -> AwsFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or_default();
            let message = service.err().message().unwrap_or_default();
            by_code(code, message, status)
        }
        SdkError::ResponseError(response) if response.raw().status().is_success() => {
            AwsFailure::Unavailable(format!("the answer was cut short: {}", causes(error)))
        }
        _ => by_transport(error),
    }
}

fn by_code(code: &str, message: &str, status: u16) -> AwsFailure {
    let said = if message.is_empty() {
        code.to_owned()
    } else {
        format!("{code}: {message}")
    };
    if NO_PERMISSION.contains(&code) {
        AwsFailure::Denied(said)
    } else if BAD_CREDENTIALS.contains(&code) {
        AwsFailure::Credentials(said)
    } else if TRANSIENT.contains(&code) || status >= 500 || status == 429 {
        AwsFailure::Unavailable(said)
    } else {
        AwsFailure::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// What went wrong before there was an answer: finding credentials is part of sending.
fn by_transport(error: &(dyn std::error::Error + 'static)) -> AwsFailure {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(missing) = cause.downcast_ref::<CredentialsError>() {
            return credentials(missing);
        }
        next = cause.source();
    }
    AwsFailure::Unavailable(causes(error))
}

fn credentials(error: &CredentialsError) -> AwsFailure {
    match error {
        // Whoever gives them out did not answer.
        CredentialsError::ProviderTimedOut(_) => AwsFailure::Unavailable(causes(error)),
        CredentialsError::CredentialsNotLoaded(_) => AwsFailure::Credentials(format!(
            "{} (looked at the workflow's keys and profile, AWS_ACCESS_KEY_ID, AWS_PROFILE, and the container's and instance's role)",
            why_no_credentials(error)
        )),
        _ => AwsFailure::Credentials(causes(error)),
    }
}

/// Why a place gave no credentials; of a chain of places, which lists them on many lines, only that none did.
pub(super) fn why_no_credentials(error: &CredentialsError) -> String {
    if !matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        return causes(error);
    }
    match std::error::Error::source(error).map(causes) {
        Some(said) if !said.contains('\n') => said,
        _ => "none were found".to_owned(),
    }
}

/// An error and what caused it, in one line, each cause once. The SDK's own display adds a dump of its fields; people need the causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::config::BehaviorVersion;
    use aws_sdk_ec2::operation::describe_images::DescribeImagesError;

    use super::*;

    #[test]
    fn codes_are_sorted_by_whose_turn_it_is() {
        assert!(matches!(
            by_code("RequestLimitExceeded", "slow down", 503),
            AwsFailure::Unavailable(_)
        ));
        assert!(matches!(
            by_code("UnauthorizedOperation", "", 403),
            AwsFailure::Denied(_)
        ));
        for code in ["ExpiredToken", "RequestExpired"] {
            assert!(matches!(by_code(code, "", 400), AwsFailure::Credentials(_)));
        }
        assert!(matches!(
            by_code("InvalidAMIID.NotFound", "", 400),
            AwsFailure::Refused { .. }
        ));
        assert!(matches!(
            by_code("SomethingNew", "", 502),
            AwsFailure::Unavailable(_)
        ));
    }

    fn before_sending(
        cause: impl std::error::Error + Send + Sync + 'static,
    ) -> SdkError<DescribeImagesError, HttpResponse> {
        SdkError::construction_failure(cause)
    }

    #[test]
    fn missing_credentials_are_no_network_failure_and_say_where_was_looked() {
        let missing = CredentialsError::not_loaded("no providers in chain provided credentials");
        let AwsFailure::Credentials(said) = classify(&before_sending(missing)) else {
            panic!("not taken for credentials");
        };
        assert!(
            said.starts_with("no providers") && said.contains("AWS_ACCESS_KEY_ID"),
            "{said}"
        );

        let late = CredentialsError::provider_timed_out(std::time::Duration::from_secs(5));
        assert!(matches!(
            classify(&before_sending(late)),
            AwsFailure::Unavailable(_)
        ));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_down_is_said_without_a_dump() {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_ec2::config::Credentials::new(
                "a", "b", None, None, "t",
            ))
            .retry_config(aws_sdk_ec2::config::retry::RetryConfig::disabled())
            .endpoint_url("http://127.0.0.1:1")
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = aws_sdk_ec2::Client::from_conf(config);
        let error = client.describe_images().send().await.unwrap_err();
        let AwsFailure::Unavailable(said) = classify(&error) else {
            panic!("{error:?}");
        };
        assert!(said.contains("onnection refused"), "{said}");
        assert!(!said.contains('{') && said.len() < 200, "{said}");
    }
}
