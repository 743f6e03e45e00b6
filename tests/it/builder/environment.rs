//! What a build finds around it: the part of the repository that counts, a short list of variables,
//! folders of its own.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::harness::fake_packer::WHOLE;
use crate::harness::farm::{Farm, RECORDED};

/// All that a build may be given.
const VARIABLES: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LD_LIBRARY_PATH",
    "PACKER_PLUGIN_PATH",
    "CHECKPOINT_DISABLE",
    "TMPDIR",
    "AWS_POLL_DELAY_SECONDS",
    "AWS_TIMEOUT_SECONDS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_EC2_METADATA_DISABLED",
];

#[test]
fn a_build_sees_nothing_of_the_daemons_environment_but_a_short_list_and_what_is_passed_on() {
    let (farm, packer) = Farm::playing(&format!("[build]\ndump seen\n{WHOLE}"));
    farm.configure("  pass_env: [HTTPS_PROXY]\n");
    let hostile = [
        ("HCP_PACKER_REGISTRY", "on"),
        ("PACKER_LOG", "1"),
        ("PKR_VAR_image", "another"),
        ("OF_THE_DAEMON", "secret"),
        ("HTTPS_PROXY", "http://proxy.example:3128"),
    ];
    let ran = farm.run_with(&hostile, &["apply"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let seen = packer.saw("seen");
    let environment = seen["environment"].as_object().unwrap();
    let others: Vec<_> =
        environment.keys().filter(|name| !VARIABLES.contains(&name.as_str())).collect();
    assert_eq!(others, ["HTTPS_PROXY"]);
    let temporary = environment["TMPDIR"].as_str().unwrap();
    assert!(temporary.len() <= 70, "{temporary}: sockets fit below it");
    assert!(!Path::new(temporary).exists(), "and it is gone afterwards");
    let arguments = seen["arguments"].to_string();
    assert!(!arguments.contains("test-secret-value"), "{arguments}");
    assert!(!arguments.contains("-force") && !arguments.contains("-on-error"));
}

#[test]
fn a_build_reads_the_files_that_count_and_nothing_else_of_the_repository() {
    let (farm, packer) = Farm::playing(&format!("[build]\nwrite running\nwait go\n{WHOLE}"));
    let step = "packer_workspaces/a";
    farm.step_params("a", None, &json!({ "reconciler": { "include": ["shared/tools"] } }));
    farm.repo
        .write_exec(&format!("{step}/bin/run"), "#!/bin/sh\n")
        .write(&format!("{step}/README.md"), "not for builds\n")
        .write(&format!("{step}/packer_build.py"), "the old entry\n")
        .write(&format!("{step}/leftover.pkr.hcl"), "an older rendering\n")
        .write_exec("shared/tools/tool", "#!/bin/sh\n")
        .write("shared/other", "of somebody else\n")
        .write("id_rsa", "of nobody\n");
    farm.repo.commit("more files");
    let _daemon = farm.daemon();
    farm.wait_for_packer(&packer, "running");
    let folder = farm.only_build().0;
    let laid = files(&folder.join("work"));
    let expected = [
        ("packer_workspaces/a/a.pkr.hcl", 0o600),
        ("packer_workspaces/a/a.pkrvars.hcl", 0o600),
        ("packer_workspaces/a/bin/run", 0o700),
        ("packer_workspaces/a/install.sh", 0o600),
        ("shared/tools/tool", 0o700),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(path, mode)| (path.to_owned(), mode)).into();
    assert_eq!(laid, expected);
    packer.let_go("go");
    farm.settles("a");
    let kept = files(&folder);
    assert!(
        kept.keys().all(|path| !path.starts_with("work/")),
        "after a success the files are gone: {kept:?}"
    );
    assert_eq!(kept["packer.log"], 0o600, "and the log stays");
    assert!(kept.values().all(|mode| mode % 0o100 == 0), "{kept:?}");
}

#[test]
fn a_failed_init_is_a_warning_where_the_template_then_validates() {
    let (farm, packer) = Farm::playing(&format!(
        "version 1.16.0\n[init]\nraw Error: Failed getting the \"github.com/hashicorp/amazon\" plugin\nexit 1\n[build]\n{WHOLE}"
    ));
    let asks = "packer {\n  required_plugins {\n    amazon = {\n      source  = \"github.com/hashicorp/amazon\"\n      version = \">= 1.0\"\n    }\n  }\n}\n";
    farm.template("a", |text| format!("{asks}{text}"));
    let ran = farm.commit_and_apply();
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(farm.stages("a"), RECORDED);
    assert_eq!(packer.runs("init"), 1);
    let logs = farm.run(&["logs", "a"]);
    assert!(logs.out.contains("warning: `packer init` failed"), "{logs:#?}");
}

/// The files below a folder with their modes.
fn files(folder: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap().flatten() {
            let facts = entry.path().symlink_metadata().unwrap();
            if facts.is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(folder).unwrap().to_owned();
                found.insert(path.display().to_string(), facts.permissions().mode() & 0o777);
            }
        }
    }
    found
}
