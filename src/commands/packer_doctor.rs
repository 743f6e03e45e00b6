//! `reconciler packer doctor`: what this host has of what the templates ask for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use reconciler::config::Config;
use reconciler::controller::checkout::Checkout;
use reconciler::controller::step_cache::Kept;
use reconciler::git::trusted::Purpose;
use reconciler::packer::install::platform;
use reconciler::packer::{plugins, version};
use reconciler::secrets::OpenSecrets;
use reconciler_core::packer::doctor::{InstalledPacker, Report, Seen};
use reconciler_hcl::Requirements;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;

use super::check::steps;
use super::open::{config, workflows_of};
use super::{CommandError, print};
use crate::cli::Which;

pub(crate) async fn run(named: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let platform = platform().map_err(Diagnostic::from)?;
    let plugin_folders = plugins::folders(&config.packer);
    // What is installed is told although no repository can be read.
    let asked = asked(&config);
    let (steps, unread) = asked.as_ref().map_or((Vec::new(), 0), Clone::clone);
    let report = Report::of(Seen {
        packer: installed(&config).await,
        plugins: plugins::installed(&plugin_folders, platform),
        plugin_folders: plugin_folders.iter().map(|one| one.display().to_string()).collect(),
        steps,
        unread,
    });
    print::text(&report.text())?;
    asked?;
    Ok(if report.is_well() && unread == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn installed(config: &Config) -> InstalledPacker {
    let found = match version::locate(config.packer.binary.as_deref()) {
        Ok(path) => version::say(&path).await.map(|version| (path, version)),
        Err(error) => Err(error),
    };
    match found {
        Ok((path, version)) => InstalledPacker::Found { path: path.display().to_string(), version },
        Err(error) => InstalledPacker::Missing { said: error.to_string() },
    }
}

/// What each step asks for, at the followed commits, and how many steps could not be read.
fn asked(config: &Config) -> Result<(Vec<(String, Requirements)>, usize), CommandError> {
    let engine = Engine::new();
    let secrets = Arc::new(OpenSecrets::unread(&config.secrets));
    let (mut steps, mut unread) = (Vec::new(), 0);
    for opened in &workflows_of(config, &Which::default(), Purpose::Check)? {
        for folder in &opened.folders {
            let checkout = Checkout::read(&opened.tree, folder, Kept::default())?;
            let checkout = Arc::new(checkout.with_local_exec(&opened.repository.local_exec));
            let read = steps::check(&checkout, &engine, config, &secrets);
            let built = checkout.outlines.iter().filter(|step| !step.manual);
            let mut unseen: BTreeSet<_> = built.map(|step| step.folder.as_str()).collect();
            for step in &read.sound {
                unseen.remove(step.folder.as_str());
                let named = checkout.outlines.iter().find(|one| one.folder == step.folder);
                let name = named.map_or_else(|| step.folder.clone(), |one| one.id.to_string());
                steps.push((name, step.template.requirements()?));
            }
            unread += unseen.len() + checkout.broken.len();
        }
    }
    Ok((steps, unread))
}
