//! What `packer doctor` says: which Packer a host has, what the templates of a repository ask for,
//! what of that is missing, and how to get it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::packer::plugins::InstalledPlugin;
use crate::packer::version::PackerVersion;
use reconciler_hcl::{RequiredPlugin, Requirements};

/// The plugin whose builders make images.
const AMAZON: &str = "github.com/hashicorp/amazon";

/// The Packer that builds would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstalledPacker {
    /// There it is.
    Found {
        /// The binary.
        path: String,
        /// Which it is.
        version: PackerVersion,
    },
    /// There is none that can be run.
    Missing {
        /// Why.
        said: String,
    },
}

/// What was seen of a host and a repository.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its Packer.
    pub packer: InstalledPacker,
    /// Where plugins were looked for.
    pub plugin_folders: Vec<String>,
    /// Those that are there.
    pub plugins: Vec<InstalledPlugin>,
    /// Steps whose templates could be read, each with what they ask for.
    pub steps: Vec<(String, Requirements)>,
    /// How many steps could not be read.
    pub unread: usize,
}

/// One thing that is asked for, and what there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    /// What is asked for: `github.com/hashicorp/amazon >= 1.2`.
    what: String,
    /// By which steps.
    steps: BTreeSet<String>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It is there: what.
    There(String),
    /// It is not: what is, and how to get it.
    Missing { instead: String, how: String },
}

/// The answer of the doctor.
#[derive(Clone, Debug)]
pub struct Report {
    seen: Seen,
    needs: Vec<Need>,
}

impl Report {
    /// Holds what is asked for against what there is.
    #[must_use]
    pub fn of(seen: Seen) -> Self {
        let mut asked: BTreeMap<Asked, BTreeSet<String>> = BTreeMap::new();
        for (step, requirements) in &seen.steps {
            let plugins = requirements.plugins.iter().cloned().map(Asked::Plugin);
            let packer = requirements.packer.iter().cloned().map(Asked::Packer);
            let named = requirements.plugins.iter().any(|plugin| plugin.source == AMAZON);
            let tacit = (!named).then_some(Asked::Amazon);
            for one in packer.chain(plugins).chain(tacit) {
                asked.entry(one).or_default().insert(step.clone());
            }
        }
        let needs = asked.into_iter().map(|(one, steps)| {
            let state = one.state(&seen);
            Need { what: one.to_string(), steps, state }
        });
        let needs = needs.collect();
        Self { seen, needs }
    }

    /// Whether a build would find all that was asked for.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let is_there = |need: &Need| matches!(need.state, State::There(_));
        matches!(self.seen.packer, InstalledPacker::Found { .. }) && self.needs.iter().all(is_there)
    }

    /// For people; styled, for a stream that takes the styles off where they are not wanted.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        match &self.seen.packer {
            InstalledPacker::Found { path, version } => {
                line(&mut out, true, &format!("Packer {version} at {path}"));
            }
            InstalledPacker::Missing { said } => {
                line(&mut out, false, said);
                hint(&mut out, "reconciler packer install");
            }
        }
        for need in &self.needs {
            let steps = some_of(&need.steps);
            match &need.state {
                State::There(there) => {
                    line(&mut out, true, &format!("{}: {there} (for {steps})", need.what));
                }
                State::Missing { instead, how } => {
                    line(&mut out, false, &format!("{}: {instead} (for {steps})", need.what));
                    hint(&mut out, how);
                }
            }
        }
        self.plugins(&mut out);
        match self.seen.unread {
            0 => {}
            1 => out.push_str("1 step could not be read: see `reconciler check`\n"),
            many => {
                let _ = writeln!(out, "{many} steps could not be read: see `reconciler check`");
            }
        }
        out
    }

    fn plugins(&self, out: &mut String) {
        let folders = self.seen.plugin_folders.join(", ");
        if self.seen.plugins.is_empty() {
            let _ = writeln!(out, "No plugin below {folders}");
            return;
        }
        let _ = writeln!(out, "Plugins below {folders}:");
        for plugin in &self.seen.plugins {
            let _ = writeln!(out, "  {} {}", plugin.source, plugin.version);
        }
    }
}

/// The names of steps, of many only the first.
fn some_of(steps: &BTreeSet<String>) -> String {
    const SHOWN: usize = 5;
    let mut shown = steps.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if steps.len() > SHOWN {
        let _ = write!(shown, " and {} more", steps.len() - SHOWN);
    }
    shown
}

fn line(out: &mut String, is_well: bool, text: &str) {
    let (colour, mark) = if is_well { (AnsiColor::Green, "ok") } else { (AnsiColor::Red, "!!") };
    let style = Style::new().fg_color(Some(colour.into()));
    let _ = writeln!(out, "{style}{mark}{style:#} {text}");
}

fn hint(out: &mut String, how: &str) {
    let _ = writeln!(out, "   {how}");
}

/// One thing that templates ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    /// A version of Packer.
    Packer(String),
    /// A plugin that is named.
    Plugin(RequiredPlugin),
    /// The amazon plugin by its builders alone.
    Amazon,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Packer(version) => write!(f, "Packer {version}"),
            Self::Plugin(RequiredPlugin { source, version: Some(version) }) => {
                write!(f, "{source} {version}")
            }
            Self::Plugin(RequiredPlugin { source, version: None }) => f.write_str(source),
            Self::Amazon => f.write_str(AMAZON),
        }
    }
}

impl Asked {
    /// What there is of it. Where there is no Packer, what one that is to come would find.
    fn state(&self, seen: &Seen) -> State {
        let packer = match seen.packer {
            InstalledPacker::Found { version, .. } => Some(version),
            InstalledPacker::Missing { .. } => None,
        };
        match (self, packer) {
            (Self::Packer(_), None) => State::Missing {
                instead: "there is no Packer".to_owned(),
                how: "reconciler packer install".to_owned(),
            },
            (Self::Packer(wanted), Some(packer)) => packer_state(packer, wanted),
            (Self::Plugin(_), Some(packer)) if !packer.knows_required_plugins() => {
                State::There(format!(
                    "Packer {packer} does not know `required_plugins`, which is left out for it"
                ))
            }
            (Self::Plugin(plugin), _) => {
                plugin_state(&plugin.source, plugin.version.as_deref(), Named::ByTemplate, seen)
            }
            (Self::Amazon, Some(packer)) if packer.has_amazon_within() => {
                State::There(format!("within Packer {packer}"))
            }
            (Self::Amazon, _) => plugin_state(AMAZON, None, Named::ByNobody, seen),
        }
    }
}

fn packer_state(packer: PackerVersion, wanted: &str) -> State {
    match packer.satisfies(wanted) {
        Some(true) => State::There(format!("this is {packer}")),
        Some(false) => State::Missing {
            instead: format!("this is {packer}"),
            how: "reconciler packer install (the newest), or with --version V".to_owned(),
        },
        None => State::There("only Packer can tell whether that fits".to_owned()),
    }
}

/// Whether `packer init` knows of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// It stands under `required_plugins`.
    ByTemplate,
    /// It is needed by its builders alone.
    ByNobody,
}

/// Whether a version of a plugin is there that will do.
fn plugin_state(source: &str, wanted: Option<&str>, is_named: Named, seen: &Seen) -> State {
    let versions = seen.plugins.iter().filter(|plugin| plugin.source == source);
    let mut versions: Vec<PackerVersion> = versions.map(|plugin| plugin.version).collect();
    versions.sort_unstable();
    let fits = |version: &&PackerVersion| {
        // What is not understood here Packer will tell.
        // Seeded bug: a-plugin-of-any-version-will-do
        wanted.is_none_or(|wanted| version.satisfies(wanted) != Some(false))
    };
    if let Some(version) = versions.iter().rev().find(fits) {
        return State::There(version.to_string());
    }
    let there: Vec<_> = versions.iter().map(PackerVersion::to_string).collect();
    let instead = match there.as_slice() {
        [] => "not installed".to_owned(),
        there => format!("installed is {}", there.join(", ")),
    };
    let how = match is_named {
        Named::ByTemplate => {
            format!(
                "packer plugins install {source} (a build runs `packer init`, which gets it too)"
            )
        }
        Named::ByNobody => format!("packer plugins install {source}"),
    };
    State::Missing { instead, how }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packer::release::Platform;

    fn plugin(file: &str) -> InstalledPlugin {
        InstalledPlugin::of(file, Platform::of("linux", "x86_64").unwrap()).unwrap()
    }

    fn asks(plugins: &[(&str, Option<&str>)], packer: &[&str]) -> Requirements {
        Requirements {
            packer: packer.iter().map(|text| (*text).to_owned()).collect(),
            plugins: plugins
                .iter()
                .map(|(source, version)| RequiredPlugin {
                    source: (*source).to_owned(),
                    version: version.map(str::to_owned),
                })
                .collect(),
        }
    }

    fn seen(packer: &str, plugins: Vec<InstalledPlugin>, steps: Vec<Requirements>) -> Seen {
        let packer = PackerVersion::of_three(packer).map_or_else(
            || InstalledPacker::Missing { said: packer.to_owned() },
            |version| InstalledPacker::Found { path: "/usr/bin/packer".to_owned(), version },
        );
        let names = (1..).map(|number| format!("step{number}"));
        Seen {
            packer,
            plugin_folders: vec!["/plugins".to_owned()],
            plugins,
            steps: names.zip(steps).collect(),
            unread: 0,
        }
    }

    fn plain(report: &Report) -> String {
        anstream::adapter::strip_str(&report.text()).to_string()
    }

    #[test]
    fn what_is_there_and_what_is_missing_is_told_with_how_to_get_it() {
        let amazon =
            plugin("github.com/hashicorp/amazon/packer-plugin-amazon_v1.2.8_x5.0_linux_amd64");
        let steps = vec![
            asks(&[(AMAZON, Some(">= 1.2, < 2"))], &[">= 1.7.0"]),
            asks(&[(AMAZON, Some("~> 1.3"))], &[">= 2"]),
            asks(&[("github.com/hashicorp/ansible", None)], &[]),
        ];
        let report = Report::of(Seen { unread: 2, ..seen("1.11.2", vec![amazon], steps) });
        assert!(!report.is_well());
        insta::assert_snapshot!(plain(&report), @"
        ok Packer 1.11.2 at /usr/bin/packer
        ok Packer >= 1.7.0: this is 1.11.2 (for step1)
        !! Packer >= 2: this is 1.11.2 (for step2)
           reconciler packer install (the newest), or with --version V
        ok github.com/hashicorp/amazon >= 1.2, < 2: 1.2.8 (for step1)
        !! github.com/hashicorp/amazon ~> 1.3: installed is 1.2.8 (for step2)
           packer plugins install github.com/hashicorp/amazon (a build runs `packer init`, which gets it too)
        !! github.com/hashicorp/ansible: not installed (for step3)
           packer plugins install github.com/hashicorp/ansible (a build runs `packer init`, which gets it too)
        ok github.com/hashicorp/amazon: 1.2.8 (for step3)
        Plugins below /plugins:
          github.com/hashicorp/amazon 1.2.8
        2 steps could not be read: see `reconciler check`
        ");
    }

    #[test]
    fn a_host_that_has_all_is_well() {
        let amazon =
            plugin("github.com/hashicorp/amazon/packer-plugin-amazon_v1.2.8_x5.0_linux_amd64");
        let asked = vec![asks(&[(AMAZON, Some(">= 1.2"))], &[])];
        assert!(Report::of(seen("1.11.2", vec![amazon], asked.clone())).is_well());
        assert!(!Report::of(seen("1.11.2", vec![], asked.clone())).is_well());
        // It knows no such block, and has the builders within.
        assert!(Report::of(seen("1.6.6", vec![], asked)).is_well());
    }

    #[test]
    fn the_amazon_plugin_is_needed_by_its_builders_though_nobody_names_it() {
        let asked = vec![asks(&[], &[])];
        assert!(Report::of(seen("1.9.5", vec![], asked.clone())).is_well());
        assert!(!Report::of(seen("1.10.0", vec![], asked)).is_well());
    }

    #[test]
    fn without_packer_the_rest_is_told_as_its_successor_would_find_it() {
        let report =
            Report::of(seen("Packer is not on the PATH", vec![], vec![asks(&[], &[">= 1.7"])]));
        assert!(!report.is_well());
        insta::assert_snapshot!(plain(&report), @"
        !! Packer is not on the PATH
           reconciler packer install
        !! Packer >= 1.7: there is no Packer (for step1)
           reconciler packer install
        !! github.com/hashicorp/amazon: not installed (for step1)
           packer plugins install github.com/hashicorp/amazon
        No plugin below /plugins
        ");
    }
}
