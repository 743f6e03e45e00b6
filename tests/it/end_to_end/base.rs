//! `reconciler base find`: the images that a workflow can start from, and the newest of them in its
//! parameters.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::emulator::python;
use crate::harness::farm::Farm;

const CANONICAL: &str = "099720109477";
const STRANGER: &str = "111122223333";
const FILE: &str = "packer_workspaces/workflow_param.json";

/// Parameters with a pattern, as people write them.
const PATTERN: &str = r#"{
    // one run of the workflow
    "workflow_id": "wf-1",
    "region_name": "us-east-1",   # "region_name": "eu-west-1"
    "is_default_vpc": "true",

    "root_base_ami_name": "ubuntu-22.04-*", // the newest of Canonical
    "root_base_ami_owner_account_id": "099720109477",
    "aws_tags": {"env": "test"}
}
"#;

/// Two images of Canonical's, one for ARM, one of a stranger's and one of this account's, the newest
/// last.
fn published() -> (Farm, [String; 5]) {
    let farm = Farm::new();
    farm.step("a", None);
    farm.repo.write(FILE, PATTERN);
    farm.repo.commit("a pattern");
    let image = |name: &str, owner: &str, day: &str, architecture: &str| {
        let created = format!("2026-11-{day}T00:00:00.000Z");
        farm.region.make_image(&json!({
            "name": name, "owner": owner, "created": created, "architecture": architecture,
        }))
    };
    let images = [
        image("ubuntu-22.04-20261101", CANONICAL, "01", "x86_64"),
        image("ubuntu-22.04-20261108", CANONICAL, "08", "x86_64"),
        image("ubuntu-22.04-20261109", CANONICAL, "09", "arm64"),
        image("ubuntu-22.04-20261110", STRANGER, "10", "x86_64"),
        image("ubuntu-22.04-own", "123456789012", "11", "x86_64"),
    ];
    (farm, images)
}

fn found(farm: &Farm, arguments: &[&str]) -> Value {
    let ran = farm.run(&[&["base", "find", "--output", "json"], arguments].concat());
    assert_eq!(ran.code, 0, "{ran:#?}");
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["schema"], "reconciler.base/1");
    said["workflows"][0].clone()
}

fn ids(farm: &Farm, arguments: &[&str]) -> Vec<String> {
    let found = found(farm, arguments);
    let images = found["images"].as_array().unwrap().iter();
    images.map(|image| image["ami_id"].as_str().unwrap().to_owned()).collect()
}

fn of_the_library(farm: &Farm, name: &str, owner: &str) -> Vec<String> {
    let output = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/find_root_base.py"))
        .args([&farm.emulator().endpoint(), farm.region.name, name, owner])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn base_find_lists_what_the_library_finds_and_own_images_too() {
    let (farm, [old, new, arm, stranger, own]) = published();
    let canonicals = [new, old.clone()];
    assert_eq!(ids(&farm, &[]), canonicals);
    assert_eq!(of_the_library(&farm, "ubuntu-22.04-*", CANONICAL), canonicals);
    assert_eq!(ids(&farm, &["--limit", "1"]), canonicals[..1]);
    assert_eq!(found(&farm, &["--limit", "1"])["found"], 2);
    assert_eq!(ids(&farm, &["--arch", "arm64"]), [arm]);
    assert_eq!(ids(&farm, &["--name", "*-20261101"]), [old]);
    assert_eq!(ids(&farm, &["--owner", STRANGER]), [stranger]);
    assert_eq!(ids(&farm, &["--owner", "self", "--name", "*-own"]), [own]);
    assert!(of_the_library(&farm, "*-own", "123456789012").is_empty(), "it is not public");
    let read = farm.run(&["base", "find"]).printed(0);
    assert!(read.starts_with("wf-1  x86_64 images of 099720109477 in us-east-1 called"), "{read}");
    assert!(read.contains(" ago  ubuntu-22.04-20261108  of 099720109477"), "{read}");
}

#[test]
fn write_puts_the_newest_into_the_parameters_and_keeps_all_else() {
    let (farm, [_, new, _, _, own]) = published();
    let ran = farm.run(&["base", "find", "--write"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let name = "ubuntu-22.04-20261108";
    let wanted = PATTERN.replace(
        "\"root_base_ami_name\": \"ubuntu-22.04-*\"",
        &format!("\"root_base_ami_id\": \"{new}\",\n    \"root_base_ami_name\": \"{name}\""),
    );
    let written = || std::fs::read_to_string(farm.repo.path().join(FILE)).unwrap();
    assert_eq!(written(), wanted);
    assert!(ran.err.contains("instead of the newest `ubuntu-22.04-*`"), "{ran:#?}");
    // It is what stands in the work tree that is asked about, committed or not.
    farm.run(&["base", "find"]).refuses(&["names its base image by id", "--name 'ubuntu-22.04-*'"]);
    let again = farm.run(&["base", "find", "--write", "--name", "ubuntu-22.04-*"]);
    assert_eq!((again.code, written()), (0, wanted.clone()), "{again:#?}");
    assert!(again.err.contains("already"), "{again:#?}");
    let marked = &found(&farm, &["--name", "ubuntu-22.04-*"])["images"];
    assert_eq!((&marked[0]["is_base"], &marked[1]["is_base"]), (&json!(true), &json!(false)));
    // What was written is what the next build starts from.
    assert_eq!(farm.commit_and_apply().code, 0);
    assert_eq!(farm.history(&[])[0].source_ami.as_str(), new);
    // The image that was built is none to start from, though its name begins like the base's.
    assert_eq!(ids(&farm, &["--name", "ubuntu-22.04-*", "--owner", "self"]), [own]);
    farm.run(&["base", "find", "--name", "*/wf-1/*", "--owner", "self"])
        .refuses(&["all 1 images called `*/wf-1/*` were made by wf-1 itself"]);
}

#[test]
fn what_finds_nothing_or_cannot_be_written_is_told_with_what_to_do_and_changes_nothing() {
    let (farm, _) = published();
    let refusal = |farm: &Farm, arguments: &[&str]| {
        let ran = farm.run(&[&["base", "find", "--write"], arguments].concat());
        let unchanged = std::fs::read_to_string(farm.repo.path().join(FILE)).unwrap();
        assert_eq!(unchanged, PATTERN, "{ran:#?}");
        ran.refusal()
    };
    insta::assert_snapshot!(refusal(&farm, &["--name", "debian-*"]), @"
    error: no available image in us-east-1 is called `debian-*`
     |
     = help: check the pattern (* stands for any text, ? for one character) and the region: names differ from region to region
    ");
    insta::assert_snapshot!(refusal(&farm, &["--owner", "999999999999"]), @"
    error: no x86_64 image of 999999999999 in us-east-1 is called `ubuntu-22.04-*`
     |
     = help: images of this name are of 099720109477 (3), 111122223333 (1), 123456789012 (1): anybody can publish one; if it is one of these that you trust, name it by --owner
    ");
    insta::assert_snapshot!(refusal(&farm, &["--arch", "i386"]), @"
    error: no i386 image of 099720109477 in us-east-1 is called `ubuntu-22.04-*`
     |
     = help: there are images for x86_64: --arch x86_64
    ");
    insta::assert_snapshot!(refusal(&farm, &["--owner", "canonical"]), @r#"
    error: "canonical" is no owner of images
     |
     = help: an owner is an account id of 12 digits (099720109477 is Canonical), self, amazon or aws-marketplace
    "#);
    farm.workflow_in("other", &json!({ "workflow_id": "wf-2" }));
    farm.follow_with(&["roots: [packer_workspaces, other]"]);
    insta::assert_snapshot!(refusal(&farm, &[]), @"
    error: --write is for one workflow, and there are several
     |
     = help: name it by --workflow; their folders: other, packer_workspaces
    ");
    // A repository without a work tree.
    farm.repo.commit("two workflows");
    let bare = farm.folder().join("bare.git");
    farm.repo.git(&["clone", "--quiet", "--bare", ".", &bare.display().to_string()]);
    let path = farm.repo.path().display().to_string();
    farm.reconfigure(|text| text.replace(&path, &bare.display().to_string()));
    let refused = farm.run(&["base", "find", "--write", "--workflow", "wf-1"]);
    refused.refuses(&["has no work tree here to write into", "in a clone"]);
    assert_eq!(farm.run(&["base", "find", "--workflow", "wf-1"]).code, 0);
}
