//! A build under its supervisor: killed, given up, ended on request, and what becomes of it.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{FAILED, Farm, RECORDED};

#[test]
fn a_build_whose_daemon_and_supervisor_were_killed_is_adopted_and_built_once() {
    let (farm, packer) = Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}"));
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.kill();
    farm.supervisor().signal(Signal::KILL);
    let _daemon = farm.daemon();
    farm.wait_until("the next daemon follows it", |farm| {
        farm.log("daemon").matches("build followed").count() == 1
    });
    packer.let_go("go");
    farm.settles("a");
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_whose_state_folder_goes_while_packer_runs_is_recorded_all_the_same() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\nwrite running\nwait go\ngroup\ninstance\nimage\nterminate\nungroup\nunkey\nartifact\nfinished\n[build 2]\n{WHOLE}"
    ));
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    let supervisor = farm.supervisor();
    std::fs::remove_dir_all(farm.state()).unwrap();
    packer.let_go("go");
    farm.settles("a");
    farm.wait_until("its supervisor has ended", |_| !supervisor.is_alive());
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_that_fails_because_its_folder_went_is_no_fault_of_the_step() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\nwrite running\nwait go\nunkey\nfailure open install.sh: no such file or directory\nfinished\nexit 1\n[build 2]\n{WHOLE}"
    ));
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    std::fs::remove_dir_all(farm.state().join("builds")).unwrap();
    packer.let_go("go");
    farm.settles("a");
    farm.failed("transient", "was removed while Packer ran");
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
}

#[test]
fn a_lost_answer_that_packer_asks_again_for_is_said_while_it_lasts() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nraw 1000000000,,ui,say,==> amazon-ebs.x: Creating temporary keypair: packer_00000000-0000-0000-0000-000000000000\n\
         write running\nwait go\n{WHOLE}"
    ));
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    let status = farm.run(&["status"]).out;
    assert!(status.contains("again and again for its key pair"), "{status}");
    let build = farm.status()["a"].build.clone().unwrap();
    assert!(build.silence.is_some(), "{build:?}");
    packer.let_go("go");
    farm.settles("a");
}

#[test]
fn a_packer_that_was_killed_after_its_image_was_whole_has_made_it() {
    let (farm, packer) = Farm::playing("[build]\nkey\ngroup\ninstance\nimage\nsignal 9\n");
    farm.applies();
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(packer.runs("build"), 1);
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn an_image_whose_packer_was_killed_before_it_was_shared_is_built_again() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ngroup\ninstance\nimage\nsignal 9\n[build 2]\n{WHOLE}"
    ));
    let shared = "communicator = \"none\"\n  ami_users = [\"123456789012\"]";
    farm.template("a", |text| text.replace("communicator  = \"none\"", shared));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(farm.stages("a"), [&FAILED[..], &RECORDED].concat());
    farm.failed("transient", "ami_users");
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn an_image_that_packer_did_not_wait_for_long_enough_is_recorded() {
    const LATE: &str = "Error waiting for AMI: ResourceNotReady: exceeded wait attempts";
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ngroup\ninstance\nimage\nterminate\nungroup\nunkey\nfailure {LATE}\nerror Build 'x' errored: {LATE}\nexit 1\n"
    ));
    farm.applies();
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
}

#[test]
fn a_superseded_build_is_cancelled_cleaned_up_and_built_anew() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ngroup\ninstance\nwrite running\nhang\non-term\n\
         error Cancelling build after receiving terminated\nexit 1\n[build 2]\n{WHOLE}"
    ));
    farm.configure("on_superseded: cancel\ninterval: 1s\n");
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    farm.settles("a");
    assert_eq!(farm.stages("a"), [&FAILED[..], &RECORDED].concat());
    farm.failed("cancelled", "");
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_that_the_host_ends_is_no_cancelled_one_and_is_built_again() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ninstance\nwrite running\nhang\non-term\nerror Cancelling build after receiving terminated\nexit 1\n\
         [build 2]\n{WHOLE}"
    ));
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    farm.supervisor().signal(Signal::TERM);
    farm.settles("a");
    farm.failed("transient", "");
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_without_its_supervisor_can_be_cancelled() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ninstance\nwrite running\nhang\non-term\nerror Cancelling build after receiving terminated\nexit 1\n\
         [build 2]\n{WHOLE}"
    ));
    farm.configure("on_superseded: cancel\ninterval: 1s\n");
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    farm.supervisor().signal(Signal::KILL);
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    farm.settles("a");
    farm.failed("cancelled", "");
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_beyond_its_limit_is_ended_and_what_it_made_is_removed() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey\ngroup\ninstance\nhang\non-term\nterminate\nungroup\n\
         error Cancelling build after receiving terminated\nexit 1\n",
    );
    beyond_its_limit(&farm);
    farm.failed("step", "timeout");
    assert_eq!(packer.runs("build"), 1, "it would take as long again");
    assert_eq!(farm.leftovers(), "", "the key too");
}

#[test]
fn a_packer_that_is_deaf_is_killed_and_what_it_made_is_removed() {
    let (farm, _packer) = Farm::playing("[build]\ndeaf\nkey\ngroup\ninstance\nhang\n");
    beyond_its_limit(&farm);
    farm.failed("step", "timeout");
    let logs = farm.run(&["logs", "a"]);
    assert!(logs.out.contains("did not end by itself"), "{logs:#?}");
    assert_eq!(farm.leftovers(), "");
}

/// Builds with a limit of two seconds, in vain.
#[track_caller]
fn beyond_its_limit(farm: &Farm) {
    farm.step_params("a", None, &json!({ "reconciler": { "timeout": "2s" } }));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 1, "{ran:#?}");
}
