//! The whole way from a commit to a record, with real git, real Packer and an emulated AWS.

mod apply;
mod daemon;
mod forsaken;
mod habits;
mod lost_host;
mod one_name;
mod patience;
mod places;
mod requests;
mod said;
mod shared_id;
mod shutdown;
mod told;
mod two_daemons;
mod unread;
mod useless;

use crate::harness::fake_packer::FakePacker;
use crate::harness::farm::Farm;

/// Three steps: `a`, its child `b`, and `c` beside them.
fn three_steps() -> Farm {
    let farm = Farm::new();
    farm.step("a", None).step("b", Some("a")).step("c", None);
    farm
}

/// What a Packer makes as a rule: it cleans up and names its image.
const WHOLE: &str = "key\ngroup\ninstance\nimage\nterminate\nungroup\nunkey\nartifact\n";

/// A Packer that goes on until it is ended, and leaves what today's leaves then: an instance.
const ENDLESS: &str = "key\ngroup\ninstance\nwrite running\nhang\non-term\nungroup\nunkey\n\
                       error Cancelling build after receiving terminated\nexit 1\n";

/// One step `a` under a Packer that plays this transcript.
fn one_step(transcript: &str) -> (Farm, FakePacker) {
    let packer = FakePacker::new(transcript);
    let farm = Farm::with_packer(&packer.binary());
    farm.step("a", None);
    farm.repo.commit("one step");
    (farm, packer)
}
