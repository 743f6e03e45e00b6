//! Holding a workflow's lease: taking it, keeping it alive, noticing its loss, giving it back.
//!
//! # Guarantees
//!
//! Whether another's lease has expired is judged by this process's own clock: it has, if its version stood still for its whole
//! duration. Clocks of hosts may differ as they like. What a frozen holder writes when it wakes is refused by the fencing token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::build::process::ProcessId;
use crate::diagnostic::Diagnostic;
use crate::ids::WorkflowId;
use crate::inventory::{Fence, Inventory, InventoryError, Lease};
use crate::reconcile::error::PassError;
use crate::reconcile::start::host_name;

/// A lease that this process holds, with its heartbeat.
pub struct Held {
    shared: Arc<Shared>,
    inventory: Arc<dyn Inventory>,
    heartbeat: JoinHandle<()>,
}

struct Shared {
    lease: Mutex<Lease>,
    lost: AtomicBool,
}

impl Shared {
    fn lease(&self) -> Lease {
        self.lease
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Held {
    /// The fence for writes; none once the lease is lost.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        let lease = self.shared.lease();
        (!self.shared.lost.load(Ordering::Acquire)).then_some(Fence {
            workflow_id: lease.workflow_id,
            token: lease.token,
        })
    }

    /// The journal's counter as the last heartbeat saw it.
    #[must_use]
    pub fn journal_seq(&self) -> u64 {
        self.shared.lease().journal_seq
    }

    /// Gives the lease back.
    pub async fn release(self) {
        self.heartbeat.abort();
        // Should it fail, the lease runs out by itself.
        let _ = self.inventory.release_lease(&self.shared.lease()).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

/// What came of asking for a lease.
pub enum Asked {
    /// It is ours.
    Held(Held),
    /// It is another's, as far as can be told yet.
    Busy(Lease),
}

/// Another's lease under observation.
#[derive(Clone, Debug)]
pub struct Watched {
    version: String,
    since: Instant,
}

/// `host/pid/start`: enough for another process of this host to tell that the holder is gone.
#[must_use]
pub fn holder_name() -> String {
    let own = ProcessId::own();
    format!(
        "{}/{}/{}",
        host_name(),
        std::process::id(),
        own.map_or(0, |own| own.start)
    )
}

/// Asks once. `watched` remembers the other's lease from one call to the next.
pub async fn ask(
    inventory: &Arc<dyn Inventory>,
    workflow: &WorkflowId,
    duration: Duration,
    watched: &mut Option<Watched>,
) -> Result<Asked, InventoryError> {
    let seen = inventory.lease(workflow).await?;
    if let Some(lease) = &seen
        && let Some(holder) = &lease.holder
        && !is_gone(holder)
    {
        let still = watched
            .as_ref()
            .filter(|watched| watched.version == lease.version);
        let Some(still) = still else {
            *watched = Some(Watched {
                version: lease.version.clone(),
                since: Instant::now(),
            });
            return Ok(Asked::Busy(lease.clone()));
        };
        if still.since.elapsed() <= Duration::from_secs(lease.duration_seconds) {
            return Ok(Asked::Busy(lease.clone()));
        }
    }
    let seconds = duration.as_secs().max(1);
    let taken = inventory
        .acquire_lease(
            workflow,
            &holder_name(),
            seconds,
            seen.as_ref(),
            Timestamp::now(),
        )
        .await;
    match taken {
        Ok(lease) => Ok(Asked::Held(hold(inventory, lease))),
        Err(InventoryError::Conflict { .. }) => match inventory.lease(workflow).await? {
            Some(lease) => Ok(Asked::Busy(lease)),
            None => Err(InventoryError::Conflict {
                what: format!("the lease of workflow {workflow}"),
            }),
        },
        Err(error) => Err(error),
    }
}

/// Asks until the other's lease has run out or is plainly alive; for commands that end.
pub async fn ask_patiently(
    inventory: &Arc<dyn Inventory>,
    workflow: &WorkflowId,
    duration: Duration,
) -> Result<Held, PassError> {
    let mut watched = None;
    let mut versions = 0;
    let mut last = None;
    loop {
        match ask(inventory, workflow, duration, &mut watched).await? {
            Asked::Held(held) => return Ok(held),
            Asked::Busy(lease) => {
                if last.as_ref() != Some(&lease.version) {
                    versions += 1;
                    last = Some(lease.version.clone());
                }
                if versions > 2 {
                    let holder = lease.holder.unwrap_or_default();
                    return Err(Diagnostic::new(format!(
                        "another reconciler holds the lease of workflow {workflow}: {holder}"
                    ))
                    .hint(
                        "it builds what git says; look with `reconciler status`, or stop it first",
                    )
                    .into());
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// A holder of this host whose process is gone cannot come back.
fn is_gone(holder: &str) -> bool {
    let mut parts = holder.rsplitn(3, '/');
    let (Some(start), Some(pid), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (Ok(start), Ok(pid)) = (start.parse(), pid.parse()) else {
        return false;
    };
    host == host_name() && !ProcessId { pid, start }.is_alive()
}

fn hold(inventory: &Arc<dyn Inventory>, lease: Lease) -> Held {
    let shared = Arc::new(Shared {
        lease: Mutex::new(lease),
        lost: AtomicBool::new(false),
    });
    let heartbeat = tokio::spawn(beat(Arc::clone(inventory), Arc::clone(&shared)));
    Held {
        shared,
        inventory: Arc::clone(inventory),
        heartbeat,
    }
}

async fn beat(inventory: Arc<dyn Inventory>, shared: Arc<Shared>) {
    let duration = Duration::from_secs(shared.lease().duration_seconds);
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(duration / 3).await;
        match inventory
            .renew_lease(&shared.lease(), Timestamp::now())
            .await
        {
            Ok(lease) => {
                renewed = Instant::now();
                *shared.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
            }
            Err(InventoryError::Fenced { .. }) => break,
            Err(_) if renewed.elapsed() > duration => break,
            Err(_) => {}
        }
    }
    shared.lost.store(true, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_of_this_host_that_has_ended_is_gone_and_one_elsewhere_is_not_known_to_be() {
        assert!(!is_gone(&holder_name()));
        assert!(is_gone(&format!(
            "{}/{}/1",
            host_name(),
            std::process::id()
        )));
        assert!(!is_gone("another-host/4194000/1"));
        assert!(!is_gone("words"));
    }
}
