//! `packer doctor`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::cli::{Cli, CommandOutput};
use crate::harness::readable::readable;
use crate::harness::repo::{Repo, TEMPLATE, WORKFLOW};

const ASKS: &str = "packer {\n  required_version = \">= 1.7\"\n  required_plugins {\n    amazon = {\n      source  = \"github.com/hashicorp/amazon\"\n      version = \">= 1.2\"\n    }\n  }\n}\n";

/// A repository with two steps of which the second names no plugin, and a host.
struct Clinic {
    repo: Repo,
    host: tempfile::TempDir,
}

impl Clinic {
    fn new() -> Self {
        let clinic = Self { repo: Repo::new(), host: tempfile::tempdir().unwrap() };
        clinic.repo.write("packer_workspaces/workflow_param.json", WORKFLOW);
        for (step, template) in [("a", format!("{ASKS}{TEMPLATE}")), ("b", TEMPLATE.to_owned())] {
            let folder = format!("packer_workspaces/{step}");
            let param = format!("{{ \"step_id\": \"{step}\", \"previous_step_id\": null }}\n");
            clinic.repo.write(&format!("{folder}/step_param.json"), param);
            clinic.repo.write(&format!("{folder}/templates/.pkr.hcl"), template);
        }
        clinic.repo.commit("two steps");
        clinic
    }

    fn has_packer(&self, version: &str) -> &Self {
        let file = self.host.path().join("packer");
        std::fs::write(&file, format!("#!/bin/sh\necho 'Packer v{version}'\n")).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn has_plugin(&self, version: &str) -> &Self {
        let processor = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            _ => "arm64",
        };
        let folder = self.host.path().join("plugins/github.com/hashicorp/amazon");
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!("packer-plugin-amazon_v{version}_x5.0_linux_{processor}");
        std::fs::write(folder.join(format!("{name}_SHA256SUM")), "").unwrap();
        std::fs::write(folder.join(name), "").unwrap();
        self
    }

    fn doctor_in(&self, folder: &Path) -> CommandOutput {
        Cli::within(folder)
            .env("RECONCILER_PACKER__BINARY", self.host.path().join("packer"))
            .env("RECONCILER_PACKER__PLUGIN_PATH", self.host.path().join("plugins"))
            .run(&["packer", "doctor"])
    }

    fn doctor(&self) -> CommandOutput {
        self.doctor_in(self.repo.path())
    }

    /// What is said, with the host's folder replaced.
    fn says(&self, code: i32) -> String {
        let ran = self.doctor();
        assert_eq!(ran.code, code, "{ran:#?}");
        readable(&ran.out.replace(&self.host.path().display().to_string(), "HOST"))
    }
}

#[test]
fn what_is_missing_is_told_with_how_to_get_it_until_nothing_is() {
    let clinic = Clinic::new();
    insta::assert_snapshot!(clinic.says(1), @"
    !! Packer is not at HOST/packer
       reconciler packer install
    !! Packer >= 1.7: there is no Packer (for a)
       reconciler packer install
    !! github.com/hashicorp/amazon >= 1.2: not installed (for a)
       packer plugins install github.com/hashicorp/amazon (a build runs `packer init`, which gets it too)
    !! github.com/hashicorp/amazon: not installed (for b)
       packer plugins install github.com/hashicorp/amazon
    No plugin below HOST/plugins
    ");
    clinic.has_packer("1.11.2").has_plugin("1.1.6");
    insta::assert_snapshot!(clinic.says(1), @"
    ok Packer 1.11.2 at HOST/packer
    ok Packer >= 1.7: this is 1.11.2 (for a)
    !! github.com/hashicorp/amazon >= 1.2: installed is 1.1.6 (for a)
       packer plugins install github.com/hashicorp/amazon (a build runs `packer init`, which gets it too)
    ok github.com/hashicorp/amazon: 1.1.6 (for b)
    Plugins below HOST/plugins:
      github.com/hashicorp/amazon 1.1.6
    ");
    clinic.has_plugin("1.3.1");
    insta::assert_snapshot!(clinic.says(0), @"
    ok Packer 1.11.2 at HOST/packer
    ok Packer >= 1.7: this is 1.11.2 (for a)
    ok github.com/hashicorp/amazon >= 1.2: 1.3.1 (for a)
    ok github.com/hashicorp/amazon: 1.3.1 (for b)
    Plugins below HOST/plugins:
      github.com/hashicorp/amazon 1.1.6
      github.com/hashicorp/amazon 1.3.1
    ");
}

#[test]
fn an_old_packer_has_the_amazon_builders_within() {
    let clinic = Clinic::new();
    clinic.has_packer("1.6.6");
    insta::assert_snapshot!(clinic.says(1), @"
    ok Packer 1.6.6 at HOST/packer
    !! Packer >= 1.7: this is 1.6.6 (for a)
       reconciler packer install (the newest), or with --version V
    ok github.com/hashicorp/amazon >= 1.2: Packer 1.6.6 does not know `required_plugins`, which is left out for it (for a)
    ok github.com/hashicorp/amazon: within Packer 1.6.6 (for b)
    No plugin below HOST/plugins
    ");
}

#[test]
fn steps_that_cannot_be_read_are_counted_and_the_rest_is_told() {
    let clinic = Clinic::new();
    clinic.has_packer("1.11.2").has_plugin("1.3.1");
    clinic.repo.write("packer_workspaces/b/templates/.pkr.hcl", "build {\n  sources = [\n}\n");
    clinic.repo.commit("broken");
    let said = clinic.says(1);
    assert!(said.contains("1 step could not be read: see `reconciler check`"), "{said}");
    assert!(said.contains("github.com/hashicorp/amazon >= 1.2: 1.3.1 (for a)"), "{said}");
}

#[test]
fn outside_of_a_repository_it_tells_what_is_installed_and_then_why_no_more() {
    let clinic = Clinic::new();
    clinic.has_packer("1.11.2");
    let nowhere = tempfile::tempdir().unwrap();
    let ran = clinic.doctor_in(nowhere.path());
    ran.refuses(&["is not a git repository"]);
    assert!(ran.out.starts_with("ok Packer 1.11.2 at "), "{ran:#?}");
}
