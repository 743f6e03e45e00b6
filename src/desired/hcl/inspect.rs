//! A step makes exactly one image in its region, and never takes the old one away first.

use std::collections::BTreeMap;
use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block, Body};

use crate::desired::hcl::parse;
use crate::diagnostic::Diagnostic;

/// What the rendered files of a step say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Whether they ask for plugins.
    pub required_plugins: bool,
    /// `packer { required_version }`
    pub required_version: Option<String>,
}

/// Looks at all rendered files of a step together, as Packer does.
pub fn inspect(rendered: &BTreeMap<String, String>) -> Result<Inspection, Diagnostic> {
    let mut inspection = Inspection::default();
    let (mut built, mut declared): (Vec<Built<'_>>, Vec<String>) = (Vec::new(), Vec::new());
    let mut first = None;
    for (name, text) in rendered {
        let body = parse(name, text)?;
        if !name.ends_with("pkr.hcl") {
            continue;
        }
        first.get_or_insert(name);
        for block in body.get_blocks("packer") {
            inspection.required_plugins |= block.body.has_blocks("required_plugins");
            inspection.required_version =
                string(&block.body, "required_version").or(inspection.required_version);
        }
        for block in body.get_blocks("source") {
            refuse_what_takes_the_old_image_away(name, text, &block.body)?;
            let labels: Vec<_> = block
                .labels
                .iter()
                .map(hcl_edit::structure::BlockLabel::as_str)
                .collect();
            declared.push(labels.join("."));
        }
        for block in body.get_blocks("build") {
            built.extend(sources(block).into_iter().map(|(source, span)| Built {
                source,
                file: name,
                text,
                span: span.or_else(|| block.ident.span()),
            }));
        }
    }
    let Some(name) = first else {
        return Err(Diagnostic::new("has no template: no file of templates/ ends in `pkr.hcl`")
            .hint("a step without templates is a manual one: remove the folder templates/, or add templates/.pkr.hcl"));
    };
    match built.as_slice() {
        [] => Err(
            Diagnostic::new("makes no image: no `build` block names a source")
                .in_file(name.clone())
                .hint("for instance `build { sources = [\"source.amazon-ebs.x\"] }`"),
        ),
        [one] if !one.source.starts_with("amazon-") => Err(one.wrong(format!(
            "makes no machine image: the source `{}` is not one of the amazon builders",
            one.source
        ))),
        [one] if one.is_literal() && !declared.contains(&one.source) => {
            let wrong = one.wrong(format!(
                "the source `{}` is built, and no `source` block declares it",
                one.source
            ));
            Err(match declared.as_slice() {
                [] => wrong,
                there => wrong.hint(format!("there are: {}", there.join(", "))),
            })
        }
        [_] => Ok(inspection),
        [_, second, ..] => {
            let names: Vec<_> = built.iter().map(|one| one.source.as_str()).collect();
            let message = format!(
                "makes {} images where a step makes exactly one: {}",
                built.len(),
                names.join(", ")
            );
            let hint =
                "split the step, one source each; copies to other regions go into `ami_regions`";
            Err(second.wrong(message).hint(hint))
        }
    }
}

/// A source that a `build` block names, and where.
struct Built<'a> {
    source: String,
    file: &'a str,
    text: &'a str,
    span: Option<Range<usize>>,
}

impl Built<'_> {
    fn wrong(&self, message: String) -> Diagnostic {
        at(
            Diagnostic::new(message),
            self.file,
            self.text,
            self.span.clone(),
        )
    }

    /// Not a name that Packer puts together.
    fn is_literal(&self) -> bool {
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        self.source.chars().all(plain)
    }
}

fn at(wrong: Diagnostic, file: &str, text: &str, span: Option<Range<usize>>) -> Diagnostic {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match span.filter(|span| text.get(span.clone()).is_some()) {
        Some(span) => wrong.at(file, text, span),
        None => wrong.in_file(file),
    }
}

fn refuse_what_takes_the_old_image_away(
    name: &str,
    text: &str,
    body: &Body,
) -> Result<(), Diagnostic> {
    for (key, why) in [
        (
            "force_deregister",
            "would deregister the old image before the new one exists",
        ),
        ("skip_create_ami", "makes no image"),
    ] {
        let set = body.get_attribute(key).filter(
            |attribute| !matches!(&attribute.value, Expression::Bool(flag) if !*flag.value()),
        );
        if let Some(attribute) = set {
            let wrong = Diagnostic::new(format!("`{key}` is refused: it {why}"));
            return Err(at(wrong, name, text, attribute.key.span())
                .hint(format!("remove `{key}` from the template")));
        }
    }
    Ok(())
}

/// `sources = ["source.amazon-ebs.x"]` and `source "source.amazon-ebs.x" {}`, without their first part.
fn sources(build: &Block) -> Vec<(String, Option<Range<usize>>)> {
    let mut names = Vec::new();
    if let Some(Expression::Array(list)) = build
        .body
        .get_attribute("sources")
        .map(|attribute| &attribute.value)
    {
        names.extend(list.iter().map(|one| {
            let name = match one {
                Expression::String(text) => text.value().clone(),
                other => other.to_string().trim().to_owned(),
            };
            (name, one.span())
        }));
    }
    names.extend(build.body.get_blocks("source").filter_map(|block| {
        let label = block.labels.first()?;
        Some((label.as_str().to_owned(), block.ident.span()))
    }));
    names
        .into_iter()
        .map(|(name, span)| {
            let name = name
                .strip_prefix("source.")
                .map(str::to_owned)
                .unwrap_or(name);
            (name, span)
        })
        .collect()
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

    fn check(text: &str) -> Result<Inspection, Diagnostic> {
        inspect(&BTreeMap::from([("x.pkr.hcl".to_owned(), text.to_owned())]))
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
            wrong
                .one_line()
                .starts_with("x.pkr.hcl:3:14: the source `amazon-ebs.y` is built"),
            "{}",
            wrong.one_line()
        );
        assert_eq!(wrong.hint.as_deref(), Some("there are: amazon-ebs.x"));
        let (source, build) = ONE.split_at(ONE.find("build").unwrap());
        let apart = [("b.pkr.hcl", build), ("s.pkr.hcl", source)];
        let apart = apart.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert!(inspect(&BTreeMap::from(apart)).is_ok());
        assert!(check(&ONE.replace("\"source.amazon-ebs.x\"", "source.amazon-ebs.x")).is_ok());
    }

    #[test]
    fn nothing_is_deregistered_to_make_room() {
        let text = ONE.replace("\"x\" {}", "\"x\" {\n  force_deregister = true\n}");
        assert!(
            check(&text)
                .unwrap_err()
                .message
                .contains("force_deregister")
        );
        assert!(check(&text.replace("= true", "= false")).is_ok());
    }

    #[test]
    fn malformed_hcl_is_shown_at_its_place() {
        let wrong = check("build {\n  sources = [\n}\n").unwrap_err();
        assert!(
            wrong.one_line().starts_with("x.pkr.hcl:"),
            "{}",
            wrong.one_line()
        );
    }
}
