//! One seed played: when what goes wrong, and how it ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::config::load::{ProcessEnvironment, load};
use crate::config::{Config, InventoryConfig};
use crate::controller::main_loop::{
    Controller, Event, FollowedRepository, Observer, Origin, RunOptions, Wake,
};
use crate::controller::simulation::executor::{Dice, Kind, Owner, Tasks};
use crate::controller::simulation::machine::machine;
use crate::controller::simulation::ports::SimulatedConnector;
use crate::controller::simulation::ports::at_once;
use crate::controller::simulation::ports::git::SimulatedRepository;
use crate::controller::simulation::world::{
    Handle, LIMIT, Mistake, Outcome, SILENCE, World, workflow,
};
use jiff::Timestamp;
use reconciler_core::view::View;
use reconciler_hcl::LocalExec;
use reconciler_model::ids::{RequestId, StepId};
use reconciler_model::inventory::Requests as _;
use reconciler_model::inventory::journal::{Attempt, FailureClass, Progress};
use reconciler_model::inventory::request::{Request, Wish};

/// How long faults come, and how long the world may take to settle afterwards, in milliseconds.
const FAULTS: u64 = 15 * 60 * 1000;
const SETTLING: u64 = 60 * 60 * 1000;

/// The misfortunes from this one on: a host stands still for longer than its build may be silent.
const LONG_STANDSTILL: u64 = 15;

/// What is to be played.
#[derive(Clone, Copy)]
pub(super) struct Game {
    pub(super) seed: u64,
    pub(super) tracing: bool,
    pub(super) most_faults: usize,
    pub(super) mistake: Option<Mistake>,
    /// Somebody wants to see every daemon's views.
    pub(super) is_watched: bool,
}

impl Game {
    pub(super) fn of(seed: u64) -> Self {
        Self { seed, tracing: false, most_faults: usize::MAX, mistake: None, is_watched: false }
    }
}

/// The hosts, and who can wake their daemons.
pub(super) struct Play {
    tasks: Tasks,
    world: Arc<Mutex<World>>,
    order: Dice,
    /// What people ask is drawn apart: it changes nothing of what else is drawn.
    people: Dice,
    asked: usize,
    wakes: Vec<mpsc::Sender<Wake>>,
    disks: Vec<TempDir>,
    /// Of all daemons, but for their state folders.
    config: Config,
    steps: usize,
    is_watched: bool,
    /// What the daemons of each host show; nobody reads it but the tests.
    views: Vec<Option<watch::Receiver<Arc<View>>>>,
}

/// How one seed went: how many steps it took, or what broke and its story.
pub(super) fn play(game: Game) -> (Result<usize, String>, Vec<String>) {
    let mut play = Play::begin(game);
    let settled = play.through(game.most_faults);
    play.tasks.kill(|_| true);
    let world = play.world.lock().unwrap();
    let result = match &world.broken {
        Some(why) => Err(why.clone()),
        None => settled.map(|()| play.steps),
    };
    (result, world.story.clone())
}

/// A host's own folder; in memory, where there is such a file system.
fn disk() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    tempfile::tempdir_in(&memory).or_else(|_| tempfile::tempdir()).unwrap()
}

impl Play {
    /// All hosts, with a daemon on each.
    pub(super) fn begin(game: Game) -> Self {
        let tasks = Tasks::default();
        let mut world = World::new(game.seed, tasks.executor.clone(), game.tracing);
        world.mistake = game.mistake;
        world.faults = game.most_faults > 0;
        let hosts = world.hosts.len();
        let disks: Vec<_> = (0..hosts).map(|_| disk()).collect();
        let mut play = Self {
            tasks,
            world: Arc::new(Mutex::new(world)),
            order: Dice::new(!game.seed),
            people: Dice::new(game.seed.rotate_left(32) ^ 0x5eed),
            asked: 0,
            wakes: Vec::new(),
            config: configuration(disks[0].path()),
            disks,
            steps: 0,
            is_watched: game.is_watched,
            views: vec![None; hosts],
        };
        for host in 0..hosts {
            let (wake, _) = mpsc::channel(1);
            play.wakes.push(wake);
            play.start_daemon(host);
        }
        play
    }

    pub(super) fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// What the daemon of a host shows.
    pub(super) fn view(&self, host: usize) -> Arc<View> {
        self.views[host].as_ref().unwrap().borrow().clone()
    }

    /// Lets this time pass.
    pub(super) fn pass(&mut self, millis: u64) {
        let until = self.tasks.executor.now() + millis;
        self.run_until(until);
    }

    fn is_broken(&self) -> bool {
        self.world().broken.is_some()
    }

    /// Faults for a while, then none until all is well. What is not well in the end.
    fn through(&mut self, most_faults: usize) -> Result<(), String> {
        let (mut next, mut faults) = (0, 0);
        while next < FAULTS && !self.is_broken() {
            next += self.world().dice.between(1_000, 60_000);
            self.run_until(next);
            if faults < most_faults {
                self.disturb();
                self.ask();
            }
            faults += 1;
        }
        self.end_faults();
        let mut settled = Err("nothing was looked at".to_owned());
        let end = next + SETTLING;
        while next < end && settled.is_err() && !self.is_broken() {
            next += 60_000;
            self.run_until(next);
            self.ask_again_for_what_was_cancelled();
            settled = self.world().settled();
        }
        settled
    }

    fn run_until(&mut self, limit: u64) {
        let world = Arc::clone(&self.world);
        let stopped_until = |owner: Owner| world.lock().unwrap().stopped_until(owner);
        while self.tasks.step(limit, &mut self.order, stopped_until) {
            self.steps += 1;
            if self.is_broken() {
                break;
            }
        }
    }

    fn end_faults(&mut self) {
        let mut world = self.world();
        world.faults = false;
        world.strangers_leave();
        let now = world.now();
        for host in &mut world.hosts {
            host.frozen_until = host.frozen_until.min(now);
            host.daemon_frozen_until = host.daemon_frozen_until.min(now);
            host.full_until = host.full_until.min(now);
        }
        world.say(|| "the faults are over".to_owned());
    }

    fn start_daemon(&mut self, host: usize) {
        let at = Handle {
            owner: Owner { host, kind: Kind::Daemon },
            executor: self.tasks.executor.clone(),
            world: Arc::clone(&self.world),
        };
        self.world().hosts[host].life += 1;
        let (wake, wakes) = mpsc::channel(16);
        self.wakes[host] = wake;
        let mut controller = Controller::new(
            Arc::new(SimulatedConnector { context: machine(&at), at: at.clone() }),
            Arc::new(Config {
                state_dir: self.disks[host].path().to_owned(),
                ..self.config.clone()
            }),
            vec![repository(&at)],
            RunOptions::default(),
            Arc::new(Story(at.clone())),
        );
        self.views[host] = self.is_watched.then(|| controller.views());
        at.spawn(async move {
            controller.run(wakes).await;
        });
    }

    /// One misfortune, of some host or of all.
    fn disturb(&mut self) {
        let (host, what, long) = {
            let mut world = self.world();
            let count = u64::try_from(world.hosts.len()).unwrap();
            let any = usize::try_from(world.dice.between(0, count)).unwrap();
            // Often one that builds: there is more to lose.
            let building = world.builds.values().rfind(|build| build.is_running());
            let building = building.map(|build| build.host);
            let (what, long) = (world.dice.between(0, 17), a_while(&mut world));
            // One that stands still until somebody gives its build up always builds.
            let is_chosen = world.dice.one_in(2) || what >= LONG_STANDSTILL;
            let host = building.filter(|_| is_chosen).unwrap_or(any);
            world.say(|| format!("misfortune {what} of host {host} for {long}"));
            (host, what, long)
        };
        let until = self.tasks.executor.now() + long;
        match what {
            0 | 1 => self.push(),
            2 => self.world().denied_until = until,
            3 => {
                self.world().stranger_comes = true;
                self.push();
            }
            4 | 5 => self.world().hosts[host].daemon_frozen_until = until,
            6 | 7 => self.world().hosts[host].frozen_until = until,
            8 | 9 => self.restart(host, true),
            10 => {
                // In order: leases are given back.
                let _ = self.wakes[host].try_send(Wake::Stop);
                let soon = self.tasks.executor.now() + 5_000;
                self.run_until(soon);
                self.restart(host, true);
            }
            11 => self.world().hosts[host].full_until = until,
            12 => {
                self.disks[host] = disk();
                self.world().hosts[host].disks += 1;
                self.lose_power(host, until);
            }
            13 => self.world().untag_one(),
            LONG_STANDSTILL.. => {
                let mut world = self.world();
                let long = world.dice.between(SILENCE + 40_000, 2 * SILENCE);
                world.hosts[host].frozen_until = world.now() + long;
            }
            _ => self.lose_power(host, until),
        }
    }

    /// Somebody asks for something now and then: that the newest build of a step ends, or is tried
    /// again, whether or not that fits.
    fn ask(&mut self) {
        if !self.people.one_in(5) {
            return;
        }
        let step = StepId::new(if self.people.one_in(2) { "a" } else { "b" });
        let build = self.world().attempts.get(&step).map(|attempt| attempt.build_id.clone());
        let wish = match build {
            Some(build) if self.people.one_in(2) => Wish::Cancel { step, build },
            _ => Wish::Retry { step },
        };
        self.ask_for(wish);
    }

    /// A build that a person has ended waits for a person.
    fn ask_again_for_what_was_cancelled(&mut self) {
        let cancelled = |attempt: &Attempt| {
            matches!(&attempt.progress, Progress::Failed(failure) if failure.class == FailureClass::Cancelled)
                && attempt.retry_requested.is_none()
        };
        let world = self.world();
        let steps = world.attempts.iter().filter(|(_, attempt)| cancelled(attempt));
        let steps: Vec<_> = steps.map(|(step, _)| step.clone()).collect();
        drop(world);
        for step in steps {
            self.ask_for(Wish::Retry { step });
        }
    }

    fn ask_for(&mut self, wish: Wish) {
        self.asked += 1;
        let mut world = self.world();
        let request = Request {
            workflow_id: workflow(),
            id: RequestId::new(format!("{:08}-0000-7000-8000-000000000000", self.asked)),
            by: "somebody".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            why: None,
            wish,
        };
        world.say(|| format!("somebody asks: {:?}", request.wish));
        at_once(world.inventory.ask(&request)).unwrap();
    }

    pub(super) fn push(&mut self) {
        self.world().wanted += 1;
        for wake in &self.wakes {
            let _ = wake.try_send(Wake::Look);
        }
    }

    pub(super) fn restart(&mut self, host: usize, only_daemon: bool) {
        let ends =
            |owner: Owner| owner.host == host && (!only_daemon || owner.kind == Kind::Daemon);
        self.tasks.kill(ends);
        self.start_daemon(host);
    }

    pub(super) fn lose_power(&mut self, host: usize, until: u64) {
        {
            let mut world = self.world();
            world.hosts[host].boots += 1;
            let running = world.builds.iter();
            let running = running.filter(|(_, one)| one.host == host && one.outcome.is_none());
            let dead: Vec<_> = running.map(|(id, _)| id.clone()).collect();
            for id in dead {
                world.end(&id, Outcome::Unknown);
            }
            // A machine takes a while to come back.
            world.hosts[host].frozen_until = until;
        }
        self.restart(host, false);
    }
}

/// How long a misfortune lasts: often about as long as a build may be silent, where the answer
/// hangs on moments.
fn a_while(world: &mut World) -> u64 {
    match world.dice.between(0, 3) {
        0 => world.dice.between(SILENCE - 5_000, SILENCE + 40_000),
        1 => world.dice.between(SILENCE + 40_000, 4 * SILENCE),
        _ => world.dice.between(1_000, 2 * SILENCE),
    }
}

fn configuration(state_dir: &Path) -> Config {
    let env = BTreeMap::from([("HOME".to_owned(), state_dir.display().to_string())]);
    let around = ProcessEnvironment { env, folder: state_dir.to_owned() };
    let mut config = load(None, &around).unwrap();
    config.inventory = InventoryConfig::DynamoDb {
        table: "memory".to_owned(),
        region: Some("us-east-1".to_owned()),
        create: false,
    };
    config.packer.timeout = Duration::from_millis(LIMIT);
    config.packer.grace = Duration::from_secs(5);
    config.interval = Duration::from_mins(5);
    config.lease_duration = Duration::from_secs(30);
    config.max_concurrent_builds = 2;
    config.retry.person = Duration::from_mins(10);
    config
}

fn repository(at: &Handle) -> FollowedRepository {
    FollowedRepository {
        guarded: None,
        name: "memory".to_owned(),
        poll_interval: Duration::from_mins(1),
        source: Arc::new(SimulatedRepository::new(at.clone())),
        roots: vec!["packer_workspaces".to_owned()],
        exclude: Vec::new(),
        revision: None,
        local_exec: LocalExec::Allowed,
    }
}

/// Writes what the controller tells into the story.
struct Story(Handle);

impl Observer for Story {
    fn notice(&self, _: &Origin<'_>, event: &Event<'_>) {
        let host = self.0.host();
        self.0.world().say(|| format!("host {host}: {}", words(event)));
    }
}

fn words(event: &Event<'_>) -> String {
    match event {
        Event::Planned { plan, .. } => {
            let steps = plan.steps.iter().map(|step| format!("{}: {:?}", step.id, step.decision));
            steps.collect::<Vec<_>>().join("; ")
        }
        Event::Failing(failing) => {
            format!("{} fails: {}", failing.what, failing.error.diagnostic().one_line())
        }
        Event::Holding { .. } => "holds the lease".to_owned(),
        Event::Standby(_) => "stands by".to_owned(),
        Event::Lost => "has lost the lease".to_owned(),
        Event::Started(attempt) => format!("has started {}", attempt.build_id),
        Event::Resumed(attempt) => format!("takes up {}", attempt.build_id),
        Event::Ended(attempt) => format!("{} has ended: {:?}", attempt.build_id, attempt.progress),
        Event::TakenOver(attempt) => format!("{} takes over an image", attempt.build_id),
        _ => "has something to tell".to_owned(),
    }
}

/// The story of a seed with as few misfortunes as still break it.
pub(super) fn shrunk(game: Game) -> String {
    let breaks = |most_faults| play(Game { most_faults, ..game }).0.is_err();
    let most_faults = (0..64).find(|&most| breaks(most)).unwrap_or(64);
    let (result, story) = play(Game { tracing: true, most_faults, ..game });
    format!(
        "seed {}, {most_faults} misfortunes: {}\n{}",
        game.seed,
        result.err().unwrap_or_default(),
        story.join("\n")
    )
}
