//! `reconciler adopt`: takes over records that the Python library wrote, without a rebuild.
//!
//! A person vouches that the image is what git says now; from then on it has a fingerprint, and
//! drift shows. What can be checked is: the image exists, and it was built on the image that its
//! parent has.

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::checkout::metadata;
use reconciler::controller::connect::Use;
use reconciler::controller::fenced::LeasedPorts;
use reconciler::controller::lease::{Held, ask_patiently};
use reconciler::git::trusted::Purpose;
use reconciler_core::desired::inputs::value_digest;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::images::tags::{ImageTags, tag_change};
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, StepId};
use reconciler_model::images::ImageWriter as _;
use reconciler_model::inventory::record::{Built, RecordHead};
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{Expected, Fence, Write};

use super::open::{config, refuse_shared, shared_ids, workflows_of};
use super::plan::{Observed, see};
use super::render::no_such_step;
use super::teller::waiting;
use super::{CommandError, print};
use crate::cli::AdoptArgs;

pub(crate) async fn run(named: Option<&Path>, args: &AdoptArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let (mut adopted, mut refused) = (0, 0);
    let (usage, done) =
        if args.dry_run { (Use::Look, "would be adopted") } else { (Use::Act, "adopted") };
    let all = workflows_of(&config, &args.which, Purpose::Look)?;
    let shared = shared_ids(&config, &all);
    for opened in all {
        for folder in &opened.folders {
            refuse_shared(&shared, &opened, folder)?;
            let seen = see(&config, &opened, folder, &engine, usage).await?;
            let known: Vec<_> =
                seen.look.plan.steps.iter().map(|step| step.id.to_string()).collect();
            if let Some(wrong) = args.steps.iter().find(|id| !known.contains(id)) {
                return Err(no_such_step(wrong, &known).into());
            }
            let held = if args.dry_run {
                None
            } else {
                let Some(held) = hold(&config, &seen).await? else {
                    continue;
                };
                Some(held)
            };
            let acting = match &held {
                None => None,
                Some(held) => Some((
                    LeasedPorts::new(seen.ports.clone(), held.lease_token()),
                    held.fence().ok_or_else(|| Diagnostic::new("the lease was lost at once"))?,
                )),
            };
            for step in seen.look.plan.steps.iter().filter(|step| {
                args.steps.is_empty() || args.steps.iter().any(|id| id == step.id.as_str())
            }) {
                match adopt(&seen, step, acting.as_ref()).await {
                    Ok(true) => {
                        adopted += 1;
                        let image = step
                            .record
                            .as_ref()
                            .map(|record| record.ami_id.to_string())
                            .unwrap_or_default();
                        print::text(&format!("= {}  {image} {done}\n", step.id))?;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        refused += 1;
                        print::failure(&error);
                    }
                }
            }
            if let Some(held) = held {
                held.release().await;
            }
        }
    }
    print::text(&format!("{adopted} {done}, {refused} refused\n"))?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn hold(config: &Config, seen: &Observed) -> Result<Option<Held>, CommandError> {
    seen.ports.inventory.prepare().await?;
    let asked = ask_patiently(
        &seen.ports.context,
        &seen.ports.inventory,
        &seen.checkout.params.workflow_id,
        config.lease_duration,
        // Ctrl-C ends this process: nothing is held yet.
        || false,
        |lease| print::note(waiting(lease).trim_end()),
    );
    Ok(asked.await?)
}

/// Adopts a step; without a lease it is only looked whether that would be possible.
async fn adopt(
    seen: &Observed,
    step: &PlannedStep,
    acting: Option<&(LeasedPorts, Fence)>,
) -> Result<bool, CommandError> {
    let Some(head) = step.record.as_ref().filter(|record| record.built.is_none()) else {
        return Ok(false);
    };
    if let Decision::Broken(why) = &step.decision {
        return Err(why.first().cloned().unwrap_or_else(|| Diagnostic::new("is broken")).into());
    }
    let (Some(catalog), Some(mut record)) = (
        &seen.ports.catalog,
        seen.ports.inventory.record(&seen.checkout.params.workflow_id, &step.id).await?,
    ) else {
        return Ok(false);
    };
    let Some(image) = catalog.image(&head.ami_id).await? else {
        return Err(Diagnostic::new(format!(
            "{}: {} is gone from EC2; there is nothing to adopt",
            step.id, head.ami_id
        ))
        .into());
    };
    check_source(seen, step, head)?;
    let desired = &seen.look.desired;
    let source = SourceImage { id: head.base_ami_id.clone(), name: head.base_ami_name.clone() };
    let state = desired.state(&step.id, &source)?;
    let Some((ports, fence)) = acting else {
        return Ok(true);
    };
    let metadata = metadata(&desired.loaded(&step.id)?.step);
    let mut built = Built {
        fingerprint: state.fingerprint,
        build_id: BuildId::generate(),
        revision: seen.checkout.revision.clone(),
        region: seen.ports.region.clone(),
        tags: Tags::default(),
        metadata_digest: value_digest(&metadata),
        build_seconds: 0,
        recorded_at: Timestamp::now(),
        fence: fence.token,
    };
    built.tags = ImageTags::of_record(head, &built, &seen.checkout.params.aws_tags).tags().into();
    if let Some(change) = tag_change(&built.tags, &image.tags, &built.tags) {
        ports.image_writer()?.tag(&image, &change).await?;
    }
    record.metadata = metadata.to_string();
    record.components = Some(state.components);
    record.head.built = Some(built);
    let expected = Expected::Image(head.ami_id.clone());
    ports
        .inventory
        .write(Write { record: Some((record, Some(expected))), event: None }, Some(fence))
        .await?;
    Ok(true)
}

/// An image that was built on another image than its parent's now is not what git says, whoever
/// vouches.
fn check_source(
    seen: &Observed,
    step: &PlannedStep,
    head: &RecordHead,
) -> Result<(), CommandError> {
    let plan = &seen.look.plan;
    let of = |id: &StepId| {
        plan.steps
            .iter()
            .find(|step| step.id == *id)
            .and_then(|step| step.record.as_ref())
            .map(|record| &record.ami_id)
    };
    let parent = match &step.parent {
        None => Some(&plan.root_base.id),
        Some(parent) => of(parent),
    };
    if parent == Some(&head.base_ami_id) {
        return Ok(());
    }
    let now = parent.map_or("none".to_owned(), ToString::to_string);
    Err(Diagnostic::new(format!(
        "{}: {} was built on {}, but its parent's image is {now}",
        step.id, head.ami_id, head.base_ami_id
    ))
    .hint(format!("`reconciler apply --rebuild {}` builds it on the present one", step.id))
    .into())
}
