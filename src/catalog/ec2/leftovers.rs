//! What a build left at EC2: what its log told, completed by a look at what stands under its key and its group.
//!
//! Key pair and security group names of Packer (`packer_` and a UUID) belong to one run, so whatever stands under them is that
//! run's. An image is this build's only under its unique name, and left over only if it was never finished.

use aws_sdk_ec2::types::Filter;

use super::{Ec2Catalog, fail};
use crate::catalog::{CatalogError, ImageCatalog as _, ImageState, Leftovers};
use crate::ids::AmiName;

pub(super) async fn find(
    catalog: &Ec2Catalog,
    name: &AmiName,
    told: &Leftovers,
) -> Result<Leftovers, CatalogError> {
    let mut found = Leftovers {
        key_pairs: own_names(&told.key_pairs),
        security_groups: own_names(&told.security_groups),
        ..Leftovers::default()
    };
    let filters = [
        ("instance-id", &told.instances),
        ("key-name", &found.key_pairs),
        ("instance.group-name", &found.security_groups),
    ];
    for (filter, values) in filters {
        if !values.is_empty() {
            found
                .instances
                .extend(instances(catalog, filter, values).await?);
        }
    }
    found.instances.sort();
    found.instances.dedup();
    if let Some(image) = catalog.own_image_named(name).await?
        && !matches!(image.state, ImageState::Available)
    {
        found.images.push(image.id.clone());
        found.snapshots.extend(image.snapshots);
    }
    Ok(found)
}

/// Only names that Packer gives: nobody's own key or group is ever taken for a leftover.
fn own_names(names: &[String]) -> Vec<String> {
    names
        .iter()
        .filter(|name| {
            name.strip_prefix("packer_")
                .is_some_and(|rest| rest.len() >= 32)
        })
        .cloned()
        .collect()
}

async fn instances(
    catalog: &Ec2Catalog,
    filter: &str,
    values: &[String],
) -> Result<Vec<String>, CatalogError> {
    let by = Filter::builder()
        .name(filter)
        .set_values(Some(values.to_vec()))
        .build();
    let alive = ["pending", "running", "stopping", "stopped", "shutting-down"]
        .map(str::to_owned)
        .to_vec();
    let alive = Filter::builder()
        .name("instance-state-name")
        .set_values(Some(alive))
        .build();
    let answer = catalog
        .client
        .describe_instances()
        .filters(by)
        .filters(alive)
        .send()
        .await
        .map_err(|error| fail("ec2:DescribeInstances", &error))?;
    let all = answer.reservations.unwrap_or_default();
    Ok(all
        .iter()
        .flat_map(aws_sdk_ec2::types::Reservation::instances)
        .filter_map(|i| i.instance_id.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_key_is_never_taken_for_a_leftover() {
        let names = [
            "ops",
            "packer_",
            "packer_laptop",
            "packer_6523a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f",
        ]
        .map(str::to_owned);
        assert_eq!(
            own_names(&names),
            ["packer_6523a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f"]
        );
    }
}
