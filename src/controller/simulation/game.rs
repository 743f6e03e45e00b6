//! One seed played: when what goes wrong, and how it ended.

use crate::controller::simulation::clockwork::{Clockwork, Kind};
use crate::controller::simulation::daemon;
use crate::controller::simulation::world::{Bug, Outcome, SILENCE, World};
use reconciler_model::ids::StepId;

/// How long faults come, and how long the world may take to settle afterwards, in milliseconds.
const FAULTS: u64 = 20 * 60 * 1000;
const SETTLING: u64 = 60 * 60 * 1000;

/// What is to be played.
#[derive(Clone, Copy)]
pub(super) struct Game {
    pub(super) seed: u64,
    pub(super) tracing: bool,
    pub(super) most_faults: usize,
    pub(super) bug: Option<Bug>,
}

impl Game {
    pub(super) fn of(seed: u64) -> Self {
        Self { seed, tracing: false, most_faults: usize::MAX, bug: None }
    }
}

/// How one seed went: how many steps it took, or what broke and its story.
pub(super) fn play(game: Game) -> (Result<usize, String>, Vec<String>) {
    let mut world = World::new(game.seed, game.tracing);
    world.bug = game.bug;
    let mut clockwork = Clockwork::new(world);
    let hosts = clockwork.world.borrow().hosts.len();
    for host in 0..hosts {
        let handle = clockwork.handle(host, Kind::Daemon);
        handle.spawn(Kind::Daemon, daemon::run);
    }
    let (begin, mut steps, mut faults) = (clockwork.world.borrow().now, 0, 0);
    let mut next = begin;
    while next < begin + FAULTS && clockwork.world.borrow().broken.is_none() {
        next += clockwork.world.borrow_mut().dice.between(1_000, 120_000);
        while clockwork.step(next) {
            steps += 1;
            if clockwork.world.borrow().broken.is_some() {
                break;
            }
        }
        if faults < game.most_faults {
            disturb(&mut clockwork, hosts);
        }
        faults += 1;
    }
    {
        let mut world = clockwork.world.borrow_mut();
        world.faults = false;
        world.strangers_leave();
        let now = world.now;
        for host in &mut world.hosts {
            host.frozen_until = host.frozen_until.min(now);
            host.daemon_frozen_until = host.daemon_frozen_until.min(now);
        }
        world.say(|| "the faults are over".to_owned());
    }
    let mut settled = Err("nothing was looked at".to_owned());
    let end = next + SETTLING;
    while next < end && settled.is_err() && clockwork.world.borrow().broken.is_none() {
        next += 60_000;
        while clockwork.step(next) {
            steps += 1;
        }
        settled = clockwork.world.borrow().settled(&wanted);
    }
    let world = clockwork.world.borrow();
    let result = match &world.broken {
        Some(why) => Err(why.clone()),
        None => settled.map(|()| steps),
    };
    (result, world.trace.clone())
}

fn wanted(step: &StepId, world: &World) -> Option<reconciler_model::components::Fingerprint> {
    let git = daemon::Git(world.wanted);
    if step.as_str() == "a" {
        return Some(git.wants("a", &daemon::base().id));
    }
    let parent = world.records.get(&StepId::new("a"))?;
    Some(git.wants("b", &parent.ami_id))
}

/// How long a misfortune lasts: often about as long as a build may be silent, where the answer
/// hangs on moments.
fn a_while(world: &mut World) -> u64 {
    if world.dice.one_in(3) {
        world.dice.between(SILENCE - 5_000, SILENCE + 40_000)
    } else {
        world.dice.between(1_000, 400_000)
    }
}

/// One misfortune, of some host or of all.
fn disturb(clockwork: &mut Clockwork, hosts: usize) {
    let (host, what, long) = {
        let mut world = clockwork.world.borrow_mut();
        let host = usize::try_from(world.dice.between(0, hosts as u64)).unwrap();
        let (what, long) = (world.dice.between(0, 10), a_while(&mut world));
        world.say(|| format!("misfortune {what} of host {host} for {long}"));
        (host, what, long)
    };
    match what {
        0 => clockwork.world.borrow_mut().change(),
        8 => {
            let mut world = clockwork.world.borrow_mut();
            world.denied_until = world.now + long;
        }
        9 => {
            let mut world = clockwork.world.borrow_mut();
            world.change();
            let wanted = daemon::Git(world.wanted).wants("a", &daemon::base().id);
            world.strangers_image(daemon::image_name(&wanted), wanted);
        }
        1 | 2 => {
            let mut world = clockwork.world.borrow_mut();
            let until = world.now + long;
            world.hosts[host].daemon_frozen_until = until;
        }
        3 | 4 => {
            let mut world = clockwork.world.borrow_mut();
            let until = world.now + long;
            world.hosts[host].frozen_until = until;
        }
        5 | 6 => restart(clockwork, host, Some(Kind::Daemon)),
        _ => {
            restart(clockwork, host, None);
            let mut world = clockwork.world.borrow_mut();
            world.hosts[host].boots += 1;
            let dead: Vec<_> = world
                .builds
                .iter()
                .filter(|(_, build)| build.host == host && build.outcome.is_none())
                .map(|(id, _)| id.clone())
                .collect();
            for id in dead {
                world.end(&id, Outcome::Unknown);
            }
            // A machine takes a while to come back.
            let until = world.now + long;
            world.hosts[host].frozen_until = until;
        }
    }
}

fn restart(clockwork: &mut Clockwork, host: usize, kind: Option<Kind>) {
    clockwork.kill(host, kind);
    clockwork.world.borrow_mut().hosts[host].life += 1;
    let handle = clockwork.handle(host, Kind::Daemon);
    handle.spawn(Kind::Daemon, daemon::run);
}

/// The story of a seed with as few misfortunes as still break it.
pub(super) fn shrunk(game: Game) -> String {
    let breaks = |most_faults| {
        let game = Game { most_faults, ..game };
        play(game).0.is_err()
    };
    let most_faults = (0..64).find(|&most| breaks(most)).unwrap_or(64);
    let (result, story) = play(Game { tracing: true, most_faults, ..game });
    format!(
        "seed {}, {most_faults} misfortunes: {}\n{}",
        game.seed,
        result.err().unwrap_or_default(),
        story.join("\n")
    )
}
