//! The loop without misfortunes: what it builds and when, without a process and without an emulator.

use crate::controller::simulation::game::{Game, Play};
use crate::controller::simulation::world::Outcome;

const MINUTE: u64 = 60_000;

/// Hosts on which nothing goes wrong.
fn calm() -> Play {
    let play = Play::begin(Game { most_faults: 0, ..Game::of(5) });
    // A seed says which hosts cannot write heartbeats; here all can.
    play.world().hosts.iter_mut().for_each(|host| host.mute = false);
    play
}

/// The steps that were built, in order.
fn built(play: &Play) -> Vec<String> {
    let world = play.world();
    assert_eq!(world.broken, None);
    world.builds.values().map(|build| build.step.to_string()).collect()
}

#[test]
fn each_push_builds_each_step_once_and_a_second_pass_builds_nothing() {
    let mut play = calm();
    play.pass(10 * MINUTE);
    assert_eq!(built(&play), ["a", "b"]);
    play.pass(60 * MINUTE);
    assert_eq!(built(&play), ["a", "b"]);
    assert_eq!(play.world().settled(), Ok(()));
    play.push();
    play.pass(10 * MINUTE);
    assert_eq!(built(&play), ["a", "b", "a", "b"]);
    assert_eq!(play.world().settled(), Ok(()));
}

#[test]
fn a_daemon_that_starts_anew_carries_on_what_the_last_one_began() {
    let mut play = calm();
    play.pass(20_000);
    let host = play.world().builds.values().next().unwrap().host;
    play.restart(host, true);
    play.pass(10 * MINUTE);
    assert_eq!(built(&play), ["a", "b"]);
    assert_eq!(play.world().settled(), Ok(()));
}

#[test]
fn another_host_builds_what_a_lost_one_had_begun_and_removes_what_it_left() {
    let mut play = calm();
    play.pass(20_000);
    let host = play.world().builds.values().next().unwrap().host;
    play.lose_power(host, 24 * 60 * MINUTE);
    play.pass(MINUTE);
    assert_eq!(built(&play), ["a"], "a build may be silent for two minutes");
    play.pass(20 * MINUTE);
    let steps = built(&play);
    assert_eq!(steps, ["a", "a", "b"]);
    let world = play.world();
    let lost = world.builds.values().next().unwrap();
    assert_eq!((lost.outcome, lost.instance), (Some(Outcome::Unknown), false));
    assert!(world.builds.values().skip(1).all(|build| build.host != host));
}
