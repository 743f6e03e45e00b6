//! Templates that cannot be rendered, or that make no image, or two.

use super::{TEMPLATE, check, sound};
use crate::harness::cli::CommandOutput;

const FILE: &str = "packer_workspaces/b/templates/.pkr.hcl";

fn with(text: impl AsRef<[u8]>) -> CommandOutput {
    let repo = sound();
    repo.write(FILE, text);
    check(&repo)
}

#[test]
fn a_syntax_error_is_shown_at_its_place() {
    insta::assert_snapshot!(with("{% if x %}\n").refusal(), @"
    error: `{% if %}` is never closed
     --> packer_workspaces/b/templates/.pkr.hcl:1:1
      |
    1 | {% if x %}
      | ^^^^^^^^^^
      |
      = help: put {% endif %} behind what belongs to it
    ");
    insta::assert_snapshot!(with("a\n{{ builder. }}\n").refusal(), @"
    error: template syntax: unexpected end of variable block, expected identifier or integer
     --> packer_workspaces/b/templates/.pkr.hcl:2:13
      |
    2 | {{ builder. }}
      |             ^^
    ");
}

#[test]
fn an_undefined_name_is_shown_with_those_that_exist() {
    insta::assert_snapshot!(with("x\n{{ builder.workflow_param.aws_regio }}").refusal(), @"
    error: `builder.workflow_param.aws_regio` is undefined
     --> packer_workspaces/b/templates/.pkr.hcl:2:4
      |
    2 | {{ builder.workflow_param.aws_regio }}
      |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `aws_region`? `builder.workflow_param` has: workflow_id, region_name, is_default_vpc, root_base_ami_id, root_base_ami_name, profile_name, aws_access_key_id, aws_secret_access_key, aws_session_token, aws_tags, aws_region
    ");
}

#[test]
fn packers_braces_outside_of_raw_are_named_as_such() {
    insta::assert_snapshot!(with("execute_command = \"{{ .Vars }} bash {{ .Path }}\"").refusal(), @r#"
    error: template syntax: unexpected `.`
     --> packer_workspaces/b/templates/.pkr.hcl:1:23
      |
    1 | execute_command = "{{ .Vars }} bash {{ .Path }}"
      |                       ^
      |
      = help: these braces are Packer's own: wrap them in {% raw %}…{% endraw %}
    "#);
    insta::assert_snapshot!(with("name = \"x-{{timestamp}}\"").refusal(), @r#"
    error: `timestamp` is undefined
     --> packer_workspaces/b/templates/.pkr.hcl:1:13
      |
    1 | name = "x-{{timestamp}}"
      |             ^^^^^^^^^
      |
      = help: these braces are Packer's own: wrap them in {% raw %}…{% endraw %}
    "#);
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let ran = with(
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
    );
    insta::assert_snapshot!(ran.refusal(), @"
    error: the template does not end: it was stopped after five million steps
     --> packer_workspaces/b/templates/.pkr.hcl:1:60
      |
    1 | {% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}
      |                                                            ^
      |
      = help: look for a loop or a macro that calls itself
    ");
}

#[test]
fn a_template_that_is_not_utf8_is_named() {
    insta::assert_snapshot!(with(b"# one\nx = \"\xff\"\n").refusal(), @r#"
    error: is not UTF-8: the byte at 11 is wrong
     --> packer_workspaces/b/templates/.pkr.hcl:2:6
      |
    2 | x = "�"
      |      ^
      |
      = help: save the template as UTF-8
    "#);
}

#[test]
fn a_step_makes_exactly_one_image() {
    let ran = with(TEMPLATE.replace("sources = [\"source.amazon-ebs.x\"]", ""));
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: makes no image: no `build` block names a source
    --> packer_workspaces/b/b.pkr.hcl (rendered)
     = help: for instance `build { sources = ["source.amazon-ebs.x"] }`
    "#);
    let ran = with(TEMPLATE.replace(
        "[\"source.amazon-ebs.x\"]",
        "[\"source.amazon-ebs.x\", \"source.amazon-ebs.y\"]",
    ));
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: makes 2 images where a step makes exactly one: amazon-ebs.x, amazon-ebs.y
     --> packer_workspaces/b/b.pkr.hcl (rendered):6:37
      |
    6 |   sources = ["source.amazon-ebs.x", "source.amazon-ebs.y"]
      |                                     ^^^^^^^^^^^^^^^^^^^^^
      |
      = help: split the step, one source each; copies to other regions go into `ami_regions`
    "#);
    insta::assert_snapshot!(with(TEMPLATE.replace("amazon-ebs", "docker")).refusal(), @r#"
    error: makes no machine image: the source `docker.x` is built, and it is not one of the amazon builders
     --> packer_workspaces/b/b.pkr.hcl (rendered):6:14
      |
    6 |   sources = ["source.docker.x"]
      |              ^^^^^^^^^^^^^^^^^
      |
      = help: amazon-ebs, amazon-ebssurrogate, amazon-instance and amazon-chroot make images
    "#);
    let ran = with(TEMPLATE.replace("[\"source.amazon-ebs.x\"]", "[\"source.amazon-ebs.y\"]"));
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: the source `amazon-ebs.y` is built, and no `source` block declares it
     --> packer_workspaces/b/b.pkr.hcl (rendered):6:14
      |
    6 |   sources = ["source.amazon-ebs.y"]
      |              ^^^^^^^^^^^^^^^^^^^^^
      |
      = help: there are: amazon-ebs.x
    "#);
}

#[test]
fn a_branch_for_one_source_image_is_checked_as_well() {
    let ran = with(
        "{% if builder.source_ami_id == 'ami-0aaaaaaaaaaaaaaaa' %}{{ nothing }}{% endif %}\n"
            .to_owned()
            + TEMPLATE,
    );
    insta::assert_snapshot!(ran.refusal(), @"
    error: `nothing` is undefined (where the step starts from ami-0aaaaaaaaaaaaaaaa)
     --> packer_workspaces/b/templates/.pkr.hcl:1:61
      |
    1 | {% if builder.source_ami_id == 'ami-0aaaaaaaaaaaaaaaa' %}{{ nothing }}{% endif %}
      |                                                             ^^^^^^^
      |
      = help: there are: builder, workflow_param, step_param, params, secret
    ");
    let ran = with(
        TEMPLATE.to_owned()
            + "{% if builder.source_ami_id == 'ami-0aaaaaaaaaaaaaaaa' %}build {\n  sources = [\"source.amazon-ebs.x\"]\n}\n{% endif %}",
    );
    insta::assert_snapshot!(ran.refusal(), @r#"
    error: makes 2 images where a step makes exactly one: amazon-ebs.x, amazon-ebs.x (where the step starts from ami-0aaaaaaaaaaaaaaaa)
     --> packer_workspaces/b/b.pkr.hcl (rendered):9:14
      |
    9 |   sources = ["source.amazon-ebs.x"]
      |              ^^^^^^^^^^^^^^^^^^^^^
      |
      = help: split the step, one source each; copies to other regions go into `ami_regions`
    "#);
}

#[test]
fn malformed_hcl_and_force_deregister_are_refused() {
    insta::assert_snapshot!(with("build {\n").refusal(), @"
    error: malformed HCL: invalid block body; expected `}`, newline or identifier
     --> packer_workspaces/b/b.pkr.hcl (rendered):1:7
      |
    1 | build {
      |       ^
    ");
    let ran = with(TEMPLATE.replace("source_ami =", "force_deregister = true\n  source_ami ="));
    insta::assert_snapshot!(ran.refusal(), @"
    error: `force_deregister` is refused: it would deregister the old image before the new one exists
     --> packer_workspaces/b/b.pkr.hcl (rendered):2:3
      |
    2 |   force_deregister = true
      |   ^^^^^^^^^^^^^^^^
      |
      = help: remove `force_deregister` from the template
    ");
}
