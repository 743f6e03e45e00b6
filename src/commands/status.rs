//! `reconciler status`: every step, one state, one reason. Looks for itself, so it works with and
//! without the daemon.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::connect::Use;
use reconciler::controller::error::PassError;
use reconciler::controller::observe::Newest;
use reconciler::controller::status_file;
use reconciler::git::trusted::Purpose;
use reconciler::packer::silence;
use reconciler::packer::supervisor::files;
use reconciler_core::plan::Plan;
use reconciler_core::plan::forecast::{BuildSlots, Outlook};
use reconciler_core::plan::selection::Selection;
use reconciler_core::status::report::{Facts, Report, SCHEMA, report};
use reconciler_core::status::trouble::Trouble;
use reconciler_core::status::{text, trouble};
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::journal::FailureClass;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::open::{config, keep_folders_with, workflows_or_refusals};
use super::plan::{Holder, MOST_FILES, see_with_holder};
use super::screen::Screen;
use super::{CommandError, print, slow};
use crate::cli::{Output, StatusArgs};

/// How often a watched status looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(named: Option<&Path>, args: &StatusArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let first = reports(&config, args, true).await?;
    if args.watch { watch(&config, args, first).await } else { finish(&first, args) }
}

/// What a look came to.
#[derive(Clone)]
struct Observed {
    /// What stands at each workflow.
    reports: Vec<Report>,
    /// Why some repositories are not believed or cannot be read.
    refused: Vec<Diagnostic>,
    /// What the daemon of this host tries without success.
    troubles: Vec<Trouble>,
}

/// Looks again and again until Ctrl-C: drawn in place on a terminal, printed again elsewhere
/// whenever something has changed.
async fn watch(
    config: &Config,
    args: &StatusArgs,
    mut last: Observed,
) -> Result<ExitCode, CommandError> {
    let screen = match args.output {
        Output::Text => Screen::enter()?,
        Output::Json => None,
    };
    // A look that takes its time is told in the frame, or not at all.
    slow::say_nothing();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    match &screen {
        Some(screen) => screen.draw(|rows| drawn(&last, None, rows))?,
        None => print_all(&last, args)?,
    }
    loop {
        let looked = async {
            tokio::time::sleep(LOOK_EVERY).await;
            reports(config, args, false).await
        };
        // Also while AWS does not answer.
        let looked = tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            looked = looked => looked,
        };
        let (seen, trouble) = match looked {
            Ok(reports) => (reports, None),
            // What may pass by itself is no reason to stop watching.
            Err(CommandError::Pass(error)) if error.class() == FailureClass::Transient => {
                (last.clone(), Some(error.diagnostic().one_line()))
            }
            Err(error) => return Err(error),
        };
        match &screen {
            Some(screen) => screen.draw(|rows| drawn(&seen, trouble.as_deref(), rows))?,
            None if changed(&last, &seen) => print_all(&seen, args)?,
            None => {}
        }
        last = seen;
    }
    if screen.is_some() {
        drop(screen);
        print_all(&last, args)?;
    }
    Ok(verdict(&last, args))
}

fn print_all(seen: &Observed, args: &StatusArgs) -> Result<(), CommandError> {
    show(seen, args)?;
    seen.refused.iter().for_each(print::diagnostic);
    Ok(())
}

/// What is drawn in so many rows: each workflow gets as many as it needs, or its share of them.
fn drawn(seen: &Observed, trouble: Option<&str>, rows: usize) -> String {
    let mut below = trouble::text(&seen.troubles, Timestamp::now());
    for why in &seen.refused {
        below.push_str(&format!("{}\n", why.one_line()));
    }
    if let Some(trouble) = trouble {
        below.push_str(&format!("not looked at just now: {trouble}\n"));
    }
    below.push_str("Ctrl-C ends.\n");
    let mut room = rows.saturating_sub(below.lines().count());
    let mut text = String::new();
    for (at, report) in seen.reports.iter().enumerate() {
        let share = room / (seen.reports.len() - at);
        let one = text::folded(report, print::medium(), share.max(3));
        room = room.saturating_sub(one.lines().count());
        text.push_str(&one);
    }
    text + &below
}

fn shown(seen: &Observed) -> impl Iterator<Item = String> {
    let reports = seen.reports.iter();
    let troubles = trouble::text(&seen.troubles, Timestamp::now());
    reports.map(|report| text::text(report, print::medium())).chain([troubles])
}

async fn reports(
    config: &Config,
    args: &StatusArgs,
    is_first: bool,
) -> Result<Observed, CommandError> {
    let engine = Engine::new();
    let usage = if args.offline { Use::LookOffline } else { Use::Look };
    let mut looks = Vec::new();
    let (mut opened, mut refused) = workflows_or_refusals(config, &args.which, Purpose::Follow)?;
    keep_folders_with(&mut opened, &args.steps)?;
    let named = args.steps.iter().map(StepId::new).collect();
    for opened in opened {
        let notes = is_first.then(|| opened.begin_notes(&args.which, MOST_FILES));
        for folder in &opened.folders {
            // One workflow that cannot be looked at hides no other.
            let looked = see_with_holder(config, &opened, folder, &engine, usage, None).await;
            let (seen, holder) = match looked {
                Ok(seen) => seen,
                Err(CommandError::Pass(error)) if error.concerns_one_workflow() => {
                    refused.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let plan = &seen.look.plan;
            if is_first {
                plan.warnings.iter().for_each(print::warning);
            }
            let selection = Selection::of(&plan.steps, &named);
            looks.push(Looked {
                plan: seen.look.plan,
                newest: seen.look.newest,
                holder,
                selection,
            });
        }
        if let Some(notes) = notes {
            notes.print();
        }
    }
    let reports = reported(config, &looks);
    let refused = refused.iter().map(PassError::diagnostic).collect();
    Ok(Observed { reports, refused, troubles: status_file::read(&config.state_dir) })
}

/// One workflow, as it was seen.
struct Looked {
    plan: Plan,
    newest: Newest,
    holder: Holder,
    /// The steps that are meant; none: all.
    selection: Option<Selection>,
}

/// The reports of what was seen: builds of all workflows share the slots of the host.
fn reported(config: &Config, looks: &[Looked]) -> Vec<Report> {
    let now = Timestamp::now();
    let plans: Vec<_> = looks.iter().map(|look| (&look.plan, look.selection.as_ref())).collect();
    let outlooks = Outlook::of(&plans, BuildSlots::of(config.max_concurrent_builds), now);
    let reports = looks.iter().zip(&outlooks).map(|(look, outlook)| {
        let facts = Facts {
            attempts: &look.newest.attempts,
            lease: look.holder.lease.as_ref(),
            sights: &look.holder.sights,
            wanted: look.selection.as_ref(),
            outlook: Some(outlook),
        };
        report(&look.plan, &facts).with_silences(|build| {
            let folder = config.state_dir.join("builds").join(build.as_str());
            silence::of_log(&folder.join(files::LOG), now)
        })
    });
    reports.collect()
}

fn finish(seen: &Observed, args: &StatusArgs) -> Result<ExitCode, CommandError> {
    print_all(seen, args)?;
    if !seen.refused.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    Ok(verdict(seen, args))
}

/// What `--exit-code` asks for, of what was seen last.
fn verdict(seen: &Observed, args: &StatusArgs) -> ExitCode {
    let drift = args.exit_code && !seen.reports.iter().all(Report::is_in_sync);
    if drift { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn show(seen: &Observed, args: &StatusArgs) -> Result<(), CommandError> {
    match args.output {
        Output::Json => print::json(
            &json!({ "schema": SCHEMA, "workflows": seen.reports, "troubles": seen.troubles }),
        ),
        Output::Text => shown(seen).try_for_each(|text| print::text(&text)),
    }
}

/// Whether anything but the time is another; a running build's progress counts every ten seconds.
fn changed(old: &Observed, new: &Observed) -> bool {
    let facts = |reports: &[Report]| -> Vec<_> {
        let step = |report: &Report| {
            let lines = report.steps.iter().map(|step| {
                (
                    step.step_id.clone(),
                    step.state.clone(),
                    step.ami_id.clone(),
                    step.build
                        .as_ref()
                        .map(|build| (build.stage.clone(), build.seen, build.elapsed_seconds / 10)),
                )
            });
            (
                report.revision.clone(),
                report.lease.as_ref().map(|lease| (lease.holder.clone(), lease.seen)),
                lines.collect::<Vec<_>>(),
            )
        };
        reports.iter().map(step).collect()
    };
    let causes = |seen: &Observed| -> Vec<_> {
        let troubles = seen.troubles.iter();
        troubles.map(|one| (one.what.clone(), one.cause.clone())).collect()
    };
    facts(&old.reports) != facts(&new.reports)
        || old.refused != new.refused
        || causes(old) != causes(new)
}
