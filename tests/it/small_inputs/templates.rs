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

#[test]
fn an_undefined_name_is_refused_by_its_own_name_before_anything_takes_it_for_nothing() {
    let inline =
        |text: &str| format!("  provisioner \"shell\" {{\n    inline = [\"{text}\"]\n  }}");
    let refused = [
        "`params.enviroment` is undefined",
        "did you mean `environment`?",
        "packer_workspaces/a/templates/.pkr.hcl:11:",
    ];
    table(&[
        case("behind a filter")
            .in_build(&inline("deploy --env {{ params.enviroment|lower }}"))
            .refused(&refused),
        case("within a condition")
            .in_build(&inline("{% if params.enviroment == 'prod' %}x{% endif %}"))
            .refused(&refused)
            .never(&["`if`"]),
        case("as an argument of a filter")
            .in_build(&inline("{{ 'a'|replace('a', params.enviroment) }}"))
            .refused(&refused),
        case("before a test")
            .in_build(&inline("{% if params.enviroment is none %}x{% endif %}"))
            .refused(&refused),
        case("within a list that is joined")
            .in_build(&inline("{{ [params.environment, params.enviroment]|join(',') }}"))
            .refused(&refused),
        case("with a default it is fine")
            .in_build(&inline("{{ params.enviroment|default('prod')|upper }}"))
            .passes(&["sound"]),
        case("asked whether it is there it is fine")
            .in_build(&inline("{% if params.enviroment is defined %}x{% endif %}"))
            .passes(&["sound"]),
    ]);
}

#[test]
fn escapes_and_braces_mean_what_they_mean_to_python_and_what_is_packers_is_told() {
    let raw = "wrap them in {% raw %}";
    let tag = |value: &str| format!("  run_tags = {{ Name = \"{value}\" }}");
    table(&[
        case("a backslash before a slash stays")
            .in_build("  provisioner \"shell\" {\n    inline = [\"s/{{ params.path|replace(\"/\", \"\\/\") }}/x/\"]\n  }")
            .runs(&["render", "a"])
            .passes(&["s/usr\\/local/x/"]),
        case("an escape that is none is shown at its place")
            .in_source(&tag("{{ '\\xg' }}"))
            .refused(&["two hexadecimal digits follow \\x", ".pkr.hcl:2:28"]),
        case("a comment that bash opens is shown where it opens")
            .in_build("  provisioner \"shell\" {\n    inline = [\"n=$${#pkgs[@]}\"]\n  }")
            .refused(&["`{#` opens a comment", "{% raw %}", ".pkr.hcl:11:20"]),
        case("build_name").in_source(&tag("{{build_name}}")).refused(&[raw]),
        case("isotime through a filter of Packer's")
            .in_source(&tag("{{isotime | clean_resource_name}}"))
            .refused(&[raw, ".pkr.hcl:2:"]),
        case("a condition of Packer's")
            .in_source(&tag("{{ if .SourceAMI }}x{{ end }}"))
            .refused(&[raw, ".pkr.hcl:2:"]),
        case("a variable of Packer's").in_source(&tag("{{user `x`}}")).refused(&[raw]),
        case("the folder of the template").in_source(&tag("{{template_dir}}")).refused(&[raw]),
        case("the variables of a script").in_source(&tag("sudo {{ .Vars }} {{ .Path }}")).refused(&[raw]),
        case("a time stamp").in_source(&tag("x-{{timestamp}}")).refused(&[raw]),
        case("a number that is nobody's").in_source(&tag("{{uuid}}")).refused(&[raw]),
        case("a name of the user's own is no word of Packer's")
            .in_source(&tag("{{ params.title }}"))
            .refused(&["`params.title` is undefined", "`params` has: "])
            .never(&[raw]),
        case("what is Packer's within raw is Packer's")
            .in_source(&tag("{% raw %}{{ if .SourceAMI }}x{{ end }}{% endraw %}"))
            .passes(&["sound"]),
    ]);
}

const NAMED: &str = "variable \"name\" {\n  default = \"x\"\n}\nvariable \"targets\" {\n  type    = list(string)\n  default = [\"source.amazon-ebs.x\"]\n}\n\
    variable \"force\" {\n  type    = bool\n  default = false\n}\nvariable \"open\" {}\n";

#[test]
fn what_only_packer_can_tell_is_neither_absent_nor_on() {
    let with =
        |sources: &str| NAMED.to_owned() + &TEMPLATE.replace("[\"source.amazon-ebs.x\"]", sources);
    let forced = |value: &str| {
        NAMED.to_owned()
            + &TEMPLATE.replace(
                "  instance_type",
                &format!("  force_deregister = {value}\n  instance_type"),
            )
    };
    let values = "packer_workspaces/a/templates/.pkrvars.hcl";
    table(&[
        case("sources from a variable")
            .template(with("var.targets"))
            .file(values, "open = 1\n")
            .passes(&["sound"]),
        case("sources with the plural prefix")
            .template(with("[\"sources.amazon-ebs.x\"]"))
            .file(values, "open = 1\n")
            .passes(&["sound"]),
        case("sources with an interpolated name")
            .template(with("[\"source.amazon-ebs.${var.name}\"]"))
            .file(values, "open = 1\n")
            .passes(&["sound"]),
        case("sources that a value changes to two")
            .template(with("var.targets"))
            .file(
                values,
                "open = 1\ntargets = [\"source.amazon-ebs.x\", \"source.amazon-ebs.y\"]\n",
            )
            .refused(&["makes 2 images"]),
        case("an interpolated name that nobody declares")
            .template(with("[\"source.amazon-ebs.${var.name}\"]"))
            .file(values, "open = 1\nname = \"y\"\n")
            .refused(&["the source `amazon-ebs.y` is built", "there are: amazon-ebs.x"]),
        case("force_deregister off by a variable")
            .template(forced("var.force"))
            .file(values, "open = 1\n")
            .passes(&["sound"]),
        case("force_deregister on by a value")
            .template(forced("var.force"))
            .file(values, "open = 1\nforce = true\n")
            .refused(&["`force_deregister` is refused", "old image"]),
        case("force_deregister that may be on")
            .template(forced("tobool(var.open)"))
            .file(values, "open = 1\n")
            .refused(&["`force_deregister` may be on", "default = false"]),
        case("force_deregister within the build")
            .template(TEMPLATE.replace(
                "  sources = [\"source.amazon-ebs.x\"]",
                "  source \"source.amazon-ebs.x\" {\n    force_deregister = true\n  }",
            ))
            .refused(&["`force_deregister` is refused"]),
    ]);
}

#[test]
fn a_build_that_would_make_no_image_or_another_one_than_is_asked_for_is_refused() {
    let child = |template: &str| {
        case("a child")
            .file(
                "packer_workspaces/b/step_param.json",
                r#"{"step_id": "b", "previous_step_id": "a"}"#,
            )
            .file("packer_workspaces/b/templates/.pkr.hcl", template)
    };
    let with = |from: &str, to: &str| TEMPLATE.replace(from, to);
    table(&[
        case("a builder that makes volumes")
            .template(with("amazon-ebs", "amazon-ebsvolume"))
            .refused(&["makes no machine image", "it makes volumes", "a.pkr.hcl (rendered):9:14"]),
        case("a post-processor that takes the image away")
            .in_build("  post-processor \"compress\" {\n    output = \"x.tar.gz\"\n  }")
            .refused(&["`compress` takes it away", "keep_input_artifact = true"]),
        case("a post-processor behind one that hands the image on")
            .in_build("  post-processors {\n    post-processor \"manifest\" {}\n    post-processor \"compress\" {}\n  }")
            .refused(&["`compress` takes it away"]),
        case("a post-processor that keeps it")
            .in_build("  post-processor \"compress\" {\n    keep_input_artifact = true\n  }\n  post-processor \"manifest\" {}")
            .passes(&["sound"]),
        case("a fixed name")
            .template(with("{{ builder.output_ami_name }}", "my-image"))
            .refused(&["`ami_name` is \"my-image\"", "ubuntu-22.04-server-20261101/game-2026-01-01/a/", "{{ builder.output_ami_name }}"]),
        case("a name that Packer puts together").in_source("").template(with("{{ builder.output_ami_name }}", "my-${uuidv4()}")).passes(&["sound"]),
        case("another region")
            .template(with("{{ builder.workflow_param.aws_region }}", "us-west-2"))
            .refused(&["`region` is \"us-west-2\"", "\"us-east-1\"", "a.pkr.hcl (rendered):2:19"]),
        case("a region that nobody set")
            .template(with("{{ builder.workflow_param.aws_region }}", "us-west-2"))
            .file("packer_workspaces/workflow_param.json", super::WORKFLOW.replace("\"region_name\": \"us-east-1\",", ""))
            .passes(&["sound"]),
        case("a fixed source").template(with("{{ builder.source_ami_id }}", "ami-0aaaaaaaaaaaaaaaa")).refused(&[
            "`source_ami` is \"ami-0aaaaaaaaaaaaaaaa\"",
            "the step starts from \"ami-0123456789abcdef0\"",
        ]),
        case("the root image, written out").template(with("{{ builder.source_ami_id }}", "ami-0123456789abcdef0")).passes(&["sound"]),
        child(&with("{{ builder.source_ami_id }}", "ami-0123456789abcdef0")).refused(&["`source_ami` is \"ami-0123456789abcdef0\""]),
        child(&("locals {\n  from = \"ami-0123456789abcdef0\"\n}\n".to_owned() + &with("\"{{ builder.source_ami_id }}\"", "local.from")))
            .refused(&["`source_ami` is \"ami-0123456789abcdef0\"", "packer_workspaces/b/b.pkr.hcl (rendered):6:"]),
        child(TEMPLATE).passes(&["2 steps, sound"]),
        case("a source that Packer looks for is worth a word")
            .template(with(
                "  source_ami    = \"{{ builder.source_ami_id }}\"",
                "  source_ami_filter {\n    owners      = [\"self\"]\n    most_recent = true\n  }",
            ))
            .passes(&["warning", "`source_ami_filter` lets Packer look", "sound"]),
    ]);
}

#[test]
fn what_packer_would_say_later_is_said_by_check() {
    let script = |name: &str| format!("  provisioner \"shell\" {{\n    script = \"{name}\"\n  }}");
    table(&[
        case("a script that is not there")
            .in_build(&script("instal.sh"))
            .file("packer_workspaces/a/install.sh", "true\n")
            .refused(&["`script` names \"instal.sh\", and there is no such file", "a.pkr.hcl (rendered):11:14"]),
        case("a script that is there")
            .in_build(&script("./install.sh"))
            .file("packer_workspaces/a/install.sh", "true\n")
            .passes(&["sound"]),
        case("a script in another folder than that of the step")
            .in_build(&script("install.sh"))
            .file("packer_workspaces/a/scripts/install.sh", "true\n")
            .refused(&["there is scripts/install.sh; did you mean that?"]),
        case("a script that nobody includes")
            .in_build(&script("../../common/install.sh"))
            .file("common/install.sh", "true\n")
            .refused(&["no such file", "switch `include`", "common/install.sh"]),
        case("a script that is included")
            .in_build(&script("../../common/install.sh"))
            .file("common/install.sh", "true\n")
            .file(
                "packer_workspaces/a/step_param.json",
                r#"{"step_id": "a", "previous_step_id": null, "reconciler": {"include": ["common"]}}"#,
            )
            .passes(&["sound"]),
        case("a file that is uploaded and not there")
            .in_build("  provisioner \"file\" {\n    source = \"files/\"\n    destination = \"/tmp\"\n  }")
            .refused(&["`source` names \"files/\""]),
        case("a variable that nobody declares")
            .template(TEMPLATE.replace("\"t3.micro\"", "var.instance_typ"))
            .file("packer_workspaces/a/templates/.variables.pkr.hcl", "variable \"instance_type\" {\n  default = \"t3.micro\"\n}\n")
            .refused(&["`var.instance_typ` is used", "did you mean `var.instance_type`?"]),
        case("a local that nobody declares")
            .template(TEMPLATE.replace("\"t3.micro\"", "local.kind"))
            .refused(&["`local.kind` is used", "no local is declared at all"]),
        case("a variable without a value")
            .file("packer_workspaces/a/templates/.variables.pkr.hcl", "variable \"token\" {}\n")
            .refused(&["the variable `token` has no value", "packer.pass_env", "a.variables.pkr.hcl (rendered):1:1"]),
        case("a variable that the environment of a build gives a value")
            .file("packer_workspaces/a/templates/.variables.pkr.hcl", "variable \"token\" {}\n")
            .file("reconciler.yaml", "packer:\n  pass_env: [PKR_VAR_token]\n")
            .runs(&["check", "--config", "reconciler.yaml"])
            .passes(&["sound"]),
        case("an id with a space")
            .file("packer_workspaces/a/step_param.json", r#"{"step_id": "a b", "previous_step_id": null}"#)
            .refused(&["`step_id` \"a b\" has a space", "step_param.json:1:13"]),
        case("a template that Packer does not read")
            .without("packer_workspaces/a/templates")
            .file("packer_workspaces/a/templates/pkr.hcl", TEMPLATE)
            .refused(&["has no template that Packer reads", "templates/.pkr.hcl"]),
    ]);
}

#[test]
fn a_string_of_a_parameter_file_ends_on_its_line() {
    let with = |text: &str| super::WORKFLOW.replace("\"environment\": \"prod\"", text);
    let file = "packer_workspaces/workflow_param.json";
    table(&[
        case("a raw line feed")
            .file(file, with("\"motd\": \"welcome\n# not a comment\nbye\""))
            .refused(&[
                "a string ends on the line on which it begins",
                "workflow_param.json:12:11",
                "write \\n",
            ]),
        case("a raw tab")
            .file(file, with("\"motd\": \"a\tb\""))
            .refused(&["the control character U+0009", "workflow_param.json:12:13"]),
        case("an escape").file(file, with("\"motd\": \"a\\nb # c\"")).passes(&["sound"]),
    ]);
}

/// The Packer of the tests, as an installed one.
fn with_packer(case: super::Case) -> super::Case {
    let packer = crate::harness::farm::packer();
    let case = case
        .file("reconciler.yaml", format!("packer:\n  binary: {}\n", packer.display()))
        .runs(&["check", "--packer", "--config", "reconciler.yaml"]);
    match std::env::var("PACKER_PLUGIN_PATH") {
        Ok(plugins) => case.env("PACKER_PLUGIN_PATH", &plugins),
        Err(_) => case,
    }
}

#[test]
fn check_asks_packer_where_it_is_told_to() {
    let folder = "packer_workspaces/a/templates";
    table(&[
        with_packer(case("what Packer finds sound is sound"))
            .file(&format!("{folder}/.variables.pkr.hcl"), "variable \"kind\" {}\n")
            .file(&format!("{folder}/.pkrvars.hcl"), "kind = \"t3.micro\"\n")
            .template(TEMPLATE.replace("\"t3.micro\"", "var.kind"))
            .passes(&["1 step, sound"]),
        with_packer(case("a provisioner that Packer does not know"))
            .in_build("  provisioner \"shel\" {\n    inline = [\"true\"]\n  }")
            .refused(&["packer validate: Unknown provisioner type", "shel", "a.pkr.hcl (rendered):10:3"]),
        with_packer(case("an argument that Packer does not know"))
            .in_source("  instance_typ = \"t3.micro\"")
            .refused(&["packer validate: ", "instance_typ"]),
        with_packer(case("a script is where a build has it"))
            .in_build("  provisioner \"shell\" {\n    script = \"../../common/install.sh\"\n  }")
            .file("common/install.sh", "true\n")
            .file(
                "packer_workspaces/a/step_param.json",
                r#"{"step_id": "a", "previous_step_id": null, "reconciler": {"include": ["common"]}}"#,
            )
            .passes(&["sound"]),
        case("without Packer it is told")
            .file("reconciler.yaml", "packer:\n  binary: /nowhere/packer\n")
            .runs(&["check", "--packer", "--config", "reconciler.yaml"])
            .refused(&["Packer is not at /nowhere/packer"]),
    ]);
}
