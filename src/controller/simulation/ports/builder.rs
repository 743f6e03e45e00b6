//! Builds on a simulated host: a supervisor with its Packer, and its heartbeats.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::controller::simulation::executor::Kind;
use crate::controller::simulation::ports::at_once;
use crate::controller::simulation::ports::catalog::key_pair;
use crate::controller::simulation::ports::inventory::SimulatedInventory;
use crate::controller::simulation::world::{
    Ending, Handle, Mistake, ModelBuild, ModelImage, Outcome, PACKER, SILENCE, World, workflow,
};
use reconciler_core::build::job::{BuildJob, ImageBuilder, StartDeadline};
use reconciler_model::build::{
    BuildError, BuildOutcome, Exit, PackerStage, RunningBuild, Sighting,
};
use reconciler_model::build_resources::ClaimedResources;
use reconciler_model::ids::{BuildId, Region, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, BuildSignal, Heartbeat};
use reconciler_model::inventory::journal::{BuildEvent, Stage};
use reconciler_model::inventory::{Heartbeats as _, IntentWritten, Journal as _};

pub(in crate::controller::simulation) struct SimulatedBuilder(
    pub(in crate::controller::simulation) Handle,
);

fn running(build: &BuildId) -> RunningBuild {
    RunningBuild {
        build_id: build.clone(),
        folder: "build".into(),
        pid: 1,
        pid_start: 1,
        started_at: Timestamp::UNIX_EPOCH,
    }
}

impl SimulatedBuilder {
    /// Whether a build's folder is on the disk of this host.
    fn is_here(&self, world: &World, build: &ModelBuild) -> bool {
        let host = self.0.host();
        build.host == host && build.disk == world.hosts[host].disks
    }
}

#[async_trait]
impl ImageBuilder for SimulatedBuilder {
    async fn start(
        &self,
        intent: IntentWritten,
        job: &BuildJob,
        lease: Arc<dyn StartDeadline>,
    ) -> Result<RunningBuild, BuildError> {
        let Some(before) = lease.until() else { return Err(BuildError::LeaseLost) };
        let id = intent.build_id().clone();
        let build = {
            let mut world = self.0.world();
            let host = self.0.host();
            if world.hosts[host].full_until > world.now() {
                let source = std::io::Error::other("No space left on device (os error 28)");
                return Err(BuildError::Io { what: "the folder".to_owned(), source });
            }
            world.acts(host);
            let build = model(&world, &id, job, host);
            world.builds.insert(id.clone(), build.clone());
            build
        };
        let supervisor = self.0.of(Kind::Supervisor);
        supervisor.spawn(supervise(supervisor.clone(), id.clone(), build, before));
        if self.0.world().misfortune(40) {
            let source = std::io::Error::other("the answer of the supervisor is lost");
            return Err(BuildError::Io { what: "the supervisor".to_owned(), source });
        }
        Ok(running(&id))
    }

    async fn find(&self, build: &BuildId) -> Result<Sighting, BuildError> {
        let world = self.0.world();
        let found = world.builds.get(build).filter(|build| self.is_here(&world, build));
        Ok(found.map_or(Sighting::Unknown, |_| Sighting::Here(running(build))))
    }

    async fn wait(&self, build: &RunningBuild) -> Result<BuildOutcome, BuildError> {
        loop {
            let ended = outcome(&self.0.world(), &build.build_id);
            if let Some(ended) = ended {
                return Ok(ended);
            }
            self.0.sleep(1_000).await;
        }
    }

    async fn unaccounted(&self, _: &WorkflowId) -> Result<Vec<RunningBuild>, BuildError> {
        let world = self.0.world();
        let builds = world.builds.iter().filter(|(_, build)| {
            self.is_here(&world, build) && build.outcome.is_some() && !build.accounted
        });
        Ok(builds.map(|(id, _)| running(id)).collect())
    }

    async fn account_for(&self, build: &BuildId) -> Result<(), BuildError> {
        if let Some(build) = self.0.world().builds.get_mut(build) {
            build.accounted = true;
        }
        Ok(())
    }

    async fn cancel(&self, build: &RunningBuild) -> Result<(), BuildError> {
        self.0.world().build(&build.build_id).ending = Some(Ending::Asked);
        Ok(())
    }
}

/// A build as its job says it; what it is for stands in its intent.
fn model(world: &World, id: &BuildId, job: &BuildJob, host: usize) -> ModelBuild {
    let events = at_once(world.inventory.events_of_build(&workflow(), id)).unwrap();
    let intent = events.iter().find_map(|event| match event {
        BuildEvent { stage: Stage::Intent(intent), .. } => Some(intent.clone()),
        _ => None,
    });
    let rendered =
        job.template.texts().values().find_map(|text| text.split_once("\"wanted ")).unwrap().1;
    ModelBuild {
        step: job.step_id.clone(),
        fingerprint: intent.expect("a build begins with its intent").fingerprint,
        name: job.ami_name.clone(),
        source: job.source_ami.clone(),
        wanted: rendered.split_once('"').unwrap().0.parse().unwrap(),
        host,
        disk: world.hosts[host].disks,
        started: false,
        instance: false,
        launched_at: None,
        told: false,
        ending: None,
        outcome: None,
        last_beat: None,
        given_up: false,
        given_up_at: None,
        accounted: false,
    }
}

/// Runs one build.
async fn supervise(at: Handle, id: BuildId, build: ModelBuild, start_before: Duration) {
    let short = {
        let mut world = at.world();
        if world.misfortune(20) {
            // The host is hardly there: its lease may be another's until Packer would start.
            let late = world.dice.between(1, 90_000);
            let until = world.now() + late + 30_000;
            world.hosts[at.host()].daemon_frozen_until = until;
            late
        } else {
            world.dice.between(1, 50)
        }
    };
    at.sleep(short).await;
    let late = Duration::from_millis(at.executor.now()) >= start_before;
    if late && !at.world().has(Mistake::StartsLate) {
        at.world().end(&id, Outcome::TooLate);
        return;
    }
    let mute = {
        let mut world = at.world();
        world.starts_packer(at.host());
        world.start(&id);
        world.hosts[at.host()].mute
    };
    if !mute {
        at.spawn(beat(at.clone(), id.clone(), build));
    }
    let outcome = packer(&at, &id).await;
    at.world().end(&id, outcome);
}

/// Works for a while. Says whether it may go on.
async fn works(at: &Handle, id: &BuildId, low: u64, high: u64) -> bool {
    let time = at.world().dice.between(low, high);
    at.sleep(time).await;
    at.world().builds[id].ending.is_none()
}

async fn packer(at: &Handle, id: &BuildId) -> Outcome {
    if !works(at, id, 500, 4_000).await {
        return Outcome::Cancelled;
    }
    {
        let (mut world, now) = (at.world(), at.executor.now());
        let build = world.build(id);
        build.instance = true;
        build.launched_at = Some(now);
    }
    if !works(at, id, 5_000, 120_000).await {
        return Outcome::Cancelled;
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
    let (name, ending, now) = (world.builds[id].name.clone(), world.builds[id].ending, world.now());
    if ending == Some(Ending::Killed) {
        return Outcome::Unknown;
    }
    // Packer removes an image that it has seen to be whole; one that is on its way it leaves.
    let whole = |image: &&ModelImage| image.by.as_ref() == Some(id) && image.ready_at <= now;
    let own = world.images.get(&name).filter(whole).map(|image| image.id.clone());
    if let Some(own) = own {
        world.remove_image(&own, PACKER);
    }
    Outcome::Cancelled
}

async fn beat(at: Handle, id: BuildId, build: ModelBuild) {
    let inventory = SimulatedInventory::new(at.clone());
    loop {
        let outcome = outcome(&at.world(), &id);
        let is_over = outcome.is_some();
        let sign = match outcome {
            None => BuildSignal::Running { traces: traces(&at.world(), &id), sources: vec![] },
            Some(outcome) => BuildSignal::Over { outcome: Box::new(outcome) },
        };
        let beat = {
            let mut world = at.world();
            Heartbeat {
                workflow_id: workflow(),
                step_id: build.step.clone(),
                build_id: id.clone(),
                host: "localhost".to_owned(),
                version: format!("beat {}", world.id()),
                silence_seconds: SILENCE / 1000,
                at: world.wall(at.host()),
                sign,
            }
        };
        let answer = inventory.beat(&beat).await;
        match answer {
            Ok(Answer::GivenUp) => {
                let ending = how_to_end(&at, &id);
                at.world().build(&id).ending = Some(ending);
                return;
            }
            Ok(Answer::Cancel) => at.world().build(&id).ending = Some(Ending::Asked),
            Ok(Answer::GoOn) | Err(_) => {}
        }
        if is_over && answer.is_ok() {
            return;
        }
        at.sleep(SILENCE / 6).await;
    }
}

/// A Packer of a build that was given up: what it would remove may be recorded by now.
fn how_to_end(at: &Handle, id: &BuildId) -> Ending {
    let world = at.world();
    let image = world.images.get(&world.builds[id].name);
    let made = image.is_some_and(|image| image.by.as_ref() == Some(id));
    if made && !world.has(Mistake::AsksThePackerOfALostBuild) {
        Ending::Killed
    } else {
        Ending::Asked
    }
}

/// What the log of a build names.
fn traces(world: &World, id: &BuildId) -> ClaimedResources {
    let image = world.images.get(&world.builds[id].name);
    let own = image.filter(|image| image.by.as_ref() == Some(id));
    ClaimedResources {
        key_pairs: vec![key_pair(id)],
        told_images: own.map(|image| image.id.clone()).into_iter().collect(),
        ..ClaimedResources::default()
    }
}

/// How a build ended, in the words of its supervisor.
fn outcome(world: &World, id: &BuildId) -> Option<BuildOutcome> {
    let outcome = world.builds.get(id)?.outcome?;
    let traces = traces(world, id);
    let failures = match outcome {
        Outcome::Failed => vec!["amazon-ebs.x: Error waiting for SSH: RequestLimitExceeded".into()],
        Outcome::NameTaken => vec![format!(
            "amazon-ebs.x: Error registering AMI: InvalidAMIName.Duplicate: AMI name {} is already in use",
            world.builds[id].name
        )],
        _ => vec![],
    };
    let region = Region::new("us-east-1");
    let made = traces.told_images.iter().filter(|_| outcome == Outcome::Made);
    Some(BuildOutcome {
        stage: PackerStage::Build,
        exit: match outcome {
            Outcome::Made => Exit::Code(0),
            Outcome::Failed | Outcome::NameTaken => Exit::Code(1),
            Outcome::Cancelled => Exit::Cancelled,
            Outcome::TooLate => Exit::TooLate,
            Outcome::Unknown => Exit::Unknown,
        },
        artifacts: made.map(|image| (region.clone(), image.clone())).collect(),
        errors: failures.clone(),
        failures,
        finished: outcome != Outcome::Unknown,
        traces,
        sources: vec![],
        others: vec![],
        last_words: vec![],
        lost: None,
        phases: vec![],
        duration: Duration::from_mins(1),
        log: "log".into(),
    })
}
