//! `reconciler apply`: builds exactly what differs.

use reconciler_model::ids::AmiId;
use serde_json::json;

use crate::harness::farm::{Farm, Planned, in_runtime};
use crate::harness::readable::timeless;

#[test]
fn every_step_is_built_parents_first_and_a_second_apply_writes_nothing() {
    let farm = Farm::of_three_steps();
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(farm.states(), ["in-sync", "in-sync", "in-sync"]);
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
    insta::assert_snapshot!(farm.run(&["plan", "--exit-code"]).printed(0), @"
    wf-1  main@[commit]
      = a  ami-[id]  in sync
      =  b  ami-[id]  in sync
      = c  ami-[id]  in sync
    Plan: 3 in sync.
    ");
}

#[test]
fn a_change_rebuilds_its_step_and_those_after_it_and_the_old_images_stay() {
    let farm = Farm::of_three_steps();
    farm.commit_and_apply();
    let before = ["a", "b", "c"].map(|step| farm.image(step));
    farm.script("a", "echo 2\n");
    farm.repo.commit("another script");
    insta::assert_snapshot!(farm.run(&["plan", "--exit-code"]).printed(2), @"
    wf-1  main@[commit]
      ~ a  ami-[id]  rebuild: file changed: install.sh (+1 −1)
      ~  b  ami-[id]  rebuild: source image will change (a)
      = c  ami-[id]  in sync
    Plan: 2 to build, 1 in sync. In sync in about [duration].
    ");
    insta::assert_snapshot!(farm.run(&["diff", "a"]).printed(0), @"
    a: rebuild: file changed: install.sh
    --- a/install.sh
    +++ b/install.sh
    @@ -1 +1 @@
    -echo 1
    +echo 2
    ");
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

/// The image that a plan takes over for a step.
#[track_caller]
fn taken_over(plan: &Planned, step: &str) -> String {
    plan[step].takes_over.as_ref().unwrap().ami_id.to_string()
}

#[test]
fn a_reverted_commit_takes_the_earlier_images_over_as_the_plan_says() {
    let (farm, first) = reverted();
    let said = farm.run(&["plan"]).out;
    for image in &first {
        let line = format!("take over {image} of an earlier build: ");
        assert!(said.contains(&line), "{said}");
    }
    insta::assert_snapshot!(timeless(&said), @"
    wf-1  main@[commit]
      < a  ami-[id]  take over ami-[id] of an earlier build: file changed: install.sh (+1 −1)
      <  b  ami-[id]  take over ami-[id] of an earlier build: source image changed: ami-[id] -> ami-[id], rendered file changed: b.pkr.hcl
      = c  ami-[id]  in sync
    Plan: 2 to take over, 1 in sync.
    ");
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  no reconciler runs
      a  take-over  ami-[id]  [duration]  take over ami-[id] of an earlier build: file changed: install.sh
        b  take-over  ami-[id]  [duration]  take over ami-[id] of an earlier build: source image changed: ami-[id] -> ami-[id], rendered file changed: b.pkr.hcl
      c  in-sync  ami-[id]  [duration]
    2 to take over, 1 in sync
    ");
    assert_eq!(farm.state_of("a"), "take-over");
    let plan = farm.plan(&[]);
    farm.forget_calls();
    let ran = farm.applies();
    insta::assert_snapshot!(ran.printed(0), @"
    wf-1  main@[commit]
      < a  ami-[id]  take over ami-[id] of an earlier build: file changed: install.sh
      <  b  ami-[id]  take over ami-[id] of an earlier build: source image changed: ami-[id] -> ami-[id], rendered file changed: b.pkr.hcl
      = c  ami-[id]  in sync
    Plan: 2 to take over, 1 in sync.
    [1/2] a takes over ami-[id] base/wf-1/a/[fingerprint] of an earlier build
    [2/2] b takes over ami-[id] base/wf-1/b/[fingerprint] of an earlier build
    Applied: 2 images recorded in [duration].
    ");
    assert_eq!(farm.calls("ec2.RunInstances"), 0);
    for (step, image) in ["a", "b"].into_iter().zip(&first) {
        assert_eq!(taken_over(&plan, step), *image);
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
    let plan = farm.plan(&[]);
    assert_eq!(taken_over(&plan, "a"), first[0]);
    assert_eq!(plan["b"].source_ami, Some(AmiId::new(&first[0])), "its source is known already");
    let names = ["b", "c"].map(|step| plan[step].next_ami_name.clone());
    farm.applies();
    let status = farm.status();
    assert_eq!(status["a"].ami_id, Some(AmiId::new(&first[0])));
    for (step, name) in ["b", "c"].into_iter().zip(names) {
        assert_eq!(status[step].ami_name, name);
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
    insta::assert_snapshot!(timeless(&said), @"
    wf-1  main@[commit]
      ! a  ami-[id]  its image ami-[id] of an earlier build is disabled: enable it at EC2 (`aws ec2 enable-image --image-id ami-[id]`), or build another with `reconciler apply --rebuild a`
      .  b  ami-[id]  blocked: a is stopped: its image is disabled
      = c  ami-[id]  in sync
    Plan: 1 blocked, 1 stopped, 1 in sync.
    ");
    assert_eq!(farm.run(&["apply"]).code, 3, "a person's part, and nothing went wrong");
    assert_eq!(farm.made_images(), 5);
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.enable_image().image_id(&first[0]).send().await.unwrap();
    });
    farm.applies();
    assert_eq!(["a", "b"].map(|step| farm.image(step)), first);
}

#[test]
fn a_current_image_that_was_disabled_is_not_rebuilt_and_holds_up_what_stands_on_it() {
    let farm = Farm::of_three_steps();
    assert_eq!(farm.commit_and_apply().code, 0);
    let image = farm.image("a");
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.disable_image().image_id(&image).send().await.unwrap();
    });
    insta::assert_snapshot!(farm.run(&["plan", "--exit-code"]).printed(2), @"
    wf-1  main@[commit]
      ! a  ami-[id]  its image ami-[id] is disabled: enable it at EC2 (`aws ec2 enable-image --image-id ami-[id]`), or build another with `reconciler apply --rebuild a`
      .  b  ami-[id]  blocked: a is stopped: its image is disabled
      = c  ami-[id]  in sync
    Plan: 1 blocked, 1 stopped, 1 in sync.
    ");
    assert_eq!(farm.run(&["apply"]).code, 3);
    assert_eq!(farm.made_images(), 3, "nothing is built");
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.enable_image().image_id(&image).send().await.unwrap();
    });
    assert_eq!(farm.states(), ["in-sync", "in-sync", "in-sync"]);
}

#[test]
fn a_rebuild_instead_of_a_disabled_image_gets_a_name_that_is_free() {
    let (farm, first) = reverted();
    let next = farm.image_name("a");
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.disable_image().image_id(&first[0]).send().await.unwrap();
    });
    let taken = farm.plan(&[])["a"].stopped.as_ref().unwrap().ami_name.to_string();
    assert_ne!(taken, next);
    // The next name is taken as well, by nobody knows whom, and EC2 does not show it either by
    // itself.
    let other = json!({ "name": format!("{taken}-r1"), "state": "disabled" });
    farm.region.make_image(&other);
    let ran = farm.run(&["apply", "--rebuild", "a"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(farm.image_name("a"), format!("{taken}-r2"));
    assert_eq!(farm.state_of("b"), "in-sync", "on the new image");
}

#[test]
fn an_image_of_the_same_fingerprint_is_taken_over_whoever_recorded_it() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("as it is");
    let plan = farm.plan(&[]);
    let image = json!({ "name": plan["a"].next_ami_name, "tags": { "reconciler:fingerprint": plan["a"].desired_fingerprint } });
    let made = farm.region.make_image(&image);
    assert_eq!(taken_over(&farm.plan(&[]), "a"), made);
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
    assert!(farm.image_name("c").ends_with("-r1"));
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
    assert_eq!(farm.states(), ["quarantined", "blocked", "in-sync"]);
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
    insta::assert_snapshot!(farm.run(&["status"]).printed(0), @"
    wf-1  main@[commit]  no reconciler runs
      a  in-sync  ami-[id]  [duration]
        b  in-sync  ami-[id]  [duration]
      c  orphaned  ami-[id]  -  recorded, but not in git; `reconciler forget c` removes the record
    1 orphaned, 2 in sync
    ");
    insta::assert_snapshot!(farm.run(&["plan"]).printed(0), @"
    wf-1  main@[commit]
      = a  ami-[id]  in sync
      =  b  ami-[id]  in sync
      - c  ami-[id]  orphaned: recorded, but not in git; `reconciler forget c` removes the record
    Plan: 1 orphaned, 2 in sync.
    ");
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
