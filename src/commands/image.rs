//! `reconciler image show`: all that is known of one image, by records, journals and AWS.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Ports, Use, connect};
use reconciler::git::discover::WorkflowFolder;
use reconciler::git::trusted::Purpose;
use reconciler_core::images::lineage::Lineage;
use reconciler_core::status::image::{AtAws, ImageReport, SCHEMA, text};
use reconciler_core::status::images::RecordedImage;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, StepId, WorkflowId};
use reconciler_model::inventory::journal::BuildEvent;
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::{Inventory, Malformed, WHOLE_JOURNAL};
use serde_json::json;

use super::open::{Opened, config, step_ids, workflows_of};
use super::render::no_such_step;
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::{ImageShowArgs, Output};

pub(crate) async fn show(
    named: Option<&Path>,
    args: &ImageShowArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let opened = workflows_of(&config, &args.which, Purpose::Follow)?;
    let folders = opened.iter().flat_map(|one| one.folders.iter().map(move |of| (one, of)));
    let mut all = Vec::new();
    for (one, folder) in folders {
        let known = Known::of(&config, one, folder, None, Use::Look).await?;
        warn_of(&known.unread, known.ports.inventory.as_ref());
        all.push(known);
    }
    let meant = if args.image.starts_with("ami-") {
        of_image(&all, &AmiId::new(&args.image))
    } else {
        of_step(&all, &StepId::new(&args.image))?
    };
    let mut reports = Vec::new();
    for (known, image) in meant {
        reports.push(report(known, &image).await?);
    }
    match args.output {
        Output::Json => print::json(&json!({ "schema": SCHEMA, "images": reports }))?,
        Output::Text => {
            for report in &reports {
                print::text(&text(report, Timestamp::now()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is kept where a workflow of git has its records, of every workflow that has or had one of
/// its steps.
pub(super) struct Known {
    pub(super) workflow: WorkflowId,
    steps: BTreeSet<StepId>,
    pub(super) ports: Ports,
    pub(super) records: Vec<Record>,
    /// Every workflow whose journal was read.
    pub(super) workflows: BTreeSet<WorkflowId>,
    pub(super) events: Vec<BuildEvent>,
    /// What could not be read.
    pub(super) unread: Vec<Malformed>,
    pub(super) lineage: Lineage,
}

impl Known {
    /// Reads it. `also` is a workflow of which everything is to be known, whether it has steps of
    /// this one or not.
    pub(super) async fn of(
        config: &Config,
        opened: &Opened,
        folder: &WorkflowFolder,
        also: Option<&WorkflowId>,
        usage: Use,
    ) -> Result<Self, CommandError> {
        let (params, _) = read_params(opened.tree.as_ref(), folder)?;
        let _slow = Slow::begins(format!("reading what is kept of {}", params.workflow_id));
        let ports = connect(config, &params, usage).await?;
        let steps = step_ids(opened, folder);
        let inventory = ports.inventory.as_ref();
        let own = [Some(&params.workflow_id), also].into_iter().flatten();
        let mut workflows: BTreeSet<WorkflowId> = own.cloned().collect();
        let (records, mut unread) = records(inventory, &workflows, &steps).await?;
        workflows.extend(records.iter().map(|record| record.head.workflow_id.clone()));
        let mut events = Vec::new();
        for workflow in &workflows {
            let found = inventory.events(workflow, None, WHOLE_JOURNAL).await?;
            unread.extend(found.malformed.iter().cloned());
            events.extend(found);
        }
        let lineage = Lineage::new(records.iter().map(|record| &record.head), &events);
        let workflow = params.workflow_id;
        Ok(Self { workflow, steps, ports, records, workflows, events, unread, lineage })
    }

    /// The current image of a step of the workflow.
    fn image_of(&self, step: &StepId) -> Option<AmiId> {
        let heads = self.records.iter().map(|record| &record.head);
        let mut of_step =
            heads.filter(|head| head.workflow_id == self.workflow && head.step_id == *step);
        of_step.next().map(|head| head.ami_id.clone())
    }
}

/// The records of each step, of these workflows and of every other, and those that cannot be read.
async fn records(
    inventory: &dyn Inventory,
    workflows: &BTreeSet<WorkflowId>,
    in_git: &BTreeSet<StepId>,
) -> Result<(Vec<Record>, Vec<Malformed>), CommandError> {
    let mut steps = in_git.clone();
    for workflow in workflows {
        let recorded = inventory.heads(workflow).await?;
        steps.extend(recorded.records.into_iter().map(|head| head.step_id));
        steps.extend(recorded.malformed.into_iter().map(|(step, _)| step));
    }
    let (mut records, mut unread) = (Vec::new(), Vec::new());
    for step in steps {
        let found = inventory.records_of_step(&step).await?;
        unread.extend(found.malformed.iter().cloned());
        records.extend(found);
    }
    Ok((records, unread))
}

fn warn_of(malformed: &[Malformed], inventory: &dyn Inventory) {
    for wrong in malformed {
        let error = wrong.clone().error(&inventory.place());
        print::warning(&Diagnostic::new(error.to_string()));
    }
}

/// The image, where it is known; else where the first workflow has its images.
fn of_image<'a>(all: &'a [Known], image: &AmiId) -> Vec<(&'a Known, AmiId)> {
    let knows = |known: &&Known| {
        known.lineage.of(image).next().is_some() || known.lineage.name(image).is_some()
    };
    let known = all.iter().find(knows).or(all.first());
    known.map(|known| (known, image.clone())).into_iter().collect()
}

/// The current images of a step, of each workflow that has it.
fn of_step<'a>(all: &'a [Known], step: &StepId) -> Result<Vec<(&'a Known, AmiId)>, CommandError> {
    let found: Vec<_> =
        all.iter().filter_map(|known| Some((known, known.image_of(step)?))).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let steps: BTreeSet<&StepId> = all.iter().flat_map(|known| &known.steps).collect();
    if !steps.contains(step) {
        let names: Vec<_> = steps.iter().map(ToString::to_string).collect();
        return Err(no_such_step(step.as_str(), &names).into());
    }
    let places: BTreeSet<_> = all.iter().map(|known| known.ports.inventory.place()).collect();
    let places = places.into_iter().collect::<Vec<_>>().join(", ");
    Err(Diagnostic::new(format!("no image of step `{step}` is recorded in {places}"))
        .hint("`reconciler status` says why; `reconciler images --all --step` shows those of other workflows")
        .into())
}

/// All that is known of an image.
async fn report(known: &Known, image: &AmiId) -> Result<ImageReport, CommandError> {
    let _slow = Slow::begins(format!("asking AWS about {image}"));
    let records: Vec<&Record> =
        known.records.iter().filter(|record| record.head.ami_id == *image).collect();
    let region = records.iter().find_map(|record| record.head.built.as_ref());
    let region = region.map_or(&known.ports.region, |built| &built.region);
    let ports = known.ports.in_region(region);
    let (Some(catalog), Some(survey)) = (&ports.catalog, ports.survey()) else {
        return Err(Diagnostic::new("EC2 was not to be asked").into());
    };
    let seen = catalog.image(image).await?;
    if seen.is_none() && known.lineage.of(image).next().is_none() {
        let place = ports.inventory.place();
        let message =
            format!("no image {image} is known, neither to {place} nor to EC2 in {region}");
        return Err(Diagnostic::new(message)
            .hint("ids differ from region to region; `reconciler images --all` shows those that are recorded")
            .into());
    }
    let uses = survey.uses(std::slice::from_ref(image)).await;
    let ancestry = survey.ancestry(image).await.map_err(|error| error.to_string());
    let aws = AtAws {
        image: seen.as_ref(),
        uses: &uses,
        ancestry: ancestry.as_deref().map_err(String::as_str),
    };
    let records = records.into_iter().cloned().map(RecordedImage::from).collect();
    Ok(ImageReport::new(image, region, &known.lineage, records, &aws))
}
