//! What else can be told of a template before Packer runs, for whoever checks it: variables and
//! locals that nobody declares, variables without a value, files that are not there. Packer says
//! each of these as well, but later, and only where it is installed. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::structure::{Block, Body};
use hcl_edit::visit::{self, Visit};
use hcl_edit::{Decorated, Span as _};

use crate::known::{Flag, Known, Value};
use crate::template::{File, Template, named};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::suggest::nearest;

/// What stands around a step's rendered files where Packer runs.
#[derive(Clone, Copy, Debug)]
pub struct ReviewContext<'a> {
    /// The step's folder, from the repository's root.
    pub folder: &'a str,
    /// The other files that are laid out, by their paths from the repository's root.
    pub files: &'a BTreeSet<String>,
    /// Variables of the environment that a build gets.
    pub environment: &'a [String],
}

/// Attributes that name files, by what holds them: provisioners, post-processors and sources.
const FILES: [(&str, &[&str]); 8] = [
    ("shell", &["script", "scripts"]),
    ("shell-local", &["script", "scripts"]),
    ("powershell", &["script", "scripts"]),
    ("windows-shell", &["script", "scripts"]),
    ("file", &["source", "sources"]),
    ("ansible", &["playbook_file", "galaxy_file"]),
    ("ansible-local", &["playbook_file", "playbook_files", "galaxy_file"]),
    ("source", &["user_data_file"]),
];

impl Template {
    /// All that is wrong, in the order of the files.
    pub fn review(&self, around: &ReviewContext<'_>) -> Result<Vec<Diagnostic>, Diagnostic> {
        let all = self.files()?;
        let known = Known::of(named(&all));
        let mut found = Vec::new();
        // Where Packer reads more than is seen here, nothing can be missed.
        let unseen = [".pkr.json", ".auto.pkrvars.json"];
        let sees_all = !own(around).any(|name| unseen.iter().any(|end| name.ends_with(end)));
        for file in all.iter().filter(|file| file.name.ends_with(".pkr.hcl")) {
            if sees_all {
                let mut references =
                    References { file, known: &known, found: &mut found, told: BTreeSet::new() };
                references.visit_body(file.body);
                without_value(file, &known, around, &mut found);
            }
            let search = Search { file, known: &known, template: self, around };
            search.missing_files(file.body, &mut found);
        }
        Ok(found)
    }
}

/// The files that lie in the step's folder itself.
fn own<'a>(around: &ReviewContext<'a>) -> impl Iterator<Item = &'a str> {
    let folder = format!("{}/", around.folder);
    let below = around.files.iter().filter_map(move |path| path.strip_prefix(folder.as_str()));
    below.filter(|name| !name.contains('/'))
}

fn without_value(
    file: &File<'_>,
    known: &Known<'_>,
    around: &ReviewContext<'_>,
    found: &mut Vec<Diagnostic>,
) {
    for (name, has_value) in known.variables() {
        let variable = format!("PKR_VAR_{name}");
        if has_value || around.environment.contains(&variable) {
            continue;
        }
        let mut declared = file.body.get_blocks("variable");
        let declared = declared.find(|block| {
            let label = block.labels.first();
            label.is_some_and(|label| label.as_str() == name)
        });
        if let Some(block) = declared {
            let message = format!("the variable `{name}` has no value");
            found.push(file.wrong(message, block.ident.span()).hint(format!(
                "give it a `default`, or a value in templates/.pkrvars.hcl, or name {variable} under `packer.pass_env` of the configuration"
            )));
        }
    }
}

/// Looks for references to what nobody declares.
struct References<'a, 'b> {
    file: &'a File<'a>,
    known: &'a Known<'a>,
    found: &'b mut Vec<Diagnostic>,
    told: BTreeSet<String>,
}

impl Visit for References<'_, '_> {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        visit::visit_traversal(self, traversal);
        let Expression::Variable(root) = &traversal.expr else {
            return;
        };
        let Some(TraversalOperator::GetAttr(name)) =
            traversal.operators.first().map(Decorated::value)
        else {
            return;
        };
        let name = name.as_str();
        let there: Vec<&str> = match root.as_str() {
            "var" => self.known.variables().map(|(name, _)| name).collect(),
            "local" => self.known.locals().collect(),
            _ => return,
        };
        let shown = format!("{}.{name}", root.as_str());
        if there.contains(&name) || !self.told.insert(shown.clone()) {
            return;
        }
        let what = if root.as_str() == "var" { "variable" } else { "local" };
        let start = root.span().map_or(0, |span| span.start);
        let wrong = self.file.wrong(
            format!("`{shown}` is used, and no {what} `{name}` is declared"),
            Some(start..start + shown.len()),
        );
        let hint = match nearest(name, there.iter().copied()) {
            Some(near) => format!("did you mean `{}.{near}`?", root.as_str()),
            None if there.is_empty() => format!("no {what} is declared at all"),
            None => format!("there are: {}", there.join(", ")),
        };
        self.found.push(wrong.hint(hint));
    }
}

/// Looks for files that are named and not there.
struct Search<'a> {
    file: &'a File<'a>,
    known: &'a Known<'a>,
    template: &'a Template,
    around: &'a ReviewContext<'a>,
}

impl Search<'_> {
    fn missing_files(&self, body: &Body, found: &mut Vec<Diagnostic>) {
        for block in body.blocks() {
            let kind = match block.ident.as_str() {
                "provisioner" | "error-cleanup-provisioner" | "post-processor" => {
                    block.labels.first().map_or("", |label| label.as_str())
                }
                "source" => "source",
                _ => "",
            };
            if let Some((_, keys)) = FILES.iter().find(|(name, _)| *name == kind)
                && self.reads_files(block)
            {
                for key in *keys {
                    self.attribute(block, key, found);
                }
            }
            self.missing_files(&block.body, found);
        }
    }

    /// Not what a provisioner brings from the instance, nor what is made while Packer runs.
    fn reads_files(&self, block: &Block) -> bool {
        let direction = self.known.attribute(&block.body, "direction");
        let uploads = direction == Value::Null || direction.text() == Some("upload");
        uploads && self.known.attribute(&block.body, "generated").flag() == Flag::Off
    }

    fn attribute(&self, block: &Block, key: &str, found: &mut Vec<Diagnostic>) {
        let Some(attribute) = block.body.get_attribute(key) else {
            return;
        };
        let named: Vec<(Value, Option<Range<usize>>)> = match &attribute.value {
            Expression::Array(items) => {
                items.iter().map(|item| (self.known.value(item), item.span())).collect()
            }
            value => match self.known.value(value) {
                Value::List(items) => items.into_iter().map(|item| (item, value.span())).collect(),
                one => vec![(one, value.span())],
            },
        };
        for (value, span) in named {
            if let Some(path) = value.text()
                && let Some(missing) = self.missing(path)
            {
                let message = format!("`{key}` names {path:?}, and there is no such file");
                found.push(self.file.wrong(message, span).hint(missing));
            }
        }
    }

    /// What to say of a file that is not there; none if it is, or may be.
    fn missing(&self, path: &str) -> Option<String> {
        // The host's, or what Packer fills in.
        if path.is_empty() || path.starts_with(['/', '~']) || path.contains("{{") {
            return None;
        }
        let Some(whole) = joined(self.around.folder, path) else {
            return Some("the path leads out of the repository".to_owned());
        };
        let below = format!("{whole}/");
        let files = self.around.files;
        let is_there = files.contains(&whole)
            || whole == self.around.folder
            || files
                .range::<str, _>((
                    std::ops::Bound::Included(below.as_str()),
                    std::ops::Bound::Unbounded,
                ))
                .next()
                .is_some_and(|file| file.starts_with(&below));
        let own = whole.strip_prefix(&format!("{}/", self.around.folder));
        if is_there || own.is_some_and(|own| self.template.texts().contains_key(own)) {
            return None;
        }
        let name = whole.rsplit('/').next().unwrap_or(&whole);
        let near = own_paths(self.around).find(|there| there.rsplit('/').next() == Some(name));
        Some(match (near, own) {
            (Some(near), _) => format!("there is {near}; did you mean that?"),
            (None, Some(_)) => "paths are from the step's folder; templates, README and what `ignore` names are not laid out for a build".to_owned(),
            (None, None) => format!("a build sees its own folder, and what the step's switch `include` names: add {whole:?} there"),
        })
    }
}

/// Paths of the step's own files, from its folder.
fn own_paths<'a>(around: &ReviewContext<'a>) -> impl Iterator<Item = &'a str> {
    let folder = format!("{}/", around.folder);
    around.files.iter().filter_map(move |path| path.strip_prefix(folder.as_str()))
}

/// A path from a folder, without `.` and `..`; none if it leads out.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: &str, values: &str) -> Vec<String> {
        let rendered = [("a.pkr.hcl", template), ("a.pkrvars.hcl", values)];
        let rendered = rendered.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let files = ["ws/a/setup.sh", "ws/a/files/one", "common/x.sh"];
        let around = ReviewContext {
            folder: "ws/a",
            files: &files.map(str::to_owned).into(),
            environment: &["PKR_VAR_passed".to_owned()],
        };
        let found = Template::new(rendered.into()).review(&around).unwrap();
        found.iter().map(Diagnostic::one_line).collect()
    }

    #[test]
    fn what_nobody_declares_is_found_once_with_its_place() {
        let text = "variable \"name\" {\n  default = 1\n}\nlocals {\n  one = \"${var.nam}-${var.nam}\"\n  two = [for var in local.one : var]\n}\n\
            local \"three\" {\n  expression = local.tree\n}\n";
        assert_eq!(
            found(text, "undeclared = 1\n"),
            [
                "a.pkr.hcl:5:12: `var.nam` is used, and no variable `nam` is declared",
                "a.pkr.hcl:9:16: `local.tree` is used, and no local `tree` is declared",
            ]
        );
    }

    #[test]
    fn a_variable_without_a_value_is_found() {
        let text = "variable \"set\" {}\nvariable \"unset\" {}\nvariable \"passed\" {}\nvariable \"null\" {\n  default = null\n}\n";
        assert_eq!(found(text, "set = 1\n"), ["a.pkr.hcl:2:1: the variable `unset` has no value"]);
    }

    #[test]
    fn a_file_that_is_not_laid_out_is_found() {
        let with = |block: &str| {
            let text = format!(
                "variable \"f\" {{\n  default = \"nope.sh\"\n}}\nbuild {{\n  {block}\n}}\n"
            );
            found(&text, "").len()
        };
        let one = |kind: &str, attributes: &str| {
            with(&format!("provisioner \"{kind}\" {{\n    {attributes}\n  }}"))
        };
        for (kind, attributes, count) in [
            ("shell", "script = \"setup.sh\"", 0),
            ("shell", "script = \"./files/../setup.sh\"", 0),
            ("shell", "script = \"${path.root}/setup.sh\"", 0),
            ("shell", "script = \"setup.s\"", 1),
            ("shell", "script = var.f", 1),
            ("shell", "scripts = [\"setup.sh\", \"one.sh\", \"two.sh\"]", 2),
            ("shell", "scripts = fileset(\".\", \"*.sh\")", 0),
            ("shell", "script = \"/usr/local/bin/setup\"", 0),
            ("shell", "script = \"../../common/x.sh\"", 0),
            ("shell", "script = \"../../../x.sh\"", 1),
            ("shell", "script = \"{{ template_dir }}/x.sh\"", 0),
            ("file", "source = \"files/\"", 0),
            ("file", "source = \"file/\"", 1),
            ("file", "source = \"/tmp/x\"\n    direction = \"download\"", 0),
            ("file", "source = \"x\"\n    direction = \"download\"", 0),
            ("file", "source = \"x\"\n    generated = true", 0),
            ("file", "source = \"a.pkrvars.hcl\"", 0),
            ("of-somebody", "script = \"x\"", 0),
        ] {
            assert_eq!(one(kind, attributes), count, "{kind} {attributes}");
        }
        let chain = "post-processors {\n    post-processor \"shell-local\" {\n      script = \"x\"\n    }\n  }";
        assert_eq!(with(chain), 1);
    }
}
