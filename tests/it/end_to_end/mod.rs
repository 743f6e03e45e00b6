//! The whole way from a commit to a record, with real git, real Packer and an emulated AWS.

mod apply;
mod daemon;
mod lost_host;
mod two_daemons;

use crate::harness::farm::Farm;

/// Three steps: `a`, its child `b`, and `c` beside them.
fn three_steps() -> Farm {
    let farm = Farm::new();
    farm.step("a", None).step("b", Some("a")).step("c", None);
    farm
}
