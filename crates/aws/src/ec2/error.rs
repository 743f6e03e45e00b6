//! An error of the EC2 SDK as the port has it.

use aws_sdk_ec2::error::SdkError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::error::{AwsFailure, classify};
use reconciler_model::images::CatalogError;

/// `action` is the IAM action that the call needs.
pub(crate) fn fail<E>(action: &str, error: &SdkError<E, HttpResponse>) -> CatalogError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match classify(error) {
        AwsFailure::Credentials(detail) => CatalogError::Credentials { detail },
        AwsFailure::Denied(detail) => CatalogError::Denied { action: action.to_owned(), detail },
        AwsFailure::Unavailable(detail) => CatalogError::Unavailable { detail },
        AwsFailure::Refused { code, message } => CatalogError::Refused {
            action: action.to_owned(),
            detail: format!("{code}: {message}"),
        },
    }
}
