//! What a build leaves at EC2 is found and removed, after a success as after a failure, and what is
//! another's stays.

use std::time::Duration;

use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{Farm, RECORDED};

#[test]
fn an_instance_whose_id_stands_in_no_log_is_found_by_its_key_and_its_group() {
    let (farm, _packer) = Farm::playing(&format!(
        "[build]\nkey\ninstance secretly\nerror Cancelling build after receiving terminated\nexit 1\n\
         [build 2]\ngroup\ninstance secretly\nsignal 9\n[build 3]\n{WHOLE}"
    ));
    farm.applies();
    assert_eq!(farm.leftovers(), "");
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn a_success_whose_instance_could_not_be_terminated_is_recorded_and_cleaned_up() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.faults(&json!([{ "operation": "TerminateInstances", "kind": "denied" }]));
    farm.applies();
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(farm.leftovers(), "");
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
    let removed = serde_json::to_value(&farm.events("a").last().unwrap().stage).unwrap();
    assert!(
        removed["cleaned"]["removed"][0].as_str().unwrap().starts_with("i-"),
        "the journal says what: {removed}"
    );
}

#[test]
fn tags_that_packer_could_not_put_on_are_put_on_and_read_back() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey\ninstance\nimage\ntag Name=of the template\nterminate\nunkey\nartifact\n",
    );
    farm.faults(&json!([{ "operation": "CreateTags", "kind": "denied" }]));
    farm.applies();
    let resources = farm.region.ask("resources");
    let made = resources["images"]
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["id"] == farm.image("a"))
        .unwrap();
    assert_eq!(made["tags"]["reconciler:step-id"], "a", "{made}");
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn tags_that_did_not_stick_are_put_on_again_before_the_record() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.faults(&json!([{ "operation": "CreateTags", "kind": "ignored" }]));
    let _daemon = farm.daemon();
    farm.wait_until("it is recorded", |farm| !farm.image("a").is_empty());
    let resources = farm.region.ask("resources");
    let images = resources["images"].as_array().unwrap().iter();
    let tagged = images.filter(|image| image["tags"]["reconciler:step-id"] == "a");
    assert_eq!(tagged.count(), 1, "{resources:#}");
}

#[test]
fn an_image_whose_tags_are_refused_is_not_recorded_until_they_are_on_it() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.faults(&json!([{ "operation": "CreateTags", "kind": "denied", "times": 1_000_000 }]));
    let _daemon = farm.daemon();
    farm.wait_until("its tags are refused", |farm| farm.calls("ec2.CreateTags") > 0);
    assert_ne!(farm.state_of("a"), "in-sync");
    assert!(!farm.has_come_to("a", "recorded"));
    std::thread::sleep(Duration::from_secs(3));
    let tries = farm.calls("ec2.CreateTags");
    assert!(tries <= 3, "no hot loop: {tries}");
    farm.no_faults();
    farm.settles("a");
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
}

#[test]
fn what_another_made_of_the_same_kind_stays() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey secretly\ngroup secretly\ninstance secretly\nwrite theirs {key} {group} {instance}\n\
         say Creating temporary keypair: my-own-key\nraw 1,,ui,message,    amazon-ebs.x: Instance ID: {instance}\nexit 1\n",
    );
    farm.run(&["apply"]);
    let theirs = packer.wrote("theirs").unwrap();
    let left = farm.leftovers();
    for thing in theirs.split(' ') {
        assert!(left.contains(thing), "{thing} is no longer there: {left}");
    }
}
