//! `docs/parameters.md`, *Steps that a person makes*: its record, put into the table as it says, is
//! what `adopt` takes over.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::read;
use crate::harness::emulator::python;
use crate::harness::fake_packer::{FakePacker, WHOLE};
use crate::harness::farm::Farm;

/// The item of the document.
fn documented() -> Value {
    let text = read("docs/parameters.md");
    let (_, below) = text.split_once("## Steps that a person makes").unwrap();
    let item = below.split("```json").nth(1).unwrap();
    serde_json::from_str(item.split("```").next().unwrap()).unwrap()
}

fn put(farm: &Farm, item: &Value) {
    let mut child = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/put_item.py"))
        .args([&farm.emulator().endpoint(), "us-east-1", "images"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(item.to_string().as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_persons_image_is_recorded_as_documented_and_adopted() {
    const BY_HAND: &str = "ami-0aaaaaaaaaaaaaaaa";
    let packer = FakePacker::new(&format!("[build]\n{WHOLE}"));
    let farm = Farm::with_packer(packer.binary());
    farm.step("pyenv", None);
    let params = json!({ "step_id": "mysql", "previous_step_id": "pyenv" });
    farm.repo.write("packer_workspaces/mysql/step_param.json", params.to_string());
    farm.repo.write("packer_workspaces/mysql/README.md", "Install it by hand.\n");
    farm.commit_and_apply();
    assert_eq!(farm.state_of("mysql"), "awaiting-manual");

    farm.region.make_image(&json!({ "name": "mysql by hand", "id": BY_HAND }));
    let mut item = documented();
    item["workflow_id"]["S"] = json!("wf-1");
    item["base_ami_id"]["S"] = json!(farm.image("pyenv"));
    put(&farm, &item);
    assert_eq!(farm.state_of("mysql"), "unverified");

    let dry = farm.run(&["adopt", "mysql", "--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:#?}");
    insta::assert_snapshot!(dry.printed(0), @"
    = mysql  ami-0aaaaaaaaaaaaaaaa would be adopted
    1 would be adopted, 0 refused
    ");
    assert_eq!(farm.state_of("mysql"), "unverified", "a dry run changes nothing");
    let adopted = farm.run(&["adopt", "mysql"]);
    assert!(adopted.out.contains("1 adopted, 0 refused"), "{adopted:#?}");
    assert_eq!(farm.stages("mysql"), ["adopted"], "the journal knows it");
    insta::assert_snapshot!(farm.run(&["history", "mysql"]).printed(0), @"
    wf-1

      mysql  recorded  ami-0aaaaaaaaaaaaaaaa  [duration] ago
        build [build]  commit [commit]  on [host]
        image mysql by hand, 2026-11-24 from ami-[id]
        [time] UTC  ami-0aaaaaaaaaaaaaaaa adopted by uid [number]@[host]
    ");
    assert_eq!(farm.state_of("mysql"), "in-sync");

    // What was made on another image than the parent's is refused, in a dry run as well.
    item["base_ami_id"]["S"] = json!("ami-0bbbbbbbbbbbbbbbb");
    put(&farm, &item);
    for arguments in [["adopt", "mysql", "--dry-run"].as_slice(), &["adopt", "mysql"]] {
        let refused = farm.run(arguments);
        assert_eq!(refused.code, 1, "{refused:#?}");
        assert!(refused.err.contains("was built on ami-0bbbbbbbbbbbbbbbb"), "{}", refused.err);
    }
}
