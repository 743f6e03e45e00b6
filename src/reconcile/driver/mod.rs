//! The loop: one task owns the state of all workflows, makes passes, and learns by messages what its builds come to.
//!
//! This file says in which order things happen; what each of them is stands in the files beside it.

mod act;
mod event;
mod follow;
mod orders;
mod pause;
mod site;
mod workflow;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::build::RunningBuild;
use crate::config::Config;
use crate::desired::jinja::Engine;
use crate::ids::{BuildId, Revision, StepId};
use crate::plan::Plan;
use crate::reconcile::error::PassError;
pub use event::{Event, Observer};
use follow::Ended;
pub use orders::Orders;
use pause::{Waiting, pause};
pub use site::Site;
use site::open;
use workflow::{WorkflowKey, WorkflowState};

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
    workflows: BTreeMap<WorkflowKey, WorkflowState>,
    heads: HashMap<String, Revision>,
    running: HashMap<BuildId, (StepId, Option<RunningBuild>)>,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
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
            let waiting = Waiting {
                building: self.is_building(),
                standby: self.workflows.values().any(|state| state.lease.is_none()),
                interval: self.config.interval,
            };
            let pause = pause(&report, waiting, Timestamp::now());
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
}
