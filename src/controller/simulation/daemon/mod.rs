//! A simulated daemon. It decides by the real code (planner, attempts, recovery, observation,
//! patience, retries, sweep) and acts on the model world. Here is its loop and its pass; each part
//! of the real program that it stands for has a file beside.

mod clean;
mod evidence;
mod finish;
mod git;
mod journal;
mod lease;
mod start;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use crate::controller::main_loop::backoff::{BackoffKey, Backoffs};
use crate::controller::simulation::clockwork::{Handle, Kind, Lost};
use crate::controller::simulation::world::{Bug, workflow};
use clean::sweep;
use finish::carry;
use git::outlines;
pub(super) use git::{Git, base, image_name};
use lease::{Held, ask, keep};
use reconciler_core::plan::decision::{BuildSource, Decision};
use reconciler_core::plan::names::Names;
use reconciler_core::plan::planner::{Observation, decide};
use reconciler_model::ids::{BuildId, StepId};
use reconciler_model::inventory::journal::Attempt;
use reconciler_model::policy::RetryConfig;
use start::{intent, start};

const RETRY: RetryConfig = RetryConfig {
    initial: Duration::from_secs(30),
    max: Duration::from_mins(30),
    person: Duration::from_mins(10),
};

/// How long a daemon waits after a pass, while another acts, and after a pass that found nothing to
/// do.
const SOON: Duration = Duration::from_secs(5);
const STANDBY: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(20);

/// Why something is not done to its end now; a later pass takes it up.
pub(super) struct Stopped;

impl From<Lost> for Stopped {
    fn from(_: Lost) -> Self {
        Self
    }
}

/// What a daemon keeps from pass to pass.
#[derive(Clone, Default)]
struct Daemon {
    /// What it follows.
    running: Rc<RefCell<HashSet<(StepId, BuildId)>>>,
    backoffs: Rc<RefCell<Backoffs>>,
}

impl Daemon {
    fn is_settling(&self, step: &StepId) -> bool {
        self.running.borrow().iter().any(|(of, _)| of == step)
    }
}

/// What one pass leaves for the next under the same lease.
#[derive(Default)]
struct Seen {
    swept: Option<Duration>,
    /// Up to which change there is nothing to do.
    idle_at: Option<u64>,
}

pub(super) async fn run(at: Handle) {
    let daemon = Daemon::default();
    let mut watched = None;
    loop {
        if let Ok(Some(held)) = ask(&at, &mut watched).await {
            let held = Rc::new(held);
            let beating = Rc::clone(&held);
            at.spawn(Kind::Daemon, |at| keep(at, beating));
            let mut seen = Seen::default();
            while held.holds(&at) {
                let _ = pass(&at, &held, &daemon, &mut seen).await;
                let idle = seen.idle_at.is_some();
                at.sleep(if idle { IDLE } else { SOON }).await;
            }
            let token = held.token;
            held.lost.set(true);
            let _ = at.call(move |world| world.release(token)).await;
        }
        at.sleep(STANDBY).await;
    }
}

async fn pass(
    at: &Handle,
    held: &Rc<Held>,
    daemon: &Daemon,
    seen: &mut Seen,
) -> Result<(), Stopped> {
    let idle_at = seen.idle_at;
    let look = at
        .call(move |world| {
            let all = || (world.records.clone(), world.attempts.clone(), world.wanted);
            (world.changes, (Some(world.changes) != idle_at).then(all))
        })
        .await?;
    let (changes, Some((records, attempts, wanted))) = look else {
        return look_after_the_lost(at, held, seen, &BTreeMap::new()).await;
    };
    seen.idle_at = None;
    let now = at.world().wall(at.host);
    let unrecorded: BTreeMap<StepId, Attempt> = attempts
        .into_iter()
        .filter(|(_, attempt)| !(attempt.is_recorded() && attempt.cleaned))
        .collect();
    let steps = outlines();
    let (broken, tags, forced) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let free = HashMap::new();
    let (workflow, base) = (workflow(), base());
    let observation = Observation {
        workflow_id: &workflow,
        steps: &steps,
        broken: &broken,
        root_base: &base,
        base_unusable: None,
        aws_tags: &tags,
        records: &records,
        images: None,
        attempts: &unrecorded,
        forced: &forced,
        tried: None,
        held: &free,
        names: &Names::default(),
        now,
    };
    let plan = decide(&observation, &mut Git(wanted));
    resume(at, held, daemon, steps.iter().filter_map(|step| unrecorded.get(&step.id)));
    look_after_the_lost(at, held, seen, &unrecorded).await?;
    if unrecorded.is_empty() && plan.iter().all(|step| step.decision == Decision::InSync) {
        seen.idle_at = Some(changes);
    }
    for step in plan {
        let leaves = unrecorded.get(&step.id).is_some_and(|one| !one.is_settled());
        let forgets = at.world().has(Bug::ForgetsLeftovers);
        if let Decision::Build(build) = &step.decision
            && let BuildSource::Known { source, fingerprint, ami_name, attempt } = &build.source
            && !daemon.is_settling(&step.id)
            && (!leaves || forgets)
        {
            let intent = intent(at, held, *fingerprint, ami_name, source, *attempt);
            start(at, held, daemon, step.id.clone(), intent).await?;
        }
    }
    Ok(())
}

/// Follows again what an earlier process began, or what could not be settled.
fn resume<'a>(
    at: &Handle,
    held: &Rc<Held>,
    daemon: &Daemon,
    attempts: impl Iterator<Item = &'a Attempt>,
) {
    if at.world().has(Bug::NeverResumes) {
        return;
    }
    let now = at.world().wall(at.host);
    for attempt in attempts.filter(|attempt| !attempt.is_settled()) {
        let key = (attempt.step_id.clone(), attempt.build_id.clone());
        let matter = BackoffKey::Build(attempt.build_id.clone());
        let waits = daemon.backoffs.borrow_mut().holds(&matter, None, now).is_some();
        if waits || !daemon.running.borrow_mut().insert(key.clone()) {
            continue;
        }
        let (held, attempt, daemon) = (Rc::clone(held), attempt.clone(), daemon.clone());
        at.spawn(Kind::Daemon, move |at| async move {
            let carried = carry(&at, &held, attempt).await;
            let now = at.world().wall(at.host);
            let mut backoffs = daemon.backoffs.borrow_mut();
            match carried {
                Ok(()) => drop(backoffs.forget(&matter)),
                Err(Stopped) => {
                    backoffs.note(matter, None, now, 0.5);
                }
            }
            daemon.running.borrow_mut().remove(&key);
        });
    }
}

/// Looks after builds that were given up, now and then.
async fn look_after_the_lost(
    at: &Handle,
    held: &Held,
    seen: &mut Seen,
    attempts: &BTreeMap<StepId, Attempt>,
) -> Result<(), Stopped> {
    const SWEEP: Duration = Duration::from_mins(10);
    let fresh = |last| at.now().saturating_sub(last) <= SWEEP;
    if seen.swept.is_some_and(fresh) {
        return Ok(());
    }
    seen.swept = Some(at.now());
    // It stops nothing else.
    let _ = sweep(at, held, attempts).await;
    Ok(())
}
