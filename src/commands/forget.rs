//! `reconciler forget STEP`: the record of a step that git has no more goes; its image stays, and
//! the journal keeps both. Whoever holds the lease is asked to do it.

use std::path::Path;
use std::process::ExitCode;

use reconciler::config::Config;
use reconciler::controller::connect::Use;
use reconciler::git::trusted::Purpose;
use reconciler_core::requests::may_forget;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, StepId};
use reconciler_model::inventory::request::Wish;
use reconciler_model::suggest::nearest;

use super::ask::Asking;
use super::open::{config, refuse_shared, shared_ids, workflows_of};
use super::plan::{Observed, see};
use super::{CommandError, print};
use crate::cli::{ForgetArgs, Which};

pub(crate) async fn run(named: Option<&Path>, args: &ForgetArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let step = StepId::new(&args.step);
    // What git has no more is told by what is followed, not by any commit.
    let (repository, workflow) = (args.repository.clone(), args.workflow.clone());
    let which = Which { repository, workflow, rev: None };
    let (mut orphans, mut found, mut in_git) = (Vec::new(), Vec::new(), None);
    let all = workflows_of(&config, &which, Purpose::Follow)?;
    let shared = shared_ids(&config, &all);
    for opened in &all {
        for folder in &opened.folders {
            let look = async || see(&config, opened, folder, &engine, Use::Ask).await;
            let seen = look().await?;
            let plan = &seen.look.plan;
            orphans.extend(plan.orphans.iter().map(|orphan| orphan.step_id.to_string()));
            if let Some(orphan) = plan.orphans.iter().find(|orphan| orphan.step_id == step) {
                refuse_shared(&shared, opened, folder)?;
                let image = orphan.ami_id.clone();
                found.push((opened, folder, seen, image));
            } else if plan.steps.iter().any(|planned| planned.id == step) {
                // Why it stays.
                in_git = may_forget(plan, &step, &AmiId::new(""), None).err();
            }
        }
    }
    match (found.as_slice(), in_git) {
        ([(opened, folder, seen, image)], _) => {
            let look = async || see(&config, opened, folder, &engine, Use::Ask).await;
            forget(&config, seen, &step, image, args.why.as_ref(), look).await
        }
        ([], Some(why)) => Err(why.into()),
        ([], None) => Err(no_such_orphan(&step, &orphans).into()),
        (several, _) => Err(Diagnostic::new(format!(
            "{step} is recorded in several workflows whose git has it no more: {}",
            several
                .iter()
                .map(|(_, _, seen, _)| seen.look.plan.workflow_id.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .hint("name one with `--workflow`")
        .into()),
    }
}

/// That nothing of this name is recorded that git has no more.
fn no_such_orphan(step: &StepId, orphans: &[String]) -> Diagnostic {
    let hint = match nearest(step.as_str(), orphans.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if orphans.is_empty() => {
            "every recorded step is in git: `reconciler images` shows what is recorded".to_owned()
        }
        None => format!("there are: {}", orphans.join(", ")),
    };
    Diagnostic::new(format!("there is no record of a step `{step}` that git has no more"))
        .hint(hint)
}

async fn forget(
    config: &Config,
    seen: &Observed,
    step: &StepId,
    image: &AmiId,
    why: Option<&String>,
    look: impl AsyncFn() -> Result<Observed, CommandError>,
) -> Result<ExitCode, CommandError> {
    let plan = &seen.look.plan;
    may_forget(plan, step, image, seen.look.newest.attempts.get(step))?;
    let asking = Asking { config, ports: &seen.ports, workflow: &plan.workflow_id };
    let wish = Wish::Forget { step: step.clone(), image: image.clone() };
    let id = asking.ask(wish, why).await?;
    let answered = asking.answer(&id, async || look().await.map(Some)).await?;
    print::text(&format!(
        "the record of {step} is gone, its image {image} stays; `reconciler history {step}` tells it as request {}\n",
        answered.build
    ))?;
    Ok(ExitCode::SUCCESS)
}
