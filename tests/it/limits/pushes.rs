//! A daemon that follows an URL through many pushes keeps few files open, few packs and little
//! memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::harness::farm::{Farm, Store};
use crate::harness::repo::Repo;

/// Open files of a process that lie in a folder.
fn open_below(pid: u32, folder: &Path) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd"));
    let links = links.into_iter().flatten().flatten();
    let links = links.filter_map(|link| fs::read_link(link.path()).ok());
    links.filter(|to| to.starts_with(folder)).count()
}

/// Lets a process open so many files beside those that it has.
fn leave_files(pid: u32, more: u64) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = Rlimit {
        current: Some(u64::try_from(open).unwrap() + more),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

/// Memory of a process, in MiB.
fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() / 1024
}

/// Packs of the mirrors; what is there for a moment while packs are joined is none of them.
fn packs(folder: &Path) -> usize {
    let folders = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mirrors = folders.filter(|path| path.extension().is_none_or(|end| end != "joining"));
    let packs = mirrors.flat_map(|mirror| fs::read_dir(mirror.join("objects/pack")));
    let paths = packs.flatten().flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "pack")).count()
}

/// Long: `RECONCILER_TEST_PUSHES=10000`, which `make soak` does; it pushes a tenth as often, for
/// the daemon looks once a second.
#[test]
fn through_many_pushes_to_an_url_a_daemon_with_few_files_goes_on_and_stays_small() {
    let pushes = std::env::var("RECONCILER_TEST_PUSHES");
    let pushes: usize = pushes.map_or(35, |said| said.parse::<usize>().unwrap() / 10);
    let farm = Farm::hasty(Store::DynamoDb);
    farm.step("a", None);
    farm.repo.commit("one step");
    let server = Repo::bare();
    farm.repo.push_to(&server);
    let url = format!("file://{}", server.path().display());
    farm.follow_url(&url, &["poll_interval: 1s"]);
    let daemon = farm.daemon();
    let planned = |revision: &str| {
        let end = Instant::now() + Duration::from_mins(1);
        while !farm.says("daemon", revision) {
            assert!(Instant::now() < end, "{}", farm.log("daemon"));
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    super::wait_for(&farm, "a", |step| step.state == "in-sync");
    leave_files(daemon.id(), 24);
    let mirrors: PathBuf = farm.state().join("repositories");
    let (pid, mut most_open, mut most_packs, mut early) = (daemon.id(), 0, 0, 0);
    for round in 0..pushes {
        farm.repo.write("README.md", round.to_string());
        let revision = farm.repo.commit("a word");
        farm.repo.push_to(&server);
        planned(revision.as_str());
        most_open = most_open.max(open_below(pid, &mirrors));
        most_packs = most_packs.max(packs(&mirrors));
        if round == 30 {
            early = memory(pid);
        }
    }
    let late = memory(pid);
    println!(
        "figures: {pushes} pushes: at most {most_packs} packs, {most_open} open files; {early} MiB, then {late} MiB"
    );
    // Sixteen, the one that came, and the one that they are being joined to.
    assert!(most_packs <= 18, "{most_packs} packs");
    assert!(most_open <= 17, "{most_open} open files");
    assert!(late <= early + 30, "{early} MiB, then {late} MiB");
    farm.script("a", "echo 2\n");
    farm.repo.commit("a change");
    farm.repo.push_to(&server);
    let images = || farm.made_images();
    let (before, end) = (images(), Instant::now() + Duration::from_mins(1));
    while images() == before {
        assert!(Instant::now() < end, "it builds nothing any more");
        std::thread::sleep(Duration::from_millis(100));
    }
}
