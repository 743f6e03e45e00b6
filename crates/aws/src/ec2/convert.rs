//! The SDK's image as the port's. Pure.

use aws_sdk_ec2::types;
use jiff::Timestamp;

use crate::ec2::details::details;
use reconciler_model::ids::{AmiId, AmiName};
use reconciler_model::images::{Image, ImageState};

/// Converts an image; `with_details` fills in what a record keeps of it.
pub(super) fn image(image: &types::Image, with_details: bool) -> Image {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let devices = image.block_device_mappings();
    Image {
        id: AmiId::new(text(&image.image_id)),
        name: AmiName::new(text(&image.name)),
        state: state(image),
        owner_id: text(&image.owner_id),
        created_at: text(&image.creation_date).parse().unwrap_or(Timestamp::UNIX_EPOCH),
        tags: image.tags().iter().map(|tag| (text(&tag.key), text(&tag.value))).collect(),
        snapshots: devices
            .iter()
            .filter_map(|device| device.ebs.as_ref()?.snapshot_id.clone())
            .collect(),
        details: if with_details { details(image).to_string() } else { String::new() },
    }
}

fn state(image: &types::Image) -> ImageState {
    let reason = || image.state_reason.as_ref().and_then(|reason| reason.message.clone());
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
