//! Templates: what Jinja and HCL say, and what can be told of them before Packer runs.

use super::{TEMPLATE, case, table};

#[test]
fn what_is_sound_passes_and_what_is_not_is_shown_at_its_place() {
    table(&[
        case("a sound workflow is sound").passes(&["1 step, sound"]),
        case("a name that is undefined is refused at its place")
            .template(TEMPLATE.replace("t3.micro", "{{ params.enviroment }}"))
            .refused(&[
                "`params.enviroment` is undefined",
                "did you mean `environment`?",
                "packer_workspaces/a/templates/.pkr.hcl:5:23",
            ]),
        case("what would take the old image away is refused")
            .in_source("  force_deregister = true")
            .refused(&["`force_deregister` is refused", "a.pkr.hcl (rendered):2:3"]),
        case("a provisioner is nobody's business")
            .in_build("  provisioner \"shell\" {\n    inline = [\"true\"]\n  }")
            .passes(&["sound"])
            .never(&["error"]),
        case("a setting of the environment counts")
            .env("RECONCILER_AMI_NAME", "{step_id}")
            .refused(&["{fingerprint}"]),
        case("the rendered files are shown")
            .runs(&["render", "a"])
            .passes(&["source_ami    = \"ami-0123456789abcdef0\""]),
    ]);
}
