//! `reconciler apply`: pass after pass until nothing is left to do, then exit. For CI and for a person.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use reconciler::diagnostic::Diagnostic;
use reconciler::ids::StepId;
use reconciler::inventory::journal::{Attempt, Progress};
use reconciler::plan::decision::{BuildSource, Decision};
use reconciler::plan::text;
use reconciler::plan::words::{LineCounts, duration_words, sentence};
use reconciler::reconcile::cache::Kept;
use reconciler::reconcile::checkout::Checkout;
use reconciler::reconcile::driver::{Driver, Event, Observer, Orders};
use reconciler::source::trusted::Purpose;
use tokio::sync::mpsc;

use super::open::{config, sites, workflows_of};
use super::render::no_such_step;
use super::stop::on_signals;
use super::{CommandError, print};
use crate::cli::ApplyArgs;

/// Tells a person what happens.
struct Teller;

impl Observer for Teller {
    fn notice(&self, event: &Event<'_>) {
        let line = match event {
            Event::Planned(plan) => text::text(plan, &LineCounts::new(), print::medium()),
            Event::Started(attempt) => format!(
                "> {}  build {} of {}\n",
                attempt.step_id, attempt.build_id, attempt.intent.ami_name
            ),
            Event::Ended(attempt) => format!("{}\n", ending(attempt)),
            Event::TakenOver(attempt) => format!(
                "= {}  takes over {} of an earlier build\n",
                attempt.step_id, attempt.intent.ami_name
            ),
            Event::Updated(step) => format!("* {}  updated, no build\n", step.id),
            Event::Rewritten { site, old, new } => format!(
                "! {site}: history was rewritten: {} does not descend from {}\n",
                new.short(),
                old.short()
            ),
            Event::Superseded(step) => {
                format!("> {step}  cancelled: git says something else by now\n")
            }
            Event::CancelRequested { step, by } => {
                format!("> {step}  cancelled: {by} asked for it\n")
            }
            Event::Standby(holder) => format!("waiting: {holder} holds the lease\n"),
            Event::Stopped(_, error) => return print::diagnostic(&error.diagnostic()),
        };
        // A terminal that went away does not stop a build.
        let _ = print::text(&line);
    }
}

/// How a build ended, in one line.
pub(crate) fn ending(attempt: &Attempt) -> String {
    match &attempt.progress {
        Progress::Recorded { build_seconds } => {
            let took = duration_words(jiff::SignedDuration::from_secs(
                i64::try_from(*build_seconds).unwrap_or(i64::MAX),
            ));
            let id = attempt
                .ami_id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("= {}  {id} recorded after {took}", attempt.step_id)
        }
        Progress::Failed(failure) => format!(
            "! {}  failed: {} (`reconciler logs {}`)",
            attempt.step_id, failure.cause, attempt.step_id
        ),
        other => format!("  {}  {other:?}", attempt.step_id),
    }
}

pub(crate) async fn run(named: Option<&Path>, args: &ApplyArgs) -> Result<ExitCode, CommandError> {
    let config = Arc::new(config(named)?);
    check_names(&config, args)?;
    let mut sites = sites(&config, &args.which, Purpose::Act)?;
    // What is applied is what git says now, not what was fetched some other day.
    for site in &sites {
        tokio::task::block_in_place(|| site.source.fetch())?;
    }
    if let Some(wanted) = &args.which.workflow {
        restrict(&config, args, wanted, &mut sites)?;
    }
    let orders = Orders {
        only: args
            .steps
            .iter()
            .chain(&args.rebuild)
            .filter(|_| !args.steps.is_empty() || args.rebuild.is_empty())
            .map(StepId::new)
            .collect(),
        forced: args.rebuild.iter().map(StepId::new).collect(),
        once: true,
    };
    let (wake, wakes) = mpsc::channel(4);
    on_signals(wake)?;
    let mut driver = Driver::new(config, sites, orders, Arc::new(Teller));
    let report = driver.run(wakes).await;
    if driver.is_building() {
        print::warning(
            &Diagnostic::new("ended on request; running builds go on under their supervisors")
                .hint("the next `apply` or `run` carries them to their records"),
        );
        return Ok(ExitCode::FAILURE);
    }
    let failed: Vec<_> = report
        .plans
        .iter()
        .flat_map(|plan| plan.steps.iter().map(move |step| (plan, step)))
        .filter(|(_, step)| is_failure(&step.decision))
        .collect();
    for (plan, step) in &failed {
        let _ = print::text(&format!(
            "! {}  {}\n",
            step.id,
            sentence(step, &LineCounts::new(), plan.at)
        ));
    }
    Ok(if failed.is_empty() && report.errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn is_failure(decision: &Decision) -> bool {
    // Tried as often as a command tries, and given up: it would be tried once more.
    let given_up = matches!(
        decision,
        Decision::Build(build)
            if matches!(build.source, BuildSource::Known { attempt, .. } if attempt > 0)
    );
    given_up
        || matches!(
            decision,
            Decision::Broken(_)
                | Decision::Quarantined(_)
                | Decision::BackingOff { .. }
                | Decision::Blocked(_)
        )
}

/// Refuses a step that does not exist before anything is done.
fn check_names(config: &reconciler::config::Config, args: &ApplyArgs) -> Result<(), CommandError> {
    if args.steps.is_empty() && args.rebuild.is_empty() {
        return Ok(());
    }
    let mut known = Vec::new();
    for opened in workflows_of(config, &args.which, Purpose::Look)? {
        for folder in &opened.folders {
            let checkout = Checkout::read(&opened.tree, folder, Kept::default())?;
            known.extend(checkout.outlines.iter().map(|step| step.id.to_string()));
            known.extend(checkout.broken.keys().map(ToString::to_string));
        }
    }
    match args
        .steps
        .iter()
        .chain(&args.rebuild)
        .find(|id| !known.contains(id))
    {
        Some(wrong) => Err(no_such_step(wrong, &known).into()),
        None => Ok(()),
    }
}

/// Leaves only the one workflow's folder among the roots.
fn restrict(
    config: &reconciler::config::Config,
    args: &ApplyArgs,
    wanted: &str,
    sites: &mut Vec<reconciler::reconcile::driver::Site>,
) -> Result<(), CommandError> {
    let opened = workflows_of(config, &args.which, Purpose::Look)?;
    sites.retain_mut(|site| {
        let folders = opened
            .iter()
            .find(|one| one.site.name == site.name)
            .map(|one| &one.folders);
        site.roots = folders
            .into_iter()
            .flatten()
            .map(|folder| folder.path.clone())
            .collect();
        !site.roots.is_empty()
    });
    if sites.is_empty() {
        return Err(Diagnostic::new(format!("there is no workflow `{wanted}`")).into());
    }
    Ok(())
}
