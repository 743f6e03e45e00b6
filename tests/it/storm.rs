//! The storm of `tests/storm` in small: two farms in random weather, and an oracle that asks EC2,
//! the tables and `/proc` only.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::emulator::python;

/// The same weather in every `make test`; `make soak` draws its own, with real Packer.
const SEED: &str = "291";

fn run(program: &str, arguments: &[&str]) {
    let ran = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program))
        .args(arguments)
        .env("RECONCILER_BINARY", env!("CARGO_BIN_EXE_reconciler"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn a_small_storm_loses_nothing_builds_nothing_twice_and_leaves_nothing() {
    let small = ["--farms", "2", "--rounds", "2", "--fake"];
    run("tests/storm", &[&small[..], &["--seed", SEED]].concat());
}

#[test]
fn the_oracle_of_the_storm_tells_every_mistake_that_is_put_in() {
    run("tests/storm/mistakes.py", &[]);
}
