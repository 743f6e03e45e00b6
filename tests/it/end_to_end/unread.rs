//! Builds of a workflow that git says nothing of any more, or nothing that can be believed: they
//! are carried to their end all the same.

use rustix::process::Signal;
use serde_json::json;

use super::{WHOLE, one_step};
use crate::harness::fake_packer::FakePacker;
use crate::harness::farm::Farm;

/// A daemon that is killed while Packer waits for `go`.
fn killed_in_the_middle_of_a_build(repository: &str) -> (Farm, FakePacker) {
    let (mut farm, packer) = one_step(&format!("[build]\nwrite running\nwait go\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    let path = farm.repo.path().display().to_string();
    farm.reconfigure(|text| text.replacen(&path, &format!("{path}{repository}"), 1));
    let daemon = farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    farm.signal(daemon, Signal::KILL);
    farm.child(daemon).wait().unwrap();
    (farm, packer)
}

/// The build that was begun is in the journal from its intent to a clean account, once.
#[track_caller]
fn is_carried_to_its_record(farm: &Farm, packer: &FakePacker) {
    packer.let_go("go");
    farm.wait_until("it is recorded", |farm| {
        farm.stages("a").iter().any(|stage| stage == "cleaned")
    });
    let stages = ["intent", "started", "image_seen", "available", "tagged", "recorded", "cleaned"];
    assert_eq!(farm.stages("a"), stages);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_is_carried_on_though_the_head_is_refused_and_nothing_of_that_head_is_built() {
    let (mut farm, packer) = killed_in_the_middle_of_a_build("\n    allow_rewrite: false");
    farm.repo.write("packer_workspaces/a/install.sh", "echo rewritten\n");
    farm.repo.git(&["add", "--all"]);
    farm.repo.git(&["commit", "-q", "--amend", "-m", "rewritten"]);
    let daemon = farm.daemon();
    is_carried_to_its_record(&farm, &packer);
    farm.run(&["status"]).refuses(&["does not descend from", "reconciler allow-rewrite"]);
    farm.signal(daemon, Signal::TERM);
    assert!(farm.child(daemon).wait().unwrap().success());
}

#[test]
fn a_build_is_carried_on_though_the_parameters_of_the_workflow_are_broken() {
    let (mut farm, packer) = killed_in_the_middle_of_a_build("");
    farm.repo.write("packer_workspaces/workflow_param.json", "{ nonsense");
    farm.repo.commit("broken");
    farm.daemon();
    is_carried_to_its_record(&farm, &packer);
}

#[test]
fn a_build_is_carried_on_though_its_commit_is_pruned_and_git_has_another_workflow() {
    let (mut farm, packer) = killed_in_the_middle_of_a_build("");
    let old = farm.repo.git(&["rev-parse", "HEAD"]);
    let params = "packer_workspaces/workflow_param.json";
    let text = std::fs::read_to_string(farm.repo.path().join(params)).unwrap();
    farm.repo.write(params, text.replace("wf-1", "wf-2"));
    farm.repo.write("packer_workspaces/a/step_param.json", "{");
    let repo = &farm.repo;
    repo.git(&["add", "--all"]);
    repo.git(&["commit", "-q", "--amend", "-m", "forced"]);
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "-q", "--prune=now"]);
    let gone = repo.git(&["cat-file", "--batch-check", "--batch-all-objects"]);
    assert!(!gone.contains(old.trim()), "{gone}");
    farm.daemon();
    is_carried_to_its_record(&farm, &packer);
}

/// The workflow's folder moves.
fn move_away(farm: &Farm) {
    let repo = &farm.repo;
    repo.git(&["mv", "packer_workspaces", "moved"]);
    std::fs::create_dir(repo.path().join("packer_workspaces")).unwrap();
    repo.git(&["mv", "moved", "packer_workspaces/moved"]);
}

#[test]
fn a_build_is_carried_on_though_its_workflow_left_git_and_then_that_is_let_go() {
    let (mut farm, packer) = killed_in_the_middle_of_a_build("");
    move_away(&farm);
    let params = "packer_workspaces/moved/workflow_param.json";
    let text = std::fs::read_to_string(farm.repo.path().join(params)).unwrap();
    farm.repo.write(params, text.replace("wf-1", "wf-2"));
    farm.repo.write("packer_workspaces/moved/a/step_param.json", "{");
    farm.repo.commit("another workflow, whose step is broken");
    farm.daemon();
    is_carried_to_its_record(&farm, &packer);
    let charges = || std::fs::read_dir(farm.state().join("workflows")).unwrap();
    farm.wait_until("the old workflow is let go", |_| charges().count() == 1);
}

#[test]
fn a_workflow_whose_folder_moves_while_it_builds_is_the_same_workflow() {
    let (mut farm, packer) = one_step(&format!("[build]\nwrite running\nwait go\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    move_away(&farm);
    farm.repo.commit("the same workflow elsewhere");
    is_carried_to_its_record(&farm, &packer);
    farm.wait_until("it is in sync", |farm| farm.state_of("a") == "in-sync");
    let charges = || std::fs::read_dir(farm.state().join("workflows")).unwrap();
    farm.wait_until("one is left in charge", |_| charges().count() == 1);
    farm.repo.write("packer_workspaces/moved/a/install.sh", "echo 2\n");
    packer.plays(&format!("[build]\n{WHOLE}"));
    farm.repo.commit("a change");
    farm.wait_until("the change is built", |farm| farm.made_images() == 2);
}

#[test]
fn a_build_of_the_old_id_is_carried_on_beside_the_workflow_of_the_new_one() {
    let (mut farm, packer) =
        one_step(&format!("[build]\nwrite running\nwait go\n{WHOLE}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    farm.workflow(&json!({ "workflow_id": "wf-2" }));
    farm.repo.commit("another run of the workflow");
    farm.wait_until("the new workflow is built", |farm| farm.state_of("a") == "in-sync");
    packer.let_go("go");
    farm.wait_until("the old one is recorded", |farm| {
        farm.stages("a").iter().any(|stage| stage == "cleaned")
    });
    assert!(farm.stages("a").contains(&"recorded".to_owned()));
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 2));
    assert_eq!(farm.leftovers(), "");
}

/// The workflow goes to another region while Packer makes an image in the first.
fn moved_to_another_region(inventory: &str) {
    let (mut farm, packer) =
        one_step(&format!("[build]\nwrite running\nwait go\n{WHOLE}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    farm.reconfigure(|text| text.replacen("table: images", inventory, 1));
    farm.emulator.control_post(
        "/_control/base-image",
        &json!({ "name": "base", "id": "ami-00000000000000001", "region": "eu-west-1" }),
    );
    farm.daemon();
    farm.wait_until("Packer runs", |_| packer.wrote("running").is_some());
    farm.workflow(
        &json!({ "region_name": "eu-west-1", "root_base_ami_id": "ami-00000000000000001" }),
    );
    farm.repo.commit("another region");
    packer.let_go("go");
    farm.wait_until("the old image is recorded", |farm| {
        farm.stages("a").iter().any(|stage| stage == "cleaned")
    });
    assert!(farm.stages("a").contains(&"recorded".to_owned()), "{:?}", farm.stages("a"));
    farm.wait_until("the new one is in sync", |farm| {
        farm.state_of("a") == "in-sync" && packer.runs("build") == 2
    });
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_of_the_old_region_is_settled_there_where_the_records_stay_in_one_place() {
    moved_to_another_region("table: images\n  region: us-east-1");
}

#[test]
fn a_build_of_the_old_region_is_settled_there_where_the_records_move_with_the_workflow() {
    moved_to_another_region("table: images");
}
