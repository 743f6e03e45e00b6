//! What refers to images at an emulated EC2, and images that are taken away for a person.

use aws_sdk_ec2::types::{
    DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest, FleetType,
    InstanceType, LaunchPermission, LaunchPermissionModifications, RequestLaunchTemplateData,
    RequestSpotLaunchSpecification, TargetCapacitySpecificationRequest,
};
use reconciler_aws::session::Session;
use reconciler_aws::survey::AwsSurvey;
use reconciler_core::images::in_use::{InUse, in_use};
use reconciler_model::ids::{AmiId, Region};
use reconciler_model::images::{
    AssociatedSnapshots, CatalogError, Deregistered, ImageRemover as _, SnapshotResult,
};
use reconciler_model::survey::ImageSurvey as _;
use reconciler_model::uses::Ownership;
use serde_json::json;

use super::region::{Place, REGION, packers, settings, unique};
use crate::harness::emulator::{Emulator, python};

/// A survey of the emulator beside its clients.
struct Surveyed {
    place: Place,
    session: Session,
    survey: AwsSurvey,
}

impl Surveyed {
    async fn open(emulator: &Emulator) -> Self {
        let place = Place::open(emulator).await;
        let session = Session::open(&settings(emulator)).await.unwrap();
        let region = Region::new(REGION);
        let survey = AwsSurvey::new(&session.ec2(), &session.autoscaling_in(&region));
        Self { place, session, survey }
    }

    async fn image(&self) -> AmiId {
        self.place.published(&unique("used")).await
    }

    /// Why an image counts as in use, in words.
    async fn words(&self, image: &AmiId) -> Vec<String> {
        let uses = self.survey.uses(std::slice::from_ref(image)).await;
        in_use(&uses, image).iter().map(InUse::words).collect()
    }

    async fn template(&self, image: &str) -> String {
        let data = RequestLaunchTemplateData::builder();
        let data = data.image_id(image).instance_type(InstanceType::T3Small).build();
        let name = uuid::Uuid::now_v7().to_string();
        let client = &self.place.client;
        let made = client.create_launch_template().launch_template_name(name);
        let made = made.launch_template_data(data).send().await.unwrap();
        made.launch_template.unwrap().launch_template_id.unwrap()
    }

    async fn another_version(&self, template: &str, image: &AmiId) {
        let data = RequestLaunchTemplateData::builder().image_id(image.as_str()).build();
        let client = &self.place.client;
        let made = client.create_launch_template_version().launch_template_id(template);
        made.launch_template_data(data).send().await.unwrap();
    }
}

#[tokio::test]
async fn whatever_refers_to_an_image_is_told_and_another_image_is_not_in_use() {
    let emulator = Emulator::start();
    let at = Surveyed::open(&emulator).await;
    let (image, free) = (at.image().await, at.image().await);
    let client = &at.place.client;
    let started = client.run_instances().image_id(image.as_str()).min_count(1).max_count(1);
    let started = started.send().await.unwrap();
    let instance = started.instances()[0].instance_id.clone().unwrap();
    let template = at.template(image.as_str()).await;
    // The version that names the image is the oldest of more than ten.
    for _ in 0..11 {
        at.another_version(&template, &free).await;
    }
    let holder = at.image().await;
    let empty = at.template(holder.as_str()).await;
    let overrides = FleetLaunchTemplateOverridesRequest::builder()
        .instance_type(InstanceType::T3Small)
        .image_id(image.as_str())
        .build();
    let of = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_id(&empty)
        .version("1")
        .build();
    let config = FleetLaunchTemplateConfigRequest::builder()
        .launch_template_specification(of)
        .overrides(overrides)
        .build();
    let none = TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(0)
        .default_target_capacity_type(DefaultTargetCapacityType::OnDemand)
        .build();
    let fleet = client.create_fleet().r#type(FleetType::Maintain).launch_template_configs(config);
    let fleet = fleet.target_capacity_specification(none).send().await.unwrap().fleet_id.unwrap();
    let launch = RequestSpotLaunchSpecification::builder()
        .image_id(image.as_str())
        .instance_type(InstanceType::T3Small)
        .build();
    let request = client.request_spot_instances().instance_count(1).launch_specification(launch);
    let request = request.send().await.unwrap();
    let request = request.spot_instance_requests()[0].spot_instance_request_id.clone().unwrap();
    let spot = client.describe_spot_instance_requests().send().await.unwrap();
    let spot = spot.spot_instance_requests()[0].instance_id.clone().unwrap();
    let share = LaunchPermission::builder().user_id("111122223333").build();
    let share = LaunchPermissionModifications::builder().add(share).build();
    let shared = client.modify_image_attribute().image_id(image.as_str()).launch_permission(share);
    shared.send().await.unwrap();
    let scaling = at.session.autoscaling_in(&Region::new(REGION));
    let made = scaling.create_launch_configuration().launch_configuration_name("old");
    made.image_id(image.as_str()).instance_type("t3.micro").send().await.unwrap();
    group_with_override(&scaling, &empty, &image).await;

    let mut expected = vec![
        format!("instance {instance}"),
        format!("instance {spot}"),
        format!("launch template {template}"),
        "launch configuration old".to_owned(),
        "auto-scaling group web".to_owned(),
        format!("fleet {fleet}"),
        format!("Spot request {request}"),
        "shared with account 111122223333".to_owned(),
    ];
    let mut words = at.words(&image).await;
    words.sort();
    expected.sort();
    assert_eq!(words, expected);
    let other = at.image().await;
    assert_eq!(at.words(&other).await, [""; 0]);
    // A terminated instance uses nothing.
    client.terminate_instances().instance_ids(&instance).send().await.unwrap();
    assert!(!at.words(&image).await.contains(&format!("instance {instance}")));
}

async fn group_with_override(scaling: &aws_sdk_autoscaling::Client, template: &str, image: &AmiId) {
    use aws_sdk_autoscaling::types::{
        LaunchTemplate, LaunchTemplateOverrides, LaunchTemplateSpecification, MixedInstancesPolicy,
    };
    let of = LaunchTemplateSpecification::builder().launch_template_id(template).version("1");
    let overrides = LaunchTemplateOverrides::builder()
        .instance_type("t3.small")
        .image_id(image.as_str())
        .build();
    let launch = LaunchTemplate::builder()
        .launch_template_specification(of.build())
        .overrides(overrides)
        .build();
    scaling
        .create_auto_scaling_group()
        .auto_scaling_group_name("web")
        .min_size(0)
        .max_size(0)
        .availability_zones("us-east-1a")
        .mixed_instances_policy(MixedInstancesPolicy::builder().launch_template(launch).build())
        .send()
        .await
        .unwrap();
}

/// Puts a parameter that means an image; there is no client for it here.
fn put_parameter(emulator: &Emulator, name: &str, image: &AmiId) {
    let code = "import boto3, sys\nboto3.client('ssm', region_name='us-east-1', endpoint_url=sys.argv[1], aws_access_key_id='test', \
        aws_secret_access_key='test').put_parameter(Name=sys.argv[2], Value=sys.argv[3], Type='String', DataType='aws:ec2:image', Overwrite=True)";
    let put = std::process::Command::new(python())
        .args(["-c", code, &emulator.endpoint(), name, image.as_str()])
        .status()
        .unwrap();
    assert!(put.success());
}

#[tokio::test]
async fn a_launch_template_that_names_a_parameter_uses_the_image_that_it_means() {
    let emulator = Emulator::start();
    let at = Surveyed::open(&emulator).await;
    let (old, new) = (at.image().await, at.image().await);
    put_parameter(&emulator, "/golden/web", &old);
    put_parameter(&emulator, "/golden/web", &new);
    let pinned = at.template("resolve:ssm:/golden/web:1").await;
    let newest = at.template("resolve:ssm:/golden/web").await;
    let by = |template: &str, alias: &str| format!("launch template {template} ({alias})");
    assert_eq!(at.words(&old).await, [by(&pinned, "resolve:ssm:/golden/web:1")]);
    let words = at.words(&new).await;
    assert!(words.contains(&by(&newest, "resolve:ssm:/golden/web")), "{words:?}");
    assert!(words.contains(&"parameter /golden/web".to_owned()), "{words:?}");
    assert_eq!(words.len(), 2);
    // A template that names what is not there may mean any image.
    at.template("resolve:ssm:/nobody").await;
    let other = at.image().await;
    let words = at.words(&other).await;
    assert_eq!(words.len(), 1);
    assert!(words[0].contains("names resolve:ssm:/nobody"), "{words:?}");
}

#[tokio::test]
async fn who_may_not_look_knows_of_no_unused_image_and_is_told_what_is_missing() {
    let emulator = Emulator::start();
    let at = Surveyed::open(&emulator).await;
    let image = at.image().await;
    assert_eq!(at.words(&image).await, [""; 0]);
    let rules = json!([
        { "operation": "DescribeFleets", "kind": "denied" },
        { "operation": "DescribeLaunchConfigurations", "kind": "denied" },
        { "operation": "DescribeImageReferences", "kind": "denied" },
    ]);
    emulator.control_post("/_control/faults", &rules);
    let words = at.words(&image).await.join("\n");
    for permission in [
        "ec2:DescribeFleets",
        "autoscaling:DescribeLaunchConfigurations",
        "ec2:DescribeImageReferences",
    ] {
        assert!(words.contains(&format!("(needs the permission {permission})")), "{words}");
    }
    assert_eq!(words.lines().count(), 3, "{words}");
}

#[tokio::test]
async fn another_accounts_image_is_known_as_such_and_who_shares_it_is_not() {
    let emulator = Emulator::start();
    let at = Surveyed::open(&emulator).await;
    let made = emulator.control_post(
        "/_control/base-image",
        &json!({ "name": "theirs", "owner": "999988887777" }),
    );
    let (theirs, own) = (AmiId::new(made["id"].as_str().unwrap()), at.image().await);
    let uses = at.survey.uses(&[theirs.clone(), own.clone()]).await;
    assert_eq!(uses.ownership(&theirs), Ownership::NotOwn);
    assert_eq!(uses.ownership(&own), Ownership::Own);
    assert!(in_use(&uses, &own).is_empty());
    let words: Vec<_> = in_use(&uses, &theirs).iter().map(InUse::words).collect();
    assert_eq!(words, ["unknown whether it is shared: only the account that owns it is told"]);
}

#[tokio::test]
async fn an_image_goes_with_its_snapshots_but_for_those_of_another() {
    let place = Place::open(Emulator::shared()).await;
    let instance = place.instance(&packers(), None).await;
    let image = |name: &'static str| {
        let (place, instance) = (&place, instance.clone());
        async move {
            let id = place.image_of(&instance, &unique(name)).await;
            let snapshots = place.snapshots_of(&id).await;
            (id, snapshots)
        }
    };
    let ((kept, _), (first, snapshots)) = (image("kept").await, image("first").await);
    let second = place.registered_of(&snapshots[0], &unique("second")).await;
    let gone = |id: AmiId, snapshots| {
        let catalog = &place.catalog;
        async move { catalog.deregister(&id, snapshots).await.unwrap() }
    };
    let told = |result| Deregistered::Done(vec![(snapshots[0].clone(), result)]);
    let deleted = AssociatedSnapshots::Deleted;
    assert_eq!(gone(first.clone(), deleted).await, told(SnapshotResult::UsedByAnother));
    assert_eq!(gone(first, deleted).await, Deregistered::WasGone);
    assert!(place.snapshot_tags(&snapshots[0]).await.is_some(), "the other image has it");
    assert_eq!(gone(second, deleted).await, told(SnapshotResult::Deleted));
    assert!(place.snapshot_tags(&snapshots[0]).await.is_none());
    let of_kept = place.snapshots_of(&kept).await;
    assert_eq!(gone(kept, AssociatedSnapshots::Kept).await, Deregistered::Done(vec![]));
    assert!(place.snapshot_tags(&of_kept[0]).await.is_some());
    let protected = place.published(&unique("protected")).await;
    let protect = place.client.enable_image_deregistration_protection();
    protect.image_id(protected.as_str()).send().await.unwrap();
    let refused = place.catalog.deregister(&protected, deleted).await.unwrap_err();
    assert!(matches!(refused, CatalogError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("protected from deregistration"), "{refused}");
}
