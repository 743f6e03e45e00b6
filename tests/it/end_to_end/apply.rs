//! `reconciler apply`: builds exactly what differs.

use serde_json::{Value, json};

use crate::harness::farm::{Farm, in_runtime};

#[test]
fn every_step_is_built_parents_first_and_a_second_apply_writes_nothing() {
    let farm = Farm::of_three_steps();
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    let status = farm.status();
    assert!(["a", "b", "c"].iter().all(|step| status[*step]["state"] == "in-sync"), "{status:#?}");
    assert_eq!(farm.made_images(), 3);
    assert_eq!(farm.leftovers(), "");
    farm.forget_calls();
    let again = farm.run(&["apply"]);
    assert_eq!(again.code, 0);
    for write in
        ["ec2.CreateTags", "ec2.RunInstances", "dynamodb.TransactWriteItems", "dynamodb.PutItem"]
    {
        assert_eq!(farm.calls(write), 0, "{write}");
    }
    let plan = farm.run(&["plan", "--exit-code"]);
    assert_eq!(plan.code, 0, "{plan:#?}");
    assert!(plan.out.contains("Plan: 3 in sync."), "{}", plan.out);
}

#[test]
fn a_change_rebuilds_its_step_and_those_after_it_and_the_old_images_stay() {
    let farm = Farm::of_three_steps();
    farm.commit_and_apply();
    let before = ["a", "b", "c"].map(|step| farm.image(step));
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    let plan = farm.run(&["plan", "--exit-code"]);
    assert_eq!(plan.code, 2);
    assert!(plan.out.contains("rebuild: file changed: install.sh (+1 \u{2212}1)"), "{}", plan.out);
    assert!(plan.out.contains("rebuild: source image will change (a)"), "{}", plan.out);
    let diff = farm.run(&["diff", "a"]);
    assert!(diff.out.contains("-echo 1") && diff.out.contains("+echo 2"), "{}", diff.out);
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
    let farm = Farm::of_three_steps();
    farm.commit_and_apply();
    let before = ["a", "b", "c"].map(|step| farm.image(step));
    farm.workflow(&json!({ "aws_tags": { "env": "production" } }));
    farm.repo.write("packer_workspaces/a/README.md", "how it works\n");
    farm.step_params("b", Some("a"), &json!({ "metadata": { "note": "second" } }));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(before, ["a", "b", "c"].map(|step| farm.image(step)));
    assert_eq!(farm.made_images(), 3);
    let images = farm.images();
    let tagged = images.iter().filter(|image| image["tags"]["env"] == "production");
    assert_eq!(tagged.count(), 3);
    assert_eq!(farm.state_of("b"), "in-sync");
}

/// Two versions of `a`, both built, and the first wanted again.
fn reverted() -> (Farm, [String; 2]) {
    let farm = Farm::of_three_steps();
    assert_eq!(farm.commit_and_apply().code, 0);
    let first = ["a", "b"].map(|step| farm.image(step));
    farm.script("a", "echo 2\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    assert!(farm.image("a") != first[0] && farm.image("b") != first[1]);
    assert_eq!(farm.made_images(), 5);
    farm.repo.git(&["revert", "--no-edit", "HEAD"]);
    (farm, first)
}

/// The steps of a plan, by id.
fn planned(farm: &Farm) -> serde_json::Map<String, Value> {
    let ran = farm.run(&["plan", "--output", "json"]);
    let plan: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
    let steps = plan["plans"][0]["steps"].as_array().unwrap().clone();
    let by_id = steps.into_iter().map(|step| (step["step_id"].as_str().unwrap().to_owned(), step));
    by_id.collect()
}

#[test]
fn a_reverted_commit_takes_the_earlier_images_over_as_the_plan_says() {
    let (farm, first) = reverted();
    let said = farm.run(&["plan"]).out;
    for image in &first {
        let line = format!("take over {image} of an earlier build: ");
        assert!(said.contains(&line), "{said}");
    }
    assert!(said.contains("Plan: 2 to take over, 1 in sync."), "{said}");
    assert_eq!(farm.state_of("a"), "take-over");
    let plan = planned(&farm);
    farm.forget_calls();
    let ran = farm.applies();
    assert!(ran.out.contains("takes over"), "{ran:#?}");
    assert_eq!(farm.calls("ec2.RunInstances"), 0);
    for (step, image) in ["a", "b"].into_iter().zip(&first) {
        assert_eq!(plan[step]["takes_over"]["ami_id"], json!(image));
        assert_eq!(farm.image(step), *image, "what is printed is executed");
    }
    assert_eq!(farm.made_images(), 5);
    // Where nothing is to be built, nobody is asked for a name.
    farm.forget_calls();
    assert_eq!(farm.run(&["plan", "--exit-code"]).code, 0);
    assert_eq!(farm.calls("ec2.DescribeImages"), 1);
}

#[test]
fn what_a_plan_prints_is_what_is_built_taken_over_and_left() {
    let (farm, first) = reverted();
    farm.deregister(&first[1]);
    farm.script("c", "echo 3\n");
    farm.repo.commit("c is another");
    let plan = planned(&farm);
    assert_eq!(plan["a"]["takes_over"]["ami_id"], json!(first[0]));
    assert_eq!(plan["b"]["source_ami"], json!(first[0]), "its source is known already");
    let names = ["b", "c"].map(|step| plan[step]["next_ami_name"].clone());
    farm.applies();
    let status = farm.status();
    assert_eq!(status["a"]["ami_id"], json!(first[0]));
    for (step, name) in ["b", "c"].into_iter().zip(names) {
        assert_eq!(status[step]["ami_name"], name);
    }
}

#[test]
fn an_image_that_was_disabled_is_named_and_taken_over_once_it_is_enabled() {
    let (farm, first) = reverted();
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.disable_image().image_id(&first[0]).send().await.unwrap();
    });
    let hint = format!("its image {} of an earlier build is disabled: enable it at EC2", first[0]);
    let said = farm.run(&["plan"]).out;
    assert!(said.contains(&hint) && said.contains("apply --rebuild a"), "{said}");
    assert!(!said.contains('"'), "no form of a programming language: {said}");
    assert!(said.contains("blocked: a cannot have the name of its image"), "{said}");
    assert_eq!(farm.run(&["apply"]).code, 1, "it is in nobody's plan that a name is taken");
    assert_eq!(farm.made_images(), 5);
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.enable_image().image_id(&first[0]).send().await.unwrap();
    });
    farm.applies();
    assert_eq!(["a", "b"].map(|step| farm.image(step)), first);
}

#[test]
fn a_rebuild_instead_of_a_disabled_image_gets_a_name_that_is_free() {
    let (farm, first) = reverted();
    let next = farm.status()["a"]["ami_name"].clone();
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.disable_image().image_id(&first[0]).send().await.unwrap();
    });
    let taken = planned(&farm)["a"]["taken_by"]["ami_name"].as_str().unwrap().to_owned();
    assert_ne!(json!(taken), next);
    // The next name is taken as well, by nobody knows whom, and EC2 does not show it either by
    // itself.
    let other = json!({ "name": format!("{taken}-r1"), "state": "disabled" });
    farm.region.make_image(&other);
    let ran = farm.run(&["apply", "--rebuild", "a"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(farm.status()["a"]["ami_name"], json!(format!("{taken}-r2")));
    assert_eq!(farm.state_of("b"), "in-sync", "on the new image");
}

#[test]
fn an_image_of_the_same_fingerprint_is_taken_over_whoever_recorded_it() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("as it is");
    let plan = planned(&farm);
    let image = json!({ "name": plan["a"]["next_ami_name"], "tags": { "reconciler:fingerprint": plan["a"]["desired_fingerprint"] } });
    let made = farm.region.make_image(&image);
    assert_eq!(planned(&farm)["a"]["takes_over"]["ami_id"], json!(made));
    farm.applies();
    assert_eq!(farm.image("a"), made);
    assert_eq!(farm.made_images(), 3);
}

#[test]
fn a_rebuild_that_is_asked_for_makes_a_new_image_of_the_same_inputs() {
    let farm = Farm::of_three_steps();
    farm.commit_and_apply();
    let first = farm.image("c");
    let ran = farm.run(&["apply", "--rebuild", "c"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_ne!(farm.image("c"), first);
    assert!(farm.status()["c"]["ami_name"].as_str().unwrap().ends_with("-r1"));
    let wrong = farm.run(&["apply", "--rebuild", "cc"]);
    wrong.refuses(&["no step `cc`"]);
}

#[test]
fn a_step_that_fails_by_itself_is_quarantined_and_stops_nobody_else() {
    let farm = Farm::of_three_steps();
    farm.repo.write(
        "packer_workspaces/a/templates/.pkrvars.hcl",
        "image = \"{{ builder.output_ami_name }}\"\nunknown = 1\n",
    );
    farm.template("a", |text| text.replace("var.image", "var.no_such_variable"));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 1, "{ran:#?}");
    let status = farm.status();
    assert_eq!(status["a"]["state"], "quarantined", "{status:#?}");
    assert_eq!(status["b"]["state"], "blocked");
    assert_eq!(status["c"]["state"], "in-sync");
    farm.forget_calls();
    farm.run(&["apply"]);
    assert_eq!(farm.calls("dynamodb.TransactWriteItems"), 0, "the same failure is not repeated");
    let logs = farm.run(&["logs", "a"]);
    assert!(logs.out.contains("no_such_variable"), "{logs:#?}");
    farm.step("a", None);
    let mended = farm.commit_and_apply();
    assert_eq!(mended.code, 0, "{mended:#?}");
    assert_eq!(farm.state_of("b"), "in-sync");
}

#[test]
fn a_step_that_left_git_is_reported_and_its_image_stays() {
    let farm = Farm::of_three_steps();
    farm.commit_and_apply();
    farm.repo.git(&["rm", "-rq", "packer_workspaces/c"]);
    farm.commit_and_apply();
    assert_eq!(farm.state_of("c"), "orphaned");
    assert_eq!(farm.made_images(), 3);
}

#[test]
fn a_remote_repository_is_fetched_first_so_that_what_git_says_now_is_applied() {
    let farm = Farm::of_three_steps();
    farm.follow_url(&format!("file://{}", farm.repo.path().display()), &[]);
    let first = farm.commit_and_apply();
    assert_eq!(first.code, 0, "{first:#?}");
    assert_eq!(farm.made_images(), 3);
    farm.script("c", "echo 2\n");
    let second = farm.commit_and_apply();
    assert_eq!(second.code, 0, "{second:#?}");
    assert_eq!(farm.made_images(), 4, "the new commit is built");
}
