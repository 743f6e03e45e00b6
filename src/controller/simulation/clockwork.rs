//! Runs tasks in virtual time, one step at a time, in an order that a seed decides. No thread, no
//! clock, no waiting.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::controller::simulation::world::World;

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

/// A task's way to the world and to time.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) host: usize,
    kind: Kind,
    world: Rc<RefCell<World>>,
    spawned: Rc<RefCell<Vec<Task>>>,
    wake: Rc<Cell<u64>>,
}

pub(super) struct Task {
    pub(super) host: usize,
    pub(super) kind: Kind,
    wake: Rc<Cell<u64>>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// A call whose answer did not come; it may have had its effect.
#[derive(Debug)]
pub(super) struct Lost;

impl Handle {
    pub(super) fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.world().now)
    }

    /// Starts a task of the same host.
    pub(super) fn spawn<F: Future<Output = ()> + 'static>(
        &self,
        kind: Kind,
        make: impl FnOnce(Handle) -> F,
    ) {
        let wake = Rc::new(Cell::new(self.world().now));
        let handle = Handle { kind, wake: Rc::clone(&wake), ..self.clone() };
        self.spawned.borrow_mut().push(Task {
            host: self.host,
            kind,
            wake,
            future: Box::pin(make(handle)),
        });
    }

    pub(super) async fn sleep(&self, time: Duration) {
        let until = self.world().now + u64::try_from(time.as_millis()).unwrap();
        self.wake.set(until);
        std::future::poll_fn(|_| {
            if self.world().now >= until { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Asks a service: the effect comes some time after the question, the answer some time after
    /// the effect, and either may not.
    pub(super) async fn call<T>(&self, effect: impl FnOnce(&mut World) -> T) -> Result<T, Lost> {
        self.latency().await;
        if self.world().misfortune(40) {
            return Err(Lost);
        }
        let answer = effect(&mut self.world());
        self.latency().await;
        if self.world().misfortune(40) {
            return Err(Lost);
        }
        Ok(answer)
    }

    async fn latency(&self) {
        let millis = {
            let mut world = self.world();
            if world.misfortune(30) {
                world.dice.between(1_000, 20_000)
            } else {
                world.dice.between(1, 80)
            }
        };
        self.sleep(Duration::from_millis(millis)).await;
    }
}

/// All tasks.
pub(super) struct Clockwork {
    pub(super) world: Rc<RefCell<World>>,
    spawned: Rc<RefCell<Vec<Task>>>,
    tasks: Vec<Task>,
}

impl Clockwork {
    pub(super) fn new(world: World) -> Self {
        Self { world: Rc::new(RefCell::new(world)), spawned: Rc::default(), tasks: Vec::new() }
    }

    pub(super) fn handle(&self, host: usize, kind: Kind) -> Handle {
        Handle {
            host,
            kind,
            world: Rc::clone(&self.world),
            spawned: Rc::clone(&self.spawned),
            wake: Rc::default(),
        }
    }

    /// Ends tasks where they stand.
    pub(super) fn kill(&mut self, host: usize, kind: Option<Kind>) {
        self.tasks.append(&mut self.spawned.borrow_mut());
        self.tasks.retain(|task| task.host != host || kind.is_some_and(|kind| kind != task.kind));
    }

    /// Takes one step, if one is due before `limit`.
    pub(super) fn step(&mut self, limit: u64) -> bool {
        self.tasks.append(&mut self.spawned.borrow_mut());
        let next = {
            let world = self.world.borrow();
            let due = |task: &Task| task.wake.get().max(world.stopped_until(task.host, task.kind));
            self.tasks.iter().enumerate().map(|(at, task)| (due(task), at)).min()
        };
        let Some((due, at)) = next.filter(|(due, _)| *due < limit) else {
            self.world.borrow_mut().now = limit;
            return false;
        };
        {
            let mut world = self.world.borrow_mut();
            world.now = world.now.max(due);
        }
        let mut context = Context::from_waker(Waker::noop());
        if self.tasks[at].future.as_mut().poll(&mut context).is_ready() {
            self.tasks.swap_remove(at);
        }
        true
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host {} {:?}", self.host, self.kind)
    }
}
