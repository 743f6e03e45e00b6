//! The real Python library builds steps of its own on what the reconciler has recorded, and the
//! reconciler goes on from there: one repository and one table for both.

use std::fs;

use serde_json::{Value, json};

use crate::harness::by_hand::{changed, image_of};
use crate::harness::farm::{BASE, Farm};
use crate::harness::python_library::images;
use crate::harness::sshd::Sshd;

/// Four steps in a line, of which a person makes `hand`; those after it look for what the ones
/// before them have left on the disk. All but what a person makes is done.
fn farm(sshd: &Sshd, settings: &Value) -> Farm {
    let farm = Farm::new();
    farm.configure("interval: 1h\nlease_duration: 3s\n").provision_at(sshd);
    // The library must be told all of them.
    farm.workflow(&json!({
        "vpc_name": "", "subnet_name": "", "security_group_name": "", "ec2_iam_role_name": "",
    }));
    farm.repo.write("packer_workspaces/reconciler.json", settings.to_string());
    farm.step("a", None).step("b", Some("hand")).step("c", Some("b"));
    farm.step_params("hand", Some("a"), &json!({}));
    for (step, found) in [("b", "by-hand"), ("c", "by-b")] {
        let shell = format!(
            "  provisioner \"shell\" {{\n    inline = [\"test -e {found}\", \"touch by-{step}\"]\n  }}\n}}"
        );
        farm.template(step, |text| {
            let (text, end) = text.rsplit_once('}').unwrap();
            let text = text.replace("communicator  = \"none\"", "ssh_username  = \"ubuntu\"");
            text + &shell + end
        });
    }
    farm.commit_and_apply();
    assert_eq!(farm.state_of("hand"), "awaiting-manual");
    farm
}

/// The library builds a step on what is recorded of its parent, and records its image.
fn is_built_by_the_library(farm: &Farm, step: &str, parent: &str) -> String {
    let (source, name) = (farm.image(parent), farm.image_name(parent));
    let known = farm.library("build", step);
    assert_eq!(known["source_ami_id"], source.as_str());
    assert_eq!(known["source_ami_name"], name);
    let image = farm.image(step);
    assert_eq!(known["output_ami_name"], farm.image_name(step));
    let catalog = farm.read_by_python("wf-1", step);
    assert_eq!(images(&catalog, "by_step"), [image.as_str()]);
    assert_eq!(catalog["image"]["base_ami_id"], source.as_str());
    assert_eq!(catalog["image"]["root_base_ami_id"], BASE);
    image
}

/// The reconciler takes over what the library has recorded, and the library reads it as before.
fn is_adopted(farm: &Farm, step: &str) {
    let (image, built) = (farm.image(step), farm.made_images());
    let before = farm.read_by_python("wf-1", step)["image"].clone();
    farm.run(&["adopt", step]).shows(&["1 adopted, 0 refused"]);
    assert_eq!(farm.stages(step).last().unwrap(), "adopted");
    assert_eq!((farm.image(step), farm.made_images()), (image, built), "nothing is built");
    assert_eq!(farm.read_by_python("wf-1", step)["image"], before);
}

/// What the records say an image was made from, nearest first.
fn ancestors(farm: &Farm, image: &str) -> Vec<String> {
    let shown = farm.run(&["image", "show", image, "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let made = shown["images"][0]["ancestry"].as_array().unwrap_or_else(|| panic!("{shown}"));
    made.iter().map(|one| one["ami_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn on_an_image_made_by_hand_and_on_an_adopted_one_the_library_builds_its_next_step() {
    let sshd = Sshd::start();
    let farm = farm(&sshd, &json!({ "family": "wf-*", "steps": { "hand": { "manual": true } } }));
    let instance = changed(&farm, &sshd, &farm.image("a"), "touch by-hand");
    assert_eq!(
        farm.run(&["image", "create", "--step", "hand", "--instance-id", &instance]).code,
        0
    );
    let b = is_built_by_the_library(&farm, "b", "hand");
    insta::assert_snapshot!(farm.run(&["plan"]).printed(0), @"
    wf-1  main@[commit]
      = a  ami-[id]  in sync
      =  hand  ami-[id]  in sync
      ?  b  ami-[id]  unverified: recorded by the Python library; `reconciler adopt b` takes it over
      .  c  -  blocked: b is unverified
    Plan: 1 blocked, 1 unverified, 2 in sync.
    ");
    is_adopted(&farm, "b");
    assert_eq!(farm.state_of("b"), "in-sync");
    let c = is_built_by_the_library(&farm, "c", "b");
    assert_eq!(farm.state_of("c"), "unverified");
    is_adopted(&farm, "c");
    assert!(farm.is_in_sync());
    farm.applies();
    assert_eq!(farm.made_images(), 4);
    assert_eq!(farm.read_by_python("wf-1", "c")["by_workflow"].as_array().unwrap().len(), 4);
    let [a, hand] = ["a", "hand"].map(|step| farm.image(step));
    assert_eq!(ancestors(&farm, &c), [b.as_str(), &hand, &a, BASE]);
}

/// Steps that git suspends are the library's to build; a daemon builds what follows.
#[test]
fn beside_a_daemon_the_library_builds_a_suspended_step_and_what_the_daemon_has_built() {
    let sshd = Sshd::start();
    let farm = farm(&sshd, &json!({ "steps": { "b": { "suspend": true } } }));
    let _daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let instance = changed(&farm, &sshd, &farm.image("a"), "touch by-hand");
    let image = image_of(&farm, &instance, "by hand");
    farm.run(&["adopt", "hand", "--image", &image]).shows(&["1 adopted, 0 refused"]);
    let b = is_built_by_the_library(&farm, "b", "hand");
    assert_eq!(farm.state_of("b"), "suspended");
    is_adopted(&farm, "b");
    farm.wait_for_state("c", "in-sync");
    let of_the_daemon = farm.image("c");
    assert_eq!(ancestors(&farm, &of_the_daemon)[0], b);
    let of_the_library = is_built_by_the_library(&farm, "c", "b");
    assert_eq!(farm.state_of("c"), "unverified");
    is_adopted(&farm, "c");
    assert_eq!(farm.state_of("c"), "in-sync");
    farm.run(&["history", "c"]).shows(&[&of_the_daemon, &of_the_library]);
}

/// A record as the library keeps it, of an image that is there.
fn recorded(farm: &Farm, step: &str, parent: Option<&Value>) -> Value {
    let (workflow, root) = ("game-server-2026-11-23-12-00-00", "ubuntu-22.04-server-20261101");
    let name = format!("{root}/{workflow}/{step}");
    let image = farm.region.make_image(&json!({ "name": name }));
    let of_parent = |key: &str| parent.map(|parent| parent[key].clone());
    json!({
        "workflow_id": workflow, "step_id": step, "ami_id": image, "ami_name": name,
        "create_at": "2026-11-23T12:00:00+00:00", "aws_console_url": "https://console.example",
        "base_ami_id": of_parent("ami_id").unwrap_or_else(|| json!(BASE)),
        "base_ami_name": of_parent("ami_name").unwrap_or_else(|| json!(root)),
        "root_base_ami_id": BASE, "root_base_ami_name": root, "details": {}, "metadata": {},
    })
}

/// A text in which this name of an image is not followed by the fingerprint.
fn as_the_library_names(text: &str, name: &str) -> String {
    let with_more = format!("{name}/");
    let mut parts = text.split(&with_more);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, rest| text + name + &rest[8..])
}

/// The first day of somebody who comes from the library, with the repository that we ship.
#[test]
fn one_repository_is_checked_rendered_and_planned_by_both() {
    const STEPS: [(&str, &str, Option<usize>); 5] = [
        ("s01-pyenv", "pyenv", None),
        ("s02-mysql", "mysql", Some(0)),
        ("s03-build-deps", "build_deps", Some(0)),
        ("s04-server-data", "server_data", Some(2)),
        ("s05-built-core", "built_core", Some(3)),
    ];
    let farm = Farm::new();
    farm.repo.remove("packer_workspaces").copy_in("packer_workspaces", "packer_workspaces");
    farm.repo.commit("as the library has built it");
    let mut records = Vec::new();
    for (_, step, parent) in STEPS {
        records.push(recorded(&farm, step, parent.map(|parent| &records[parent])));
    }
    farm.save_by_python(&json!(records));
    farm.run(&["adopt"]).shows(&["5 adopted, 0 refused"]);
    let planned = || farm.run(&["plan"]).shows(&["Plan: 5 in sync."]).out.clone();
    let plan = planned();
    for ((folder, step, _), record) in STEPS.iter().zip(&records) {
        let known = farm.library("validate", folder);
        assert_eq!(known["source_ami_id"], record["base_ami_id"], "{step}");
        let name = known["output_ami_name"].as_str().unwrap();
        let rendered = farm.folder().join(step);
        farm.run(&["render", step, "--out", rendered.to_str().unwrap()]).shows(&[]);
        let files = known["rendered"].as_object().unwrap();
        assert_eq!(files.len(), fs::read_dir(&rendered).unwrap().count(), "{step}");
        for (file, text) in files {
            let ours = fs::read_to_string(rendered.join(file)).unwrap();
            assert_eq!(as_the_library_names(&ours, name), text.as_str().unwrap(), "{file}");
        }
    }
    // What the library leaves in the work tree is nothing to us.
    farm.run(&["check", "--packer"]).shows(&["5 steps"]);
    assert_eq!(planned(), plan);
}
