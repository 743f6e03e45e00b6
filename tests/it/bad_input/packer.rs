//! A Packer that is missing, too old for the template, or without the plugin that the template asks
//! for.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::farm::Farm;

/// A farm with `a`, its child `b`, and `c` beside them; `first` stands above the template of `a`.
fn farm(first: &str) -> Farm {
    let farm = Farm::of_three_steps();
    farm.template("a", |template| format!("{first}{template}"));
    farm.repo.commit("as it is");
    farm
}

/// A program that answers as today's Packer does where a plugin is missing: these are its own
/// lines.
fn without_plugins(folder: &std::path::Path, said: &str) -> PathBuf {
    let path = folder.join("packer");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\nversion) echo 'Packer v1.16.0' ;;\ninit) exit 1 ;;\n*) cat <<'END'\n{said}\nEND\nexit 1 ;;\nesac\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn line(out: &str, step: &str) -> String {
    let found = out.lines().find(|line| line.split_whitespace().next() == Some(step));
    found.unwrap_or_default().to_owned()
}

#[test]
fn a_packer_that_is_too_old_for_one_step_stops_that_step_and_its_descendants_only() {
    let farm = farm("packer {\n  required_version = \">= 99.0\"\n}\n");
    let ran = farm.applies_in_vain();
    assert!(ran.out.contains("] a failed: step `a` asks for Packer >= 99.0, and "), "{}", ran.out);
    assert_eq!(farm.states(), ["backing-off", "blocked", "in-sync"]);
    let status = farm.run(&["status"]).out;
    assert!(line(&status, "a").contains("asks for Packer >= 99.0"), "{status}");
    assert!(line(&status, "b").contains("blocked: a has failed"), "{status}");
    assert_eq!(farm.made_images(), 1, "only c's");
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn a_packer_that_is_missing_is_told_and_nothing_is_recorded() {
    let mut farm = farm("");
    farm.build_with("/nowhere/packer".into()).configure("");
    let ran = farm.applies_in_vain();
    assert!(ran.out.contains("Packer is not at /nowhere/packer"), "{}", ran.out);
    assert_eq!(farm.states(), ["backing-off", "blocked", "backing-off"]);
    assert!(farm.status().steps.iter().all(|step| step.ami_id.is_none()));
    assert_eq!(farm.made_images(), 0);
    let logs = farm.run(&["logs", "a"]);
    logs.refuses(&["has no log: Packer is not at /nowhere/packer", "was not started"]);
}

#[test]
fn a_plugin_that_is_missing_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut farm = farm("");
    for (said, words) in [
        (
            "1795554002,,ui,error,Error: Missing plugins\\n\\nThe following plugins are required%!(PACKER_COMMA) but not installed:\\n\\n* github.com/hashicorp/amazon >= 1.2\\n\\nDid you run packer init for this project ?\\n\\n",
            "Packer lacks the plugin github.com/hashicorp/amazon >= 1.2",
        ),
        (
            "1795554003,,ui,error,Error: Unknown source type amazon-ebs\\n\\n  on x.pkr.hcl line 2:\\n  (source code not available)\\n\\nThe source amazon-ebs is unknown by Packer%!(PACKER_COMMA) and is likely part of a plugin that\\nis not installed.\\n",
            "source amazon-ebs is unknown to this Packer",
        ),
    ] {
        let binary = without_plugins(folder.path(), said);
        farm.build_with(binary).configure("");
        farm.script("a", words);
        farm.script("c", words);
        farm.repo.commit("another try");
        let ran = farm.applies_in_vain();
        assert!(ran.out.contains(words), "{}", ran.out);
        assert!(ran.out.contains("packer plugins install"), "{}", ran.out);
        assert_eq!(farm.states(), ["backing-off", "blocked", "backing-off"]);
        let log = farm.run(&["logs", "a"]).out;
        assert!(log.contains("Error: "), "{log}");
    }
    assert_eq!(farm.made_images(), 0);
}
