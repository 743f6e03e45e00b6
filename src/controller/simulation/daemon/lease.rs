//! Holding the lease in the model, as `controller::lease` does.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::controller::simulation::clockwork::{Handle, Lost};
use crate::controller::simulation::world::Bug;
use reconciler_core::lease_rules::{LeaseDeadline, UnchangedSince};

const LEASE: Duration = Duration::from_secs(30);

/// What a daemon holds.
pub(super) struct Held {
    pub(super) token: u64,
    pub(super) lease_deadline: Cell<LeaseDeadline>,
    pub(super) lost: Cell<bool>,
}

impl Held {
    pub(super) fn holds(&self, at: &Handle) -> bool {
        let careless = at.world().has(Bug::ActsAfterItsTime);
        !self.lost.get() && (careless || self.lease_deadline.get().holds(at.now()))
    }

    /// The look before each effect at EC2.
    pub(super) fn may_act(&self, at: &Handle) -> bool {
        let holds = self.holds(at);
        if holds {
            at.world().acts(self.token);
        }
        holds
    }
}

/// Asks once. A holder of the same standpoint whose process has ended is gone.
pub(super) async fn ask(
    at: &Handle,
    watched: &mut Option<UnchangedSince>,
) -> Result<Option<Held>, Lost> {
    let asked = at.now();
    let seen = at.call(|world| world.lease.clone()).await?;
    let own = {
        let world = at.world();
        format!("{}-{}", world.hosts[at.host].life, world.mark(at.host))
    };
    if let Some(lease) = &seen
        && let Some(holder) = &lease.holder
    {
        let still = UnchangedSince::observe(watched, &lease.version, asked, at.now());
        let mark = |holder: &str| holder.split_once('-').map(|(_, mark)| mark.to_owned());
        let seen_from_here = mark(holder) == mark(&own) || at.world().has(Bug::TrustsTheName);
        let gone = seen_from_here && *holder != own;
        if !gone && still < Duration::from_secs(lease.duration_seconds) {
            return Ok(None);
        }
    }
    let asked = at.now();
    let lease = at.call(move |world| world.acquire(own, seen.as_deref())).await?;
    Ok(lease.map(|lease| Held {
        token: lease.token,
        lease_deadline: Cell::new(LeaseDeadline::renewed(asked, LEASE)),
        lost: Cell::new(false),
    }))
}

/// Keeps it alive.
pub(super) async fn keep(at: Handle, held: Rc<Held>) {
    loop {
        at.sleep(LEASE / 3).await;
        let asked = at.now();
        let token = held.token;
        match at.call(move |world| world.renew(token)).await {
            Ok(true) => held.lease_deadline.set(LeaseDeadline::renewed(asked, LEASE)),
            Ok(false) => break,
            Err(Lost) if !held.holds(&at) => break,
            Err(Lost) => {}
        }
        if held.lost.get() {
            break;
        }
    }
    held.lost.set(true);
}
