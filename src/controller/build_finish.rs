//! Carries a build that is over to its record, or to its failure and a clean account.
//!
//! Safe to run again from any point: every stage is looked up before it is done, and written after
//! it happened.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::controller::build_evidence::{End, await_end, lost_build_of, still_ours};
use crate::controller::build_start::taken_by;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::journal_entries::{append, append_decided, append_with, take_in_requests};
use reconciler_core::build::instance::{InstanceBuild, judge as judge_instance};
use reconciler_core::build::phase_comparison::compared;
use reconciler_core::build::verdict::{
    Fault, Verdict, Wanted, artifacts_in, judge, lacks, with_its_source,
};
use reconciler_core::images::console_url::aws_console_url;
use reconciler_core::images::tags::{ImageTags, tag_change};
use reconciler_core::recovery::{
    Execution, NamedImage, Recovery, State, decide, is_ours, made_while_it_ran, was_found_before,
};
use reconciler_core::retry::consequence;
use reconciler_core::status::changed::changed_in_short;
use reconciler_model::build::{BuildOutcome, Sighting};
use reconciler_model::build_phases::BuildPhase;
use reconciler_model::build_resources::{RemovableImages, ResourceSearch};
use reconciler_model::components::Components;
use reconciler_model::ids::{AmiId, StepId};
use reconciler_model::images::{Image, ImageState, ImageWriter as _};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::heartbeat::BuildSignal;
use reconciler_model::inventory::journal::{
    Attempt, Failure, FailureClass, Maker, OpenAttempt, Phase, Progress, Stage,
};
use reconciler_model::inventory::record::{Built, Record, RecordHead};
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{Expected, Fence};

/// How long an image may take to become available after Packer has ended.
const LONGEST_WAIT: Duration = Duration::from_hours(4);

/// How soon the image of a person's instance is looked for again; each time twice as long.
const INSTANCE_LOOK: Duration = Duration::from_millis(500);
/// Up to this.
const LONGEST_INSTANCE_LOOK: Duration = Duration::from_secs(15);

/// What is written down of a run of Packer; nothing where none ran, or nobody could tell.
#[derive(Clone, Debug, Default)]
pub(super) struct PackerRun {
    seconds: u64,
    log: Option<String>,
    phases: Vec<BuildPhase>,
    /// What it was to build.
    components: Option<Components>,
}

impl PackerRun {
    fn of(outcome: &BuildOutcome) -> Self {
        Self {
            // A part of a second is one: what took none is an adoption.
            seconds: outcome.duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            log: Some(outcome.log.display().to_string()),
            phases: outcome.phases.clone(),
            components: None,
        }
    }
}

/// Waits for a build and settles it; of one that is over, removes what it left. Returns the attempt
/// as it ended.
pub async fn carry(
    config: &Config,
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: Attempt,
    sighting: Sighting,
) -> Result<Attempt, PassError> {
    let mut open = match attempt.phase()? {
        Phase::Open(open) => open,
        Phase::Over(attempt) => return clean_later(ports, fence, attempt, sighting).await,
    };
    if let Maker::Instance { id, stopped, .. } = open.intent.maker.clone() {
        return carry_instance(config, ports, fence, open, (&id, &stopped)).await;
    }
    let end = await_end(config, ports, fence, &open, sighting).await?;
    take_in_requests(ports, open.attempt_mut(), fence).await?;
    let run = end.outcome.as_ref().map(PackerRun::of).unwrap_or_default();
    let mut attempt = match verdict(ports, fence, &open, &end).await? {
        Verdict::Made(id) => record(ports, fence, open, &id, run).await?,
        Verdict::Failed(fault) => {
            let components = Some(open.draft().components.clone());
            let mut attempt = open.into_attempt();
            let run = PackerRun { components, ..run };
            fail(config, ports, &mut attempt, fence, &fault, run).await?;
            attempt
        }
    };
    clean(ports, fence, &mut attempt, &end).await?;
    forget(ports, fence, &attempt).await?;
    Ok(attempt)
}

/// Waits for the image of a person's instance and settles it. It is never asked for here.
async fn carry_instance(
    config: &Config,
    ports: &LeasedPorts,
    fence: &Fence,
    mut open: OpenAttempt,
    (id, stopped): (&str, &str),
) -> Result<Attempt, PassError> {
    let images = ports.image_reader()?;
    let mut pause = INSTANCE_LOOK;
    let mut attempt = loop {
        take_in_requests(ports, open.attempt_mut(), fence).await?;
        let image = images.own_image_named(&open.intent.ami_name).await?;
        // Looked at after the image: it is as it was when the image was asked for, or it is not.
        let instance = match &image {
            Some(_) => images.instance(id).await?,
            None => None,
        };
        let now = ports.context.now();
        match judge_instance(&open, (id, stopped), image.as_ref(), instance.as_ref(), now) {
            InstanceBuild::Made(image) => {
                break record(ports, fence, open, &image, PackerRun::default()).await?;
            }
            InstanceBuild::Failed(fault) => {
                let mut attempt = open.into_attempt();
                fail(config, ports, &mut attempt, fence, &fault, PackerRun::default()).await?;
                break attempt;
            }
            InstanceBuild::Wait => {
                still_ours(ports, fence).await?;
                ports.context.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_INSTANCE_LOOK);
            }
        }
    };
    // No Packer ran, and its image, recorded or not, is for a person to remove.
    append(ports, &mut attempt, fence, Stage::Cleaned { removed: Vec::new() }).await?;
    Ok(attempt)
}

async fn verdict(
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: &Attempt,
    end: &End,
) -> Result<Verdict, PassError> {
    let Some(outcome) = &end.outcome else {
        let verdict = without_outcome(ports, fence, attempt, end).await?;
        let planned = &attempt.intent.source_ami;
        return Ok(with_its_source(verdict, &end.sources, planned));
    };
    let wanted = Wanted {
        region: &attempt.intent.region,
        name: &attempt.intent.ami_name,
        source: &attempt.intent.source_ami,
        afterwards: &attempt.intent.afterwards,
    };
    let judged = judge(outcome, wanted, end.image.as_ref());
    // A build that was given up has made the image meanwhile, under the same unique name: this one
    // could not. Once that was found the journal says so, for the image may bear this build's tags
    // by now, and nobody could tell it any more.
    if let (Verdict::Failed(_), Some(image)) = (&judged, &end.image)
        && image.state == ImageState::Available
        && lacks(image, &attempt.intent.afterwards).is_none()
        && !outcome.artifacts.iter().any(|(_, id)| *id == image.id)
        && (was_found_before(image, attempt)
            || lost_build_of(ports, &fence.workflow_id, &attempt.intent.ami_name, image)
                .await?
                .is_some())
    {
        return Ok(Verdict::Made(image.id.clone()));
    }
    Ok(judged)
}

/// Of a build that nobody can say anything of, its image is all there is; and one of its name may
/// be another's.
async fn without_outcome(
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: &Attempt,
    end: &End,
) -> Result<Verdict, PassError> {
    let image = end.image.as_ref();
    let named = NamedImage::of(image.map(|image| &image.state));
    // One that was recorded or was about to be is whole, and its Packer has ended or is killed.
    let was_judged = image.is_some_and(|image| is_ours(image, attempt, Execution::Never));
    let told_to_end = attempt.cancel_requested.is_some() && !was_judged;
    // Seeded bug: a-lost-builds-image-is-not-looked-for
    if let (Recovery::Adopt, Some(image)) = (decide(State::Gone, named, told_to_end), image) {
        let name = &attempt.intent.ami_name;
        let ours = is_ours(image, attempt, end.execution)
            || lost_build_of(ports, &fence.workflow_id, name, image).await?.is_some();
        let lacking = lacks(image, &attempt.intent.afterwards).filter(|_| !was_judged);
        return Ok(if let (true, Some(cause)) = (ours, lacking) {
            Fault::new(FailureClass::Transient, cause).into()
        } else if ours {
            Verdict::Made(image.id.clone())
        } else {
            let cause = taken_by(image, "was not made for this fingerprint");
            Fault::new(FailureClass::Person, cause).into()
        });
    }
    Ok(if attempt.cancel_requested.is_some() {
        Fault::new(FailureClass::Cancelled, "cancelled".to_owned()).into()
    } else {
        Fault::new(FailureClass::Transient, end.why.clone()).into()
    })
}

/// A build whose end is in the journal, but not that what it left is gone.
async fn clean_later(
    ports: &LeasedPorts,
    fence: &Fence,
    mut attempt: Attempt,
    sighting: Sighting,
) -> Result<Attempt, PassError> {
    if matches!(attempt.intent.maker, Maker::Instance { .. }) {
        append(ports, &mut attempt, fence, Stage::Cleaned { removed: Vec::new() }).await?;
        return Ok(attempt);
    }
    let (outcome, traces, execution) = if let Sighting::Here(running) = sighting {
        let outcome = ports.builder.wait(&running).await?;
        let traces = outcome.traces.clone();
        (Some(outcome), traces, Execution::Perhaps)
    } else {
        let beat = ports.inventory.last_beat(&fence.workflow_id, &attempt.build_id).await?;
        let execution = if beat.is_some() { Execution::Perhaps } else { Execution::Never };
        let traces = beat.as_ref().map(|beat| beat.sign.traces().clone()).unwrap_or_default();
        let outcome = beat.and_then(|beat| match beat.sign {
            BuildSignal::Over { outcome } => Some(*outcome),
            BuildSignal::Running { .. } | BuildSignal::GivenUp { .. } => None,
        });
        (outcome, traces, execution)
    };
    let image = ports.image_reader()?.own_image_named(&attempt.intent.ami_name).await?;
    let end = End {
        outcome,
        traces,
        // It is judged already.
        sources: Vec::new(),
        image,
        execution,
        why: String::new(),
    };
    clean(ports, fence, &mut attempt, &end).await?;
    forget(ports, fence, &attempt).await?;
    Ok(attempt)
}

/// A settled build needs no signs of life; one that was given up is looked after until its host
/// cannot come back.
async fn forget(ports: &LeasedPorts, fence: &Fence, attempt: &Attempt) -> Result<(), PassError> {
    let beat = ports.inventory.last_beat(&fence.workflow_id, &attempt.build_id).await?;
    // On a full disk, say: it is looked into once more by a later sweep.
    let _ = ports.builder.account_for(&attempt.build_id).await;
    let asked = attempt.cancel_requested.is_some() && beat.is_none();
    // Seeded bug: a-lost-builds-beat-is-forgotten
    if asked || beat.is_some_and(|beat| !beat.sign.is_given_up()) {
        ports.inventory.forget_beat(&attempt.build_id, fence).await?;
    }
    Ok(())
}

/// Takes an image over that exists already under the wanted name.
pub async fn take_over(
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: Attempt,
    image: &Image,
) -> Result<Attempt, PassError> {
    let mut attempt = match attempt.phase()? {
        Phase::Open(open) => record(ports, fence, open, &image.id, PackerRun::default()).await?,
        Phase::Over(attempt) => return Ok(attempt),
    };
    append(ports, &mut attempt, fence, Stage::Cleaned { removed: Vec::new() }).await?;
    Ok(attempt)
}

async fn record(
    ports: &LeasedPorts,
    fence: &Fence,
    mut open: OpenAttempt,
    id: &AmiId,
    run: PackerRun,
) -> Result<Attempt, PassError> {
    let images = ports.image_reader()?;
    let seen = Stage::ImageSeen { ami_id: id.clone() };
    append_once(ports, open.attempt_mut(), fence, seen).await?;
    // Seeded bug: recorded-before-verified
    let image = images.wait_available(id, ports.context.now() + LONGEST_WAIT).await?;
    append_once(ports, open.attempt_mut(), fence, Stage::Available).await?;
    let now = ports.context.now();
    let before = ports.inventory.record(&fence.workflow_id, &open.step_id).await?;
    let mut record = describe(fence, &open, &image, (run.seconds, now), before.as_ref());
    // Seeded bug: recorded-before-tagged
    let image = tag_and_read_back(ports, &record, image).await?;
    record.details =
        if ports.knows_secrets { ports.redactor.text(&image.details) } else { "{}".to_owned() };
    append_once(ports, open.attempt_mut(), fence, Stage::Tagged).await?;
    let expected = match before {
        None => Expected::Absent,
        Some(old) => Expected::Image(old.head.ami_id),
    };
    let phases = redacted(ports, run.phases);
    let stage = Stage::Recorded { ami_id: id.clone(), build_seconds: run.seconds, phases };
    let mut attempt = open.into_attempt();
    append_with(ports, &mut attempt, fence, stage, Some((record, Some(expected)))).await?;
    Ok(attempt)
}

/// Appends a stage on the way to a record, unless an earlier try came as far with the same image:
/// what is tried for days is written once.
async fn append_once(
    ports: &LeasedPorts,
    attempt: &mut Attempt,
    fence: &Fence,
    stage: Stage,
) -> Result<(), PassError> {
    if is_written(attempt, &stage) {
        return Ok(());
    }
    append(ports, attempt, fence, stage).await
}

/// Whether the journal says it of the build already. What comes after another image was seen is
/// said anew.
fn is_written(attempt: &Attempt, stage: &Stage) -> bool {
    let reached = |progress: &Progress| match progress {
        Progress::ImageSeen => 1,
        Progress::Available => 2,
        Progress::Tagged => 3,
        _ => 0,
    };
    match stage {
        Stage::ImageSeen { ami_id } => {
            attempt.ami_id.as_ref() == Some(ami_id) && reached(&attempt.progress) >= 1
        }
        Stage::Available => reached(&attempt.progress) >= 2,
        Stage::Tagged => reached(&attempt.progress) >= 3,
        _ => false,
    }
}

fn describe(
    fence: &Fence,
    attempt: &OpenAttempt,
    image: &Image,
    (seconds, now): (u64, Timestamp),
    before: Option<&Record>,
) -> Record {
    let (intent, draft) = (&attempt.intent, attempt.draft());
    let mut head = RecordHead {
        workflow_id: fence.workflow_id.clone(),
        step_id: attempt.step_id.clone(),
        ami_id: image.id.clone(),
        ami_name: image.name.clone(),
        create_at: image.created_at,
        base_ami_id: intent.source_ami.clone(),
        base_ami_name: draft.source_ami_name.clone(),
        root_base_ami_id: draft.root_base_ami_id.clone(),
        root_base_ami_name: draft.root_base_ami_name.clone(),
        built: None,
    };
    let mut built = Built {
        fingerprint: intent.fingerprint,
        build_id: attempt.build_id.clone(),
        revision: intent.revision.clone(),
        region: intent.region.clone(),
        tags: Tags::default(),
        metadata_digest: draft.metadata_digest,
        build_seconds: seconds,
        build_times: times_before(before).with(seconds),
        recorded_at: now,
        fence: fence.token,
    };
    built.tags = ImageTags::of_record(&head, &built, &draft.aws_tags).tags().into();
    head.built = Some(built);
    Record {
        aws_console_url: aws_console_url(&intent.region, &image.id),
        head,
        details: String::new(),
        metadata: draft.metadata.clone(),
        components: Some(draft.components.clone()),
    }
}

/// The times of the builds up to the record that stands.
fn times_before(record: Option<&Record>) -> BuildTimes {
    let built = record.and_then(|record| record.head.built.as_ref());
    built.map(Built::times).unwrap_or_default()
}

/// Puts the tags of a record on its image, and looks whether they are there.
pub(super) async fn tag_and_read_back(
    ports: &LeasedPorts,
    record: &Record,
    image: Image,
) -> Result<Image, PassError> {
    let Some(built) = &record.head.built else {
        return Ok(image);
    };
    if let Some(change) = tag_change(&built.tags, &image.tags, &built.tags) {
        ports.image_writer()?.tag(&image, &change).await?;
    }
    let seen = ports.image_reader()?.image(&image.id).await?.unwrap_or(image);
    // Seeded bug: tags-are-not-read-back
    match tag_change(&built.tags, &seen.tags, &built.tags) {
        None => Ok(seen),
        Some(missing) => {
            Err(PassError::Catalog(reconciler_model::images::CatalogError::Unavailable {
                detail: format!(
                    "the tags of {} are not there yet: {}",
                    seen.id,
                    missing.set.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
            }))
        }
    }
}

fn redacted(ports: &LeasedPorts, mut phases: Vec<BuildPhase>) -> Vec<BuildPhase> {
    for phase in &mut phases {
        phase.name = ports.redactor.text(&phase.name);
    }
    phases
}

/// The phases and the inputs of the build whose image is the current one of a step. Only for
/// comparison: what cannot be read keeps no failure from being written.
async fn last_good(
    ports: &LeasedPorts,
    fence: &Fence,
    step: &StepId,
) -> (Vec<BuildPhase>, Option<Components>) {
    let inventory = &ports.inventory;
    let Ok(Some(record)) = inventory.record(&fence.workflow_id, step).await else {
        return (Vec::new(), None);
    };
    let Some(built) = record.head.built else {
        return (Vec::new(), record.components);
    };
    let events = inventory.events_of_build(&fence.workflow_id, &built.build_id).await;
    let events = events.map(|events| events.sound).unwrap_or_default();
    let phases = events.into_iter().find_map(|event| match event.stage {
        Stage::Recorded { phases, .. } => Some(phases),
        _ => None,
    });
    (phases.unwrap_or_default(), record.components)
}

/// Writes a failure with the time of the next try.
pub(super) async fn fail(
    config: &Config,
    ports: &LeasedPorts,
    attempt: &mut Attempt,
    fence: &Fence,
    fault: &Fault,
    run: PackerRun,
) -> Result<(), PassError> {
    let PackerRun { log, phases, components, .. } = run;
    let (mut phases, mut changed) = (redacted(ports, phases), String::new());
    // One that came to nothing has nothing to be held against.
    if !phases.is_empty() {
        let (good_phases, good) = last_good(ports, fence, &attempt.step_id).await;
        phases = compared(phases, &good_phases);
        let known = good.zip(components);
        let step = &attempt.step_id;
        changed = known.map_or(changed, |(good, own)| changed_in_short(step, &good, &own));
    }
    let (jitter, now) = (ports.context.jitter(), ports.context.now());
    let tries = attempt.intent.attempt;
    // Decided when it is written: a request may come until then.
    let stage = |attempt: &Attempt| {
        let asked = attempt.cancel_requested.as_ref();
        let by = asked.map(|asked| asked.by.as_str());
        let came_to = consequence(fault, by, tries, &config.retry, (now, jitter));
        Stage::Failed(Failure {
            class: came_to.class,
            cause: ports.redactor.text(&came_to.cause),
            details: ports.redactor.text(&fault.details),
            log: log.clone(),
            phases: phases.clone(),
            changed: ports.redactor.text(&changed),
            retry_at: came_to.retry_at,
        })
    };
    append_decided(ports, attempt, fence, &stage).await
}

/// Removes what the build left; nothing that is not this build's.
async fn clean(
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: &mut Attempt,
    end: &End,
) -> Result<(), PassError> {
    let failed = matches!(attempt.progress, Progress::Failed(_));
    let mut claimed = end.traces.clone();
    // Seeded bug: no-clean-up-after-success
    let images = if failed && end.execution == Execution::Perhaps {
        RemovableImages::ButRecorded {
            unwanted: unwanted_images(attempt, end),
            recorded: BTreeSet::new(),
        }
    } else {
        RemovableImages::None
    };
    if failed && let Some(outcome) = &end.outcome {
        // Volumes stay, and the cause names them: these credentials cannot remove any, for IAM
        // could not tell those from a person's.
        let others = outcome
            .others
            .iter()
            .filter(|(region, id)| *region == attempt.intent.region && id.starts_with("snap-"));
        claimed.snapshots.extend(others.map(|(_, id)| id.clone()));
    }
    let build = &attempt.build_id;
    let image_name = end.own_name(attempt);
    let search = ResourceSearch { build, image_name, claimed, images };
    let mut visible = ports.image_reader()?.visible_resources(&search).await?;
    // EC2 may not show it any more under its name.
    visible.add_images(end.image.clone());
    // Seeded bug: nothing-is-removed
    let removed = ports.image_writer()?.remove_all(&search.owned(&visible)).await?;
    append(ports, attempt, fence, Stage::Cleaned { removed }).await
}

/// The finished images of a failed build: those of another name too, for nobody asks for them any
/// more, and the one that holds the name that the next try needs.
fn unwanted_images(attempt: &Attempt, end: &End) -> Vec<AmiId> {
    let outcome = end.outcome.iter();
    let named = outcome.flat_map(|outcome| artifacts_in(outcome, &attempt.intent.region));
    let own = end.image.iter().filter(|image| {
        end.own_name(attempt) == Some(&image.name) && made_while_it_ran(image, attempt)
    });
    named.chain(own.map(|image| &image.id)).cloned().collect()
}
