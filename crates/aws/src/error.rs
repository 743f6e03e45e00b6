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

const NO_PERMISSION: [&str; 4] =
    ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "OptInRequired"];

/// Error codes by which services refuse a call for its credentials.
pub(super) const BAD_CREDENTIALS: [&str; 12] = [
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
    "TokenRefreshRequired",
    "InvalidToken",
];

/// Sorts an error of the SDK.
pub fn classify<E>(error: &SdkError<E, HttpResponse>) -> AwsFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let message = service.err().message().unwrap_or_default();
            match service.err().code().filter(|code| !code.is_empty()) {
                Some(code) => by_code(code, message, status),
                None => by_status(status),
            }
        }
        SdkError::ResponseError(response) if response.raw().status().is_success() => {
            AwsFailure::Unavailable(format!("the answer was cut short: {}", causes(error)))
        }
        _ => by_transport(error),
    }
}

/// An answer that is none of AWS's: a proxy's page, say.
fn by_status(status: u16) -> AwsFailure {
    let said = format!("HTTP status {status}, and no error code of AWS");
    match status {
        401 | 403 => AwsFailure::Denied(said),
        500.. | 408 | 429 => AwsFailure::Unavailable(said),
        _ => AwsFailure::Refused {
            code: said,
            message: "is something else than AWS at that endpoint?".to_owned(),
        },
    }
}

fn by_code(code: &str, message: &str, status: u16) -> AwsFailure {
    let said = if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") };
    if NO_PERMISSION.contains(&code) {
        AwsFailure::Denied(said)
    } else if BAD_CREDENTIALS.contains(&code) {
        AwsFailure::Credentials(said)
    } else if TRANSIENT.contains(&code) || status >= 500 || status == 429 {
        AwsFailure::Unavailable(said)
    } else {
        AwsFailure::Refused { code: code.to_owned(), message: message.to_owned() }
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
    let said = causes(error);
    // No call gets there, however often it is tried.
    if ["failed to apply endpoint", "nvalid URI", "nvalid uri", "endpoint must"]
        .iter()
        .any(|words| said.contains(words))
    {
        return AwsFailure::Refused {
            code: "the endpoint cannot be used".to_owned(),
            message: said,
        };
    }
    AwsFailure::Unavailable(said)
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

/// Why a place gave no credentials; of a chain of places, which lists them on many lines, only that
/// none did.
pub(super) fn why_no_credentials(error: &CredentialsError) -> String {
    if !matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        return causes(error);
    }
    match std::error::Error::source(error) {
        Some(cause) if !cause.to_string().contains('\n') => causes(cause),
        _ => "none were found".to_owned(),
    }
}

/// An error and what caused it, in one line, each cause once. The SDK's own display adds a dump of
/// its fields; people need the causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = without_dump(&error.to_string());
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

/// A text without the form of a request or another value that the SDK's programmers put into it.
fn without_dump(text: &str) -> String {
    let mut text = text.replace(['\n', '\r'], " ");
    if let Some(start) = text.find(" to request `")
        && let Some(end) = text.rfind('`').filter(|end| *end > start)
    {
        text.replace_range(start..=end, "");
    }
    if let Some(brace) = text.find(" {") {
        let before = text[..brace].trim_end();
        let shown = before.rsplit_once(' ').map_or("", |(shown, _)| shown);
        text = format!("{shown} \u{2026}");
    }
    text
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
        assert!(matches!(by_code("UnauthorizedOperation", "", 403), AwsFailure::Denied(_)));
        for code in ["ExpiredToken", "RequestExpired"] {
            assert!(matches!(by_code(code, "", 400), AwsFailure::Credentials(_)));
        }
        assert!(matches!(by_code("InvalidAMIID.NotFound", "", 400), AwsFailure::Refused { .. }));
        assert!(matches!(by_code("SomethingNew", "", 502), AwsFailure::Unavailable(_)));
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
        assert!(said.starts_with("no providers") && said.contains("AWS_ACCESS_KEY_ID"), "{said}");

        let places = "no credentials found in chain. Attempted:\n  Environment: no\n  Profile: no";
        let missing = CredentialsError::not_loaded(places);
        let AwsFailure::Credentials(said) = classify(&before_sending(missing)) else {
            panic!("not taken for credentials");
        };
        assert!(said.starts_with("none were found (looked at"), "{said}");

        let late = CredentialsError::provider_timed_out(std::time::Duration::from_secs(5));
        assert!(matches!(classify(&before_sending(late)), AwsFailure::Unavailable(_)));
    }

    /// What one call comes to at a server that answers so, or at another endpoint.
    async fn asked_of(endpoint: &str) -> AwsFailure {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_ec2::config::Credentials::new("a", "b", None, None, "t"))
            .retry_config(aws_sdk_ec2::config::retry::RetryConfig::disabled())
            .timeout_config(
                aws_sdk_ec2::config::timeout::TimeoutConfig::builder()
                    .operation_attempt_timeout(std::time::Duration::from_millis(300))
                    .build(),
            )
            .endpoint_url(endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = aws_sdk_ec2::Client::from_conf(config);
        classify(&client.describe_images().send().await.unwrap_err())
    }

    async fn answered(answer: &'static [u8]) -> AwsFailure {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 8192]).await;
            if answer.is_empty() {
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
            let _ = stream.write_all(answer).await;
        });
        let said = asked_of(&endpoint).await;
        server.abort();
        said
    }

    #[tokio::test]
    async fn whatever_goes_wrong_is_said_in_a_line_without_the_form_of_a_request() {
        let mut all = Vec::new();
        for endpoint in [
            "http://127.0.0.1:1",
            "http://nowhere.invalid",
            "localhost:5000",
            "127.0.0.1:5000",
            "http://",
            "http://a b",
            "ftp://127.0.0.1",
            "https://127.0.0.1:1",
            "not an url",
        ] {
            all.push((endpoint.to_owned(), asked_of(endpoint).await));
        }
        let answers: [&[u8]; 10] = [
            b"",
            b"nothing of HTTP\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<Descr",
            b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n<html>hello",
            b"HTTP/1.1 500 Oops\r\nContent-Length: 11\r\n\r\n<html>hello",
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>no</h1",
            b"HTTP/1.1 301 Moved\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
            b"HTTP/1.1 400 Bad\r\nContent-Length: 98\r\n\r\n<Response><Errors><Error><Code>AuthFailure</Code><Message></Message></Error></Errors></Response>    ",
        ];
        for answer in answers {
            let name = String::from_utf8_lossy(answer).into_owned();
            all.push((name, answered(answer).await));
        }
        let mut wrong = Vec::new();
        for (name, failure) in all {
            let said = match &failure {
                AwsFailure::Credentials(said)
                | AwsFailure::Denied(said)
                | AwsFailure::Unavailable(said) => said.clone(),
                AwsFailure::Refused { code, message } => format!("{code}: {message}"),
            };
            let dumped = said.contains(['{', '\n', '"']) || said.contains("Request(");
            let empty = said.is_empty() || said.ends_with(": ") || said.contains("unhandled");
            if dumped || empty || said.len() > 300 {
                wrong.push(format!("{name:?} -> {failure:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[tokio::test]
    async fn an_endpoint_that_is_down_is_said_without_a_dump() {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_ec2::config::Credentials::new("a", "b", None, None, "t"))
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
