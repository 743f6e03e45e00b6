//! The loop: one task owns the state of all workflows, makes passes, and learns by messages what
//! its builds come to.
//!
//! This file says in which order things happen; what each of them is stands in the files beside it.

mod abandoned_workflows;
mod actions;
mod build_tasks;
mod builds_under_way;
mod event;
mod event_log;
mod garbage_tasks;
mod host;
mod host_fitness;
mod lease_release;
mod owned_workflows;
mod pass_coverage;
mod replaced_inventory;
mod repositories;
mod requests;
mod retry_queue;
mod run_options;
mod shutdown;
mod unplanned_workflows;
mod views;
mod workflow_pass;
mod workflow_state;
mod workflows;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::controller::connect::Connector;
use crate::controller::context::Context;
use crate::controller::error::PassError;
use crate::controller::status_file::StatusFile;
use abandoned_workflows::AbandonedWorkflows;
use builds_under_way::BuildsUnderWay;
pub use event::{EndedPass, Event, Failing, Observer, Observers, Origin};
pub use host::Fetching;
use host::Host;
use host_fitness::Verdict;
use reconciler_core::plan::Plan;
use reconciler_core::view::View;
use reconciler_jinja::Engine;
use reconciler_model::ids::Revision;
use reconciler_model::source::GitTree;
pub use repositories::FollowedRepository;
use repositories::{OpenedFolder, OpenedRepository, Repositories};
use retry_queue::{Circumstances, PassEnd, RetryKey, RetryQueue};
pub use run_options::RunOptions;
use views::Views;
use workflow_state::{WorkflowKey, WorkflowLocation};
use workflows::{AfterError, Workflows};

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

/// What the loop works with. Nothing of it changes.
struct Services {
    connector: Arc<dyn Connector>,
    context: Context,
    config: Arc<Config>,
    engine: Engine,
    observer: Arc<dyn Observer>,
}

/// The loop: what it works with, what it was asked for, and what it knows. Each part keeps what
/// must hold of it by itself; the files of this folder say what is done with all of them.
pub struct Controller {
    services: Services,
    options: RunOptions,
    repositories: Repositories,
    workflows: Workflows,
    abandoned: AbandonedWorkflows,
    builds: BuildsUnderWay,
    queue: RetryQueue,
    host: Host,
    views: Views,
}

/// What a pass over everything came to. When the next one is made is in the queue.
#[derive(Clone, Debug, Default)]
pub struct PassReport {
    /// The plans.
    pub plans: Vec<Plan>,
    /// How many workflows or repositories could not be looked at.
    pub errors: usize,
    /// Whether this pass started or changed anything.
    pub acted: bool,
    /// How long it took.
    pub took: Duration,
    /// What it came to, as far as this host matters; of one workflow.
    verdict: Verdict,
}

impl PassReport {
    fn add(&mut self, other: Self) {
        self.plans.extend(other.plans);
        self.errors += other.errors;
        self.acted |= other.acted;
    }
}

impl Controller {
    /// A loop that has done nothing yet.
    #[must_use]
    pub fn new(
        connector: Arc<dyn Connector>,
        config: Arc<Config>,
        repositories: Vec<FollowedRepository>,
        options: RunOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let context = connector.context().clone();
        Self {
            repositories: Repositories::new(repositories, options.elsewhere.clone()),
            workflows: Workflows::of(&config.state_dir),
            abandoned: AbandonedWorkflows::default(),
            builds: BuildsUnderWay::default(),
            queue: RetryQueue::new(options.once),
            host: Host::of(&config),
            views: Views::new(context.now()),
            options,
            services: Services { connector, context, config, engine: Engine::new(), observer },
        }
    }

    /// Where it hears whether repositories can be fetched on this host.
    #[must_use]
    pub fn fetching(&self) -> Arc<Fetching> {
        Arc::clone(&self.host.fetching)
    }

    /// Where it shows what does not work; others may show what keeps them from working there as
    /// well.
    #[must_use]
    pub fn status_file(&self) -> Arc<StatusFile> {
        Arc::clone(&self.host.status_file)
    }

    /// Sees what stands after each pass.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Makes passes until told to stop or, with [`RunOptions::once`], until nothing is left to do.
    /// Returns the last pass.
    pub async fn run(&mut self, mut wakes: mpsc::Receiver<Wake>) -> PassReport {
        let mut last = PassReport::default();
        while let Some((report, wanted_again)) = self.pass_unless_stopped(&mut wakes).await {
            last = report;
            let PassReport { took, acted, errors, .. } = last;
            self.services.observer.passed(&EndedPass { took, acted, errors });
            self.publish(took);
            self.remove_old_build_folders(&last);
            let is_at_rest = self.builds.is_empty() && !self.workflows.is_removing_garbage();
            let is_over = is_at_rest && !last.acted && self.queue.next_due().is_none();
            if self.options.once && is_over {
                break;
            }
            let end = PassEnd {
                acted: last.acted,
                is_building: self.is_building(),
                interval: self.services.config.interval,
            };
            let pause = self.queue.pause(end, self.services.context.now());
            let pause = if wanted_again { Duration::ZERO } else { pause };
            tokio::select! {
                biased;
                wake = wakes.recv() => if !matches!(wake, Some(Wake::Look)) {
                    break;
                },
                result = self.builds.next_result() => self.take_in(&result),
                () = self.workflows.journal_moved(&self.services.context) => {}
                () = self.services.context.sleep(pause) => {}
            }
            while let Some(result) = self.builds.result_at_hand() {
                self.take_in(&result);
            }
        }
        self.end().await;
        last
    }

    /// A pass, and whether something changed while it was made; none if it was stopped: what hangs
    /// is left where it is, as in a crash.
    async fn pass_unless_stopped(
        &mut self,
        wakes: &mut mpsc::Receiver<Wake>,
    ) -> Option<(PassReport, bool)> {
        let stopping = self.builds.stopping();
        let mut again = false;
        let context = self.services.context.clone();
        let mut pass = std::pin::pin!(self.pass());
        loop {
            tokio::select! {
                biased;
                report = &mut pass => return Some((report, again)),
                wake = wakes.recv() => match wake {
                    Some(Wake::Look) => again = true,
                    Some(Wake::Stop) | None => {
                        stopping.stop();
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
        !self.builds.is_empty()
    }

    /// One pass over everything.
    pub async fn pass(&mut self) -> PassReport {
        let mut report = PassReport::default();
        let begun = self.services.context.moment();
        self.workflows.begin_pass();
        self.queue.begin_pass();
        self.answer_by_journal(&mut report).await;
        for (repository, opened) in self.repositories.open_all() {
            let key = RetryKey::Repository(repository.name.clone());
            let origin = Origin { repository: &repository.name, folder: None, workflow: None };
            let passed = match opened {
                Ok(opened) => {
                    self.note_read(&repository);
                    self.pass_repository(&repository, opened, &mut report).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = passed {
                self.failed(&key, &origin, &Circumstances::Any, &error);
                self.judge_unreadable(&repository, &error);
                report.errors += 1;
            } else {
                self.succeeded(&key, &origin);
            }
        }
        // A command answers for what it was asked; a daemon for all that it began.
        // Seeded bug: a-refused-head-stops-all
        if !self.options.once {
            self.settle_unplanned_workflows(&mut report).await;
            Box::pin(self.settle_abandoned_workflows(&mut report)).await;
            self.answer_without_plan(&mut report).await;
            self.give_back_what_does_not_work_here().await;
            let builds = &self.builds;
            self.queue.end_pass(|build| builds.contains(build));
            let troubles = self.queue.troubles(self.services.context.now());
            self.host.status_file.show("passes", troubles);
        }
        report.took = self.services.context.moment().saturating_sub(begun);
        report
    }

    /// A local repository was read; of a remote one whoever fetches it says so.
    fn note_read(&self, repository: &FollowedRepository) {
        if repository.source.watched().is_some() {
            let now = self.services.context.now();
            self.host.fetching.fetched(&repository.source.place(), now);
        }
    }

    async fn pass_repository(
        &mut self,
        repository: &FollowedRepository,
        opened: OpenedRepository,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let name = &repository.name;
        let OpenedRepository { tree, folders } = opened;
        let revision = tree.revision().clone();
        let location = |opened: &OpenedFolder| WorkflowLocation {
            repository: name.clone(),
            folder: opened.folder.path.clone(),
        };
        self.workflows.coverage.opened(name, folders.iter().map(location));
        self.notice_rewrite(repository, &revision)?;
        for opened in folders {
            let location = location(&opened);
            // Seeded bug: shared-id-acted-on
            if self.is_shared(&opened, &location) {
                report.errors += 1;
                continue;
            }
            let key = RetryKey::Workflow(location.clone());
            let path = location.folder.clone();
            let origin = Origin { repository: name, folder: Some(&path), workflow: None };
            let circumstances = Circumstances::from(&revision);
            let now = self.services.context.now();
            if self.workflows.may_follow_again(&location, repository) {
                self.queue.forget(&key);
            }
            if self.queue.waits(&key, &circumstances, now).is_some() {
                report.errors += 1;
                continue;
            }
            match self.pass_folder(repository, &tree, opened, location, report).await {
                Ok(()) => self.succeeded(&key, &origin),
                Err(error) => {
                    self.failed(&key, &origin, &circumstances, &error);
                    report.errors += 1;
                }
            }
        }
        Ok(())
    }

    async fn pass_folder(
        &mut self,
        repository: &FollowedRepository,
        tree: &Arc<dyn GitTree>,
        OpenedFolder { folder, params }: OpenedFolder,
        location: WorkflowLocation,
        report: &mut PassReport,
    ) -> Result<(), PassError> {
        let read = params?;
        let key = WorkflowKey::new(location, &read.0, &self.services.config);
        self.workflows.coverage.seen(&key);
        let passed = self.pass_workflow(repository, &key, tree, &folder, read, report).await;
        self.views.note_inventory(&key, passed.as_ref().err(), self.workflows.contains(&key));
        match &passed {
            Err(error) => {
                self.take_in_error(&key, error);
                let verdict = self.verdict_of(error);
                self.judge(&key, verdict);
            }
            Ok(verdict) => self.judge(&key, *verdict),
        }
        passed.map(|_| ())
    }

    /// Whether a folder's id is another's as well, which is told once: nothing new is begun under
    /// it, and what was begun is carried to its end (`unplanned_workflows`).
    fn is_shared(&mut self, opened: &OpenedFolder, location: &WorkflowLocation) -> bool {
        let key = RetryKey::SharedId(location.clone());
        let WorkflowLocation { repository, folder } = location;
        let origin = Origin { repository, folder: Some(folder), workflow: None };
        let params = opened.params.as_ref().ok();
        let why = params.and_then(|(params, _)| self.repositories.why_shared(&params.workflow_id));
        let (Some((params, _)), Some(why)) = (params, why) else {
            self.succeeded(&key, &origin);
            return false;
        };
        let error = PassError::Person(why.clone());
        let workflow = WorkflowKey::new(location.clone(), params, &self.services.config);
        self.workflows.coverage.seen(&workflow);
        self.failed(&key, &origin, &Circumstances::Any, &error);
        self.queue.forget(&RetryKey::Workflow(location.clone()));
        true
    }

    /// Takes in that a workflow met with an error.
    fn take_in_error(&mut self, key: &WorkflowKey, error: &PassError) {
        if self.workflows.take_in_error(key, error) == AfterError::LostLease {
            self.notice(key, &Event::Lost);
        }
    }

    fn notice_rewrite(
        &mut self,
        repository: &FollowedRepository,
        new: &Revision,
    ) -> Result<(), PassError> {
        if let Some(old) = self.repositories.rewritten(repository, new)? {
            let origin = Origin { repository: &repository.name, folder: None, workflow: None };
            let event = Event::Rewritten { old: &old, new };
            self.services.observer.notice(&origin, &event);
        }
        Ok(())
    }
}
