//! `reconciler images`: the three queries of the Python library.

use serde_json::{Value, json};

use crate::harness::farm::Farm;

/// The ids of the images that are listed, in the order of the list.
fn listed(farm: &Farm, arguments: &[&str]) -> Vec<String> {
    let output = farm.run(&[&["images", "--output", "json"], arguments].concat());
    assert_eq!(output.code, 0, "{output:#?}");
    let list: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(list["schema"], "reconciler.images/1");
    let images = list["images"].as_array().unwrap().iter();
    images.map(|image| image["ami_id"].as_str().unwrap().to_owned()).collect()
}

/// Two runs of one workflow, of which git has the second, and an image of each step of both.
fn two_runs() -> (Farm, [String; 3], [String; 3]) {
    let farm = Farm::of_three_steps();
    farm.workflow(&json!({ "workflow_id": "wf-1" }));
    assert_eq!(farm.commit_and_apply().code, 0);
    let first = ["a", "b", "c"].map(|step| farm.image(step));
    farm.workflow(&json!({ "workflow_id": "wf-2" }));
    assert_eq!(farm.commit_and_apply().code, 0);
    let second = ["a", "b", "c"].map(|step| farm.image(step));
    (farm, first, second)
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[test]
fn images_are_listed_by_workflow_by_step_and_by_family_whether_git_has_them_or_not() {
    let (farm, first, second) = two_runs();
    let [first, second] = [first.to_vec(), second.to_vec()];
    let all = [first.clone(), second.clone()].concat();
    assert_eq!(sorted(listed(&farm, &[])), sorted(second.clone()));
    assert_eq!(sorted(listed(&farm, &["--workflow", "wf-1"])), sorted(first.clone()));
    assert_eq!(listed(&farm, &["--workflow", "wf-1", "--step", "b"]), [first[1].clone()]);
    assert_eq!(listed(&farm, &["--step", "b"]), [second[1].clone()]);
    let newest_first = [second[1].clone(), first[1].clone()];
    assert_eq!(listed(&farm, &["--all", "--step", "b"]), newest_first);
    assert_eq!(sorted(listed(&farm, &["--all"])), sorted(all.clone()));
    farm.run(&["images", "--family"]).refuses(&["workflow wf-2 has no family", "\"family\""]);
    farm.repo.write("packer_workspaces/reconciler.json", r#"{"family": "wf-*"}"#);
    farm.repo.commit("its runs");
    assert_eq!(sorted(listed(&farm, &["--family"])), sorted(all));
    farm.repo.write("packer_workspaces/reconciler.json", r#"{"family": "wf-2*"}"#);
    farm.repo.commit("this run only");
    assert_eq!(sorted(listed(&farm, &["--family"])), sorted(second));
}

#[test]
fn the_list_reads_as_a_table_and_what_is_named_and_not_there_is_an_error() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("nothing is built");
    let nothing = farm.run(&["images"]);
    assert!(nothing.out.starts_with("No image is recorded. Looked in "), "{nothing:#?}");
    farm.applies();
    insta::assert_snapshot!(farm.run(&["images", "--step", "b"]).printed(0), @"wf-1  b  ami-[id]  [duration] ago  base/wf-1/b/[fingerprint] on ami-[id]");
    insta::assert_snapshot!(farm.run(&["images", "--workflow", "wf-9"]).refusal(), @"
    error: no image of workflow `wf-9` is recorded in DynamoDB table images in us-east-1
     |
     = help: `reconciler images --all` shows those of every workflow
    ");
    insta::assert_snapshot!(farm.run(&["images", "--step", "d"]).refusal(), @"
    error: no image of step `d` is recorded in DynamoDB table images in us-east-1
     |
     = help: `reconciler images --all` shows those of every workflow
    ");
}
