//! A simulated supervisor with its Packer, and its signs of life.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::simulation::clockwork::{Handle, Kind};
use crate::controller::simulation::world::{Bug, Ending, ModelImage, Outcome, SILENCE, workflow};
use reconciler_model::build::{BuildOutcome, Exit, PackerStage};
use reconciler_model::clock::Moment;
use reconciler_model::ids::{BuildId, StepId};
use reconciler_model::images::Leftovers;
use reconciler_model::inventory::heartbeat::{Answer, BuildSignal, Heartbeat};

/// Runs one build.
pub(super) async fn supervise(
    at: Handle,
    id: BuildId,
    step: StepId,
    (token, start_before): (u64, Moment),
) {
    let short = {
        let mut world = at.world();
        let most = if world.misfortune(30) { 40_000 } else { 50 };
        world.dice.between(1, most)
    };
    at.sleep(Duration::from_millis(short)).await;
    let careless = at.world().has(Bug::StartsWithoutLease);
    if at.now() >= start_before && !careless {
        at.world().end(&id, Outcome::Unknown);
        return;
    }
    at.world().starts_packer(token, at.host);
    at.world().start(&id);
    let mute = at.world().hosts[at.host].mute;
    if !mute {
        let (id, step) = (id.clone(), step.clone());
        at.spawn(Kind::Supervisor, |at| beat(at, id, step));
    }
    let outcome = packer(&at, &id).await;
    at.world().end(&id, outcome);
}

/// Works for a while. Says whether it may go on.
async fn works(at: &Handle, id: &BuildId, low: u64, high: u64) -> bool {
    let time = at.world().dice.between(low, high);
    at.sleep(Duration::from_millis(time)).await;
    at.world().builds[id].ending.is_none()
}

async fn packer(at: &Handle, id: &BuildId) -> Outcome {
    if !works(at, id, 500, 4_000).await {
        return Outcome::Failed;
    }
    if let Some(build) = at.world().builds.get_mut(id) {
        build.instance = true;
    }
    if !works(at, id, 5_000, 120_000).await {
        return Outcome::Failed;
    }
    // Another host has ended its instance, or AWS did.
    if !at.world().builds[id].instance || at.world().misfortune(12) {
        return Outcome::Failed;
    }
    let takes = at.world().dice.between(2_000, 90_000);
    if !at.world().create_image(id, takes) {
        return Outcome::NameTaken;
    }
    // It waits for the image, then puts tags on it and the like.
    if works(at, id, takes, takes + 5_000).await && works(at, id, 200, 3_000).await {
        return Outcome::Made;
    }
    let mut world = at.world();
    let (name, ending, now) = (world.builds[id].name.clone(), world.builds[id].ending, world.now);
    if ending == Some(Ending::Killed) {
        return Outcome::Unknown;
    }
    // Packer removes an image that it has seen to be whole; one that is on its way it leaves.
    let whole = |image: &ModelImage| image.by.as_ref() == Some(id) && image.ready_at <= now;
    let own = world.images.get(&name).filter(|image| whole(image));
    if let Some(own) = own.map(|image| image.id.clone()) {
        world.remove_image(&name, &own, "Packer");
    }
    Outcome::Failed
}

async fn beat(at: Handle, id: BuildId, step: StepId) {
    loop {
        let outcome = at.world().builds[&id].outcome;
        let sign = match outcome {
            None => BuildSignal::Running { traces: Leftovers::default(), sources: vec![] },
            Some(outcome) => BuildSignal::Over { outcome: Box::new(told(outcome)) },
        };
        let version = at.world().id().to_string();
        let beat = Heartbeat {
            workflow_id: workflow(),
            step_id: step.clone(),
            build_id: id.clone(),
            host: format!("host-{}", at.host),
            version,
            silence_seconds: SILENCE / 1000,
            at: Timestamp::UNIX_EPOCH,
            sign,
        };
        let answer = at.call(|world| world.beat(beat)).await;
        let ending = how_to_end(&at, &id);
        if let Ok(Answer::GivenUp) = answer
            && let Some(build) = at.world().builds.get_mut(&id)
        {
            build.ending = Some(ending);
            return;
        }
        if outcome.is_some() && answer.is_ok() {
            return;
        }
        at.sleep(Duration::from_millis(SILENCE / 6)).await;
    }
}

/// A Packer of a build that was given up: what it would remove may be recorded by now.
fn how_to_end(at: &Handle, id: &BuildId) -> Ending {
    let world = at.world();
    let image = world.images.get(&world.builds[id].name);
    let made = image.is_some_and(|image| image.by.as_ref() == Some(id));
    if made && !world.has(Bug::AsksThePackerOfALostBuild) { Ending::Killed } else { Ending::Asked }
}

/// As a beat tells it; the exit stands for the model's outcome.
fn told(outcome: Outcome) -> BuildOutcome {
    BuildOutcome {
        stage: PackerStage::Build,
        exit: match outcome {
            Outcome::Made => Exit::Code(0),
            Outcome::Failed => Exit::Code(1),
            Outcome::NameTaken => Exit::Code(2),
            Outcome::Unknown => Exit::Unknown,
        },
        artifacts: vec![],
        failures: vec![],
        errors: vec![],
        traces: Leftovers::default(),
        sources: vec![],
        others: vec![],
        finished: false,
        last_words: vec![],
        lost: None,
        duration: Duration::ZERO,
        log: "log".into(),
    }
}

/// The other way round.
pub(super) fn of_told(told: &BuildOutcome) -> Outcome {
    match told.exit {
        Exit::Code(0) => Outcome::Made,
        Exit::Code(1) => Outcome::Failed,
        Exit::Code(_) => Outcome::NameTaken,
        _ => Outcome::Unknown,
    }
}
