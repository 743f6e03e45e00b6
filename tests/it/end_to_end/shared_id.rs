//! Two workflows that come to share an id under a daemon: what was begun is carried to its end,
//! nothing new is begun, and nobody else stops.

use serde_json::json;

use crate::harness::farm::{Farm, QUICK};

const FOLDER: &str = "packer_workspaces";

fn copy(farm: &Farm, id: &str) {
    let of = |path: &str| std::fs::read_to_string(farm.repo.path().join(path)).unwrap();
    let params = of(&format!("{FOLDER}/workflow_param.json"));
    let mut params: serde_json::Value = serde_json::from_str(&params).unwrap();
    if !id.is_empty() {
        params["workflow_id"] = json!(id);
    }
    farm.repo.write("workflow/workflow_param.json", params.to_string());
    for folder in ["", "templates/"] {
        let path = format!("{FOLDER}/a/{folder}");
        let entries = std::fs::read_dir(farm.repo.path().join(&path)).unwrap();
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        for file in files {
            let name = file.file_name().into_string().unwrap();
            let content = of(&format!("{path}{name}"));
            farm.repo.write(&format!("workflow/a/{folder}{name}"), content);
        }
    }
}

#[test]
fn an_open_build_is_settled_and_nothing_new_is_begun_until_each_has_an_id_of_its_own() {
    let farm = Farm::of_three_steps();
    farm.configure(QUICK);
    farm.repo.commit("three steps");
    farm.images_are_pending_for(6);
    let _daemon = farm.daemon_on("one");
    farm.wait_until("a build runs", |farm| {
        farm.status()
            .steps
            .iter()
            .filter_map(|step| step.build.as_ref())
            .any(|build| build.stage == "packer runs")
    });
    copy(&farm, "");
    farm.repo.commit("a second workflow of the same id");
    farm.wait_until("both are named", |farm| {
        let said = farm.log("one");
        said.contains("packer_workspaces/workflow_param.json")
            && said.contains("workflow/workflow_param.json")
    });
    farm.images_are_pending_for(0);
    let counted = |farm: &Farm, words: &str| farm.log("one").matches(words).count();
    let begun = counted(&farm, "build started");
    farm.wait_until("the open builds are recorded", |farm| {
        counted(farm, "image recorded") == begun
    });
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(farm.made_images(), begun, "nothing new is begun");
    assert!(begun < 3, "the child of one was not begun before");
    let said = farm.log("one");
    assert_eq!(said.matches("none of them is acted on").count(), 2, "once for each: {said}");

    copy(&farm, "another-id");
    farm.repo.commit("an id of its own");
    farm.wait_until("all of both are built", |farm| farm.made_images() == 4);
    farm.wait_until_nothing_is_left();
}
