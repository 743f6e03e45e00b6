//! Refuses a template that shows a secret to everybody who may describe images and instances: in
//! tags, a name or a description. Pure.
//!
//! It looks at the sources, at the top and within `build`, at the attributes and at the blocks that
//! stand for them. Whether a secret is in an expression, [`Origins`] tells. What a provisioner
//! writes somewhere by itself is not its business.

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::structure::{Attribute, Block};
use hcl_edit::visit::{self, Visit};

use crate::secret_flow::{Origin, Origins};
use crate::template::Template;
use reconciler_model::diagnostic::Diagnostic;

/// Attributes of a source that everybody reads.
const ATTRIBUTES: [&str; 9] = [
    "ami_name",
    "ami_description",
    "snapshot_description",
    "tags",
    "run_tags",
    "run_volume_tags",
    "snapshot_tags",
    "spot_tags",
    "fleet_tags",
];

/// Blocks that are one tag each.
const BLOCKS: [&str; 6] =
    ["tag", "run_tag", "run_volume_tag", "snapshot_tag", "spot_tag", "fleet_tag"];

impl Template {
    /// Refuses the files if one of their sources shows a secret. `holds` knows the secrets that
    /// stand in a text.
    pub fn refuse_shown(&self, holds: &dyn Fn(&str) -> bool) -> Result<(), Diagnostic> {
        // What is no HCL is refused elsewhere, with its place.
        let files = self.readable_files();
        let origins = Origins::of(&files, self, holds);
        for file in files.iter().filter(|file| file.name.ends_with("pkr.hcl")) {
            let mut sources = Sources { origins: &origins, within: Within::File, found: None };
            sources.visit_body(file.body);
            if let Some((shown, span, origin)) = sources.found {
                return Err(Diagnostic::new(format!(
                    "`{shown}` would show a secret to everybody who may describe images: {origin}"
                ))
                .at(file.name, file.text, span)
                .hint("take the secret out of it"));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    File,
    Source,
}

/// Goes through a file for its sources.
struct Sources<'a> {
    origins: &'a Origins<'a>,
    within: Within,
    found: Option<(String, Range<usize>, Origin)>,
}

impl Sources<'_> {
    fn found(&mut self, shown: &str, span: Option<Range<usize>>, origin: Option<Origin>) {
        if let Some(origin) = origin {
            let place = (shown.to_owned(), span.unwrap_or(0..0), origin);
            self.found.get_or_insert(place);
        }
    }
}

impl Visit for Sources<'_> {
    fn visit_block(&mut self, block: &Block) {
        let made = match block.ident.as_str() {
            "dynamic" => block.labels.first().map_or("", |label| label.as_str()),
            ident => ident,
        };
        let outer = self.within;
        if made == "source" {
            self.within = Within::Source;
        } else if self.within == Within::Source && BLOCKS.contains(&made) {
            let origin = self.origins.in_body(&block.body);
            return self.found(made, block.ident.span(), origin);
        }
        visit::visit_block(self, block);
        self.within = outer;
    }

    fn visit_attr(&mut self, attribute: &Attribute) {
        let key = attribute.key.as_str();
        if self.within == Within::Source && ATTRIBUTES.contains(&key) {
            let origin = self.origins.in_expression(&attribute.value);
            self.found(key, attribute.key.span(), origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "[reconciler-secret:x]";

    fn refused(template: &str, values: &str) -> Option<String> {
        let rendered = [("x.pkr.hcl", template), ("x.pkrvars.hcl", values)];
        let rendered = rendered.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let holds = |text: &str| text.contains(SECRET) || text.contains("hunter2");
        Some(Template::new(rendered.into()).refuse_shown(&holds).err()?.one_line())
    }

    fn source(body: &str) -> String {
        format!("source \"amazon-ebs\" \"x\" {{\n  {body}\n}}\n")
    }

    #[test]
    fn a_secret_is_refused_wherever_a_source_shows_it() {
        for body in [
            format!("tags = {{ a = \"b-{SECRET}\" }}"),
            format!("tags = {{ \"{SECRET}\" = 1 }}"),
            "run_tags = { hunter2 = \"x\" }".to_owned(),
            format!("tag {{\n key = \"a\"\n value = \"{SECRET}\"\n }}"),
            format!("run_tag {{\n key = \"{SECRET}\"\n value = 1\n }}"),
            format!(
                "dynamic \"snapshot_tag\" {{\n for_each = [\"{SECRET}\"]\n content {{\n key = \"a\"\n value = snapshot_tag.value\n }}\n }}"
            ),
            "ebs_volumes {\n  tags = { a = \"hunter2\" }\n }".to_owned(),
            format!("ami_description = <<EOT\n  it is {SECRET}\nEOT"),
        ] {
            let text = source(&body);
            assert!(refused(&text, "").is_some(), "{text}");
            let within = format!("build {{\n{}}}\n", text.replace("\" \"x\"", ".x\""));
            assert!(refused(&within, "").is_some(), "{within}");
        }
        let elsewhere = source(&format!("user_data = \"{SECRET}\"\n  tags = {{ a = 1 }}"));
        assert_eq!(refused(&elsewhere, ""), None);
    }

    #[test]
    fn a_secret_is_followed_to_where_it_comes_from() {
        let token = format!("token = \"{SECRET}\"\nopen = \"o\"\n");
        let declared = "variable \"token\" {}\nvariable \"open\" {}\nvariable \"quiet\" {\n  sensitive = true\n}\n\
            variable \"api_token\" {}\nvariable \"region\" {}\nvariable \"given\" {\n  default = env(\"APP_TOKEN\")\n}\n\
            locals {\n  one = upper(local.two)\n  two = [for x in [var.token] : x]\n}\n\
            local \"hushed\" {\n  expression = 1\n  sensitive = true\n}\n\
            data \"null\" \"n\" {\n  input = var.token\n}\ndata \"amazon-ami\" \"a\" {\n  owners = [\"self\"]\n}\n";
        for (value, says) in [
            ("var.token", "var.token"),
            ("var[\"token\"]", "var.token"),
            ("merge({}, { b = \"${local.one}\" }).b", "var.token"),
            ("true ? \"a\" : \"x${var.token}y\"", "var.token"),
            ("data.null.n.output", "var.token"),
            ("var.quiet", "var.quiet"),
            ("local.hushed", "local.hushed"),
            ("var.given", "APP_TOKEN"),
            ("var.api_token", "environment"),
            ("jsonencode(var)", "cannot be told"),
            ("var[local.name]", "cannot be told"),
            ("file(\"${path.root}/x.pkrvars.hcl\")", "x.pkrvars.hcl"),
            ("file(var.nowhere)", "cannot be told"),
            ("vault(\"a\", \"b\")", "vault"),
            ("data.amazon-secretsmanager.s.value", "amazon-secretsmanager"),
        ] {
            let text = format!("{declared}{}", source(&format!("tags = {{ a = {value} }}")));
            let wrong = refused(&text, &token).unwrap_or_else(|| panic!("{value} passes"));
            assert!(wrong.contains(says), "{value}: {wrong}");
            assert!(wrong.contains("`tags`") && wrong.contains("x.pkr.hcl:"));
        }
        for value in [
            "var.open",
            "var.region",
            "data.amazon-ami.a.id",
            "file(\"${path.root}/VERSION\")",
            "env(\"BUILD_NUMBER\")",
            "source.name",
            "timestamp()",
        ] {
            let text = format!("{declared}{}", source(&format!("tags = {{ a = {value} }}")));
            assert_eq!(refused(&text, &token), None, "{value}");
        }
    }
}
