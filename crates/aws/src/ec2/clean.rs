//! Removes leftovers in the order that EC2 needs: instances, key pairs, groups, images, snapshots.
//!
//! One that cannot be removed does not keep the others; the first failure is told at the end, and
//! the next look finds what is still there. What is gone already is fine.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::SdkError;
use aws_sdk_ec2::types::Filter;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::ec2::belongs::is_packers;
use crate::ec2::error::fail;
use reconciler_model::images::{CatalogError, Leftovers};

/// Waits for what another thing still holds: a group by its instances, a snapshot by its image.
/// Some five minutes for a group, which EC2 takes to terminate an instance; less for a snapshot,
/// which another image may hold for good.
const GROUP_TRIES: u32 = 25;
const SNAPSHOT_TRIES: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(super) async fn remove(
    client: &Client,
    leftovers: &Leftovers,
) -> Result<Vec<String>, CatalogError> {
    let mut done = Done::default();
    for id in &leftovers.instances {
        let answer = client.terminate_instances().instance_ids(id).send().await;
        done.note(id, "ec2:TerminateInstances", answer);
    }
    for name in leftovers.key_pairs.iter().filter(|name| is_packers(name)) {
        let answer = client.delete_key_pair().key_name(name).send().await;
        done.note(name, "ec2:DeleteKeyPair", answer);
    }
    let groups = leftovers.security_groups.iter();
    for name in groups.filter(|name| is_packers(name)) {
        match group_ids(client, name).await {
            Ok(ids) => {
                for id in ids {
                    delete_group(client, &mut done, name, &id).await;
                }
            }
            Err(error) => done.fail(error),
        }
    }
    for id in &leftovers.images {
        let answer = client.deregister_image().image_id(id.as_str()).send().await;
        done.note(id.as_str(), "ec2:DeregisterImage", answer);
    }
    for id in &leftovers.snapshots {
        delete_snapshot(client, &mut done, id).await;
    }
    done.failure.map_or(Ok(done.gone), Err)
}

#[derive(Default)]
struct Done {
    gone: Vec<String>,
    failure: Option<CatalogError>,
}

impl Done {
    fn note<T, E>(&mut self, id: &str, action: &str, answer: Result<T, SdkError<E, HttpResponse>>)
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match answer {
            Ok(_) => self.gone.push(id.to_owned()),
            Err(error) if error.code().is_some_and(is_gone) => {}
            Err(error) => self.fail(fail(action, &error)),
        }
    }

    fn fail(&mut self, error: CatalogError) {
        self.failure.get_or_insert(error);
    }
}

/// `InvalidInstanceID.NotFound`, `InvalidAMIID.Unavailable` and the like.
fn is_gone(code: &str) -> bool {
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

async fn delete_group(client: &Client, done: &mut Done, name: &str, id: &str) {
    for wait in waits(GROUP_TRIES) {
        let answer = client.delete_security_group().group_id(id).send().await;
        let held = |error: &SdkError<_, _>| error.code() == Some("DependencyViolation");
        if let (Some(wait), true) = (wait, answer.as_ref().is_err_and(held)) {
            tokio::time::sleep(wait).await;
        } else {
            return done.note(name, "ec2:DeleteSecurityGroup", answer);
        }
    }
}

async fn delete_snapshot(client: &Client, done: &mut Done, id: &str) {
    for wait in waits(SNAPSHOT_TRIES) {
        let answer = client.delete_snapshot().snapshot_id(id).send().await;
        let held =
            answer.as_ref().is_err_and(|error| error.code() == Some("InvalidSnapshot.InUse"));
        match (held, wait) {
            (false, _) => return done.note(id, "ec2:DeleteSnapshot", answer),
            (true, Some(wait)) => tokio::time::sleep(wait).await,
            // Another image stands on it: it is not ours alone.
            (true, None) => return,
        }
    }
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
    use crate::ec2::scripted::{Answer, Call, Ec2};
    use reconciler_model::ids::AmiId;

    const KEY: &str = "packer_6743a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f";

    fn everything() -> Leftovers {
        Leftovers {
            instances: vec!["i-1".into()],
            key_pairs: vec![KEY.into(), "ops".into()],
            security_groups: vec![KEY.into(), "default".into()],
            images: vec![AmiId::new("ami-1")],
            told_images: vec![],
            snapshots: vec!["snap-1".into()],
        }
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
        let gone = remove(&ec2.client(), &everything()).await.unwrap();
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
        let error = remove(&ec2.client(), &everything()).await.unwrap_err();
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
        let only_group = Leftovers { security_groups: vec![KEY.into()], ..Leftovers::default() };
        assert_eq!(remove(&ec2.client(), &only_group).await.unwrap(), [KEY]);
    }

    #[test]
    fn a_group_is_waited_for_some_five_minutes() {
        let total: Duration = waits(GROUP_TRIES).flatten().sum();
        assert!((290..=330).contains(&total.as_secs()), "{total:?}");
        assert!(waits(SNAPSHOT_TRIES).flatten().sum::<Duration>() < Duration::from_secs(10));
    }
}
