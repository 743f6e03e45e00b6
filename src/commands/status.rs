//! `reconciler status`: every step, one state, one reason. Looks for itself, so it works with and without the daemon.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::desired::jinja::Engine;
use reconciler::diagnostic::Diagnostic;
use reconciler::inventory::journal::FailureClass;
use reconciler::reconcile::board;
use reconciler::reconcile::error::PassError;
use reconciler::reconcile::ports::Use;
use reconciler::source::trusted::Purpose;
use reconciler::status::report::{Report, SCHEMA, report};
use reconciler::status::trouble::Trouble;
use reconciler::status::{text, trouble};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::open::{config, workflows_or_refusals};
use super::plan::see_with_holder;
use super::screen::Screen;
use super::{CommandError, print};
use crate::cli::{Output, StatusArgs};

/// How often a watched status looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(named: Option<&Path>, args: &StatusArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let first = reports(&config, args).await?;
    if args.watch {
        watch(&config, args, first).await
    } else {
        finish(&first, args)
    }
}

/// What a look came to.
#[derive(Clone)]
struct Seen {
    /// What stands at each workflow.
    reports: Vec<Report>,
    /// Why some repositories are not believed or cannot be read.
    refused: Vec<Diagnostic>,
    /// What the daemon of this host tries without success.
    troubles: Vec<Trouble>,
}

/// Looks again and again until Ctrl-C: drawn in place on a terminal, printed again elsewhere whenever something has changed.
async fn watch(
    config: &Config,
    args: &StatusArgs,
    mut last: Seen,
) -> Result<ExitCode, CommandError> {
    let screen = match args.output {
        Output::Text => Screen::enter()?,
        Output::Json => None,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    match &screen {
        Some(screen) => screen.draw(&drawn(&last, None))?,
        None => print_all(&last, args)?,
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let (seen, trouble) = match reports(config, args).await {
            Ok(reports) => (reports, None),
            // What may pass by itself is no reason to stop watching.
            Err(CommandError::Pass(error)) if error.class() == FailureClass::Transient => {
                (last.clone(), Some(error.diagnostic().one_line()))
            }
            Err(error) => return Err(error),
        };
        match &screen {
            Some(screen) => screen.draw(&drawn(&seen, trouble.as_deref()))?,
            None if changed(&last, &seen) => print_all(&seen, args)?,
            None => {}
        }
        last = seen;
    }
    if screen.is_some() {
        drop(screen);
        print_all(&last, args)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_all(seen: &Seen, args: &StatusArgs) -> Result<(), CommandError> {
    show(seen, args)?;
    seen.refused.iter().for_each(print::diagnostic);
    Ok(())
}

fn drawn(seen: &Seen, trouble: Option<&str>) -> String {
    let refused = seen.refused.iter();
    let refused = refused.map(|why| format!("{}\n", why.one_line()));
    let mut text: String = shown(seen).chain(refused).collect();
    if let Some(trouble) = trouble {
        text.push_str(&format!("not looked at just now: {trouble}\n"));
    }
    text + "Ctrl-C ends.\n"
}

fn shown(seen: &Seen) -> impl Iterator<Item = String> {
    let reports = seen.reports.iter();
    let troubles = trouble::text(&seen.troubles, Timestamp::now());
    reports
        .map(|report| text::text(report, print::medium()))
        .chain([troubles])
}

async fn reports(config: &Config, args: &StatusArgs) -> Result<Seen, CommandError> {
    let engine = Engine::new();
    let usage = if args.offline {
        Use::LookOffline
    } else {
        Use::Look
    };
    let mut reports = Vec::new();
    let (opened, refused) = workflows_or_refusals(config, &args.which, Purpose::Look)?;
    for opened in opened {
        for folder in &opened.folders {
            let (seen, lease) = see_with_holder(config, &opened, folder, &engine, usage).await?;
            reports.push(report(&seen.look.plan, &seen.look.attempts, lease.as_ref()));
        }
    }
    let refused = refused.iter().map(PassError::diagnostic).collect();
    Ok(Seen {
        reports,
        refused,
        troubles: board::read(&config.state_dir),
    })
}

fn finish(seen: &Seen, args: &StatusArgs) -> Result<ExitCode, CommandError> {
    print_all(seen, args)?;
    if !seen.refused.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let drift = args.exit_code && !seen.reports.iter().all(Report::is_in_sync);
    Ok(if drift {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

fn show(seen: &Seen, args: &StatusArgs) -> Result<(), CommandError> {
    match args.output {
        Output::Json => print::json(
            &json!({ "schema": SCHEMA, "workflows": seen.reports, "troubles": seen.troubles }),
        ),
        Output::Text => shown(seen).try_for_each(|text| print::text(&text)),
    }
}

/// Whether anything but the time is another; a running build's progress counts every ten seconds.
fn changed(old: &Seen, new: &Seen) -> bool {
    let facts = |reports: &[Report]| -> Vec<_> {
        let step = |report: &Report| {
            let lines = report.steps.iter().map(|step| {
                (
                    step.step_id.clone(),
                    step.state,
                    step.ami_id.clone(),
                    step.build
                        .as_ref()
                        .map(|build| (build.stage, build.elapsed_seconds / 10)),
                )
            });
            (
                report.revision.clone(),
                report.held_by.clone(),
                lines.collect::<Vec<_>>(),
            )
        };
        reports.iter().map(step).collect()
    };
    let causes = |seen: &Seen| -> Vec<_> {
        let troubles = seen.troubles.iter();
        troubles
            .map(|one| (one.what.clone(), one.cause.clone()))
            .collect()
    };
    facts(&old.reports) != facts(&new.reports)
        || old.refused != new.refused
        || causes(old) != causes(new)
}
