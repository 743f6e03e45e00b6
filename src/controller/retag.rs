//! Brings tags and record up to date without a build.

use crate::controller::checkout::{Checkout, metadata};
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use reconciler_core::desired::inputs::value_digest;
use reconciler_core::plan::decision::Update;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_model::images::ImageWriter as _;
use reconciler_model::inventory::{Expected, Fence, Write};

/// Does what the plan says for one step.
pub async fn update(
    ports: &LeasedPorts,
    checkout: &Checkout,
    step: &PlannedStep,
    update: &Update,
    fence: &Fence,
) -> Result<(), PassError> {
    let Some(head) = &step.record else {
        return Ok(());
    };
    if let (Some(change), Some(catalog)) = (&update.tags, &ports.catalog)
        && let Some(image) = catalog.image(&head.ami_id).await?
    {
        ports.image_writer()?.tag(&image, change).await?;
    }
    let Some(mut record) = ports.inventory.record(&fence.workflow_id, &step.id).await? else {
        return Ok(());
    };
    let Some(built) = &mut record.head.built else {
        return Ok(());
    };
    built.tags = update.all_tags.clone().into();
    built.fence = fence.token;
    if let Some(loaded) = checkout.step(&step.id) {
        let metadata = metadata(&loaded.step);
        built.metadata_digest = value_digest(&metadata);
        record.metadata = metadata.to_string();
    }
    if let Some(catalog) = &ports.catalog
        && let Some(image) = catalog.image(&head.ami_id).await?
    {
        record.details = ports.redactor.text(&image.details);
    }
    let expected = Expected::Image(head.ami_id.clone());
    ports
        .inventory
        .write(Write { record: Some((record, Some(expected))), ..Write::default() }, Some(fence))
        .await?;
    Ok(())
}
