//! Looks once more after builds that were given up, whose host may have come back, and removes
//! signs of life that nobody needs.
//!
//! A supervisor that comes back hears that its build was given up and ends it; but an image may
//! have been on its way. If git still wants it, the next start takes it over (`build_start`). If
//! not, it goes here, with whatever else the build left. An image that was ever recorded never
//! goes, whatever its tags say and whatever EC2 shows of them: the inventory is asked, which reads
//! what was written.

use reconciler_model::images::FINGERPRINT_TAG;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::controller::build_evidence::own_name;
use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use reconciler_model::build::RunningBuild;
use reconciler_model::build_resources::{ClaimedResources, RemovableImages, ResourceSearch};
use reconciler_model::ids::{AmiId, AmiName, BuildId, StepId, WorkflowId};
use reconciler_model::images::{CatalogError, ImageReader, ImageWriter};
use reconciler_model::inventory::Fence;
use reconciler_model::inventory::heartbeat::{BuildSignal, Heartbeat};
use reconciler_model::inventory::journal::{Attempt, BuildEvent};

/// How much of a step's journal is read for images that were recorded: more than builds of months.
const NEWEST: usize = 2000;

/// What is to be done about one beat. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GarbageAction {
    /// Whoever carries the build needs it.
    Leave,
    /// Nobody does.
    Forget,
    /// A build that was given up: looked for.
    LookFor {
        /// Whether an image of its name may go.
        image: bool,
        /// Whether this is the last time.
        last: bool,
    },
}

/// What is to be done about one beat.
pub(super) fn care(
    beat: &Heartbeat,
    attempts: &BTreeMap<StepId, Attempt>,
    now: Timestamp,
) -> GarbageAction {
    let newest = attempts.get(&beat.step_id);
    let open =
        newest.is_some_and(|attempt| attempt.build_id == beat.build_id && !attempt.is_settled());
    let BuildSignal::GivenUp { ami_name, until, cancelled, .. } = &beat.sign else {
        return if open { GarbageAction::Leave } else { GarbageAction::Forget };
    };
    if open {
        return GarbageAction::Leave;
    }
    let of_this_name = |attempt: &&Attempt| attempt.intent.ami_name == *ami_name;
    let last = now > *until;
    match newest.filter(of_this_name) {
        // Another try at the same image runs: that image is its own.
        Some(attempt) if !attempt.is_over() => GarbageAction::LookFor { image: false, last: false },
        // Git may want it still; the next start takes it over, but not from a build that a person
        // had asked to end.
        Some(_) => GarbageAction::LookFor { image: last || *cancelled, last },
        // Seeded bug: lost-builds-are-not-looked-after
        None => GarbageAction::LookFor { image: true, last },
    }
}

/// What is to be looked after.
pub(super) struct Due {
    beats: Vec<(Heartbeat, GarbageAction)>,
    own: Vec<RunningBuild>,
    attempts: BTreeMap<StepId, Attempt>,
}

impl Due {
    /// Whether it is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.beats.is_empty() && self.own.is_empty()
    }
}

/// What is to be looked after in a workflow: its beats, and the folders of this host that nobody
/// has looked into since their builds ended. A beat that cannot be read keeps no other from being
/// looked after.
pub(super) async fn due(
    ports: &Ports,
    workflow: &WorkflowId,
    attempts: &BTreeMap<StepId, Attempt>,
) -> Result<Due, PassError> {
    let now = ports.context.now();
    let beats = ports.inventory.beats(workflow).await?.into_iter();
    let due = beats.map(|beat| {
        let care = care(&beat, attempts, now);
        (beat, care)
    });
    let mut own = ports.builder.unaccounted(workflow).await?;
    own.retain(|build| !is_open(&build.build_id, attempts));
    Ok(Due {
        beats: due.filter(|(_, care)| *care != GarbageAction::Leave).collect(),
        own,
        attempts: attempts.clone(),
    })
}

/// Whether whoever carries a build looks into its folder.
fn is_open(build: &BuildId, attempts: &BTreeMap<StepId, Attempt>) -> bool {
    let mut attempts = attempts.values();
    attempts.any(|attempt| attempt.build_id == *build && !attempt.is_settled())
}

/// Does it. What cannot be done for one build keeps it from no other.
pub(super) async fn sweep(ports: &LeasedPorts, fence: &Fence, due: Due) -> Result<(), PassError> {
    let mut failure = None;
    for (beat, care) in &due.beats {
        note(&mut failure, sweep_one(ports, fence, beat, *care).await)?;
    }
    for build in &due.own {
        note(&mut failure, account_for(ports, fence, build, &due.attempts).await)?;
    }
    failure.map_or(Ok(()), Err)
}

/// Keeps the first failure; an error if the lease is lost.
fn note(failure: &mut Option<PassError>, done: Result<(), PassError>) -> Result<(), PassError> {
    match done {
        Err(error) if error.is_fenced() => Err(error),
        Err(error) => {
            failure.get_or_insert(error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn sweep_one(
    ports: &LeasedPorts,
    fence: &Fence,
    beat: &Heartbeat,
    care: GarbageAction,
) -> Result<(), PassError> {
    match care {
        GarbageAction::Leave => {}
        GarbageAction::Forget => ports.inventory.forget_beat(&beat.build_id, fence).await?,
        GarbageAction::LookFor { image, last } => {
            if let BuildSignal::GivenUp { ami_name, traces, region, .. } = &beat.sign {
                let recorded =
                    if image { Some(recorded(ports, fence, &beat.step_id).await?) } else { None };
                let there = ports.in_region(Some(region));
                remove_in(&there, &beat.build_id, Some(ami_name), traces, recorded).await?;
            }
            if last {
                ports.inventory.forget_beat(&beat.build_id, fence).await?;
            }
        }
    }
    Ok(())
}

/// Removes what a build of this host left that its log names and nobody was told of: another host
/// has given it up meanwhile, or the inventory that knew of it is another now.
async fn account_for(
    ports: &LeasedPorts,
    fence: &Fence,
    build: &RunningBuild,
    attempts: &BTreeMap<StepId, Attempt>,
) -> Result<(), PassError> {
    let (workflow, id) = (&fence.workflow_id, &build.build_id);
    let events = ports.inventory.events_of_build(workflow, id).await?;
    let events = events.whole(&ports.inventory.place())?;
    let attempt = folded(&events);
    let outcome = ports.builder.wait(build).await?;
    let there = ports.in_region(attempt.as_ref().map(|attempt| &attempt.intent.region));
    let name = attempt.as_ref().and_then(|one| own_name(Some(&outcome), one));
    let recorded = match &attempt {
        Some(attempt)
            if images_may_go(attempt, attempts) && !is_given_up(ports, workflow, id).await? =>
        {
            Some(recorded(ports, fence, &attempt.step_id).await?)
        }
        _ => None,
    };
    remove_in(&there, id, name, &outcome.traces, recorded).await?;
    ports.builder.account_for(id).await?;
    Ok(())
}

/// One that is given up is looked after by its beat: git may want its image still.
async fn is_given_up(
    ports: &Ports,
    workflow: &WorkflowId,
    build: &BuildId,
) -> Result<bool, PassError> {
    let beat = ports.inventory.last_beat(workflow, build).await?;
    Ok(beat.is_some_and(|beat| beat.sign.is_given_up()))
}

/// Whether an image of a build of this host can be nobody's: it is over without a record, and no
/// other build of its name runs.
fn images_may_go(attempt: &Attempt, attempts: &BTreeMap<StepId, Attempt>) -> bool {
    let newest = attempts.get(&attempt.step_id);
    let runs = newest.is_some_and(|newest| {
        !newest.is_over() && newest.intent.ami_name == attempt.intent.ami_name
    });
    attempt.is_over() && !attempt.is_recorded() && !runs
}

/// A build from its events, newest first; none if the journal does not know it.
fn folded(newest_first: &[BuildEvent]) -> Option<Attempt> {
    let mut attempt = Attempt::begin(newest_first.last()?)?;
    for event in newest_first.iter().rev().skip(1) {
        attempt.apply(event);
    }
    Some(attempt)
}

/// The images of a step that are recorded or ever were.
async fn recorded(
    ports: &Ports,
    fence: &Fence,
    step: &StepId,
) -> Result<BTreeSet<AmiId>, PassError> {
    let workflow = &fence.workflow_id;
    let events = ports.inventory.events(workflow, Some(step), NEWEST).await?;
    // One that cannot be read may tell of an image that was recorded.
    let events = events.whole(&ports.inventory.place())?;
    let record = ports.inventory.record(workflow, step).await?;
    let now = record.map(|record| record.head.ami_id);
    Ok(recorded_images(&events).chain(now).collect())
}

fn recorded_images(events: &[BuildEvent]) -> impl Iterator<Item = AmiId> {
    events.iter().filter_map(|event| event.stage.recorded_image().cloned())
}

async fn remove_in(
    ports: &LeasedPorts,
    build: &BuildId,
    image_name: Option<&AmiName>,
    traces: &ClaimedResources,
    recorded: Option<BTreeSet<AmiId>>,
) -> Result<(), PassError> {
    let (reader, writer) = (ports.image_reader()?, ports.image_writer()?);
    Ok(remove((reader, &writer), build, image_name, traces, recorded).await?)
}

/// Removes what a build left. `recorded` are the images that stay; none: all images stay.
async fn remove(
    (reader, writer): (&dyn ImageReader, &dyn ImageWriter),
    build: &BuildId,
    image_name: Option<&AmiName>,
    traces: &ClaimedResources,
    recorded: Option<BTreeSet<AmiId>>,
) -> Result<(), CatalogError> {
    let kept: Vec<_> = recorded.iter().flatten().cloned().collect();
    let images = match recorded {
        Some(recorded) => {
            let named = match image_name {
                Some(name) => reader.own_image_named(name).await?,
                None => None,
            };
            // Every image that was ever recorded carries it, until somebody takes it off.
            let named = named.filter(|image| !image.tags.contains_key(FINGERPRINT_TAG));
            let unwanted = named.into_iter().map(|image| image.id).collect();
            RemovableImages::ButRecorded { unwanted, recorded }
        }
        None => RemovableImages::None,
    };
    let search = ResourceSearch { build, image_name, claimed: traces.clone(), images };
    let mut visible = reader.visible_resources(&search).await?;
    // What these stand on stays.
    visible.add_images(reader.images(&kept).await?.into_values());
    writer.remove_all(&search.owned(&visible)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use reconciler_aws::ec2::Ec2Catalog;
    use reconciler_aws::ec2::scripted::{Answer, Ec2, image_xml};
    use reconciler_model::digest::Digest;
    use reconciler_model::ids::{Region, Revision};
    use reconciler_model::inventory::journal::{Failure, FailureClass, Intent, Reach, Stage};

    fn time(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn attempt(build: &str, name: &str, stages: Vec<Stage>) -> BTreeMap<StepId, Attempt> {
        let event = |seq, stage| BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new(build),
            seq,
            at: time(0),
            stage,
        };
        let intent = Intent {
            fingerprint: Digest::of(b"x").into(),
            ami_name: AmiName::new(name),
            revision: Revision::new("r"),
            source_ami: AmiId::new("ami-0"),
            region: Region::new("us-east-1"),
            host: "one".into(),
            prepared_by: None,
            reach: Reach::default(),
            afterwards: reconciler_model::afterwards::PostImageSteps::default(),
            maker: reconciler_model::inventory::journal::Maker::Packer,
            deadline: time(60),
            fence: 1,
            attempt: 0,
            promise: None,
        };
        let mut attempt = Attempt::begin(&event(0, Stage::Intent(intent))).unwrap();
        for (seq, stage) in (1..).zip(stages) {
            attempt.apply(&event(seq, stage));
        }
        BTreeMap::from([(StepId::new("a"), attempt)])
    }

    fn failed() -> Stage {
        Stage::Failed(Failure {
            class: FailureClass::Transient,
            cause: "gone".into(),
            details: String::new(),
            log: None,
            phases: vec![],
            changed: String::new(),
            retry_at: None,
        })
    }

    fn cleaned() -> Stage {
        Stage::Cleaned { removed: vec![] }
    }

    fn beat(given_up: bool, cancelled: bool) -> Heartbeat {
        Heartbeat {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new("1"),
            host: "one".into(),
            version: "v".into(),
            silence_seconds: 1,
            at: time(0),
            sign: if given_up {
                BuildSignal::GivenUp {
                    ami_name: AmiName::new("n"),
                    traces: ClaimedResources::default(),
                    unplanned_sources: vec![],
                    cancelled,
                    until: time(75),
                    region: Region::new("us-east-1"),
                    reach: Reach::default(),
                }
            } else {
                BuildSignal::Running { traces: ClaimedResources::default(), sources: vec![] }
            },
        }
    }

    #[test]
    fn a_beat_is_forgotten_when_its_build_is_settled_and_not_before() {
        let beat = beat(false, false);
        let care = |attempts| super::care(&beat, &attempts, time(1));
        assert_eq!(care(attempt("1", "n", vec![])), GarbageAction::Leave);
        assert_eq!(care(attempt("1", "n", vec![failed()])), GarbageAction::Leave);
        assert_eq!(care(attempt("1", "n", vec![failed(), cleaned()])), GarbageAction::Forget);
        assert_eq!(care(attempt("2", "n", vec![])), GarbageAction::Forget);
        assert_eq!(care(BTreeMap::new()), GarbageAction::Forget);
    }

    #[test]
    fn the_image_of_a_lost_build_goes_when_nobody_can_want_it_and_never_that_of_the_next_try() {
        let beat = beat(true, false);
        let care = |attempts, minute| super::care(&beat, &attempts, time(minute));
        let settled = || vec![failed(), cleaned()];
        assert_eq!(care(attempt("1", "n", vec![]), 99), GarbageAction::Leave);
        let wanted = care(attempt("1", "n", settled()), 10);
        assert_eq!(wanted, GarbageAction::LookFor { image: false, last: false });
        for minute in [10, 99] {
            assert_eq!(care(attempt("2", "n", vec![]), minute), wanted, "the next try runs");
        }
        let superseded = |last| GarbageAction::LookFor { image: true, last };
        assert_eq!(care(attempt("2", "m", vec![]), 10), superseded(false));
        assert_eq!(care(BTreeMap::new(), 10), superseded(false));
        assert_eq!(care(attempt("1", "n", settled()), 99), superseded(true));
    }

    #[test]
    fn the_image_of_a_lost_build_that_a_person_had_cancelled_goes_at_once() {
        let beat = beat(true, true);
        let care = |attempts, minute| super::care(&beat, &attempts, time(minute));
        let image = |image| GarbageAction::LookFor { image, last: false };
        assert_eq!(care(attempt("1", "n", vec![failed(), cleaned()]), 10), image(true));
        assert_eq!(care(attempt("2", "n", vec![]), 10), image(false), "the next try runs");
    }

    /// EC2 shows `ami-1` under the name of a build that was given up, without a tag: a person took
    /// them off, or EC2 does not show yet what was just put on. Which calls remove something while
    /// so many are recorded.
    async fn removed(kept: &[&str]) -> Vec<String> {
        let ec2 = Ec2::answering(|call| {
            match call.action() {
            "DescribeImages" => Answer::images([image_xml("ami-1", "n", "available")
                .replace("2026-01", "2099-01")
                .replace(
                    "</item>",
                    "<blockDeviceMapping><item><ebs><snapshotId>snap-1</snapshotId></ebs></item></blockDeviceMapping></item>",
                )]),
            "DescribeSnapshots" => Answer::ok(
                "<snapshotSet><item><snapshotId>snap-1</snapshotId><description>Created by CreateImage(i-1) for ami-9</description></item></snapshotSet>",
            ),
            _ => Answer::ok(""),
        }
        });
        let told =
            ClaimedResources { images: vec![AmiId::new("ami-1")], ..ClaimedResources::default() };
        let kept = kept.iter().map(|id| AmiId::new(*id)).collect();
        let (catalog, build) = (Ec2Catalog::new(ec2.client()), BuildId::generate());
        remove((&catalog, &catalog), &build, Some(&AmiName::new("n")), &told, Some(kept))
            .await
            .unwrap();
        let calls = ec2.calls();
        let writes = calls.iter().map(|call| call.action().to_owned());
        writes.filter(|name| !name.starts_with("Describe")).collect()
    }

    #[tokio::test]
    async fn a_recorded_image_stays_whatever_ec2_shows_of_its_tags_and_its_snapshots_too() {
        assert_eq!(removed(&["ami-1"]).await, [""; 0]);
        assert_eq!(removed(&[]).await, ["DeregisterImage", "DeleteSnapshot"]);
    }

    /// A host may stop between its look and what it does then. Another host builds and records an
    /// image of that name meanwhile.
    #[tokio::test]
    async fn what_is_removed_is_what_was_seen_and_not_what_bears_its_name_by_then() {
        let looked = std::sync::atomic::AtomicBool::new(false);
        let ec2 = Ec2::answering(move |call| match call.action() {
            "DescribeImages" if looked.load(std::sync::atomic::Ordering::SeqCst) => {
                Answer::images([image_xml("ami-2", "n", "available")])
            }
            "DescribeImages" => {
                Answer::images([image_xml("ami-1", "n", "available").replace("2026-01", "2099-01")])
            }
            "DescribeSnapshots" => {
                looked.store(true, std::sync::atomic::Ordering::SeqCst);
                Answer::ok("<snapshotSet/>")
            }
            "DeregisterImage" => Answer::error("InvalidAMIID.Unavailable", "it is gone"),
            _ => Answer::ok(""),
        });
        let catalog = Ec2Catalog::new(ec2.client());
        let (build, told) = (BuildId::generate(), ClaimedResources::default());
        remove(
            (&catalog, &catalog),
            &build,
            Some(&AmiName::new("n")),
            &told,
            Some(BTreeSet::new()),
        )
        .await
        .unwrap();
        let calls = ec2.calls();
        let removed = calls.iter().filter(|call| call.action() == "DeregisterImage");
        let removed: Vec<_> = removed.filter_map(|call| call.get("ImageId")).collect();
        assert_eq!(removed, ["ami-1"]);
    }

    #[test]
    fn an_image_that_was_recorded_before_counts_as_well() {
        let event = |seq, stage| BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new("1"),
            seq,
            at: time(0),
            stage,
        };
        let recorded =
            Stage::Recorded { ami_id: AmiId::new("ami-1"), build_seconds: 1, phases: vec![] };
        let events = [event(1, recorded), event(2, cleaned())];
        assert_eq!(recorded_images(&events).collect::<Vec<_>>(), [AmiId::new("ami-1")]);
    }
}
