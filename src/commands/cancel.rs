//! `reconciler cancel STEP`: the running build of a step is ended cleanly.
//!
//! Whoever holds the lease is asked, and writes the wish into the journal, where the supervisor on
//! whatever host finds it; a build of this host is asked directly as well. Where no reconciler runs,
//! this command carries the build to its end itself.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reconciler::config::Config;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Ports, Use, connect};
use reconciler::controller::error::PassError;
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::sentences::duration_words;
use reconciler_core::requests::nothing_to_cancel;
use reconciler_model::build::Sighting;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::inventory::journal::Attempt;
use reconciler_model::inventory::request::Wish;

use super::ask::Asking;
use super::open::{config, no_build_of, nothing_found, unless_unknown, workflows_of};
use super::slow::Slow;
use super::teller::ending;
use super::{CommandError, print};
use crate::cli::CancelArgs;

/// How long a build may take to end beyond its grace, before this command stops waiting for it.
const PATIENCE: Duration = Duration::from_mins(2);

struct Found {
    ports: Ports,
    workflow: WorkflowId,
    attempt: Attempt,
}

pub(crate) async fn run(named: Option<&Path>, args: &CancelArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let step = StepId::new(&args.step);
    let found = find(&config, args, &step).await?;
    let attempt = found.attempt;
    let asking = Asking { config: &config, ports: &found.ports, workflow: &found.workflow };
    let wish = Wish::Cancel { step: step.clone(), build: attempt.build_id.clone() };
    let id = asking.ask(wish, args.why.as_ref()).await?;
    asking.answer(&id, async || Ok(None)).await?;
    let sighting = found.ports.builder.find(&attempt.build_id).await?;
    if let Sighting::Here(running) = &sighting {
        found.ports.builder.cancel(running).await?;
    }
    print::text(&format!(
        "build {} of {step} on {} is asked to end\n",
        attempt.build_id, attempt.intent.host
    ))?;
    if args.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let patience = config.packer.grace + PATIENCE;
    print::note(&format!(
        "waiting until it has ended, for at most {} (Ctrl-C ends the wait, not the request)",
        duration_words(SignedDuration::try_from(patience).unwrap_or_default())
    ));
    let attempt = asking.settled(attempt, &sighting, patience).await?;
    print::text(&format!("{step} {}\n", ending(&attempt, Timestamp::now())))?;
    Ok(ExitCode::SUCCESS)
}

async fn find(config: &Config, args: &CancelArgs, step: &StepId) -> Result<Found, CommandError> {
    let (mut running, mut known) = (Vec::new(), false);
    let mut nothing_in = Vec::new();
    let all = workflows_of(config, &args.which, Purpose::Follow)?;
    for opened in &all {
        for folder in &opened.folders {
            let (params, _) = read_params(opened.tree.as_ref(), folder)?;
            let _slow = Slow::begins(format!("asking for the builds of {}", params.workflow_id));
            // A look first: to ask for something does not begin an inventory.
            let asked = async {
                let ports = connect(config, &params, Use::LookOffline).await?;
                let attempts = ports.inventory.attempts(&params.workflow_id).await?;
                Ok::<_, PassError>((ports, attempts))
            };
            let (seen, attempts) =
                asked.await.map_err(|error| unless_unknown(error, opened, folder, step))?;
            if let Some(wrong) = attempts.malformed_of(step) {
                return Err(wrong.clone().error(&seen.inventory.place()).into());
            }
            if !attempts.iter().any(|one| one.step_id == *step) {
                nothing_in.push(nothing_found(&seen, &params.workflow_id).await?);
                continue;
            }
            let ports = connect(config, &params, Use::Act).await?;
            for attempt in attempts.into_iter().filter(|one| one.step_id == *step) {
                known = true;
                if !attempt.is_over() {
                    running.push(Found {
                        ports: ports.clone(),
                        workflow: params.workflow_id.clone(),
                        attempt,
                    });
                }
            }
        }
    }
    if running.len() > 1 {
        let names: Vec<_> = running.iter().map(|one| one.workflow.to_string()).collect();
        return Err(Diagnostic::new(format!(
            "builds of {step} run in several workflows: {}",
            names.join(", ")
        ))
        .hint("name one with `--workflow`")
        .into());
    }
    running.pop().ok_or_else(|| {
        if known {
            nothing_to_cancel(step).into()
        } else {
            no_build_of(step, &all, &nothing_in).into()
        }
    })
}
