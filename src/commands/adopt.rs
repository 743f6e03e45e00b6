//! `reconciler adopt`: takes over records that the Python library wrote, without a rebuild. Images
//! without a record are taken over in `adopt_image`.
//! A person vouches that the image is what git says now; from then on it has a fingerprint, and
//! drift shows. What can be checked is: the image exists, and it was built on the image that its
//! parent has. Whoever holds the lease is asked to do it.

use std::path::Path;
use std::process::ExitCode;

use reconciler::config::Config;
use reconciler::controller::connect::Use;
use reconciler::controller::requests::gone;
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::requests::{adoptable, may_adopt};
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, StepId};
use reconciler_model::inventory::request::Wish;

use super::ask::Asking;
use super::open::{config, refuse_shared, shared_ids, workflows_of};
use super::plan::{Observed, see};
use super::render::no_such_step;
use super::{CommandError, adopt_image, print};
use crate::cli::AdoptArgs;

/// What was adopted, and what was not.
#[derive(Default)]
pub(super) struct Counted {
    adopted: usize,
    refused: usize,
}

impl Counted {
    /// One more was adopted, or would be.
    pub(super) fn adopted(
        &mut self,
        args: &AdoptArgs,
        step: &StepId,
        image: &AmiId,
    ) -> Result<(), CommandError> {
        self.adopted += 1;
        print::text(&format!("= {step}  {image} {}\n", done(args)))?;
        Ok(())
    }

    /// One more was not.
    pub(super) fn refused(&mut self, why: &CommandError) {
        self.refused += 1;
        print::failure(why);
    }

    /// The last line, and the code.
    pub(super) fn tell(&self, args: &AdoptArgs) -> Result<ExitCode, CommandError> {
        let Self { adopted, refused } = self;
        print::text(&format!("{adopted} {}, {refused} refused\n", done(args)))?;
        Ok(if self.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn done(args: &AdoptArgs) -> &'static str {
    if args.dry_run { "would be adopted" } else { "adopted" }
}

pub(crate) async fn run(named: Option<&Path>, args: &AdoptArgs) -> Result<ExitCode, CommandError> {
    match (&args.image, &args.from) {
        (Some(image), _) => return Box::pin(adopt_image::one(named, args, image)).await,
        (_, Some(run)) => return Box::pin(adopt_image::run_of_family(named, args, run)).await,
        (None, None) => {}
    }
    let config = config(named)?;
    let engine = Engine::new();
    let usage = if args.dry_run { Use::Look } else { Use::Act };
    let mut counted = Counted::default();
    let all = workflows_of(&config, &args.which, Purpose::Follow)?;
    let shared = shared_ids(&config, &all);
    for opened in all {
        for folder in &opened.folders {
            refuse_shared(&shared, &opened, folder)?;
            let look = async || see(&config, &opened, folder, &engine, usage).await;
            let seen = look().await?;
            let known: Vec<_> =
                seen.look.plan.steps.iter().map(|step| step.id.to_string()).collect();
            if let Some(wrong) = args.steps.iter().find(|id| !known.contains(id)) {
                return Err(no_such_step(wrong, &known).into());
            }
            adopt_all(&config, args, &seen, &look, &mut counted).await?;
        }
    }
    counted.tell(args)
}

/// Adopts what is meant and can be, parents first.
async fn adopt_all(
    config: &Config,
    args: &AdoptArgs,
    seen: &Observed,
    look: &impl AsyncFn() -> Result<Observed, CommandError>,
    counted: &mut Counted,
) -> Result<(), CommandError> {
    let plan = &seen.look.plan;
    let asking = Asking { config, ports: &seen.ports, workflow: &plan.workflow_id };
    for step in plan
        .steps
        .iter()
        .filter(|step| args.steps.is_empty() || args.steps.iter().any(|id| id == step.id.as_str()))
    {
        let Some(image) = adoptable(step).map(|head| head.ami_id.clone()) else {
            continue;
        };
        let adopted = async {
            look_first(seen, step, &image).await?;
            if !args.dry_run {
                let wish = Wish::Adopt { step: step.id.clone(), image: image.clone() };
                let id = asking.ask(wish, args.why.as_ref()).await?;
                asking.answer(&id, async || look().await.map(Some)).await?;
            }
            Ok::<_, CommandError>(())
        };
        match adopted.await {
            Ok(()) => counted.adopted(args, &step.id, &image)?,
            Err(error) => counted.refused(&error),
        }
    }
    Ok(())
}

/// Whether it can be adopted as far as it is seen from here: what cannot is not asked for.
async fn look_first(
    seen: &Observed,
    step: &PlannedStep,
    image: &AmiId,
) -> Result<(), CommandError> {
    may_adopt(&seen.look.plan, &step.id, image, seen.look.newest.attempts.get(&step.id))?;
    let Some(catalog) = &seen.ports.catalog else {
        return Err(Diagnostic::new("EC2 is not connected").into());
    };
    match catalog.image(image).await? {
        Some(_) => Ok(()),
        None => Err(gone(&step.id, image).into()),
    }
}
