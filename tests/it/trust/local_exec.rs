//! `deny_local_exec` through the program: a step that reaches for the build host is broken and says
//! where; the others go on.

use super::{Guarded, TEMPLATE};

const PLACE: &str = "packer_workspaces/a/a.pkr.hcl (rendered):";

fn with(template: &str) -> Guarded {
    let guarded = Guarded::new(&["deny_local_exec: true"]);
    guarded.repo.write("packer_workspaces/a/templates/.pkr.hcl", template);
    guarded.repo.commit("as it is");
    guarded
}

#[test]
fn a_local_provisioner_breaks_its_step_at_its_place() {
    let local =
        TEMPLATE.replace("build {", "build {\n  provisioner \"shell-local\" { inline = [\"id\"] }");
    let guarded = with(&local);
    for command in [&["check"] as &[&str], &["plan", "--offline"]] {
        let ran = guarded.run(command);
        ran.refuses(&["`shell-local` runs on the build host", "deny_local_exec"])
            .points_at(&format!("{PLACE}6:15"));
    }
    guarded.ask(&[]).plans();
}

#[test]
fn a_file_that_jinja_put_there_is_seen_as_packer_will_see_it() {
    let read = TEMPLATE
        .replace("ami_name   =", "user_data  = fi{{ 'le(\"/etc/passwd\")' }}\n  ami_name   =");
    let ran = with(&read).run(&["plan", "--offline"]);
    ran.refuses(&["`/etc/passwd` is outside of the step"]).points_at(&format!("{PLACE}3:21"));
}

#[test]
fn what_was_worked_out_without_the_rule_is_looked_at_again_under_it() {
    let guarded =
        with(&TEMPLATE.replace("build {", "build {\n  post-processor \"shell-local\" {}"));
    guarded.ask(&[]).plans();
    guarded.ask(&["deny_local_exec: true"]);
    guarded.plan().refuses(&["`shell-local`"]);
}

#[test]
fn a_plugin_in_the_step_folder_is_not_run() {
    let guarded = with(TEMPLATE);
    guarded.plans();
    guarded.repo.write_exec("packer_workspaces/a/packer-provisioner-shell", "#!/bin/sh\n");
    guarded.repo.commit("a plugin");
    guarded.plan().refuses(&["packer-provisioner-shell", "the name of a plugin"]);
}
