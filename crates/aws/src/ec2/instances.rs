//! `DescribeInstances` of one instance, whose image a person wants.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Reservation;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::images::{CatalogError, PreparedInstance};

/// The instance of this id; none if EC2 knows none of it in this account and region.
pub(super) async fn by_id(
    client: &Client,
    id: &str,
) -> Result<Option<PreparedInstance>, CatalogError> {
    let answer = client.describe_instances().instance_ids(id).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.code().is_some_and(|code| code.starts_with("InvalidInstanceID.")) => {
            return Ok(None);
        }
        Err(error) => return Err(fail("ec2:DescribeInstances", &error)),
    };
    let mut found = answer.reservations().iter().flat_map(Reservation::instances);
    Ok(found.next().map(|instance| PreparedInstance {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        state: instance
            .state()
            .and_then(|state| state.name())
            .map_or("unknown", |name| name.as_str())
            .to_owned(),
        transition: instance.state_transition_reason().unwrap_or_default().to_owned(),
        image_id: AmiId::new(instance.image_id().unwrap_or_default()),
    }))
}
