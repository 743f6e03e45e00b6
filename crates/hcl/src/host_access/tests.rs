//! What is refused, each with its place, and what a normal step may do.

use crate::host_access::*;

const STEP: &str = r#"
packer {
  required_plugins {
    amazon = { source = "github.com/hashicorp/amazon", version = ">= 1.2" }
  }
}
variable "script" { default = "install.sh" }
locals { folder = "${path.root}/files" }
source "amazon-ebs" "x" {
  ami_name       = "x"
  user_data_file = "cloud-init.yaml"
}
build {
  sources = ["source.amazon-ebs.x"]
  provisioner "shell" {
    inline = ["cat /etc/passwd", "~/x --file ../y"]
  }
  provisioner "shell" { script = var.script }
  provisioner "shell" { scripts = ["${path.root}/a.sh", "./b.sh", "${local.folder}/c.sh"] }
  provisioner "file" {
    source      = "../../shared/lib.sh"
    destination = "/tmp/lib.sh"
  }
  provisioner "file" {
    content     = templatefile("motd.tpl", {})
    destination = "/etc/motd"
  }
  post-processor "manifest" { output = "manifest.json" }
}
"#;

fn check(text: &str, others: &[(&str, &str)]) -> Result<(), Diagnostic> {
    let template = Template::new([("x.pkr.hcl".to_owned(), text.to_owned())].into());
    let mut all: BTreeMap<String, &[u8]> = BTreeMap::from([
        ("shared/lib.sh".to_owned(), b"".as_slice()),
        ("ws/s01/motd.tpl".to_owned(), b"hello ${file(\"name\")}".as_slice()),
    ]);
    for (path, content) in others {
        all.insert((*path).to_owned(), content.as_bytes());
    }
    let denied = LocalExec::Denied { plugins: vec!["github.com/hashicorp/amazon".to_owned()] };
    denied.check(&StepFiles { folder: "ws/s01", template: &template, others: &all })
}

/// In place of what stands in a build block.
fn build(inner: &str) -> Result<(), Diagnostic> {
    check(&format!("build {{\n{inner}\n}}\n"), &[])
}

#[track_caller]
fn refused(result: Result<(), Diagnostic>, words: &str, at: (usize, usize)) {
    let wrong = result.expect_err("is refused");
    assert!(wrong.message.contains(words), "{words:?}: {wrong:?}");
    assert_eq!(wrong.line_column(), Some(at), "{}", wrong.render(false));
}

#[test]
fn a_step_that_works_on_the_instance_with_its_own_files_passes() {
    check(STEP, &[]).unwrap();
}

#[test]
fn nothing_is_looked_for_where_local_execution_is_allowed() {
    let template = Template::new([("x.pkr.hcl".to_owned(), "not hcl {".to_owned())].into());
    let step = StepFiles { folder: "s", template: &template, others: &BTreeMap::new() };
    LocalExec::Allowed.check(&step).unwrap();
}

#[test]
fn what_runs_on_the_build_host_is_refused_at_its_place() {
    refused(
        build("  provisioner \"shell-local\" {\n    inline = [\"id\"]\n  }"),
        "`shell-local` runs on",
        (2, 15),
    );
    refused(build("  post-processor \"shell-local\" {}"), "`shell-local` runs on", (2, 18));
    refused(
        build("  post-processors {\n    post-processor \"shell-local\" {}\n  }"),
        "`shell-local` runs on",
        (3, 20),
    );
    refused(
        build("  error-cleanup-provisioner \"shell-local\" {}"),
        "`shell-local` runs on",
        (2, 29),
    );
    for local in ["ansible", "puppet", "inspec", "breakpoint", "external", "anything-new"] {
        refused(
            build(&format!("  provisioner \"{local}\" {{}}")),
            "is not known to leave",
            (2, 15),
        );
    }
    refused(check("data \"external\" \"x\" {}\n", &[]), "data source `external`", (1, 6));
    refused(check("data \"http\" \"x\" {}\n", &[]), "data source `http`", (1, 6));
    check("data \"amazon-ami\" \"x\" {}\n", &[]).unwrap();
    refused(check("source \"amazon-chroot\" \"x\" {}\n", &[]), "amazon-chroot", (1, 8));
    refused(build("  source \"source.null.x\" {}"), "null", (2, 10));
}

#[test]
fn blocks_that_only_packer_would_name_are_refused() {
    let dynamic = "  dynamic \"provisioner\" {\n    for_each = [1]\n    labels = [\"shell-local\"]\n    content {}\n  }";
    refused(build(dynamic), "which `provisioner` blocks", (2, 11));
    let nested = "source \"amazon-ebs\" \"x\" {\n  dynamic \"launch_block_device_mappings\" {\n    for_each = [1]\n    content {\n      key_file = \"/root/.ssh/id\"\n    }\n  }\n}\n";
    refused(check(nested, &[]), "the attribute `key_file`", (5, 7));
    check(&nested.replace("key_file = \"/root/.ssh/id\"", "device_name = \"/dev/sda\""), &[])
        .unwrap();
}

#[test]
fn files_outside_of_the_step_are_refused_wherever_they_are_named() {
    let outside = [
        "/etc/passwd",
        "~/.aws/credentials",
        "../../../../etc/passwd",
        "../s02/secret.sh",
        "a/../../s02/x",
        "${path.root}/../../.git/config",
        "${var.nowhere}/x",
        "${path.root}/${env(\"X\")}",
        "{{ pwd }}/x",
        "\\u002e\\u002e/x",
        "${\"..\"}/x",
    ];
    for path in outside {
        for (attribute, at) in [
            (format!("  provisioner \"shell\" {{\n    script = \"{path}\"\n  }}"), (3, 14)),
            (format!("  provisioner \"shell\" {{\n    scripts = [\"{path}\"]\n  }}"), (3, 15)),
            (format!("  provisioner \"file\" {{\n    source = \"{path}\"\n  }}"), (3, 14)),
        ] {
            refused(build(&attribute), "would read a file of the build host", at);
        }
        let call = format!("locals {{\n  x = file(\"{path}\")\n}}\n");
        refused(check(&call, &[]), "would read a file of the build host", (2, 12));
    }
    let source = "source \"amazon-ebs\" \"x\" {\n  ssh_private_key_file = \"/root/.ssh/id\"\n}\n";
    refused(check(source, &[]), "`ssh_private_key_file`", (2, 26));
    refused(
        build("  post-processor \"manifest\" {\n    output = \"/etc/cron.d/x\"\n  }"),
        "`output`",
        (3, 14),
    );
}

#[test]
fn functions_are_found_in_heredocs_directives_and_nested_calls() {
    let heredoc =
        "locals {\n  x = <<-EOT\n    first\n    ${upper(file(\"/etc/passwd\"))}\n  EOT\n}\n";
    refused(check(heredoc, &[]), "/etc/passwd", (4, 18));
    let directive = "locals {\n  x = \"%{ if fileexists(\"/etc/passwd\") }a%{ endif }\"\n}\n";
    refused(check(directive, &[]), "`fileexists`", (2, 25));
    let looped = "locals {\n  x = [for f in fileset(\"/etc\", \"*\") : f]\n}\n";
    refused(check(looped, &[]), "`fileset`", (2, 25));
    let mapped = "locals {\n  x = { (file(\"/etc/passwd\")) = 1 }\n}\n";
    refused(check(mapped, &[]), "/etc/passwd", (2, 15));
    let inner = check(
        "locals {\n  x = templatefile(\"evil.tpl\", {})\n}\n",
        &[("ws/s01/evil.tpl", "a\n${file(\"/etc/passwd\")}")],
    );
    let wrong = inner.unwrap_err();
    assert_eq!(wrong.one_line().split(": ").next(), Some("ws/s01/evil.tpl:2:8"));
}

#[test]
fn a_variable_counts_with_every_value_that_it_may_have() {
    let text = "variable \"x\" { default = \"a.sh\" }\nbuild {\n  provisioner \"shell\" { script = var.x }\n}\n";
    check(text, &[]).unwrap();
    let template = Template::new(BTreeMap::from([
        ("x.pkr.hcl".to_owned(), text.to_owned()),
        ("x.pkrvars.hcl".to_owned(), "x = \"/etc/passwd\"\n".to_owned()),
    ]));
    let denied = LocalExec::Denied { plugins: vec![] };
    let step = StepFiles { folder: "s", template: &template, others: &BTreeMap::new() };
    refused(denied.check(&step), "/etc/passwd", (3, 34));
    let circle = "locals {\n  a = local.b\n  b = local.a\n}\nbuild {\n  provisioner \"shell\" { script = local.a }\n}\n";
    refused(check(circle, &[]), "cannot be told", (6, 34));
}

#[test]
fn a_provisioner_neither_writes_here_nor_overrides_anything() {
    refused(
        build("  provisioner \"file\" {\n    direction = \"download\"\n  }"),
        "does not upload",
        (3, 17),
    );
    refused(
        build("  provisioner \"file\" {\n    direction = var.x\n  }"),
        "does not upload",
        (3, 17),
    );
    for over in [
        "override = { x = { script = \"a.sh\" } }",
        "override = { x = { Direction = \"download\" } }",
        "override = { x = { \u{17f}ource = \"/proc/self/environ\" } }",
        "override = { x = { sources = \"a,/etc/passwd\" } }",
        "override = var.x",
    ] {
        refused(
            build(&format!("  provisioner \"file\" {{\n    {over}\n  }}")),
            "`override` sets attributes",
            (3, 5),
        );
    }
}

#[test]
fn plugins_come_from_where_they_may() {
    let asks = |source: &str| {
        check(&format!("packer {{\n  required_plugins {{\n    amazon = {source}\n  }}\n}}\n"), &[])
    };
    asks("{ source = \"hashicorp/amazon\", version = \"1\" }").unwrap();
    refused(asks("{ source = \"github.com/evil/amazon\" }"), "github.com/evil/amazon", (3, 14));
    refused(asks("{ source = var.x }"), "the plugin of ?", (3, 14));
    refused(asks("\">= 1\""), "the plugin of ?", (3, 14));
}

#[test]
fn a_plugin_that_packer_would_find_elsewhere_is_refused() {
    let asks = |name: &str, plugin: &str| {
        let text = format!("packer {{\n  required_plugins {{\n    {name} = {plugin}\n  }}\n}}\n");
        check(&text, &[])
    };
    let source = "source = \"github.com/hashicorp/amazon\"";
    let key = "a key that only Packer works out";
    for (second, words) in [
        ("(\"source\") = \"github.com/evil/amazon\"", key),
        ("\"${\"source\"}\" = \"github.com/evil/amazon\"", key),
        ("(local.x) = \"github.com/evil/amazon\"", key),
        ("\"source\" = \"github.com/evil/amazon\"", "the same key twice"),
        ("Source = \"github.com/evil/amazon\"", "other than source and version"),
        ("version = var.x", "the plugin of ?"),
    ] {
        refused(asks("amazon", &format!("{{ {source}, {second} }}")), words, (3, 14));
    }
    refused(asks("shell", &format!("{{ {source} }}")), "goes by another name, `shell`", (3, 5));
    let block = "packer {\n  required_plugins {\n    amazon {\n    }\n  }\n}\n";
    refused(check(block, &[]), "no plugin that can be told", (3, 5));
}

/// In place of what stands in a source.
fn source(inner: &str) -> Result<(), Diagnostic> {
    check(&format!("source \"amazon-ebs\" \"x\" {{\n  {inner}\n}}\n"), &[])
}

#[test]
fn a_source_uses_neither_the_hosts_credentials_nor_its_programs_nor_its_network() {
    for (attribute, words) in [
        ("shared_credentials_file = \"aws\"", "may name a program"),
        ("profile = \"x\"", "may name a program"),
        ("ssh_remote_tunnels = [\"9000:169.254.169.254:80\"]", "metadata service"),
        ("ssh_local_tunnels = [\"9000:x:80\"]", "the build host's network"),
        ("ssh_proxy_host = \"10.0.0.1\"", "connects to a host"),
        ("ssh_host = \"127.0.0.1\"", "another host than the instance"),
        ("ssh_agent_auth = true", "agent"),
        ("custom_endpoint_ec2 = \"http://169.254.169.254\"", "another host"),
        ("packer_on_error = \"ask\"", "not known to leave"),
        ("anything_new = 1", "not known to leave"),
        ("vault_aws_engine {\n  }", "Vault"),
        ("anything_new {\n  }", "not known to leave"),
    ] {
        refused(source(attribute), words, (2, 3));
    }
    refused(source("ssh_interface = \"session_manager\""), "`ssh_interface`", (2, 19));
    refused(source("region = \"x.evil/\""), "`region`", (2, 12));
    source(
        "ssh_interface = \"private_ip\"\n  region = \"us-east-1\"\n  ami_regions = [\"eu-west-1\"]",
    )
    .unwrap();
    source("run_tag {\n    key = \"a\"\n    value = \"b\"\n  }").unwrap();
    let wrong = source("ami_nam = \"x\"").unwrap_err();
    assert_eq!(wrong.hint.as_deref(), Some("did you mean `ami_name`?"));
    for kind in ["amazon-ami", "amazon-parameterstore", "amazon-secretsmanager"] {
        for attribute in ["shared_credentials_file = \"aws\"", "profile = \"x\""] {
            let text = format!("data \"{kind}\" \"x\" {{\n  {attribute}\n}}\n");
            refused(check(&text, &[]), "may name a program", (2, 3));
        }
    }
    let within = "build {\n  source \"amazon-ebs.x\" {\n    profile = \"x\"\n  }\n}\n";
    refused(check(within, &[]), "may name a program", (3, 5));
}

#[test]
fn blocks_attributes_and_functions_that_nobody_knows_are_refused() {
    refused(check("communicator \"ssh\" \"x\" {\n}\n", &[]), "`communicator`", (1, 1));
    refused(build("  hcp_packer_registry {\n  }"), "`hcp_packer_registry`", (2, 3));
    refused(
        build("  provisioner \"shell\" {\n    anything_new = 1\n  }"),
        "`anything_new`",
        (3, 5),
    );
    for call in ["vault(\"a\", \"b\")", "consul_key(\"a\")", "aws_secretsmanager(\"a\", \"b\")"] {
        refused(check(&format!("locals {{\n  x = {call}\n}}\n"), &[]), "asks a service", (2, 7));
    }
    refused(check("locals {\n  x = run(1)\n}\n", &[]), "the function `run`", (2, 7));
    refused(check("locals {\n  x = a::lower(1)\n}\n", &[]), "the function `lower`", (2, 10));
    check("variable \"x\" {\n  type = map(object({ a = list(string) }))\n}\n", &[]).unwrap();
}

#[test]
fn what_a_heredoc_hides_from_us_is_refused() {
    let text = "  provisioner \"shell\" {\n    inline = [<<EOT\ntrue\n\u{c}EOT\n    ]\n  }\n  provisioner \"shell-local\" {\n    inline = [<<EOT\nid\nEOT\n    ]\n  }";
    refused(build(text), "control character", (5, 1));
    refused(build(&text.replace('\u{c}', "\u{a0}")), "ends elsewhere", (3, 15));
}

#[test]
fn a_name_that_is_hidden_by_another_is_refused() {
    for name in ["path", "var", "local"] {
        for text in [
            format!(
                "join(\"\", [for {name} in [{{ root = \"/etc\" }}] : file(\"${{path.root}}/passwd\")])"
            ),
            format!(
                "join(\"\", [for k, {name} in [{{ root = \"/etc\" }}] : file(\"${{path.root}}/passwd\")])"
            ),
            format!(
                "\"%{{ for {name} in [{{ root = \"/etc\" }}] }}${{file(\"${{path.root}}/passwd\")}}%{{ endfor }}\""
            ),
        ] {
            let wrong = check(&format!("locals {{\n  x = {text}\n}}\n"), &[]).unwrap_err();
            assert!(wrong.message.contains("may hide what var"), "{wrong:?}");
        }
        let dynamic = format!(
            "dynamic \"run_tag\" {{\n    for_each = [1]\n    iterator = {name}\n    content {{\n    }}\n  }}"
        );
        refused(source(&dynamic), "may hide what var", (4, 16));
        let called = check(
            &format!(
                "locals {{\n  x = templatefile(\"t.tpl\", {{ {name} = {{ root = \"/etc\" }} }})\n}}\n"
            ),
            &[("ws/s01/t.tpl", &format!("${{file(\"${{{name}.root}}/passwd\")}}"))],
        );
        refused(called, "cannot be told", (1, 8));
    }
}

#[test]
fn white_space_that_is_taken_away_later_hides_no_path() {
    for path in ["${\"\" ~} /etc/passwd", "a/${~ \"x\"}", " /etc/passwd", "a/.. /../x"] {
        let call = format!("locals {{\n  x = file(\"{path}\")\n}}\n");
        refused(check(&call, &[]), "would read a file", (2, 12));
    }
    let heredoc = "locals {\n  x = file(<<-EOT\n  a\n  EOT\n  )\n}\n";
    refused(check(heredoc, &[]), "white space around a name", (2, 12));
}

#[test]
fn what_multiplies_comes_to_an_end() {
    let again = "local.a, ".repeat(100);
    let mut text = "locals {\n  a0 = []\n".to_owned();
    for at in 1..15 {
        text +=
            &format!("  a{at} = [{}]\n", again.replace("local.a", &format!("local.a{}", at - 1)));
    }
    text += "}\nbuild {\n  provisioner \"shell\" {\n    scripts = local.a14\n  }\n}\n";
    refused(check(&text, &[]), "cannot be told", (20, 15));
    let inner = "${templatefile(\"t.tpl\", {})}".repeat(200);
    let calls =
        check("locals {\n  x = templatefile(\"t.tpl\", {})\n}\n", &[("ws/s01/t.tpl", &inner)]);
    refused(calls, "reads another", (1, 3));
}

#[test]
fn files_that_packer_takes_by_their_name_are_refused() {
    let names = [
        ("ws/s01/x.pkr.json", "only rendered ones"),
        ("ws/s01/more.pkr.hcl", "only rendered ones"),
        ("ws/s01/x.auto.pkrvars.json", "only rendered ones"),
        ("ws/s01/z.pkrvars.hcl", "only rendered ones"),
        ("ws/s01/packer-provisioner-shell", "the name of a plugin"),
        ("ws/s01/a/b/c/packer-plugin-x_v1", "the name of a plugin"),
    ];
    for (name, words) in names {
        let wrong = check(STEP, &[(name, "")]).unwrap_err();
        assert!(wrong.message.contains(words), "{name}: {wrong:?}");
        assert_eq!(wrong.place.unwrap().path, name);
    }
    check(STEP, &[("ws/s01/docs/x.pkr.json", ""), ("ws/s01/packer-notes", "")]).unwrap();
}

#[test]
fn credentials_are_not_read_from_the_environment() {
    let reads =
        |name: &str| check(&format!("variable \"x\" {{\n  default = env({name})\n}}\n"), &[]);
    reads("\"HOME\"").unwrap();
    refused(reads("\"AWS_SECRET_ACCESS_\u{212a}EY\""), "credentials", (2, 13));
    refused(reads("\"AWS_SECRET_ACCESS_KEY\""), "credentials", (2, 13));
    refused(reads("var.name"), "credentials", (2, 13));
}
