//! Carrying a build that is over to its record or its failure in the model, as
//! `controller::build_finish` does.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::simulation::clockwork::Handle;
use crate::controller::simulation::daemon::clean::clean;
use crate::controller::simulation::daemon::evidence::{await_end, is_of_a_lost_build};
use crate::controller::simulation::daemon::git::base;
use crate::controller::simulation::daemon::journal::{append, append_with};
use crate::controller::simulation::daemon::lease::Held;
use crate::controller::simulation::daemon::{RETRY, Stopped};
use crate::controller::simulation::world::{Bug, Outcome, workflow};
use reconciler_core::recovery;
use reconciler_core::recovery::{Named, Recovery, State};
use reconciler_core::retry::retry_at;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiName, Region, Revision};
use reconciler_model::inventory::journal::{Attempt, Failure, FailureClass, Stage};
use reconciler_model::inventory::record::{Built, RecordHead};
use reconciler_model::inventory::tags::Tags;

/// As `build_finish::carry`.
pub(super) async fn carry(at: &Handle, held: &Held, mut attempt: Attempt) -> Result<(), Stopped> {
    if attempt.is_over() {
        return clean(at, held, &mut attempt).await;
    }
    let outcome = await_end(at, held, &attempt).await?;
    let name = attempt.intent.ami_name.clone();
    let build = attempt.build_id.clone();
    let (image, taken) = at
        .call(move |world| {
            let id = world.images.get(&name).map(|image| image.id.clone());
            (world.named(&name), id.is_some() && id.as_ref() == world.taken.get(&build))
        })
        .await?;
    let made = match outcome {
        None if taken && !at.world().has(Bug::TakesWhatHasTheName) => {
            fail(at, held, &mut attempt, FailureClass::Person).await?;
            return clean(at, held, &mut attempt).await;
        }
        None => recovery::decide(State::Gone, image) == Recovery::Adopt,
        Some(Outcome::Unknown) if at.world().has(Bug::TrustsTheExit) => false,
        Some(Outcome::Made | Outcome::Unknown) => image != Named::None,
        Some(Outcome::NameTaken) => {
            image != Named::None && is_of_a_lost_build(at, &attempt.intent.ami_name).await?
        }
        Some(Outcome::Failed) => false,
    };
    if made {
        record(at, held, &mut attempt).await?;
    } else {
        fail(at, held, &mut attempt, FailureClass::Transient).await?;
    }
    clean(at, held, &mut attempt).await
}

/// Writes a failure with the time of the next try.
pub(super) async fn fail(
    at: &Handle,
    held: &Held,
    attempt: &mut Attempt,
    class: FailureClass,
) -> Result<(), Stopped> {
    let now = at.world().wall(at.host);
    let failure = Failure {
        class,
        cause: attempt.build_id.to_string(),
        details: String::new(),
        log: None,
        retry_at: retry_at(class, attempt.intent.attempt.min(1), &RETRY, now, 0.5),
    };
    append(at, held, attempt, Stage::Failed(failure)).await
}

/// Waits for the image, tags it, records it.
pub(super) async fn record(at: &Handle, held: &Held, attempt: &mut Attempt) -> Result<(), Stopped> {
    let name = attempt.intent.ami_name.clone();
    let image = loop {
        let asked = name.clone();
        let image = at.call(move |world| world.images.get(&asked).cloned()).await?;
        let Some(image) = image else {
            return Err(Stopped);
        };
        if image.ready_at <= at.world().now {
            break image;
        }
        at.sleep(Duration::from_secs(10)).await;
    };
    let ami_id = image.id.clone();
    append(at, held, attempt, Stage::ImageSeen { ami_id: ami_id.clone() }).await?;
    if !held.may_act(at) {
        return Err(Stopped);
    }
    let tagged = name.clone();
    at.call(move |world| {
        if world.has(Bug::RecordsBeforeTags) {
            return;
        }
        world.tag(&tagged);
    })
    .await?;
    append(at, held, attempt, Stage::Tagged).await?;
    let head = RecordHead {
        workflow_id: workflow(),
        step_id: attempt.step_id.clone(),
        ami_id: ami_id.clone(),
        ami_name: name,
        create_at: Timestamp::UNIX_EPOCH,
        base_ami_id: attempt.intent.source_ami.clone(),
        base_ami_name: AmiName::new("base"),
        root_base_ami_id: base().id,
        root_base_ami_name: base().name,
        built: Some(Built {
            fingerprint: attempt.intent.fingerprint,
            build_id: attempt.build_id.clone(),
            revision: Revision::new("r"),
            region: Region::new("us-east-1"),
            tags: Tags::default(),
            metadata_digest: Digest::from_bytes([0; 32]),
            build_seconds: 0,
            recorded_at: Timestamp::UNIX_EPOCH,
            fence: held.token,
        }),
    };
    let stage = Stage::Recorded { ami_id, build_seconds: 1 };
    append_with(at, held, attempt, stage, Some(head)).await
}
