//! Removing what builds left in the model, as `controller::build_finish` and `controller::garbage`
//! do.

use std::collections::BTreeMap;

use crate::controller::garbage::{GarbageAction, care};
use crate::controller::simulation::clockwork::Handle;
use crate::controller::simulation::daemon::Stopped;
use crate::controller::simulation::daemon::journal::append;
use crate::controller::simulation::daemon::lease::Held;
use crate::controller::simulation::world::{Bug, Denied, Outcome, World};
use reconciler_model::ids::{AmiId, AmiName, BuildId, StepId};
use reconciler_model::inventory::heartbeat::Heartbeat;
use reconciler_model::inventory::journal::{Attempt, Stage};

/// Removes what a build left and its host, or its beats, told of.
pub(super) async fn clean(at: &Handle, held: &Held, attempt: &mut Attempt) -> Result<(), Stopped> {
    let (id, host, failed) = (attempt.build_id.clone(), at.host, !attempt.is_recorded());
    // Looked up before anything is removed, and removed by its id: what bears the name by then may
    // be another's.
    let (name, own) = (attempt.intent.ami_name.clone(), id.clone());
    let image = at
        .call(move |world| world.images.get(&name).cloned().map(|image| (name, image, own)))
        .await?
        .filter(|(_, image, own)| !image.tagged || image.by.as_ref() == Some(own))
        .map(|(name, image, _)| (name, image.id));
    if !held.may_act(at) {
        return Err(Stopped);
    }
    let removes = at
        .call(move |world| {
            if world.has(Bug::LeavesThings) {
                return Ok(false);
            }
            let Some(build) = world.builds.get(&id).cloned() else {
                return Ok(failed && world.has(Bug::RemovesWhatHasTheName));
            };
            if build.told || build.host == host {
                world.terminate(&id)?;
            }
            // A failed build's own image; one that a lost build makes meanwhile is another's.
            Ok(failed && build.outcome == Some(Outcome::Failed) && !build.given_up)
        })
        .await?
        .map_err(|Denied| Stopped)?;
    if let (Some((name, id)), true) = (image, removes) {
        remove(at, held, name, id, "a clean-up").await?;
    }
    append(at, held, attempt, Stage::Cleaned { removed: vec![] }).await?;
    let (id, token) = (attempt.build_id.clone(), held.token);
    at.call(move |world| forget(world, &id, token, false)).await?;
    Ok(())
}

/// Removes one image, with a look at the lease right before, as `controller::fenced` does.
async fn remove(
    at: &Handle,
    held: &Held,
    name: AmiName,
    id: AmiId,
    who: &'static str,
) -> Result<(), Stopped> {
    if !held.may_act(at) {
        return Err(Stopped);
    }
    at.call(move |world| world.remove_image(&name, &id, who)).await?;
    Ok(())
}

fn forget(world: &mut World, id: &BuildId, token: u64, given_up: bool) {
    let may = |beat: &Heartbeat| given_up || !beat.sign.is_given_up();
    if world.holds(token) && world.beats.get(id).is_some_and(may) {
        world.beats.remove(id);
    }
}

/// Looks once more after builds that were given up.
pub(super) async fn sweep(
    at: &Handle,
    held: &Held,
    attempts: &BTreeMap<StepId, Attempt>,
) -> Result<(), Stopped> {
    let beats: Vec<Heartbeat> = at.call(|world| world.beats.values().cloned().collect()).await?;
    let now = at.world().wall(at.host);
    for beat in beats {
        let (id, token) = (beat.build_id.clone(), held.token);
        match care(&beat, attempts, now) {
            GarbageAction::Leave => {}
            GarbageAction::Forget => {
                at.call(move |world| forget(world, &id, token, false)).await?;
            }
            GarbageAction::LookFor { image, last } => {
                if !held.may_act(at) {
                    return Err(Stopped);
                }
                let build = id.clone();
                let found = at.call(move |world| look_for_image(world, &build, image)).await?;
                let build = id.clone();
                at.call(move |world| {
                    if world.builds.get(&build).is_some_and(|build| build.told) {
                        world.terminate(&build)?;
                    }
                    Ok(())
                })
                .await?
                .map_err(|Denied| Stopped)?;
                if let Some((name, image)) = found {
                    remove(at, held, name, image, "the sweep").await?;
                }
                if last {
                    at.call(move |world| forget(world, &id, token, true)).await?;
                }
            }
        }
    }
    Ok(())
}

/// The image that may go, by its id: as it is seen, an image that bears a tag was recorded.
fn look_for_image(world: &mut World, id: &BuildId, may_go: bool) -> Option<(AmiName, AmiId)> {
    let name = world.builds.get(id)?.name.clone();
    let image = world.images.get(&name)?;
    let goes = may_go && (!image.tagged || world.has(Bug::SweepsRecordedImages));
    goes.then(|| (name, image.id.clone()))
}
