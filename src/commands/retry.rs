//! `reconciler retry STEP`: what has failed is tried again. Writes the wish into the journal;
//! whoever holds the lease acts on it.

use std::path::Path;
use std::process::ExitCode;

use reconciler::controller::connect::Use;
use reconciler::controller::journal_requests::request;
use reconciler::controller::process_sight::holder_of;
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::sentences::{Context, sentence};
use reconciler_core::plan::sight::{Process, holder_words, parts};
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::journal::{Attempt, Stage};

use super::open::{config, keep_folders_with, who, workflows_of};
use super::plan::{Observed, see};
use super::render::no_such_step;
use super::{CommandError, print};
use crate::cli::RetryArgs;

pub(crate) async fn run(named: Option<&Path>, args: &RetryArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let step = StepId::new(&args.step);
    let (mut known, mut waiting, mut other) = (Vec::new(), Vec::new(), None);
    let mut opened = workflows_of(&config, &args.which, Purpose::Look)?;
    // Git knows the step before anybody needs credentials.
    keep_folders_with(&mut opened, std::slice::from_ref(&args.step))?;
    for opened in opened {
        for folder in &opened.folders {
            let seen = see(&config, &opened, folder, &engine, Use::Ask).await?;
            let plan = &seen.look.plan;
            known.extend(plan.steps.iter().map(|step| step.id.to_string()));
            let Some(planned) = plan.steps.iter().find(|planned| planned.id == step) else {
                continue;
            };
            if matches!(planned.decision, Decision::Quarantined(_) | Decision::BackingOff { .. }) {
                waiting.push(seen);
            } else {
                other = Some(sentence(planned, &Context::at(plan.at)));
            }
        }
    }
    match (waiting.as_slice(), other) {
        ([seen], _) => ask(seen, &step).await,
        ([], None) => Err(no_such_step(&args.step, &known).into()),
        ([], Some(state)) => Err(Diagnostic::new(format!(
            "there is nothing to retry: {step} has not failed: {state}"
        ))
        .hint(format!("`reconciler apply --rebuild {step}` builds it though nothing changed"))
        .into()),
        (several, _) => Err(Diagnostic::new(format!(
            "{step} has failed in several workflows: {}",
            several
                .iter()
                .map(|seen| seen.look.plan.workflow_id.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .hint("name one with `--workflow`")
        .into()),
    }
}

async fn ask(seen: &Observed, step: &StepId) -> Result<ExitCode, CommandError> {
    let inventory = seen.ports.inventory.as_ref();
    let workflow = &seen.look.plan.workflow_id;
    let attempts = inventory.attempts(workflow).await?;
    if let Some(wrong) = attempts.malformed_of(step) {
        return Err(wrong.clone().error(&inventory.place()).into());
    }
    let newest = attempts.into_iter().find(|one| one.step_id == *step);
    let Some(newest) = newest else {
        return Err(Diagnostic::new(format!("no build of {step} is known")).into());
    };
    let over = |attempt: &Attempt| {
        if attempt.is_over() {
            return Ok(());
        }
        Err(Diagnostic::new(format!(
            "there is nothing to retry: build {} of {step} runs",
            attempt.build_id
        ))
        .hint(format!("`reconciler logs --follow {step}` shows it")))
    };
    let stage = Stage::RetryRequested { by: who() };
    let asked = request(inventory, workflow, newest, &stage, over).await?;
    let lease = inventory.lease(workflow).await?;
    let by_hand = format!("`reconciler apply {step}` or `reconciler run` tries it");
    let seen = holder_of(lease.as_ref());
    let next = match (lease.and_then(|lease| lease.holder), seen) {
        (None, _) => format!("no reconciler runs: {by_hand}"),
        (Some(holder), Process::Ended | Process::Stopped) => format!(
            "pid {} of this host, which holds the lease, {}: {by_hand}",
            parts(&holder).map_or("?", |(_, pid)| pid),
            if seen == Process::Ended { "has ended" } else { "is stopped by a signal (SIGSTOP)" }
        ),
        (Some(holder), _) => format!("{} tries it at its next pass", holder_words(&holder)),
    };
    print::text(&format!("retry of {step} after build {}; {next}\n", asked.build_id))?;
    Ok(ExitCode::SUCCESS)
}
