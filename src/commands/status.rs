//! `reconciler status`: every step, one state, one reason. Looks for itself, so it works with and without the daemon.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use reconciler::config::Config;
use reconciler::desired::jinja::Engine;
use reconciler::reconcile::ports::Use;
use reconciler::status::report::{Report, SCHEMA, report};
use reconciler::status::text;
use serde_json::json;

use super::open::{config, workflows_of};
use super::plan::see;
use super::{CommandError, print};
use crate::cli::{Output, StatusArgs};

pub(crate) async fn run(named: Option<&Path>, args: &StatusArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let mut last = Vec::new();
    loop {
        let reports = reports(&config, args).await?;
        if !args.watch {
            return finish(&reports, args);
        }
        if changed(&last, &reports) {
            show(&reports, args)?;
            last = reports;
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
    }
}

async fn reports(config: &Config, args: &StatusArgs) -> Result<Vec<Report>, CommandError> {
    let engine = Engine::new();
    let usage = if args.offline {
        Use::LookOffline
    } else {
        Use::Look
    };
    let mut reports = Vec::new();
    for opened in workflows_of(config, &args.which)? {
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
    Ok(reports)
}

fn finish(reports: &[Report], args: &StatusArgs) -> Result<ExitCode, CommandError> {
    show(reports, args)?;
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
