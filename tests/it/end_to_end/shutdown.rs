//! The end of the daemon: within seconds, whatever hangs.

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::cli::Cli;
use crate::harness::fake_packer::{ENDLESS, WHOLE};
use crate::harness::farm::Farm;

#[test]
fn sigterm_ends_the_daemon_though_aws_does_not_answer() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 3s\n");
    let mut daemon = farm.daemon();
    farm.wait_for_state("a", "in-sync");
    farm.emulator().freeze();
    // Long enough for a pass to begin, which hangs then.
    std::thread::sleep(Duration::from_secs(3));
    daemon.signal(Signal::TERM);
    let status = daemon.end(Duration::from_secs(8)).unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn sigterm_ends_the_daemon_though_a_fetch_hangs() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/repo.git", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Cli::within(folder.path())
        .emulated("http://127.0.0.1:9")
        .env("RECONCILER_STATE_DIR", folder.path())
        .env("RECONCILER_REPOSITORIES", json!([{ "url": url }]).to_string())
        .start(&["run"]);
    let _asked = silent.accept().unwrap();
    daemon.signal(Signal::TERM);
    let status = daemon.end(Duration::from_secs(5)).unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn builds_are_cancelled_at_the_end_where_that_is_wanted_and_made_again_at_the_next_start() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{ENDLESS}[build 2]\n{WHOLE}"));
    farm.configure("on_shutdown: cancel\n");
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.signal(Signal::TERM);
    let status = daemon.end(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(farm.stages("a"), ["intent", "started", "failed", "cleaned"]);
    assert_eq!(farm.leftovers(), "");
    let _daemon = farm.daemon();
    farm.wait_for_state("a", "in-sync");
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
}

#[test]
fn a_second_sigterm_ends_the_daemon_at_once_and_its_build_is_carried_on() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\nwrite running\ndeaf\nwait go\nunkey\n[build 2]\n{WHOLE}"
    ));
    farm.configure("on_shutdown: cancel\n");
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(daemon.ended().is_none(), "it waits for the build");
    daemon.signal(Signal::TERM);
    let status = daemon.end(Duration::from_secs(2)).unwrap();
    assert_eq!(status.code(), Some(143));
    let _daemon = farm.daemon();
    farm.wait_for_state("a", "in-sync");
    assert_eq!(packer.runs("build"), 2);
    assert_eq!(farm.leftovers(), "");
}
