//! Goes through one file and stops at the first thing that the build host would have to do.
//!
//! Blocks and attributes are held to [`crate::host_access::schema`]; what expressions call and read
//! is `calls`' business, and plugins that of `plugins`.

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ForExpr, FuncCall};
use hcl_edit::structure::{Attribute, Block, Body};
use hcl_edit::template::ForTemplateExpr;
use hcl_edit::visit::{self, Visit};

use crate::host_access::paths::Reach;
use crate::host_access::schema::{FILE, HOST, Inner, Names, SOURCES, Shape, VALUES};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::suggest::nearest;

/// Names that stand for what the files declare; where something else gets such a name, nothing can
/// be told of it.
const RESERVED: [&str; 3] = ["var", "local", "path"];

/// One file.
pub(super) struct Walk<'a> {
    pub(super) shown: &'a str,
    pub(super) text: &'a str,
    pub(super) reach: &'a Reach<'a>,
    pub(super) plugins: &'a [String],
    pub(super) depth: usize,
    pub(super) found: Option<Diagnostic>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        shown: &'a str,
        text: &'a str,
        reach: &'a Reach<'a>,
        plugins: &'a [String],
    ) -> Self {
        Self { shown, text, reach, plugins, depth: 0, found: None }
    }

    /// Goes through a whole file.
    pub(super) fn file(mut self, name: &str, body: &Body) -> Result<(), Diagnostic> {
        let shape = if name.ends_with("pkrvars.hcl") { &VALUES } else { &FILE };
        self.body(body, shape, "a template");
        self.found.map_or(Ok(()), Err)
    }

    pub(super) fn refuse(&mut self, span: Option<Range<usize>>, what: &str, hint: &str) {
        let span = span.unwrap_or(0..0);
        self.found.get_or_insert_with(|| {
            Diagnostic::new(format!("{what}; `deny_local_exec` refuses it"))
                .at(self.shown, self.text, span)
                .hint(hint)
        });
    }

    /// `who` says for people what holds it.
    fn body(&mut self, body: &Body, shape: &'static Shape, who: &str) {
        for structure in body {
            if self.found.is_some() {
                return;
            }
            if let Some(attribute) = structure.as_attribute() {
                self.attribute(attribute, shape, who);
            } else if let Some(block) = structure.as_block() {
                self.block(block, shape, who);
            }
        }
    }

    fn block(&mut self, block: &Block, shape: &'static Shape, who: &str) {
        let ident = block.ident.as_str();
        let Some(inner) = shape.block(ident) else {
            if ident == "dynamic" {
                return self.dynamic(block, shape);
            }
            let known = shape.blocks.iter().map(|(name, _)| *name);
            return self.unknown(block.ident.span(), "block", ident, who, known);
        };
        let label = block.labels.first().map_or("", |label| label.as_str());
        let first =
            block.labels.first().and_then(hcl_edit::Span::span).or_else(|| block.ident.span());
        let (kinds, kind): (&[(&str, &'static Shape)], &str) = match inner {
            Inner::Plain(shape) => return self.body(&block.body, shape, &format!("`{ident}`")),
            Inner::Plugins => return self.required_plugins(&block.body),
            Inner::Labelled(kinds) => (kinds, label),
            Inner::Source => {
                let kind = label.strip_prefix("source.").unwrap_or(label);
                (&SOURCES, kind.split('.').next().unwrap_or(kind))
            }
        };
        if let Some((_, shape)) = kinds.iter().find(|(name, _)| *name == kind) {
            return self.body(&block.body, shape, &format!("{ident} `{label}`"));
        }
        let ident = if ident == "data" { "data source" } else { ident };
        let what = if label.starts_with("shell") && label.ends_with("-local") {
            format!("`{label}` runs on the build host")
        } else if ident == "data source" {
            format!("the data source `{label}` runs on the build host")
        } else {
            format!("the {ident} `{label}` is not known to leave the build host alone")
        };
        let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        self.refuse(first, &what, &format!("what does: {}", names.join(", ")));
    }

    /// `dynamic "x" {}` makes blocks `x`, whose labels are only known when Packer runs: so only of
    /// those that have none.
    fn dynamic(&mut self, block: &Block, shape: &'static Shape) {
        let made = block.labels.first().map_or("", |label| label.as_str());
        let Some(Inner::Plain(content)) = shape.block(made) else {
            let what =
                format!("which `{made}` blocks this makes cannot be told before Packer runs");
            let at = block.labels.first().and_then(hcl_edit::Span::span);
            let hint = "write the blocks out, or make them by a loop of the template";
            return self.refuse(at.or_else(|| block.ident.span()), &what, hint);
        };
        for attribute in block.body.attributes() {
            match (attribute.key.as_str(), &attribute.value) {
                ("for_each", value) => self.visit_expr(value),
                ("iterator", Expression::Variable(name)) if !RESERVED.contains(&name.as_str()) => {}
                ("iterator", value) => self.shadows(value.span(), "this iterator"),
                _ => self.refuse(
                    attribute.key.span(),
                    "what this makes cannot be told before Packer runs",
                    "write the blocks out, or make them by a loop of the template",
                ),
            }
        }
        for block in body_blocks(block) {
            if block.ident.as_str() == "content" {
                self.body(&block.body, content, &format!("`{made}`"));
            } else {
                self.unknown(
                    block.ident.span(),
                    "block",
                    block.ident.as_str(),
                    "`dynamic`",
                    ["content"].into_iter(),
                );
            }
        }
    }

    fn attribute(&mut self, attribute: &Attribute, shape: &'static Shape, who: &str) {
        let (key, value) = (attribute.key.as_str(), &attribute.value);
        let only = shape.only.iter().find(|(name, _)| *name == key);
        if shape.names == Names::Known && !shape.attributes().any(|name| name == key) {
            return self.unknown(attribute.key.span(), "attribute", key, who, shape.attributes());
        }
        if shape.paths.contains(&key) {
            self.path(value, &format!("`{key}`"));
        } else if let Some((_, may)) = only {
            self.only(value, key, may);
        } else if shape.regions.contains(&key) {
            self.region(value, key);
        }
        self.visit_expr(value);
    }

    fn only(&mut self, value: &Expression, key: &str, may: &[&str]) {
        let texts = self.reach.values.texts(value);
        if texts.is_some_and(|texts| texts.iter().all(|text| may.contains(&text.as_str()))) {
            return;
        }
        let what = if key == "direction" {
            "a file provisioner that does not upload writes files of the build host".to_owned()
        } else {
            format!("this `{key}` is not known to leave the build host alone")
        };
        self.refuse(value.span(), &what, &format!("what does: {}", may.join(", ")));
    }

    /// The name of a region becomes part of a host's.
    fn region(&mut self, value: &Expression, key: &str) {
        let plain = |text: &String| {
            text.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let texts = self.reach.values.texts(value);
        if texts.is_none_or(|texts| !texts.iter().all(plain)) {
            self.refuse(
                value.span(),
                &format!(
                    "`{key}` says which host is asked, and cannot be told to be a region's name"
                ),
                "write the region out, or name a variable whose values stand in the files",
            );
        }
    }

    fn unknown(
        &mut self,
        span: Option<Range<usize>>,
        kind: &str,
        name: &str,
        who: &str,
        known: impl Iterator<Item = &'static str>,
    ) {
        if let Some((_, why)) = HOST.iter().find(|(host, _)| *host == name) {
            return self.refuse(span, &format!("`{name}` {why}"), "leave it out");
        }
        let what =
            format!("the {kind} `{name}` of {who} is not known to leave the build host alone");
        let hint = nearest(name, known).map_or_else(
            || "leave it out; SECURITY.md says what may stand in a template".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.refuse(span, &what, &hint);
    }

    fn shadows(&mut self, span: Option<Range<usize>>, who: &str) {
        self.refuse(
            span,
            &format!("{who} may hide what var, local and path stand for"),
            "give it another name",
        );
    }

    pub(super) fn path(&mut self, value: &Expression, who: &str) -> Vec<String> {
        match self.reach.inside(value) {
            Ok(paths) => paths,
            Err(why) => {
                self.refuse(
                    value.span(),
                    &format!("{who} would read a file of the build host: {why}"),
                    "name a file of the step's folder, as in \"${path.root}/setup.sh\", or one that the step's switch `include` names",
                );
                Vec::new()
            }
        }
    }
}

fn body_blocks(block: &Block) -> impl Iterator<Item = &Block> {
    block.body.blocks()
}

impl Visit for Walk<'_> {
    fn visit_func_call(&mut self, call: &FuncCall) {
        self.call(call);
        if self.found.is_none() {
            visit::visit_func_call(self, call);
        }
    }

    fn visit_for_expr(&mut self, looped: &ForExpr) {
        let intro = &looped.intro;
        // Seeded bug: a-loop-hides-path
        for name in intro.key_var.iter().chain([&intro.value_var]) {
            if RESERVED.contains(&name.as_str()) {
                self.shadows(name.span(), "this loop's variable");
            }
        }
        visit::visit_for_expr(self, looped);
    }

    fn visit_for_template_expr(&mut self, looped: &ForTemplateExpr) {
        for name in looped.key_var.iter().chain([&looped.value_var]) {
            if RESERVED.contains(&name.as_str()) {
                self.shadows(name.span(), "this loop's variable");
            }
        }
        visit::visit_for_template_expr(self, looped);
    }
}
