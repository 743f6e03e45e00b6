//! Starting a build in the model, as `controller::build_start` does.

use std::time::Duration;

use crate::controller::simulation::clockwork::{Handle, Kind};
use crate::controller::simulation::daemon::evidence::is_of_a_lost_build;
use crate::controller::simulation::daemon::finish::{fail, record};
use crate::controller::simulation::daemon::journal::{append, write};
use crate::controller::simulation::daemon::lease::Held;
use crate::controller::simulation::daemon::{Daemon, Stopped};
use crate::controller::simulation::supervisor::supervise;
use crate::controller::simulation::world::{Bug, ModelBuild, workflow};
use reconciler_core::desired::step::SourceImage;
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiName, BuildId, Region, Revision, StepId};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, FailureClass, Intent, Stage};

const LIMIT: Duration = Duration::from_mins(10);

pub(super) fn intent(
    at: &Handle,
    held: &Held,
    fingerprint: Fingerprint,
    ami_name: &AmiName,
    source: &SourceImage,
    attempt: u32,
) -> Intent {
    let (mark, now) = {
        let world = at.world();
        (world.mark(at.host), world.wall(at.host))
    };
    Intent {
        fingerprint,
        ami_name: ami_name.clone(),
        revision: Revision::new("r"),
        source_ami: source.id.clone(),
        region: Region::new("us-east-1"),
        host: "localhost".to_owned(),
        prepared_by: Some(mark),
        reach: None,
        deadline: now + LIMIT,
        fence: held.token,
        attempt,
        promise: None,
        afterwards: reconciler_model::afterwards::PostImageSteps::default(),
    }
}

pub(super) async fn start(
    at: &Handle,
    held: &Held,
    daemon: &Daemon,
    step: StepId,
    intent: Intent,
) -> Result<(), Stopped> {
    let name = intent.ami_name.clone();
    let existing = {
        let name = name.clone();
        at.call(move |world| world.images.get(&name).cloned()).await?
    };
    let taken = match &existing {
        Some(image) if !image.tagged => {
            let ours = is_of_a_lost_build(at, &name).await?;
            (!ours && !at.world().has(Bug::TakesWhatHasTheName)).then(|| image.id.clone())
        }
        _ => None,
    };
    let id = BuildId::new(format!("{:06}", at.world().id()));
    if let Some(image) = &taken {
        at.world().taken.insert(id.clone(), image.clone());
    }
    let event = BuildEvent {
        workflow_id: workflow(),
        step_id: step.clone(),
        build_id: id.clone(),
        seq: 0,
        at: at.world().wall(at.host),
        stage: Stage::Intent(intent.clone()),
    };
    let Some(mut attempt) = Attempt::begin(&event) else {
        return Err(Stopped);
    };
    write(at, held, &event, None).await?;
    let key = (step.clone(), id.clone());
    daemon.running.borrow_mut().insert(key.clone());
    let begun = async {
        if taken.is_some() {
            return fail(at, held, &mut attempt, FailureClass::Person).await;
        }
        if existing.is_some() {
            record(at, held, &mut attempt).await?;
            return append(at, held, &mut attempt, Stage::Cleaned { removed: vec![] }).await;
        }
        let careless = at.world().has(Bug::StartsWithoutLease);
        if !careless && !held.holds(at) {
            return Err(Stopped);
        }
        let build = ModelBuild::new(step.clone(), intent.fingerprint, name, at.host);
        at.world().builds.insert(id.clone(), build);
        at.world().acts(held.token);
        let term = (held.token, held.lease_deadline.get().until());
        at.spawn(Kind::Supervisor, |at| supervise(at, id.clone(), step, term));
        append(at, held, &mut attempt, Stage::Started { pid: 1 }).await
    }
    .await;
    daemon.running.borrow_mut().remove(&key);
    begun
}
