//! Holding a workflow's lease: taking it, keeping it alive, noticing its loss, giving it back.
//!
//! # Guarantees
//!
//! Whether another's lease has expired is judged by this process's own clock: it has, if its
//! version stood still for its whole duration (`lease_rules`). Clocks of hosts may differ as they
//! like. What a frozen holder writes when it wakes is refused by the fencing token; what it would
//! do at AWS it does not do, for its own time is up as well: [`LeaseToken`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::controller::context::{Context, TaskHandle};
use crate::controller::error::PassError;
use reconciler_core::build::job::StartDeadline;
use reconciler_core::lease_rules::LeaseDeadline;
pub use reconciler_core::lease_rules::UnchangedSince as Watched;
use reconciler_core::plan::sight::holder_words;
use reconciler_model::clock::Moment;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{Revision, WorkflowId};
use reconciler_model::inventory::request::News;
use reconciler_model::inventory::{Fence, Inventory, InventoryError, Lease};

/// A lease that this process holds, with its heartbeat.
pub struct Held {
    shared: Arc<Shared>,
    inventory: Arc<dyn Inventory>,
    heartbeat: TaskHandle,
}

/// What others have written for the holder of a lease, as far as its counts tell: where none of
/// them moved, nothing is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The journal's counter.
    pub journal_seq: u64,
    /// What stands beside the journal.
    pub news: News,
}

impl Counts {
    /// How much was written about builds.
    #[must_use]
    pub fn of_builds(&self) -> u64 {
        self.journal_seq + self.news.first_beats
    }
}

struct Shared {
    context: Context,
    held: Mutex<(Lease, LeaseDeadline)>,
    news: Mutex<News>,
    lost: AtomicBool,
    inventory: Arc<dyn Inventory>,
}

impl Shared {
    fn held(&self) -> (Lease, LeaseDeadline) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for what others have written beside the journal. An answer that does not come costs
    /// nothing: the next heartbeat looks again.
    async fn look_for_news(&self, patience: Duration) {
        let workflow = self.held().0.workflow_id;
        let news = self.context.timeout(patience, self.inventory.news(&workflow)).await;
        if let Some(Ok(news)) = news {
            *self.news.lock().unwrap_or_else(PoisonError::into_inner) = news;
        }
    }

    fn news(&self) -> News {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> Option<Moment> {
        let lease_deadline = self.held().1;
        // In a file that was replaced nobody else sees the lease.
        let holds = !self.lost.load(Ordering::Acquire)
            && self.inventory.is_in_place()
            // Seeded bug: a-lease-is-acted-on-after-its-time
            && lease_deadline.holds(self.context.moment());
        holds.then(|| lease_deadline.until())
    }
}

/// The word that this process may act on a workflow, to be looked at right before each outside
/// effect.
#[derive(Clone)]
pub struct LeaseToken {
    shared: Arc<Shared>,
}

impl StartDeadline for LeaseToken {
    /// Until when it holds without another heartbeat; none once it is over. Time in which the
    /// process was stopped or the machine slept counts.
    fn until(&self) -> Option<Moment> {
        self.shared.until()
    }
}

impl Held {
    /// The fence for writes; none once the lease is lost.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        self.shared.until()?;
        let (lease, _) = self.shared.held();
        Some(Fence { workflow_id: lease.workflow_id, token: lease.token })
    }

    /// The lease as the last heartbeat wrote it, for people.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.shared.held().0
    }

    /// The word that this process may act.
    #[must_use]
    pub fn lease_token(&self) -> LeaseToken {
        LeaseToken { shared: Arc::clone(&self.shared) }
    }

    /// What others had written when the last heartbeat looked.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { journal_seq: self.shared.held().0.journal_seq, news: self.shared.news() }
    }

    /// The commit at which each reference was applied last, as the last heartbeat saw it.
    #[must_use]
    pub fn applied(&self) -> BTreeMap<String, Revision> {
        self.shared.held().0.applied
    }

    /// Notes the commit at which a reference is applied.
    pub async fn note_applied(
        &self,
        reference: &str,
        revision: &Revision,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let workflow = &fence.workflow_id;
        self.inventory.note_applied(workflow, reference, revision, Some(fence)).await?;
        let mut held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.0.applied.insert(reference.to_owned(), revision.clone());
        Ok(())
    }

    /// Nobody acts under it any more.
    fn end(&self) {
        self.heartbeat.abort();
        // Seeded bug: a-lease-that-was-given-back-is-acted-on
        self.shared.lost.store(true, Ordering::Release);
    }

    /// Gives the lease back. What still runs under it does nothing more from here on.
    pub async fn release(self) {
        self.end();
        // Should it fail, the lease runs out by itself.
        let _ = self.inventory.release_lease(&self.shared.held().0).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end();
    }
}

/// What came of asking for a lease.
pub enum Asked {
    /// It is ours.
    Held(Held),
    /// It is another's, as far as can be told yet.
    Busy(Lease),
}

/// Asks once. `watched` remembers the other's lease from one call to the next.
pub async fn ask(
    context: &Context,
    inventory: &Arc<dyn Inventory>,
    workflow: &WorkflowId,
    duration: Duration,
    watched: &mut Option<Watched>,
) -> Result<Asked, InventoryError> {
    let asked = context.moment();
    let seen = inventory.lease(workflow).await?;
    if let Some(lease) = &seen
        && let Some(holder) = &lease.holder
        && !context.is_gone(holder)
    {
        // Seeded bug: lease-by-the-others-clock
        let still = Watched::observe(watched, &lease.version, asked, context.moment());
        if still < Duration::from_secs(lease.duration_seconds) {
            return Ok(Asked::Busy(lease.clone()));
        }
    }
    let seconds = duration.as_secs().max(1);
    let asked = context.moment();
    let taken = inventory
        .acquire_lease(workflow, &context.holder_name(), seconds, seen.as_ref(), context.now())
        .await;
    match taken {
        Ok(lease) => {
            *watched = None;
            // Seeded bug: a-lease-is-counted-from-its-answer
            let lease_deadline = LeaseDeadline::renewed(asked, Duration::from_secs(seconds));
            let held = hold(context, inventory, lease, lease_deadline);
            held.shared.look_for_news(duration / 4).await;
            Ok(Asked::Held(held))
        }
        Err(InventoryError::Conflict { .. }) => match inventory.lease(workflow).await? {
            Some(lease) => Ok(Asked::Busy(lease)),
            None => {
                Err(InventoryError::Conflict { what: format!("the lease of workflow {workflow}") })
            }
        },
        Err(error) => Err(error),
    }
}

/// Asks until the other's lease has run out or is plainly alive, which is known before it could
/// have run out; for commands that end. `waiting` hears once whose lease is waited for. None:
/// `is_stopping` said so meanwhile.
pub async fn ask_patiently(
    context: &Context,
    inventory: &Arc<dyn Inventory>,
    workflow: &WorkflowId,
    duration: Duration,
    is_stopping: impl Fn() -> bool,
    waiting: impl Fn(&Lease),
) -> Result<Option<Held>, PassError> {
    let mut watched = None;
    let mut versions = 0;
    let mut last = None;
    while !is_stopping() {
        match ask(context, inventory, workflow, duration, &mut watched).await? {
            Asked::Held(held) => return Ok(Some(held)),
            Asked::Busy(lease) => {
                if versions == 0 {
                    waiting(&lease);
                }
                if last.as_ref() != Some(&lease.version) {
                    versions += 1;
                    last = Some(lease.version.clone());
                }
                if versions > 2 {
                    let holder = holder_words(&lease.holder.unwrap_or_default());
                    return Err(Diagnostic::new(format!(
                        "another reconciler holds the lease of workflow {workflow}, and lives: {holder}"
                    ))
                    .hint(
                        "it builds what git says: `reconciler status --watch` shows it; or end it first, and try again",
                    )
                    .into());
                }
                context.sleep(Duration::from_millis(300)).await;
            }
        }
    }
    Ok(None)
}

fn hold(
    context: &Context,
    inventory: &Arc<dyn Inventory>,
    lease: Lease,
    lease_deadline: LeaseDeadline,
) -> Held {
    let shared = Arc::new(Shared {
        context: context.clone(),
        held: Mutex::new((lease, lease_deadline)),
        news: Mutex::default(),
        lost: AtomicBool::new(false),
        inventory: Arc::clone(inventory),
    });
    let heartbeat = context.spawn(beat(Arc::clone(inventory), Arc::clone(&shared)));
    Held { shared, inventory: Arc::clone(inventory), heartbeat }
}

async fn beat(inventory: Arc<dyn Inventory>, shared: Arc<Shared>) {
    let duration = Duration::from_secs(shared.held().0.duration_seconds);
    let mut pause = duration / 3;
    loop {
        shared.context.sleep(pause).await;
        let (lease, lease_deadline) = shared.held();
        let asked = shared.context.moment();
        // One answer that does not come must not cost the lease.
        let renewal = inventory.renew_lease(&lease, shared.context.now());
        match shared.context.timeout(duration / 4, renewal).await {
            Some(Ok(lease)) => {
                // Seeded bug: a-lease-is-counted-from-its-answer (2)
                *shared.held.lock().unwrap_or_else(PoisonError::into_inner) =
                    (lease, LeaseDeadline::renewed(asked, duration));
                pause = duration / 3;
                shared.look_for_news(duration / 4).await;
            }
            // Another's, or nobody's: what was opened is not what stands there, or means something
            // else by now.
            Some(Err(
                InventoryError::Fenced { .. }
                | InventoryError::Replaced { .. }
                | InventoryError::Schema { .. },
            )) => break,
            _ if !lease_deadline.holds(shared.context.moment()) => break,
            _ => pause = duration / 20,
        }
    }
    shared.lost.store(true, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[tokio::test]
    async fn a_lease_is_not_judged_by_its_holders_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.sqlite");
        let inventory = crate::sqlite::SqliteInventory::open(path).unwrap();
        inventory.prepare().await.unwrap();
        let inventory: Arc<dyn Inventory> = Arc::new(inventory);
        let workflow = WorkflowId::new("w");
        let long_ago = Timestamp::UNIX_EPOCH;
        inventory.acquire_lease(&workflow, "another-host/1/1", 30, None, long_ago).await.unwrap();
        let asked = ask(
            &Context::of_this_machine(),
            &inventory,
            &workflow,
            Duration::from_secs(30),
            &mut None,
        )
        .await;
        assert!(matches!(asked, Ok(Asked::Busy(_))), "it may be alive");
    }
}
