//! Makes an image that has no record the current one of a step, for a person vouches that it is
//! what git says: an image that somebody has made elsewhere, or one of an earlier run of the
//! family.
//!
//! What is known of the image is looked up here, for the command that asks as well as under the
//! lease; whether it can be adopted is decided in `reconciler_core::adoption`.

use std::collections::{BTreeMap, BTreeSet};

use crate::controller::build_finish::tag_and_read_back;
use crate::controller::checkout::metadata;
use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use crate::controller::requests::{PlanOfRequest, RequestContext, gone};
use crate::controller::reservations::refuse_reserved;
use reconciler_core::adoption::{Known, may_adopt_image, starts_from};
use reconciler_core::desired::step::{DesiredStep, SourceImage};
use reconciler_core::images::console_url::aws_console_url;
use reconciler_core::images::tags::{ImageTags, of_earlier_run};
use reconciler_core::plan::decision::Reason;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::plan::reasons::reasons;
use reconciler_core::requests::settled;
use reconciler_core::workflow::settings::{Family, SETTINGS};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::images::{Image, ImageReader, WORKFLOW_ID_TAG};
use reconciler_model::inventory::journal::{Maker, Stage};
use reconciler_model::inventory::record::{Record, RecordHead};
use reconciler_model::inventory::request::ImageToAdopt;
use reconciler_model::inventory::{Expected, Write};

/// Images that steps have by now, beside those that the plan knows.
pub type NewImages = BTreeMap<StepId, SourceImage>;

/// An image that can be adopted, and what its record will say.
pub struct Adoptable {
    /// What EC2 says of it.
    pub image: Image,
    /// What it starts from.
    source: SourceImage,
    state: DesiredStep,
    /// The record of the earlier run that it is taken from.
    earlier: Option<RecordHead>,
}

/// Looks whether an image can be adopted. Changes nothing. `new` are the images that a command has
/// adopted, or would have, since the plan was made.
pub async fn examine(
    ports: &Ports,
    by: &PlanOfRequest<'_>,
    wanted: &ImageToAdopt,
    new: &NewImages,
) -> Result<Adoptable, PassError> {
    let (step, id) = (&wanted.step, &wanted.image);
    let (planned, source) = starts_from(by.plan, step, &|parent| new.get(parent).cloned())?;
    settled(step, by.attempts.get(step))?;
    let earlier = match &wanted.from {
        Some(run) => Some(record_of_run(ports, by, run, wanted).await?),
        None => None,
    };
    let reader = ports.catalog.as_deref();
    let reader = reader.ok_or_else(|| Diagnostic::new("EC2 is not connected"))?;
    let image = reader.image(id).await?.filter(|image| !image.state.is_gone());
    let image = image.ok_or_else(|| {
        let hint = format!(
            "this account has no image {id} in {}, and none is shared with it: check the id and the region",
            ports.region
        );
        gone(step, id).hint(hint)
    })?;
    unreserved(ports, &by.plan.workflow_id, wanted, &source, &image).await?;
    let own = reader.own_image_named(&image.name).await?;
    let state = by.desired.state(step, &source)?;
    let differs = match &earlier {
        Some(earlier) => differences(by, step, &source, earlier)?,
        None => Vec::new(),
    };
    let named_by = match wanted.from {
        Some(_) => None,
        None => other_record(ports, &by.plan.workflow_id, wanted, &image).await?,
    };
    let known = Known {
        is_own: own.is_some_and(|own| own.id == image.id),
        recorded_is_gone: recorded_is_gone(reader, planned).await?,
        image: &image,
        named_by: named_by.as_ref(),
        earlier: earlier.as_ref().map(|record| &record.head),
        differs: &differs,
        desired: state.fingerprint,
    };
    may_adopt_image(planned, &source, wanted, &known)?;
    Ok(Adoptable { image, source, state, earlier: earlier.map(|record| record.head) })
}

impl Adoptable {
    /// What steps that start from it are built on.
    #[must_use]
    pub fn as_source(&self) -> SourceImage {
        SourceImage { id: self.image.id.clone(), name: self.image.name.clone() }
    }
}

/// Refuses an image that a person is about to delete: it is reserved by its own workflow, by the run
/// that it is taken from, or by the one that made it.
async fn unreserved(
    ports: &Ports,
    workflow: &WorkflowId,
    wanted: &ImageToAdopt,
    source: &SourceImage,
    image: &Image,
) -> Result<(), PassError> {
    let made_by = image.tags.get(WORKFLOW_ID_TAG).map(WorkflowId::new);
    let workflows = [Some(workflow), wanted.from.as_ref(), made_by.as_ref()];
    for workflow in workflows.into_iter().flatten().collect::<BTreeSet<_>>() {
        refuse_reserved(ports, workflow, [&image.id, &source.id]).await?;
    }
    Ok(())
}

/// Refuses an id that is no earlier run of the workflow.
pub fn refuse_other_runs(
    workflow: &WorkflowId,
    family: Option<&Family>,
    folder: &str,
    run: &WorkflowId,
) -> Result<(), Diagnostic> {
    let file = format!("{folder}/{SETTINGS}").trim_start_matches('/').to_owned();
    let Some(family) = family else {
        return Err(Diagnostic::new(format!("workflow {workflow} has no family"))
            .in_file(file)
            .hint("say there which ids are its runs: {\"family\": \"acore-ami-*\"}"));
    };
    if run == workflow {
        return Err(Diagnostic::new(format!("{run} is this run itself"))
            .hint("name an earlier one: `reconciler images --family` shows them"));
    }
    // Seeded bug: any-workflow-is-an-earlier-run
    if family.has(run) {
        return Ok(());
    }
    Err(Diagnostic::new(format!(
        "{run} is no run of workflow {workflow}: its family is {:?}",
        family.as_str()
    ))
    .in_file(file)
    .hint("`reconciler images --family` shows the runs that there are"))
}

/// The record of an earlier run that names the image.
async fn record_of_run(
    ports: &Ports,
    by: &PlanOfRequest<'_>,
    run: &WorkflowId,
    wanted: &ImageToAdopt,
) -> Result<Record, PassError> {
    let params = &by.desired.checkout.params;
    let family = params.settings.family.as_ref();
    refuse_other_runs(&params.workflow_id, family, &by.desired.checkout.folder, run)?;
    let record = ports.inventory.record(run, &wanted.step).await?;
    match record {
        Some(record) if record.head.ami_id == wanted.image => Ok(record),
        other => {
            let now = other.map_or("no image".to_owned(), |one| one.head.ami_id.to_string());
            let said = format!("{}: {run} has {now} by now, not {}", wanted.step, wanted.image);
            Err(Diagnostic::new(said).hint("look at it, and ask again").into())
        }
    }
}

/// In what git says other of a step than its earlier run was made from: what the same commit would
/// have asked of that run tells. A record of the Python library says nothing.
fn differences(
    by: &PlanOfRequest<'_>,
    step: &StepId,
    source: &SourceImage,
    earlier: &Record,
) -> Result<Vec<Reason>, Diagnostic> {
    let Some(built) = &earlier.head.built else {
        return Ok(Vec::new());
    };
    if earlier.head.base_ami_id != source.id {
        // Refused for that.
        return Ok(Vec::new());
    }
    let then = SourceImage { name: earlier.head.base_ami_name.clone(), ..source.clone() };
    let as_that_run = by.desired.state_as(&earlier.head.workflow_id, step, &then)?;
    if built.fingerprint == as_that_run.fingerprint {
        return Ok(Vec::new());
    }
    let found = earlier.components.as_ref();
    let found = found.map(|recorded| reasons(recorded, &as_that_run.components));
    let found = found.filter(|found| !found.is_empty());
    Ok(found.unwrap_or_else(|| vec![Reason::InputsChanged]))
}

/// Another record that names the image: of another step of the workflow, of this step in another
/// workflow, or of whatever its tags say.
async fn other_record(
    ports: &Ports,
    workflow: &WorkflowId,
    wanted: &ImageToAdopt,
    image: &Image,
) -> Result<Option<RecordHead>, PassError> {
    let inventory = &ports.inventory;
    let place = inventory.place();
    let of_step = inventory.records_of_step(&wanted.step).await?.whole(&place)?;
    let mut heads: Vec<_> = of_step.into_iter().map(|record| record.head).collect();
    heads.extend(inventory.heads(workflow).await?.records);
    if let Some(tagged) = image.tags.get(WORKFLOW_ID_TAG).map(WorkflowId::new)
        && tagged != *workflow
    {
        heads.extend(inventory.heads(&tagged).await?.records);
    }
    let own = |head: &RecordHead| head.workflow_id == *workflow && head.step_id == wanted.step;
    Ok(heads.into_iter().find(|head| head.ami_id == wanted.image && !own(head)))
}

async fn recorded_is_gone(
    reader: &dyn ImageReader,
    planned: &PlannedStep,
) -> Result<bool, PassError> {
    let Some(record) = &planned.record else {
        return Ok(false);
    };
    let image = reader.image(&record.ami_id).await?;
    Ok(image.is_none_or(|image| image.state.is_gone()))
}

/// Adopts it: tags, and then the record, the journal and the answer in one write.
pub(super) async fn adopt_image(
    asked: &RequestContext<'_>,
    wanted: &ImageToAdopt,
) -> Result<(), PassError> {
    let RequestContext { ports, fence, by, request, .. } = *asked;
    let found = examine(ports, by, wanted, &NewImages::new()).await?;
    let mut record = describe(asked, wanted, &found)?;
    let image = match wanted.from {
        // The tags stay that run's.
        Some(_) => found.image,
        None => tag_and_read_back(ports, &record, found.image).await?,
    };
    record.details = ports.redactor.text(&image.details);
    let maker = Maker::Adopted { by: request.by.clone() };
    let intent = asked.intent(&found.state, (found.source.id, image.name), maker);
    let expected = wanted.replaces.clone().map_or(Expected::Absent, Expected::Image);
    let write = Write {
        record: Some((record, Some(expected))),
        ..asked.done(&wanted.step, Stage::Adopted { intent, ami_id: wanted.image.clone() })
    };
    Ok(ports.inventory.write(write, Some(fence)).await?)
}

fn describe(
    asked: &RequestContext<'_>,
    wanted: &ImageToAdopt,
    found: &Adoptable,
) -> Result<Record, Diagnostic> {
    let by = asked.by;
    let metadata = metadata(&by.desired.loaded(&wanted.step)?.step);
    let mut head = RecordHead {
        workflow_id: asked.fence.workflow_id.clone(),
        step_id: wanted.step.clone(),
        ami_id: found.image.id.clone(),
        ami_name: found.image.name.clone(),
        create_at: found.image.created_at,
        base_ami_id: found.source.id.clone(),
        base_ami_name: found.source.name.clone(),
        root_base_ami_id: by.plan.root_base.id.clone(),
        root_base_ami_name: by.plan.root_base.name.clone(),
        built: None,
    };
    let mut built = asked.built(&wanted.step, &found.state, &metadata);
    let aws_tags = &by.desired.checkout.params.aws_tags;
    built.tags = match &found.earlier {
        Some(earlier) => of_earlier_run(earlier),
        None => ImageTags::of_record(&head, &built, aws_tags).tags().into(),
    };
    head.built = Some(built);
    Ok(Record {
        aws_console_url: aws_console_url(&asked.ports.region, &found.image.id),
        head,
        details: String::new(),
        metadata: metadata.to_string(),
        components: Some(found.state.components.clone()),
    })
}
