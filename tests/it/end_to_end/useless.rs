//! A daemon that lives but can do nothing, for its host lacks what every pass needs: another one
//! gets its workflow.

use std::io::Write as _;
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::harness::farm::{Farm, QUICK};
use crate::harness::mounts::may_mount;
use crate::harness::running::Running;

/// Lets a daemon open no file beside those that it has, or as many as this process again.
fn limit_files(daemon: &Running, has_none_left: bool) {
    let pid = i32::try_from(daemon.id()).unwrap();
    let own = getrlimit(Resource::Nofile);
    let is_free = |number: &u64| !Path::new(&format!("/proc/{pid}/fd/{number}")).exists();
    let first_free = (0..1_000).find(is_free);
    let limit = Rlimit {
        current: if has_none_left { first_free } else { own.current },
        maximum: own.maximum,
    };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).unwrap();
}

#[test]
fn a_daemon_without_files_leaves_its_workflow_to_another_and_takes_it_again_when_it_has_some() {
    let farm = Farm::of_three_steps();
    farm.configure(QUICK);
    farm.repo.commit("three steps");
    let one = farm.daemon_on("one");
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    let mut two = farm.daemon_on("two");
    farm.wait_until_said("two", "standing by");

    limit_files(&one, true);
    farm.script("c", "echo 4\n");
    farm.repo.commit("a change");
    // Where not even the connection for renewals can be opened again, it is lost before it is given
    // back.
    let is_lost = |said: &str| said.contains("lease lost");
    farm.wait_until("the lease is let go", |farm| {
        let said = farm.log("one");
        is_lost(&said) || said.contains("lease given back")
    });
    farm.wait_until("the other has built the change", |farm| {
        farm.made_images() == 4 && farm.is_in_sync()
    });
    let said = farm.log("one");
    let state = farm.state_of_host("one");
    if is_lost(&said) {
        assert!(said.contains("Too many open files"), "{said}");
    } else {
        assert!(said.contains("no more files can be opened"), "{said}");
        assert!(said.contains("LimitNOFILE"), "{said}");
        let troubles = reconciler::controller::status_file::read(&state);
        assert!(troubles.iter().any(|one| one.cause.contains("given back")), "{troubles:?}");
    }

    limit_files(&one, false);
    two.kill();
    farm.wait_until("the lease is taken again", |farm| {
        let said = farm.log("one");
        said.contains("lease taken again") || said.contains("lease taken over")
    });
    farm.script("c", "echo 5\n");
    farm.repo.commit("another change");
    farm.wait_until("the first one builds again", |farm| {
        farm.made_images() == 5 && farm.is_in_sync()
    });
    let told = reconciler::controller::status_file::read(&state);
    assert!(!told.iter().any(|one| one.cause.contains("given back")), "{told:?}");
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_daemon_on_a_full_disk_leaves_its_workflow_to_another() {
    let farm = Farm::of_three_steps();
    farm.configure(QUICK);
    farm.repo.commit("three steps");
    let state = farm.state_of_host("one");
    std::fs::create_dir_all(&state).unwrap();
    if !may_mount(&state) {
        println!("skipped: this machine allows no mount namespace");
        return;
    }
    let mount = format!("mount -t tmpfs -o size=4m disk '{}' && exec \"$@\"", state.display());
    let within = ["unshare", "-rm", "sh", "-c", &mount, "sh"];
    let one = farm.daemon_at("one", &[("RECONCILER_HOST", "one")], &within);
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    let _daemon = farm.daemon_on("two");
    farm.wait_until_said("two", "standing by");
    // As the daemon sees it.
    let seen = format!("/proc/{}/root{}", one.id(), state.display());
    let mut filler = std::fs::File::create(Path::new(&seen).join("filler")).unwrap();
    while filler.write_all(&[b'x'; 4096]).is_ok() {}
    farm.script("c", "echo 4\n");
    farm.repo.commit("a change");
    farm.wait_until_said("one", "lease given back");
    farm.wait_until("the other has built the change", |farm| {
        farm.made_images() == 4 && farm.is_in_sync()
    });
    let said = farm.log("one");
    assert!(said.contains("the disk cannot be written"), "{said}");
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_daemon_for_which_ec2_does_not_answer_keeps_its_workflow() {
    let farm = Farm::of_three_steps();
    farm.configure(QUICK);
    farm.repo.commit("three steps");
    let _daemon = farm.daemon_on("one");
    farm.wait_until("three images are recorded", Farm::is_in_sync);
    let _daemon = farm.daemon_on("two");
    farm.wait_until_said("two", "standing by");
    let down =
        serde_json::json!([{ "operation": "DescribeImages", "kind": "internal", "times": 10_000 }]);
    farm.faults(&down);
    farm.script("c", "echo 4\n");
    farm.repo.commit("a change");
    std::thread::sleep(std::time::Duration::from_secs(16));
    let said = farm.log("one");
    assert!(said.contains("EC2"), "the fault did not work: {said}");
    assert!(!said.contains("given back"), "{said}");
}
