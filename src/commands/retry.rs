//! `reconciler retry STEP`: what has failed is tried again. Whoever holds the lease is asked, and
//! writes the wish into the journal.

use std::path::Path;
use std::process::ExitCode;

use reconciler::config::Config;
use reconciler::controller::connect::Use;
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::sentences::{Context, sentence};
use reconciler_core::plan::sight::holder_words;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::request::Wish;

use super::ask::Asking;
use super::open::{config, keep_folders_with, workflows_of};
use super::plan::{Observed, see};
use super::render::no_such_step;
use super::{CommandError, print};
use crate::cli::RetryArgs;

pub(crate) async fn run(named: Option<&Path>, args: &RetryArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let step = StepId::new(&args.step);
    let (mut known, mut waiting, mut other) = (Vec::new(), Vec::new(), None);
    let mut opened = workflows_of(&config, &args.which, Purpose::Follow)?;
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
        ([seen], _) => ask(&config, seen, &step, args.why.as_ref()).await,
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

async fn ask(
    config: &Config,
    seen: &Observed,
    step: &StepId,
    why: Option<&String>,
) -> Result<ExitCode, CommandError> {
    let workflow = &seen.look.plan.workflow_id;
    let asking = Asking { config, ports: &seen.ports, workflow };
    let id = asking.ask(Wish::Retry { step: step.clone() }, why).await?;
    let answered = asking.answer(&id, async || Ok(None)).await?;
    let next = match answered.holder {
        None => {
            format!("no reconciler runs: `reconciler apply {step}` or `reconciler run` tries it")
        }
        Some(holder) => format!("{} tries it at its next pass", holder_words(&holder)),
    };
    print::text(&format!("retry of {step} after build {}; {next}\n", answered.build))?;
    Ok(ExitCode::SUCCESS)
}
