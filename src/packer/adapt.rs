//! What differs between hosts, adapted on the parsed HCL when a step folder is laid out (contract
//! §3). It never counts, and every adaptation is said in the build's log. On real AWS with today's
//! Packer not one byte is changed.

use std::collections::BTreeMap;

use hcl_edit::expr::{Array, Expression, Object, ObjectKey, ObjectValue};
use hcl_edit::structure::{Attribute, Body};
use hcl_edit::{Decorated, Ident};
use serde_json::Value;

use reconciler_core::packer::version::PackerVersion;
use reconciler_hcl::Template;
use reconciler_model::diagnostic::Diagnostic;

/// What a host asks for.
#[derive(Clone, Debug)]
pub struct Host<'a> {
    /// Its Packer.
    pub version: PackerVersion,
    /// Attributes for every `source "amazon-…"`; empty without an emulator.
    pub overrides: &'a BTreeMap<String, Value>,
}

/// Adapts a template; the second part says what was done. What is adapted is another template, of
/// the texts that Packer reads; where nothing is to be done, it is the same one.
pub fn adapt(template: &Template, host: &Host<'_>) -> Result<(Template, Vec<String>), Diagnostic> {
    let mut done = Vec::new();
    if host.version.knows_required_plugins() && host.overrides.is_empty() {
        return Ok((template.clone(), done));
    }
    let mut texts = template.texts().clone();
    for (name, parsed) in template.bodies().filter(|(name, _)| name.ends_with(".pkr.hcl")) {
        let mut body = parsed.clone()?;
        let before = done.len();
        adapt_file(name, &mut body, host, &mut done);
        if done.len() > before {
            texts.insert(name.to_owned(), body.to_string());
        }
    }
    let adapted = if done.is_empty() { template.clone() } else { Template::new(texts) };
    Ok((adapted, done))
}

fn adapt_file(name: &str, body: &mut Body, host: &Host<'_>, done: &mut Vec<String>) {
    if !host.version.knows_required_plugins() && drop_required_plugins(body) {
        done.push(format!(
            "{name}: left out required_plugins, which Packer {} does not know",
            host.version
        ));
    }
    for block in body.get_blocks_mut("source") {
        if block.labels.first().is_some_and(|label| label.as_str().starts_with("amazon-"))
            && !host.overrides.is_empty()
        {
            for (key, value) in host.overrides {
                block.body.remove_attribute(key);
                block.body.push(Attribute::new(
                    Decorated::new(Ident::new(key.clone())),
                    expression(value),
                ));
            }
            let keys: Vec<_> = host.overrides.keys().map(String::as_str).collect();
            done.push(format!("{name}: set {} for the emulator", keys.join(", ")));
        }
    }
}

fn drop_required_plugins(body: &mut Body) -> bool {
    let mut dropped = false;
    for block in body.get_blocks_mut("packer") {
        dropped |= !block.body.remove_blocks("required_plugins").is_empty();
    }
    if dropped {
        let kept: Vec<_> = body
            .remove_blocks("packer")
            .into_iter()
            .filter(|block| !block.body.is_empty())
            .collect();
        for block in kept {
            body.push(block);
        }
    }
    dropped
}

fn expression(value: &Value) -> Expression {
    match value {
        Value::Null => Expression::null(),
        Value::Bool(flag) => Expression::from(*flag),
        Value::String(text) => Expression::from(text.as_str()),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Expression::from(whole),
            None => Expression::from(number.as_f64().unwrap_or_default().to_string()),
        },
        Value::Array(items) => Expression::Array(items.iter().map(expression).collect::<Array>()),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (ObjectKey::from(Ident::new(key.clone())), expression(value)));
            Expression::Object(
                entries.map(|(key, value)| (key, ObjectValue::from(value))).collect::<Object>(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "packer {\n  required_plugins {\n    amazon = { source = \"github.com/hashicorp/amazon\", version = \">= 1.0\" }\n  }\n}\n\nsource \"amazon-ebs\" \"x\" { # kept\n  ami_name = \"${var.a}-b\"\n  ssh_port = 22\n}\n";

    fn adapted(host: &Host<'_>) -> (String, Vec<String>) {
        let template = Template::new([("x.pkr.hcl".to_owned(), TEXT.to_owned())].into());
        let (adapted, done) = adapt(&template, host).unwrap();
        assert!(adapted.bodies().all(|(_, parsed)| parsed.is_ok()), "{adapted:?}");
        (adapted.texts()["x.pkr.hcl"].clone(), done)
    }

    fn version(text: &str) -> PackerVersion {
        PackerVersion::parse(text).unwrap()
    }

    #[test]
    fn on_aws_with_todays_packer_not_one_byte_is_changed() {
        let host = Host { version: version("Packer v1.16.0"), overrides: &BTreeMap::new() };
        assert_eq!(adapted(&host), (TEXT.to_owned(), vec![]));
    }

    #[test]
    fn an_old_packer_gets_no_required_plugins_and_the_rest_as_it_was() {
        let host = Host { version: version("Packer v1.6.6"), overrides: &BTreeMap::new() };
        let (text, done) = adapted(&host);
        assert!(!text.contains("required_plugins"), "{text}");
        assert!(text.contains("{ # kept\n  ami_name = \"${var.a}-b\""), "{text}");
        assert_eq!(done.len(), 1);
    }

    #[test]
    fn an_emulators_attributes_replace_those_of_the_template() {
        let overrides = BTreeMap::from([
            ("ssh_port".to_owned(), Value::from(2222)),
            ("skip_region_validation".to_owned(), Value::from(true)),
        ]);
        let host = Host { version: version("Packer v1.16.0"), overrides: &overrides };
        let (text, _) = adapted(&host);
        assert!(text.contains("ssh_port = 2222") && !text.contains("ssh_port = 22\n"), "{text}");
        assert!(text.contains("skip_region_validation = true"), "{text}");
        assert!(text.contains("required_plugins"));
    }
}
