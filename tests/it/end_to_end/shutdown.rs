//! The end of the daemon: within seconds, whatever hangs.

use std::net::TcpListener;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{ENDLESS, WHOLE, one_step};
use crate::harness::cli::Cli;

/// Waits for the end of a process, and tells how long that took.
#[track_caller]
fn ends_within(child: &mut Child, limit: Duration) -> ExitStatus {
    let since = Instant::now();
    while since.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it has not ended within {limit:?}");
}

#[test]
fn sigterm_ends_the_daemon_though_aws_does_not_answer() {
    let (mut farm, _packer) = one_step(&format!("[build]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 3s\n");
    let daemon = farm.daemon();
    farm.wait_until("it is in sync", |farm| farm.state_of("a") == "in-sync");
    farm.emulator.freeze();
    // Long enough for a pass to begin, which hangs then.
    std::thread::sleep(Duration::from_secs(3));
    farm.signal(daemon, Signal::TERM);
    let status = ends_within(farm.child(daemon), Duration::from_secs(8));
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
        .into_command()
        .arg("run")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _asked = silent.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let status = ends_within(&mut daemon, Duration::from_secs(5));
    assert!(status.success(), "{status}");
}

#[test]
fn builds_are_cancelled_at_the_end_where_that_is_wanted_and_made_again_at_the_next_start() {
    let (mut farm, packer) = one_step(&format!("[build]\n{ENDLESS}[build 2]\n{WHOLE}"));
    farm.configure("on_shutdown: cancel\n");
    let daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    farm.signal(daemon, Signal::TERM);
    let status = ends_within(farm.child(daemon), Duration::from_secs(30));
    assert!(status.success(), "{status}");
    assert_eq!(farm.stages("a"), ["intent", "started", "failed", "cleaned"]);
    assert_eq!(farm.leftovers(), "");
    farm.daemon();
    farm.wait_until("it is built", |farm| farm.state_of("a") == "in-sync");
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
}

#[test]
fn a_second_sigterm_ends_the_daemon_at_once_and_its_build_is_carried_on() {
    let (mut farm, packer) =
        one_step(&format!("[build]\nkey\nwrite running\ndeaf\nwait go\nunkey\n[build 2]\n{WHOLE}"));
    farm.configure("on_shutdown: cancel\n");
    let daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    farm.signal(daemon, Signal::TERM);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(farm.child(daemon).try_wait().unwrap().is_none(), "it waits for the build");
    farm.signal(daemon, Signal::TERM);
    let status = ends_within(farm.child(daemon), Duration::from_secs(2));
    assert_eq!(status.code(), Some(143));
    farm.daemon();
    farm.wait_until("it is built", |farm| farm.state_of("a") == "in-sync");
    assert_eq!(packer.runs("build"), 2);
    assert_eq!(farm.leftovers(), "");
}
