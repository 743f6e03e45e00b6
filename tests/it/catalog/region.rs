//! An account and region of the emulator, with images, instances and keys as a build or a person
//! makes them.
//!
//! Names are made unique by the test that asks for them: all tests share one emulator.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, Filter, InstanceType};
use reconciler_aws::ec2::Ec2Catalog;
use reconciler_aws::session::{Session, SessionSettings, StaticKeys};
use reconciler_model::build_resources::{
    ClaimedResources, OwnedResources, RemovableImages, ResourceSearch,
};
use reconciler_model::ids::{AmiId, AmiName, BuildId};
use reconciler_model::images::ImageReader as _;

use crate::harness::emulator::Emulator;

pub(crate) const REGION: &str = "us-east-1";

/// A way to the emulator.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) catalog: Ec2Catalog,
}

impl Place {
    pub(crate) async fn open(emulator: &Emulator) -> Self {
        let session = Session::open(&settings(emulator)).await.unwrap();
        Self { client: session.ec2(), catalog: Ec2Catalog::new(session.ec2()) }
    }

    /// An image without an instance: a published base image.
    pub(crate) async fn published(&self, name: &str) -> AmiId {
        let made = self.client.register_image().name(name).send().await.unwrap();
        AmiId::new(made.image_id.unwrap())
    }

    /// An instance with a key and a group, as Packer launches one.
    pub(crate) async fn instance(&self, key: &str, group: Option<&str>) -> String {
        let base = self.published(&unique("base")).await;
        let client = &self.client;
        client.create_key_pair().key_name(key).send().await.unwrap();
        let mut launch = client
            .run_instances()
            .image_id(base.as_str())
            .instance_type(InstanceType::T3Micro)
            .key_name(key)
            .min_count(1)
            .max_count(1);
        if let Some(group) = group {
            let made = client
                .create_security_group()
                .group_name(group)
                .description("Temporary group for Packer")
                .send()
                .await
                .unwrap();
            launch = launch.security_group_ids(made.group_id.unwrap());
        }
        let launched = launch.send().await.unwrap();
        launched.instances()[0].instance_id.clone().unwrap()
    }

    /// An image of an instance, with its snapshot.
    pub(crate) async fn image_of(&self, instance: &str, name: &str) -> AmiId {
        let request = self.client.create_image().instance_id(instance).name(name);
        AmiId::new(request.send().await.unwrap().image_id.unwrap())
    }

    /// The snapshots of an image.
    pub(crate) async fn snapshots_of(&self, image: &AmiId) -> Vec<String> {
        self.catalog.image(image).await.unwrap().unwrap().snapshots
    }

    /// Another image of a snapshot.
    pub(crate) async fn registered_of(&self, snapshot: &str, name: &str) -> AmiId {
        let ebs = EbsBlockDevice::builder().snapshot_id(snapshot).build();
        let root = BlockDeviceMapping::builder().device_name("/dev/sda1").ebs(ebs).build();
        let request = self.client.register_image().name(name).root_device_name("/dev/sda1");
        let made = request.block_device_mappings(root).send().await.unwrap();
        AmiId::new(made.image_id.unwrap())
    }

    /// What of what EC2 shows is a build's own, with those of its finished images that nobody wants.
    pub(crate) async fn owned(
        &self,
        build: &BuildId,
        name: &AmiName,
        claimed: &ClaimedResources,
        unwanted: &[AmiId],
    ) -> OwnedResources {
        let search = ResourceSearch {
            build,
            image_name: Some(name),
            claimed: claimed.clone(),
            images: RemovableImages::ButRecorded {
                unwanted: unwanted.to_vec(),
                recorded: BTreeSet::new(),
            },
        };
        search.owned(&self.catalog.visible_resources(&search).await.unwrap())
    }

    /// Key names of instances that are alive.
    pub(crate) async fn is_alive(&self, instance: &str) -> bool {
        let answer = self.client.describe_instances().instance_ids(instance).send().await.unwrap();
        let state = answer.reservations()[0].instances()[0].state.clone().unwrap();
        !matches!(state.name.unwrap().as_str(), "terminated" | "shutting-down")
    }

    pub(crate) async fn has_key(&self, name: &str) -> bool {
        let named = Filter::builder().name("key-name").values(name).build();
        let answer = self.client.describe_key_pairs().filters(named).send().await;
        !answer.unwrap().key_pairs().is_empty()
    }

    pub(crate) async fn has_group(&self, name: &str) -> bool {
        let named = Filter::builder().name("group-name").values(name).build();
        let answer = self.client.describe_security_groups().filters(named).send().await;
        !answer.unwrap().security_groups().is_empty()
    }

    /// The tags of a snapshot; none if it is gone.
    pub(crate) async fn snapshot_tags(&self, id: &str) -> Option<Vec<(String, String)>> {
        let answer = self.client.describe_snapshots().snapshot_ids(id).send().await;
        let snapshots = answer.ok()?.snapshots.unwrap_or_default();
        let tags = snapshots.first()?.tags().iter();
        Some(tags.map(|tag| (tag.key.clone().unwrap(), tag.value.clone().unwrap())).collect())
    }
}

pub(crate) fn settings(emulator: &Emulator) -> SessionSettings {
    SessionSettings {
        region: Some(REGION.to_owned()),
        endpoint_url: Some(emulator.endpoint()),
        keys: Some(StaticKeys {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        }),
        ..SessionSettings::default()
    }
}

/// A name that no other test has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}/{}", uuid::Uuid::now_v7())
}

/// A key or group name as Packer gives it.
pub(crate) fn packers() -> String {
    format!("packer_{}", uuid::Uuid::now_v7())
}

pub(crate) fn name(text: &str) -> AmiName {
    AmiName::new(text)
}
