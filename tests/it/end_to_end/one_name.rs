//! Two daemons whose hosts bear one name: neither takes the other's lease or build for one that it
//! left itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::farm::Farm;

const NAME: (&str, &str) = ("RECONCILER_HOST", "localhost");

/// Runs what follows in a PID namespace of its own, and ends it with itself: as a container does.
const CONTAINER: [&str; 4] = ["unshare", "-rpf", "--mount-proc", "--kill-child"];

fn may_have_a_namespace() -> bool {
    let ran =
        Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

/// The holder of the lease and its token.
fn lease(farm: &Farm) -> Option<(String, u64)> {
    farm.status().lease.clone().map(|lease| (lease.holder, lease.token))
}

#[test]
fn a_build_that_has_not_yet_given_a_sign_of_life_is_not_built_beside_by_a_host_of_its_name() {
    let farm = Farm::of_one_step("lease_duration: 3s\ninterval: 1s\nretry:\n  initial: 1s\n");
    // The daemon dies when its supervisor runs and nobody was told; the supervisor stands still
    // before its first sign of life.
    let failing = "journal.started:before=abort;supervisor.packer:after=stop";
    let mut one = farm.daemon_at("one", &[NAME, ("RECONCILER_FAILPOINTS", failing)], &[]);
    one.end(Duration::from_mins(1)).unwrap();
    let _daemon = farm.daemon_at("two", &[NAME], &[]);
    farm.wait_until_said("two", "build followed");
    farm.wait_until("the supervisor stands still", |farm| {
        farm.said_by_supervisors("one").contains("supervisor.packer:after: stop")
    });
    farm.signal_builds("one", Signal::CONT);
    farm.wait_for_state("a", "in-sync");
    assert_eq!(farm.made_images(), 1);
    let intents = farm.stages("a");
    assert_eq!(intents.iter().filter(|one| *one == "intent").count(), 1);
    assert!(!intents.contains(&"failed".to_owned()), "{intents:?}");
    farm.wait_until_nothing_is_left();
}

#[test]
fn a_lease_and_a_build_of_another_container_of_the_same_name_are_waited_for() {
    if !may_have_a_namespace() {
        println!("skipped: this machine allows no PID namespace");
        return;
    }
    let farm = Farm::of_one_step("lease_duration: 3s\ninterval: 1s\nretry:\n  initial: 1s\n");
    // The build lasts longer than the lease.
    farm.images_are_pending_for(8);
    let one = farm.daemon_at("one", &[NAME], &[]);
    farm.wait_until("the image is on its way", |farm| farm.made_images() == 1);
    let before = lease(&farm);
    let _daemon = farm.daemon_at("two", &[NAME], &CONTAINER);
    farm.wait_until_said("two", "standing by");
    assert_eq!(lease(&farm), before, "a living holder is left alone");
    one.signal(Signal::KILL);
    farm.wait_for_state("a", "in-sync");
    let stages = farm.stages("a");
    assert_eq!(stages.iter().filter(|one| *one == "intent").count(), 1);
    assert!(!stages.contains(&"failed".to_owned()), "{stages:?}");
    assert_eq!(farm.made_images(), 1);
    farm.wait_until_nothing_is_left();
}
