//! `reconciler apply`: builds exactly what differs.

use serde_json::json;

use super::three_steps;

#[test]
fn every_step_is_built_parents_first_and_a_second_apply_writes_nothing() {
    let farm = three_steps();
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    let status = farm.status();
    assert!(
        ["a", "b", "c"]
            .iter()
            .all(|step| status[*step]["state"] == "in-sync"),
        "{status:#?}"
    );
    assert_eq!(farm.made_images(), 3);
    assert_eq!(farm.leftovers(), "");
    farm.forget_calls();
    let again = farm.run(&["apply"]);
    assert_eq!(again.code, 0);
    for write in [
        "ec2.CreateTags",
        "ec2.RunInstances",
        "dynamodb.TransactWriteItems",
        "dynamodb.PutItem",
    ] {
        assert_eq!(farm.calls(write), 0, "{write}");
    }
    let plan = farm.run(&["plan", "--exit-code"]);
    assert_eq!(plan.code, 0, "{plan:#?}");
    assert!(plan.out.contains("Plan: 3 in sync."), "{}", plan.out);
}

#[test]
fn a_change_rebuilds_its_step_and_those_after_it_and_the_old_images_stay() {
    let farm = three_steps();
    farm.commit_and_apply();
    let before = ["a", "b", "c"].map(|step| farm.image(step));
    farm.repo
        .write("packer_workspaces/a/install.sh", "echo 2\n");
    farm.repo.commit("another script");
    let plan = farm.run(&["plan", "--exit-code"]);
    assert_eq!(plan.code, 2);
    assert!(
        plan.out
            .contains("rebuild: file changed: install.sh (+1 \u{2212}1)"),
        "{}",
        plan.out
    );
    assert!(
        plan.out.contains("rebuild: source image will change (a)"),
        "{}",
        plan.out
    );
    let diff = farm.run(&["diff", "a"]);
    assert!(
        diff.out.contains("-echo 1") && diff.out.contains("+echo 2"),
        "{}",
        diff.out
    );
    farm.run(&["apply"]);
    let after = ["a", "b", "c"].map(|step| farm.image(step));
    assert!(
        before[0] != after[0] && before[1] != after[1] && before[2] == after[2],
        "{before:?} {after:?}"
    );
    assert_eq!(farm.made_images(), 5, "the old images are still there");
}

#[test]
fn tags_metadata_and_a_readme_rebuild_nothing() {
    let farm = three_steps();
    farm.commit_and_apply();
    let before = ["a", "b", "c"].map(|step| farm.image(step));
    farm.workflow(&json!({ "aws_tags": { "env": "production" } }));
    farm.repo
        .write("packer_workspaces/a/README.md", "how it works\n");
    farm.repo.write(
        "packer_workspaces/b/step_param.json",
        json!({ "step_id": "b", "previous_step_id": "a", "metadata": { "note": "second" } })
            .to_string(),
    );
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(before, ["a", "b", "c"].map(|step| farm.image(step)));
    assert_eq!(farm.made_images(), 3);
    let resources = farm.emulator.control_get("/_control/resources");
    let tagged = resources["images"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|image| image["tags"]["env"] == "production")
        .count();
    assert_eq!(tagged, 3);
    assert_eq!(farm.state_of("b"), "in-sync");
}

#[test]
fn a_reverted_commit_takes_the_earlier_image_over_without_a_build() {
    let farm = three_steps();
    farm.commit_and_apply();
    let first = farm.image("c");
    farm.repo
        .write("packer_workspaces/c/install.sh", "echo 2\n");
    farm.commit_and_apply();
    assert_ne!(farm.image("c"), first);
    farm.repo
        .write("packer_workspaces/c/install.sh", "echo 1\n");
    let ran = farm.commit_and_apply();
    assert!(ran.out.contains("takes over"), "{ran:#?}");
    assert_eq!(farm.image("c"), first);
    assert_eq!(farm.made_images(), 4);
}

#[test]
fn a_rebuild_that_is_asked_for_makes_a_new_image_of_the_same_inputs() {
    let farm = three_steps();
    farm.commit_and_apply();
    let first = farm.image("c");
    let ran = farm.run(&["apply", "--rebuild", "c"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_ne!(farm.image("c"), first);
    assert!(
        farm.status()["c"]["ami_name"]
            .as_str()
            .unwrap()
            .ends_with("-r1")
    );
    let wrong = farm.run(&["apply", "--rebuild", "cc"]);
    wrong.refuses(&["no step `cc`"]);
}

#[test]
fn a_step_that_fails_by_itself_is_quarantined_and_stops_nobody_else() {
    let farm = three_steps();
    farm.repo.write(
        "packer_workspaces/a/templates/.pkrvars.hcl",
        "image = \"{{ builder.output_ami_name }}\"\nunknown = 1\n",
    );
    let template = "packer_workspaces/a/templates/.pkr.hcl";
    let text = std::fs::read_to_string(farm.repo.path().join(template)).unwrap();
    farm.repo
        .write(template, text.replace("var.image", "var.no_such_variable"));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 1, "{ran:#?}");
    let status = farm.status();
    assert_eq!(status["a"]["state"], "quarantined", "{status:#?}");
    assert_eq!(status["b"]["state"], "blocked");
    assert_eq!(status["c"]["state"], "in-sync");
    farm.forget_calls();
    farm.run(&["apply"]);
    assert_eq!(
        farm.calls("dynamodb.TransactWriteItems"),
        0,
        "the same failure is not repeated"
    );
    let logs = farm.run(&["logs", "a"]);
    assert!(logs.out.contains("no_such_variable"), "{logs:#?}");
    farm.repo.write(template, text);
    farm.repo.write(
        "packer_workspaces/a/templates/.pkrvars.hcl",
        "image = \"{{ builder.output_ami_name }}\"\n",
    );
    let mended = farm.commit_and_apply();
    assert_eq!(mended.code, 0, "{mended:#?}");
    assert_eq!(farm.state_of("b"), "in-sync");
}

#[test]
fn a_step_that_left_git_is_reported_and_its_image_stays() {
    let farm = three_steps();
    farm.commit_and_apply();
    farm.repo.git(&["rm", "-rq", "packer_workspaces/c"]);
    farm.commit_and_apply();
    assert_eq!(farm.state_of("c"), "orphaned");
    assert_eq!(farm.made_images(), 3);
}

#[test]
fn a_remote_repository_is_fetched_first_so_that_what_git_says_now_is_applied() {
    let farm = three_steps();
    let known = std::fs::read_to_string(farm.configuration()).unwrap();
    let path = farm.repo.path().display();
    let remote = known.replace(&format!("path: {path}"), &format!("url: file://{path}"));
    assert_ne!(remote, known);
    std::fs::write(farm.configuration(), remote).unwrap();
    let first = farm.commit_and_apply();
    assert_eq!(first.code, 0, "{first:#?}");
    assert_eq!(farm.made_images(), 3);
    farm.repo
        .write("packer_workspaces/c/install.sh", "echo 2\n");
    let second = farm.commit_and_apply();
    assert_eq!(second.code, 0, "{second:#?}");
    assert_eq!(farm.made_images(), 4, "the new commit is built");
}
