//! `reconciler images`: what is recorded, by the three queries that the Python library has.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Use, connect};
use reconciler::git::discover::WorkflowFolder;
use reconciler::git::trusted::Purpose;
use reconciler_core::status::images::{RecordedImage, SCHEMA, newest_first, text};
use reconciler_core::workflow::WorkflowParams;
use reconciler_core::workflow::settings::SETTINGS;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::{Inventory, InventoryError, Many};
use serde_json::json;

use super::open::{Opened, config, step_ids, workflows_of};
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::{ImagesArgs, Output, Which};

pub(crate) async fn run(named: Option<&Path>, args: &ImagesArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let which = Which { repository: args.repository.clone(), ..Which::default() };
    let mut images = Vec::new();
    let mut places = BTreeSet::new();
    for opened in &workflows_of(&config, &which, Purpose::Follow)? {
        for folder in &opened.folders {
            let (found, place) = images_of(&config, opened, folder, args).await?;
            images.extend(found);
            places.insert(place);
        }
    }
    let images = newest_first(images);
    if images.is_empty()
        && let Some(why) = nothing_named(args, &places)
    {
        return Err(why.into());
    }
    match args.output {
        Output::Json => print::json(&json!({ "schema": SCHEMA, "images": images }))?,
        Output::Text if images.is_empty() => {
            let places = places.into_iter().collect::<Vec<_>>().join(", ");
            print::text(&format!("No image is recorded. Looked in {places}.\n"))?;
        }
        Output::Text => print::text(&text(&images, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is recorded where a workflow of git has its records, and where that is.
async fn images_of(
    config: &Config,
    opened: &Opened,
    folder: &WorkflowFolder,
    args: &ImagesArgs,
) -> Result<(Vec<RecordedImage>, String), CommandError> {
    let (params, _) = read_params(opened.tree.as_ref(), folder)?;
    let _slow = Slow::begins(format!("asking for the images of {}", params.workflow_id));
    let ports = connect(config, &params, Use::LookOffline).await?;
    let inventory = ports.inventory.as_ref();
    let found = if args.all || args.family {
        let in_git = step_ids(opened, folder);
        over_workflows(inventory, &params, in_git, args, folder).await?
    } else {
        let workflow = args.workflow.as_ref().map_or(params.workflow_id, WorkflowId::new);
        of_one_workflow(inventory, &workflow, args.step.as_ref().map(StepId::new)).await?
    };
    let place = inventory.place();
    for wrong in &found.malformed {
        print::warning(&Diagnostic::new(wrong.clone().error(&place).to_string()));
    }
    Ok((found.into_iter().map(RecordedImage::from).collect(), place))
}

async fn of_one_workflow(
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
    step: Option<StepId>,
) -> Result<Many<Record>, InventoryError> {
    let Some(step) = step else {
        return inventory.records_of_workflow(workflow).await;
    };
    let record = inventory.record(workflow, &step).await?;
    Ok(Many { sound: record.into_iter().collect(), ..Many::default() })
}

/// The records of each step over workflow ids: of all, or of the family's. The steps are those of
/// git, and those that the workflow had before.
async fn over_workflows(
    inventory: &dyn Inventory,
    params: &WorkflowParams,
    mut steps: BTreeSet<StepId>,
    args: &ImagesArgs,
    folder: &WorkflowFolder,
) -> Result<Many<Record>, CommandError> {
    let family = params.settings.family.as_ref();
    if args.family && family.is_none() {
        let file = format!("{}/{SETTINGS}", folder.path);
        return Err(Diagnostic::new(format!("workflow {} has no family", params.workflow_id))
            .in_file(file.trim_start_matches('/').to_owned())
            .hint("say there which ids are its runs: {\"family\": \"acore-ami-*\"}")
            .into());
    }
    if let Some(step) = &args.step {
        steps = BTreeSet::from([StepId::new(step)]);
    } else {
        let recorded = inventory.heads(&params.workflow_id).await?;
        steps.extend(recorded.records.into_iter().map(|head| head.step_id));
    }
    let mut all = Many::default();
    for step in steps {
        let found = inventory.records_of_step(&step).await?;
        all.malformed.extend(found.malformed.iter().cloned());
        all.sound.extend(found);
    }
    if args.family
        && let Some(family) = family
    {
        all.sound.retain(|record| family.has(&record.head.workflow_id));
    }
    Ok(all)
}

/// Why it is an error that nothing was found: a step or a workflow was named.
fn nothing_named(args: &ImagesArgs, places: &BTreeSet<String>) -> Option<Diagnostic> {
    let places = places.iter().cloned().collect::<Vec<_>>().join(", ");
    let of = match (&args.workflow, &args.step) {
        (None, None) => return None,
        (Some(workflow), None) => format!("of workflow `{workflow}`"),
        (None, Some(step)) => format!("of step `{step}`"),
        (Some(workflow), Some(step)) => format!("of step `{step}` of workflow `{workflow}`"),
    };
    let wrong = Diagnostic::new(format!("no image {of} is recorded in {places}"));
    Some(wrong.hint("`reconciler images --all` shows those of every workflow"))
}
