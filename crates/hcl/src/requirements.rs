//! What the templates of a step ask of a host: a version of Packer, and plugins. Pure.

use hcl_edit::structure::Body;

use crate::known::{Known, Value};
use crate::template::{Template, named};
use reconciler_model::diagnostic::Diagnostic;

/// A plugin that `required_plugins` names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequiredPlugin {
    /// Where it comes from, as Packer completes it: `github.com/hashicorp/amazon`.
    pub source: String,
    /// Which versions will do, as it is written; none: any.
    pub version: Option<String>,
}

/// What the templates of a step ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Every `required_version`, as it is written.
    pub packer: Vec<String>,
    /// Plugins whose source stands in the files.
    pub plugins: Vec<RequiredPlugin>,
}

impl Template {
    /// What they ask for, as far as the files say it themselves.
    pub fn requirements(&self) -> Result<Requirements, Diagnostic> {
        let all = self.files()?;
        let known = Known::of(named(&all));
        let mut asked = Requirements::default();
        for file in all.iter().filter(|file| file.name.ends_with(".pkr.hcl")) {
            for block in file.body.get_blocks("packer") {
                let version = known.attribute(&block.body, "required_version");
                asked.packer.extend(version.text().map(str::to_owned));
                for plugins in block.body.get_blocks("required_plugins") {
                    asked.plugins.extend(required(&plugins.body, &known));
                }
            }
        }
        Ok(asked)
    }
}

fn required(body: &Body, known: &Known<'_>) -> Vec<RequiredPlugin> {
    let plugins = body.attributes().filter_map(|plugin| {
        let Value::Map(asked) = known.value(&plugin.value) else {
            return None;
        };
        let text = |key: &str| asked.get(key).and_then(Value::text).map(str::to_owned);
        Some(RequiredPlugin { source: whole(&text("source")?), version: text("version") })
    });
    plugins.collect()
}

/// Packer takes two parts for a place at GitHub.
pub(crate) fn whole(source: &str) -> String {
    match source.matches('/').count() {
        1 => format!("github.com/{source}"),
        _ => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Requirements {
        let texts = [("x.pkr.hcl".to_owned(), text.to_owned())].into();
        Template::new(texts).requirements().unwrap()
    }

    #[test]
    fn versions_and_plugins_are_read_as_packer_completes_them() {
        let asked = of(
            "locals {\n  wanted = \">= 1.2\"\n}\npacker {\n  required_version = \">= 1.7\"\n  required_plugins {\n    amazon = {\n      source = \"hashicorp/amazon\"\n      version = local.wanted\n    }\n    own = { source = \"git.example.com/a/own\" }\n    unknown = { source = upper(\"x\") }\n  }\n}\n",
        );
        let plugin = |source: &str, version: Option<&str>| RequiredPlugin {
            source: source.to_owned(),
            version: version.map(str::to_owned),
        };
        assert_eq!(asked.packer, [">= 1.7"]);
        assert_eq!(
            asked.plugins,
            [
                plugin("github.com/hashicorp/amazon", Some(">= 1.2")),
                plugin("git.example.com/a/own", None)
            ]
        );
    }

    #[test]
    fn files_that_ask_for_nothing_ask_for_nothing() {
        assert_eq!(of("build {}\n"), Requirements::default());
    }
}
