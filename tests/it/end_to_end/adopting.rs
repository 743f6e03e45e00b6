//! `reconciler adopt` of images that have no record: one that somebody made, and those of an
//! earlier run.

use reconciler_model::ids::StepId;
use reconciler_model::inventory::request::{ImageToAdopt, Outcome, Wish};
use serde_json::{Value, json};

use crate::harness::by_hand::{image_of, started, stop};
use crate::harness::fake_packer::{FakePacker, WHOLE};
use crate::harness::farm::{BASE, Farm};
use crate::harness::python_library::images;

const BY_HAND: &str = "ami-0aaaaaaaaaaaaaaaa";

/// A built step `a`, and after it `hand`, which a person makes, and `b`.
fn with_a_manual_step() -> (Farm, FakePacker) {
    let packer = FakePacker::new(&format!("[build]\n{WHOLE}"));
    let farm = Farm::with_packer(packer.binary());
    farm.configure("interval: 1h\nlease_duration: 3s\n");
    farm.step("a", None).step("b", Some("hand"));
    farm.step_params("hand", Some("a"), &json!({ "metadata": { "note": "first" } }));
    farm.repo.write("packer_workspaces/hand/README.md", "Install it by hand.\n");
    farm.commit_and_apply();
    assert_eq!(farm.state_of("hand"), "awaiting-manual");
    (farm, packer)
}

/// An image of an instance that was started from this one; EC2 tells that it was.
fn made_from(farm: &Farm, source: &str, name: &str) -> String {
    let instance = started(farm, source);
    stop(farm, &instance);
    image_of(farm, &instance, name)
}

fn tags_of(farm: &Farm, image: &str) -> Value {
    let all = farm.images();
    let one = all.iter().find(|one| one["id"] == image);
    one.unwrap_or_else(|| panic!("{image} is there"))["tags"].clone()
}

#[test]
fn an_image_without_a_record_becomes_that_of_its_step_and_what_follows_is_built_on_it() {
    let (farm, packer) = with_a_manual_step();
    let image = made_from(&farm, &farm.image("a"), "hand by hand");
    let adopt = ["adopt", "hand", "--image", &image];
    let dry = farm.run(&[&adopt[..], &["--dry-run"]].concat());
    insta::assert_snapshot!(dry.printed(0), @"
    = hand  ami-[id] would be adopted
    1 would be adopted, 0 refused
    ");
    assert!(farm.stages("hand").is_empty(), "a dry run changes nothing");
    assert!(farm.run(&adopt).printed(0).contains("1 adopted, 0 refused"));
    assert_eq!((farm.state_of("hand"), farm.image("hand")), ("in-sync".into(), image.clone()));
    assert_eq!(farm.stages("hand"), ["adopted"]);
    let tags = tags_of(&farm, &image);
    assert_eq!(tags["reconciler:step-id"], "hand", "{tags}");
    assert_eq!(tags["packer:base_ami_id"], farm.image("a").as_str());
    insta::assert_snapshot!(farm.run(&["history", "hand"]).printed(0), @"
    wf-1

      hand  recorded  ami-[id]  [duration] ago
        build [build]  commit [commit]  on [host]
        image hand by hand from ami-[id]
        [time] UTC  ami-[id] adopted by uid [number]@[host]
    ");
    farm.applies();
    assert_eq!(packer.runs("build"), 2, "what follows it");
    // The library reads all of it, and what it reads is whole.
    let catalog = farm.read_by_python("wf-1", "hand");
    assert_eq!(images(&catalog, "by_step"), [image.as_str()]);
    assert_eq!(images(&catalog, "by_workflow").len(), 3);
    let read = &catalog["image"];
    assert_eq!(read["ami_name"], "hand by hand");
    assert_eq!(read["base_ami_id"], farm.image("a").as_str());
    assert_eq!(read["root_base_ami_id"], BASE);
    assert_eq!(read["metadata"], json!({ "note": "first" }));
    assert_eq!(read["details"]["data"]["ImageId"], image.as_str());
    insta::assert_snapshot!(farm.run(&adopt).refusal(), @"error: hand: ami-[id] is its recorded image already, and is what git says");
}

#[test]
fn what_ec2_does_not_tell_and_what_would_be_replaced_a_person_has_to_say() {
    let (farm, _packer) = with_a_manual_step();
    farm.region.make_image(&json!({ "name": "of nobody's making", "id": BY_HAND }));
    insta::assert_snapshot!(farm.run(&["adopt", "hand", "--image", BY_HAND]).refusal(), @"
    error: hand: EC2 does not tell which image ami-0aaaaaaaaaaaaaaaa was made from, and git asks for one on ami-[id] (base/wf-1/a/[fingerprint])
     |
     = help: with `--yes` ami-0aaaaaaaaaaaaaaaa becomes the image of hand all the same
    ");
    assert_eq!(farm.state_of("hand"), "awaiting-manual");
    assert_eq!(tags_of(&farm, BY_HAND), json!({}), "nothing is changed");
    farm.run(&["adopt", "hand", "--image", BY_HAND, "--yes"]).printed(0);
    assert_eq!(farm.state_of("hand"), "in-sync");
    let another = made_from(&farm, &farm.image("a"), "another");
    insta::assert_snapshot!(farm.run(&["adopt", "hand", "--image", &another]).refusal(), @"
    error: hand: ami-0aaaaaaaaaaaaaaaa would be replaced, which is its recorded image and is there
     |
     = help: with `--yes` ami-[id] becomes the image of hand all the same
    ");
    assert_eq!(farm.image("hand"), BY_HAND);
    farm.run(&["adopt", "hand", "--image", &another, "--yes"]).printed(0);
    assert_eq!(farm.image("hand"), another);
    assert_eq!(tags_of(&farm, BY_HAND)["reconciler:step-id"], "hand", "the old image stays");
    // One that is gone is replaced without a word, and the tags tell by now what EC2 does not.
    farm.deregister(&another);
    farm.run(&["adopt", "hand", "--image", BY_HAND]).printed(0);
    assert_eq!(farm.image("hand"), BY_HAND);
}

#[test]
fn an_image_that_cannot_be_the_steps_is_refused_and_nothing_is_changed() {
    let (farm, _packer) = with_a_manual_step();
    let make = |id: &str, more: Value| {
        let mut image = json!({ "name": format!("image {id}"), "id": id });
        image.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        farm.region.make_image(&image)
    };
    make("ami-0bbbbbbbbbbbbbbb1", json!({ "owner": "210987654321" }));
    make("ami-0bbbbbbbbbbbbbbb2", json!({ "state": "pending" }));
    make("ami-0bbbbbbbbbbbbbbb3", json!({ "state": "disabled" }));
    make("ami-0bbbbbbbbbbbbbbb4", json!({ "tags": { "packer:base_ami_id": BASE } }));
    make("ami-0bbbbbbbbbbbbbbb5", json!({ "region": "eu-west-1" }));
    let on_base = made_from(&farm, BASE, "on the base image");
    let of_a = farm.image("a");
    for (image, words) in [
        ("ami-0bbbbbbbbbbbbbbb1", "is of another account, 210987654321"),
        ("ami-0bbbbbbbbbbbbbbb2", "is not available: pending"),
        ("ami-0bbbbbbbbbbbbbbb3", "is disabled"),
        ("ami-0bbbbbbbbbbbbbbb4", "was built on ami-0123456789abcdef0, but git asks for one on"),
        ("ami-0bbbbbbbbbbbbbbb5", "is gone from EC2"),
        ("ami-0cccccccccccccccc", "this account has no image ami-0cccccccccccccccc in us-east-1"),
        (on_base.as_str(), "was built on ami-0123456789abcdef0, but git asks for one on"),
        (of_a.as_str(), "is recorded for step a of workflow wf-1"),
    ] {
        for more in [&[][..], &["--yes"]] {
            let refused = farm.run(&[&["adopt", "hand", "--image", image], more].concat());
            assert_eq!(refused.code, 1, "{refused:#?}");
            assert!(
                refused.err.contains(words),
                "{words:?} is why {image} is refused: {refused:#?}"
            );
        }
    }
    farm.run(&["adopt", "--image", BY_HAND]).refuses(&["`--image` is for one step"]);
    farm.run(&["adopt", "hand", "a", "--image", BY_HAND]).refuses(&["`--image` is for one step"]);
    farm.run(&["adopt", "nowhere", "--image", BY_HAND]).refuses(&["there is no step `nowhere`"]);
    farm.run(&["adopt", "hand", "--image", "mine"]).refuses(&["mine"]);
    farm.region.make_image(&json!({ "name": "for b", "id": BY_HAND }));
    let early = farm.run(&["adopt", "b", "--image", BY_HAND]);
    assert!(early.err.contains("its parent hand has no image yet"), "{early:#?}");
    assert!(farm.requests().is_empty(), "nothing is asked");
    assert!(farm.stages("hand").is_empty());
}

/// Whatever stands in the table of requests, the holder looks itself.
#[test]
fn a_daemon_adopts_for_whoever_asks_and_refuses_what_cannot_be() {
    let (farm, _packer) = with_a_manual_step();
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let foreign = farm.region.make_image(&json!({ "name": "foreign", "owner": "210987654321" }));
    let refused = |image: &str, replaces: Option<&str>, from: Option<&str>, words: &str| {
        let id = farm.ask(Wish::AdoptImage(ImageToAdopt {
            step: StepId::new("hand"),
            image: image.into(),
            replaces: replaces.map(Into::into),
            from: from.map(Into::into),
            sure: true,
        }));
        farm.wait_until("it is answered", |farm| {
            farm.requests().iter().any(|one| one.id == id && one.answer.is_some())
        });
        let standing = farm.requests().into_iter().find(|one| one.id == id).unwrap();
        let Outcome::Refused { why, .. } = standing.answer.unwrap().outcome else {
            panic!("it is refused")
        };
        assert!(why.contains(words), "{words:?} is why: {why}");
    };
    let image = made_from(&farm, &farm.image("a"), "by hand");
    refused(&foreign, None, None, "is of another account");
    refused(&image, Some("ami-1"), None, "the record names no image by now");
    refused(&image, None, Some("wf-0"), "workflow wf-1 has no family");
    assert_eq!(farm.state_of("hand"), "awaiting-manual");
    let adopted = farm.run(&["adopt", "hand", "--image", &image, "--why", "it took a person"]);
    assert!(adopted.printed(0).contains("1 adopted, 0 refused"), "{adopted:#?}");
    farm.wait_for_state("b", "in-sync");
    assert_eq!(farm.stages("hand"), ["adopted"]);
}

/// A run `wf-0` of three built steps.
fn earlier_run() -> (Farm, FakePacker, [String; 3]) {
    let packer = FakePacker::new(&format!("[build]\n{WHOLE}"));
    let farm = Farm::with_packer(packer.binary());
    farm.configure("interval: 1h\nlease_duration: 3s\n");
    farm.workflow(&json!({ "workflow_id": "wf-0" })).three_steps();
    assert_eq!(farm.commit_and_apply().code, 0);
    let made = ["a", "b", "c"].map(|step| farm.image(step));
    (farm, packer, made)
}

/// Git has a run `wf-1` of the same family in its place.
fn begin_another_run(farm: &Farm) {
    farm.workflow(&json!({}));
    farm.repo.write("packer_workspaces/reconciler.json", r#"{"family": "wf-*"}"#);
    farm.repo.commit("another run");
}

fn after_an_earlier_run() -> (Farm, FakePacker, [String; 3]) {
    let earlier = earlier_run();
    begin_another_run(&earlier.0);
    earlier
}

#[test]
fn an_earlier_run_becomes_the_start_of_this_one_and_keeps_its_tags() {
    let (farm, packer, made) = after_an_earlier_run();
    // What git has changed since is not what that run made.
    farm.script("c", "echo 2\n").repo.commit("c is another");
    let dry = farm.run(&["adopt", "--from", "wf-0", "--dry-run"]);
    insta::assert_snapshot!(dry.printed(1), @"
    = a  ami-[id] would be adopted
    = b  ami-[id] would be adopted
    2 would be adopted, 1 refused
    ");
    assert!(dry.err.contains("git has changed since wf-0 made it"), "{dry:#?}");
    assert!(farm.requests().is_empty());
    let adopted = farm.run(&["adopt", "--from", "wf-0"]);
    assert!(adopted.printed(1).contains("2 adopted, 1 refused"), "{adopted:#?}");
    insta::assert_snapshot!(crate::harness::readable::readable(&adopted.err), @"
    error: c: git has changed since wf-0 made it: file changed: install.sh
     |
     = help: with `--yes` ami-[id] becomes the image of c all the same
    ");
    let meant = farm.run(&["adopt", "c", "--from", "wf-0", "--yes"]);
    assert!(meant.printed(0).contains("1 adopted, 0 refused"), "{meant:#?}");
    assert_eq!(["a", "b", "c"].map(|step| farm.image(step)), made);
    assert_eq!(farm.states(), ["in-sync"; 3]);
    assert_eq!(farm.stages("b"), ["adopted"]);
    // Nothing is left to do, and nobody fights over tags, not even where metadata changes.
    farm.forget_calls();
    farm.step_params("a", None, &json!({ "metadata": { "note": "second" } }));
    assert_eq!(farm.commit_and_apply().code, 0);
    assert_eq!(farm.states(), ["in-sync"; 3]);
    assert_eq!((farm.calls("ec2.CreateTags"), packer.runs("build")), (0, 3));
    for (image, step) in made.iter().zip(["a", "b", "c"]) {
        let tags = tags_of(&farm, image);
        assert_eq!(tags["reconciler:workflow-id"], "wf-0", "{step}: {tags}");
    }
    // The library finds each image as one of both runs.
    let catalog = farm.read_by_python("wf-1", "a");
    assert_eq!(images(&catalog, "by_step"), [&made[0]; 2]);
    assert_eq!(images(&catalog, "by_workflow").len(), 3);
    assert_eq!(catalog["image"]["metadata"], json!({ "note": "second" }));
    assert_eq!(images(&farm.read_by_python("wf-0", "b"), "by_workflow").len(), 3);
    // Again is nothing.
    let again = farm.run(&["adopt", "--from", "wf-0"]);
    insta::assert_snapshot!(again.printed(0), @"0 adopted, 0 refused");
    // What is built from here on is this run's.
    farm.script("b", "echo 2\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    assert_eq!(tags_of(&farm, &farm.image("b"))["reconciler:workflow-id"], "wf-1");
    assert_ne!(farm.image("b"), made[1]);
}

/// What the library made nobody can compare: a person vouches. The daemon builds nothing of the new
/// run, for it was adopted before the daemon's branch had it.
#[test]
fn an_earlier_run_of_the_python_library_is_taken_over_before_the_daemon_sees_the_new_one() {
    let (farm, packer, made) = earlier_run();
    let records = farm.read_by_python("wf-0", "a")["by_workflow"].clone();
    farm.save_by_python(&records);
    farm.repo.git(&["checkout", "-qb", "next"]);
    begin_another_run(&farm);
    farm.repo.git(&["checkout", "-q", "main"]);
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let adopted = farm.run(&["adopt", "--from", "wf-0", "--rev", "next"]);
    assert!(adopted.printed(0).contains("3 adopted, 0 refused"), "{adopted:#?}");
    assert_eq!(farm.states(), ["unverified", "blocked", "unverified"], "of the earlier run");
    farm.repo.git(&["merge", "-q", "next"]);
    farm.wait_until("the daemon has the new run", |farm| {
        let status = farm.status();
        status.workflow_id.as_str() == "wf-1" && status.held_by.is_some()
    });
    assert_eq!(farm.states(), ["in-sync"; 3]);
    assert_eq!(["a", "b", "c"].map(|step| farm.image(step)), made);
    assert_eq!(packer.runs("build"), 3);
    let library = farm.read_by_python("wf-1", "b");
    assert_eq!((images(&library, "by_step").len(), images(&library, "by_workflow").len()), (2, 3));
}

#[test]
fn what_is_no_earlier_run_or_does_not_fit_is_refused() {
    let (farm, packer, made) = after_an_earlier_run();
    let refusal = |run: &str| farm.run(&["adopt", "--from", run]).refusal();
    insta::assert_snapshot!(refusal("other-0"), @r#"
    error: other-0 is no run of workflow wf-1: its family is "wf-*"
    --> packer_workspaces/reconciler.json
     = help: `reconciler images --family` shows the runs that there are
    "#);
    insta::assert_snapshot!(refusal("wf-1"), @"
    error: wf-1 is this run itself
     |
     = help: name an earlier one: `reconciler images --family` shows them
    ");
    insta::assert_snapshot!(refusal("wf-9"), @"
    error: no image of workflow wf-9 is recorded in DynamoDB table images in us-east-1
     |
     = help: `reconciler images --family` shows the runs that there are
    ");
    farm.run(&["adopt", "nowhere", "--from", "wf-0"]).refuses(&["there is no step `nowhere`"]);
    // Its parent's image in this run is another.
    farm.run(&["apply", "a"]).printed(0);
    let of_b = farm.run(&["adopt", "b", "--from", "wf-0"]);
    let words = format!("was built on {}, but git asks for one on {}", made[0], farm.image("a"));
    assert!(of_b.err.contains(&words), "{of_b:#?}");
    // Its image is gone.
    farm.deregister(&made[2]);
    let of_c = farm.run(&["adopt", "c", "--from", "wf-0"]);
    assert!(of_c.err.contains("is gone from EC2"), "{of_c:#?}");
    // A workflow that git has is no earlier run of another one.
    farm.follow_with(&["roots: [packer_workspaces, other]"]);
    farm.workflow_in("other", &json!({ "workflow_id": "wf-0" })).repo.commit("two of one family");
    farm.run(&["adopt", "--from", "wf-0", "--workflow", "wf-1"])
        .refuses(&["names runs of workflow `wf-1`, and workflow `wf-0`", "is one of them"]);
    farm.repo.write("packer_workspaces/reconciler.json", "{}");
    farm.repo.commit("no family");
    farm.run(&["adopt", "--from", "wf-0", "--workflow", "wf-1"])
        .refuses(&["workflow wf-1 has no family", "packer_workspaces/reconciler.json"]);
    assert!(farm.requests().is_empty(), "nothing is asked");
    assert_eq!(packer.runs("build"), 4);
}
