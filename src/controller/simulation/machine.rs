//! A simulated host, as the controller sees its machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::context::{Context, Machine, Task, TaskHandle};
use crate::controller::simulation::world::{Handle, Mistake};
use reconciler_model::clock::Moment;
use reconciler_model::host_cause::HostCause;
use reconciler_model::ids::HostMark;

struct SimulatedMachine {
    at: Handle,
    /// Which process this is: another one of the same host has other ones.
    holder: String,
}

/// The machine of a daemon that starts now.
pub(super) fn machine(at: &Handle) -> Context {
    let holder = at.world().holder(at.host());
    Context::new(Arc::new(SimulatedMachine { at: at.clone(), holder }))
}

impl Machine for SimulatedMachine {
    fn now(&self) -> Timestamp {
        self.at.world().wall(self.at.host())
    }

    fn moment(&self) -> Moment {
        Duration::from_millis(self.at.executor.now())
    }

    fn random(&self) -> u64 {
        self.at.world().dice.next()
    }

    fn sleep(&self, time: Duration) -> Task {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        Box::pin(self.at.sleep(millis))
    }

    fn spawn(&self, task: Task) -> TaskHandle {
        let (executor, task) = (self.at.executor.clone(), self.at.spawn(task));
        TaskHandle::new(move || executor.abort(task))
    }

    /// Old builds have no folders here.
    fn spawn_blocking(&self, _: Box<dyn FnOnce() + Send>) {}

    fn host_name(&self) -> String {
        "localhost".to_owned()
    }

    fn holder_name(&self) -> String {
        self.holder.clone()
    }

    fn is_gone(&self, holder: &str) -> bool {
        let mark = |holder: &str| holder.split_once('-').map(|(_, mark)| mark.to_owned());
        let trusting = self.at.world().has(Mistake::TrustsTheName);
        (trusting || mark(holder) == mark(&self.holder)) && holder != self.holder
    }

    fn own_mark_with(&self, _: &Path) -> Option<HostMark> {
        let world = self.at.world();
        if world.has(Mistake::TrustsTheName) {
            return Some(HostMark::new("localhost"));
        }
        Some(world.mark(self.at.host()))
    }

    fn lacks(&self, _: &Path) -> Option<HostCause> {
        let world = self.at.world();
        (world.hosts[self.at.host()].full_until > world.now()).then_some(HostCause::Disk)
    }
}
