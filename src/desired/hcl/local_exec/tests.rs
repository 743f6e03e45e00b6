//! What is refused, each with its place, and what a normal step may do.

use super::*;

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
    let rendered = BTreeMap::from([("x.pkr.hcl".to_owned(), text.to_owned())]);
    let mut all: BTreeMap<String, &[u8]> = BTreeMap::from([
        ("shared/lib.sh".to_owned(), b"".as_slice()),
        (
            "ws/s01/motd.tpl".to_owned(),
            b"hello ${file(\"name\")}".as_slice(),
        ),
    ]);
    for (path, content) in others {
        all.insert((*path).to_owned(), content.as_bytes());
    }
    let denied = LocalExec::Denied {
        plugins: vec!["github.com/hashicorp/amazon".to_owned()],
    };
    denied.check(&StepFiles {
        folder: "ws/s01",
        rendered: &rendered,
        others: &all,
    })
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
    let rendered = BTreeMap::from([("x.pkr.hcl".to_owned(), "not hcl {".to_owned())]);
    let step = StepFiles {
        folder: "s",
        rendered: &rendered,
        others: &BTreeMap::new(),
    };
    LocalExec::Allowed.check(&step).unwrap();
}

#[test]
fn what_runs_on_the_build_host_is_refused_at_its_place() {
    refused(
        build("  provisioner \"shell-local\" {\n    inline = [\"id\"]\n  }"),
        "`shell-local` runs on",
        (2, 15),
    );
    refused(
        build("  post-processor \"shell-local\" {}"),
        "`shell-local` runs on",
        (2, 18),
    );
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
    for local in [
        "ansible",
        "puppet",
        "inspec",
        "breakpoint",
        "external",
        "anything-new",
    ] {
        refused(
            build(&format!("  provisioner \"{local}\" {{}}")),
            "is not known to leave",
            (2, 15),
        );
    }
    refused(
        check("data \"external\" \"x\" {}\n", &[]),
        "data source `external`",
        (1, 6),
    );
    refused(
        check("data \"http\" \"x\" {}\n", &[]),
        "data source `http`",
        (1, 6),
    );
    check("data \"amazon-ami\" \"x\" {}\n", &[]).unwrap();
    refused(
        check("source \"amazon-chroot\" \"x\" {}\n", &[]),
        "amazon-chroot",
        (1, 8),
    );
    refused(build("  source \"source.null.x\" {}"), "null", (2, 10));
}

#[test]
fn blocks_that_only_packer_would_name_are_refused() {
    let dynamic = "  dynamic \"provisioner\" {\n    for_each = [1]\n    labels = [\"shell-local\"]\n    content {}\n  }";
    refused(build(dynamic), "which `provisioner` blocks", (2, 11));
    let nested = "source \"amazon-ebs\" \"x\" {\n  dynamic \"launch_block_device_mappings\" {\n    for_each = [1]\n    content {\n      key_file = \"/root/.ssh/id\"\n    }\n  }\n}\n";
    refused(check(nested, &[]), "/root/.ssh/id", (5, 18));
    check(
        &nested.replace("key_file = \"/root/.ssh/id\"", "device_name = \"/dev/sda\""),
        &[],
    )
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
            (
                format!("  provisioner \"shell\" {{\n    script = \"{path}\"\n  }}"),
                (3, 14),
            ),
            (
                format!("  provisioner \"shell\" {{\n    scripts = [\"{path}\"]\n  }}"),
                (3, 15),
            ),
            (
                format!("  provisioner \"file\" {{\n    source = \"{path}\"\n  }}"),
                (3, 14),
            ),
        ] {
            refused(build(&attribute), "would read a file of the build host", at);
        }
        let call = format!("locals {{\n  x = file(\"{path}\")\n}}\n");
        refused(
            check(&call, &[]),
            "would read a file of the build host",
            (2, 12),
        );
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
    assert_eq!(
        wrong.one_line().split(": ").next(),
        Some("ws/s01/evil.tpl:2:8")
    );
}

#[test]
fn a_variable_counts_with_every_value_that_it_may_have() {
    let text = "variable \"x\" { default = \"a.sh\" }\nbuild {\n  provisioner \"shell\" { script = var.x }\n}\n";
    check(text, &[]).unwrap();
    let rendered = BTreeMap::from([
        ("x.pkr.hcl".to_owned(), text.to_owned()),
        (
            "x.pkrvars.hcl".to_owned(),
            "x = \"/etc/passwd\"\n".to_owned(),
        ),
    ]);
    let denied = LocalExec::Denied { plugins: vec![] };
    let step = StepFiles {
        folder: "s",
        rendered: &rendered,
        others: &BTreeMap::new(),
    };
    refused(denied.check(&step), "/etc/passwd", (3, 34));
    let circle = "locals {\n  a = local.b\n  b = local.a\n}\nbuild {\n  provisioner \"shell\" { script = local.a }\n}\n";
    refused(check(circle, &[]), "cannot be told", (6, 34));
}

#[test]
fn a_provisioner_cannot_write_here_nor_be_overridden_into_it() {
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
    let over = "  provisioner \"shell\" {\n    script = \"a.sh\"\n    override = { x = { script = \"/etc/passwd\" } }\n  }";
    refused(build(over), "/etc/passwd", (4, 33));
    refused(
        build("  provisioner \"shell\" {\n    override = var.x\n  }"),
        "cannot be told",
        (3, 16),
    );
}

#[test]
fn plugins_come_from_where_they_may() {
    let asks = |source: &str| {
        check(
            &format!("packer {{\n  required_plugins {{\n    x = {source}\n  }}\n}}\n"),
            &[],
        )
    };
    asks("{ source = \"hashicorp/amazon\", version = \"1\" }").unwrap();
    refused(
        asks("{ source = \"github.com/evil/amazon\" }"),
        "github.com/evil/amazon",
        (3, 9),
    );
    refused(asks("{ source = var.x }"), "the plugin of ?", (3, 9));
    refused(asks("\">= 1\""), "the plugin of ?", (3, 9));
}

#[test]
fn files_that_packer_takes_by_their_name_are_refused() {
    let names = [
        ("ws/s01/x.pkr.json", "only rendered ones"),
        ("ws/s01/more.pkr.hcl", "only rendered ones"),
        ("ws/s01/x.auto.pkrvars.json", "only rendered ones"),
        ("ws/s01/packer-provisioner-shell", "the name of a plugin"),
        ("ws/s01/a/b/c/packer-plugin-x_v1", "the name of a plugin"),
    ];
    for (name, words) in names {
        let wrong = check(STEP, &[(name, "")]).unwrap_err();
        assert!(wrong.message.contains(words), "{name}: {wrong:?}");
        assert_eq!(wrong.place.unwrap().path, name);
    }
    check(
        STEP,
        &[("ws/s01/docs/x.pkr.json", ""), ("ws/s01/packer-notes", "")],
    )
    .unwrap();
}

#[test]
fn credentials_are_not_read_from_the_environment() {
    let reads = |name: &str| {
        check(
            &format!("variable \"x\" {{\n  default = env({name})\n}}\n"),
            &[],
        )
    };
    reads("\"HOME\"").unwrap();
    refused(reads("\"AWS_SECRET_ACCESS_KEY\""), "credentials", (2, 13));
    refused(reads("var.name"), "credentials", (2, 13));
}
