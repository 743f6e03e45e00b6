//! Removing what builds left in the model, as `reconcile::finish` and `reconcile::sweep` do.

use std::collections::HashMap;

use super::Stopped;
use super::journal::append;
use super::lease::Held;
use crate::ids::{BuildId, StepId};
use crate::inventory::beat::Beat;
use crate::inventory::journal::{Attempt, Stage};
use crate::reconcile::simulation::clockwork::Handle;
use crate::reconcile::simulation::world::{Bug, Denied, Outcome, World};
use crate::reconcile::sweep::{Care, care};

/// Removes what a build left and its host, or its beats, told of.
pub(super) async fn clean(at: &Handle, held: &Held, attempt: &mut Attempt) -> Result<(), Stopped> {
    if !held.may_act(at) {
        return Err(Stopped);
    }
    let (id, host, failed) = (attempt.build_id.clone(), at.host, !attempt.is_recorded());
    let name = attempt.intent.ami_name.clone();
    at.call(move |world| {
        if world.has(Bug::LeavesThings) {
            return Ok(());
        }
        let Some(build) = world.builds.get(&id).cloned() else {
            if failed && world.has(Bug::RemovesWhatHasTheName) {
                world.remove_image(&name, "a clean-up");
            }
            return Ok(());
        };
        if build.told || build.host == host {
            world.terminate(&id)?;
        }
        // A failed build's own image; one that a lost build makes meanwhile is another's.
        if failed && build.outcome == Some(Outcome::Failed) && !build.given_up {
            world.remove_image(&name, "a clean-up");
        }
        Ok(())
    })
    .await?
    .map_err(|Denied| Stopped)?;
    append(at, held, attempt, Stage::Cleaned { removed: vec![] }).await?;
    let (id, token) = (attempt.build_id.clone(), held.token);
    at.call(move |world| forget(world, &id, token, false))
        .await?;
    Ok(())
}

fn forget(world: &mut World, id: &BuildId, token: u64, given_up: bool) {
    let may = |beat: &Beat| given_up || !beat.sign.is_given_up();
    if world.holds(token) && world.beats.get(id).is_some_and(may) {
        world.beats.remove(id);
    }
}

/// Looks once more after builds that were given up.
pub(super) async fn sweep(
    at: &Handle,
    held: &Held,
    attempts: &HashMap<StepId, Attempt>,
) -> Result<(), Stopped> {
    let beats: Vec<Beat> = at
        .call(|world| world.beats.values().cloned().collect())
        .await?;
    let now = at.world().wall(at.host);
    for beat in beats {
        let (id, token) = (beat.build_id.clone(), held.token);
        match care(&beat, attempts, now) {
            Care::Leave => {}
            Care::Forget => {
                at.call(move |world| forget(world, &id, token, false))
                    .await?;
            }
            Care::LookFor { image, last } => {
                if !held.may_act(at) {
                    return Err(Stopped);
                }
                at.call(move |world| {
                    if world.builds.get(&id).is_some_and(|build| build.told) {
                        world.terminate(&id)?;
                    }
                    look_for_image(world, &id, image);
                    if last {
                        forget(world, &id, token, true);
                    }
                    Ok(())
                })
                .await?
                .map_err(|Denied| Stopped)?;
            }
        }
    }
    Ok(())
}

fn look_for_image(world: &mut World, id: &BuildId, may_go: bool) {
    let Some(name) = world.builds.get(id).map(|build| build.name.clone()) else {
        return;
    };
    let tagged = world.images.get(&name).is_some_and(|image| image.tagged);
    if may_go && (!tagged || world.has(Bug::SweepsRecordedImages)) {
        world.remove_image(&name, "the sweep");
    }
}
