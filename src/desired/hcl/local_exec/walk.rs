//! Goes through one file and stops at the first thing that the build host would have to do.

use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, FuncCall, Object, ObjectKey};
use hcl_edit::structure::{Attribute, Block, Body};
use hcl_edit::template::Template;
use hcl_edit::visit::{self, Visit};

use super::paths::Reach;
use crate::diagnostic::Diagnostic;

/// Provisioners that act on the instance, with the attributes that name files of this host.
const PROVISIONERS: [(&str, &[&str]); 5] = [
    ("shell", &["script", "scripts"]),
    ("powershell", &["script", "scripts"]),
    ("windows-shell", &["script", "scripts"]),
    ("windows-restart", &[]),
    ("file", &["source", "sources"]),
];

/// Post-processors that start nothing, with the attributes that name files of this host.
const POST_PROCESSORS: [(&str, &[&str]); 1] = [("manifest", &["output"])];

/// Sources whose work is done by EC2. `amazon-chroot` mounts volumes on this host.
const SOURCES: [&str; 4] = [
    "amazon-ebs",
    "amazon-ebssurrogate",
    "amazon-ebsvolume",
    "amazon-instance",
];

/// Attributes of these sources that name files of this host, beside all that end in `_file`.
const SOURCE_PATHS: [&str; 2] = ["x509_cert_path", "x509_key_path"];

/// Blocks whose first label says what runs.
const GUARDED: [&str; 6] = [
    "provisioner",
    "error-cleanup-provisioner",
    "post-processor",
    "post-processors",
    "source",
    "data",
];

/// Where `templatefile` leads: deeper than this nobody looks.
const DEEPEST: usize = 8;

/// One file.
pub(super) struct Walk<'a> {
    shown: &'a str,
    text: &'a str,
    reach: &'a Reach<'a>,
    plugins: &'a [String],
    /// What the attributes that are met belong to.
    within: Part,
    depth: usize,
    found: Option<Diagnostic>,
}

/// What an attribute belongs to.
#[derive(Clone, Copy)]
enum Part {
    /// Nothing that names files.
    Plain,
    /// A provisioner or post-processor, with its attributes that do.
    Named(&'static str, &'static [&'static str]),
    /// A source.
    Source,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        shown: &'a str,
        text: &'a str,
        reach: &'a Reach<'a>,
        plugins: &'a [String],
    ) -> Self {
        Self {
            shown,
            text,
            reach,
            plugins,
            within: Part::Plain,
            depth: 0,
            found: None,
        }
    }

    /// Goes through a whole file.
    pub(super) fn body(mut self, body: &Body) -> Result<(), Diagnostic> {
        self.visit_body(body);
        self.found.map_or(Ok(()), Err)
    }

    fn refuse(&mut self, span: Option<Range<usize>>, what: &str, hint: &str) {
        let span = span.unwrap_or(0..0);
        self.found.get_or_insert_with(|| {
            Diagnostic::new(format!("{what}; `deny_local_exec` refuses it"))
                .at(self.shown, self.text, span)
                .hint(hint)
        });
    }

    fn guarded(&mut self, block: &Block) -> Part {
        let label = block.labels.first().map_or("", |label| label.as_str());
        let span = block
            .labels
            .first()
            .and_then(hcl_edit::Span::span)
            .or_else(|| block.ident.span());
        let ident = block.ident.as_str();
        match ident {
            "provisioner" | "error-cleanup-provisioner" | "post-processor" => {
                let known: &[(&str, &[&str])] = if ident == "post-processor" {
                    &POST_PROCESSORS
                } else {
                    &PROVISIONERS
                };
                if let Some((name, paths)) = known.iter().find(|(name, _)| *name == label) {
                    return Part::Named(name, paths);
                }
                let what = if label.ends_with("-local") && label.starts_with("shell") {
                    format!("`{label}` runs on the build host")
                } else {
                    format!("the {ident} `{label}` is not known to leave the build host alone")
                };
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                self.refuse(span, &what, &format!("what does: {}", names.join(", ")));
            }
            "source" => {
                let kind = label.trim_start_matches("source.").split('.').next();
                if kind.is_some_and(|kind| SOURCES.contains(&kind)) {
                    return Part::Source;
                }
                let what =
                    format!("the source `{label}` is not known to leave the build host alone");
                self.refuse(span, &what, &format!("what does: {}", SOURCES.join(", ")));
            }
            "data" if !label.starts_with("amazon-") => {
                let what = format!("the data source `{label}` runs on the build host");
                self.refuse(
                    span,
                    &what,
                    "data sources that ask AWS are allowed: amazon-ami and the like",
                );
            }
            _ => {}
        }
        Part::Plain
    }

    /// `dynamic "x" {}` makes blocks `x`, whose labels are only known when Packer runs.
    fn dynamic(&mut self, block: &Block) {
        let Some(made) = block.labels.first() else {
            return;
        };
        if GUARDED.contains(&made.as_str()) || made.as_str() == "packer" {
            let what = format!(
                "which `{}` blocks this makes cannot be told before Packer runs",
                made.as_str()
            );
            self.refuse(
                made.span(),
                &what,
                "write the blocks out, or make them by a loop of the template",
            );
        }
    }

    fn required_plugins(&mut self, body: &Body) {
        for block in body.get_blocks("required_plugins") {
            for plugin in block.body.attributes() {
                let source = match &plugin.value {
                    Expression::Object(object) => text_of(object, "source"),
                    _ => None,
                };
                let whole = source
                    .as_deref()
                    .map(|source| match source.matches('/').count() {
                        1 => format!("github.com/{source}"),
                        _ => source.to_owned(),
                    });
                if whole.is_none_or(|whole| !self.plugins.contains(&whole)) {
                    let shown = source.unwrap_or_else(|| "?".to_owned());
                    let what = format!("the plugin of {shown} would run on the build host");
                    let hint = format!(
                        "if it may: add it to `allowed_plugins` of the repository, which allows {}",
                        self.plugins.join(", ")
                    );
                    self.refuse(plugin.value.span(), &what, &hint);
                }
            }
        }
    }

    fn attribute(&mut self, key: &str, value: &Expression) {
        let is_path = match self.within {
            Part::Plain => false,
            Part::Named(_, paths) => paths.contains(&key),
            Part::Source => key.ends_with("_file") || SOURCE_PATHS.contains(&key),
        };
        if is_path {
            self.path(value, &format!("`{key}`"));
        }
        if key == "direction" && matches!(self.within, Part::Named("file", _)) {
            let texts = self.reach.values.texts(value);
            if texts.is_none_or(|texts| texts.iter().any(|text| text != "upload")) {
                self.refuse(
                    value.span(),
                    "a file provisioner that does not upload writes files of the build host",
                    "only `direction = \"upload\"`, the default",
                );
            }
        }
        if key == "override" && matches!(self.within, Part::Named(..)) {
            self.overrides(value);
        }
    }

    /// `override = { name = { script = … } }` sets attributes anew.
    fn overrides(&mut self, value: &Expression) {
        let Expression::Object(sources) = value else {
            return self.refuse(
                value.span(),
                "what this overrides cannot be told",
                "write the object out",
            );
        };
        for (_, settings) in sources {
            let Expression::Object(settings) = settings.expr() else {
                let span = settings.expr().span();
                return self.refuse(
                    span,
                    "what this overrides cannot be told",
                    "write the object out",
                );
            };
            for (key, value) in settings {
                match name_of(key) {
                    Some(key) => self.attribute(&key, value.expr()),
                    None => self.refuse(
                        value.expr().span(),
                        "what this overrides cannot be told",
                        "write the key out",
                    ),
                }
            }
        }
    }

    fn path(&mut self, value: &Expression, who: &str) -> Vec<String> {
        match self.reach.inside(value) {
            Ok(paths) => paths,
            Err(why) => {
                self.refuse(
                    value.span(),
                    &format!("{who} would read a file of the build host: {why}"),
                    "name a file of the step's folder, as in \"${path.root}/setup.sh\", or one that `reconciler.include` names",
                );
                Vec::new()
            }
        }
    }

    /// A file that is read as a template may call the same functions.
    fn template_file(&mut self, call: &FuncCall, paths: &[String]) {
        for path in paths {
            let parsed = self
                .reach
                .others
                .get(path)
                .and_then(|content| std::str::from_utf8(content).ok())
                .and_then(|text| Some((text, text.parse::<Template>().ok()?)));
            let Some((text, template)) = parsed.filter(|_| self.depth < DEEPEST) else {
                return self.refuse(
                    call.span(),
                    &format!("`{path}` is no template that can be looked through"),
                    "name a template of the step's folder",
                );
            };
            let mut inner = Walk::new(path, text, self.reach, self.plugins);
            inner.depth = self.depth + 1;
            inner.visit_template(&template);
            if let Some(found) = inner.found {
                self.found.get_or_insert(found);
            }
        }
    }
}

impl Visit for Walk<'_> {
    fn visit_block(&mut self, block: &Block) {
        let outer = self.within;
        let ident = block.ident.as_str();
        if ident == "dynamic" {
            self.dynamic(block);
        } else if GUARDED.contains(&ident) {
            self.within = self.guarded(block);
        } else if ident == "packer" {
            self.required_plugins(&block.body);
        }
        visit::visit_block(self, block);
        self.within = outer;
    }

    fn visit_attr(&mut self, attribute: &Attribute) {
        self.attribute(attribute.key.as_str(), &attribute.value);
        visit::visit_attr(self, attribute);
    }

    fn visit_func_call(&mut self, call: &FuncCall) {
        let name = call.name.name.as_str();
        let first = call.args.iter().next();
        match (name, first) {
            ("env", Some(argument)) => {
                let texts = self.reach.values.texts(argument);
                if texts.is_none_or(|texts| texts.iter().any(|text| text.starts_with("AWS_"))) {
                    self.refuse(
                        call.span(),
                        "`env` would read credentials of the build host",
                        "name a variable that is no credential, written out",
                    );
                }
            }
            ("templatefile", Some(argument)) => {
                let paths = self.path(argument, "`templatefile`");
                self.template_file(call, &paths);
            }
            ("fileset", _) => call.args.iter().for_each(|argument| {
                self.path(argument, "`fileset`");
            }),
            (name, Some(argument)) if name.starts_with("file") => {
                self.path(argument, &format!("`{name}`"));
            }
            _ => {}
        }
        visit::visit_func_call(self, call);
    }
}

fn name_of(key: &ObjectKey) -> Option<String> {
    match key {
        ObjectKey::Ident(ident) => Some(ident.as_str().to_owned()),
        ObjectKey::Expression(Expression::String(text)) => Some(text.value().clone()),
        ObjectKey::Expression(_) => None,
    }
}

fn text_of(object: &Object, key: &str) -> Option<String> {
    let mut found = object
        .iter()
        .filter(|(name, _)| name_of(name).as_deref() == Some(key));
    let (_, value) = found.next()?;
    match (value.expr(), found.next()) {
        (Expression::String(text), None) => Some(text.value().clone()),
        _ => None,
    }
}
