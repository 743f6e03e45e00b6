//! `reconciler check`: is this repository sound? Asks no network: source images are stand-ins, and
//! nothing is recorded. A template is rendered on the stand-in and on every image whose id it
//! names; a branch on anything else that is known only later (a name, a part of an id) is checked
//! by the plan, when it is known.

pub(crate) mod steps;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use reconciler::config::Config;
use reconciler::controller::checkout::Checkout;
use reconciler::controller::error::PassError;
use reconciler::controller::step_cache::Kept;
use reconciler::git::discover::WORKFLOW_PARAM;
use reconciler::git::repository::LocalRepository;
use reconciler::git::snapshot::Snapshot;
use reconciler::git::trusted::Purpose;
use reconciler::packer::validate;
use reconciler::packer::validate::Validator;
use reconciler::secrets::OpenSecrets;
use reconciler_aws::profiles::Profiles;
use reconciler_aws::regions::{Judged, judge};
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::selection::Selection;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use serde_json::{Value, json};

use super::open::{Opened, Uncommitted, config, shared_ids, snapshots_of, workflows_of};
use super::{CommandError, print};
use crate::cli::{CheckArgs, Output};

/// What is wrong, and what is strange, about the region and the profile, as far as this host can
/// tell without asking AWS.
fn places_at_aws(
    checkout: &Checkout,
    region: Option<&String>,
    config: &Config,
    file: &str,
) -> (Option<Diagnostic>, Vec<Diagnostic>) {
    let (mut wrong, mut strange) = (None, Vec::new());
    let in_file = |said: Diagnostic, is_workflows: bool| {
        if is_workflows { said.in_file(file) } else { said }
    };
    match region.map(String::as_str).map(judge) {
        None | Some(Judged::Known) => {}
        Some(Judged::Unknown(said)) => {
            strange.push(in_file(said, checkout.params.region.is_some()));
        }
        Some(Judged::Malformed(said)) => {
            wrong = Some(in_file(said, checkout.params.region.is_some()));
        }
    }
    let profile = checkout.params.profile.as_ref();
    // Where it is built there may be one.
    if let Some(name) = profile.or(config.aws.profile.as_ref())
        && let Err(mut said) = Profiles::of_this_host().check(name)
    {
        said.message.push_str(" on this host");
        strange.push(in_file(said, profile.is_some()));
    }
    (wrong, strange)
}

/// Prints every broken step of what is meant in full.
pub(crate) fn print_broken(plan: &Plan, selection: Option<&Selection>) {
    for step in plan.wanted(selection) {
        if let Decision::Broken(why) = &step.decision {
            why.iter().for_each(print::diagnostic);
        }
    }
}

pub(crate) async fn run(named: Option<&Path>, args: &CheckArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    // No value is read: whether a secret is there is the build host's matter.
    let secrets = Arc::new(OpenSecrets::unread(&config.secrets));
    let (mut steps, mut found, mut warnings, mut names) = (0, Vec::new(), Vec::new(), Vec::new());
    let all = opened(&config, args)?;
    let shared = shared_ids(&config, &all);
    let mut told = BTreeMap::new();
    for opened in &all {
        for folder in &opened.folders {
            let checkout = Checkout::read(&opened.tree, folder, Kept::default())?;
            let checkout = Arc::new(checkout.with_local_exec(&opened.repository.local_exec));
            let id = &checkout.params.workflow_id;
            told.extend(shared.get(id).map(|why| (id.clone(), why)));
            let region = checkout.params.region.as_ref();
            let region = region.or(config.aws.region.as_ref());
            if config.aws.endpoint_url.is_none() {
                let file = format!("{}/{WORKFLOW_PARAM}", folder.path);
                let (wrong, strange) = places_at_aws(&checkout, region, &config, &file);
                found.extend(wrong);
                warnings.extend(strange);
            }
            steps += checkout.outlines.len() + checkout.broken.len();
            names.push(name_of(opened, &checkout));
            warnings.extend(checkout.warnings.iter().cloned());
            let broken = checkout.broken.values().flatten().cloned();
            found.extend(broken.map(|why| config.secrets.marks.blotted(why)));
            let steps = steps::check(&checkout, &engine, &config, &secrets);
            found.extend(steps.errors);
            warnings.extend(steps.warnings);
            if args.packer {
                found.extend(validated(&config, &steps.sound).await?);
            }
        }
    }
    found.extend(told.into_values().cloned());
    for opened in &all {
        opened.begin_notes(&args.which, usize::MAX).print();
    }
    show(args.output, &names, steps, &found, &warnings)?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was read of a workflow, for people.
fn name_of(opened: &Opened, checkout: &Checkout) -> String {
    let read = match &opened.snapshot {
        None => format!(" at {}", checkout.revision.short()),
        Some(Snapshot::Index(_)) => ", as staged".to_owned(),
        Some(Snapshot::WorkTree) => ", work tree".to_owned(),
    };
    format!("{} ({}{read})", checkout.params.workflow_id, opened.repository.name)
}

fn show(
    output: Output,
    names: &[String],
    steps: usize,
    found: &[Diagnostic],
    warnings: &[Diagnostic],
) -> Result<(), CommandError> {
    if output == Output::Json {
        return print::json(&json!({
            "schema": "reconciler.check/1",
            "workflows": names,
            "steps": steps,
            "errors": found.iter().map(diagnostic_json).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(diagnostic_json).collect::<Vec<_>>(),
        }));
    }
    warnings.iter().for_each(print::warning);
    found.iter().for_each(print::diagnostic);
    let plural = |n: usize, what: &str| {
        if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
    };
    let result = if found.is_empty() { "sound".to_owned() } else { plural(found.len(), "error") };
    print::text(&format!("{}: {}, {result}\n", names.join(", "), plural(steps, "step")))
}

/// What is to be checked: commits, or what is not committed yet.
fn opened(config: &Config, args: &CheckArgs) -> Result<Vec<Opened>, CommandError> {
    let Some(meant) = uncommitted(args)? else {
        return workflows_of(config, &args.which, Purpose::Check);
    };
    let opened = snapshots_of(config, &args.which, &meant)?;
    if opened.iter().any(|one| one.snapshot.is_some()) {
        return Ok(opened);
    }
    let nothing = Diagnostic::new(
        "none of the repositories has a work tree here: nothing but commits can be checked",
    );
    if args.index || args.worktree {
        return Err(nothing
            .hint("name the folder of the clone as `path` under `repositories`, or run in it without a configuration")
            .into());
    }
    print::warning(&Diagnostic::new(
        "git runs this as a hook of a repository that is none of the configured ones: what would be committed is not checked",
    ));
    Ok(opened)
}

fn uncommitted(args: &CheckArgs) -> Result<Option<Uncommitted>, CommandError> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let here = std::env::current_dir()?;
    let meant = match named("GIT_INDEX_FILE") {
        _ if args.which.rev.is_some() => None,
        _ if args.worktree => Some((Snapshot::WorkTree, None)),
        // `git commit --all` and `git commit FILE` write an index of their own, and name it to the
        // hook.
        Some(index) => {
            let git_dir = match named("GIT_DIR") {
                Some(folder) => here.join(folder),
                None => LocalRepository::open(&here, None)?.git_dir().to_owned(),
            };
            Some((Snapshot::Index(Some(here.join(index))), Some(git_dir)))
        }
        None if args.index => Some((Snapshot::Index(None), None)),
        None => None,
    };
    Ok(meant.map(|(what, only)| Uncommitted { what, only }))
}

/// What this host's Packer has to say against the steps, some at once.
async fn validated(
    config: &Config,
    steps: &[validate::Step],
) -> Result<Vec<Diagnostic>, CommandError> {
    const AT_ONCE: usize = 4;
    let packer = Validator::find(&config.packer).await.map_err(PassError::from)?;
    let mut found = Vec::new();
    for some in steps.chunks(AT_ONCE) {
        let running: Vec<_> = some
            .iter()
            .map(|step| {
                let (packer, step) = (packer.clone(), step.clone());
                tokio::spawn(async move { packer.validate(&step).await })
            })
            .collect();
        for one in running {
            let said = one.await.map_err(std::io::Error::other)?;
            let said = said.map_err(PassError::from)?.into_iter();
            found.extend(said.map(|why| config.secrets.marks.blotted(why)));
        }
    }
    Ok(found)
}

fn diagnostic_json(diagnostic: &Diagnostic) -> Value {
    let (line, column) = diagnostic.line_column().unzip();
    json!({
        "message": diagnostic.message,
        "file": diagnostic.place.as_ref().map(|place| &place.path),
        "line": line,
        "column": column,
        "hint": diagnostic.hint,
    })
}
