//! A rotated secret is a change; one that is not there is said, and nothing is taken for unchanged.

use crate::harness::farm::Farm;

/// A step that puts one secret into a file that a build reads.
fn farm() -> Farm {
    let mut farm = Farm::new();
    farm.env("DB_PASSWORD", "first-value").env("AMI_KEY", "the key of all hosts");
    farm.configure(
        "secrets:\n  fingerprint_key: env:AMI_KEY\n  values:\n    db: env:DB_PASSWORD\n    api: env:API_TOKEN\n",
    );
    farm.step("good", None).step("other", None);
    secret_in(&farm, "secret('db')");
    farm.repo.commit("two steps");
    farm
}

fn secret_in(farm: &Farm, expression: &str) {
    let declared = "variable \"db\" {\n  type = string\n}\n";
    farm.template("good", |text| format!("{declared}{}", text.replace(declared, "")));
    farm.repo.write(
        "packer_workspaces/good/templates/.pkrvars.hcl",
        format!("image = \"{{{{ builder.output_ami_name }}}}\"\ndb = \"{{{{ {expression} }}}}\"\n"),
    );
}

#[test]
fn a_rotated_secret_rebuilds_the_steps_that_ask_for_it_and_says_its_name_only() {
    let mut farm = farm();
    farm.applies();
    let idle = farm.run(&["plan", "--exit-code"]);
    assert_eq!(idle.code, 0, "{idle:#?}");
    farm.env("DB_PASSWORD", "second-value");
    insta::assert_snapshot!(farm.run(&["plan"]).printed(0), @"
    wf-1  main@[commit]
      ~ good  ami-[id]  rebuild: secret changed: db
      = other  ami-[id]  in sync
    Plan: 1 to build, 1 in sync. In sync in about [duration].
    ");
    farm.applies();
    assert_eq!(farm.made_images(), 3);

    // And again, of the same commit: a changed value is a changed input, not a repetition.
    farm.env("DB_PASSWORD", "third-value");
    farm.applies();
    assert_eq!(farm.made_images(), 4);
    farm.env("AMI_KEY", "another key");
    let plan = farm.run(&["plan"]);
    assert!(plan.out.contains("secret changed: db"), "{plan:#?}");
}

#[test]
fn a_secret_that_may_change_without_a_rebuild_says_so() {
    let mut farm = farm();
    secret_in(&farm, "secret('db', rotate=false)");
    farm.repo.commit("keep it");
    farm.applies();
    farm.env("DB_PASSWORD", "second-value");
    let plan = farm.run(&["plan", "--exit-code"]);
    assert_eq!(plan.code, 0, "{plan:#?}");
}

#[test]
fn an_unknown_secret_lists_those_that_there_are_and_a_missing_value_is_no_in_sync() {
    let farm = farm();
    secret_in(&farm, "secret('dbb')");
    farm.repo.commit("a typo");
    for command in ["check", "plan"] {
        let ran = farm.run(&[command]);
        ran.refuses(&["there is no secret `dbb`", "api, db"]);
    }
    secret_in(&farm, "secret('api')");
    farm.repo.commit("a secret that this host does not have");
    let check = farm.run(&["check"]);
    assert_eq!(check.code, 0, "values are the build host's matter: {check:#?}");
    let plan = farm.run(&["plan"]);
    plan.refuses(&["cannot be told", "secret `api`", "API_TOKEN is not set"]);
    assert!(plan.out.contains("other"), "the others are planned");

    secret_in(&farm, "secret('db') | upper");
    farm.repo.commit("a filter");
    insta::assert_snapshot!(farm.run(&["check"]).refusal(), @r#"
    error: a filter or a method is used on a secret, which is put in whole or not at all
    --> packer_workspaces/good/templates/.pkrvars.hcl
     = help: write "{{ secret('name') }}" within quotes, and use a function of Packer on it, such as base64encode
    "#);
    secret_in(&farm, "secret('db')");
    farm.template("good", |text| {
        text.replace("ami_name ", "tags = { a = \"{{ secret('db') }}\" }\n  ami_name ")
    });
    farm.repo.commit("a secret in a tag");
    insta::assert_snapshot!(farm.run(&["check"]).refusal(), @r#"
    error: `tags` would show a secret to everybody who may describe images: it stands there
     --> good.pkr.hcl:8:3
      |
    8 |   tags = { a = "[reconciler-secret:db]" }
      |   ^^^^
      |
      = help: take the secret out of it
    "#);
}
