//! Runs tasks in virtual time, one step at a time, in an order that a seed decides. No thread, no
//! clock, no waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// `SplitMix64`: small, and the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to, but not, `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

/// What a task belongs to, and ends or stops with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The daemon of a host, with all that it follows.
    Daemon,
    /// A supervisor and its Packer.
    Supervisor,
}

/// The owner of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) host: usize,
    pub(super) kind: Kind,
}

type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    owner: Owner,
    future: TaskFuture,
    waker: Waker,
}

/// What tasks and their wakers share.
#[derive(Default)]
struct Shared {
    now: u64,
    tasks: u64,
    spawned: Vec<(u64, Owner, TaskFuture)>,
    aborted: Vec<u64>,
    /// Hosts that stand still until another time than was thought.
    moved: Vec<usize>,
    ready: BTreeSet<u64>,
    /// By the time at which they are due, and in the order in which they were set.
    timers: BTreeMap<(u64, u64), Waker>,
    timer: u64,
}

/// A way to the executor.
#[derive(Clone, Default)]
pub(super) struct Executor(Arc<Mutex<Shared>>);

struct TaskWaker {
    task: u64,
    /// Timers hold wakers, and are held by this.
    shared: Weak<Mutex<Shared>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lock().unwrap().ready.insert(self.task);
        }
    }
}

impl Shared {
    /// Wakes a task at this time.
    fn wake_at(&mut self, due: u64, waker: Waker) {
        self.timer += 1;
        self.timers.insert((due, self.timer), waker);
    }
}

impl Executor {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    /// Milliseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        self.shared().now
    }

    /// Starts a task; what it gives ends it.
    pub(super) fn spawn(
        &self,
        owner: Owner,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> u64 {
        let mut shared = self.shared();
        shared.tasks += 1;
        let task = shared.tasks;
        shared.spawned.push((task, owner, Box::pin(future)));
        task
    }

    pub(super) fn abort(&self, task: u64) {
        self.shared().aborted.push(task);
    }

    /// Has the tasks of a host, which are left for later, looked at again.
    pub(super) fn look_again(&self, host: usize) {
        self.shared().moved.push(host);
    }

    pub(super) fn sleep(&self, millis: u64) -> Sleep {
        Sleep { due: self.now() + millis, is_set: false, executor: self.clone() }
    }
}

/// Ends when its time has come.
pub(super) struct Sleep {
    due: u64,
    is_set: bool,
    executor: Executor,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        let executor = self.executor.clone();
        let mut shared = executor.shared();
        if shared.now >= due {
            return Poll::Ready(());
        }
        if !self.is_set {
            self.is_set = true;
            shared.wake_at(due, context.waker().clone());
        }
        Poll::Pending
    }
}

/// All tasks.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) executor: Executor,
    tasks: BTreeMap<u64, Task>,
}

impl Tasks {
    fn take_in(&mut self) {
        let (spawned, aborted, moved) = {
            let mut shared = self.executor.shared();
            let spawned = std::mem::take(&mut shared.spawned);
            (spawned, std::mem::take(&mut shared.aborted), std::mem::take(&mut shared.moved))
        };
        for (id, owner, future) in spawned {
            let waker = TaskWaker { task: id, shared: Arc::downgrade(&self.executor.0) };
            self.tasks.insert(id, Task { owner, future, waker: Arc::new(waker).into() });
            self.executor.shared().ready.insert(id);
        }
        for host in moved {
            let tasks = self.tasks.iter().filter(|(_, task)| task.owner.host == host);
            self.executor.shared().ready.extend(tasks.map(|(id, _)| *id));
        }
        for id in aborted {
            // Dropped without the lock: what it holds may wake others.
            drop(self.tasks.remove(&id));
        }
    }

    /// Ends tasks where they stand.
    pub(super) fn kill(&mut self, ends: impl Fn(Owner) -> bool) {
        self.take_in();
        let ended: Vec<_> =
            self.tasks.iter().filter(|(_, task)| ends(task.owner)).map(|(id, _)| *id).collect();
        for id in ended {
            drop(self.tasks.remove(&id));
        }
        // What they started while they were dropped ends with them.
        self.executor.shared().spawned.retain(|(_, owner, _)| !ends(*owner));
    }

    /// Takes one step, if one is due before `limit`: polls one of the tasks that are ready, or lets
    /// time pass. Tasks of owners that stand still until a later time are left for then.
    pub(super) fn step(
        &mut self,
        limit: u64,
        dice: &mut Dice,
        stopped_until: impl Fn(Owner) -> u64,
    ) -> bool {
        self.take_in();
        let (now, ready) = {
            let shared = self.executor.shared();
            (shared.now, shared.ready.iter().copied().collect::<Vec<_>>())
        };
        let mut able = Vec::new();
        for id in ready {
            match self.tasks.get(&id).map(|task| (stopped_until(task.owner), &task.waker)) {
                None => {
                    self.executor.shared().ready.remove(&id);
                }
                Some((until, waker)) if until > now => {
                    let mut shared = self.executor.shared();
                    shared.ready.remove(&id);
                    shared.wake_at(until, waker.clone());
                }
                Some(_) => able.push(id),
            }
        }
        if able.is_empty() {
            return self.pass_time(limit);
        }
        let count = u64::try_from(able.len()).unwrap();
        let id = able[usize::try_from(dice.between(0, count)).unwrap()];
        self.executor.shared().ready.remove(&id);
        let Some(task) = self.tasks.get_mut(&id) else { return true };
        let waker = task.waker.clone();
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.remove(&id));
        }
        true
    }

    fn pass_time(&mut self, limit: u64) -> bool {
        let due = {
            let mut shared = self.executor.shared();
            let due = shared.timers.keys().next().map(|(due, _)| *due).filter(|due| *due < limit);
            shared.now = due.map_or(limit, |due| due.max(shared.now));
            let later = due.map(|due| shared.timers.split_off(&(due + 1, 0)));
            later.map(|later| std::mem::replace(&mut shared.timers, later))
        };
        // Woken without the lock, which each of them takes.
        let is_due = due.is_some();
        due.into_iter().flatten().for_each(|(_, waker)| waker.wake());
        is_due
    }
}
