//! `reconciler image create`: the image of a person's instance for a manual step, beside a daemon and
//! without one, and all that may go wrong between the person, the holder of the lease and EC2.

use std::time::Duration;

use reconciler_model::ids::StepId;
use reconciler_model::inventory::request::{Outcome, Wish};
use serde_json::{Value, json};

use crate::harness::by_hand::{self, start_again, started, stop};
use crate::harness::fake_packer::{FakePacker, WHOLE};
use crate::harness::farm::{Farm, in_runtime};

const STAGES: [&str; 6] = ["intent", "image_seen", "available", "tagged", "recorded", "cleaned"];

/// A farm whose step `mysql` is made by a person, on `a`, and `c` stands on it. Only `a` is built.
fn farm() -> (Farm, FakePacker) {
    let packer = FakePacker::new(&format!("[build]\n{WHOLE}[build 2]\n{WHOLE}"));
    let farm = Farm::with_packer(packer.binary());
    farm.step("a", None);
    let params = json!({ "step_id": "mysql", "previous_step_id": "a" });
    farm.repo.write("packer_workspaces/mysql/step_param.json", params.to_string());
    farm.step("c", Some("mysql"));
    farm.configure("interval: 1h\nlease_duration: 4s\n");
    assert_eq!(farm.commit_and_apply().code, 3, "only a person's part is left");
    assert_eq!(farm.state_of("mysql"), "awaiting-manual");
    assert_eq!(farm.state_of("c"), "blocked");
    (farm, packer)
}

/// An instance that a person has started from the image that git asks for, and stopped.
fn prepared(farm: &Farm) -> String {
    by_hand::prepared(farm, "a")
}

fn create(instance: &str) -> [&str; 6] {
    ["image", "create", "--step", "mysql", "--instance-id", instance]
}

#[test]
fn beside_a_daemon_it_is_recorded_and_what_stands_on_it_is_built() {
    let (farm, packer) = farm();
    let status = farm.run(&["status"]).out;
    let parent = farm.image("a");
    assert!(
        status.contains("reconciler image create --step mysql --instance-id i-…")
            && status.contains(&format!("start an instance from {parent}")),
        "{status}"
    );
    let plan: Value = serde_json::from_str(&farm.run(&["plan", "-o", "json"]).out).unwrap();
    let steps = plan["plans"][0]["steps"].as_array().unwrap();
    let manual = steps.iter().find(|step| step["step_id"] == "mysql").unwrap();
    assert_eq!(manual["source_ami"], json!(parent), "{manual}");
    let instance = prepared(&farm);
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let made = farm.run(&create(&instance));
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(made.out.contains("is being made of i-") && made.out.contains("recorded"), "{made:#?}");
    farm.wait_for_state("c", "in-sync");
    assert_eq!(farm.stages("mysql"), STAGES);
    assert_eq!(packer.runs("build"), 2, "a and c");
    let history = farm.history(&["mysql"]);
    assert_eq!((history[0].maker.as_ref(), history[0].state.as_ref()), ("instance", "recorded"));
    assert!(farm.image_name("mysql").contains("/mysql/"), "{}", farm.image_name("mysql"));
    // From birth, on image and snapshots, and nothing was rebooted.
    let image = farm.image("mysql");
    let tags = |id: &str| {
        let found = in_runtime(async {
            let ec2 = farm.session().await.ec2();
            let filter =
                aws_sdk_ec2::types::Filter::builder().name("resource-id").values(id).build();
            ec2.describe_tags().filters(filter).send().await.unwrap()
        });
        found.tags().iter().filter_map(|tag| tag.key.clone()).collect::<Vec<_>>()
    };
    for resource in [image.clone(), snapshot(&farm, &image)] {
        let keys = tags(&resource);
        assert!(keys.contains(&"reconciler:fingerprint".to_owned()), "{resource}: {keys:?}");
    }
    let rebooted = farm.emulator().control_get("/_control/reboots").to_string();
    assert!(!rebooted.contains(&instance), "{instance}: {rebooted}");
    assert_eq!(farm.calls("ec2.CreateImage"), 1 + 2, "one by the person, two by Packer");
}

fn snapshot(farm: &Farm, image: &str) -> String {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let seen = ec2.describe_images().image_ids(image).send().await.unwrap();
        let device = &seen.images()[0].block_device_mappings()[0];
        device.ebs().unwrap().snapshot_id().unwrap().to_owned()
    })
}

#[test]
fn without_a_daemon_the_command_does_all_of_it() {
    let (farm, _packer) = farm();
    let instance = prepared(&farm);
    farm.images_are_pending_for(2);
    let made = farm.run(&create(&instance));
    farm.images_are_pending_for(0);
    assert_eq!(made.code, 0, "{made:#?}");
    assert_eq!(farm.state_of("mysql"), "in-sync");
    assert_eq!(farm.stages("mysql"), STAGES);
    farm.run(&create(&instance)).refuses(&["does not wait for an image that a person makes"]);
    // What its person changes in git asks for another image.
    farm.repo.write("packer_workspaces/mysql/install.md", "and now with a plugin\n");
    farm.repo.commit("another mysql");
    assert_eq!(farm.state_of("mysql"), "awaiting-manual");
}

#[test]
fn what_cannot_become_the_image_is_refused_and_changes_nothing() {
    let (farm, _packer) = farm();
    let running = started(&farm, &farm.image("a"));
    farm.run(&create(&running)).refuses(&["is running", "aws ec2 stop-instances"]);
    farm.run(&create("i-0123456789abcdef0")).refuses(&["there is no instance i-0123456789abcdef0"]);
    farm.run(&create("nonsense")).refuses(&["there is no instance nonsense"]);
    let other = started(&farm, "ami-0123456789abcdef0");
    stop(&farm, &other);
    farm.run(&create(&other)).refuses(&[
        "was started from ami-0123456789abcdef0",
        &format!("stands on {}", farm.image("a")),
        "--yes",
    ]);
    farm.run(&["image", "create", "--step", "a", "--instance-id", &other])
        .refuses(&["does not wait for an image that a person makes"]);
    farm.run(&["image", "create", "--step", "nowhere", "--instance-id", &other])
        .refuses(&["there is no step `nowhere`"]);
    assert_eq!(farm.stages("mysql"), [""; 0]);
    assert!(farm.requests().is_empty(), "nothing is asked that cannot be done");
    let made = farm.run(&[create(&other).as_slice(), &["--yes"]].concat());
    assert_eq!(made.code, 0, "{made:#?}");
    assert!(made.err.contains("the record will say"), "{made:#?}");
}

#[test]
fn an_instance_that_is_started_meanwhile_gives_no_recorded_image() {
    let (farm, _packer) = farm();
    let instance = prepared(&farm);
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let hold = json!([{ "operation": "CreateImage", "kind": "hold-before", "seconds": 4 }]);
    farm.faults(&hold);
    let mut making = farm.start(&create(&instance), "", "making");
    farm.wait_for_stage("mysql", "intent");
    start_again(&farm, &instance);
    let ended = making.end(Duration::from_mins(1)).unwrap();
    assert!(!ended.success(), "{}", farm.log("making"));
    farm.no_faults();
    assert_eq!(farm.stages("mysql"), ["intent", "failed", "cleaned"]);
    let rebooted = farm.emulator().control_get("/_control/reboots").to_string();
    assert!(!rebooted.contains(&instance), "{instance}: {rebooted}");
    let history = farm.history(&["mysql"]);
    let cause = &history[0].failure.as_ref().unwrap().cause;
    assert!(cause.contains("was started while"), "{cause}");
    assert_eq!(farm.state_of("mysql"), "awaiting-manual");
    // The next one gets another name: the image of a machine that ran keeps its own.
    stop(&farm, &instance);
    let made = farm.run(&create(&instance));
    assert_eq!(made.code, 0, "{made:#?}");
    assert_eq!(farm.state_of("mysql"), "in-sync");
}

#[test]
fn a_command_that_dies_after_it_has_asked_ec2_costs_no_image() {
    let (farm, _packer) = farm();
    let instance = prepared(&farm);
    let mut making = farm.start(&create(&instance), "image.create:after=abort", "making");
    making.end(Duration::from_mins(1)).unwrap();
    assert_eq!(farm.stages("mysql"), ["intent"]);
    // Another one is not begun beside it; whoever comes next records it, and asks EC2 for none.
    farm.run(&create(&instance)).refuses(&["under way", "reconciler cancel mysql"]);
    let before = farm.calls("ec2.CreateImage");
    assert_eq!(farm.run(&["apply"]).code, 0);
    assert_eq!(farm.stages("mysql"), STAGES);
    assert_eq!(farm.calls("ec2.CreateImage"), before + 1, "that of c");
}

#[test]
fn a_command_that_dies_before_it_asks_ec2_leaves_an_intent_that_can_be_cancelled() {
    let (farm, _packer) = farm();
    let instance = prepared(&farm);
    let mut making = farm.start(&create(&instance), "image.create:before=abort", "making");
    making.end(Duration::from_mins(1)).unwrap();
    assert_eq!(farm.stages("mysql"), ["intent"]);
    let cancelled = farm.run(&["cancel", "mysql"]);
    assert_eq!(cancelled.code, 0, "{cancelled:#?}");
    assert_eq!(farm.stages("mysql"), ["intent", "cancel_requested", "failed", "cleaned"]);
    assert_eq!(farm.run(&create(&instance)).code, 0);
    assert_eq!(farm.state_of("mysql"), "in-sync");
}

#[test]
fn of_two_at_once_one_is_allowed() {
    let (farm, _packer) = farm();
    let instance = prepared(&farm);
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    farm.images_are_pending_for(4);
    let mut both = ["first", "second"].map(|log| farm.start(&create(&instance), "", log));
    let ended = both.each_mut().map(|one| one.end(Duration::from_mins(1)).unwrap().success());
    farm.images_are_pending_for(0);
    assert_eq!(ended.iter().filter(|success| **success).count(), 1, "{ended:?}");
    let said = ["first", "second"].map(|log| farm.log(log)).concat();
    assert!(said.contains("under way"), "{said}");
    assert_eq!(farm.stages("mysql"), STAGES);
}

/// One plan is good for one request: the second of two that stand is looked at with a new one.
#[test]
fn of_two_that_stand_when_a_daemon_begins_one_is_allowed() {
    let (farm, _packer) = farm();
    let instance = prepared(&farm);
    let stopped = in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let seen = ec2.describe_instances().instance_ids(&instance).send().await.unwrap();
        let reason = seen.reservations()[0].instances()[0].state_transition_reason();
        reason.unwrap().to_owned()
    });
    let wish = || Wish::MakeImage {
        step: StepId::new("mysql"),
        instance: instance.clone(),
        stopped: stopped.clone(),
    };
    for _ in 0..2 {
        farm.ask(wish());
    }
    let _daemon = farm.daemon();
    farm.wait_until("both are answered", |farm| {
        farm.requests().iter().all(|request| request.answer.is_some())
    });
    let outcomes: Vec<_> =
        farm.requests().into_iter().map(|one| one.answer.unwrap().outcome).collect();
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Done { .. }, Outcome::Refused { .. }]),
        "{outcomes:?}"
    );
    assert_eq!(farm.stages("mysql"), ["intent"]);
}
