//! A workflow, and what the loop keeps of it from pass to pass.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::{Config, InventoryConfig};
use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use crate::controller::fenced::LeasedPorts;
use crate::controller::lease::{Counts, Held, Watched};
use crate::controller::main_loop::event::Origin;
use crate::controller::main_loop::repositories::FollowedRepository;
use crate::controller::observe::Newest;
use crate::controller::step_cache::StepCache;
use reconciler_core::images::base_image::BaseSearch;
use reconciler_core::plan::Plan;
use reconciler_core::workflow::WorkflowParams;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{Region, Revision, StepId, WorkflowId};
use reconciler_model::inventory::Fence;
use reconciler_model::inventory::journal::{Attempt, Reach};
use reconciler_model::inventory::request::Request;

/// Where git has a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WorkflowLocation {
    /// The name of the repository.
    pub(super) repository: String,
    /// The folder in it.
    pub(super) folder: String,
}

/// What a workflow is in the inventory, in whatever folders git has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InventoryKey {
    pub(super) id: WorkflowId,
    /// The profile by which AWS is reached: it may be another account's.
    pub(super) profile: Option<String>,
    /// The region, where the inventory is in the workflow's own.
    pub(super) region: Option<String>,
}

/// A workflow, where it was found and where its records are. With another id, or records elsewhere,
/// it is another one: what was begun under the old ones is carried to its end under them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WorkflowKey {
    pub(super) location: WorkflowLocation,
    pub(super) inventory: InventoryKey,
}

impl WorkflowKey {
    pub(super) fn new(
        location: WorkflowLocation,
        params: &WorkflowParams,
        config: &Config,
    ) -> Self {
        let (profile, region) = (params.profile.clone(), params.region.clone());
        Self::with(location, params.workflow_id.clone(), profile, region, config)
    }

    /// A workflow that git says nothing of.
    pub(super) fn without_location(id: WorkflowId, reach: &Reach, config: &Config) -> Self {
        let (profile, region) = (reach.profile.clone(), reach.region.clone());
        Self::with(WorkflowLocation::default(), id, profile, region, config)
    }

    fn with(
        location: WorkflowLocation,
        id: WorkflowId,
        profile: Option<String>,
        region: Option<String>,
        config: &Config,
    ) -> Self {
        let follows = matches!(&config.inventory, InventoryConfig::DynamoDb { region: None, .. });
        let region = region.filter(|_| follows);
        Self { location, inventory: InventoryKey { id, profile, region } }
    }

    /// The workflow, as a place where something happens.
    pub(super) fn origin(&self) -> Origin<'_> {
        let WorkflowLocation { repository, folder } = &self.location;
        Origin { repository, folder: Some(folder), workflow: Some(&self.inventory.id) }
    }
}

/// Whether rewritten history was refused.
enum Refusal {
    /// It was not.
    None,
    /// It was, where this was applied of the workflow.
    After(Option<Revision>),
}

/// Why a workflow could not be planned.
pub(super) struct LastError {
    /// Whether it may go away by itself.
    pub(super) is_transient: bool,
    /// What it is.
    pub(super) why: Diagnostic,
}

/// One workflow, from pass to pass.
pub(super) struct WorkflowState {
    /// How AWS is reached through the ports.
    reach: Digest,
    pub(super) ports: Ports,
    /// None: this process does not hold it.
    lease: Option<Held>,
    /// The lease of another, as it was watched.
    pub(super) watched: Option<Watched>,
    /// Who acts in this process's stead.
    pub(super) standing_by: Option<String>,
    /// The journal's newest attempts, with the counters; only while the lease is held, for another
    /// holder would write to it.
    journal: Option<(Counts, Newest)>,
    /// The counters at the last look.
    looked_at: Counts,
    /// The count of requests at which all that stood were answered; none: whatever the count, it is
    /// to be looked.
    answered_at: Option<u64>,
    /// The commit that was found to follow what was applied.
    followed: Option<Revision>,
    /// Whether a commit was refused that did not follow.
    refusal: Refusal,
    /// What is asked and waits for a plan.
    pub(super) open_requests: VecDeque<Request>,
    /// Whether the pass that is under way has planned it.
    pub(super) is_planned: bool,
    /// Why the last pass could not plan it; none if it could.
    pub(super) last_error: Option<LastError>,
    pub(super) searched: Option<BaseSearch>,
    pub(super) last_plan: Option<Arc<Plan>>,
    /// The attempts that were not over when it was made.
    pub(super) open_attempts: BTreeMap<StepId, Attempt>,
    pub(super) cache: StepCache,
    /// Whether what given-up builds left is being removed: no build of the workflow starts then,
    /// for it may take an image over that is about to go.
    pub(super) is_removing_garbage: bool,
}

impl WorkflowState {
    /// A workflow whose ports were opened, and of which nothing else is known.
    pub(super) fn new(reach: Digest, ports: Ports, cache: StepCache) -> Self {
        Self {
            reach,
            ports,
            lease: None,
            watched: None,
            standing_by: None,
            journal: None,
            looked_at: Counts::default(),
            answered_at: Some(0),
            followed: None,
            refusal: Refusal::None,
            open_requests: VecDeque::new(),
            is_planned: false,
            last_error: None,
            searched: None,
            last_plan: None,
            open_attempts: BTreeMap::new(),
            cache,
            is_removing_garbage: false,
        }
    }

    /// Whether its ports reach AWS in this way.
    pub(super) fn is_reached_by(&self, reach: &Digest) -> bool {
        self.reach == *reach
    }

    /// The lease, if this process holds it.
    pub(super) fn lease(&self) -> Option<&Held> {
        self.lease.as_ref()
    }

    /// The lease is held from now on.
    pub(super) fn hold(&mut self, lease: Held) {
        self.lease = Some(lease);
    }

    /// Gives up the lease and what was known under it.
    pub(super) fn let_go(&mut self) -> Option<Held> {
        self.journal = None;
        self.answered_at = Some(0);
        self.open_requests.clear();
        self.lease.take()
    }

    /// Gives up the lease on the way out: what was known under it is not used any more.
    pub(super) fn into_lease(self) -> Option<Held> {
        self.lease
    }

    /// Looks at the counters, as the lease shows them, and takes what is known of the journal out,
    /// if they have not moved since. Whoever took it keeps it again if it did not write.
    pub(super) fn look_at_journal(&mut self) -> (Counts, Option<Newest>) {
        let counts = self.note_counts();
        let known = self.journal.take().filter(|(at, _)| *at == counts);
        (counts, known.map(|(_, newest)| newest))
    }

    /// Notes the counters, as the lease shows them.
    pub(super) fn note_counts(&mut self) -> Counts {
        let counts = self.lease.as_ref().map(Held::counts).unwrap_or_default();
        if self.lease.is_some() {
            self.looked_at = counts;
        }
        counts
    }

    /// Whether something may have been asked since all was answered.
    pub(super) fn may_have_requests(&self) -> bool {
        let asked = self.lease.as_ref().map(|lease| lease.counts().news.requests);
        asked.is_some() && self.answered_at != asked
    }

    /// How often something was asked, as the lease shows it.
    pub(super) fn requests_asked(&self) -> u64 {
        self.lease.as_ref().map_or(0, |lease| lease.counts().news.requests)
    }

    /// Of all that stood at this count, these wait for a plan; the rest is answered, or is to be
    /// looked at again.
    pub(super) fn keep_requests(&mut self, asked: u64, open: Vec<Request>, is_all: bool) {
        self.answered_at = is_all.then_some(asked);
        self.open_requests = open.into();
    }

    /// Something may stand there that no count shows, or that could not be answered.
    pub(super) fn look_for_requests(&mut self) {
        self.answered_at = None;
        self.open_requests.clear();
    }

    /// Refuses a commit that does not follow what was applied last, where that is asked for, and
    /// notes one that does: a holder on another host refuses what this one would.
    pub(super) async fn follow_history(
        &mut self,
        repository: &FollowedRepository,
        new: &Revision,
        fence: &Fence,
    ) -> Result<(), PassError> {
        let (Some(lease), Some(reference)) = (&self.lease, &repository.guarded) else {
            return Ok(());
        };
        let applied = lease.applied();
        // What was looked at is looked at again only where something else is applied, or wanted.
        if self.followed.as_ref() == Some(new) && applied.get(reference) == Some(new) {
            return Ok(());
        }
        self.refusal = Refusal::After(applied.get(reference).cloned());
        let inventory = self.ports.inventory.as_ref();
        let Some((reference, seen)) = repository.refuse_rewrite(inventory, new, &applied).await?
        else {
            return Ok(());
        };
        self.refusal = Refusal::None;
        if applied.get(&reference) != Some(new) {
            lease.note_applied(&reference, new, fence).await?;
        }
        if !seen.iter().all(|one| one.as_ref() == Some(new)) {
            let id = FollowedRepository::applied_under(&repository.source.place());
            inventory.note_applied(&id, &reference, new, None).await?;
        }
        self.followed = Some(new.clone());
        Ok(())
    }

    /// Whether a person has accepted another commit since rewritten history was refused.
    pub(super) fn may_follow_again(&self, repository: &FollowedRepository) -> bool {
        let (Some(lease), Some(reference)) = (&self.lease, &repository.guarded) else {
            return false;
        };
        let now = lease.applied().get(reference).cloned();
        matches!(&self.refusal, Refusal::After(applied) if *applied != now)
    }

    /// The fence for writes; none without the lease.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.lease.as_ref()?.fence()
    }

    /// Keeps what is known of the journal at these counters.
    pub(super) fn keep_journal(&mut self, counts: Counts, newest: Newest) {
        self.journal = self.lease.is_some().then_some((counts, newest));
    }

    /// What is known of the journal is not true any more.
    pub(super) fn forget_journal(&mut self) {
        self.journal = None;
    }

    /// What is known of the journal.
    pub(super) fn journal(&self) -> Option<&Newest> {
        self.journal.as_ref().map(|(_, newest)| newest)
    }

    /// Whether somebody else has written to the journal or beside it since the last look.
    pub(super) fn journal_moved(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.counts() != self.looked_at)
    }

    /// The ports to look after a build of this region through: a workflow may be moved to another
    /// one.
    pub(super) fn to_act_in(&self, region: &Region) -> Option<LeasedPorts> {
        Some(self.to_act()?.in_region(Some(region)))
    }

    /// The ports to act through; none without the lease.
    pub(super) fn to_act(&self) -> Option<LeasedPorts> {
        Some(LeasedPorts::new(self.ports.clone(), self.lease.as_ref()?.lease_token()))
    }
}
