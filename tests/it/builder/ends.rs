//! Exit 0 is no success, and another exit is not nothing: what EC2 shows under the build's own name
//! counts.

use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{BASE, FAILED, Farm, RECORDED};

#[test]
fn a_build_as_it_should_be_is_recorded_with_every_stage() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.applies();
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(farm.state_of("a"), "in-sync");
    assert_eq!((packer.runs("validate"), packer.runs("build")), (1, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn what_is_built_is_what_the_plan_said() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    let plan = farm.plan(&[]);
    let planned = &plan["a"];
    farm.applies();
    assert_eq!(planned.next_ami_name, farm.status()["a"].ami_name);
    let recorded = farm.plan(&[])["a"].fingerprint;
    assert!(recorded.is_some());
    assert_eq!(planned.desired_fingerprint, recorded);
}

#[test]
fn exit_0_after_the_inner_process_was_killed_is_no_success() {
    let (farm, _packer) = Farm::playing(&format!(
        "[build]\nkey\ngroup\ninstance\nkilled\n[build 2]\nexit 0\n[build 3]\n{WHOLE}"
    ));
    farm.applies();
    assert_eq!(
        farm.stages("a"),
        [&FAILED[..], &FAILED, &RECORDED].concat(),
        "neither is an exit without a word"
    );
    farm.failed("transient", "");
    assert_eq!(farm.made_images(), 1);
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn an_image_that_a_script_named_is_none_of_a_build_that_was_killed() {
    let named = "raw 1,,ui,message,    amazon-ebs.x: AMI: {source}";
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ngroup\ninstance\n{named}\nsignal 9\n[build 2]\n{WHOLE}"
    ));
    farm.applies();
    assert_eq!(farm.stages("a"), [&FAILED[..], &RECORDED].concat());
    assert_ne!(farm.image("a"), BASE);
    assert_eq!((packer.runs("build"), farm.made_images()), (2, 1));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_whole_image_of_a_packer_that_was_ended_while_it_cleaned_up_is_recorded() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey\ngroup\ninstance\nimage\nerror Cancelling build after receiving terminated\nexit 1\n",
    );
    farm.applies();
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
    assert_eq!(farm.leftovers(), "", "what it did not come to clean up");
}

#[test]
fn the_image_of_a_failed_post_processor_is_not_recorded_and_does_not_stay() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey\ninstance\nimage\nterminate\nunkey\nartifact\n\
         failure 1 error(s) occurred: * Post-processor failed: exit status 3\n\
         error Build 'amazon-ebs.x' errored: 1 error(s) occurred: * Post-processor failed: exit status 3\nexit 1\n",
    );
    farm.applies_in_vain();
    assert_eq!(farm.stages("a"), FAILED);
    farm.failed("step", "Post-processor failed");
    assert_eq!(farm.state_of("a"), "quarantined");
    assert_eq!(farm.made_images(), 0, "its name is free for the next try");
    farm.run(&["apply"]);
    assert_eq!(packer.runs("build"), 1, "and it is not repeated by itself");
}

#[test]
fn no_packer_runs_whose_intent_could_not_be_written_and_a_command_gives_up() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.faults(
        &json!([{ "operation": "TransactWriteItems", "kind": "denied", "times": 1_000_000 }]),
    );
    let ran = farm.applies_in_vain();
    assert!(ran.err.contains("denied"), "{ran:#?}");
    assert!(farm.builds().is_empty(), "nothing is laid out for it");
    let tries = farm.calls("dynamodb.TransactWriteItems");
    assert!(tries <= 4, "no hot loop: {tries}");
}

#[test]
fn an_artifact_that_is_told_twice_is_one_image() {
    let (farm, _packer) = Farm::playing(&format!("[build]\n{WHOLE}artifact\n"));
    farm.applies();
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(farm.made_images(), 1);
}

#[test]
fn of_images_in_several_regions_the_steps_own_is_recorded() {
    let (farm, packer) = Farm::playing(
        "[build]\nkey\ninstance\nimage\nterminate\nunkey\nwrite made {image}\n\
         artifact {region}:{image},us-west-2:ami-0fedcba9876543210\n",
    );
    farm.applies();
    assert_eq!(Some(farm.image("a")), packer.wrote("made"));
}

#[test]
fn of_two_sources_of_which_one_fails_nothing_is_recorded_and_nothing_stays() {
    let (farm, _packer) = Farm::playing(
        "[build]\nkey\ninstance\nimage\nterminate\nunkey\nartifact\n\
         failure Script exited with non-zero exit status: 7. Allowed exit codes are: [0]\n\
         error Build 'amazon-ebs.y' errored: Script exited with non-zero exit status: 7. Allowed exit codes are: [0]\n\
         raw 1,,error-count,1\nexit 1\n",
    );
    farm.applies_in_vain();
    farm.failed("step", "exit status: 7");
    assert_eq!(farm.made_images(), 0);
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn an_artifact_that_is_no_image_id_makes_none_but_ec2_shows_what_there_is() {
    let (farm, packer) = Farm::playing(
        "[build]\nartifact {region}:not-an-image\n\
         [build 2]\nkey\ninstance\nimage\nterminate\nunkey\nwrite made {image}\nartifact {region}:ami-\n",
    );
    farm.applies();
    assert_eq!(farm.stages("a"), [&FAILED[..], &RECORDED].concat());
    assert_eq!(Some(farm.image("a")), packer.wrote("made"));
}

#[test]
fn an_image_of_another_name_is_the_steps_own_fault() {
    let (farm, packer) =
        Farm::playing("[build]\nkey\ninstance\nimage something-else\nterminate\nunkey\nartifact\n");
    farm.applies_in_vain();
    farm.failed("step", "builder.output_ami_name");
    assert_eq!(packer.runs("build"), 1);
    assert_eq!(farm.made_images(), 0, "no image outlives its failed build");
}

#[test]
fn a_look_by_name_that_comes_too_early_costs_no_good_image() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    // The first looks are those of the plan and of the start.
    farm.faults(&json!([{ "operation": "DescribeImagesByName", "kind": "empty", "from": "reconciler", "nth": 3 }]),
    );
    farm.applies();
    let met = farm.region.ask("met");
    assert_eq!(met["us-east-1 DescribeImagesByName empty"], 1, "{met}");
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!((packer.runs("build"), farm.made_images()), (1, 1));
}

#[test]
fn an_image_in_another_region_only_is_the_steps_own_fault() {
    let (farm, packer) =
        Farm::playing("[build]\nkey\nartifact us-west-2:ami-0123456789abcdef1\nunkey\n");
    farm.applies_in_vain();
    farm.failed("step", "us-west-2");
    assert_eq!(packer.runs("build"), 1, "it would go there again");
}

#[test]
fn a_template_that_does_not_validate_starts_no_build() {
    let (farm, packer) = Farm::playing("[validate]\nraw Error: Unset variable \"x\"\nexit 1\n");
    farm.applies_in_vain();
    farm.failed("step", "");
    assert_eq!(packer.runs("build"), 0);
    assert_eq!(farm.calls("ec2.RunInstances"), 0);
}

#[test]
fn output_that_is_not_utf8_and_much_of_it_hides_nothing() {
    let (farm, packer) = Farm::playing(
        "[build]\nraw 1,,ui,message,    amazon-ebs.x: \\xff\\xfe\\x00\nflood 24\nkey\ninstance\nimage\nterminate\n\
         stderr not for machines\nwrite made {image}\nartifact\nraw \\xff,\\xff,artifact,0,id,us-east-1:ami-1\n",
    );
    farm.applies();
    assert_eq!(Some(farm.image("a")), packer.wrote("made"));
    assert_eq!(farm.leftovers(), "", "the key that it left stands in the log");
}

#[test]
fn an_image_that_ends_failed_is_removed_and_built_again() {
    let (farm, packer) =
        Farm::playing(&format!("[build]\n{WHOLE}[build 2]\nwrite second\nwait mended\n{WHOLE}"));
    farm.images_fail(true);
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "second");
    assert_eq!(farm.made_images(), 0, "the failed one holds the name no more");
    farm.failed("transient", "");
    farm.images_fail(false);
    packer.let_go("mended");
    farm.settles("a");
    assert_eq!(packer.runs("build"), 2);
}

#[test]
fn no_record_names_an_image_that_is_not_available() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    farm.images_are_pending_for(3);
    let _daemon = farm.daemon();
    farm.wait_until("it is recorded", |farm| {
        let recorded = !farm.image("a").is_empty();
        let images = farm.region.ask("resources")["images"].to_string();
        assert!(!(recorded && images.contains("pending")), "{images}");
        recorded
    });
    assert_eq!(farm.stages("a")[..6], RECORDED[..6]);
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn an_image_of_the_wanted_name_that_is_anothers_is_not_taken_over() {
    let (farm, packer) = Farm::playing(&format!("[build]\n{WHOLE}"));
    let name = farm.plan(&[])["a"].next_ami_name.clone().unwrap();
    farm.region.make_image(&json!({ "name": name }));
    farm.applies_in_vain();
    assert_eq!(farm.state_of("a"), "name-taken");
    assert_eq!(
        farm.plan(&[])["a"].taken_by.as_ref().unwrap().ami_name.to_string(),
        name.to_string()
    );
    let why = farm.status()["a"].reason.clone();
    assert!(why.contains("which was not made for this fingerprint"), "{why}");
    assert!(why.contains("apply --rebuild a"), "{why}");
    assert_eq!(farm.stages("a"), Vec::<String>::new(), "nothing is tried");
    assert_eq!(packer.runs("build"), 0);
    assert_eq!(farm.made_images(), 1, "it is still there");
}
