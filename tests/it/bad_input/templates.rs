//! Templates that cannot be rendered, or that make no image, or two.

use super::{TEMPLATE, check, sound};
use crate::harness::cli::Ran;

const FILE: &str = "packer_workspaces/b/templates/.pkr.hcl";

fn with(text: impl AsRef<[u8]>) -> Ran {
    let repo = sound();
    repo.write(FILE, text);
    check(&repo)
}

#[test]
fn a_syntax_error_is_shown_at_its_place() {
    with("{% if x %}\n").refuses(&["`{% if %}` is never closed", "{% endif %}"]).points_at(FILE);
    with("a\n{{ builder. }}\n").refuses(&["template syntax"]).points_at(&format!("{FILE}:2:"));
}

#[test]
fn an_undefined_name_is_shown_with_those_that_exist() {
    with("x\n{{ builder.workflow_param.aws_regio }}")
        .refuses(&[
            "`builder.workflow_param.aws_regio` is undefined",
            "did you mean `aws_region`?",
            "workflow_id",
        ])
        .points_at(&format!("{FILE}:2:4"));
}

#[test]
fn packers_braces_outside_of_raw_are_named_as_such() {
    with("execute_command = \"{{ .Vars }} bash {{ .Path }}\"")
        .refuses(&["{% raw %}", "Packer's own"])
        .points_at(&format!("{FILE}:1:"));
    with("name = \"x-{{timestamp}}\"").refuses(&["{% raw %}"]);
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    with("{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}")
        .refuses(&["does not end"]);
}

#[test]
fn a_template_that_is_not_utf8_is_named() {
    with(b"# one\nx = \"\xff\"\n")
        .refuses(&["not UTF-8", "save the template as UTF-8"])
        .points_at(&format!("{FILE}:2:6"));
}

#[test]
fn a_step_makes_exactly_one_image() {
    with(TEMPLATE.replace("sources = [\"source.amazon-ebs.x\"]", "")).refuses(&[
        "makes no image",
        "packer_workspaces/b/b.pkr.hcl (rendered)",
        "help:",
    ]);
    with(TEMPLATE.replace(
        "[\"source.amazon-ebs.x\"]",
        "[\"source.amazon-ebs.x\", \"source.amazon-ebs.y\"]",
    ))
    .refuses(&["makes 2 images", "split the step"])
    .points_at("packer_workspaces/b/b.pkr.hcl (rendered):6:37");
    with(TEMPLATE.replace("amazon-ebs", "docker"))
        .refuses(&["makes no machine image: the source `docker.x`"])
        .points_at("packer_workspaces/b/b.pkr.hcl (rendered):6:14");
    with(TEMPLATE.replace("[\"source.amazon-ebs.x\"]", "[\"source.amazon-ebs.y\"]"))
        .refuses(&["no `source` block declares it", "there are: amazon-ebs.x"])
        .points_at("packer_workspaces/b/b.pkr.hcl (rendered):6:14");
}

#[test]
fn a_branch_for_one_source_image_is_checked_as_well() {
    with(
        "{% if builder.source_ami_id == 'ami-0aaaaaaaaaaaaaaaa' %}{{ nothing }}{% endif %}\n"
            .to_owned()
            + TEMPLATE,
    )
    .refuses(&["`nothing` is undefined (where the step starts from ami-0aaaaaaaaaaaaaaaa)"])
    .points_at(&format!("{FILE}:1:"));
    with(
        TEMPLATE.to_owned()
            + "{% if builder.source_ami_id == 'ami-0aaaaaaaaaaaaaaaa' %}build {\n  sources = [\"source.amazon-ebs.x\"]\n}\n{% endif %}",
    )
    .refuses(&["makes 2 images", "where the step starts from ami-0aaaaaaaaaaaaaaaa"]);
}

#[test]
fn malformed_hcl_and_force_deregister_are_refused() {
    with("build {\n").refuses(&["malformed HCL"]).points_at("packer_workspaces/b/b.pkr.hcl");
    with(TEMPLATE.replace("source_ami =", "force_deregister = true\n  source_ami ="))
        .refuses(&["`force_deregister` is refused", "old image"])
        .points_at("packer_workspaces/b/b.pkr.hcl (rendered):2:3");
}
