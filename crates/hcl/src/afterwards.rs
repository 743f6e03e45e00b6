//! What a template asks Packer to do once its image exists: an image whose Packer did not come to
//! its end may lack that, though EC2 shows it as available. Pure.

use std::collections::BTreeMap;

use hcl_edit::structure::{Block, Body};

use reconciler_model::afterwards::PostImageSteps;

use crate::known::{Flag, Known, Value};
use crate::template::{Template, named};

/// What Packer's amazon builders do after `CreateImage`: share, copy, encrypt, mark and tag.
const AFTERWARDS: [&str; 18] = [
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
];

impl Template {
    /// What the files ask for. `is_secret` tells which texts must not be kept.
    #[must_use]
    pub fn afterwards(&self, is_secret: impl Fn(&str) -> bool) -> PostImageSteps {
        let mut found = PostImageSteps::default();
        let files = self.readable_files();
        let known = Known::of(named(&files));
        let mut asks = Asks { known: &known, is_secret: &is_secret, found: &mut found };
        for file in files.iter().filter(|file| file.name.ends_with(".pkr.hcl")) {
            for block in file.body.get_blocks("source") {
                asks.source(&block.body);
            }
            for build in file.body.get_blocks("build") {
                build.body.get_blocks("source").for_each(|block| asks.source(&block.body));
                for block in build.body.blocks() {
                    let made = made(block);
                    if made.starts_with("post-processor") && asks.may_be(block) {
                        asks.found.steps.insert(made.to_owned());
                    }
                }
            }
        }
        found
    }
}

/// Goes through the sources of a template.
struct Asks<'a> {
    known: &'a Known<'a>,
    is_secret: &'a dyn Fn(&str) -> bool,
    found: &'a mut PostImageSteps,
}

impl Asks<'_> {
    fn source(&mut self, body: &Body) {
        for name in AFTERWARDS {
            let asked = body
                .get_attribute(name)
                .is_some_and(|attribute| is_something(&self.known.value(&attribute.value)));
            if asked {
                self.found.steps.insert(name.to_owned());
            }
        }
        for block in body.blocks() {
            let made = made(block);
            if AFTERWARDS.contains(&made) && self.may_be(block) {
                self.found.steps.insert(made.to_owned());
            }
        }
        let Some(tags) = body.get_attribute("tags") else {
            return;
        };
        match plain(self.known.value(&tags.value)) {
            Some(tags) if !tags.values().any(|value| (self.is_secret)(value)) => {
                self.found.tags.extend(tags);
            }
            _ => {
                self.found.steps.insert("tags".to_owned());
            }
        }
    }

    /// A dynamic block makes none if it goes through nothing.
    fn may_be(&self, block: &Block) -> bool {
        block.ident.as_str() != "dynamic"
            || block
                .body
                .get_attribute("for_each")
                .is_none_or(|each| is_something(&self.known.value(&each.value)))
    }
}

/// What a block is, or what a dynamic one makes.
fn made(block: &Block) -> &str {
    match block.ident.as_str() {
        "dynamic" => block.labels.first().map_or("", |label| label.as_str()),
        ident => ident,
    }
}

/// Whether this asks for anything; what only Packer can tell may.
fn is_something(value: &Value) -> bool {
    match value {
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        Value::Text(text) if text.is_empty() => false,
        value => value.flag() != Flag::Off,
    }
}

/// Tags without a word that Packer fills in.
fn plain(tags: Value) -> Option<BTreeMap<String, String>> {
    let tags = match tags {
        Value::Map(tags) => tags,
        Value::Null => return Some(BTreeMap::new()),
        _ => return None,
    };
    let pairs = tags.into_iter().map(|(key, value)| {
        let is_plain = |text: &str| !text.contains("{{") && !text.contains("[reconciler-secret");
        let text = value.text().filter(|text| is_plain(text) && is_plain(&key))?;
        let text = text.to_owned();
        Some((key, text))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, build: &str) -> PostImageSteps {
        let text = format!(
            "variable \"none\" {{\n  default = []\n}}\nvariable \"off\" {{\n  default = false\n}}\nvariable \"unset\" {{\n  default = null\n}}\n\
            variable \"tags\" {{\n  default = {{ team = \"ops\", \"a b\" = \"1\" }}\n}}\nsource \"amazon-ebs\" \"x\" {{\n{source}\n}}\nbuild {{\n  sources = [\"source.amazon-ebs.x\"]\n{build}\n}}\n"
        );
        let rendered = BTreeMap::from([("x.pkr.hcl".to_owned(), text)]);
        Template::new(rendered).afterwards(|text| text == "hush")
    }

    #[test]
    fn what_packer_does_after_the_image_exists_is_found() {
        let table = [
            ("ami_name = \"n\"\nrun_tags = { a = \"1\" }", "", &[][..]),
            ("ami_users = []\nencrypt_boot = false\ndeprecate_at = null", "", &[]),
            ("ami_users = [\"1\"]", "", &["ami_users"]),
            ("ami_regions = var.regions", "", &["ami_regions"]),
            ("encrypt_boot = true", "", &["encrypt_boot"]),
            ("snapshot_tags = { a = \"1\" }", "", &["snapshot_tags"]),
            ("tags = { a = var.x }", "", &["tags"]),
            ("tags = { a = \"{{ .SourceAMI }}\" }", "", &["tags"]),
            ("tags = { a = \"hush\" }", "", &["tags"]),
            ("tag {\n  key = \"a\"\n  value = \"1\"\n}", "", &["tag"]),
            ("dynamic \"tag\" {\n  for_each = var.x\n}", "", &["tag"]),
            ("dynamic \"tag\" {\n  for_each = var.none\n}", "", &[]),
            ("dynamic \"fast_launch\" {\n  for_each = [1]\n}", "", &["fast_launch"]),
            ("dynamic \"run_tag\" {\n  for_each = [1]\n}", "", &[]),
            ("ami_users = var.none\nencrypt_boot = var.off\ntags = var.unset", "", &[]),
            ("encrypt_boot = !var.off", "", &["encrypt_boot"]),
            ("encrypt_boot = \"false\"\nkms_key_id = \"\"", "", &[]),
            ("", "dynamic \"post-processor\" {\n  for_each = var.x\n}", &["post-processor"]),
            ("", "post-processors {\n}", &["post-processors"]),
            ("", "post-processor \"manifest\" {}", &["post-processor"]),
            ("", "source \"amazon-ebs.x\" {\n  ami_users = [\"1\"]\n}", &["ami_users"]),
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
        assert_eq!(asked, of("tags = var.tags", ""));
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
