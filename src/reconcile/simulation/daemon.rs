//! A simulated daemon. It decides by the real code (planner, attempts, recovery, observation, retries, sweep) and acts on the model world.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::clockwork::{Handle, Kind, Lost};
use super::supervisor::{of_told, supervise};
use super::world::{Bug, ModelBuild, Outcome, SILENCE, World, Written, workflow};
use crate::catalog::{ImageState, Leftovers};
use crate::config::RetryConfig;
use crate::desired::components::{Components, Fingerprint};
use crate::desired::digest::Digest;
use crate::desired::step::SourceImage;
use crate::diagnostic::Diagnostic;
use crate::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId};
use crate::inventory::beat::{Beat, Sign};
use crate::inventory::journal::{Attempt, BuildEvent, Failure, FailureClass, Intent, Stage};
use crate::inventory::record::{Built, RecordHead};
use crate::inventory::tags::Tags;
use crate::plan::decision::{BuildSource, Decision};
use crate::plan::planner::{Desires, Observation, Outline, decide};
use crate::reconcile::failure::retry_at;
use crate::reconcile::observe::{Stillness, Tenure};
use crate::reconcile::recovery::{self, Evidence, Here, Life, Named, Recovery, State};
use crate::reconcile::sweep::{Care, care};

const LEASE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_mins(10);
const RETRY: RetryConfig = RetryConfig {
    initial: Duration::from_secs(30),
    max: Duration::from_mins(30),
    person: Duration::from_hours(1),
};

/// Why something is not done to its end now; a later pass takes it up.
pub(super) struct Stopped;

impl From<Lost> for Stopped {
    fn from(_: Lost) -> Self {
        Self
    }
}

/// What git says, as one look saw it.
pub(super) struct Git(pub(super) u8);

impl Git {
    pub(super) fn wants(&self, step: &str, source: &AmiId) -> Fingerprint {
        let mut bytes = [self.0; 32];
        bytes[1..=step.len()].copy_from_slice(step.as_bytes());
        let source = source.as_str().as_bytes();
        bytes[4..4 + source.len()].copy_from_slice(source);
        Digest::from_bytes(bytes)
    }
}

impl Desires for Git {
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>> {
        Ok(self.wants(step.id.as_str(), &source.id))
    }

    fn components(&mut self, _: &Outline, _: &SourceImage) -> Result<Components, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    fn recorded_components(&mut self, _: &Outline) -> Option<Components> {
        None
    }

    fn ami_name(&mut self, _: &Outline, is: &Fingerprint, _: u32) -> Result<AmiName, Diagnostic> {
        Ok(AmiName::new(is.to_string()))
    }

    fn rebuild_of(&mut self, _: &Outline, _: &Fingerprint, _: &AmiName) -> Option<u32> {
        None
    }
}

fn outlines() -> [Outline; 2] {
    ["a", "b"].map(|id| Outline {
        id: StepId::new(id),
        folder: id.to_owned(),
        parent: (id == "b").then(|| StepId::new("a")),
        manual: false,
        suspend: false,
        metadata_digest: Digest::from_bytes([0; 32]),
    })
}

pub(super) fn base() -> SourceImage {
    SourceImage {
        id: AmiId::new("ami-base"),
        name: AmiName::new("base"),
    }
}

/// What a daemon holds.
struct Held {
    token: u64,
    tenure: Cell<Tenure>,
    lost: Cell<bool>,
}

impl Held {
    fn holds(&self, at: &Handle) -> bool {
        !self.lost.get() && self.tenure.get().holds(at.now())
    }
}

/// What a daemon follows.
type Running = Rc<RefCell<HashSet<(StepId, BuildId)>>>;

pub(super) async fn run(at: Handle) {
    let running = Running::default();
    let mut watched = None;
    loop {
        if let Ok(Some(held)) = ask(&at, &mut watched).await {
            let held = Rc::new(held);
            let beating = Rc::clone(&held);
            at.spawn(Kind::Daemon, |at| keep(at, beating));
            let mut swept = None;
            while held.holds(&at) {
                let _ = pass(&at, &held, &running, &mut swept).await;
                at.sleep(Duration::from_secs(5)).await;
            }
            let token = held.token;
            held.lost.set(true);
            let _ = at.call(move |world| world.release(token)).await;
        }
        at.sleep(Duration::from_secs(5)).await;
    }
}

async fn ask(at: &Handle, watched: &mut Option<Stillness>) -> Result<Option<Held>, Lost> {
    let asked = at.now();
    let seen = at.call(|world| world.lease.clone()).await?;
    let life = at.world().hosts[at.host].life;
    if let Some(lease) = &seen
        && let Some(holder) = &lease.holder
    {
        let still = Stillness::observe(watched, &lease.version, asked, at.now());
        let (host, of_life) = holder.split_once('/').unwrap_or_default();
        let gone = host == at.host.to_string() && of_life != life.to_string();
        if !gone && still < Duration::from_secs(lease.duration_seconds) {
            return Ok(None);
        }
    }
    let asked = at.now();
    let holder = format!("{}/{life}", at.host);
    let lease = at
        .call(move |world| world.acquire(holder, seen.as_ref()))
        .await?;
    Ok(lease.map(|lease| Held {
        token: lease.token,
        tenure: Cell::new(Tenure::renewed(asked, LEASE)),
        lost: Cell::new(false),
    }))
}

async fn keep(at: Handle, held: Rc<Held>) {
    loop {
        at.sleep(LEASE / 3).await;
        let asked = at.now();
        let token = held.token;
        match at.call(move |world| world.renew(token)).await {
            Ok(true) => held.tenure.set(Tenure::renewed(asked, LEASE)),
            Ok(false) => break,
            Err(Lost) if !held.tenure.get().holds(at.now()) => break,
            Err(Lost) => {}
        }
        if held.lost.get() {
            break;
        }
    }
    held.lost.set(true);
}

async fn pass(
    at: &Handle,
    held: &Rc<Held>,
    running: &Running,
    swept: &mut Option<Duration>,
) -> Result<(), Stopped> {
    let (records, attempts, wanted) = at
        .call(|world| (world.records.clone(), world.attempts.clone(), world.wanted))
        .await?;
    let records = records
        .into_iter()
        .map(|(step, head)| (step, std::sync::Arc::new(head)))
        .collect();
    let now = at.world().wall(at.host);
    let steps = outlines();
    let (broken, tags, forced) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let free = HashMap::new();
    let (workflow, base) = (workflow(), base());
    let unrecorded: HashMap<StepId, Attempt> = attempts
        .into_iter()
        .filter(|(_, attempt)| !(attempt.is_recorded() && attempt.cleaned))
        .collect();
    let seen = Observation {
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
        held: &free,
        now,
    };
    let plan = decide(&seen, &mut Git(wanted));
    for attempt in unrecorded.values() {
        if at.world().has(Bug::NeverResumes) {
            break;
        }
        let key = (attempt.step_id.clone(), attempt.build_id.clone());
        if attempt.is_settled() || !running.borrow_mut().insert(key.clone()) {
            continue;
        }
        let (held, attempt, running) = (Rc::clone(held), attempt.clone(), Rc::clone(running));
        at.spawn(Kind::Daemon, move |at| async move {
            if carry(&at, &held, attempt).await.is_err() {
                at.sleep(Duration::from_secs(2)).await;
            }
            running.borrow_mut().remove(&key);
        });
    }
    if swept.is_none_or(|last| at.now().saturating_sub(last) > Duration::from_mins(10)) {
        *swept = Some(at.now());
        sweep(at, held, &unrecorded).await?;
    }
    for step in plan {
        let settling = running.borrow().iter().any(|(of, _)| *of == step.id);
        if let Decision::Build(build) = &step.decision
            && let BuildSource::Known {
                source,
                fingerprint,
                ami_name,
                attempt,
            } = &build.source
            && !settling
        {
            let intent = intent(at, held, *fingerprint, ami_name, source, *attempt);
            start(at, held, running, step.id.clone(), intent).await?;
        }
    }
    Ok(())
}

fn intent(
    at: &Handle,
    held: &Held,
    fingerprint: Fingerprint,
    ami_name: &AmiName,
    source: &SourceImage,
    attempt: u32,
) -> Intent {
    Intent {
        fingerprint,
        ami_name: ami_name.clone(),
        revision: Revision::new("r"),
        source_ami: source.id.clone(),
        region: Region::new("us-east-1"),
        host: at.host.to_string(),
        prepared_by: None,
        afterwards: crate::desired::hcl::Afterwards::default(),
        deadline: at.world().wall(at.host) + LIMIT,
        fence: held.token,
        attempt,
        promise: None,
    }
}

async fn start(
    at: &Handle,
    held: &Rc<Held>,
    running: &Running,
    step: StepId,
    intent: Intent,
) -> Result<(), Stopped> {
    let name = intent.ami_name.clone();
    let existing = {
        let name = name.clone();
        at.call(move |world| world.images.get(&name).cloned())
            .await?
    };
    let id = BuildId::new(format!("{:06}", at.world().id()));
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
    running.borrow_mut().insert(key.clone());
    let begun = async {
        if let Some(image) = existing {
            if !image.tagged && !is_of_a_lost_build(at, &name).await? {
                at.world()
                    .demand(false, || format!("{name} is a stranger's image"));
            }
            record(at, held, &mut attempt).await?;
            return append(at, held, &mut attempt, Stage::Cleaned { removed: vec![] }).await;
        }
        if !held.holds(at) && !at.world().has(Bug::StartsWithoutLease) {
            return Err(Stopped);
        }
        let build = ModelBuild {
            step: step.clone(),
            fingerprint: intent.fingerprint,
            name,
            host: at.host,
            started: false,
            instance: false,
            told: false,
            cancelled: false,
            outcome: None,
            last_beat: None,
            given_up: false,
        };
        at.world().builds.insert(id.clone(), build);
        let until = held.tenure.get().until();
        at.spawn(Kind::Supervisor, |at| {
            supervise(at, id.clone(), step, until)
        });
        append(at, held, &mut attempt, Stage::Started { pid: 1 }).await
    }
    .await;
    running.borrow_mut().remove(&key);
    begun
}

/// As `finish::carry`.
async fn carry(at: &Handle, held: &Held, mut attempt: Attempt) -> Result<(), Stopped> {
    let id = attempt.build_id.clone();
    if attempt.is_over() {
        return clean(at, held, &mut attempt).await;
    }
    let outcome = await_end(at, held, &attempt).await?;
    let name = attempt.intent.ami_name.clone();
    let image = at.call(move |world| named(world, &name)).await?;
    let made = match outcome {
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
        let now = at.world().wall(at.host);
        let class = FailureClass::Transient;
        let failure = Failure {
            class,
            cause: id.to_string(),
            log: None,
            retry_at: retry_at(class, attempt.intent.attempt.min(1), &RETRY, now, 0.5),
        };
        append(at, held, &mut attempt, Stage::Failed(failure)).await?;
    }
    clean(at, held, &mut attempt).await
}

async fn await_end(
    at: &Handle,
    held: &Held,
    attempt: &Attempt,
) -> Result<Option<Outcome>, Stopped> {
    let (since, mut still, mut silence) = (at.now(), None, Duration::from_millis(SILENCE));
    loop {
        if !held.holds(at) {
            return Err(Stopped);
        }
        let found = at.world().builds.get(&attempt.build_id).cloned();
        let here = attempt.intent.host == at.host.to_string();
        if let Some(build) = found.filter(|build| build.host == at.host) {
            if build.outcome.is_some() {
                return Ok(build.outcome);
            }
            at.sleep(Duration::from_secs(1)).await;
            continue;
        }
        let (asked, id) = (at.now(), attempt.build_id.clone());
        let beat = at.call(move |world| world.beats.get(&id).cloned()).await?;
        let life = match &beat {
            None => Life::None {
                watched: asked.saturating_sub(since),
                silence,
            },
            Some(beat) => {
                silence = Duration::from_secs(beat.silence_seconds);
                match &beat.sign {
                    Sign::Over { .. } => Life::Over,
                    Sign::GivenUp { .. } => Life::Beats {
                        still: silence,
                        silence,
                    },
                    Sign::Running { .. } => Life::Beats {
                        still: Stillness::observe(&mut still, &beat.version, asked, at.now()),
                        silence,
                    },
                }
            }
        };
        let seen = Evidence {
            here: if here {
                Here::NeverStarted
            } else {
                Here::Elsewhere
            },
            told_started: attempt.is_said_to_run(),
            life,
            deadline: attempt.intent.deadline,
            now: at.world().wall(at.host),
        };
        let stood = beat.as_ref().map(|beat| beat.version.clone());
        let mut state = recovery::state(&seen);
        if state == State::MayRun
            && (at.world().has(Bug::NeverWaits)
                || (at.world().has(Bug::Impatient)
                    && matches!(life, Life::Beats { still, .. } if still > silence / 8)))
        {
            state = State::Gone;
        }
        match (state, beat.map(|beat| beat.sign)) {
            (State::Told, Some(Sign::Over { outcome })) => return Ok(Some(of_told(&outcome))),
            (State::Gone, beat) => {
                if (!here || beat.is_some() || seen.told_started)
                    && !beat.is_some_and(|sign| sign.is_given_up())
                    && !give_up(at, held, attempt, stood).await?
                {
                    continue;
                }
                return Ok(None);
            }
            _ => at.sleep(silence / 8).await,
        }
    }
}

/// Whether it was given up: not if it has given a sign of life since.
async fn give_up(
    at: &Handle,
    held: &Held,
    attempt: &Attempt,
    stood: Option<String>,
) -> Result<bool, Stopped> {
    let version = at.world().id().to_string();
    let beat = Beat {
        workflow_id: workflow(),
        step_id: attempt.step_id.clone(),
        build_id: attempt.build_id.clone(),
        host: attempt.intent.host.clone(),
        version,
        silence_seconds: SILENCE / 1000,
        at: Timestamp::UNIX_EPOCH,
        sign: Sign::GivenUp {
            ami_name: attempt.intent.ami_name.clone(),
            traces: Leftovers::default(),
            until: attempt.intent.deadline + Duration::from_mins(15),
        },
    };
    let token = held.token;
    match at
        .call(move |world| world.give_up(beat, stood.as_deref(), token))
        .await?
    {
        Written::Done => Ok(true),
        Written::Conflict => Ok(false),
        Written::Fenced => Err(Stopped),
    }
}

/// Waits for the image, tags it, records it.
async fn record(at: &Handle, held: &Held, attempt: &mut Attempt) -> Result<(), Stopped> {
    let name = attempt.intent.ami_name.clone();
    let image = loop {
        let asked = name.clone();
        let image = at
            .call(move |world| world.images.get(&asked).cloned())
            .await?;
        let Some(image) = image else {
            return Err(Stopped);
        };
        if image.ready_at <= at.world().now {
            break image;
        }
        at.sleep(Duration::from_secs(10)).await;
    };
    let ami_id = image.id.clone();
    append(
        at,
        held,
        attempt,
        Stage::ImageSeen {
            ami_id: ami_id.clone(),
        },
    )
    .await?;
    if !held.holds(at) {
        return Err(Stopped);
    }
    let tagged = name.clone();
    at.call(move |world| {
        if world.has(Bug::RecordsBeforeTags) {
            return;
        }
        if let Some(image) = world.images.get_mut(&tagged) {
            image.tagged = true;
        }
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
    let stage = Stage::Recorded {
        ami_id,
        build_seconds: 1,
    };
    append_with(at, held, attempt, stage, Some(head)).await
}

/// Removes what a build left and its host, or its beats, told of.
async fn clean(at: &Handle, held: &Held, attempt: &mut Attempt) -> Result<(), Stopped> {
    if !held.holds(at) {
        return Err(Stopped);
    }
    let (id, host, failed) = (attempt.build_id.clone(), at.host, !attempt.is_recorded());
    at.call(move |world| {
        if world.has(Bug::LeavesThings) {
            return;
        }
        let name = world.builds.get_mut(&id).map(|build| {
            build.instance &= !(build.told || build.host == host);
            build.name.clone()
        });
        // A failed build's own image; one that a lost build makes meanwhile is another's.
        if failed
            && let Some(name) = name
            && world.builds[&id].outcome == Some(Outcome::Failed)
            && !world.builds[&id].given_up
        {
            world.images.remove(&name);
        }
    })
    .await?;
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

async fn sweep(
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
                if !held.holds(at) {
                    return Err(Stopped);
                }
                at.call(move |world| {
                    if let Some(build) = world.builds.get_mut(&id) {
                        build.instance &= !build.told;
                        let name = build.name.clone();
                        if image && world.images.get(&name).is_some_and(|image| !image.tagged) {
                            world.images.remove(&name);
                        }
                    }
                    if last {
                        forget(world, &id, token, true);
                    }
                })
                .await?;
            }
        }
    }
    Ok(())
}

async fn is_of_a_lost_build(at: &Handle, name: &AmiName) -> Result<bool, Stopped> {
    let name = name.clone();
    Ok(at
        .call(move |world| {
            world.beats.values().any(
                |beat| matches!(&beat.sign, Sign::GivenUp { ami_name, .. } if *ami_name == name),
            )
        })
        .await?)
}

fn named(world: &World, name: &AmiName) -> Named {
    let state = world.images.get(name).map(|image| {
        if image.ready_at <= world.now {
            ImageState::Available
        } else {
            ImageState::Pending
        }
    });
    Named::of(state.as_ref())
}

async fn append(
    at: &Handle,
    held: &Held,
    attempt: &mut Attempt,
    stage: Stage,
) -> Result<(), Stopped> {
    append_with(at, held, attempt, stage, None).await
}

async fn append_with(
    at: &Handle,
    held: &Held,
    attempt: &mut Attempt,
    stage: Stage,
    record: Option<RecordHead>,
) -> Result<(), Stopped> {
    let event = BuildEvent {
        workflow_id: workflow(),
        step_id: attempt.step_id.clone(),
        build_id: attempt.build_id.clone(),
        seq: attempt.seq + 1,
        at: at.world().wall(at.host),
        stage,
    };
    write(at, held, &event, record).await?;
    attempt.apply(&event);
    Ok(())
}

/// A write whose answer is lost is repeated word for word, as the SDK does.
async fn write(
    at: &Handle,
    held: &Held,
    event: &BuildEvent,
    record: Option<RecordHead>,
) -> Result<(), Stopped> {
    for _ in 0..3 {
        let (event, record, token) = (event.clone(), record.clone(), held.token);
        let written = at
            .call(move |world| world.write(&event, record.as_ref(), token))
            .await;
        match written {
            Ok(Written::Done) => return Ok(()),
            Ok(Written::Fenced) => {
                held.lost.set(true);
                return Err(Stopped);
            }
            Ok(Written::Conflict) => return Err(Stopped),
            Err(Lost) => {}
        }
    }
    Err(Stopped)
}
