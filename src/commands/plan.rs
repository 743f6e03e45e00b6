//! `reconciler plan`: what would be built, and why. Changes nothing.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::checkout::{Checkout, read_params};
use reconciler::controller::connect::{Ports, Use, connect};
use reconciler::controller::observe::{Look, Request, look, recorded_with_lease};
use reconciler::controller::process_sight::sights;
use reconciler::controller::step_cache::StepCache;
use reconciler::git::discover::WorkflowFolder;
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::forecast::{BuildSlots, Outlook};
use reconciler_core::plan::selection::Selection;
use reconciler_core::plan::sentences::Context;
use reconciler_core::plan::sight::Sights;
use reconciler_core::plan::{json, text};
use reconciler_jinja::Engine;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::{InventoryError, Lease};

use super::open::{Opened, config, keep_folders_with, workflows_or_refusals};
use super::slow::Slow;
use super::{CommandError, lines, print};
use crate::cli::{Output, PlanArgs};

/// In a work tree of more files than this a plan does not look for uncommitted changes: it would
/// take longer than the rest of it.
pub(crate) const MOST_FILES: usize = 2_000;

/// A workflow that was looked at.
pub(crate) struct Observed {
    /// The plan and what it was made from.
    pub(crate) look: Look,
    /// Git.
    pub(crate) checkout: Arc<Checkout>,
    /// The outside world.
    pub(crate) ports: Ports,
}

/// Looks at one workflow without changing anything.
pub(crate) async fn see(
    config: &Config,
    opened: &Opened,
    folder: &WorkflowFolder,
    engine: &Engine,
    usage: Use,
) -> Result<Observed, CommandError> {
    let (seen, _) = see_with_lease(config, opened, folder, engine, usage, None).await?;
    Ok(seen)
}

/// Who acts on a workflow, and what can be seen of that from here.
pub(crate) struct Holder {
    /// The lease.
    pub(crate) lease: Option<Lease>,
    /// What can be seen of its holder, and of builds.
    pub(crate) sights: Sights,
}

/// Looks at one workflow and who acts on it. `trial`: as an `apply` would that is to build these
/// steps though nothing changed.
pub(crate) async fn see_with_holder(
    config: &Config,
    opened: &Opened,
    folder: &WorkflowFolder,
    engine: &Engine,
    usage: Use,
    trial: Option<&BTreeSet<StepId>>,
) -> Result<(Observed, Holder), CommandError> {
    let (seen, lease) = see_with_lease(config, opened, folder, engine, usage, trial).await?;
    let lease = lease?;
    let inventory = seen.ports.inventory.as_ref();
    let workflow = &seen.look.plan.workflow_id;
    let attempts = &seen.look.newest.attempts;
    let sights = sights(&config.state_dir, inventory, workflow, lease.as_ref(), attempts).await?;
    Ok((seen, Holder { lease, sights }))
}

/// Looks at one workflow and at its lease. Nothing waits for an answer that it does not need: EC2
/// is asked as soon as the records are there.
async fn see_with_lease(
    config: &Config,
    opened: &Opened,
    folder: &WorkflowFolder,
    engine: &Engine,
    usage: Use,
    trial: Option<&BTreeSet<StepId>>,
) -> Result<(Observed, Result<Option<Lease>, InventoryError>), CommandError> {
    let cache =
        StepCache::of(&config.state_dir, &opened.repository.source.cache_scope(), &folder.path);
    let read = read_params(opened.tree.as_ref(), folder)?;
    let params = &read.0;
    let _slow = Slow::begins(format!("looking at workflow {}", params.workflow_id));
    let ports = connect(config, params, usage).await?;
    let (inventory, workflow) = (Arc::clone(&ports.inventory), params.workflow_id.clone());
    let examined = Arc::clone(&inventory);
    let recorded = tokio::spawn(async move { recorded_with_lease(&*inventory, &workflow).await });
    let examined = tokio::spawn(async move { examined.examine().await });
    // On a runtime of one thread this is where both start. Git is read meanwhile.
    tokio::task::yield_now().await;
    let checkout = Checkout::read_further(&opened.tree, folder, read, cache.load())?;
    let checkout = Arc::new(checkout.with_local_exec(&opened.repository.local_exec));
    let (recorded, lease) = match recorded.await.map_err(std::io::Error::other)? {
        Ok(recorded) => recorded,
        Err(error) => {
            // What is wrong with the whole table says more than what became of one question.
            examined.await.map_err(std::io::Error::other)??;
            return Err(error.into());
        }
    };
    if let Ok(lease) = &lease {
        let applied = lease.as_ref().map(|lease| lease.applied.clone()).unwrap_or_default();
        let (inventory, revision) = (ports.inventory.as_ref(), opened.tree.revision());
        opened.repository.refuse_rewrite(inventory, revision, &applied).await?;
    }
    let reference = opened.reference();
    let (nothing, untried) = (BTreeSet::new(), BTreeSet::new());
    let request = Request {
        repository: &opened.repository.name,
        reference: &reference,
        forced: trial.unwrap_or(&nothing),
        // As an `apply` begins: it has tried no build yet, and tries at once what waits for a
        // person's word.
        tried: trial.map(|_| &untried),
        searched: None,
        now: Timestamp::now(),
    };
    let look = look(config, &ports, &checkout, engine, &request, recorded);
    let examined = async { Ok(examined.await.map_err(std::io::Error::other)??) };
    let look = async { Ok::<_, CommandError>(look.await?) };
    let (look, ()) = tokio::try_join!(look, examined)?;
    if let Some(kept) = &look.to_keep {
        cache.store(kept);
    }
    opened.remembered.keep();
    Ok((Observed { look, checkout, ports }, lease))
}

pub(crate) async fn run(named: Option<&Path>, args: &PlanArgs) -> Result<ExitCode, CommandError> {
    show(named, args, None).await
}

/// Shows the plan; with `trial` that of an `apply` that is to build these steps though nothing
/// changed.
pub(crate) async fn show(
    named: Option<&Path>,
    args: &PlanArgs,
    trial: Option<&BTreeSet<StepId>>,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let usage = if args.offline { Use::LookOffline } else { Use::Look };
    let mut all = Vec::new();
    let (mut work, mut errors) = (false, false);
    let (mut opened, mut refused) = workflows_or_refusals(&config, &args.which, Purpose::Follow)?;
    keep_folders_with(&mut opened, &args.steps)?;
    let named = args.steps.iter().map(StepId::new).collect();
    errors |= !refused.is_empty();
    for opened in opened {
        let notes = opened.begin_notes(&args.which, MOST_FILES);
        for folder in &opened.folders {
            // Freeing what ten thousand steps were planned from takes longer than printing them,
            // and this process ends. One workflow that cannot be looked at hides no other.
            let looked = see_with_holder(&config, &opened, folder, &engine, usage, trial).await;
            let seen = match looked {
                Ok(seen) => ManuallyDrop::new(seen),
                Err(CommandError::Pass(error)) if error.concerns_one_workflow() => {
                    refused.push(error);
                    errors = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (seen, holder) = &*seen;
            let plan = &seen.look.plan;
            let counts =
                lines::counts(opened.repository.source.as_ref(), opened.tree.as_ref(), plan);
            let selection = Selection::of(&plan.steps, &named);
            let selection = selection.as_ref();
            let outlook = Outlook::of(
                &[(plan, selection)],
                BuildSlots::of(config.max_concurrent_builds),
                plan.at,
            );
            let around = Context {
                now: plan.at,
                lines: Some(&counts),
                sights: Some(&holder.sights),
                attended: holder.sights.attended(holder.lease.as_ref()),
                wanted: selection,
                outlook: outlook.first(),
            };
            work |= plan.has_drift(selection);
            errors |= plan.has_errors(selection);
            match args.output {
                Output::Json => all.push(json::json(plan, &around)),
                Output::Text => {
                    plan.warnings.iter().for_each(print::warning);
                    print::text(&text::text(plan, &around, print::medium()))?;
                    super::check::print_broken(plan, selection);
                }
            }
        }
        notes.print();
    }
    if args.output == Output::Json {
        print::json(&serde_json::json!({ "schema": json::SCHEMA, "plans": all }))?;
    }
    for refusal in &refused {
        print::diagnostic(&refusal.diagnostic());
    }
    Ok(match (errors, work && args.exit_code) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::SUCCESS,
    })
}
