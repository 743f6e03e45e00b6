//! `reconciler image show`: all that is known of one image.

use serde_json::{Value, json};

use crate::harness::farm::{BASE, Farm, in_runtime};

fn shown(farm: &Farm, arguments: &[&str]) -> Value {
    let ran = farm.run(&[&["image", "show", "--output", "json"], arguments].concat());
    assert_eq!(ran.code, 0, "{ran:#?}");
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said["schema"], "reconciler.image/1");
    said["images"][0].clone()
}

/// The texts of a field of each of a list.
fn each(list: &Value, field: &str) -> Vec<String> {
    let all = list.as_array().unwrap().iter();
    all.map(|one| one[field].as_str().unwrap_or_default().to_owned()).collect()
}

fn started_from(farm: &Farm, image: &str) -> String {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let started = ec2.run_instances().image_id(image).min_count(1).max_count(1).send().await;
        started.unwrap().instances()[0].instance_id.clone().unwrap()
    })
}

#[test]
fn an_image_is_shown_with_its_record_ancestry_what_was_built_on_it_and_what_uses_it() {
    let farm = Farm::of_three_steps();
    assert_eq!(farm.commit_and_apply().code, 0);
    let (old, child) = (farm.image("a"), farm.image("b"));
    farm.script("a", "echo 2\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    let (new, grandchild) = (farm.image("a"), farm.image("b"));
    let instance = started_from(&farm, &new);

    let step = shown(&farm, &["a"]);
    assert_eq!((&step["ami_id"], &step["state"]), (&json!(new), &json!("available")));
    assert_eq!((&step["own"], &step["facts"]["size_gib"]), (&json!(true), &json!(15)));
    assert_eq!(each(&step["records"], "step_id"), ["a"]);
    assert_eq!(each(&step["ancestry"], "ami_id"), [BASE]);
    assert_eq!(each(&step["ec2_ancestry"], "ami_id"), [new.as_str(), BASE]);
    assert_eq!(each(&step["built_on_it"], "ami_id"), [grandchild.as_str()]);
    assert_eq!(step["used_by"], json!([{ "kind": "instance", "name": instance }]));
    assert_eq!(step["not_looked_at"], json!([]));
    assert_eq!(step["tags"]["env"], "test");
    let link = step["aws_console_url"].as_str().unwrap();
    assert!(link.ends_with(&format!("#ImageDetails:imageId={new}")), "{link}");

    // An earlier image is in no record, and in the journal.
    let earlier = shown(&farm, &[&old]);
    assert_eq!((&earlier["records"], &earlier["used_by"]), (&json!([]), &json!([])));
    assert_eq!(each(&earlier["made"], "step_id"), ["a"]);
    assert_eq!(each(&earlier["built_on_it"], "ami_id"), [child.as_str()]);
    let child = shown(&farm, &[&child]);
    assert_eq!(each(&child["ancestry"], "ami_id"), [old.as_str(), BASE]);
    // So is the base, of which only EC2 could say where it comes from.
    let base = shown(&farm, &[BASE]);
    assert_eq!(base["made"], json!([]));
    assert_eq!(base["built_on_it"].as_array().unwrap().len(), 3);
    let printed = farm.run(&["image", "show", "b"]).printed(0);
    let ids = regex_lite::Regex::new(r"\b(snap-[0-9a-f]{8,17}|[0-9a-f]{64})\b").unwrap();
    insta::assert_snapshot!(ids.replace_all(&printed, "[id]"), @"
    ami-[id]  base/wf-1/b/[fingerprint]  available in us-east-1
      step  b of workflow wf-1, current, build [build]
      made  [duration] ago, of 123456789012 (yours)
      size  15 GiB ([id]), x86_64
      comes from  ami-[id]  base/wf-1/a/[fingerprint]  (a of workflow wf-1)
                   ami-0123456789abcdef0  base
      EC2 says  the same: from ami-[id], from ami-0123456789abcdef0
      built on it  nothing
      used by  nothing that EC2 knows of
      tags  Name = base/wf-1/b/[fingerprint]
                   env = test
                   packer:base_ami_id = ami-[id]
                   packer:base_ami_name = base/wf-1/a/[fingerprint]
                   packer:root_base_ami_id = ami-0123456789abcdef0
                   packer:root_base_ami_name = base
                   reconciler:build-id = [build]
                   reconciler:fingerprint = [id]
                   reconciler:git-commit = [commit]
                   reconciler:step-id = b
                   reconciler:workflow-id = wf-1
      console  https://us-east-1.console.aws.amazon.com/ec2/home?region=us-east-1#ImageDetails:imageId=ami-[id]
    ");
}

#[test]
fn what_cannot_be_looked_at_is_told_with_the_permission_and_an_ec2_that_knows_no_ancestry_too() {
    let farm = Farm::of_three_steps();
    farm.repo.commit("three steps");
    assert_eq!(farm.run(&["apply", "a"]).code, 0);
    let image = farm.image("a");
    farm.faults(&json!([
        { "operation": "DescribeFleets", "kind": "denied" },
        { "operation": "GetImageAncestry", "kind": "unheard-of" },
    ]));
    let ran = farm.run(&["image", "show", &image]);
    ran.shows(&[
        "unknown whether a fleet names it",
        "(needs the permission ec2:DescribeFleets)",
        "nothing of where it comes from: EC2 refused ec2:GetImageAncestry",
    ]);
    farm.no_faults();
    farm.deregister(&image);
    let gone = shown(&farm, &[&image]);
    assert_eq!((&gone["state"], &gone["own"]), (&Value::Null, &Value::Null));
    assert_eq!(each(&gone["records"], "step_id"), ["a"], "the record still names it");
    farm.run(&["image", "show", "ami-00000000000000000"])
        .refuses(&["no image ami-00000000000000000 is known", "images --all"]);
    farm.run(&["image", "show", "d"]).refuses(&["there is no step `d`"]);
    farm.run(&["image", "show", "c"]).refuses(&["no image of step `c` is recorded in DynamoDB"]);
}
