//! A step makes exactly one image in its region, the one that is asked for, and never takes the old
//! one away first.
//!
//! What the files leave to Packer is left to it: refused is what is certainly wrong, and what would
//! be dangerous and may be on.

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block, BlockLabel, Body};

use crate::known::{Flag, Known, Value};
use crate::makes::{Makes, amazon_plugins, makes, taken_away};
use crate::template::{File, Template, named};
use crate::wanted;
use crate::wanted::Wanted;
use reconciler_model::diagnostic::Diagnostic;

/// What the rendered files of a step say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Whether they ask for plugins.
    pub required_plugins: bool,
    /// `packer { required_version }`
    pub required_version: Option<String>,
    /// What may be meant, and is worth a word.
    pub warnings: Vec<Diagnostic>,
}

impl Template {
    /// Looks at all files together, as Packer does: whether they make the one image that is wanted.
    pub fn inspect(&self, wanted: &Wanted<'_>) -> Result<Inspection, Diagnostic> {
        let all = self.files()?;
        let known = Known::of(named(&all));
        let templates: Vec<_> = all.iter().filter(|file| file.name.ends_with(".pkr.hcl")).collect();
        let Some(first) = templates.first() else {
            return Err(without_template(&all));
        };
        let mut inspection = Inspection::default();
        let (mut declared, mut plugins) = (Vec::new(), Vec::new());
        let mut built = Sources::default();
        for file in &templates {
            for block in file.body.get_blocks("packer") {
                inspection.required_plugins |= block.body.has_blocks("required_plugins");
                inspection.required_version =
                    string(&block.body, "required_version").or(inspection.required_version);
            }
            plugins.extend(amazon_plugins(file.body, &known));
            for block in file.body.get_blocks("source") {
                refuse_what_takes_the_old_image_away(file, &block.body, &known)?;
                let labels: Vec<_> = block.labels.iter().map(BlockLabel::as_str).collect();
                declared.push((labels.join("."), *file, block));
            }
            for block in file.body.get_blocks("build") {
                for source in block.body.get_blocks("source") {
                    refuse_what_takes_the_old_image_away(file, &source.body, &known)?;
                }
                built.add(file, block, &known)?;
            }
        }
        let one = match built.named.as_slice() {
            [] if built.are_all => {
                return Err(Diagnostic::new("makes no image: no `build` block names a source")
                    .in_file(first.name)
                    .hint("for instance `build { sources = [\"source.amazon-ebs.x\"] }`"));
            }
            [] => return Ok(inspection),
            [one] => one,
            [_, second, ..] => return Err(too_many(&built.named, second)),
        };
        let Some(name) = &one.source else {
            return Ok(inspection);
        };
        let kind = name.split('.').next().unwrap_or(name);
        if let Makes::No(why) = makes(kind, &plugins) {
            return Err(one
                .wrong(format!("makes no machine image: the source `{name}` is built, and {why}"))
                .hint(
                    "amazon-ebs, amazon-ebssurrogate, amazon-instance and amazon-chroot make images",
                ));
        }
        let Some((_, file, source)) = declared.iter().find(|(there, ..)| there == name) else {
            let wrong = one
                .wrong(format!("the source `{name}` is built, and no `source` block declares it"));
            let names: Vec<_> = declared.iter().map(|(name, ..)| name.as_str()).collect();
            return Err(match names.as_slice() {
                [] => wrong,
                there => wrong.hint(format!("there are: {}", there.join(", "))),
            });
        };
        refuse_what_is_not_kept(&templates, &known)?;
        let mut bodies = vec![(*file, &source.body)];
        bodies.extend(one.own.map(|own| (one.file, own)));
        inspection.warnings = wanted::agree(&bodies, &known, wanted)?;
        Ok(inspection)
    }
}

fn without_template(all: &[File<'_>]) -> Diagnostic {
    // `templates/pkr.hcl` becomes `STEPpkr.hcl`.
    if let Some(unread) = all.iter().find(|file| file.name.ends_with("pkr.hcl")) {
        return Diagnostic::new(
            "has no template that Packer reads: the name has to end in `.pkr.hcl`",
        )
        .in_file(unread.name)
        .hint("rename it to templates/.pkr.hcl");
    }
    Diagnostic::new("has no template: no file of templates/ ends in `.pkr.hcl`")
        .hint("a step without templates is a manual one: remove the folder templates/, or add templates/.pkr.hcl")
}

fn too_many(built: &[Built<'_>], second: &Built<'_>) -> Diagnostic {
    let names: Vec<_> = built
        .iter()
        .map(|one| one.source.as_deref().unwrap_or("one that Packer works out"))
        .collect();
    let message = format!(
        "makes {} images where a step makes exactly one: {}",
        built.len(),
        names.join(", ")
    );
    let hint = "split the step, one source each; copies to other regions go into `ami_regions`";
    second.wrong(message).hint(hint)
}

fn refuse_what_is_not_kept(templates: &[&File<'_>], known: &Known<'_>) -> Result<(), Diagnostic> {
    let builds: Vec<&Block> =
        templates.iter().flat_map(|file| file.body.get_blocks("build")).collect();
    let Some(taker) = taken_away(&builds, known) else {
        return Ok(());
    };
    let kind = taker.labels.first().map_or("", |label| label.as_str());
    let message = format!(
        "makes no machine image in the end: the post-processor `{kind}` takes it away again"
    );
    let holds = |file: &&&File<'_>| {
        let mut builds = file.body.get_blocks("build");
        builds.any(|build| holds_block(&build.body, taker))
    };
    let file = templates.iter().find(holds).unwrap_or(&templates[0]);
    Err(file
        .wrong(message, taker.ident.span())
        .hint("set `keep_input_artifact = true` in it, or leave it out"))
}

fn holds_block(body: &Body, wanted: &Block) -> bool {
    body.blocks().any(|block| std::ptr::eq(block, wanted) || holds_block(&block.body, wanted))
}

/// What the `build` blocks make images of.
struct Sources<'a> {
    named: Vec<Built<'a>>,
    /// Whether there are no others: a list that only Packer can work out may have any number.
    are_all: bool,
}

impl Default for Sources<'_> {
    fn default() -> Self {
        Self { named: Vec::new(), are_all: true }
    }
}

/// A source that a `build` block names, and where.
struct Built<'a> {
    /// Its kind and its name; none: only Packer can tell.
    source: Option<String>,
    file: &'a File<'a>,
    span: Option<Range<usize>>,
    /// What the block says of it itself.
    own: Option<&'a Body>,
}

impl Built<'_> {
    fn wrong(&self, message: String) -> Diagnostic {
        self.file.wrong(message, self.span.clone())
    }
}

impl<'a> Sources<'a> {
    /// `sources = ["source.amazon-ebs.x"]` and `source "source.amazon-ebs.x" {}`.
    fn add(
        &mut self,
        file: &'a File<'a>,
        build: &'a Block,
        known: &Known<'_>,
    ) -> Result<(), Diagnostic> {
        if let Some(attribute) = build.body.get_attribute("sources") {
            let items: Vec<(Value, Option<Range<usize>>)> = match &attribute.value {
                Expression::Array(items) => {
                    items.iter().map(|item| (known.value(item), item.span())).collect()
                }
                value => match known.value(value) {
                    Value::List(items) => {
                        items.into_iter().map(|item| (item, value.span())).collect()
                    }
                    Value::Null => Vec::new(),
                    _ => {
                        self.are_all = false;
                        Vec::new()
                    }
                },
            };
            for (value, span) in items {
                self.push(file, value.text(), span, None)?;
            }
        }
        for block in build.body.blocks() {
            let labels = block.labels.first().map(BlockLabel::as_str);
            match (block.ident.as_str(), labels) {
                ("source", label) => {
                    self.push(file, label, block.ident.span(), Some(&block.body))?;
                }
                ("dynamic", Some("source")) => self.are_all = false,
                _ => {}
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        file: &'a File<'a>,
        reference: Option<&str>,
        span: Option<Range<usize>>,
        own: Option<&'a Body>,
    ) -> Result<(), Diagnostic> {
        let mut one = Built { source: None, file, span, own };
        if let Some(reference) = reference {
            one.source = Some(referred(reference).ok_or_else(|| {
                one.wrong(format!("{reference:?} names no source"))
                    .hint("for instance \"source.amazon-ebs.x\": the word, the kind, the name")
            })?);
        }
        self.named.push(one);
        Ok(())
    }
}

/// The kind and the name of a source as Packer reads a reference: of three parts the first is left
/// out, whatever it is.
pub(super) fn referred(reference: &str) -> Option<String> {
    let parts: Vec<_> = reference.split('.').collect();
    match parts.as_slice() {
        [] | [_] => None,
        [kind, name] | [_, kind, name, ..] => Some(format!("{kind}.{name}")),
    }
}

fn refuse_what_takes_the_old_image_away(
    file: &File<'_>,
    body: &Body,
    known: &Known<'_>,
) -> Result<(), Diagnostic> {
    let old = "would deregister the old image before the new one exists";
    for (key, why, is_dangerous) in [
        ("force_deregister", old, true),
        ("skip_create_ami", "makes no image", false),
        ("skip_save_build_region", "leaves no image in the workflow's region", false),
    ] {
        let Some(attribute) = body.get_attribute(key) else {
            continue;
        };
        let span = attribute.key.span();
        match known.value(&attribute.value).flag() {
            // Seeded bug: force-deregister-is-allowed
            Flag::On => {
                return Err(file
                    .wrong(format!("`{key}` is refused: it {why}"), span)
                    .hint(format!("remove `{key}` from the template")));
            }
            // Seeded bug: unknown-is-off
            Flag::Unknown if is_dangerous => {
                return Err(file
                    .wrong(
                        format!("`{key}` may be on, which only Packer can tell: it {why}"),
                        span,
                    )
                    .hint(format!(
                        "remove it, or set it to false, or to a variable whose value stands in the files: `default = false`, or {key} in templates/.pkrvars.hcl"
                    )));
            }
            Flag::Off | Flag::Unknown => {}
        }
    }
    Ok(())
}

fn string(body: &Body, key: &str) -> Option<String> {
    match &body.get_attribute(key)?.value {
        Expression::String(text) => Some(text.value().clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect<const N: usize>(
        files: [(&str, &str); N],
        wanted: &Wanted<'_>,
    ) -> Result<Inspection, Diagnostic> {
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Template::new(files.into()).inspect(wanted)
    }

    fn check(text: &str) -> Result<Inspection, Diagnostic> {
        inspect([("x.pkr.hcl", text)], &Wanted::default())
    }

    const ONE: &str =
        "source \"amazon-ebs\" \"x\" {}\nbuild {\n  sources = [\"source.amazon-ebs.x\"]\n}\n";

    #[test]
    fn a_step_makes_exactly_one_image() {
        assert!(check(ONE).is_ok());
        assert!(
            check("source \"amazon-ebs\" \"x\" {}\n")
                .unwrap_err()
                .message
                .contains("makes no image")
        );
        let two = ONE.replace(
            "[\"source.amazon-ebs.x\"]",
            "[\"source.amazon-ebs.x\", \"source.amazon-ebs.y\"]",
        );
        assert!(check(&two).unwrap_err().message.contains("makes 2 images"));
        assert!(
            check("build {\n  sources = [\"source.null.x\"]\n}\n")
                .unwrap_err()
                .message
                .contains("no machine image")
        );
    }

    #[test]
    fn a_source_that_is_built_is_declared_in_any_of_the_files() {
        let wrong = check(&ONE.replace("[\"source.amazon-ebs.x\"]", "[\"source.amazon-ebs.y\"]"))
            .unwrap_err();
        assert!(
            wrong.one_line().starts_with("x.pkr.hcl:3:14: the source `amazon-ebs.y` is built"),
            "{}",
            wrong.one_line()
        );
        assert_eq!(wrong.hint.as_deref(), Some("there are: amazon-ebs.x"));
        let (source, build) = ONE.split_at(ONE.find("build").unwrap());
        let apart = [("b.pkr.hcl", build), ("s.pkr.hcl", source)];
        assert!(inspect(apart, &Wanted::default()).is_ok());
        // Packer refuses it, in words of its own.
        assert!(check(&ONE.replace("\"source.amazon-ebs.x\"", "source.amazon-ebs.x")).is_ok());
    }

    #[test]
    fn nothing_is_deregistered_to_make_room() {
        let text = ONE.replace("\"x\" {}", "\"x\" {\n  force_deregister = true\n}");
        assert!(check(&text).unwrap_err().message.contains("force_deregister"));
        assert!(check(&text.replace("= true", "= false")).is_ok());
    }

    #[test]
    fn what_only_packer_can_tell_is_left_to_it() {
        let declared = "variable \"name\" {\n  default = \"x\"\n}\nvariable \"all\" {\n  default = [\"source.amazon-ebs.x\"]\n}\n\
            variable \"two\" {\n  default = [\"a.amazon-ebs.x\", \"a.amazon-ebs.y\"]\n}\nvariable \"open\" {}\nvariable \"off\" {\n  default = false\n}\n";
        let with = |sources: &str| {
            let text = ONE.replace("[\"source.amazon-ebs.x\"]", sources);
            check(&format!("{declared}{text}"))
        };
        for sound in [
            "var.all",
            "[\"source.amazon-ebs.${var.name}\"]",
            "[\"sources.amazon-ebs.x\"]",
            "[\"amazon-ebs.x\"]",
            "var.open",
            "[var.open]",
            "concat(var.all, [])",
            "var.off ? var.two : var.all",
        ] {
            assert!(with(sound).is_ok(), "{sound}: {:?}", with(sound));
        }
        for (wrong, says) in [
            ("var.two", "makes 2 images"),
            ("[\"source.amazon-ebs.${var.name}y\"]", "no `source` block declares it"),
            ("[\"source.docker.${var.name}\"]", "makes no machine image"),
            ("[\"x\"]", "names no source"),
            ("[]", "makes no image"),
            ("null", "makes no image"),
            ("[var.open, \"source.amazon-ebs.x\"]", "makes 2 images"),
        ] {
            let refused = with(wrong).unwrap_err();
            assert!(refused.message.contains(says), "{wrong}: {refused:?}");
        }
        let flagged = |key: &str, value: &str| {
            let text = ONE.replace("\"x\" {}", &format!("\"x\" {{\n  {key} = {value}\n}}"));
            check(&format!("{declared}{text}"))
        };
        for off in ["var.off", "false", "null", "\"false\"", "!true", "local.off"] {
            let text = flagged("force_deregister", off);
            assert_eq!(text.is_ok(), off != "local.off", "{off}");
        }
        for key in ["force_deregister", "skip_create_ami", "skip_save_build_region"] {
            for on in ["true", "\"true\"", "!var.off"] {
                assert!(flagged(key, on).is_err(), "{key} = {on}");
            }
        }
        let open = flagged("force_deregister", "var.open").unwrap_err();
        assert!(open.message.contains("may be on"), "{open:?}");
        assert!(flagged("skip_create_ami", "var.open").is_ok());
        let within = ONE.replace(
            "  sources = [\"source.amazon-ebs.x\"]",
            "  source \"source.amazon-ebs.x\" {\n    force_deregister = true\n  }",
        );
        assert!(check(&within).unwrap_err().message.contains("is refused"));
    }

    #[test]
    fn a_source_that_makes_no_image_or_whose_image_is_taken_away_is_refused() {
        let volume = check(&ONE.replace("amazon-ebs", "amazon-ebsvolume")).unwrap_err();
        assert!(volume.message.contains("it makes volumes"), "{volume:?}");
        assert_eq!(volume.line_column(), Some((3, 14)));
        let taken = ONE.replace("]\n}", "]\n  post-processor \"compress\" {}\n}");
        let taken = check(&taken).unwrap_err();
        assert!(taken.message.contains("`compress` takes it away"), "{taken:?}");
        assert_eq!(taken.line_column(), Some((4, 3)));
        let own = "packer {\n  required_plugins {\n    aws = { version = \">= 1\", source = \"github.com/hashicorp/amazon\" }\n  }\n}\n";
        assert!(check(&format!("{own}{}", ONE.replace("amazon-", "aws-"))).is_ok());
    }

    #[test]
    fn a_template_whose_file_packer_does_not_read_is_named() {
        let wrong = inspect([("apkr.hcl", ONE)], &Wanted::default()).unwrap_err();
        assert!(wrong.message.contains("Packer reads"), "{wrong:?}");
    }

    #[test]
    fn the_source_makes_the_image_that_is_asked_for() {
        let wanted = Wanted {
            ami_name: Some("the name"),
            source_ami: Some("ami-1"),
            region: Some("us-east-1"),
        };
        let declared = "variable \"other\" {\n  default = \"other\"\n}\nvariable \"open\" {}\n";
        let with = |body: &str| {
            let text = ONE.replace("\"x\" {}", &format!("\"x\" {{\n  {body}\n}}"));
            let text = format!("{declared}{text}");
            inspect([("x.pkr.hcl", &text)], &wanted)
        };
        for sound in [
            "ami_name = \"the name\"",
            "ami_name = \"a-{{timestamp}}\"",
            "ami_name = var.open",
            "source_ami = data.amazon-ami.a.id",
            "source_ami = \"ami-1\"",
            "region = null",
            "",
        ] {
            assert!(with(sound).is_ok(), "{sound}: {:?}", with(sound));
        }
        for key in ["ami_name", "source_ami", "region"] {
            for fixed in ["\"fixed\"", "var.other", "\"${var.other}\"", "<<EOT\nx\nEOT\n"] {
                let wrong = with(&format!("{key} = {fixed}")).unwrap_err();
                assert!(wrong.message.starts_with(&format!("`{key}` is")), "{wrong:?}");
                assert!(wrong.line_column().is_some() && wrong.hint.is_some());
            }
        }
        let within = ONE.replace(
            "  sources = [\"source.amazon-ebs.x\"]",
            "  source \"source.amazon-ebs.x\" {\n    ami_name = \"own\"\n  }",
        );
        assert!(inspect([("x.pkr.hcl", &within)], &wanted).is_err());
        for apart in [
            "source_ami_filter {\n    owners = [\"self\"]\n  }",
            "source_ami_filter = { owners = [\"self\"] }",
            "from_scratch = true",
        ] {
            assert_eq!(with(apart).unwrap().warnings.len(), 1, "{apart}");
        }
        let both = "source_ami = \"ami-1\"\n  source_ami_filter {\n  }";
        assert!(with(both).unwrap().warnings.is_empty());
    }

    #[test]
    fn malformed_hcl_is_shown_at_its_place() {
        let wrong = check("build {\n  sources = [\n}\n").unwrap_err();
        assert!(wrong.one_line().starts_with("x.pkr.hcl:"), "{}", wrong.one_line());
    }
}
