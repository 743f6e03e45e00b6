//! Errors of the SDK as the port tells them.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::error::{AwsFailure, classify};
use reconciler_model::inventory::InventoryError;

/// The code for a table that does not exist.
const NO_TABLE: &str = "ResourceNotFoundException";

/// Whether the table does not exist.
pub(super) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error) == Some(NO_TABLE)
}

/// Whether a condition did not hold.
pub(super) fn is_refused<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error) == Some("ConditionalCheckFailedException")
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(|error| error.code())
}

/// As the port tells it. `action` as IAM names it, for instance `dynamodb:Query`.
pub(super) fn inventory_error<E>(
    error: &SdkError<E, HttpResponse>,
    action: &str,
    place: &str,
) -> InventoryError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    from_failure(classify(error), action, place.to_owned())
}

fn from_failure(failure: AwsFailure, action: &str, place: String) -> InventoryError {
    match failure {
        AwsFailure::Credentials(detail) => InventoryError::Credentials { place, detail },
        AwsFailure::Denied(said) => InventoryError::Denied {
            action: denied_action(&said).unwrap_or(action).to_owned(),
            place,
        },
        AwsFailure::Unavailable(detail) => InventoryError::Unavailable { place, detail },
        AwsFailure::Refused { code, message } => match code.as_str() {
            NO_TABLE => {
                InventoryError::Schema { place, detail: "the table does not exist".to_owned() }
            }
            "ValidationException" if is_about_keys(&message) => {
                InventoryError::Schema { place, detail: message }
            }
            "TransactionConflictException" => InventoryError::Unavailable {
                place,
                detail: "another write to the same item is under way".to_owned(),
            },
            _ => InventoryError::Failed { place, detail: format!("{action}: {code}: {message}") },
        },
    }
}

/// A transaction is denied by the action of the item in it that is: AWS says which.
fn denied_action(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("not authorized to perform: ")?;
    rest.split_whitespace().next()
}

fn is_about_keys(message: &str) -> bool {
    ["key", "schema", "index"].iter().any(|word| message.to_lowercase().contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_action_that_aws_names() {
        let said = "AccessDeniedException: User: arn:aws:iam::1:user/ci is not authorized to perform: dynamodb:PutItem on resource: x";
        let told = from_failure(
            AwsFailure::Denied(said.to_owned()),
            "dynamodb:TransactWriteItems",
            "DynamoDB table ami".to_owned(),
        );
        assert_eq!(told.to_string(), "access denied: dynamodb:PutItem on DynamoDB table ami");
    }

    #[test]
    fn a_query_by_keys_that_the_table_does_not_have_is_a_matter_of_schema() {
        let refused = AwsFailure::Refused {
            code: "ValidationException".to_owned(),
            message: "Query condition missed key schema element: name".to_owned(),
        };
        let error = from_failure(refused, "dynamodb:Query", "DynamoDB table ami".to_owned());
        assert!(matches!(error, InventoryError::Schema { .. }), "{error:?}");
    }
}
