//! A build that comes to its end without the image that was asked for: told from a killed one by
//! Packer's last word, and not repeated.

use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{FAILED, Farm, RECORDED};

#[test]
fn a_build_that_ends_in_order_without_an_image_is_quarantined_after_one() {
    let (farm, packer) = Farm::playing("[build]\nfinished\nexit 0\n");
    farm.applies_in_vain();
    farm.failed("step", "the template makes no image");
    assert_eq!(farm.stages("a"), FAILED);
    assert_eq!(farm.state_of("a"), "quarantined");
    farm.run(&["apply"]);
    assert_eq!(packer.runs("build"), 1);
}

#[test]
fn one_that_was_killed_before_its_last_word_is_built_again() {
    let (farm, packer) = Farm::playing(&format!(
        "[build]\nkey\ninstance\nkilled\n[build 2]\nkey\nsay at work\nsignal 9\n[build 3]\n{WHOLE}finished\n"
    ));
    farm.applies();
    assert_eq!(farm.stages("a"), [&FAILED[..], &FAILED, &RECORDED].concat());
    assert_eq!(packer.runs("build"), 3);
}

#[test]
fn a_volume_that_was_made_in_place_of_an_image_is_named_and_made_once() {
    let (farm, packer) =
        Farm::playing("[build]\nkey\ninstance\nterminate\nunkey\nvolume\nfinished\n");
    farm.applies_in_vain();
    farm.failed("step", "made vol-");
    farm.failed("step", "use a builder that makes an AMI");
    farm.failed("step", "in us-east-1 stays and is to be removed by hand");
    farm.run(&["apply"]);
    assert_eq!((packer.runs("build"), farm.calls("ec2.CreateVolume")), (1, 1));
}

/// One step `a` of real Packer, whose template is edited.
fn edited(edit: impl FnOnce(String) -> String) -> Farm {
    let farm = Farm::of_one_step("retry:\n  initial: 1s\n");
    farm.template("a", edit);
    farm.repo.commit("another template");
    farm
}

#[test]
fn packer_whose_post_processor_takes_the_image_away_is_run_once() {
    let farm = edited(|text| {
        // What is written plainly is refused before a build.
        let consuming = "sources = [\"source.amazon-ebs.x\"]\n  post-processor \"artifice\" {\n    files               = [\"install.sh\"]\n    keep_input_artifact = 1 > 2\n  }";
        text.replace("sources = [\"source.amazon-ebs.x\"]", consuming)
    });
    farm.applies_in_vain();
    farm.failed("step", "keep_input_artifact");
    assert_eq!(farm.stages("a"), FAILED);
    assert_eq!((farm.made_images(), farm.leftovers()), (0, String::new()));
}

#[test]
fn packer_that_starts_from_another_image_than_git_says_makes_no_record() {
    let farm = edited(|text| {
        // What nobody can tell without Packer.
        let fixed = "source_ami    = format(\"ami-%s\", \"0bbbbbbbbbbbbbbb2\")";
        text.replace("source_ami    = \"{{ builder.source_ami_id }}\"", fixed)
    });
    farm.region.make_image(&json!({ "name": "another", "id": "ami-0bbbbbbbbbbbbbbb2" }));
    let before = farm.made_images();
    farm.applies_in_vain();
    farm.failed("step", "started from ami-0bbbbbbbbbbbbbbb2");
    farm.failed("step", "builder.source_ami_id");
    assert_eq!(farm.stages("a"), FAILED);
    assert_eq!(farm.made_images(), before, "its name is free for the next try");
    assert_eq!(farm.image("a"), "");
}

/// Packer's calls of this operation fail so for a while: what its SDK tries again by itself is not
/// enough.
fn with_faults(operation: &str, kind: &str, times: u32) -> Farm {
    let farm = edited(|text| text);
    farm.faults(
        &json!([{ "operation": operation, "kind": kind, "times": times, "from": "packer" }]),
    );
    farm
}

#[test]
fn what_ec2_refuses_packer_for_a_while_is_tried_again_in_the_words_of_either_sdk() {
    for (operation, kind, times) in [
        ("RunInstances", "drop-before", 5),
        ("DescribeImages", "truncate", 1),
        ("CreateImage", "not-running", 1),
        ("CreateImage", "copies", 1),
        ("RunInstances", "unheard-of", 1),
    ] {
        let farm = with_faults(operation, kind, times);
        let ran = farm.run(&["apply"]);
        assert_eq!(ran.code, 0, "{operation} {kind} {ran:#?}");
        // One SDK rides out what the other one tells.
        for event in farm.events("a") {
            let stage = serde_json::to_value(&event.stage).unwrap();
            let class = stage.get("failed").map(|failure| failure["class"].clone());
            assert!(class.is_none_or(|class| class == "transient"), "{operation} {kind} {stage}");
        }
        assert_eq!(farm.state_of("a"), "in-sync");
        assert_eq!(farm.leftovers(), "", "{operation} {kind}");
    }
}

#[test]
fn what_stays_unheard_of_is_a_persons_turn_after_a_few_tries() {
    let farm = with_faults("RunInstances", "unheard-of", 1000);
    let ran = farm.run(&["apply"]);
    assert_ne!(ran.code, 0, "{ran:#?}");
    farm.failed("person", "FluxCapacitorNotCharged");
    assert_eq!(farm.stages("a"), [FAILED, FAILED, FAILED].concat());
}

#[test]
fn why_a_script_failed_is_said_by_its_last_words_and_once() {
    let farm = edited(|text| {
        let script = "sources = [\"source.amazon-ebs.x\"]\n  provisioner \"shell-local\" {\n    inline = [\"echo fine\", \"echo E: no such package >&2\", \"exit 7\"]\n  }";
        text.replace("sources = [\"source.amazon-ebs.x\"]", script)
    });
    farm.applies_in_vain();
    farm.failed("step", "exit status: 7: E: no such package");
    let status = farm.run(&["status"]).out;
    assert_eq!(status.matches("no such package").count(), 1, "{status}");
    let build = farm.events("a")[0].build_id.to_string();
    let told = farm.run(&["history", "--build", &build]);
    assert!(told.out.contains("no such package"), "{told:#?}");
    let other = farm.run(&["history", "--build", "zzz"]);
    other.refuses(&["no build whose id begins with `zzz`"]);
}

#[test]
fn an_error_of_hcl_is_told_with_its_file_its_line_and_its_argument() {
    let farm = edited(|text| text.replace("communicator ", "comunicator "));
    farm.applies_in_vain();
    farm.failed("step", "a.pkr.hcl line ");
    farm.failed("step", "An argument named \"comunicator\" is not expected here");
    let reason = &farm.status()["a"].reason;
    assert!(reason.contains("comunicator") && !reason.contains('\n'), "{reason}");
    assert!(farm.only_build().file("packer.log").exists());
}
