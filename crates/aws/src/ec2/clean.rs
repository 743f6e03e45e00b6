//! Removes one thing that a build left. What is gone already is fine.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::SdkError;
use aws_sdk_ec2::types::Filter;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::ec2::error::fail;
use reconciler_model::build_resources::{OwnedResource, ResourceKind};
use reconciler_model::images::CatalogError;

/// Waits for what another thing still holds: a group by its instances, a snapshot by its image.
/// Some five minutes for a group, which EC2 takes to terminate an instance; less for a snapshot,
/// which another image may hold for good.
const GROUP_TRIES: u32 = 25;
const SNAPSHOT_TRIES: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Whether it was there.
pub(super) async fn remove(
    client: &Client,
    resource: &OwnedResource,
) -> Result<bool, CatalogError> {
    let id = resource.id();
    match resource.kind() {
        ResourceKind::Instance => {
            let answer = client.terminate_instances().instance_ids(id).send().await;
            was_there("ec2:TerminateInstances", answer)
        }
        ResourceKind::KeyPair => {
            let answer = client.delete_key_pair().key_name(id).send().await;
            was_there("ec2:DeleteKeyPair", answer)
        }
        ResourceKind::SecurityGroup => delete_groups(client, id).await,
        ResourceKind::Image => {
            let answer = client.deregister_image().image_id(id).send().await;
            was_there("ec2:DeregisterImage", answer)
        }
        ResourceKind::Snapshot => delete_snapshot(client, id).await,
    }
}

fn was_there<T, E>(
    action: &str,
    answer: Result<T, SdkError<E, HttpResponse>>,
) -> Result<bool, CatalogError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code().is_some_and(is_gone) => Ok(false),
        Err(error) => Err(fail(action, &error)),
    }
}

/// `InvalidInstanceID.NotFound`, `InvalidAMIID.Unavailable` and the like.
pub(super) fn is_gone(code: &str) -> bool {
    code.starts_with("Invalid") && (code.ends_with(".NotFound") || code.ends_with(".Unavailable"))
}

async fn group_ids(client: &Client, name: &str) -> Result<Vec<String>, CatalogError> {
    let named = Filter::builder().name("group-name").values(name).build();
    let answer = client
        .describe_security_groups()
        .filters(named)
        .send()
        .await
        .map_err(|error| fail("ec2:DescribeSecurityGroups", &error))?;
    let groups = answer.security_groups.unwrap_or_default().into_iter();
    Ok(groups.filter_map(|group| group.group_id).collect())
}

/// All groups of this name: there may be one in each network.
async fn delete_groups(client: &Client, name: &str) -> Result<bool, CatalogError> {
    let (mut was_there, mut failure) = (false, None);
    for id in group_ids(client, name).await? {
        match delete_group(client, &id).await {
            Ok(deleted) => was_there |= deleted,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(was_there), Err)
}

async fn delete_group(client: &Client, id: &str) -> Result<bool, CatalogError> {
    let mut waits = waits(GROUP_TRIES);
    loop {
        let answer = client.delete_security_group().group_id(id).send().await;
        let held = |error: &SdkError<_, _>| error.code() == Some("DependencyViolation");
        match waits.next().flatten().filter(|_| answer.as_ref().is_err_and(held)) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return was_there("ec2:DeleteSecurityGroup", answer),
        }
    }
}

async fn delete_snapshot(client: &Client, id: &str) -> Result<bool, CatalogError> {
    for wait in waits(SNAPSHOT_TRIES) {
        let answer = client.delete_snapshot().snapshot_id(id).send().await;
        let held =
            answer.as_ref().is_err_and(|error| error.code() == Some("InvalidSnapshot.InUse"));
        match (held, wait) {
            (false, _) => return was_there("ec2:DeleteSnapshot", answer),
            (true, Some(wait)) => tokio::time::sleep(wait).await,
            (true, None) => break,
        }
    }
    // Another image stands on it: it is not ours alone.
    Ok(false)
}

/// The waits after each try, none after the last.
fn waits(tries: u32) -> impl Iterator<Item = Option<Duration>> {
    (1..=tries).map(move |at| {
        let wait = Duration::from_millis(500) * 2_u32.pow(at.min(8));
        (at < tries).then(|| wait.min(LONGEST_WAIT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::Timestamp;

    use crate::ec2::Ec2Catalog;
    use crate::ec2::scripted::{Answer, Call, Ec2};
    use reconciler_model::build_resources::{
        ClaimedResources, Instance, KeyPair, OwnedResources, RemovableImages, ResourceSearch,
        VisibleResources,
    };
    use reconciler_model::ids::{AmiId, AmiName, BuildId};
    use reconciler_model::images::{Image, ImageState, ImageWriter as _};

    const KEY: &str = "packer_6743a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f";

    fn owned(claimed: ClaimedResources, visible: &VisibleResources) -> OwnedResources {
        let search = ResourceSearch {
            build: &BuildId::new("b"),
            image_name: Some(&AmiName::new("n")),
            claimed,
            images: RemovableImages::ButRecorded { unwanted: vec![], recorded: BTreeSet::new() },
        };
        search.owned(visible)
    }

    /// What a build left, and a key and a group of a person's that its log names too.
    fn everything() -> OwnedResources {
        let claimed = ClaimedResources {
            instances: vec!["i-1".into()],
            key_pairs: vec![KEY.into(), "ops".into()],
            security_groups: vec![KEY.into(), "default".into()],
            ..ClaimedResources::default()
        };
        let key_pairs = claimed.key_pairs.iter();
        let image = Image {
            id: AmiId::new("ami-1"),
            name: AmiName::new("n"),
            state: ImageState::Pending,
            owner_id: "1".into(),
            created_at: Timestamp::UNIX_EPOCH,
            tags: BTreeMap::new(),
            snapshots: vec!["snap-1".into()],
            details: String::new(),
        };
        let visible = VisibleResources {
            instances: vec![Instance { id: "i-1".into(), ..Instance::default() }],
            key_pairs: key_pairs
                .map(|name| KeyPair { name: name.clone(), created: None })
                .collect(),
            security_groups: claimed.security_groups.clone(),
            images: vec![image],
            snapshots: vec![],
        };
        owned(claimed, &visible)
    }

    async fn remove_all(ec2: &Ec2, owned: &OwnedResources) -> Result<Vec<String>, CatalogError> {
        Ec2Catalog::new(ec2.client()).remove_all(owned).await
    }

    fn group() -> Answer {
        Answer::ok("<securityGroupInfo><item><groupId>sg-1</groupId></item></securityGroupInfo>")
    }

    #[tokio::test]
    async fn everything_goes_in_the_order_that_ec2_needs_and_nothing_of_a_persons() {
        let ec2 = Ec2::answering(|call| match call.action() {
            "DescribeSecurityGroups" => group(),
            _ => Answer::ok("<return>true</return>"),
        });
        let gone = remove_all(&ec2, &everything()).await.unwrap();
        assert_eq!(gone, ["i-1", KEY, KEY, "ami-1", "snap-1"]);
        let calls = ec2.calls();
        let actions: Vec<_> = calls.iter().map(Call::action).collect();
        assert_eq!(
            actions,
            [
                "TerminateInstances",
                "DeleteKeyPair",
                "DescribeSecurityGroups",
                "DeleteSecurityGroup",
                "DeregisterImage",
                "DeleteSnapshot"
            ]
        );
    }

    #[tokio::test]
    async fn one_that_cannot_be_removed_keeps_no_other_and_is_told() {
        let ec2 = Ec2::answering(|call| match call.action() {
            "TerminateInstances" => Answer::error("UnauthorizedOperation", "no"),
            "DescribeSecurityGroups" => group(),
            "DeregisterImage" => Answer::error("InvalidAMIID.Unavailable", "gone"),
            _ => Answer::ok(""),
        });
        let error = remove_all(&ec2, &everything()).await.unwrap_err();
        assert!(error.to_string().contains("ec2:TerminateInstances"), "{error}");
        assert!(ec2.calls().iter().any(|call| call.action() == "DeleteSnapshot"));
    }

    #[tokio::test]
    async fn a_group_is_deleted_when_its_instance_is_gone() {
        let tries = std::sync::atomic::AtomicUsize::new(0);
        let ec2 = Ec2::answering(move |call| match call.action() {
            "DescribeSecurityGroups" => group(),
            "DeleteSecurityGroup"
                if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 =>
            {
                Answer::error("DependencyViolation", "has a dependent object")
            }
            _ => Answer::ok(""),
        });
        let claimed =
            ClaimedResources { security_groups: vec![KEY.into()], ..ClaimedResources::default() };
        let visible =
            VisibleResources { security_groups: vec![KEY.into()], ..VisibleResources::default() };
        let only_group = owned(claimed, &visible);
        assert_eq!(remove_all(&ec2, &only_group).await.unwrap(), [KEY]);
    }

    #[test]
    fn a_group_is_waited_for_some_five_minutes() {
        let total: Duration = waits(GROUP_TRIES).flatten().sum();
        assert!((290..=330).contains(&total.as_secs()), "{total:?}");
        assert!(waits(SNAPSHOT_TRIES).flatten().sum::<Duration>() < Duration::from_secs(10));
    }
}
