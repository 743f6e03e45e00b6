//! The provisioners of a template, in the order in which they run: what a log says of a script that
//! stands in the template is told by its place only, for Packer gives it a random name. Pure.

use hcl_edit::structure::{Block, BlockLabel, Body};

use reconciler_model::build_phases::{PlannedProvisioner, PlannedRun};

use crate::inspect::referred;
use crate::known::{Known, Value};
use crate::template::{Template, named};

/// Nobody reads more of them in a log.
const MOST: usize = 200;

impl Template {
    /// The provisioners of all `build` blocks; none where only Packer can tell which there are.
    /// `shown` takes secrets out of a text.
    #[must_use]
    pub fn provisioners(&self, shown: impl Fn(&str) -> String) -> Option<Vec<PlannedProvisioner>> {
        let files = self.files().ok()?;
        let known = Known::of(named(&files));
        let mut all = Vec::new();
        for file in files.iter().filter(|file| file.name.ends_with(".pkr.hcl")) {
            for build in file.body.get_blocks("build") {
                let sources = sources(&build.body, &known);
                for (place, block) in (1..).zip(provisioners(&build.body)?) {
                    let kind = block.labels.first().map_or("", BlockLabel::as_str);
                    all.push(PlannedProvisioner {
                        place,
                        kind: kind.to_owned(),
                        runs: runs(kind, &block.body, &known, &shown),
                        sources: run_for(sources.as_deref(), &block.body, &known),
                    });
                }
            }
        }
        (all.len() <= MOST).then_some(all)
    }
}

/// The provisioners of a block; none if Packer makes some.
fn provisioners(build: &Body) -> Option<Vec<&Block>> {
    let is_made = |block: &Block| {
        let made = block.labels.first().map(BlockLabel::as_str);
        block.ident.as_str() == "dynamic" && made == Some("provisioner")
    };
    let blocks = build.blocks();
    (!build.blocks().any(is_made))
        .then(|| blocks.filter(|block| block.ident.as_str() == "provisioner").collect())
}

/// The sources that a block builds, by kind and name; none where only Packer can tell, or where it
/// gives one another name.
fn sources(build: &Body, known: &Known<'_>) -> Option<Vec<String>> {
    let mut sources = match known.attribute(build, "sources") {
        Value::List(items) => {
            let names = items.iter().map(|item| referred(item.text()?));
            names.collect::<Option<Vec<_>>>()?
        }
        Value::Null => Vec::new(),
        _ => return None,
    };
    for block in build.blocks() {
        match (block.ident.as_str(), block.labels.first().map(BlockLabel::as_str)) {
            ("source", Some(label)) if !block.body.has_attribute("name") => {
                sources.push(referred(label)?);
            }
            ("source", _) | ("dynamic", Some("source")) => return None,
            _ => {}
        }
    }
    Some(sources)
}

/// Of these sources those that a provisioner is run for.
fn run_for(sources: Option<&[String]>, body: &Body, known: &Known<'_>) -> Option<Vec<String>> {
    let listed = |key: &str| match known.attribute(body, key) {
        Value::Null => Some(None),
        Value::List(items) => {
            let names = items.iter().map(|item| item.text().map(str::to_owned));
            names.collect::<Option<Vec<_>>>().map(Some)
        }
        _ => None,
    };
    let (only, except) = (listed("only")?, listed("except")?);
    // Packer takes the name of the build before that of the source as well.
    let names = |list: &[String], source: &String| {
        list.iter().any(|name| name == source || name.ends_with(&format!(".{source}")))
    };
    let meant = |source: &&String| {
        only.as_ref().is_none_or(|only| names(only, source))
            && !except.as_ref().is_some_and(|except| names(except, source))
    };
    Some(sources?.iter().filter(meant).cloned().collect())
}

fn runs(
    kind: &str,
    body: &Body,
    known: &Known<'_>,
    shown: &impl Fn(&str) -> String,
) -> Vec<PlannedRun> {
    if !matches!(kind, "shell" | "shell-local" | "powershell" | "windows-shell") {
        return vec![PlannedRun::Itself];
    }
    // A name with something secret in it is another in the log.
    let is_plain = |path: &&str| shown(path) == **path && !path.contains("[reconciler-secret");
    let script = |value: &Value| match value.text().filter(is_plain) {
        Some(path) => PlannedRun::Script(last_part(path).to_owned()),
        None => PlannedRun::Scripts,
    };
    match (known.attribute(body, "script"), known.attribute(body, "scripts")) {
        (Value::Null, Value::Null) => vec![PlannedRun::Inline],
        (Value::Null, Value::List(scripts)) => scripts.iter().map(script).collect(),
        (Value::Null, _) => vec![PlannedRun::Scripts],
        (one, _) => vec![script(&one)],
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(build: &str) -> Option<Vec<(u32, String, Vec<PlannedRun>)>> {
        let text = format!(
            "variable \"dir\" {{\n  default = \"scripts\"\n}}\nvariable \"open\" {{}}\nbuild {{\n  sources = [\"source.amazon-ebs.x\", \"amazon-ebs.y\"]\n{build}\n}}\n"
        );
        let template = Template::new([("x.pkr.hcl".to_owned(), text)].into());
        let planned = template.provisioners(|name| name.replace("hush", "<redacted>"))?;
        Some(planned.into_iter().map(|one| (one.place, one.kind, one.runs)).collect())
    }

    fn script(name: &str) -> PlannedRun {
        PlannedRun::Script(name.to_owned())
    }

    #[test]
    fn a_provisioner_is_known_by_its_place_and_by_what_it_runs() {
        let one = |kind: &str, body: &str| {
            let found = planned(&format!("provisioner \"{kind}\" {{\n{body}\n}}"));
            found.map(|mut found| found.remove(0).2)
        };
        for (kind, body, expected) in [
            ("shell", "inline = [\"true\"]", vec![PlannedRun::Inline]),
            ("shell-local", "command = \"true\"", vec![PlannedRun::Inline]),
            ("shell", "script = \"${var.dir}/a.sh\"", vec![script("a.sh")]),
            ("shell", "script = \"hush.sh\"", vec![PlannedRun::Scripts]),
            ("powershell", "script = \"C:\\\\a.ps1\"", vec![script("a.ps1")]),
            ("shell", "scripts = [\"a.sh\", \"b/c.sh\"]", vec![script("a.sh"), script("c.sh")]),
            ("shell", "scripts = var.open", vec![PlannedRun::Scripts]),
            ("shell", "script = var.open", vec![PlannedRun::Scripts]),
            ("shell", "scripts = fileset(\".\", \"*.sh\")", vec![PlannedRun::Scripts]),
            ("ansible", "playbook_file = \"a.yml\"", vec![PlannedRun::Itself]),
        ] {
            assert_eq!(one(kind, body), Some(expected), "{kind} {body}");
        }
        let block = "provisioner \"shell\" {\n  inline = [\"true\"]\n}\n";
        let two = planned(&block.repeat(2)).unwrap();
        assert_eq!(two.iter().map(|(place, ..)| *place).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(planned(&format!("dynamic \"provisioner\" {{\n}}\n{block}")), None);
        assert_eq!(planned("x = ["), None, "no HCL");
    }

    #[test]
    fn a_provisioner_is_run_for_the_sources_that_its_template_says() {
        let of = |more: &str| {
            let text = format!(
                "variable \"open\" {{}}\nbuild {{\n  sources = [\"source.amazon-ebs.x\"]\n  source \"amazon-ebs.y\" {{}}\n  provisioner \"shell\" {{\n    {more}\n  }}\n}}\n"
            );
            let template = Template::new([("x.pkr.hcl".to_owned(), text)].into());
            template.provisioners(str::to_owned).unwrap().remove(0).sources
        };
        let names = |all: &[&str]| Some(all.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(of(""), names(&["amazon-ebs.x", "amazon-ebs.y"]));
        assert_eq!(of("only = [\"amazon-ebs.y\"]"), names(&["amazon-ebs.y"]));
        assert_eq!(of("except = [\"web.amazon-ebs.y\"]"), names(&["amazon-ebs.x"]));
        assert_eq!(of("only = var.open"), None, "only Packer can tell");
    }
}
