//! `reconciler adopt STEP --image AMI` and `reconciler adopt --from WORKFLOW`: images without a
//! record become the current ones of their steps. Whoever holds the lease is asked to do it, after
//! it was looked from here whether it can be done.

use std::path::Path;
use std::process::ExitCode;

use reconciler::config::Config;
use reconciler::controller::adoption::{Adoptable, NewImages, examine, refuse_other_runs};
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::Use;
use reconciler::controller::requests::PlanOfRequest;
use reconciler::git::discover::WorkflowFolder;
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::decision::Reason;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, StepId, WorkflowId};
use reconciler_model::inventory::record::RecordHead;
use reconciler_model::inventory::request::{ImageToAdopt, Wish};

use super::adopt::Counted;
use super::ask::Asking;
use super::open::{
    Opened, config, keep_folders_with, refuse_shared, shared_ids, step_ids, workflows_of,
};
use super::plan::{Observed, see};
use super::render::no_such_step;
use super::{CommandError, print};
use crate::cli::AdoptArgs;

/// One image for one step.
pub(super) async fn one(
    named: Option<&Path>,
    args: &AdoptArgs,
    image: &str,
) -> Result<ExitCode, CommandError> {
    let [step] = args.steps.as_slice() else {
        return Err(Diagnostic::new("`--image` is for one step")
            .hint("write reconciler adopt STEP --image ami-…")
            .into());
    };
    let config = config(named)?;
    let mut opened = workflows_of(&config, &args.which, Purpose::Follow)?;
    keep_folders_with(&mut opened, &args.steps)?;
    let shared = shared_ids(&config, &opened);
    let several = format!("several workflows have a step {step}");
    let (opened, folder) = only(folders(&opened).collect(), &several)?;
    refuse_shared(&shared, opened, folder)?;
    let adopting = Adopting { config: &config, args, opened, folder, engine: Engine::new() };
    let seen = adopting.see().await?;
    let step = StepId::new(step);
    let planned = seen.look.plan.steps.iter().find(|planned| planned.id == step);
    let wanted = ImageToAdopt {
        replaces: planned.and_then(|planned| Some(planned.record.as_ref()?.ami_id.clone())),
        step,
        image: AmiId::new(image),
        from: None,
        sure: args.yes,
    };
    let mut counted = Counted::default();
    adopting.adopt(&seen, &wanted, &NewImages::new(), &mut counted).await?;
    counted.tell(args)
}

/// The images of an earlier run of the family.
pub(super) async fn run_of_family(
    named: Option<&Path>,
    args: &AdoptArgs,
    run: &str,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let run = WorkflowId::new(run);
    let opened = workflows_of(&config, &args.which, Purpose::Follow)?;
    let shared = shared_ids(&config, &opened);
    let (opened, folder) = of_family(&opened, &run)?;
    refuse_shared(&shared, opened, folder)?;
    let known: Vec<_> = step_ids(opened, folder).iter().map(ToString::to_string).collect();
    if let Some(wrong) = args.steps.iter().find(|id| !known.contains(id)) {
        return Err(no_such_step(wrong, &known).into());
    }
    let adopting = Adopting { config: &config, args, opened, folder, engine: Engine::new() };
    let seen = adopting.see().await?;
    let heads = seen.ports.inventory.heads(&run).await?;
    for (step, detail) in &heads.malformed {
        let place = seen.ports.inventory.place();
        print::warning(&Diagnostic::new(format!(
            "the record of {step} of {run} in {place} cannot be read: {detail}"
        )));
    }
    if heads.records.is_empty() {
        let place = seen.ports.inventory.place();
        return Err(Diagnostic::new(format!("no image of workflow {run} is recorded in {place}"))
            .hint("`reconciler images --family` shows the runs that there are")
            .into());
    }
    let mut counted = Counted::default();
    let mut new = NewImages::new();
    for planned in &seen.look.plan.steps {
        let is_named = args.steps.iter().any(|id| id == planned.id.as_str());
        if !args.steps.is_empty() && !is_named {
            continue;
        }
        let head = heads.records.iter().find(|head| head.step_id == planned.id);
        if let Some(wanted) = taken_from(&run, planned, head, is_named, args.yes, &mut counted)
            && let Some(adopted) = adopting.adopt(&seen, &wanted, &new, &mut counted).await?
        {
            new.insert(planned.id.clone(), adopted.as_source());
        }
    }
    counted.tell(args)
}

/// What is asked for of a step, if anything is: one that has a verified image of this run keeps it
/// unless it is named.
fn taken_from(
    run: &WorkflowId,
    planned: &PlannedStep,
    earlier: Option<&RecordHead>,
    is_named: bool,
    sure: bool,
    counted: &mut Counted,
) -> Option<ImageToAdopt> {
    let Some(earlier) = earlier else {
        if is_named {
            let none = Diagnostic::new(format!("{}: {run} has no image of it", planned.id));
            counted.refused(&none.into());
        }
        return None;
    };
    let record = planned.record.as_ref();
    let lost = |reason: &Reason| matches!(reason, Reason::ImageGone { .. });
    let is_lost = planned.decision.reasons().iter().any(lost);
    if !is_named && !is_lost && record.is_some_and(|record| record.built.is_some()) {
        return None;
    }
    Some(ImageToAdopt {
        step: planned.id.clone(),
        image: earlier.ami_id.clone(),
        replaces: record.map(|record| record.ami_id.clone()),
        from: Some(run.clone()),
        sure,
    })
}

/// The workflow whose family an earlier run is of.
fn of_family<'a>(
    opened: &'a [Opened],
    run: &WorkflowId,
) -> Result<(&'a Opened, &'a WorkflowFolder), CommandError> {
    let (mut found, mut refusals) = (Vec::new(), Vec::new());
    for (opened, folder) in folders(opened) {
        let (params, _) = read_params(opened.tree.as_ref(), folder)?;
        let family = params.settings.family.as_ref();
        match refuse_other_runs(&params.workflow_id, family, &folder.path, run) {
            Ok(()) => found.push((opened, folder)),
            Err(why) => refusals.push(why),
        }
    }
    match refusals.as_slice() {
        [why] if found.is_empty() => Err(why.clone().into()),
        _ if found.is_empty() => {
            Err(Diagnostic::new(format!("{run} is of no family of a workflow that git has"))
                .hint("`reconciler images --family` shows the runs that there are")
                .into())
        }
        _ => only(found, &format!("{run} is of the families of several workflows")),
    }
}

fn folders(opened: &[Opened]) -> impl Iterator<Item = (&Opened, &WorkflowFolder)> {
    opened.iter().flat_map(|one| one.folders.iter().map(move |folder| (one, folder)))
}

/// The one of these workflows that is meant.
fn only<T>(found: Vec<T>, several: &str) -> Result<T, CommandError> {
    match <[T; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(_) => Err(Diagnostic::new(several).hint("name one with `--workflow`").into()),
    }
}

/// What a command adopts, and where.
struct Adopting<'a> {
    config: &'a Config,
    args: &'a AdoptArgs,
    opened: &'a Opened,
    folder: &'a WorkflowFolder,
    engine: Engine,
}

impl Adopting<'_> {
    async fn see(&self) -> Result<Observed, CommandError> {
        let usage = if self.args.dry_run { Use::Look } else { Use::Act };
        see(self.config, self.opened, self.folder, &self.engine, usage).await
    }

    /// Adopts an image, unless it cannot be or is only to be looked at, and tells it. What was, or
    /// would be, adopted.
    async fn adopt(
        &self,
        seen: &Observed,
        wanted: &ImageToAdopt,
        new: &NewImages,
        counted: &mut Counted,
    ) -> Result<Option<Adoptable>, CommandError> {
        match self.ask(seen, wanted, new).await {
            Ok(adopted) => {
                counted.adopted(self.args, &wanted.step, &wanted.image)?;
                Ok(Some(adopted))
            }
            Err(error) => {
                counted.refused(&error);
                Ok(None)
            }
        }
    }

    async fn ask(
        &self,
        seen: &Observed,
        wanted: &ImageToAdopt,
        new: &NewImages,
    ) -> Result<Adoptable, CommandError> {
        let by = PlanOfRequest {
            plan: &seen.look.plan,
            desired: &seen.look.desired,
            attempts: &seen.look.newest.attempts,
        };
        let found = examine(&seen.ports, &by, wanted, new).await?;
        if !self.args.dry_run {
            let workflow = &seen.look.plan.workflow_id;
            let asking = Asking { config: self.config, ports: &seen.ports, workflow };
            let id = asking.ask(Wish::AdoptImage(wanted.clone()), self.args.why.as_ref()).await?;
            asking.answer(&id, async || self.see().await.map(Some)).await?;
        }
        Ok(found)
    }
}
