//! Looks once more after builds that were given up, whose host may have come back, and removes signs of life that nobody needs.
//!
//! A supervisor that comes back hears that its build was given up and ends it; but an image may have been on its way. If git still wants it,
//! the next start takes it over (`start`). If not, it goes here, with whatever else the build left.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::catalog::Leftovers;
use crate::ids::{AmiName, BuildId, StepId, WorkflowId};
use crate::inventory::Fence;
use crate::inventory::beat::{Beat, Sign};
use crate::inventory::journal::Attempt;
use crate::reconcile::error::PassError;
use crate::reconcile::finish::catalog;
use crate::reconcile::ports::Ports;

/// What is to be done about one beat. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
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
pub(super) fn care(beat: &Beat, attempts: &HashMap<StepId, Attempt>, now: Timestamp) -> Care {
    let newest = attempts.get(&beat.step_id);
    let open =
        newest.is_some_and(|attempt| attempt.build_id == beat.build_id && !attempt.is_settled());
    let Sign::GivenUp {
        ami_name, until, ..
    } = &beat.sign
    else {
        return if open { Care::Leave } else { Care::Forget };
    };
    if open {
        return Care::Leave;
    }
    let of_this_name = |attempt: &&Attempt| attempt.intent.ami_name == *ami_name;
    let last = now > *until;
    match newest.filter(of_this_name) {
        // Another try at the same image runs: that image is its own.
        Some(attempt) if !attempt.is_over() => Care::LookFor {
            image: false,
            last: false,
        },
        // Git may want it still; the next start takes it over.
        Some(_) => Care::LookFor { image: last, last },
        None => Care::LookFor { image: true, last },
    }
}

/// What is to be done about a workflow's beats.
pub(super) async fn due(
    ports: &Ports,
    workflow: &WorkflowId,
    attempts: &HashMap<StepId, Attempt>,
) -> Result<Vec<(Beat, Care)>, PassError> {
    let now = Timestamp::now();
    let beats = ports.inventory.beats(workflow).await?.into_iter();
    let due = beats.map(|beat| {
        let care = care(&beat, attempts, now);
        (beat, care)
    });
    Ok(due.filter(|(_, care)| *care != Care::Leave).collect())
}

/// Does it.
pub(super) async fn sweep(
    ports: &Ports,
    fence: &Fence,
    due: Vec<(Beat, Care)>,
) -> Result<(), PassError> {
    for (beat, care) in due {
        match care {
            Care::Leave => {}
            Care::Forget => ports.inventory.forget_beat(&beat.build_id, fence).await?,
            Care::LookFor { image, last } => {
                if let Sign::GivenUp {
                    ami_name, traces, ..
                } = &beat.sign
                {
                    remove(ports, &beat.build_id, ami_name, traces, image).await?;
                }
                if last {
                    ports.inventory.forget_beat(&beat.build_id, fence).await?;
                }
            }
        }
    }
    Ok(())
}

async fn remove(
    ports: &Ports,
    build: &BuildId,
    name: &AmiName,
    traces: &Leftovers,
    with_image: bool,
) -> Result<(), PassError> {
    let catalog = catalog(ports)?;
    let mut told = traces.clone();
    if with_image
        && let Some(image) = catalog.own_image_named(name).await?
        // Every image that was ever recorded carries it.
        && !image.tags.contains_key("reconciler:fingerprint")
    {
        told.images.push(image.id);
    }
    let mut leftovers = catalog.find_leftovers(build, name, &told).await?;
    if !with_image {
        leftovers.images.clear();
        leftovers.snapshots.clear();
    }
    catalog.clean(&leftovers).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::desired::digest::Digest;
    use crate::ids::{AmiId, Region, Revision};
    use crate::inventory::journal::{BuildEvent, Failure, FailureClass, Intent, Stage};

    fn time(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn attempt(build: &str, name: &str, stages: Vec<Stage>) -> HashMap<StepId, Attempt> {
        let event = |seq, stage| BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new(build),
            seq,
            at: time(0),
            stage,
        };
        let intent = Intent {
            fingerprint: Digest::of(b"x"),
            ami_name: AmiName::new(name),
            revision: Revision::new("r"),
            source_ami: AmiId::new("ami-0"),
            region: Region::new("us-east-1"),
            host: "one".into(),
            prepared_by: None,
            deadline: time(60),
            fence: 1,
            attempt: 0,
            promise: None,
        };
        let mut attempt = Attempt::begin(&event(0, Stage::Intent(intent))).unwrap();
        for (seq, stage) in (1..).zip(stages) {
            attempt.apply(&event(seq, stage));
        }
        HashMap::from([(StepId::new("a"), attempt)])
    }

    fn failed() -> Stage {
        Stage::Failed(Failure {
            class: FailureClass::Transient,
            cause: "gone".into(),
            log: None,
            retry_at: None,
        })
    }

    fn cleaned() -> Stage {
        Stage::Cleaned { removed: vec![] }
    }

    fn beat(given_up: bool) -> Beat {
        Beat {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new("1"),
            host: "one".into(),
            version: "v".into(),
            silence_seconds: 1,
            at: time(0),
            sign: if given_up {
                Sign::GivenUp {
                    ami_name: AmiName::new("n"),
                    traces: Leftovers::default(),
                    until: time(75),
                }
            } else {
                Sign::Running {
                    traces: Leftovers::default(),
                }
            },
        }
    }

    #[test]
    fn a_beat_is_forgotten_when_its_build_is_settled_and_not_before() {
        let beat = beat(false);
        let care = |attempts| super::care(&beat, &attempts, time(1));
        assert_eq!(care(attempt("1", "n", vec![])), Care::Leave);
        assert_eq!(care(attempt("1", "n", vec![failed()])), Care::Leave);
        assert_eq!(
            care(attempt("1", "n", vec![failed(), cleaned()])),
            Care::Forget
        );
        assert_eq!(care(attempt("2", "n", vec![])), Care::Forget);
        assert_eq!(care(HashMap::new()), Care::Forget);
    }

    #[test]
    fn the_image_of_a_lost_build_goes_when_nobody_can_want_it_and_never_that_of_the_next_try() {
        let beat = beat(true);
        let care = |attempts, minute| super::care(&beat, &attempts, time(minute));
        let settled = || vec![failed(), cleaned()];
        assert_eq!(care(attempt("1", "n", vec![]), 99), Care::Leave);
        let wanted = care(attempt("1", "n", settled()), 10);
        assert_eq!(
            wanted,
            Care::LookFor {
                image: false,
                last: false
            }
        );
        for minute in [10, 99] {
            assert_eq!(
                care(attempt("2", "n", vec![]), minute),
                wanted,
                "the next try runs"
            );
        }
        let superseded = |last| Care::LookFor { image: true, last };
        assert_eq!(care(attempt("2", "m", vec![]), 10), superseded(false));
        assert_eq!(care(HashMap::new(), 10), superseded(false));
        assert_eq!(care(attempt("1", "n", settled()), 99), superseded(true));
    }
}
