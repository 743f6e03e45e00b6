//! The builds that this loop follows: which they are, how each is ended, and the channel by which
//! their tasks say what they came to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::controller::error::PassError;
use crate::controller::main_loop::retry_queue::Circumstances;
use crate::controller::main_loop::workflow_state::WorkflowKey;
use reconciler_core::build::job::ImageBuilder;
use reconciler_model::build::{BuildError, RunningBuild};
use reconciler_model::ids::{BuildId, StepId};
use reconciler_model::inventory::journal::Attempt;

/// A build that is followed.
pub(super) struct FollowedBuild {
    /// Its workflow: another may have a step of the same id.
    pub(super) workflow: WorkflowKey,
    /// Its step.
    pub(super) step: StepId,
    /// Its process, if this host runs it.
    pub(super) running: Option<RunningBuild>,
    /// What can end it.
    pub(super) builder: Arc<dyn ImageBuilder>,
    /// Whether it was asked to end.
    pub(super) is_ending: bool,
    /// Whether it had ended before, and that was told: only what it left is looked after.
    pub(super) had_ended: bool,
}

/// What a task came to.
pub(super) enum TaskResult {
    /// Following a build.
    Build {
        /// Its workflow.
        workflow: WorkflowKey,
        /// The build.
        build_id: BuildId,
        /// Whether an image of an earlier build was taken over.
        took_over: bool,
        /// The attempt as it ended.
        result: Box<Result<Attempt, PassError>>,
    },
    /// Removing what given-up builds of a workflow left.
    Garbage {
        /// The workflow.
        workflow: WorkflowKey,
        /// Under which it was begun.
        circumstances: Circumstances,
        /// Whether it could be done.
        result: Result<(), PassError>,
    },
}

/// Says that no build is to be started any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// From now on.
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether that was said.
    pub(super) fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// All of them.
pub(super) struct BuildsUnderWay {
    followed: HashMap<BuildId, FollowedBuild>,
    /// The builds that this process has started or taken up.
    tried: BTreeSet<BuildId>,
    sender: mpsc::UnboundedSender<TaskResult>,
    results: mpsc::UnboundedReceiver<TaskResult>,
    stopping: Stopping,
}

impl Default for BuildsUnderWay {
    fn default() -> Self {
        let (sender, results) = mpsc::unbounded_channel();
        Self {
            followed: HashMap::new(),
            tried: BTreeSet::new(),
            sender,
            results,
            stopping: Stopping::default(),
        }
    }
}

impl BuildsUnderWay {
    pub(super) fn is_empty(&self) -> bool {
        self.followed.is_empty()
    }

    pub(super) fn contains(&self, build: &BuildId) -> bool {
        self.followed.contains_key(build)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &BuildId> {
        self.followed.keys()
    }

    /// Whether one more may be started beside them.
    pub(super) fn have_room(&self, most: usize) -> bool {
        self.followed.len() < most && !self.stopping.is_stopping()
    }

    /// Whether any build of a workflow is followed.
    pub(super) fn include_workflow(&self, workflow: &WorkflowKey) -> bool {
        self.followed.values().any(|one| one.workflow == *workflow)
    }

    /// Whether a build of a step is followed: until it is settled, the next one waits.
    pub(super) fn include_step(&self, workflow: &WorkflowKey, step: &StepId) -> bool {
        self.followed.values().any(|one| one.workflow == *workflow && one.step == *step)
    }

    /// The builds that this process has started or taken up.
    pub(super) fn tried(&self) -> &BTreeSet<BuildId> {
        &self.tried
    }

    /// A build is started, or taken up.
    pub(super) fn note_tried(&mut self, build: BuildId) {
        self.tried.insert(build);
    }

    /// A build is followed. Returns where its task says what it came to.
    pub(super) fn follow(
        &mut self,
        build: BuildId,
        followed: FollowedBuild,
    ) -> mpsc::UnboundedSender<TaskResult> {
        self.tried.insert(build.clone());
        self.followed.insert(build, followed);
        self.sender()
    }

    /// Where a task says what it came to.
    pub(super) fn sender(&self) -> mpsc::UnboundedSender<TaskResult> {
        self.sender.clone()
    }

    /// A build is followed no longer.
    pub(super) fn remove(&mut self, build: &BuildId) -> Option<FollowedBuild> {
        self.followed.remove(build)
    }

    /// The processes of this host that build for a workflow and were not asked to end.
    pub(super) fn running_for(&self, workflow: &WorkflowKey) -> Vec<(BuildId, StepId)> {
        let runs = |one: &FollowedBuild| {
            one.workflow == *workflow && one.running.is_some() && !one.is_ending
        };
        let followed = self.followed.iter().filter(|(_, one)| runs(one));
        followed.map(|(build, one)| (build.clone(), one.step.clone())).collect()
    }

    /// Whether a build was asked to end.
    pub(super) fn is_ending(&self, build: &BuildId) -> bool {
        self.followed.get(build).is_some_and(|one| one.is_ending)
    }

    /// Asks a build that runs on this host to end, once: by `builder`, or else by what it was
    /// started by. Returns whether it was asked now.
    pub(super) async fn cancel(
        &mut self,
        build: &BuildId,
        builder: Option<&dyn ImageBuilder>,
    ) -> Result<bool, BuildError> {
        let Some(followed) = self.followed.get_mut(build) else {
            return Ok(false);
        };
        let Some(running) = followed.running.as_ref().filter(|_| !followed.is_ending) else {
            return Ok(false);
        };
        builder.unwrap_or(followed.builder.as_ref()).cancel(running).await?;
        followed.is_ending = true;
        Ok(true)
    }

    /// What the next task to end came to.
    pub(super) async fn next_result(&mut self) -> TaskResult {
        match self.results.recv().await {
            Some(result) => result,
            // Not so: a sender is kept beside it.
            None => std::future::pending().await,
        }
    }

    /// What a task came to that has ended.
    pub(super) fn result_at_hand(&mut self) -> Option<TaskResult> {
        self.results.try_recv().ok()
    }

    /// Says, from anywhere, that no build is to be started any more.
    pub(super) fn stopping(&self) -> Stopping {
        self.stopping.clone()
    }
}
