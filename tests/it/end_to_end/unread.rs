//! Builds of a workflow that git says nothing of any more, or nothing that can be believed: they
//! are carried to their end all the same.

use serde_json::json;

use crate::harness::fake_packer::{FakePacker, WHOLE};
use crate::harness::farm::{Farm, RECORDED};

/// A daemon that is killed while Packer waits for `go`.
fn killed_in_the_middle_of_a_build(followed_with: &[&str]) -> (Farm, FakePacker) {
    let (farm, packer) = Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    if !followed_with.is_empty() {
        farm.follow_with(followed_with);
    }
    let mut daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    daemon.kill();
    (farm, packer)
}

/// The build that was begun is in the journal from its intent to a clean account, once.
#[track_caller]
fn is_carried_to_its_record(farm: &Farm, packer: &FakePacker) {
    packer.let_go("go");
    farm.wait_for_stage("a", "cleaned");
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_is_carried_on_though_the_head_is_refused_and_nothing_of_that_head_is_built() {
    let (farm, packer) = killed_in_the_middle_of_a_build(&["allow_rewrite: false"]);
    farm.script("a", "echo rewritten\n");
    farm.repo.git(&["add", "--all"]);
    farm.repo.git(&["commit", "-q", "--amend", "-m", "rewritten"]);
    let mut daemon = farm.daemon();
    is_carried_to_its_record(&farm, &packer);
    farm.run(&["status"]).refuses(&["does not descend from", "reconciler allow-rewrite"]);
    daemon.stops();
}

#[test]
fn a_build_is_carried_on_though_the_parameters_of_the_workflow_are_broken() {
    let (farm, packer) = killed_in_the_middle_of_a_build(&[]);
    farm.repo.write("packer_workspaces/workflow_param.json", "{ nonsense");
    farm.repo.commit("broken");
    let _daemon = farm.daemon();
    is_carried_to_its_record(&farm, &packer);
}

#[test]
fn a_build_is_carried_on_though_its_commit_is_pruned_and_git_has_another_workflow() {
    let (farm, packer) = killed_in_the_middle_of_a_build(&[]);
    let old = farm.repo.git(&["rev-parse", "HEAD"]);
    farm.workflow(&json!({ "workflow_id": "wf-2" }));
    farm.repo.write("packer_workspaces/a/step_param.json", "{");
    let repo = &farm.repo;
    repo.git(&["add", "--all"]);
    repo.git(&["commit", "-q", "--amend", "-m", "forced"]);
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "-q", "--prune=now"]);
    let gone = repo.git(&["cat-file", "--batch-check", "--batch-all-objects"]);
    assert!(!gone.contains(old.trim()), "{gone}");
    let _daemon = farm.daemon();
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
    let (farm, packer) = killed_in_the_middle_of_a_build(&[]);
    move_away(&farm);
    farm.edit("packer_workspaces/moved/workflow_param.json", |text| text.replace("wf-1", "wf-2"));
    farm.repo.write("packer_workspaces/moved/a/step_param.json", "{");
    farm.repo.commit("another workflow, whose step is broken");
    let _daemon = farm.daemon();
    is_carried_to_its_record(&farm, &packer);
    let charges = || std::fs::read_dir(farm.state().join("workflows")).unwrap();
    farm.wait_until("the old workflow is let go", |_| charges().count() == 1);
}

#[test]
fn a_workflow_whose_folder_moves_while_it_builds_is_the_same_workflow() {
    let (farm, packer) = Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    move_away(&farm);
    farm.repo.commit("the same workflow elsewhere");
    is_carried_to_its_record(&farm, &packer);
    farm.wait_for_state("a", "in-sync");
    let charges = || std::fs::read_dir(farm.state().join("workflows")).unwrap();
    farm.wait_until("one is left in charge", |_| charges().count() == 1);
    farm.repo.write("packer_workspaces/moved/a/install.sh", "echo 2\n");
    packer.plays(&format!("[build]\n{WHOLE}"));
    farm.repo.commit("a change");
    farm.wait_until("the change is built", |farm| farm.made_images() == 2);
}

#[test]
fn a_build_of_the_old_id_is_carried_on_beside_the_workflow_of_the_new_one() {
    let (farm, packer) =
        Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    farm.workflow(&json!({ "workflow_id": "wf-2" }));
    farm.repo.commit("another run of the workflow");
    farm.wait_for_state("a", "in-sync");
    packer.let_go("go");
    farm.wait_for_stage("a", "cleaned");
    assert!(farm.has_come_to("a", "recorded"));
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 2));
    assert_eq!(farm.leftovers(), "");
}

/// The workflow goes to another region while Packer makes an image in the first.
fn moved_to_another_region(records_stay: bool) {
    let (farm, packer) =
        Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}[build 2]\n{WHOLE}"));
    farm.configure("interval: 1s\nlease_duration: 2s\n");
    if records_stay {
        let fixed = "table: images\n  region: us-east-1";
        farm.reconfigure(|text| text.replacen("table: images", fixed, 1));
    }
    farm.region.make_image(
        &json!({ "name": "base", "id": "ami-00000000000000001", "region": "eu-west-1" }),
    );
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    farm.workflow(
        &json!({ "region_name": "eu-west-1", "root_base_ami_id": "ami-00000000000000001" }),
    );
    farm.repo.commit("another region");
    packer.let_go("go");
    farm.wait_for_stage("a", "cleaned");
    assert!(farm.has_come_to("a", "recorded"), "{:?}", farm.stages("a"));
    farm.wait_until("the new one is in sync", |farm| {
        farm.state_of("a") == "in-sync" && packer.runs("build") == 2
    });
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_build_of_the_old_region_is_settled_there_where_the_records_stay_in_one_place() {
    moved_to_another_region(true);
}

#[test]
fn a_build_of_the_old_region_is_settled_there_where_the_records_move_with_the_workflow() {
    moved_to_another_region(false);
}
