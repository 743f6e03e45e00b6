//! What an error of an AWS call means: whose turn it is to do something.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
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
const TRANSIENT: [&str; 17] = [
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
            AwsFailure::Unavailable(format!(
                "the answer was cut short: {}",
                DisplayErrorContext(error)
            ))
        }
        SdkError::ConstructionFailure(_)
        | SdkError::DispatchFailure(_)
        | SdkError::TimeoutError(_)
        | SdkError::ResponseError(_) => by_transport(&DisplayErrorContext(error).to_string()),
        _ => AwsFailure::Unavailable(DisplayErrorContext(error).to_string()),
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

fn by_transport(said: &str) -> AwsFailure {
    let lower = said.to_lowercase();
    if lower.contains("credential") || lower.contains("sso") && lower.contains("token") {
        AwsFailure::Credentials(innermost(said))
    } else {
        AwsFailure::Unavailable(innermost(said))
    }
}

/// The SDK chains its causes with `: `, and adds a debug dump in brackets; people need the causes.
fn innermost(said: &str) -> String {
    let text = said.split(" (").next().unwrap_or(said);
    text.split(": ").collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
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
        assert!(matches!(
            by_code("ExpiredToken", "", 400),
            AwsFailure::Credentials(_)
        ));
        assert!(matches!(
            by_code("InvalidAMIID.NotFound", "", 400),
            AwsFailure::Refused { .. }
        ));
        assert!(matches!(
            by_code("SomethingNew", "", 502),
            AwsFailure::Unavailable(_)
        ));
    }
}
