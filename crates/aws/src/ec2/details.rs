//! EC2's description of an image as the records keep it (`details`), in the form that the Python
//! library writes. Pure.
//!
//! The library stores `dataclasses.asdict` of `simple_aws_ec2.Image`: fields of its own (`id`,
//! `creation_date`, `tags` as a map) and, under `data`, the answer of boto3 with boto3's names in
//! boto3's order. Whoever reads `details` of a record of the library reads ours the same way.

use aws_sdk_ec2::types::{BlockDeviceMapping, Image, ProductCode, Tag};
use serde_json::{Map, Value, json};

/// The whole of it.
pub(super) fn details(image: &Image) -> Value {
    let data = data(image);
    let of = |name: &str| data.get(name).cloned().unwrap_or(Value::Null);
    let reason = |name: &str| data.get("StateReason").map_or(Value::Null, |r| r[name].clone());
    let tags: Map<_, _> = image
        .tags()
        .iter()
        .map(|tag| (tag.key.clone().unwrap_or_default(), json!(tag.value)))
        .collect();
    json!({
        "id": of("ImageId"),
        "image_location": of("ImageLocation"),
        "image_type": of("ImageType"),
        "architecture": of("Architecture"),
        "creation_date": of("CreationDate"),
        "public": of("Public"),
        "kernel_id": of("KernelId"),
        "owner_id": of("OwnerId"),
        "platform": of("Platform"),
        "platform_details": of("PlatformDetails"),
        "usage_operation": of("UsageOperation"),
        "ramdisk_id": of("RamdiskId"),
        "state": of("State"),
        "state_reason_code": reason("Code"),
        "state_reason_message": reason("Message"),
        "description": of("Description"),
        "ena_support": of("EnaSupport"),
        "hypervisor": of("Hypervisor"),
        "image_owner_alias": of("ImageOwnerAlias"),
        "name": of("Name"),
        "root_device_name": of("RootDeviceName"),
        "root_device_type": of("RootDeviceType"),
        "sriov_net_support": of("SriovNetSupport"),
        "virtualization_type": of("VirtualizationType"),
        "boot_mode": of("BootMode"),
        "tpm_support": of("TpmSupport"),
        "deprecation_time": of("DeprecationTime"),
        "imds_support": of("ImdsSupport"),
        "tags": tags,
        "data": data,
    })
}

/// boto3's answer: absent members are left out, in the order of botocore's model of `Image`.
fn data(image: &Image) -> Map<String, Value> {
    let reason = image.state_reason.as_ref().map(|reason| {
        present([("Code", text(reason.code.as_ref())), ("Message", text(reason.message.as_ref()))])
    });
    let members = [
        ("PlatformDetails", text(image.platform_details.as_ref())),
        ("UsageOperation", text(image.usage_operation.as_ref())),
        ("BlockDeviceMappings", list(image.block_device_mappings.as_ref(), device)),
        ("Description", text(image.description.as_ref())),
        ("EnaSupport", image.ena_support.map(Value::Bool)),
        ("Hypervisor", text(image.hypervisor.as_ref())),
        ("ImageOwnerAlias", text(image.image_owner_alias.as_ref())),
        ("Name", text(image.name.as_ref())),
        ("RootDeviceName", text(image.root_device_name.as_ref())),
        ("RootDeviceType", text(image.root_device_type.as_ref())),
        ("SriovNetSupport", text(image.sriov_net_support.as_ref())),
        ("StateReason", reason.map(Value::Object)),
        ("Tags", list(image.tags.as_ref(), tag)),
        ("VirtualizationType", text(image.virtualization_type.as_ref())),
        ("BootMode", text(image.boot_mode.as_ref())),
        ("TpmSupport", text(image.tpm_support.as_ref())),
        ("DeprecationTime", text(image.deprecation_time.as_ref())),
        ("ImdsSupport", text(image.imds_support.as_ref())),
        ("SourceInstanceId", text(image.source_instance_id.as_ref())),
        ("DeregistrationProtection", text(image.deregistration_protection.as_ref())),
        ("LastLaunchedTime", text(image.last_launched_time.as_ref())),
        ("SourceImageId", text(image.source_image_id.as_ref())),
        ("SourceImageRegion", text(image.source_image_region.as_ref())),
        ("FreeTierEligible", image.free_tier_eligible.map(Value::Bool)),
        ("ImageId", text(image.image_id.as_ref())),
        ("ImageLocation", text(image.image_location.as_ref())),
        ("State", text(image.state.as_ref())),
        ("OwnerId", text(image.owner_id.as_ref())),
        ("CreationDate", text(image.creation_date.as_ref())),
        ("Public", image.public.map(Value::Bool)),
        ("ProductCodes", list(image.product_codes.as_ref(), product_code)),
        ("Architecture", text(image.architecture.as_ref())),
        ("ImageType", text(image.image_type.as_ref())),
        ("KernelId", text(image.kernel_id.as_ref())),
        ("RamdiskId", text(image.ramdisk_id.as_ref())),
        ("Platform", text(image.platform.as_ref())),
    ];
    present(members)
}

fn device(device: &BlockDeviceMapping) -> Value {
    let ebs = device.ebs.as_ref().map(|ebs| {
        present([
            ("DeleteOnTermination", ebs.delete_on_termination.map(Value::Bool)),
            ("Iops", ebs.iops.map(Value::from)),
            ("SnapshotId", text(ebs.snapshot_id.as_ref())),
            ("VolumeSize", ebs.volume_size.map(Value::from)),
            ("VolumeType", text(ebs.volume_type.as_ref())),
            ("KmsKeyId", text(ebs.kms_key_id.as_ref())),
            ("Throughput", ebs.throughput.map(Value::from)),
            ("Encrypted", ebs.encrypted.map(Value::Bool)),
        ])
    });
    Value::Object(present([
        ("Ebs", ebs.map(Value::Object)),
        ("NoDevice", text(device.no_device.as_ref())),
        ("DeviceName", text(device.device_name.as_ref())),
        ("VirtualName", text(device.virtual_name.as_ref())),
    ]))
}

fn tag(tag: &Tag) -> Value {
    json!({ "Key": tag.key, "Value": tag.value })
}

fn product_code(code: &ProductCode) -> Value {
    json!({
        "ProductCodeId": code.product_code_id,
        "ProductCodeType": code.product_code_type.as_ref().map(AsRef::<str>::as_ref),
    })
}

/// A list that EC2 sent empty is there, as boto3 has it.
fn list<T>(values: Option<&Vec<T>>, one: impl Fn(&T) -> Value) -> Option<Value> {
    values.map(|values| values.iter().map(one).collect())
}

fn text(value: Option<&impl AsRef<str>>) -> Option<Value> {
    value.map(|value| Value::String(value.as_ref().to_owned()))
}

fn present<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{EbsBlockDevice, ImageState, VolumeType};

    use super::*;

    #[test]
    fn a_record_of_ours_reads_like_one_of_the_python_library() {
        let ebs = EbsBlockDevice::builder()
            .snapshot_id("snap-1")
            .volume_size(8)
            .volume_type(VolumeType::Gp3)
            .build();
        let device = BlockDeviceMapping::builder().device_name("/dev/sda1").ebs(ebs).build();
        let image = Image::builder()
            .image_id("ami-1")
            .name("wf/pyenv")
            .creation_date("2024-06-13T12:00:00.000Z")
            .state(ImageState::Available)
            .public(false)
            .block_device_mappings(device)
            .tags(Tag::builder().key("team").value("ops").build())
            .build();
        let details = details(&image);
        assert_eq!(details["id"], "ami-1");
        assert_eq!(details["creation_date"], "2024-06-13T12:00:00.000Z");
        assert_eq!(details["tags"], json!({ "team": "ops" }));
        assert_eq!(details["deprecation_time"], Value::Null);
        let data = &details["data"];
        assert_eq!(data["ImageId"], "ami-1");
        assert_eq!(data["State"], "available");
        assert_eq!(data["Public"], false);
        assert_eq!(data["Tags"], json!([{ "Key": "team", "Value": "ops" }]));
        assert_eq!(
            data["BlockDeviceMappings"],
            json!([{
                "Ebs": { "SnapshotId": "snap-1", "VolumeSize": 8, "VolumeType": "gp3" },
                "DeviceName": "/dev/sda1",
            }])
        );
        assert!(data.get("KernelId").is_none());
    }
}
