//! `reconciler.json`: one repository serves this program and the Python library.

use std::process::Command;

use serde_json::json;

use crate::harness::emulator::python;
use crate::harness::farm::Farm;

const SETTINGS: &str = "packer_workspaces/reconciler.json";

/// What the Python library makes of the parameters of a step: its own answer, or its error.
fn library_reads(farm: &Farm, step: &str) -> Result<String, String> {
    let folder = farm.repo.path().join("packer_workspaces").join(step);
    let output = Command::new(python())
        .arg("-c")
        .arg("import sys; from packer_ami_workflow.api import StepParam; print(StepParam.from_json_file(sys.argv[1]).step_id)")
        .arg(folder.join("step_param.json"))
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    let error = String::from_utf8(output.stderr).unwrap();
    Err(error.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn switches_stand_where_the_library_does_not_look_and_rebuild_nothing() {
    let farm = Farm::of_three_steps();
    assert_eq!(farm.commit_and_apply().code, 0);
    let before = ["a", "b", "c"].map(|step| farm.image(step));
    farm.repo.write(
        SETTINGS,
        "{\n  # by hand for now\n  \"steps\": {\"c\": {\"suspend\": true, \"timeout\": \"90m\"}}\n}\n",
    );
    farm.script("c", "echo 2\n");
    farm.repo.commit("c is left alone");
    insta::assert_snapshot!(farm.run(&["plan", "--exit-code"]).printed(0), @"
    wf-1  main@[commit]
      = a  ami-[id]  in sync
      =  b  ami-[id]  in sync
      | c  ami-[id]  suspended by its parameters
    Plan: 1 suspended, 2 in sync.
    ");
    assert_eq!(library_reads(&farm, "c"), Ok("c".to_owned()));
    // What counts of a folder is said there as well, and what was known before is not believed.
    farm.repo.write(SETTINGS, r#"{"steps": {"c": {"ignore": ["install.sh"]}}}"#);
    farm.repo.commit("the script does not count");
    let rebuilt = farm.state_of("c");
    farm.repo.write(SETTINGS, r#"{"$schema": "urn:x", "family": "wf-*"}"#);
    farm.script("c", "echo 1\n");
    farm.repo.commit("as before");
    assert_eq!(farm.states(), ["in-sync", "in-sync", "in-sync"]);
    assert_eq!(rebuilt, "build", "without the script it is another image");
    assert_eq!(before, ["a", "b", "c"].map(|step| farm.image(step)));
}

#[test]
fn the_file_is_laid_out_for_no_build_and_counts_for_none_that_includes_its_folder() {
    let farm = Farm::of_three_steps();
    let switches = |timeout: &str| {
        json!({ "steps": { "a": { "include": ["packer_workspaces"], "timeout": timeout } } })
            .to_string()
    };
    farm.repo.write(SETTINGS, switches("90m"));
    assert_eq!(farm.commit_and_apply().code, 0);
    farm.repo.write(SETTINGS, switches("80m"));
    farm.repo.commit("sooner");
    assert_eq!(farm.state_of("a"), "in-sync");
    farm.repo.write("packer_workspaces/notes.txt", "counts\n");
    farm.repo.commit("what lies beside it counts");
    assert_eq!(farm.state_of("a"), "build");
}

#[test]
fn the_old_place_works_on_with_a_word_and_the_same_switch_in_both_is_refused() {
    let farm = Farm::of_three_steps();
    farm.step_params("a", None, &json!({ "reconciler": { "timeout": "90m" } }));
    farm.repo.commit("as before");
    for _ in 0..2 {
        let checked = farm.run(&["check"]);
        assert_eq!(checked.code, 0, "{checked:#?}");
        for words in [
            "packer_workspaces/a/step_param.json",
            "`reconciler` in step_param.json makes the Python library fail",
            "move what it says to reconciler.json beside workflow_param.json",
        ] {
            assert!(checked.err.contains(words), "{words}: {checked:#?}");
        }
    }
    let refused = library_reads(&farm, "a").unwrap_err();
    assert!(refused.contains("unexpected keyword argument 'reconciler'"), "{refused}");
    farm.repo.write(SETTINGS, r#"{"steps": {"a": {"timeout": "80m"}}}"#);
    farm.repo.commit("in both");
    farm.run(&["check"])
        .refuses(&[
            "switch `timeout` of step `a` is set in packer_workspaces/a/step_param.json as well",
            "the Python library does not understand it there",
        ])
        .points_at("packer_workspaces/reconciler.json:1:29");
}

#[test]
fn what_cannot_be_meant_is_refused_at_its_place_and_nothing_is_planned() {
    let farm = Farm::of_three_steps();
    let refused = |text: &str| {
        farm.repo.write(SETTINGS, text);
        farm.repo.commit("what cannot be meant");
        farm.run(&["plan"]).refusal()
    };
    insta::assert_snapshot!(refused("{\n  \"stpes\": {}\n}\n"), @r#"
    error: there is no key `stpes`
     --> packer_workspaces/reconciler.json:2:12
      |
    2 |   "stpes": {}
      |            ^^
      |
      = help: did you mean `steps`? there are: $schema, family, steps
    "#);
    insta::assert_snapshot!(refused("{\"steps\": {\"aa\": {\"suspend\": true}}}\n"), @r#"
    error: there is no step `aa` at this commit
     --> packer_workspaces/reconciler.json:1:18
      |
    1 | {"steps": {"aa": {"suspend": true}}}
      |                  ^^^^^^^^^^^^^^^^^
      |
      = help: remove it, or name a step by its `step_id`
    "#);
    insta::assert_snapshot!(refused("{\"family\": \"other-*\"}\n"), @r#"
    error: the workflow's own id, `wf-1`, is not of this family
     --> packer_workspaces/reconciler.json:1:12
      |
    1 | {"family": "other-*"}
      |            ^^^^^^^^^
      |
      = help: `*` stands for any characters; the rest has to be as in workflow_param.json
    "#);
}

#[test]
fn a_step_that_there_is_not_is_refused_beside_a_broken_one_too() {
    let farm = Farm::of_three_steps();
    farm.repo.write(SETTINGS, r#"{"steps": {"cc": {"suspend": true}}}"#);
    farm.repo
        .write("packer_workspaces/x/step_param.json", r#"{"step_id": "d", "previous_step_id": 5}"#);
    farm.repo.commit("a broken step beside it");
    farm.run(&["plan"]).refuses(&["there is no step `cc` at this commit"]);
}

#[test]
fn a_link_in_its_place_stops_its_own_workflow_only() {
    let farm = Farm::of_three_steps();
    farm.workflow_in("workflow", &json!({ "workflow_id": "other" }));
    std::os::unix::fs::symlink("/etc/hosts", farm.repo.path().join("workflow/reconciler.json"))
        .unwrap();
    farm.repo.commit("a link");
    let said = farm.run(&["plan"]);
    assert!(said.err.contains("is a symbolic link, which is not followed"), "{said:#?}");
    assert!(said.err.contains("workflow/reconciler.json"), "{said:#?}");
    assert!(!said.err.contains("localhost"), "{said:#?}");
    assert_eq!(farm.run(&["plan", "--workflow", "wf-1"]).code, 0);
}

#[test]
fn a_second_file_in_the_folder_of_a_step_is_refused() {
    let farm = Farm::of_three_steps();
    farm.repo
        .write("packer_workspaces/a/reconciler.json", r#"{"steps": {"a": {"suspend": true}}}"#);
    farm.repo.commit("in the wrong place");
    insta::assert_snapshot!(farm.run(&["plan"]).printed(1), @"
    wf-1  main@[commit]
      + c  -  build: no inventory yet
      ! a  -  broken: packer_workspaces/a/reconciler.json: is not looked at, for it lies in the folder of a step
      .  b  -  blocked: a is broken
    No inventory at DynamoDB table images in us-east-1 yet: if there should be one, another place is meant (`state_dir`, `inventory`).
    Plan: 1 to build, 1 broken, 1 blocked.
    ");
}
