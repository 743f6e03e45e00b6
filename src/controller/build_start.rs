//! Starts one build that the plan decided: an intent is written before money is spent.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::Config;
use crate::controller::build_evidence::lost_build_of;
use crate::controller::build_finish::{PackerRun, fail};
use crate::controller::build_inputs::{BuildInputs, DecidedImage};
use crate::controller::checkout::metadata;
use crate::controller::connect::{Ports, reach};
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::journal_entries::append;
use crate::controller::reservations::refuse_reserved;
use reconciler_core::build::verdict::{Fault, lacks};
use reconciler_core::desired::inputs::value_digest;
use reconciler_hcl::Wanted;
use reconciler_model::build::{RunningBuild, Sighting};
use reconciler_model::build_resources::{
    ClaimedResources, RemovableImages, ResourceSearch, VisibleResources,
};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, BuildId, WorkflowId};
use reconciler_model::images::{Image, ImageState, ImageWriter as _};
use reconciler_model::inventory::journal::{
    Attempt, BuildEvent, FailureClass, Intent, Maker, RecordDraft, Stage,
};
use reconciler_model::inventory::{Fence, IntentWritten};

/// How long the first sign of life of a build is waited for: its supervisor gives it as soon as
/// Packer runs.
const FIRST_SIGN: Duration = Duration::from_secs(5);

/// After so long it is looked for again; each time twice as long, for looks are calls of AWS.
const FIRST_SIGN_LOOK: Duration = Duration::from_millis(50);

/// What became of a start.
#[derive(Debug)]
pub enum Started {
    /// Packer runs.
    Running(Box<Attempt>, RunningBuild),
    /// The image that git wants exists already, from an earlier build of the same fingerprint: it
    /// is taken over.
    Exists(Box<Attempt>, Box<Image>),
    /// It could not be started; the journal says why.
    Failed(Box<Attempt>),
    /// What the plan saw at EC2 is another by now: it is to be planned again.
    Changed,
}

/// Starts one build.
pub async fn start(
    config: &Config,
    ports: &LeasedPorts,
    inputs: &BuildInputs<'_>,
    fence: &Fence,
) -> Result<Started, PassError> {
    let DecidedImage { source, ami_name, .. } = inputs.image;
    refuse_reserved(ports, &fence.workflow_id, [&source.id]).await?;
    let secrets = inputs.secrets()?;
    // The plan has asked as well, but others may have taken the name since.
    let existing = match &ports.catalog {
        Some(catalog) => catalog.own_image_named(ami_name).await?,
        None => None,
    };
    let timeout = inputs.loaded.step.switches.timeout.unwrap_or(config.packer.timeout);
    let intent = intent(config, ports, inputs, timeout, fence);
    if let Some(image) = existing {
        return of_a_lost_build_in_part(config, ports, inputs, intent, &image, fence).await;
    }
    let (mut attempt, written) = write_intent(ports, inputs, intent, fence).await?;
    let image = Wanted {
        ami_name: Some(ami_name.as_str()),
        source_ami: Some(source.id.as_str()),
        region: Some(ports.region.as_str()),
    };
    let inspection = match inputs.template.inspect(&image) {
        Ok(inspection) => inspection,
        Err(why) => {
            let fault = Fault::new(FailureClass::Step, why.one_line());
            fail(config, ports, &mut attempt, fence, &fault, PackerRun::default()).await?;
            return Ok(Started::Failed(Box::new(attempt)));
        }
    };
    let job = inputs.job(inspection, timeout, secrets)?;
    let started = match ports.builder.start(written, &job, ports.start_deadline()).await {
        // Whatever went wrong, its supervisor may run; one that does not is refused from here on.
        Err(error) => match ports.builder.find(&attempt.build_id).await {
            // Seeded bug: a-start-without-an-answer-is-taken-for-none
            Ok(Sighting::Here(running)) => Ok(running),
            _ => Err(error),
        },
        started => started,
    };
    match started {
        Ok(running) => {
            await_first_sign(ports, &fence.workflow_id, &attempt.build_id).await;
            append(ports, &mut attempt, fence, Stage::Started { pid: running.pid }).await?;
            Ok(Started::Running(Box::new(attempt), running))
        }
        Err(error) => {
            let error = PassError::from(error);
            let told = error.diagnostic();
            let cause = match &told.hint {
                Some(hint) => format!("{}; {hint}", told.one_line()),
                None => told.one_line(),
            };
            let fault = Fault::new(error.class(), cause);
            fail(config, ports, &mut attempt, fence, &fault, PackerRun::default()).await?;
            Ok(Started::Failed(Box::new(attempt)))
        }
    }
}

/// Waits for a moment until the build has given a sign of life: the journal says that it runs only
/// then, so that one of a host that is lost with its disk right after it is given up after a
/// silence, and not at its time limit. A build whose signs do not reach the inventory is said to
/// run all the same, and is waited for.
async fn await_first_sign(ports: &Ports, workflow: &WorkflowId, build: &BuildId) {
    let (mut waited, mut pause) = (Duration::ZERO, FIRST_SIGN_LOOK);
    // Seeded bug: a-build-runs-before-its-first-sign
    while waited < FIRST_SIGN {
        // Where the inventory does not answer, the next write will tell.
        match ports.inventory.last_beat(workflow, build).await {
            Ok(Some(_)) | Err(_) => return,
            Ok(None) => ports.context.sleep(pause).await,
        }
        waited += pause;
        pause = (pause * 2).min(FIRST_SIGN.saturating_sub(waited));
    }
}

/// What is there under the name of an image that was to be built: the plan saw it, if a build that
/// was given up has made it and came no further, so that it is to be removed first. Whatever else
/// came there since is for the next plan.
async fn of_a_lost_build_in_part(
    config: &Config,
    ports: &LeasedPorts,
    inputs: &BuildInputs<'_>,
    intent: Intent,
    image: &Image,
    fence: &Fence,
) -> Result<Started, PassError> {
    let workflow = &inputs.desired.checkout.params.workflow_id;
    let lacking = lacks(image, &intent.afterwards);
    let Some(lacking) = lacking.filter(|_| image.state == ImageState::Available) else {
        return Ok(Started::Changed);
    };
    let Some(lost) = lost_build_of(ports, workflow, &intent.ami_name, image).await? else {
        return Ok(Started::Changed);
    };
    let (mut attempt, _) = write_intent(ports, inputs, intent, fence).await?;
    let search = ResourceSearch {
        build: &lost,
        image_name: Some(&image.name),
        claimed: ClaimedResources::default(),
        images: RemovableImages::ButRecorded {
            unwanted: vec![image.id.clone()],
            recorded: BTreeSet::new(),
        },
    };
    let visible = VisibleResources { images: vec![image.clone()], ..VisibleResources::default() };
    ports.image_writer()?.remove_all(&search.owned(&visible)).await?;
    let fault = Fault::new(FailureClass::Transient, lacking);
    fail(config, ports, &mut attempt, fence, &fault, PackerRun::default()).await?;
    Ok(Started::Failed(Box::new(attempt)))
}

/// Begins to take over this image, which the plan names, if it is still there.
pub async fn take(
    config: &Config,
    ports: &LeasedPorts,
    inputs: &BuildInputs<'_>,
    image: &AmiId,
    fence: &Fence,
) -> Result<Started, PassError> {
    let workflow = &fence.workflow_id;
    refuse_reserved(ports, workflow, [image, &inputs.image.source.id]).await?;
    let found = ports.image_reader()?.own_image_named(inputs.image.ami_name).await?;
    let Some(image) = found.filter(|found| {
        found.id == *image && matches!(found.state, ImageState::Available | ImageState::Pending)
    }) else {
        return Ok(Started::Changed);
    };
    let intent = intent(config, ports, inputs, config.packer.timeout, fence);
    let (attempt, _) = write_intent(ports, inputs, intent, fence).await?;
    Ok(Started::Exists(Box::new(attempt), Box::new(image)))
}

fn intent(
    config: &Config,
    ports: &Ports,
    inputs: &BuildInputs<'_>,
    timeout: Duration,
    fence: &Fence,
) -> Intent {
    let BuildInputs { image, desired, loaded, state, template } = inputs;
    let metadata = metadata(&loaded.step);
    let deadline = ports.context.now() + timeout + config.packer.grace + Duration::from_mins(1);
    Intent {
        fingerprint: *image.fingerprint,
        ami_name: image.ami_name.clone(),
        revision: desired.checkout.revision.clone(),
        source_ami: image.source.id.clone(),
        region: ports.region.clone(),
        host: ports.context.host_name(),
        prepared_by: ports.context.own_mark_with(&config.state_dir),
        reach: reach(config, &desired.checkout.params),
        deadline,
        fence: fence.token,
        attempt: image.attempt,
        promise: Some(Box::new(RecordDraft {
            source_ami_name: image.source.name.clone(),
            root_base_ami_id: desired.root_base.id.clone(),
            root_base_ami_name: desired.root_base.name.clone(),
            components: state.components.clone(),
            aws_tags: desired.checkout.params.aws_tags.clone(),
            metadata_digest: value_digest(&metadata),
            metadata: metadata.to_string(),
        })),
        afterwards: template.afterwards(|text| ports.redactor.text(text) != text),
        maker: Maker::Packer,
    }
}

/// Why an image keeps its name from a build, and what to do.
pub(super) fn taken_by(image: &Image, why: &str) -> String {
    format!(
        "the name {} is taken by {} ({}), which {why}; deregister that image, or `--rebuild` the step",
        image.name, image.id, image.state
    )
}

async fn write_intent(
    ports: &Ports,
    inputs: &BuildInputs<'_>,
    intent: Intent,
    fence: &Fence,
) -> Result<(Attempt, IntentWritten), PassError> {
    let event = BuildEvent {
        workflow_id: inputs.desired.checkout.params.workflow_id.clone(),
        step_id: inputs.loaded.step.id.clone(),
        build_id: ports.context.new_build_id(),
        seq: 0,
        at: ports.context.now(),
        stage: Stage::Intent(intent.clone()),
    };
    let written = ports.inventory.write_intent(event.clone(), fence).await?;
    let attempt = Attempt::begin(&event)
        .ok_or_else(|| PassError::Person(Diagnostic::new("a build begins with its intent")))?;
    Ok((attempt, written))
}
