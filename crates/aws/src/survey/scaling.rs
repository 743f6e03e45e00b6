//! Launch configurations and auto-scaling groups. The launch templates of a group are looked at
//! where all launch templates are; here are the images that its overrides name.

use std::collections::BTreeSet;

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{AutoScalingGroup, LaunchTemplate};

use super::uses::{Looked, note};
use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::uses::{ImageUser, Sightings, UserKind};

/// What launch configurations name.
pub(super) async fn configurations(scaling: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let mut pages = scaling.describe_launch_configurations().into_paginator().items().send();
    while let Some(found) = pages.next().await {
        let found =
            found.map_err(|error| fail("autoscaling:DescribeLaunchConfigurations", &error))?;
        let name = found.launch_configuration_name.unwrap_or_default();
        let image = found.image_id.unwrap_or_default();
        let user = ImageUser::new(UserKind::LaunchConfiguration, name.as_str());
        note(&mut seen, images, user, &format!("launch configuration {name}"), &image);
    }
    Ok(seen)
}

/// What overrides of auto-scaling groups name.
pub(super) async fn groups(scaling: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let mut pages = scaling.describe_auto_scaling_groups().into_paginator().items().send();
    while let Some(group) = pages.next().await {
        let group = group.map_err(|error| fail("autoscaling:DescribeAutoScalingGroups", &error))?;
        let name = group.auto_scaling_group_name.as_deref().unwrap_or_default();
        for image in overrides(&group) {
            let user = ImageUser::new(UserKind::AutoScalingGroup, name);
            note(&mut seen, images, user, &format!("auto-scaling group {name}"), image);
        }
    }
    Ok(seen)
}

fn overrides(group: &AutoScalingGroup) -> impl Iterator<Item = &str> {
    let template = group.mixed_instances_policy().and_then(|policy| policy.launch_template());
    let overrides = template.map(LaunchTemplate::overrides).unwrap_or_default();
    overrides.iter().filter_map(|one| one.image_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Scaling};

    #[tokio::test]
    async fn configurations_and_overrides_name_images_and_a_parameter_may_mean_any() {
        let group = |name: &str, image: &str| {
            format!(
                "<member><AutoScalingGroupName>{name}</AutoScalingGroupName><MixedInstancesPolicy><LaunchTemplate><Overrides>\
                 <member><InstanceType>t3.small</InstanceType></member><member><ImageId>{image}</ImageId></member>\
                 </Overrides></LaunchTemplate></MixedInstancesPolicy></member>"
            )
        };
        let groups_xml = [group("web", "ami-1"), group("db", "resolve:ssm:/golden")].concat();
        let scaling = Scaling::answering(move |call| match call.action() {
            "DescribeAutoScalingGroups" => Answer::ok(&format!(
                "<DescribeAutoScalingGroupsResult><AutoScalingGroups>{groups_xml}</AutoScalingGroups></DescribeAutoScalingGroupsResult>"
            )),
            _ => Answer::ok(
                "<DescribeLaunchConfigurationsResult><LaunchConfigurations><member><LaunchConfigurationName>old</LaunchConfigurationName>\
                 <ImageId>ami-1</ImageId></member></LaunchConfigurations></DescribeLaunchConfigurationsResult>",
            ),
        });
        let images = BTreeSet::from([AmiId::new("ami-1")]);
        let client = scaling.client();
        let named = |seen: &Sightings| -> Vec<String> {
            let users = seen.users.values().flatten();
            users.map(|user| user.name.clone()).collect()
        };
        let seen = groups(&client, &images).await.unwrap();
        assert_eq!(named(&seen), ["web"]);
        assert!(seen.unread[0].why.starts_with("auto-scaling group db names resolve:ssm:/golden"));
        assert_eq!(named(&configurations(&client, &images).await.unwrap()), ["old"]);
    }
}
