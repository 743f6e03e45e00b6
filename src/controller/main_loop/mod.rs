//! The loop: one task owns the state of all workflows, makes passes, and learns by messages what
//! its builds come to.
//!
//! This file says in which order things happen; what each of them is stands in the files beside it.

mod abandoned_workflows;
mod actions;
pub(in crate::controller) mod backoff;
mod build_tasks;
mod event;
mod event_log;
mod garbage_tasks;
mod host_fitness;
mod lease_release;
mod owned_workflows;
mod pass_coverage;
mod pass_rate;
mod replaced_inventory;
mod repository;
mod run_options;
mod shutdown;
mod unplanned_workflows;
mod workflow_claims;
mod workflow_pass;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::controller::connect::Connector;
use crate::controller::context::{Context, block_in_place};
use crate::controller::error::PassError;
use crate::controller::old_build_folders::Housekeeping;
use crate::controller::status_file::StatusFile;
use abandoned_workflows::AbandonedWorkflows;
use backoff::{BackoffKey, Backoffs};
use build_tasks::{Followed, News};
pub use event::{Event, Failing, Observer, Origin};
use host_fitness::{HostFitness, Verdict};
pub use lease_release::Fetching;
use owned_workflows::OwnedWorkflows;
use pass_coverage::Round;
use pass_rate::{Waiting, earliest, pause};
use reconciler_core::plan::Plan;
use reconciler_core::workflow::unique::Claim;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, Revision, WorkflowId};
use reconciler_model::source::GitTree;
pub use repository::FollowedRepository;
use repository::{Opened, OpenedFolder, open};
pub use run_options::RunOptions;
use workflow_pass::{WorkflowKey, WorkflowLocation, WorkflowState, journal_moved};

/// How long a pass that is under way may go on after a request to end: enough to write down what it
/// just did.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Why the loop wakes. None of them says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something may have changed.
    Look,
    /// End in order.
    Stop,
}

/// The state of the loop.
pub struct Controller {
    connector: Arc<dyn Connector>,
    context: Context,
    config: Arc<Config>,
    engine: Engine,
    sites: Vec<FollowedRepository>,
    options: RunOptions,
    observer: Arc<dyn Observer>,
    workflows: BTreeMap<WorkflowKey, WorkflowState>,
    heads: HashMap<String, Revision>,
    /// What each repository's folders say to be, as they were last read.
    claims: BTreeMap<String, Vec<Claim>>,
    /// Ids that are given out twice.
    shared: BTreeMap<WorkflowId, Diagnostic>,
    owned_workflows: OwnedWorkflows,
    round: Round,
    running: HashMap<BuildId, Followed>,
    /// The builds that this process has started or taken up.
    tried: BTreeSet<BuildId>,
    backoffs: Backoffs,
    stopping: Arc<AtomicBool>,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    housekeeping: Housekeeping,
    status_file: Arc<StatusFile>,
    useful: HostFitness,
    /// When leases were given back.
    left: BTreeMap<WorkflowKey, Timestamp>,
    fetching: Arc<Fetching>,
    abandoned: AbandonedWorkflows,
    /// The inventory was replaced under this process: it is opened anew, but not begun anew.
    replaced: bool,
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
    /// What it came to, as far as this host matters; of one workflow.
    verdict: Verdict,
}

impl PassReport {
    /// The loop has to wake at this time.
    fn wake_at(&mut self, at: Timestamp) {
        self.next_try = earliest(self.next_try, Some(at));
    }

    /// What went wrong is to be tried again at this time; a command that ends says that it went
    /// wrong instead.
    fn try_again(&mut self, at: Timestamp, options: &RunOptions) {
        if !options.once {
            self.wake_at(at);
        }
    }

    fn add(&mut self, other: Self) {
        self.plans.extend(other.plans);
        self.errors += other.errors;
        self.next_try = earliest(self.next_try, other.next_try);
        self.acted |= other.acted;
    }
}

impl Controller {
    /// A loop that has done nothing yet.
    #[must_use]
    pub fn new(
        connector: Arc<dyn Connector>,
        config: Arc<Config>,
        sites: Vec<FollowedRepository>,
        options: RunOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let status_file = Arc::new(StatusFile::of(&config.state_dir));
        let owned_workflows = OwnedWorkflows::of(&config.state_dir);
        let housekeeping = Housekeeping::new(config.state_dir.join("builds"), config.builds);
        Self {
            context: connector.context().clone(),
            connector,
            config,
            engine: Engine::new(),
            sites,
            options,
            observer,
            workflows: BTreeMap::new(),
            heads: HashMap::new(),
            claims: BTreeMap::new(),
            shared: BTreeMap::new(),
            owned_workflows,
            round: Round::default(),
            running: HashMap::new(),
            tried: BTreeSet::new(),
            backoffs: Backoffs::default(),
            stopping: Arc::default(),
            news: mpsc::unbounded_channel(),
            housekeeping,
            status_file,
            useful: HostFitness::default(),
            left: BTreeMap::new(),
            fetching: Arc::default(),
            abandoned: AbandonedWorkflows::default(),
            replaced: false,
        }
    }

    /// Where it hears whether repositories can be fetched on this host.
    #[must_use]
    pub fn fetching(&self) -> Arc<Fetching> {
        Arc::clone(&self.fetching)
    }

    /// Where it shows what does not work; others may show what keeps them from working there as
    /// well.
    #[must_use]
    pub fn status_file(&self) -> Arc<StatusFile> {
        Arc::clone(&self.status_file)
    }

    /// Makes passes until told to stop or, with [`RunOptions::once`], until nothing is left to do.
    /// Returns the last pass.
    pub async fn run(&mut self, mut wakes: mpsc::Receiver<Wake>) -> PassReport {
        let mut last = PassReport::default();
        let mut busy = 0;
        while let Some((report, wanted_again)) = self.pass_unless_stopped(&mut wakes).await {
            last = report;
            self.keep_house(&last);
            let is_at_rest = !self.is_building() && !self.is_sweeping();
            if self.options.once && is_at_rest && !last.acted && last.next_try.is_none() {
                break;
            }
            busy = if last.acted && !self.is_building() { busy + 1 } else { 0 };
            let waiting = Waiting {
                building: self.is_building(),
                busy,
                standby: self.workflows.values().any(|state| state.lease.is_none()),
                interval: self.config.interval,
            };
            let pause = if wanted_again {
                Duration::ZERO
            } else {
                pause(&last, waiting, self.context.now())
            };
            tokio::select! {
                biased;
                wake = wakes.recv() => if !matches!(wake, Some(Wake::Look)) {
                    break;
                },
                Some(news) = self.news.1.recv() => self.note(&news),
                () = journal_moved(&self.context, &self.workflows) => {}
                () = self.context.sleep(pause) => {}
            }
            while let Ok(news) = self.news.1.try_recv() {
                self.note(&news);
            }
        }
        self.end().await;
        last
    }

    /// Old builds' folders go, once everything could be looked at: what a workflow still needs is
    /// known then.
    fn keep_house(&mut self, report: &PassReport) {
        let blind = report.errors > 0
            || self.workflows.values().any(|state| state.lease.is_none() || state.newest.is_none());
        if blind || !self.housekeeping.is_due(self.context.moment()) {
            return;
        }
        let attempts = self
            .workflows
            .values()
            .filter_map(|state| state.newest.as_ref())
            .flat_map(|(_, newest)| newest.attempts.values())
            .map(|attempt| attempt.build_id.clone());
        let needed = attempts.chain(self.running.keys().cloned()).collect();
        self.housekeeping.begin(&self.context, needed);
    }

    /// A pass, and whether something changed while it was made; none if it was stopped: what hangs
    /// is left where it is, as in a crash.
    async fn pass_unless_stopped(
        &mut self,
        wakes: &mut mpsc::Receiver<Wake>,
    ) -> Option<(PassReport, bool)> {
        let stopping = Arc::clone(&self.stopping);
        let mut again = false;
        let context = self.context.clone();
        let mut pass = std::pin::pin!(self.pass());
        loop {
            tokio::select! {
                biased;
                report = &mut pass => return Some((report, again)),
                wake = wakes.recv() => match wake {
                    Some(Wake::Look) => again = true,
                    Some(Wake::Stop) | None => {
                        stopping.store(true, Ordering::Release);
                        // Seeded bug: a-hanging-pass-holds-the-end-up
                        let _ = context.timeout(LAST_MOMENT, pass).await;
                        return None;
                    }
                },
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
        for state in self.workflows.values_mut() {
            if let Some(lease) = &state.lease {
                state.looked_at = lease.journal_seq();
            }
        }
        self.round = Round::default();
        self.backoffs.begin_pass();
        // All of them first: whether an id is given out twice is seen by all together.
        let opened: Vec<_> = self.sites.iter().map(|site| block_in_place(|| open(site))).collect();
        self.note_claims(&opened);
        for (index, opened) in opened.into_iter().enumerate() {
            let name = self.sites[index].name.clone();
            let matter = BackoffKey::FollowedRepository(name.clone());
            let origin = Origin { repository: &name, folder: None, workflow: None };
            let passed = match opened {
                Ok(opened) => self.pass_site(index, opened, &mut report).await,
                Err(error) => Err(error),
            };
            if let Err(error) = passed {
                self.put_off(&matter, &origin, None, &error);
                self.blame_site(index, &error);
                report.errors += 1;
            } else {
                self.settle(&matter, &origin);
            }
        }
        // A command answers for what it was asked; a daemon for all that it began.
        // Seeded bug: a-refused-head-stops-all
        if !self.options.once {
            self.settle_unplanned(&mut report).await;
            Box::pin(self.look_after_strangers(&mut report)).await;
            self.give_back_what_does_not_work_here().await;
            let running = &self.running;
            self.backoffs.end_pass(|matter| match matter {
                BackoffKey::Build(build) => running.contains_key(build),
                BackoffKey::AbandonedWorkflows | BackoffKey::Sweeping(_) => true,
                _ => false,
            });
            self.status_file.show("passes", self.backoffs.troubles(self.context.now()));
        }
        report
    }

    async fn pass_site(
        &mut self,
        index: usize,
        opened: Opened,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let name = self.sites[index].name.clone();
        let Opened { tree, folders, .. } = opened;
        let revision = tree.revision().clone();
        let location = |opened: &OpenedFolder| WorkflowLocation {
            site: name.clone(),
            folder: opened.folder.path.clone(),
        };
        let locations = folders.iter().map(location);
        self.round.opened(&name, locations);
        self.note_rewrite(index, &revision)?;
        for opened in folders {
            let location = location(&opened);
            // Seeded bug: shared-id-acted-on
            if self.is_shared(&opened, &location) {
                report.errors += 1;
                continue;
            }
            let matter = BackoffKey::Workflow(location.clone());
            let path = location.folder.clone();
            let origin = Origin { repository: &name, folder: Some(&path), workflow: None };
            let now = self.context.now();
            if let Some(until) = self.backoffs.holds(&matter, Some(&revision), now) {
                report.errors += 1;
                report.try_again(until, &self.options);
                continue;
            }
            let Err(error) = self.pass_folder(index, &tree, opened, location, report).await else {
                self.settle(&matter, &origin);
                continue;
            };
            let until = self.put_off(&matter, &origin, Some(&revision), &error);
            report.errors += 1;
            report.try_again(until, &self.options);
        }
        Ok(())
    }

    async fn pass_folder(
        &mut self,
        index: usize,
        tree: &Arc<dyn GitTree>,
        OpenedFolder { folder, params }: OpenedFolder,
        location: WorkflowLocation,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let read = params?;
        let key = WorkflowKey::new(location, &read.0, &self.config);
        self.round.seen(&key);
        let passed = self.pass_workflow(index, &key, tree, &folder, read, report);
        let passed = passed.await;
        match &passed {
            Err(error) => {
                self.lose(&key, error);
                let verdict = self.verdict_of(error);
                self.judge(&key, verdict);
            }
            Ok(verdict) => self.judge(&key, *verdict),
        }
        passed.map(|_| ())
    }

    /// A lease that another has taken is not ours, whatever its time says.
    fn lose(&mut self, key: &WorkflowKey, error: &PassError) {
        if error.is_replaced() {
            // What was opened is nothing any more; the next pass opens what stands there.
            self.workflows.remove(key);
            self.replaced = true;
        } else if error.is_fenced()
            && let Some(state) = self.workflows.get_mut(key)
        {
            state.newest = None;
            if state.lease.take().is_some() {
                self.tell(key, &Event::Lost);
            }
        }
    }

    fn note_rewrite(&mut self, index: usize, new: &Revision) -> Result<(), PassError> {
        let site = &self.sites[index];
        if let Some(old) = self.heads.insert(site.name.clone(), new.clone())
            && old != *new
            && !site.source.descends(new, &old)?
        {
            let origin = Origin { repository: &site.name, folder: None, workflow: None };
            let event = Event::Rewritten { old: &old, new };
            self.observer.notice(&origin, &event);
        }
        Ok(())
    }
}
