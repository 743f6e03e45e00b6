//! A step makes exactly one image in its region, and never takes the old one away first.

use std::collections::BTreeMap;

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
    let mut built = Vec::new();
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
            refuse_what_takes_the_old_image_away(name, &block.body)?;
        }
        for block in body.get_blocks("build") {
            built.extend(sources(block));
        }
    }
    let Some(name) = first else {
        return Err(Diagnostic::new("has no template: no file of templates/ ends in `pkr.hcl`")
            .hint("a step without templates is a manual one: remove the folder templates/, or add templates/.pkr.hcl"));
    };
    match built.as_slice() {
        [one] if one.starts_with("amazon-") => Ok(inspection),
        [] => Err(
            Diagnostic::new("makes no image: no `build` block names a source")
                .in_file(name.clone()),
        ),
        [other] => Err(Diagnostic::new(format!(
            "makes no machine image: the source `{other}` is not one of the amazon builders"
        ))
        .in_file(name.clone())),
        many => Err(Diagnostic::new(format!(
            "makes {} images where a step makes exactly one: {}",
            many.len(),
            many.join(", ")
        ))
        .in_file(name.clone())
        .hint("split the step, one source each; copies to other regions go into `ami_regions`")),
    }
}

fn refuse_what_takes_the_old_image_away(name: &str, body: &Body) -> Result<(), Diagnostic> {
    for (key, why) in [
        (
            "force_deregister",
            "would deregister the old image before the new one exists",
        ),
        ("skip_create_ami", "makes no image"),
    ] {
        let set = body.get_attribute(key).is_some_and(
            |attribute| !matches!(&attribute.value, Expression::Bool(flag) if !*flag.value()),
        );
        if set {
            return Err(Diagnostic::new(format!("`{key}` is refused: it {why}"))
                .in_file(name)
                .hint(format!("remove `{key}` from the template")));
        }
    }
    Ok(())
}

/// `sources = ["source.amazon-ebs.x"]` and `source "source.amazon-ebs.x" {}`, without their first part.
fn sources(build: &Block) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(Expression::Array(list)) = build
        .body
        .get_attribute("sources")
        .map(|attribute| &attribute.value)
    {
        names.extend(list.iter().map(|one| match one {
            Expression::String(text) => text.value().clone(),
            other => other.to_string().trim().to_owned(),
        }));
    }
    names.extend(
        build
            .body
            .get_blocks("source")
            .filter_map(|block| block.labels.first().map(|label| label.as_str().to_owned())),
    );
    names
        .into_iter()
        .map(|name| {
            name.strip_prefix("source.")
                .map(str::to_owned)
                .unwrap_or(name)
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
