//! The loop without misfortunes: what it builds and when, without a process and without an emulator.

use crate::controller::simulation::game::{Game, Play};
use crate::controller::simulation::world::Outcome;
use reconciler_core::view::{Standing, View};

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
fn each_pass_shows_what_stands() {
    let game = Game { most_faults: 0, is_watched: true, ..Game::of(5) };
    let mut play = Play::begin(game);
    play.world().hosts.iter_mut().for_each(|host| host.mute = false);
    play.pass(20_000);
    let host = play.world().builds.values().next().unwrap().host;
    let first = play.view(host);
    let [workflow] = first.workflows.as_slice() else { panic!("{first:#?}") };
    assert_eq!(workflow.standing, Standing::Holds);
    let states = |view: &View| {
        let steps = view.reports().flat_map(|report| &report.steps);
        steps.map(|step| step.state.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(states(&first), ["building", "build"]);
    let rollout = workflow.rollout.as_ref().unwrap();
    assert_eq!((rollout.steps_left, rollout.ended_at), (2, None));
    assert_eq!((first.slots.limit, first.slots.running, first.slots.waiting), (2, 1, 0));
    assert_eq!(first.repositories[0].name, "memory");

    play.pass(20 * MINUTE);
    let last = play.view(host);
    assert!(last.sequence > first.sequence);
    assert_eq!(states(&last), ["in-sync", "in-sync"]);
    let rollout = last.workflows[0].rollout.as_ref().unwrap();
    assert!(rollout.ended_at.is_some() && rollout.steps_left == 0, "{rollout:?}");
    assert_eq!(last.slots.running, 0);
    // Another host stands by, and knows for whom.
    let other = (0..play.world().hosts.len()).find(|one| *one != host).unwrap();
    let standby = play.view(other);
    let [workflow] = standby.workflows.as_slice() else { panic!("{standby:#?}") };
    assert!(matches!(&workflow.standing, Standing::StandsBy(_)), "{workflow:?}");
    assert!(workflow.report.is_none());
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
