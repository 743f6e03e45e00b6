//! The SDK's image as the port's. Pure.

use aws_sdk_ec2::types;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::catalog::{Image, ImageState};
use crate::ids::{AmiId, AmiName};

/// Converts an image; `with_details` as JSON with boto3's names too.
pub(super) fn image(image: &types::Image, with_details: bool) -> Image {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let devices = image.block_device_mappings();
    Image {
        id: AmiId::new(text(&image.image_id)),
        name: AmiName::new(text(&image.name)),
        state: state(image),
        owner_id: text(&image.owner_id),
        created_at: text(&image.creation_date)
            .parse()
            .unwrap_or(Timestamp::UNIX_EPOCH),
        tags: image
            .tags()
            .iter()
            .map(|tag| (text(&tag.key), text(&tag.value)))
            .collect(),
        snapshots: devices
            .iter()
            .filter_map(|device| device.ebs.as_ref()?.snapshot_id.clone())
            .collect(),
        details: if with_details {
            details(image).to_string()
        } else {
            String::new()
        },
    }
}

fn state(image: &types::Image) -> ImageState {
    let reason = || {
        image
            .state_reason
            .as_ref()
            .and_then(|reason| reason.message.clone())
    };
    match image.state.as_ref().map(types::ImageState::as_str) {
        Some("available") => ImageState::Available,
        Some("pending") => ImageState::Pending,
        Some("failed") => {
            ImageState::Failed(reason().unwrap_or_else(|| "EC2 gives no reason".to_owned()))
        }
        Some(other) => ImageState::Other(other.to_owned()),
        None => ImageState::Other("unknown".to_owned()),
    }
}

fn details(image: &types::Image) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    let text = |value: &Option<String>| value.clone().map(Value::String);
    put(
        "Architecture",
        image
            .architecture
            .as_ref()
            .map(|value| json!(value.as_str())),
    );
    put("CreationDate", text(&image.creation_date));
    put("ImageId", text(&image.image_id));
    put("ImageLocation", text(&image.image_location));
    put(
        "ImageType",
        image.image_type.as_ref().map(|value| json!(value.as_str())),
    );
    put("Public", image.public.map(Value::Bool));
    put("OwnerId", text(&image.owner_id));
    put("PlatformDetails", text(&image.platform_details));
    put(
        "State",
        image.state.as_ref().map(|value| json!(value.as_str())),
    );
    put(
        "BlockDeviceMappings",
        Some(image.block_device_mappings().iter().map(device).collect()),
    );
    put("Description", text(&image.description));
    put("EnaSupport", image.ena_support.map(Value::Bool));
    put(
        "Hypervisor",
        image.hypervisor.as_ref().map(|value| json!(value.as_str())),
    );
    put("Name", text(&image.name));
    put("RootDeviceName", text(&image.root_device_name));
    put(
        "RootDeviceType",
        image
            .root_device_type
            .as_ref()
            .map(|value| json!(value.as_str())),
    );
    put("SriovNetSupport", text(&image.sriov_net_support));
    put(
        "VirtualizationType",
        image
            .virtualization_type
            .as_ref()
            .map(|value| json!(value.as_str())),
    );
    put("SourceImageId", text(&image.source_image_id));
    put(
        "Tags",
        Some(
            image
                .tags()
                .iter()
                .map(|tag| json!({ "Key": tag.key, "Value": tag.value }))
                .collect(),
        ),
    );
    Value::Object(map)
}

fn device(device: &types::BlockDeviceMapping) -> Value {
    let ebs = device.ebs.as_ref().map(|ebs| {
        json!({
            "SnapshotId": ebs.snapshot_id,
            "VolumeSize": ebs.volume_size,
            "VolumeType": ebs.volume_type.as_ref().map(types::VolumeType::as_str),
            "DeleteOnTermination": ebs.delete_on_termination,
            "Encrypted": ebs.encrypted,
        })
    });
    json!({ "DeviceName": device.device_name, "VirtualName": device.virtual_name, "Ebs": ebs })
}
