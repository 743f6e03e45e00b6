//! Removes leftovers in the order that EC2 needs: instances, key pairs, groups, images, snapshots.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use super::fail;
use crate::catalog::{CatalogError, Leftovers};

/// A group can be deleted once its instances are gone, which takes EC2 up to some minutes.
const GROUP_TRIES: u32 = 40;

pub(super) async fn remove(
    client: &Client,
    leftovers: &Leftovers,
) -> Result<Vec<String>, CatalogError> {
    let mut gone = Vec::new();
    for id in &leftovers.instances {
        match client.terminate_instances().instance_ids(id).send().await {
            Ok(_) => gone.push(id.clone()),
            Err(error) if error.code() == Some("InvalidInstanceID.NotFound") => {}
            Err(error) => return Err(fail("ec2:TerminateInstances", &error)),
        }
    }
    for name in &leftovers.key_pairs {
        match client.describe_key_pairs().key_names(name).send().await {
            Ok(_) => {
                client
                    .delete_key_pair()
                    .key_name(name)
                    .send()
                    .await
                    .map_err(|error| fail("ec2:DeleteKeyPair", &error))?;
                gone.push(name.clone());
            }
            Err(error) if error.code() == Some("InvalidKeyPair.NotFound") => {}
            Err(error) => return Err(fail("ec2:DescribeKeyPairs", &error)),
        }
    }
    for name in &leftovers.security_groups {
        gone.extend(remove_groups(client, name).await?);
    }
    for id in &leftovers.images {
        match client.deregister_image().image_id(id.as_str()).send().await {
            Ok(_) => gone.push(id.to_string()),
            Err(error)
                if error
                    .code()
                    .is_some_and(|code| code.starts_with("InvalidAMIID.")) => {}
            Err(error) => return Err(fail("ec2:DeregisterImage", &error)),
        }
    }
    for id in &leftovers.snapshots {
        match client.delete_snapshot().snapshot_id(id).send().await {
            Ok(_) => gone.push(id.clone()),
            Err(error)
                if matches!(
                    error.code(),
                    Some("InvalidSnapshot.NotFound" | "InvalidSnapshot.InUse")
                ) => {}
            Err(error) => return Err(fail("ec2:DeleteSnapshot", &error)),
        }
    }
    Ok(gone)
}

async fn remove_groups(client: &Client, name: &str) -> Result<Vec<String>, CatalogError> {
    let filter = aws_sdk_ec2::types::Filter::builder()
        .name("group-name")
        .values(name)
        .build();
    let answer = client
        .describe_security_groups()
        .filters(filter)
        .send()
        .await
        .map_err(|error| fail("ec2:DescribeSecurityGroups", &error))?;
    let mut gone = Vec::new();
    for id in answer
        .security_groups
        .unwrap_or_default()
        .iter()
        .filter_map(|group| group.group_id.clone())
    {
        let mut tries = 0;
        loop {
            match client.delete_security_group().group_id(&id).send().await {
                Ok(_) => break gone.push(name.to_owned()),
                Err(error) if error.code() == Some("InvalidGroup.NotFound") => break,
                Err(error)
                    if error.code() == Some("DependencyViolation") && tries < GROUP_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                Err(error) => return Err(fail("ec2:DeleteSecurityGroup", &error)),
            }
        }
    }
    Ok(gone)
}
