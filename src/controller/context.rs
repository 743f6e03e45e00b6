//! What the controller takes from its machine beside its ports: the time, chance, tasks, and which
//! process of which host it is.
//!
//! Nothing in `controller` looks at a clock, draws a number or starts a task by itself. So a
//! simulation can run the same code in virtual time, and a seed repeats to the letter.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::clock;
use crate::controller::host_probe::probe;
use crate::controller::lease_holder;
use crate::controller::process_identity;
use reconciler_model::clock::Moment;
use reconciler_model::host_cause::HostCause;
use reconciler_model::ids::{BuildId, HostMark};

/// A task that nobody waits for.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What ends a task before its time.
pub struct TaskHandle(Box<dyn Fn() + Send + Sync>);

impl TaskHandle {
    /// Ends it by this.
    pub fn new(abort: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(abort))
    }

    /// Ends the task where it stands.
    pub fn abort(&self) {
        (self.0)();
    }
}

/// The machine that a process runs on.
pub trait Machine: Send + Sync {
    /// The wall clock, which somebody may set.
    fn now(&self) -> Timestamp;

    /// The time since boot, which goes on while the process is stopped.
    fn moment(&self) -> Moment;

    /// A random number.
    fn random(&self) -> u64;

    /// Ends after this time.
    fn sleep(&self, time: Duration) -> Task;

    /// Starts a task.
    fn spawn(&self, task: Task) -> TaskHandle;

    /// Starts work that blocks, where nobody else has to wait for it.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);

    /// The host's name, for people.
    fn host_name(&self) -> String;

    /// Which process this is, as the holder of a lease.
    fn holder_name(&self) -> String;

    /// Whether a holder has ended and cannot come back, as far as this process can see.
    fn is_gone(&self, holder: &str) -> bool;

    /// The mark under which this process prepares builds; `None` if it cannot be told where it
    /// stands.
    fn own_mark_with(&self, state_dir: &Path) -> Option<HostMark>;

    /// What the host lacks right now of what every pass needs.
    fn lacks(&self, state_dir: &Path) -> Option<HostCause>;
}

/// The machine, as it is handed on.
#[derive(Clone)]
pub struct Context(Arc<dyn Machine>);

impl Context {
    /// This machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self(Arc::new(ThisMachine))
    }

    /// Another one.
    #[must_use]
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        Self(machine)
    }

    /// A random number from 0 to 1, which spreads what would be tried at once.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        f64::from((self.0.random() >> 48) as u16) / f64::from(u16::MAX)
    }

    /// The id of a new build, which says when it was made.
    #[must_use]
    pub fn new_build_id(&self) -> BuildId {
        BuildId::new(self.unique())
    }

    /// A version that no heartbeat had before.
    #[must_use]
    pub fn new_version(&self) -> String {
        self.unique()
    }

    /// A UUID of version 7: milliseconds since 1970, then chance.
    fn unique(&self) -> String {
        let millis = u64::try_from(self.0.now().as_millisecond()).unwrap_or(0);
        let mut chance = [0; 10];
        chance[..8].copy_from_slice(&self.0.random().to_be_bytes());
        chance[8..].copy_from_slice(&self.0.random().to_be_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid().to_string()
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        self.0.spawn(Box::pin(task))
    }

    /// Waits for something for so long; `None` if that was not enough.
    pub async fn timeout<T>(&self, limit: Duration, of: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = of => Some(done),
            () = self.0.sleep(limit) => None,
        }
    }
}

impl std::ops::Deref for Context {
    type Target = dyn Machine;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// The machine that this process really runs on.
struct ThisMachine;

impl Machine for ThisMachine {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn moment(&self) -> Moment {
        clock::now()
    }

    fn random(&self) -> u64 {
        // The last 32 bits of a UUID of version 7 are random.
        let half = || uuid::Uuid::now_v7().as_u64_pair().1 & u64::from(u32::MAX);
        half() << 32 | half()
    }

    fn sleep(&self, time: Duration) -> Task {
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, task: Task) -> TaskHandle {
        let task = tokio::spawn(task);
        TaskHandle::new(move || task.abort())
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }

    fn host_name(&self) -> String {
        process_identity::host_name()
    }

    fn holder_name(&self) -> String {
        lease_holder::holder_name()
    }

    fn is_gone(&self, holder: &str) -> bool {
        lease_holder::is_gone(holder)
    }

    fn own_mark_with(&self, state_dir: &Path) -> Option<HostMark> {
        process_identity::own_mark_with(state_dir)
    }

    fn lacks(&self, state_dir: &Path) -> Option<HostCause> {
        block_in_place(|| probe(state_dir))
    }
}

/// Runs what blocks for a moment without keeping other threads' tasks from running.
pub fn block_in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // There are no other threads.
        _ => work(),
    }
}
