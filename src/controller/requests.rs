//! Carries out what people ask for, under the lease of the workflow.
//!
//! Each request is one write: what it changes in the inventory, and its answer. So it is carried
//! out exactly when it is answered, whoever dies at whatever moment, and once, whoever looks again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Config;
use crate::controller::adoption::adopt_image;
use crate::controller::checkout::{Desired, metadata};
use crate::controller::connect::reach;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::reservations::{end_by_request, refuse_reserved, reserve};
use reconciler_core::build::instance::may_be_imaged;
use reconciler_core::desired::inputs::value_digest;
use reconciler_core::desired::step::{DesiredStep, SourceImage};
use reconciler_core::images::tags::{ImageTags, tag_change};
use reconciler_core::plan::Plan;
use reconciler_core::plan::names::all_taken;
use reconciler_core::requests::{may_adopt, may_cancel, may_forget, may_make_image, may_retry};
use reconciler_model::afterwards::PostImageSteps;
use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, RequestId, StepId};
use reconciler_model::images::ImageWriter as _;
use reconciler_model::inventory::journal::{
    Attempt, BuildEvent, FailureClass, Forgotten, Intent, Maker, RecordDraft, Stage,
};
use reconciler_model::inventory::record::Built;
use reconciler_model::inventory::request::{
    Answer, AnswerTo, Outcome, Request, StandingRequest, Wish,
};
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{Expected, Fence, InventoryError, Removal, Write};
use serde_json::Value;

/// How often a request is carried out anew while a build goes on beside it.
const TRIES: u32 = 8;

/// How long an answer stands to be read.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// What a plan gives to a request that needs one. One plan is good for one request: what that
/// changes is not in the plan.
pub struct PlanOfRequest<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What it was made with.
    pub desired: &'a Desired,
    /// The newest attempts that did not end in a record and a clean account.
    pub attempts: &'a BTreeMap<StepId, Attempt>,
}

/// What a look at the requests came to.
#[derive(Default)]
pub struct Answered {
    /// Those that wait for a plan.
    pub open: Vec<Request>,
    /// Whether anything was answered.
    pub answered: bool,
    /// What kept one of them from being answered and may go away by itself. It keeps no other.
    pub failure: Option<PassError>,
}

/// Reads what is asked, and carries out what needs nothing but the journal. What needs a plan is
/// returned; what was answered long ago is removed. Says as well whether anything was answered.
pub async fn answer_by_journal(ports: &LeasedPorts, fence: &Fence) -> Result<Answered, PassError> {
    let Answered { mut open, mut answered, mut failure } = Answered::default();
    for StandingRequest { id, request, answer } in
        ports.inventory.requests(&fence.workflow_id).await?
    {
        match (request, answer) {
            (_, Some(answer)) => {
                let is_old = ports.context.now().duration_since(answer.at).unsigned_abs() > KEPT;
                if is_old {
                    ports.inventory.forget_request(&id, fence).await?;
                }
            }
            (Ok(request), None) => {
                let carried_out = carry_out_by_journal(ports, fence, &request).await;
                match or_refused(ports, fence, &request, carried_out, true).await {
                    Ok(true) => answered = true,
                    Ok(false) => open.push(request),
                    Err(error) if may_go_away(&error) && !error.is_fenced() => {
                        failure = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            (Err(wrong), None) => {
                let why = Diagnostic::new(format!("the request cannot be read: {wrong}"))
                    .hint("whoever holds the lease may be of an older version than whoever asks");
                refuse(ports, fence, &id, &why).await?;
                answered = true;
            }
        }
    }
    Ok(Answered { open, answered, failure })
}

/// Whether what kept a request from being carried out may go away by itself. Anything else is the
/// answer to it: one that can never be carried out must keep no other.
fn may_go_away(error: &PassError) -> bool {
    error.class() == FailureClass::Transient || error.is_fenced() || error.is_replaced()
}

/// Carries out what needs nothing but the journal; false if it needs more. What can never be done
/// is an error too: whoever calls answers with it.
async fn carry_out_by_journal(
    ports: &LeasedPorts,
    fence: &Fence,
    request: &Request,
) -> Result<bool, PassError> {
    let stage = match &request.wish {
        Wish::Retry { .. } => Stage::RetryRequested { by: request.by.clone() },
        Wish::Cancel { .. } => Stage::CancelRequested { by: request.by.clone() },
        Wish::Deleted { .. } | Wish::Release { .. } => {
            return end_by_request(ports, fence, request).await;
        }
        Wish::Adopt { .. }
        | Wish::AdoptImage(_)
        | Wish::Forget { .. }
        | Wish::MakeImage { .. }
        | Wish::Reserve { .. } => return Ok(false),
    };
    let Some(step) = request.wish.step() else {
        return Ok(false);
    };
    for _ in 0..TRIES {
        let attempts = ports.inventory.attempts(&fence.workflow_id).await?;
        if let Some(wrong) = attempts.malformed_of(step) {
            return Err(wrong.clone().error(&ports.inventory.place()).into());
        }
        let attempt = match &request.wish {
            Wish::Cancel { step, build } => may_cancel(&attempts, step, build),
            _ => may_retry(&attempts, step),
        }?;
        let event = BuildEvent {
            workflow_id: fence.workflow_id.clone(),
            step_id: attempt.step_id.clone(),
            build_id: attempt.build_id.clone(),
            seq: attempt.seq + 1,
            at: ports.context.now(),
            stage: stage.clone(),
        };
        let done = Outcome::Done { build: attempt.build_id.clone() };
        let answer = answer(ports, fence, &request.id, done);
        let write = Write { event: Some(event), answer: Some(answer), ..Write::default() };
        match ports.inventory.write(write, Some(fence)).await {
            Ok(()) => return Ok(true),
            // The build went on meanwhile.
            Err(InventoryError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(InventoryError::Unavailable {
        place: ports.inventory.place(),
        detail: format!("request {} meets with a build that goes on", request.id),
    }
    .into())
}

/// Carries out what needs a plan. What cannot be done is answered with why; an error is what may
/// go away by itself, and leaves the request as it is.
pub async fn answer_by_plan(
    config: &Config,
    ports: &LeasedPorts,
    fence: &Fence,
    by: PlanOfRequest<'_>,
    request: &Request,
) -> Result<(), PassError> {
    let asked = RequestContext { config, ports, fence, by: &by, request };
    let carried_out = match &request.wish {
        Wish::Adopt { step, image } => adopt(&asked, step, image).await,
        Wish::MakeImage { step, instance, stopped } => {
            allow_image(&asked, step, instance, stopped).await
        }
        Wish::AdoptImage(wanted) => adopt_image(&asked, wanted).await,
        Wish::Forget { step, image } => forget(&asked, step, image).await,
        // Carried out before there was a plan.
        Wish::Retry { .. } | Wish::Cancel { .. } | Wish::Deleted { .. } | Wish::Release { .. } => {
            Ok(())
        }
        Wish::Reserve { images, run } => {
            reserve(ports, fence, Some(by.plan), request, (images, *run)).await
        }
    };
    or_refused(ports, fence, request, carried_out, ()).await
}

/// Carries out what is asked of a workflow that git has no more: images may be reserved. What needs
/// a plan is left.
pub async fn answer_without_git(
    ports: &LeasedPorts,
    fence: &Fence,
    request: &Request,
) -> Result<(), PassError> {
    let Wish::Reserve { images, run } = &request.wish else {
        return Ok(());
    };
    let carried_out = reserve(ports, fence, None, request, (images, *run)).await;
    or_refused(ports, fence, request, carried_out, ()).await
}

/// Answers a request with what kept it from being carried out, unless that may go away by itself;
/// `refused` is what came of it then.
async fn or_refused<T>(
    ports: &LeasedPorts,
    fence: &Fence,
    request: &Request,
    carried_out: Result<T, PassError>,
    refused: T,
) -> Result<T, PassError> {
    match carried_out {
        // Seeded bug: one-request-stops-all
        Err(error) if !may_go_away(&error) => {
            refuse(ports, fence, &request.id, &error.diagnostic()).await.map(|()| refused)
        }
        other => other,
    }
}

/// Answers that it cannot be done, and why.
pub async fn refuse(
    ports: &LeasedPorts,
    fence: &Fence,
    id: &RequestId,
    why: &Diagnostic,
) -> Result<(), PassError> {
    let answer = answer(ports, fence, id, Outcome::refused(why));
    let write = Write { answer: Some(answer), ..Write::default() };
    Ok(ports.inventory.write(write, Some(fence)).await?)
}

pub(super) fn answer(
    ports: &LeasedPorts,
    fence: &Fence,
    id: &RequestId,
    outcome: Outcome,
) -> AnswerTo {
    AnswerTo {
        workflow_id: fence.workflow_id.clone(),
        id: id.clone(),
        answer: Answer { at: ports.context.now(), by: ports.context.holder_name(), outcome },
    }
}

/// A request that is carried out with a plan.
pub(super) struct RequestContext<'a> {
    pub(super) config: &'a Config,
    pub(super) ports: &'a LeasedPorts,
    pub(super) fence: &'a Fence,
    pub(super) by: &'a PlanOfRequest<'a>,
    pub(super) request: &'a Request,
}

impl RequestContext<'_> {
    /// What the record says of an image that the request gives a step: all but the tags.
    pub(super) fn built(&self, step: &StepId, state: &DesiredStep, metadata: &Value) -> Built {
        let steps = &self.by.plan.steps;
        let standing = steps.iter().find(|one| one.id == *step).and_then(|one| one.record.as_ref());
        let before = standing.and_then(|record| record.built.as_ref());
        Built {
            fingerprint: state.fingerprint,
            build_id: self.request.id.as_build(),
            revision: self.by.desired.checkout.revision.clone(),
            region: self.ports.region.clone(),
            tags: Tags::default(),
            metadata_digest: value_digest(metadata),
            build_seconds: 0,
            build_times: before.map(|built| built.build_times.clone()).unwrap_or_default(),
            recorded_at: self.ports.context.now(),
            fence: self.fence.token,
        }
    }

    /// What the journal says of such an image, which Packer does not build: nothing is promised,
    /// and it is there by now.
    pub(super) fn intent(
        &self,
        state: &DesiredStep,
        (source_ami, ami_name): (AmiId, AmiName),
        maker: Maker,
    ) -> Intent {
        let checkout = &self.by.desired.checkout;
        Intent {
            fingerprint: state.fingerprint,
            ami_name,
            revision: checkout.revision.clone(),
            source_ami,
            region: self.ports.region.clone(),
            host: self.ports.context.host_name(),
            prepared_by: None,
            reach: reach(self.config, &checkout.params),
            deadline: self.ports.context.now(),
            fence: self.fence.token,
            attempt: 0,
            promise: None,
            afterwards: PostImageSteps::default(),
            maker,
        }
    }

    /// What is written of a step that the request is about: the first event of the request, and its
    /// answer.
    pub(super) fn done(&self, step: &StepId, stage: Stage) -> Write {
        let build = self.request.id.as_build();
        let event = BuildEvent {
            workflow_id: self.fence.workflow_id.clone(),
            step_id: step.clone(),
            build_id: build.clone(),
            seq: 0,
            at: self.ports.context.now(),
            stage,
        };
        let done = Outcome::Done { build };
        Write {
            // Seeded bug: a-request-leaves-no-history
            event: Some(event),
            answer: Some(answer(self.ports, self.fence, &self.request.id, done)),
            ..Write::default()
        }
    }
}

/// Takes over the record of an image that somebody else has made: a person vouches that it is what
/// git says.
async fn adopt(asked: &RequestContext<'_>, step: &StepId, image: &AmiId) -> Result<(), PassError> {
    let RequestContext { ports, fence, by, request, .. } = *asked;
    let (_, head) = may_adopt(by.plan, step, image, by.attempts.get(step))?;
    let Some(seen) = ports.image_reader()?.image(image).await? else {
        return Err(gone(step, image).into());
    };
    refuse_reserved(ports, &fence.workflow_id, [image, &head.base_ami_id]).await?;
    let inventory = &ports.inventory;
    let Some(mut record) = inventory.record(&fence.workflow_id, step).await? else {
        return Err(Diagnostic::new(format!("{step}: its record is gone")).into());
    };
    let source = SourceImage { id: head.base_ami_id.clone(), name: head.base_ami_name.clone() };
    let state = by.desired.state(step, &source)?;
    let metadata = metadata(&by.desired.loaded(step)?.step);
    let mut built = asked.built(step, &state, &metadata);
    let aws_tags = &by.desired.checkout.params.aws_tags;
    built.tags = ImageTags::of_record(head, &built, aws_tags).tags().into();
    if let Some(change) = tag_change(&built.tags, &seen.tags, &built.tags) {
        ports.image_writer()?.tag(&seen, &change).await?;
    }
    let maker = Maker::Adopted { by: request.by.clone() };
    let intent = asked.intent(&state, (source.id, head.ami_name.clone()), maker);
    record.metadata = metadata.to_string();
    record.components = Some(state.components);
    record.head.built = Some(built);
    let write = Write {
        record: Some((record, Some(Expected::Image(image.clone())))),
        ..asked.done(step, Stage::Adopted { intent, ami_id: image.clone() })
    };
    Ok(inventory.write(write, Some(fence)).await?)
}

/// Removes the record of a step that git has no more. Its image stays, and the journal keeps both.
async fn forget(asked: &RequestContext<'_>, step: &StepId, image: &AmiId) -> Result<(), PassError> {
    let RequestContext { ports, fence, by, request, .. } = *asked;
    // Seeded bug: a-record-that-git-has-is-forgotten
    may_forget(by.plan, step, image, by.attempts.get(step))?;
    let Some(record) = ports.inventory.record(&fence.workflow_id, step).await? else {
        return Err(Diagnostic::new(format!("{step}: its record is gone")).into());
    };
    let head = record.head;
    let built = head.built.as_ref();
    let forgotten = Forgotten {
        ami_id: head.ami_id.clone(),
        ami_name: head.ami_name.clone(),
        source_ami: head.base_ami_id.clone(),
        fingerprint: built.map(|built| built.fingerprint),
        build_id: built.map(|built| built.build_id.clone()),
        revision: built.map(|built| built.revision.clone()),
        region: built.map_or_else(|| ports.region.clone(), |built| built.region.clone()),
        by: request.by.clone(),
        fence: fence.token,
    };
    let (workflow_id, step_id) = (head.workflow_id, head.step_id);
    let write = Write {
        removal: Some(Removal { workflow_id, step_id, image: image.clone() }),
        ..asked.done(step, Stage::Forgotten(forgotten))
    };
    Ok(ports.inventory.write(write, Some(fence)).await?)
}

/// How long a person's process may take from the permission to the image that EC2 shows: beyond it
/// the permission is void. The process asks EC2 within the first part of it.
pub const TO_BE_SHOWN: Duration = Duration::from_mins(15);

/// Within so long after the permission the person's process asks EC2, or not at all.
pub const TO_BE_ASKED: Duration = Duration::from_mins(5);

/// How many names are tried for an image that a person makes.
const MOST_NAMES: u32 = 100;

/// Allows the image of a step to be made out of a person's instance: an intent, which the person's
/// process then carries out at EC2, and whoever holds the lease follows.
async fn allow_image(
    asked: &RequestContext<'_>,
    step: &StepId,
    instance: &str,
    stopped: &str,
) -> Result<(), PassError> {
    let RequestContext { ports, fence, by, request, .. } = *asked;
    let (_, source) = may_make_image(by.plan, step, by.attempts.get(step))?;
    refuse_reserved(ports, &fence.workflow_id, [&source.id]).await?;
    let seen = ports.image_reader()?.instance(instance).await?;
    may_be_imaged(instance, seen.as_ref())?;
    if !seen.is_some_and(|seen| seen.is_stopped_since(stopped)) {
        return Err(Diagnostic::new(format!(
            "instance {instance} was started since it was looked at"
        ))
        .hint("ask again")
        .into());
    }
    let state = by.desired.state(step, source)?;
    let metadata = metadata(&by.desired.loaded(step)?.step);
    let ami_name = free_name(ports, by, step, &state.fingerprint).await?;
    let maker = Maker::Instance {
        id: instance.to_owned(),
        stopped: stopped.to_owned(),
        by: request.by.clone(),
    };
    let allowed = asked.intent(&state, (source.id.clone(), ami_name), maker);
    let intent = Intent {
        deadline: allowed.deadline + TO_BE_SHOWN,
        promise: Some(Box::new(RecordDraft {
            source_ami_name: source.name.clone(),
            root_base_ami_id: by.desired.root_base.id.clone(),
            root_base_ami_name: by.desired.root_base.name.clone(),
            components: state.components,
            aws_tags: by.desired.checkout.params.aws_tags.clone(),
            metadata_digest: value_digest(&metadata),
            metadata: metadata.to_string(),
        })),
        ..allowed
    };
    Ok(ports.inventory.write(asked.done(step, Stage::Intent(intent)), Some(fence)).await?)
}

/// The first name for an image of this fingerprint that nobody has. One that is there already, of
/// an earlier try, may be of an instance that ran: it is not taken.
async fn free_name(
    ports: &LeasedPorts,
    by: &PlanOfRequest<'_>,
    step: &StepId,
    fingerprint: &Fingerprint,
) -> Result<AmiName, PassError> {
    for number in 0..MOST_NAMES {
        let name = by.desired.image_name(step, fingerprint, number)?;
        if ports.image_reader()?.own_image_named(&name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(all_taken(step, MOST_NAMES).into())
}

/// That an image to be adopted is not there.
#[must_use]
pub fn gone(step: &StepId, image: &AmiId) -> Diagnostic {
    Diagnostic::new(format!("{step}: {image} is gone from EC2; there is nothing to adopt"))
}
