//! The loop: one task owns the state of all workflows, makes passes, and learns by messages what its builds come to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::build::RunningBuild;
use crate::config::{Config, OnSuperseded};
use crate::desired::jinja::Engine;
use crate::ids::{BuildId, Revision, StepId};
use crate::inventory::Fence;
use crate::inventory::journal::{Attempt, FailureClass, Progress};
use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision};
use crate::plan::planner::PlannedStep;
use crate::reconcile::cache::StepCache;
use crate::reconcile::checkout::{Checkout, Desired, read_params};
use crate::reconcile::error::PassError;
use crate::reconcile::finish::{carry, take_over};
use crate::reconcile::lease::{Asked, Held, Watched, ask, ask_patiently};
use crate::reconcile::look::{Request, look};
use crate::reconcile::ports::{Ports, Use, connect};
use crate::reconcile::start::{Started, start};
use crate::reconcile::update::update;
use crate::source::discover::{WorkflowFolder, workflows};
use crate::source::{GitSource, GitTree};
use crate::workflow::WorkflowParams;

/// A repository that is followed.
pub struct Site {
    /// Its name.
    pub name: String,
    /// Git.
    pub source: Arc<dyn GitSource>,
    /// Where workflows are looked for.
    pub roots: Vec<String>,
    /// Folders that are none.
    pub exclude: Vec<String>,
    /// A revision to stay at, instead of what is followed.
    pub revision: Option<String>,
}

/// What the loop is to do.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Steps to act on, with their ancestors; all if empty.
    pub only: BTreeSet<StepId>,
    /// Steps to build whatever their state.
    pub forced: BTreeSet<StepId>,
    /// Whether to end when nothing is left to do, and to insist on the lease.
    pub once: bool,
}

/// What happened, for logs and for people.
pub enum Event<'a> {
    /// A plan differs from the one before.
    Planned(&'a Plan),
    /// Packer runs.
    Started(&'a Attempt),
    /// A build is over.
    Ended(&'a Attempt),
    /// An image of an earlier build is taken over.
    TakenOver(&'a Attempt),
    /// Tags or a record were brought up to date.
    Updated(&'a PlannedStep),
    /// History was rewritten: the new commit does not descend from the one before.
    Rewritten {
        /// The repository.
        site: &'a str,
        /// Before.
        old: &'a Revision,
        /// Now.
        new: &'a Revision,
    },
    /// A running build is cancelled, for git says something else by now.
    Superseded(&'a StepId),
    /// Another reconciler acts on this workflow.
    Standby(&'a str),
    /// A pass over one workflow or repository was stopped.
    Stopped(&'a str, &'a PassError),
}

/// Hears what happens.
pub trait Observer: Send + Sync {
    /// Called for each event, from the loop's own task.
    fn notice(&self, event: &Event<'_>);
}

/// Why the loop wakes. None of them says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something may have changed.
    Look,
    /// End in order.
    Stop,
}

/// The state of the loop.
pub struct Driver {
    config: Arc<Config>,
    engine: Engine,
    sites: Vec<Site>,
    orders: Orders,
    observer: Arc<dyn Observer>,
    workflows: BTreeMap<(String, String), WorkflowState>,
    heads: HashMap<String, Revision>,
    running: HashMap<BuildId, (StepId, Option<RunningBuild>)>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

struct WorkflowState {
    access: AccessKey,
    ports: Ports,
    lease: Option<Held>,
    watched: Option<Watched>,
    attempts: Option<(u64, HashMap<StepId, Attempt>)>,
    last_plan: Option<Plan>,
    cache: Option<StepCache>,
}

/// What of the parameters decides how AWS is reached.
type AccessKey = (Option<String>, Option<String>, Option<String>);

struct Ended {
    site: (String, String),
    build_id: BuildId,
    result: Result<Attempt, PassError>,
}

/// What a pass over everything came to.
#[derive(Clone, Debug, Default)]
pub struct PassReport {
    /// The plans.
    pub plans: Vec<Plan>,
    /// How many workflows or repositories could not be looked at.
    pub errors: usize,
    /// The earliest time at which something is to be tried again.
    pub next_try: Option<Timestamp>,
    /// Whether this pass started or changed anything.
    pub acted: bool,
}

impl Driver {
    /// A loop that has done nothing yet.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        sites: Vec<Site>,
        orders: Orders,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            config,
            engine: Engine::new(),
            sites,
            orders,
            observer,
            workflows: BTreeMap::new(),
            heads: HashMap::new(),
            running: HashMap::new(),
            ended: mpsc::unbounded_channel(),
        }
    }

    /// Makes passes until told to stop or, with [`Orders::once`], until nothing is left to do. Returns the last pass.
    pub async fn run(&mut self, mut wakes: mpsc::Receiver<Wake>) -> PassReport {
        loop {
            let report = self.pass().await;
            if self.orders.once
                && self.running.is_empty()
                && !report.acted
                && report.next_try.is_none()
            {
                self.release().await;
                return report;
            }
            let pause = self.pause(&report);
            tokio::select! {
                wake = wakes.recv() => if !matches!(wake, Some(Wake::Look)) {
                    self.release().await;
                    return report;
                },
                Some(ended) = self.ended.1.recv() => self.note(&ended),
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok(ended) = self.ended.1.try_recv() {
                self.note(&ended);
            }
        }
    }

    fn pause(&self, report: &PassReport) -> Duration {
        let until = report
            .next_try
            .map(|at| at.duration_since(Timestamp::now()).unsigned_abs());
        let due = report.next_try.is_some_and(|at| at <= Timestamp::now());
        let shortest = Duration::from_secs(1);
        let soon = if report.errors > 0 || self.standby() {
            Duration::from_secs(5)
        } else {
            self.config.interval
        };
        match until {
            _ if report.acted && self.running.is_empty() => Duration::ZERO,
            _ if due => shortest,
            Some(until) => until.clamp(shortest, soon),
            None => soon,
        }
    }

    fn standby(&self) -> bool {
        self.workflows.values().any(|state| state.lease.is_none())
    }

    fn note(&mut self, ended: &Ended) {
        self.running.remove(&ended.build_id);
        if let Some(state) = self.workflows.get_mut(&ended.site) {
            state.attempts = None;
        }
        match &ended.result {
            Ok(attempt) => self.observer.notice(&Event::Ended(attempt)),
            Err(error) => self.observer.notice(&Event::Stopped(&ended.site.1, error)),
        }
    }

    /// Builds go on under their supervisors; leases go back.
    async fn release(&mut self) {
        for state in self.workflows.values_mut() {
            if let Some(lease) = state.lease.take() {
                lease.release().await;
            }
        }
    }

    /// Whether builds are under way that this loop has started or taken up.
    #[must_use]
    pub fn is_building(&self) -> bool {
        !self.running.is_empty()
    }

    /// One pass over everything.
    pub async fn pass(&mut self) -> PassReport {
        let mut report = PassReport::default();
        for index in 0..self.sites.len() {
            if let Err(error) = self.pass_site(index, &mut report).await {
                report.errors += 1;
                self.observer
                    .notice(&Event::Stopped(&self.sites[index].name, &error));
            }
        }
        report
    }

    async fn pass_site(&mut self, index: usize, report: &mut PassReport) -> Result<(), PassError> {
        let site = &self.sites[index];
        let name = site.name.clone();
        let (tree, folders) = tokio::task::block_in_place(|| open(site))?;
        self.note_rewrite(index, tree.revision())?;
        for folder in folders {
            if let Err(error) = self.pass_workflow(index, &tree, &folder, report).await {
                if error.is_fenced()
                    && let Some(state) =
                        self.workflows.get_mut(&(name.clone(), folder.path.clone()))
                {
                    state.lease = None;
                    state.attempts = None;
                }
                report.errors += 1;
                self.observer.notice(&Event::Stopped(&folder.path, &error));
            }
        }
        Ok(())
    }

    fn note_rewrite(&mut self, index: usize, new: &Revision) -> Result<(), PassError> {
        let site = &self.sites[index];
        if let Some(old) = self.heads.insert(site.name.clone(), new.clone())
            && old != *new
            && !site.source.descends(new, &old)?
        {
            self.observer.notice(&Event::Rewritten {
                site: &site.name,
                old: &old,
                new,
            });
        }
        Ok(())
    }

    async fn pass_workflow(
        &mut self,
        index: usize,
        tree: &Arc<dyn GitTree>,
        folder: &WorkflowFolder,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let key = (self.sites[index].name.clone(), folder.path.clone());
        let (params, _) = read_params(tree.as_ref(), folder)?;
        self.connect(&key, &params, index).await?;
        let Some(fence) = self.lease(&key, &params).await? else {
            return Ok(());
        };
        let cache = self
            .workflows
            .get(&key)
            .and_then(|state| state.cache.as_ref());
        let checkout = tokio::task::block_in_place(|| {
            Checkout::read(tree, folder, cache.map(StepCache::load).unwrap_or_default())
        })?;
        let site = &self.sites[index];
        let reference = site
            .revision
            .clone()
            .unwrap_or_else(|| site.source.reference());
        let request = Request {
            repository: &site.name,
            reference: &reference,
            forced: &self.orders.forced,
            now: Timestamp::now(),
        };
        let Some(state) = self.workflows.get_mut(&key) else {
            return Ok(());
        };
        let seq = state.lease.as_ref().map_or(0, Held::journal_seq);
        let known = state
            .attempts
            .take()
            .filter(|(at, _)| *at == seq)
            .map(|(_, attempts)| attempts);
        let seen = look(
            &self.config,
            &state.ports,
            &checkout,
            &self.engine,
            &request,
            known,
        )
        .await?;
        if state
            .last_plan
            .as_ref()
            .is_none_or(|last| differs(last, &seen.plan))
        {
            self.observer.notice(&Event::Planned(&seen.plan));
        }
        let acted = self
            .act(&key, &checkout, &seen.plan, &seen.attempts, &fence)
            .await;
        if let Some(state) = self.workflows.get_mut(&key) {
            state.attempts = matches!(acted, Ok(false)).then_some((seq, seen.attempts));
            state.last_plan = Some(seen.plan.clone());
            if let Some(cache) = &mut state.cache {
                cache.store(&seen.fresh);
            }
        }
        report.acted |= *acted.as_ref().unwrap_or(&true);
        report.next_try = earliest(report.next_try, self.next_try(&seen.plan));
        report.plans.push(seen.plan);
        acted.map(|_| ())
    }

    async fn connect(
        &mut self,
        key: &(String, String),
        params: &WorkflowParams,
        index: usize,
    ) -> Result<(), PassError> {
        let keys = params
            .values
            .get("aws_access_key_id")
            .map(ToString::to_string);
        let access = (params.profile.clone(), params.region.clone(), keys);
        if self
            .workflows
            .get(key)
            .is_some_and(|state| state.access == access)
        {
            return Ok(());
        }
        let ports = connect(&self.config, params, Use::Act).await?;
        ports.inventory.prepare().await?;
        let state = WorkflowState {
            access,
            ports,
            lease: None,
            watched: None,
            attempts: None,
            last_plan: None,
            cache: StepCache::open(
                &self.config.state_dir,
                &self.sites[index].source.place(),
                &key.1,
            ),
        };
        self.workflows.insert(key.clone(), state);
        Ok(())
    }

    async fn lease(
        &mut self,
        key: &(String, String),
        params: &WorkflowParams,
    ) -> Result<Option<Fence>, PassError> {
        let Some(state) = self.workflows.get_mut(key) else {
            return Ok(None);
        };
        if let Some(held) = &state.lease {
            if let Some(fence) = held
                .fence()
                .filter(|fence| fence.workflow_id == params.workflow_id)
            {
                return Ok(Some(fence));
            }
            if let Some(lost) = state.lease.take() {
                lost.release().await;
            }
            state.attempts = None;
        }
        let duration = self.config.lease_duration;
        let inventory = &state.ports.inventory;
        let held = if self.orders.once {
            ask_patiently(inventory, &params.workflow_id, duration).await?
        } else {
            match ask(inventory, &params.workflow_id, duration, &mut state.watched).await? {
                Asked::Held(held) => held,
                Asked::Busy(lease) => {
                    let holder = lease.holder.unwrap_or_default();
                    self.observer.notice(&Event::Standby(&holder));
                    return Ok(None);
                }
            }
        };
        let fence = held.fence();
        state.lease = Some(held);
        Ok(fence)
    }

    /// Does what the plan says, as far as it can be done now. Returns whether anything was done.
    async fn act(
        &mut self,
        key: &(String, String),
        checkout: &Checkout,
        plan: &Plan,
        attempts: &HashMap<StepId, Attempt>,
        fence: &Fence,
    ) -> Result<bool, PassError> {
        let ports = match self.workflows.get(key) {
            Some(state) => state.ports.clone(),
            None => return Ok(false),
        };
        let mut acted = self.resume(key, &ports, plan, attempts, fence).await?;
        let wanted = self.wanted(plan);
        for step in plan.steps.iter().filter(|step| wanted.contains(&step.id)) {
            match &step.decision {
                Decision::Update(change) => {
                    update(&ports, checkout, step, change, fence).await?;
                    self.observer.notice(&Event::Updated(step));
                    acted = true;
                }
                Decision::Building(building)
                    if building.superseded && self.config.on_superseded == OnSuperseded::Cancel =>
                {
                    if let Some((_, Some(running))) = self.running.get(&building.build_id) {
                        self.observer.notice(&Event::Superseded(&step.id));
                        ports.builder.cancel(running).await?;
                    }
                }
                _ => {}
            }
        }
        let desired = Desired::new(
            checkout,
            &self.engine,
            &ports.region,
            &self.config.ami_name,
            &plan.root_base,
        );
        let mut begun = Vec::new();
        for step in plan.ready().filter(|step| wanted.contains(&step.id)) {
            if self.running.len() + begun.len() >= self.config.max_concurrent_builds {
                break;
            }
            let Decision::Build(build) = &step.decision else {
                continue;
            };
            if matches!(build.source, BuildSource::Known { .. }) {
                let started = start(&self.config, &ports, &desired, &step.id, build, fence).await?;
                if let Started::Running(attempt, running) = &started {
                    self.observer.notice(&Event::Started(attempt));
                    begun.push(((**attempt).clone(), Some(running.clone())));
                }
                acted |= !matches!(started, Started::Nothing);
                self.orders.forced.remove(&step.id);
                match started {
                    Started::Exists(attempt, image) => {
                        let attempt = take_over(&ports, fence, *attempt, &image).await?;
                        self.observer.notice(&Event::TakenOver(&attempt));
                    }
                    Started::Failed(attempt) => self.observer.notice(&Event::Ended(&attempt)),
                    Started::Running(..) | Started::Nothing => {}
                }
            }
        }
        for (attempt, running) in begun {
            self.follow(key, &ports, fence, attempt, running);
        }
        Ok(acted)
    }

    /// Builds of an earlier process, or whose end could not be settled: they are followed again.
    async fn resume(
        &mut self,
        key: &(String, String),
        ports: &Ports,
        plan: &Plan,
        attempts: &HashMap<StepId, Attempt>,
        fence: &Fence,
    ) -> Result<bool, PassError> {
        let mut resumed = false;
        let open = |attempt: &&Attempt| !attempt.is_over();
        let known: BTreeSet<&StepId> = plan.steps.iter().map(|step| &step.id).collect();
        for attempt in attempts
            .values()
            .filter(open)
            .filter(|attempt| known.contains(&attempt.step_id))
        {
            if self.running.contains_key(&attempt.build_id) {
                continue;
            }
            let running = ports.builder.find(&attempt.build_id).await?;
            self.observer.notice(&Event::Started(attempt));
            self.follow(key, ports, fence, attempt.clone(), running);
            resumed = true;
        }
        Ok(resumed)
    }

    fn follow(
        &mut self,
        key: &(String, String),
        ports: &Ports,
        fence: &Fence,
        attempt: Attempt,
        running: Option<RunningBuild>,
    ) {
        let build_id = attempt.build_id.clone();
        self.running
            .insert(build_id.clone(), (attempt.step_id.clone(), running.clone()));
        let (config, ports, fence) = (Arc::clone(&self.config), ports.clone(), fence.clone());
        let (ended, site) = (self.ended.0.clone(), key.clone());
        tokio::spawn(async move {
            let result = carry(&config, &ports, &fence, attempt, running).await;
            // The loop has ended if nobody listens; the next process takes the build up from the journal.
            let _ = ended.send(Ended {
                site,
                build_id,
                result,
            });
        });
    }

    /// The steps that orders allow to act on: those named, with their ancestors.
    fn wanted(&self, plan: &Plan) -> BTreeSet<StepId> {
        if self.orders.only.is_empty() && !self.orders.once {
            return plan.steps.iter().map(|step| step.id.clone()).collect();
        }
        if self.orders.only.is_empty() {
            return plan.steps.iter().map(|step| step.id.clone()).collect();
        }
        let parents: HashMap<&StepId, &StepId> = plan
            .steps
            .iter()
            .filter_map(|step| Some((&step.id, step.parent.as_ref()?)))
            .collect();
        let mut wanted = BTreeSet::new();
        for id in &self.orders.only {
            let mut at = Some(id);
            while let Some(id) = at {
                if !wanted.insert(id.clone()) {
                    break;
                }
                at = parents.get(id).copied();
            }
        }
        wanted
    }

    fn next_try(&self, plan: &Plan) -> Option<Timestamp> {
        const MOST_TRIES: u32 = 4;
        plan.steps
            .iter()
            .filter_map(|step| match &step.decision {
                // A command that ends waits for what mends itself, not for a person.
                Decision::BackingOff { until, failure }
                    if !self.orders.once || failure.class == FailureClass::Transient =>
                {
                    Some(*until)
                }
                _ => None,
            })
            .filter(|_| !self.orders.once || self.tries() < MOST_TRIES)
            .min()
    }

    fn tries(&self) -> u32 {
        let attempts = self
            .workflows
            .values()
            .filter_map(|state| state.attempts.as_ref());
        attempts
            .flat_map(|(_, attempts)| attempts.values())
            .filter(|attempt| matches!(attempt.progress, Progress::Failed(_)))
            .map(|attempt| attempt.intent.attempt)
            .max()
            .unwrap_or(0)
    }
}

fn open(site: &Site) -> Result<(Arc<dyn GitTree>, Vec<WorkflowFolder>), PassError> {
    let revision = site.source.resolve(site.revision.as_deref())?;
    let tree = site.source.at(&revision)?;
    let folders = workflows(tree.as_ref(), &site.roots, &site.exclude)?;
    Ok((Arc::from(tree), folders))
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether two plans say different things, whenever they were made.
fn differs(old: &Plan, new: &Plan) -> bool {
    old.revision != new.revision
        || old.steps != new.steps
        || old.orphans != new.orphans
        || old.newer_base != new.newer_base
}
