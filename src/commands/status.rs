//! `reconciler status`: every step, one state, one reason. Looks for itself, so it works with and without the daemon.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use reconciler::config::Config;
use reconciler::desired::jinja::Engine;
use reconciler::diagnostic::Diagnostic;
use reconciler::reconcile::error::PassError;
use reconciler::reconcile::ports::Use;
use reconciler::source::trusted::Purpose;
use reconciler::status::report::{Report, SCHEMA, report};
use reconciler::status::text;
use serde_json::json;

use super::open::{config, workflows_or_refusals};
use super::plan::see;
use super::{CommandError, print};
use crate::cli::{Output, StatusArgs};

pub(crate) async fn run(named: Option<&Path>, args: &StatusArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let mut last = (Vec::new(), Vec::new());
    loop {
        let (reports, refused) = reports(&config, args).await?;
        if !args.watch {
            return finish(&reports, &refused, args);
        }
        if changed(&last.0, &reports) || last.1 != refused {
            show(&reports, args)?;
            refused.iter().for_each(print::diagnostic);
            last = (reports, refused);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}

/// What stands at each workflow, and why some repositories are not believed or cannot be read.
async fn reports(
    config: &Config,
    args: &StatusArgs,
) -> Result<(Vec<Report>, Vec<Diagnostic>), CommandError> {
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
            let seen = see(config, &opened, folder, &engine, usage).await?;
            let lease = seen
                .ports
                .inventory
                .lease(&seen.checkout.params.workflow_id)
                .await?;
            reports.push(report(&seen.look.plan, &seen.look.attempts, lease.as_ref()));
        }
    }
    let refused = refused.iter().map(PassError::diagnostic).collect();
    Ok((reports, refused))
}

fn finish(
    reports: &[Report],
    refused: &[Diagnostic],
    args: &StatusArgs,
) -> Result<ExitCode, CommandError> {
    show(reports, args)?;
    refused.iter().for_each(print::diagnostic);
    if !refused.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let drift = args.exit_code && !reports.iter().all(Report::is_in_sync);
    Ok(if drift {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

fn show(reports: &[Report], args: &StatusArgs) -> Result<(), CommandError> {
    match args.output {
        Output::Json => print::json(&json!({ "schema": SCHEMA, "workflows": reports })),
        Output::Text => reports
            .iter()
            .try_for_each(|report| print::text(&text::text(report))),
    }
}

/// Whether anything but the time is another; a running build's progress counts every ten seconds.
fn changed(old: &[Report], new: &[Report]) -> bool {
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
    facts(old) != facts(new)
}
