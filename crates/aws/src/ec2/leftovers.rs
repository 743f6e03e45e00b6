//! Looks for what a build left at EC2: what its log claims, what stands under its key and its group,
//! its image by name, and the snapshots of that. What of it is the build's own is decided by
//! `reconciler_model::build_resources`.
//!
//! Today's Packer loses an instance whose id stands in no log when it is ended in the middle of a
//! launch (docs/packer.md): it is found by its key.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{self, Filter};
use jiff::Timestamp;

use crate::ec2::convert;
use crate::ec2::describe::{Extent, of_owner};
use crate::ec2::error::fail;
use reconciler_core::name_pattern;
use reconciler_model::build_resources::{
    Instance, KeyPair, ResourceSearch, Snapshot, VisibleResources, is_packers, made_for,
};
use reconciler_model::images::CatalogError;

pub(super) async fn find(
    client: &Client,
    search: &ResourceSearch<'_>,
) -> Result<VisibleResources, CatalogError> {
    let claimed = &search.claimed;
    let keys = packers(&claimed.key_pairs);
    let groups = packers(&claimed.security_groups);
    let mut visible = VisibleResources {
        key_pairs: key_pairs(client, &keys).await?,
        security_groups: security_groups(client, &groups).await?,
        ..VisibleResources::default()
    };
    let by = [
        ("instance-id", &claimed.instances),
        ("key-name", &keys),
        ("instance.group-name", &groups),
    ];
    // Seeded bug: instances-only-by-id
    for (filter, values) in by {
        visible.instances.extend(instances(client, filter, values).await?);
    }
    let named = search.image_name.iter().map(|name| name_pattern::literal(name.as_str()));
    let named: Vec<_> = named.collect();
    look_for_images(client, &mut visible, "name", &named).await?;
    let images = search.unwanted_images().iter().chain(claimed.all_images());
    let ids: Vec<String> = images.map(ToString::to_string).collect();
    look_for_images(client, &mut visible, "image-id", &ids).await?;
    look_for_snapshots(client, &mut visible, search).await?;
    Ok(visible)
}

fn packers(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.retain(|name| is_packers(name));
    names
}

fn filter(name: &str, values: &[String]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.to_vec())).build()
}

async fn key_pairs(client: &Client, names: &[String]) -> Result<Vec<KeyPair>, CatalogError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let answer = client
        .describe_key_pairs()
        .filters(filter("key-name", names))
        .send()
        .await
        .map_err(|error| fail("ec2:DescribeKeyPairs", &error))?;
    let keys = answer.key_pairs.unwrap_or_default().into_iter();
    Ok(keys
        .map(|key| KeyPair {
            name: key.key_name.unwrap_or_default(),
            created: key.create_time.as_ref().and_then(time),
        })
        .collect())
}

async fn security_groups(client: &Client, names: &[String]) -> Result<Vec<String>, CatalogError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let answer = client
        .describe_security_groups()
        .filters(filter("group-name", names))
        .send()
        .await
        .map_err(|error| fail("ec2:DescribeSecurityGroups", &error))?;
    let groups = answer.security_groups.unwrap_or_default().into_iter();
    Ok(groups.filter_map(|group| group.group_name).collect())
}

async fn instances(
    client: &Client,
    by: &str,
    values: &[String],
) -> Result<Vec<Instance>, CatalogError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let alive = ["pending", "running", "stopping", "stopped"].map(str::to_owned);
    let mut pages = client
        .describe_instances()
        .filters(filter(by, values))
        .filters(filter("instance-state-name", &alive))
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while let Some(reservation) = pages.next().await {
        let reservation = reservation.map_err(|error| fail("ec2:DescribeInstances", &error))?;
        found.extend(reservation.instances().iter().map(instance));
    }
    Ok(found)
}

fn instance(instance: &types::Instance) -> Instance {
    let groups = instance.security_groups().iter();
    Instance {
        id: instance.instance_id.clone().unwrap_or_default(),
        key: instance.key_name.clone(),
        groups: groups.filter_map(|group| group.group_name.clone()).collect(),
        launched: instance.launch_time.as_ref().and_then(time),
    }
}

/// Adds our own images that are not in sight yet.
async fn look_for_images(
    client: &Client,
    visible: &mut VisibleResources,
    by: &str,
    values: &[String],
) -> Result<(), CatalogError> {
    if values.is_empty() {
        return Ok(());
    }
    let found = of_owner(client, "self", vec![filter(by, values)], Extent::All).await?;
    visible.add_images(found.iter().map(|image| convert::image(image, false)));
    Ok(())
}

/// Snapshots by EC2's own description of them: an image that is still pending, or gone already,
/// does not list its own.
async fn look_for_snapshots(
    client: &Client,
    visible: &mut VisibleResources,
    search: &ResourceSearch<'_>,
) -> Result<(), CatalogError> {
    let instances = search.claimed.instances.iter();
    let by_instance = instances.map(|id| format!("Created by CreateImage({id}) for *"));
    let images = visible.images.iter().map(|image| &image.id);
    let by_image = images
        .chain(search.unwanted_images())
        .map(|id| format!("Created by CreateImage(*) for {id}*"));
    let descriptions: Vec<String> = by_instance.chain(by_image).collect();
    for (by, values) in [("description", &descriptions), ("snapshot-id", &search.claimed.snapshots)]
    {
        if values.is_empty() {
            continue;
        }
        let mut pages = client
            .describe_snapshots()
            .owner_ids("self")
            .filters(filter(by, values))
            .into_paginator()
            .items()
            .send();
        while let Some(snapshot) = pages.next().await {
            let snapshot = snapshot.map_err(|error| fail("ec2:DescribeSnapshots", &error))?;
            visible.snapshots.push(Snapshot {
                tagged: !snapshot.tags().is_empty(),
                started: snapshot.start_time.as_ref().and_then(time),
                id: snapshot.snapshot_id.unwrap_or_default(),
                description: snapshot.description.unwrap_or_default(),
            });
        }
    }
    let owners: Vec<String> = visible
        .snapshots
        .iter()
        .filter_map(|snapshot| made_for(&snapshot.description))
        .map(str::to_owned)
        .collect();
    look_for_images(client, visible, "image-id", &owners).await
}

fn time(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}
