//! Gathers what is known of a build that the journal does not say to be over, and waits until it
//! does not run any more: on this host by its folder, on another by its signs of life. What that
//! means is decided by `recovery`.

use reconciler_model::images::{BUILD_ID_TAG, NOT_YET_KNOWN};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::controller::connect::silence;
use crate::controller::context::Context;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::journal_entries::take_in_requests;
use reconciler_core::build::verdict::{artifacts_in, has_lost_its_name, is_planned_source};
use reconciler_core::lease_rules::UnchangedSince;
use reconciler_core::recovery::{Evidence, Execution, Here, Life, State, is_no_older, state};
use reconciler_model::build::{BuildOutcome, Exit, Sighting};
use reconciler_model::build_resources::ClaimedResources;
use reconciler_model::clock::Moment;
use reconciler_model::ids::{AmiId, AmiName, BuildId, HostMark, WorkflowId};
use reconciler_model::images::{Image, ImageReader};
use reconciler_model::inventory::heartbeat::{BuildSignal, Heartbeat};
use reconciler_model::inventory::journal::Attempt;
use reconciler_model::inventory::{Fence, InventoryError};

/// How long after its time limit even the supervisor of a lost host, whose clock may be off, has
/// ended its build.
const AFTERWARDS: SignedDuration = SignedDuration::from_mins(15);

/// What is known of a build that runs no more.
pub(super) struct End {
    /// What it says of itself; none: its host is gone, or it never started.
    pub(super) outcome: Option<BuildOutcome>,
    /// What it left, as far as its log told somebody.
    pub(super) traces: ClaimedResources,
    /// The images that it says it started from, as far as its log told somebody.
    pub(super) sources: Vec<AmiId>,
    /// The image of its name.
    pub(super) image: Option<Image>,
    /// Whether it may have made something.
    pub(super) execution: Execution,
    /// Why there is no outcome, for people.
    pub(super) why: String,
}

impl End {
    /// The name by which an image may be the build's own.
    pub(super) fn own_name<'a>(&self, attempt: &'a Attempt) -> Option<&'a AmiName> {
        own_name(self.outcome.as_ref(), attempt)
    }
}

/// The name by which an image may be a build's own; none where EC2 has told it that another has its
/// name.
pub(super) fn own_name<'a>(
    outcome: Option<&BuildOutcome>,
    attempt: &'a Attempt,
) -> Option<&'a AmiName> {
    (!has_lost_its_name(outcome, &attempt.progress)).then_some(&attempt.intent.ami_name)
}

/// Waits until a build runs no more, as far as anybody can tell.
pub(super) async fn await_end(
    config: &Config,
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: &Attempt,
    sighting: Sighting,
) -> Result<End, PassError> {
    if let Sighting::Here(running) = &sighting {
        let mut outcome = ports.builder.wait(running).await?;
        // Where its folder went, or its disk is full, its supervisor has told the inventory what it
        // could not write down.
        if outcome.exit == Exit::Unknown
            && let Some(beat) =
                ports.inventory.last_beat(&fence.workflow_id, &attempt.build_id).await?
            && let BuildSignal::Over { outcome: over } = beat.sign
        {
            outcome = *over;
        }
        return told(ports, attempt, outcome).await;
    }
    let mut watch = Watch::begin(silence(config), ports.context.moment());
    let here = here(
        &sighting,
        attempt.intent.prepared_by.as_ref(),
        ports.context.own_mark_with(&config.state_dir).as_ref(),
    );
    loop {
        let asked = ports.context.moment();
        let beat = ports.inventory.last_beat(&fence.workflow_id, &attempt.build_id).await?;
        let life = watch.life(beat.as_ref(), asked, ports.context.moment());
        let seen = Evidence {
            here,
            told_started: attempt.is_said_to_run() && sighting != Sighting::NeverRan,
            life,
            deadline: attempt.intent.deadline,
            now: ports.context.now(),
        };
        match state(&seen) {
            State::Here | State::Told => {
                if let Some(Heartbeat { sign: BuildSignal::Over { outcome }, .. }) = beat {
                    return told(ports, attempt, *outcome).await;
                }
            }
            State::Gone => match gone(ports, fence, attempt, &sighting, &seen, beat).await {
                // It has given a sign of life at the last moment.
                Err(PassError::Inventory(InventoryError::Conflict { .. })) => {}
                end => return end,
            },
            State::MayRun => {}
        }
        still_ours(ports, fence).await?;
        let pause = watch.silence / 8;
        let pause = pause.clamp(Duration::from_millis(200), Duration::from_secs(15));
        ports.context.sleep(pause).await;
    }
}

/// What this host knows of a build that it does not run. A claim in its own folder keeps every
/// supervisor from starting it here. Without one, only who prepared it knows that nobody did:
/// another host may bear this one's name.
pub(super) fn here(
    sighting: &Sighting,
    prepared_by: Option<&HostMark>,
    own: Option<&HostMark>,
) -> Here {
    match sighting {
        Sighting::Here(_) => Here::Found,
        Sighting::NeverRan => Here::NeverStarted,
        // Seeded bug: a-host-is-its-name
        Sighting::Unknown if own.is_some() && prepared_by == own => Here::NeverStarted,
        Sighting::Unknown => Here::Elsewhere,
    }
}

async fn told(
    ports: &LeasedPorts,
    attempt: &Attempt,
    outcome: BuildOutcome,
) -> Result<End, PassError> {
    let catalog = ports.image_reader()?;
    let named = catalog.own_image_named(&attempt.intent.ami_name).await?;
    let made = artifacts_in(&outcome, &attempt.intent.region).next();
    let image = match (named, made) {
        // Seeded bug: one-stale-look-costs-an-image
        (None, Some(id)) if outcome.exit == Exit::Code(0) => {
            as_soon_as_known(&ports.context, catalog, id, NOT_YET_KNOWN).await?
        }
        (None, None) if matches!(outcome.exit, Exit::Unknown | Exit::Signal(_)) => {
            // It was killed while EC2 made its image, and took nothing away. A script may have
            // written the id of any image into the log.
            let image = match outcome.traces.told_images.last() {
                Some(id) => as_soon_as_known(&ports.context, catalog, id, NOT_YET_KNOWN).await?,
                None => None,
            };
            // Seeded bug: a-killed-builds-log-is-believed
            image.filter(|image| image.name == attempt.intent.ami_name)
        }
        (named, _) => named,
    };
    Ok(End {
        traces: outcome.traces.clone(),
        sources: outcome.sources.clone(),
        outcome: Some(outcome),
        image,
        execution: Execution::Perhaps,
        why: String::new(),
    })
}

/// An image that Packer says it made, in whatever state; none if EC2 does not know it for so long,
/// or knows it no more.
async fn as_soon_as_known(
    context: &Context,
    catalog: &dyn ImageReader,
    id: &AmiId,
    limit: Duration,
) -> Result<Option<Image>, PassError> {
    let since = context.moment();
    let mut pause = Duration::from_millis(500);
    loop {
        if let Some(image) = catalog.image(id).await? {
            return Ok(Some(image).filter(|image| !image.state.is_gone()));
        }
        if context.moment().saturating_sub(since) >= limit {
            return Ok(None);
        }
        context.sleep(pause.min(limit)).await;
        pause = (pause * 2).min(Duration::from_secs(15));
    }
}

/// Gives it up where it might come back, before anything of it is touched: its supervisor hears of
/// it then.
async fn gone(
    ports: &LeasedPorts,
    fence: &Fence,
    attempt: &Attempt,
    sighting: &Sighting,
    seen: &Evidence,
    beat: Option<Heartbeat>,
) -> Result<End, PassError> {
    let host = &attempt.intent.host;
    let traces = beat.as_ref().map(|beat| beat.sign.traces().clone()).unwrap_or_default();
    let sources = beat.as_ref().map(|beat| beat.sign.sources().to_vec()).unwrap_or_default();
    let why = match seen.life {
        Life::None { .. } if !seen.told_started => {
            format!("the build was decided on {host} and never started")
        }
        Life::None { .. } => format!(
            "the build was started on {host}, and nothing was heard of it until its time limit had passed"
        ),
        Life::Beats { silence, .. } => format!(
            "{host}, which ran the build, gave no sign of life for {} seconds",
            silence.as_secs()
        ),
        Life::Over => String::new(),
    };
    let never_started = seen.here == Here::NeverStarted && !seen.told_started && beat.is_none();
    // One that was claimed in this host's folder cannot come back, unless it has given a sign of
    // life all the same.
    if *sighting != Sighting::NeverRan || beat.is_some() {
        // What the journal says by now: the build was waited for, for as long as it took.
        let mut asked = attempt.clone();
        take_in_requests(ports, &mut asked, fence).await?;
        let given_up = Heartbeat {
            workflow_id: fence.workflow_id.clone(),
            step_id: attempt.step_id.clone(),
            build_id: attempt.build_id.clone(),
            host: host.clone(),
            version: ports.context.new_version(),
            silence_seconds: beat.as_ref().map_or(0, |beat| beat.silence_seconds),
            at: ports.context.now(),
            sign: BuildSignal::GivenUp {
                ami_name: attempt.intent.ami_name.clone(),
                traces: traces.clone(),
                unplanned_sources: if is_planned_source(&sources, &attempt.intent.source_ami) {
                    Vec::new()
                } else {
                    sources.clone()
                },
                cancelled: asked.cancel_requested.is_some(),
                until: attempt
                    .intent
                    .deadline
                    .max(ports.context.now())
                    .saturating_add(AFTERWARDS)
                    .unwrap_or(Timestamp::MAX),
                region: attempt.intent.region.clone(),
                reach: attempt.intent.reach.clone(),
            },
        };
        // Seeded bug: a-last-sign-of-life-is-not-looked-at
        let stood = beat.as_ref().map(|beat| beat.version.as_str());
        // Given up by an earlier process that came no further: it stays so.
        if !beat.as_ref().is_some_and(|beat| beat.sign.is_given_up()) {
            // Seeded bug: a-build-is-not-given-up-before-its-image-is-looked-for
            ports.inventory.give_up(&given_up, stood, fence).await?;
        }
    }
    // Looked for after it was given up: from here on its supervisor ends it.
    let image = ports.image_reader()?.own_image_named(&attempt.intent.ami_name).await?;
    Ok(End {
        outcome: None,
        traces,
        sources,
        image,
        execution: if never_started { Execution::Never } else { Execution::Perhaps },
        why,
    })
}

/// The build that was given up and has made an image: one of its unique name, that is younger than
/// the build, was made from the image that was planned as far as anybody heard, and carries nobody's
/// tag. Not one that a person had asked to end: its Packer may take that image away yet.
pub(super) async fn lost_build_of(
    ports: &LeasedPorts,
    workflow: &WorkflowId,
    name: &AmiName,
    image: &Image,
) -> Result<Option<BuildId>, PassError> {
    if image.tags.contains_key(BUILD_ID_TAG) {
        return Ok(None);
    }
    let beats = ports.inventory.beats(workflow).await?;
    Ok(lost_build_among(&beats, name, image).cloned())
}

/// The same by the signs of life that were read already.
pub(super) fn lost_build_among<'a>(
    beats: &'a [Heartbeat],
    name: &AmiName,
    image: &Image,
) -> Option<&'a BuildId> {
    if image.tags.contains_key(BUILD_ID_TAG) {
        return None;
    }
    let made_it = |beat: &&Heartbeat| {
        matches!(
            &beat.sign,
            // Seeded bug: an-image-that-its-packer-takes-away-is-taken-over
            BuildSignal::GivenUp { ami_name, unplanned_sources, cancelled: false, .. }
                if ami_name == name && unplanned_sources.is_empty()
        ) && beat.build_id.made_at().is_some_and(|began| is_no_older(image, began))
    };
    beats.iter().find(made_it).map(|beat| &beat.build_id)
}

/// One who waits for a build of another host acts on nothing but the lease, so it looks whether it
/// has it.
pub(super) async fn still_ours(ports: &LeasedPorts, fence: &Fence) -> Result<(), PassError> {
    match ports.inventory.lease(&fence.workflow_id).await? {
        Some(lease) if lease.is_held_under(fence.token) => Ok(()),
        _ => Err(PassError::Inventory(InventoryError::Fenced {
            workflow: fence.workflow_id.clone(),
        })),
    }
}

/// The signs of life of one build, as this process has seen them.
pub(super) struct Watch {
    silence: Duration,
    since: Moment,
    still: Option<UnchangedSince>,
}

impl Watch {
    /// Nothing was seen yet.
    pub(super) fn begin(silence: Duration, now: Moment) -> Self {
        Self { silence, since: now, still: None }
    }

    /// What a look at its newest beat, asked for and answered at these times, says of it.
    pub(super) fn life(
        &mut self,
        beat: Option<&Heartbeat>,
        asked: Moment,
        answered: Moment,
    ) -> Life {
        let Some(beat) = beat else {
            return Life::None { watched: asked.saturating_sub(self.since), silence: self.silence };
        };
        let silence = Duration::from_secs(beat.silence_seconds);
        match &beat.sign {
            BuildSignal::Over { .. } => Life::Over,
            BuildSignal::GivenUp { .. } => Life::Beats { still: silence, silence },
            BuildSignal::Running { .. } => {
                self.silence = silence;
                Life::Beats {
                    // Seeded bug: a-silence-is-cut-short
                    still: UnchangedSince::observe(&mut self.still, &beat.version, asked, answered),
                    silence,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use reconciler_aws::ec2::Ec2Catalog;
    use reconciler_aws::ec2::scripted::{Answer, Ec2, image_xml};
    use reconciler_model::build::RunningBuild;
    use reconciler_model::ids::{BuildId, Region, StepId};
    use reconciler_model::images::ImageState;
    use reconciler_model::inventory::journal::Reach;

    #[test]
    fn only_who_prepared_a_build_or_has_claimed_it_knows_that_it_never_started() {
        let (one, two) = (HostMark::new("one"), HostMark::new("two"));
        let unknown = |prepared_by, own| here(&Sighting::Unknown, prepared_by, own);
        assert_eq!(unknown(Some(&one), Some(&one)), Here::NeverStarted);
        assert_eq!(unknown(Some(&one), Some(&two)), Here::Elsewhere);
        assert_eq!(unknown(Some(&one), None), Here::Elsewhere);
        assert_eq!(unknown(None, Some(&one)), Here::Elsewhere, "an earlier version's");
        assert_eq!(unknown(None, None), Here::Elsewhere);
        let found = Sighting::Here(RunningBuild {
            build_id: BuildId::new("b"),
            folder: "b".into(),
            pid: 1,
            pid_start: 1,
            started_at: Timestamp::UNIX_EPOCH,
        });
        for prepared_by in [None, Some(&one), Some(&two)] {
            assert_eq!(here(&found, prepared_by, Some(&one)), Here::Found);
            let claimed = here(&Sighting::NeverRan, prepared_by, Some(&one));
            assert_eq!(claimed, Here::NeverStarted);
        }
    }

    /// What comes of an id of which EC2 says one thing after the other.
    async fn known(script: &'static [&'static str]) -> Option<AmiId> {
        let at = AtomicUsize::new(0);
        let ec2 = Ec2::answering(move |_| {
            let word = script[at.fetch_add(1, Ordering::SeqCst).min(script.len() - 1)];
            if word.contains('.') {
                Answer::error(word, "The image id '[ami-1]' does not exist")
            } else {
                Answer::images([image_xml("ami-1", "n", word)])
            }
        });
        let catalog = Ec2Catalog::new(ec2.client());
        let limit = Duration::from_millis(700);
        let found =
            as_soon_as_known(&Context::of_this_machine(), &catalog, &AmiId::new("ami-1"), limit)
                .await;
        found.unwrap().map(|image| image.id)
    }

    #[tokio::test]
    async fn an_image_that_ec2_does_not_know_yet_is_waited_for_and_one_that_is_gone_is_not() {
        const UNKNOWN: &str = "InvalidAMIID.NotFound";
        assert!(known(&[UNKNOWN, "available"]).await.is_some());
        assert!(known(&["pending"]).await.is_some());
        assert_eq!(known(&[UNKNOWN]).await, None);
        assert_eq!(known(&["deregistered"]).await, None);
    }

    fn given_up(sources: &[&str], cancelled: bool) -> Heartbeat {
        Heartbeat {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::generate(),
            host: "one".into(),
            version: "v".into(),
            silence_seconds: 1,
            at: Timestamp::UNIX_EPOCH,
            sign: BuildSignal::GivenUp {
                ami_name: AmiName::new("n"),
                traces: ClaimedResources::default(),
                unplanned_sources: sources.iter().map(|id| AmiId::new(*id)).collect(),
                cancelled,
                until: Timestamp::MAX,
                region: Region::new("us-east-1"),
                reach: Reach::default(),
            },
        }
    }

    fn image(name: &str, created_at: Timestamp, tags: &[(&str, &str)]) -> Image {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Image {
            id: AmiId::new("ami-1"),
            name: AmiName::new(name),
            state: ImageState::Available,
            owner_id: "1".into(),
            created_at,
            tags: tags.collect(),
            snapshots: vec![],
            details: String::new(),
        }
    }

    #[test]
    fn a_lost_builds_image_is_known_by_its_name_its_age_and_its_source() {
        let (late, early) = (Timestamp::MAX, Timestamp::UNIX_EPOCH);
        for (what, beat, image, is_known) in [
            ("its own", given_up(&[], false), image("n", late, &[]), true),
            ("another name", given_up(&[], false), image("m", late, &[]), false),
            ("older", given_up(&[], false), image("n", early, &[]), false),
            ("somebody's", given_up(&[], false), image("n", late, &[(BUILD_ID_TAG, "1")]), false),
            ("another source", given_up(&["ami-9"], false), image("n", late, &[]), false),
            ("its Packer takes it away", given_up(&[], true), image("n", late, &[]), false),
        ] {
            let found = lost_build_among(std::slice::from_ref(&beat), &image.name, &image);
            assert_eq!(found.is_some(), is_known, "{what}");
        }
    }
}
