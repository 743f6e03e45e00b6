//! `reconciler image delete`: what goes, what stays and why, beside a daemon and without one, and all
//! that may go wrong between the person, the holder of the lease and EC2.

use std::time::Duration;

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, InstanceType, LaunchPermission,
    LaunchPermissionModifications, RequestLaunchTemplateData,
};
use reconciler_model::ids::{AmiId, AmiName, Region, StepId};
use reconciler_model::inventory::request::{DeletedImage, Outcome, Wish};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::farm::{Farm, Store, in_runtime};
use crate::harness::python_library::images;

const STEPS: [&str; 3] = ["a", "b", "c"];

/// A farm whose steps `a` and `b`, which stands on it, have an earlier and a current image, and the
/// earlier ones.
fn twice_built() -> (Farm, [String; 2]) {
    twice_built_in(Store::DynamoDb)
}

fn twice_built_in(store: Store) -> (Farm, [String; 2]) {
    let mut farm = Farm::of_three_steps();
    farm.keep_records_in(store).configure("interval: 1h\nlease_duration: 4s\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    let old = ["a", "b"].map(|step| farm.image(step));
    farm.script("a", "echo 2\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    (farm, old)
}

fn delete<'a>(images: &[&'a str]) -> Vec<&'a str> {
    [&["image", "delete", "--yes"], images].concat()
}

fn is_there(farm: &Farm, image: &str) -> bool {
    farm.images().iter().any(|one| one["id"] == json!(image) || one["ImageId"] == json!(image))
}

fn snapshot(farm: &Farm, image: &str) -> String {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let seen = ec2.describe_images().image_ids(image).send().await.unwrap();
        let device = &seen.images()[0].block_device_mappings()[0];
        device.ebs().unwrap().snapshot_id().unwrap().to_owned()
    })
}

fn has_snapshot(farm: &Farm, snapshot: &str) -> bool {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.describe_snapshots().snapshot_ids(snapshot).send().await.is_ok()
    })
}

/// An image of somebody's own that has this snapshot too.
fn another_of(farm: &Farm, snapshot: &str) {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let ebs = EbsBlockDevice::builder().snapshot_id(snapshot).build();
        let root = BlockDeviceMapping::builder().device_name("/dev/sda1").ebs(ebs).build();
        let made = ec2.register_image().name("another").root_device_name("/dev/sda1");
        made.block_device_mappings(root).send().await.unwrap();
    });
}

fn earlier_images_go(store: Store) -> Farm {
    let (farm, [a, b]) = twice_built_in(store);
    let snapshots = [&a, &b].map(|image| snapshot(&farm, image));
    another_of(&farm, &snapshots[1]);
    let current = STEPS.map(|step| farm.image(step));
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let gone = farm.run(&delete(&[&a, &b, "--snapshots"]));
    gone.shows(&[
        &format!("{a} deleted"),
        &format!("{b} deleted"),
        &format!("{} deleted", snapshots[0]),
        &format!("{} stays: another image uses it", snapshots[1]),
    ]);
    let places = [&a, &b].map(|image| gone.out.find(&format!("{image} deleted")));
    assert!(places[1] < places[0], "what was built on an image goes before it: {gone:#?}");
    assert_eq!([&a, &b].map(|image| is_there(&farm, image)), [false, false]);
    assert_eq!(snapshots.map(|one| has_snapshot(&farm, &one)), [false, true]);
    assert!(farm.reservations().is_empty());
    for (step, image) in [("a", &a), ("b", &b)] {
        let history = farm.history(&[step]);
        let of = |id: &str| history.iter().find(|one| one.ami_id.as_ref().unwrap().as_str() == id);
        assert_eq!(of(image).unwrap().stages.last().unwrap().stage, "deleted");
        let current = of(&farm.image(step)).unwrap();
        assert!(current.stages.iter().all(|line| line.stage != "deleted"));
    }
    farm.run(&["history"]).shows(&[&format!("{a} with snap-")]);
    let shown = farm.run(&["requests"]).printed(0);
    assert!(shown.contains("image delete ami-"), "{shown}");
    // Twice is nothing, and nothing of it changes what is current.
    let asked = farm.requests().len();
    farm.run(&delete(&[&a, &b])).shows(&["gone already", "nothing is left to delete"]);
    assert_eq!(farm.requests().len(), asked);
    assert_eq!(STEPS.map(|step| farm.image(step)), current);
    assert!(farm.is_in_sync());
    farm
}

#[test]
fn beside_a_daemon_earlier_images_go_and_the_journal_tells_it_on_dynamodb() {
    let farm = earlier_images_go(Store::DynamoDb);
    assert_eq!(images(&farm.read_by_python("wf-1", "a"), "by_workflow").len(), 3);
}

#[test]
fn beside_a_daemon_earlier_images_go_and_the_journal_tells_it_on_sqlite() {
    earlier_images_go(Store::Sqlite);
}

#[test]
fn what_is_needed_stays_with_every_reason_and_nothing_goes() {
    let (farm, [a, b]) = twice_built();
    let current = farm.image("b");
    farm.run(&delete(&[&current, &b])).refuses(&[
        &format!("{current} stays: it is the current image of step b of workflow wf-1"),
        "nothing was deleted",
    ]);
    farm.run(&delete(&[&a])).refuses(&[&format!("{b} was built on it (b of workflow wf-1)")]);
    farm.run(&["image", "delete", &b]).refuses(&["--yes"]);
    farm.run(&delete(&["ami-00000000000000000"])).refuses(&["no image ami-00000000000000000"]);
    farm.run(&delete(&["a"])).refuses(&["`a` is not the id of an image"]);
    let (instance, template) = in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let run = ec2.run_instances().image_id(&b).min_count(1).max_count(1).send().await.unwrap();
        let data = RequestLaunchTemplateData::builder().image_id(&b);
        let data = data.instance_type(InstanceType::T3Small).build();
        let made = ec2.create_launch_template().launch_template_name("web");
        let made = made.launch_template_data(data).send().await.unwrap();
        let share = LaunchPermission::builder().user_id("111122223333").build();
        let share = LaunchPermissionModifications::builder().add(share).build();
        let shared = ec2.modify_image_attribute().image_id(&b).launch_permission(share);
        shared.send().await.unwrap();
        let instance = run.instances()[0].instance_id.clone().unwrap();
        (instance, made.launch_template.unwrap().launch_template_id.unwrap())
    });
    farm.run(&delete(&[&a, &b])).refuses(&[
        &format!("{b} stays: in use: instance {instance}"),
        &format!("in use: launch template {template}"),
        "in use: shared with account 111122223333",
        &format!("{a} stays: {b} was built on it"),
    ]);
    assert!(farm.requests().is_empty(), "nothing is asked that cannot be done");
    assert!(is_there(&farm, &a) && is_there(&farm, &b));
}

#[test]
fn what_nobody_could_look_at_or_may_not_be_deleted_stays() {
    let (farm, [_, b]) = twice_built();
    farm.faults(&json!([{ "operation": "DescribeFleets", "kind": "denied" }]));
    farm.run(&delete(&[&b])).refuses(&[
        "unknown whether a fleet names it",
        "(needs the permission ec2:DescribeFleets)",
    ]);
    assert!(farm.requests().is_empty());
    farm.faults(&json!([{ "operation": "DeregisterImage", "kind": "denied" }]));
    farm.run(&delete(&[&b])).refuses(&["ec2:DeregisterImage"]);
    farm.no_faults();
    assert!(is_there(&farm, &b));
    assert!(farm.reservations().is_empty(), "it ended with the command");
    assert_eq!(farm.run(&delete(&[&b])).code, 0);
    assert!(!is_there(&farm, &b));
}

#[test]
fn a_holder_that_is_killed_between_request_and_answer_costs_nothing() {
    let (farm, [_, b]) = twice_built();
    let mut daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    daemon.signal(Signal::STOP);
    let mut deleting = farm.start(&delete(&[&b]), "", "deleting");
    farm.wait_until("it is asked", |farm| !farm.requests().is_empty());
    daemon.kill();
    assert!(deleting.end(Duration::from_mins(1)).unwrap().success(), "{}", farm.log("deleting"));
    assert!(!is_there(&farm, &b));
    let told = farm.stages("b").iter().filter(|stage| *stage == "deleted").count();
    assert_eq!(told, 1);
}

#[test]
fn an_image_whose_deleter_died_is_not_taken_over_until_that_ends() {
    let (farm, [a, b]) = twice_built();
    let mut deleting = farm.start(&delete(&[&a, &b]), "image.deregister:before=abort", "deleting");
    deleting.end(Duration::from_mins(1)).unwrap();
    assert_eq!(farm.reservations().len(), 1);
    assert!(is_there(&farm, &a) && is_there(&farm, &b));
    farm.run(&delete(&[&a, &b]))
        .refuses(&["is reserved for deletion by", "reconciler image release ami-"]);
    farm.run(&["adopt", "a", "--image", &a]).refuses(&[&format!("{a} is reserved for deletion")]);
    // A revert would take it over.
    let first = farm.repo.git(&["rev-list", "--reverse", "HEAD"]);
    let first = first.lines().next().unwrap().to_owned();
    farm.repo.git(&["checkout", &first, "--", "."]);
    farm.repo.commit("back");
    let builds = farm.builds().len();
    let refused = farm.run(&["apply"]);
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains(&format!("{a} is reserved for deletion by")), "{refused:#?}");
    assert_ne!(farm.image("a"), a);
    farm.run(&["image", "release", &a]).shows(&["no longer reserved"]);
    farm.run(&["image", "release", &a]).refuses(&["none of these images is reserved"]);
    assert_eq!(farm.run(&["apply"]).code, 0);
    assert_eq!([farm.image("a"), farm.image("b")], [a, b], "taken over");
    assert_eq!(farm.builds().len(), builds, "nothing was built");
}

/// Its owner, or who takes it for the one of a process that died.
#[test]
fn nothing_goes_once_the_reservation_was_released() {
    let (farm, [_, b]) = twice_built();
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let mut deleting = farm.start(&delete(&[&b]), "request.ask:after=stop", "deleting");
    farm.wait_until("it is reserved", |farm| !farm.reservations().is_empty());
    farm.run(&["image", "release", &b]).shows(&["no longer reserved"]);
    deleting.signal(Signal::CONT);
    assert!(!deleting.end(Duration::from_mins(1)).unwrap().success());
    let said = farm.log("deleting");
    assert!(said.contains(&format!("the reservation of {b} has ended: it stays")), "{said}");
    assert!(is_there(&farm, &b));
    assert!(!farm.stages("b").contains(&"deleted".to_owned()));
}

fn deleter_dies(store: Store) {
    let (farm, [_, b]) = twice_built_in(store);
    let mut deleting = farm.start(&delete(&[&b]), "image.deregister:after=abort", "deleting");
    deleting.end(Duration::from_mins(1)).unwrap();
    assert!(!is_there(&farm, &b));
    assert!(!farm.stages("b").contains(&"deleted".to_owned()));
    farm.run(&delete(&[&b])).refuses(&["is reserved for deletion by", "image release"]);
    farm.run(&["image", "release", &b]).shows(&["no longer reserved"]);
    farm.run(&delete(&[&b])).shows(&["gone already"]);
    assert!(farm.stages("b").contains(&"deleted".to_owned()));
    farm.run(&delete(&[&b])).shows(&["nothing is left to delete"]);
}

#[test]
fn an_image_that_went_before_its_deleter_died_is_told_by_whoever_asks_again_on_dynamodb() {
    deleter_dies(Store::DynamoDb);
}

#[test]
fn an_image_that_went_before_its_deleter_died_is_told_by_whoever_asks_again_on_sqlite() {
    deleter_dies(Store::Sqlite);
}

fn teller_dies(store: Store) {
    let (farm, [a, b]) = twice_built_in(store);
    let mut deleting = farm.start(&delete(&[&a, &b]), "journal.deleted:after=abort", "deleting");
    deleting.end(Duration::from_mins(1)).unwrap();
    assert_eq!([&a, &b].map(|image| is_there(&farm, image)), [false, false]);
    let told = |farm: &Farm| {
        ["a", "b"].map(|step| farm.stages(step).iter().filter(|one| *one == "deleted").count())
    };
    assert_eq!((told(&farm), farm.reservations().len()), ([0, 1], 1));
    assert_eq!(farm.run(&["apply"]).code, 0);
    assert_eq!((told(&farm), farm.reservations().len()), ([1, 1], 0));
    assert!(farm.requests().iter().all(|request| request.answer.is_some()));
}

#[test]
fn a_holder_that_dies_while_it_tells_what_is_gone_is_carried_on_by_the_next_on_dynamodb() {
    teller_dies(Store::DynamoDb);
}

#[test]
fn a_holder_that_dies_while_it_tells_what_is_gone_is_carried_on_by_the_next_on_sqlite() {
    teller_dies(Store::Sqlite);
}

fn an_earlier_run_goes(store: Store) -> Farm {
    let mut farm = Farm::of_three_steps();
    farm.keep_records_in(store).configure("");
    assert_eq!(farm.commit_and_apply().code, 0);
    let first = STEPS.map(|step| farm.image(step));
    farm.run(&delete(&["--workflow", "wf-1"])).refuses(&["wf-1 is in git"]);
    farm.workflow(&json!({ "workflow_id": "wf-2" }));
    assert_eq!(farm.commit_and_apply().code, 0);
    let second = STEPS.map(|step| farm.image(step));
    farm.run(&delete(&["--workflow", "wf-0"])).refuses(&["nothing is known of a workflow `wf-0`"]);
    // One of it that somebody has deregistered goes with its record all the same.
    farm.deregister(&first[2]);
    let gone = farm.run(&delete(&["--workflow", "wf-1", "--snapshots"]));
    gone.shows(&[&format!("{} deleted", first[0]), &format!("{} deleted", first[1])]);
    gone.shows(&["the records of workflow wf-1", "gone already"]);
    farm.run(&["images", "--workflow", "wf-1"]).refuses(&["no image of workflow `wf-1`"]);
    let left: Value =
        serde_json::from_str(&farm.run(&["images", "--all", "-o", "json"]).out).unwrap();
    let left = left["images"].as_array().unwrap().len();
    assert_eq!((left, STEPS.map(|step| farm.image(step))), (3, second));
    for step in STEPS {
        let told = farm.stages(step).iter().filter(|stage| *stage == "deleted").count();
        assert_eq!(told, 1, "{step}");
    }
    assert!(farm.reservations().is_empty());
    farm.run(&delete(&["--workflow", "wf-1"])).shows(&["nothing is left to delete"]);
    assert!(farm.is_in_sync());
    farm
}

#[test]
fn an_earlier_run_goes_whole_with_its_records_on_dynamodb() {
    let farm = an_earlier_run_goes(Store::DynamoDb);
    // The library finds nothing of it any more, and the other run as before.
    let catalog = farm.read_by_python("wf-1", "b");
    assert_eq!((&catalog["image"], images(&catalog, "by_workflow").len()), (&Value::Null, 0));
    let catalog = farm.read_by_python("wf-2", "b");
    assert_eq!(catalog["image"]["ami_id"], json!(farm.image("b")));
    assert_eq!(images(&catalog, "by_workflow").len(), 3);
    assert_eq!(images(&catalog, "by_step"), [farm.image("b")]);
}

#[test]
fn an_earlier_run_goes_whole_with_its_records_on_sqlite() {
    an_earlier_run_goes(Store::Sqlite);
}

/// Wherever else it is said to be: nothing is told of an image that EC2 shows, nor of a region in
/// which nothing was ever made.
#[test]
fn who_may_only_ask_is_not_believed_that_an_image_is_gone() {
    let (farm, [a, _]) = twice_built();
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let asked = |wish| {
        let id = farm.ask(wish);
        farm.wait_until("it is answered", |farm| {
            farm.requests().iter().any(|one| one.id == id && one.answer.is_some())
        });
        let requests = farm.requests();
        let standing = requests.into_iter().find(|one| one.id == id).unwrap();
        (id, standing.answer.unwrap().outcome)
    };
    let image = AmiId::new(&a);
    let (reservation, granted) = asked(Wish::Reserve { images: vec![image.clone()], run: false });
    assert!(matches!(granted, Outcome::Done { .. }), "{granted:?}");
    for region in [farm.region.name, "eu-central-1", "xx-nowhere-1"] {
        let gone = DeletedImage {
            step: StepId::new("a"),
            ami_id: image.clone(),
            ami_name: AmiName::new("any"),
            region: Region::new(region),
            snapshots: vec![],
        };
        let (_, told) =
            asked(Wish::Deleted { reservation: reservation.clone(), images: vec![gone] });
        let Outcome::Refused { why, .. } = told else { panic!("{region}: {told:?}") };
        assert!(why.contains("EC2 still shows") || why.contains("was ever made in"), "{why}");
    }
    assert!(is_there(&farm, &a));
    assert!(!farm.stages("a").contains(&"deleted".to_owned()));
}
