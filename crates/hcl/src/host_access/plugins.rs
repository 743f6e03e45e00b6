//! Where plugins come from: `required_plugins` has Packer install programs, and run them.

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::Body;

use crate::host_access::checker::Walk;
use crate::requirements::whole;

impl Walk<'_> {
    pub(super) fn required_plugins(&mut self, body: &Body) {
        for block in body.blocks() {
            self.refuse(block.ident.span(), "a block is no plugin that can be told", PLAIN);
        }
        for plugin in body.attributes() {
            let source = match source(&plugin.value) {
                Ok(source) => source,
                Err(what) => {
                    self.refuse(plugin.value.span(), what, PLAIN);
                    continue;
                }
            };
            let whole = whole(&source);
            let named = whole.rsplit('/').next().unwrap_or(&whole);
            if !self.plugins.contains(&whole) {
                let what = format!("the plugin of {source} would run on the build host");
                let hint = format!(
                    "if it may: add it to `allowed_plugins` of the repository, which allows {}",
                    self.plugins.join(", ")
                );
                self.refuse(plugin.value.span(), &what, &hint);
            } else if plugin.key.as_str() != named {
                // Its parts are called by this name: `shell` would put its own in the place of
                // Packer's.
                let what = format!(
                    "the plugin of {source} goes by another name, `{}`",
                    plugin.key.as_str()
                );
                self.refuse(plugin.key.span(), &what, &format!("call it `{named}`"));
            }
        }
    }
}

const PLAIN: &str = "write { source = \"github.com/hashicorp/amazon\", version = \">= 1\" }";

/// The source that Packer will find there. An object that could be read in two ways is refused:
/// Packer works keys out, and the last one counts.
fn source(plugin: &Expression) -> Result<String, &'static str> {
    let Expression::Object(object) = plugin else {
        return Err("the plugin of ? would run on the build host");
    };
    let (mut source, mut version) = (None, None);
    for (key, value) in object {
        let key = match key {
            ObjectKey::Ident(ident) => ident.as_str(),
            ObjectKey::Expression(Expression::String(text)) => text.value().as_str(),
            // Seeded bug: plugin-keys-that-packer-works-out
            ObjectKey::Expression(_) => {
                return Err("a plugin is asked for by a key that only Packer works out");
            }
        };
        let into = match key {
            "source" => &mut source,
            "version" => &mut version,
            _ => return Err("a plugin is asked for by a key other than source and version"),
        };
        let Expression::String(text) = value.expr() else {
            return Err("the plugin of ? would run on the build host");
        };
        if into.replace(text.value().clone()).is_some() {
            return Err("a plugin is asked for by the same key twice");
        }
    }
    source.ok_or("the plugin of ? would run on the build host")
}
