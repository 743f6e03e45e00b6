//! What a template asks Packer to do once its image exists: an image whose Packer did not come to its end may lack that, though EC2 shows
//! it as available. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::{Block, Body};
use serde::{Deserialize, Serialize};

use crate::desired::hcl::parse;

/// What Packer's amazon builders do after `CreateImage`: share, copy, encrypt, mark and tag.
const AFTERWARDS: [&str; 19] = [
    "ami_users",
    "ami_groups",
    "ami_org_arns",
    "ami_ou_arns",
    "ami_product_codes",
    "ami_regions",
    "snapshot_users",
    "snapshot_groups",
    "encrypt_boot",
    "kms_key_id",
    "region_kms_key_ids",
    "deprecate_at",
    "deregistration_protection",
    "snapshot_tags",
    "snapshot_tag",
    "imds_support",
    "fast_launch",
    "tag",
    "dynamic",
];

/// What has to be done to an image after it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Afterwards {
    /// What cannot be told from the image, by the names of the template.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub steps: BTreeSet<String>,
    /// Tags in plain text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Afterwards {
    /// What the rendered files of a step ask for. `is_secret` tells which texts must not be kept.
    #[must_use]
    pub fn of(rendered: &BTreeMap<String, String>, is_secret: impl Fn(&str) -> bool) -> Self {
        let mut found = Self::default();
        for (name, text) in rendered {
            let Ok(body) = parse(name, text) else {
                continue;
            };
            if !name.ends_with("pkr.hcl") {
                continue;
            }
            for block in body.get_blocks("source") {
                found.source(&block.body, &is_secret);
            }
            for build in body.get_blocks("build") {
                build
                    .body
                    .get_blocks("source")
                    .for_each(|block| found.source(&block.body, &is_secret));
                let last = ["post-processor", "post-processors"];
                let asked = last.into_iter().filter(|kind| build.body.has_blocks(kind));
                found.steps.extend(asked.map(str::to_owned));
            }
        }
        found
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.tags.is_empty()
    }

    /// What an image with these tags lacks, or may lack.
    #[must_use]
    pub fn lacking(&self, tags: &BTreeMap<String, String>) -> Vec<&str> {
        let untagged = self
            .tags
            .iter()
            .any(|(key, value)| tags.get(key) != Some(value));
        let steps = self.steps.iter().map(String::as_str);
        steps.chain(untagged.then_some("tags")).collect()
    }

    fn source(&mut self, body: &Body, is_secret: &impl Fn(&str) -> bool) {
        for name in AFTERWARDS {
            let asked = body
                .get_attribute(name)
                .is_some_and(|attribute| is_something(&attribute.value));
            if asked || body.get_blocks(name).any(is_asked) {
                self.steps.insert(name.to_owned());
            }
        }
        let Some(tags) = body.get_attribute("tags") else {
            return;
        };
        match plain(&tags.value) {
            Some(tags) if !tags.values().any(|value| is_secret(value)) => self.tags.extend(tags),
            _ => {
                self.steps.insert("tags".to_owned());
            }
        }
    }
}

/// A dynamic block may be one of tags, and of anything else.
fn is_asked(block: &Block) -> bool {
    let labels = ["tag", "snapshot_tag"];
    block.ident.as_str() != "dynamic"
        || block
            .labels
            .iter()
            .any(|label| labels.contains(&label.as_str()))
}

fn is_something(value: &Expression) -> bool {
    match value {
        Expression::Null(_) => false,
        Expression::Bool(flag) => *flag.value(),
        Expression::Array(array) => !array.is_empty(),
        Expression::Object(object) => !object.is_empty(),
        Expression::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// Tags without a word that Packer fills in.
fn plain(tags: &Expression) -> Option<BTreeMap<String, String>> {
    let Expression::Object(tags) = tags else {
        return None;
    };
    let text = |expression: &Expression| match expression {
        Expression::String(text)
            if !text.contains("{{") && !text.contains("[reconciler-secret") =>
        {
            Some(text.value().clone())
        }
        _ => None,
    };
    let pairs = tags.iter().map(|(key, value)| {
        let key = match key {
            ObjectKey::Ident(ident) => ident.as_str().to_owned(),
            ObjectKey::Expression(expression) => text(expression)?,
        };
        Some((key, text(value.expr())?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, build: &str) -> Afterwards {
        let text = format!(
            "source \"amazon-ebs\" \"x\" {{\n{source}\n}}\nbuild {{\n  sources = [\"source.amazon-ebs.x\"]\n{build}\n}}\n"
        );
        let rendered = BTreeMap::from([("x.pkr.hcl".to_owned(), text)]);
        Afterwards::of(&rendered, |text| text == "hush")
    }

    #[test]
    fn what_packer_does_after_the_image_exists_is_found() {
        let table = [
            ("ami_name = \"n\"\nrun_tags = { a = \"1\" }", "", &[][..]),
            (
                "ami_users = []\nencrypt_boot = false\ndeprecate_at = null",
                "",
                &[],
            ),
            ("ami_users = [\"1\"]", "", &["ami_users"]),
            ("ami_regions = var.regions", "", &["ami_regions"]),
            ("encrypt_boot = true", "", &["encrypt_boot"]),
            ("snapshot_tags = { a = \"1\" }", "", &["snapshot_tags"]),
            ("tags = { a = var.x }", "", &["tags"]),
            ("tags = { a = \"{{ .SourceAMI }}\" }", "", &["tags"]),
            ("tags = { a = \"hush\" }", "", &["tags"]),
            ("tag {\n  key = \"a\"\n  value = \"1\"\n}", "", &["tag"]),
            ("dynamic \"tag\" {\n  for_each = var.x\n}", "", &["dynamic"]),
            ("", "post-processor \"manifest\" {}", &["post-processor"]),
            (
                "",
                "source \"amazon-ebs.x\" {\n  ami_users = [\"1\"]\n}",
                &["ami_users"],
            ),
        ];
        for (source, build, expected) in table {
            let found = of(source, build);
            let steps: Vec<_> = found.steps.iter().map(String::as_str).collect();
            assert_eq!(steps, expected, "{source} {build}");
            assert!(found.tags.is_empty());
        }
    }

    #[test]
    fn plain_tags_can_be_told_from_the_image() {
        let asked = of("tags = { team = \"ops\", \"a b\" = \"1\" }", "");
        assert!(asked.steps.is_empty());
        let mut tags = asked.tags.clone();
        assert_eq!(tags.len(), 2);
        assert!(asked.lacking(&tags).is_empty());
        tags.insert("more".to_owned(), "x".to_owned());
        assert!(asked.lacking(&tags).is_empty());
        tags.insert("team".to_owned(), "dev".to_owned());
        assert_eq!(asked.lacking(&tags), ["tags"]);
        assert_eq!(asked.lacking(&BTreeMap::new()), ["tags"]);
    }
}
