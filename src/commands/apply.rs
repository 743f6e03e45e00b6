//! `reconciler apply`: pass after pass until nothing is left to do, then exit. For CI and for a
//! person.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use jiff::SignedDuration;
use reconciler::config::Config;
use reconciler::controller::connect::RealConnector;
use reconciler::controller::main_loop::{Controller, FollowedRepository, PassReport, RunOptions};
use reconciler::git::trusted::Purpose;
use reconciler_core::plan::Plan;
use reconciler_core::plan::decision::Decision;
use reconciler_core::plan::json as plan_json;
use reconciler_core::plan::outcome::{Remaining, remaining, remaining_of_step};
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::plan::selection::Selection;
use reconciler_core::plan::sentences::{
    Context, cause, duration_words, mark, sentence, without_cause,
};
use reconciler_core::plan::sight::Attended;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::open::{all_claims, config_to_act, keep_folders_with, repositories, workflows_of};
use super::slow::Slow;
use super::stop::on_signals;
use super::teller::Teller;
use super::{CommandError, plan, print};
use crate::cli::{ApplyArgs, Output, PlanArgs};

/// Only a person's part is left.
const A_PERSONS_PART: u8 = 3;

/// The version of the JSON form, described in `docs/output.md`.
const SCHEMA: &str = "reconciler.apply/1";

/// The steps that are asked for; none means all.
fn asked_for(args: &ApplyArgs) -> impl Iterator<Item = &String> {
    let named = args.steps.iter().chain(&args.rebuild);
    named.filter(|_| !args.steps.is_empty() || args.rebuild.is_empty())
}

/// Prints the plan that would be executed.
async fn dry_run(named: Option<&Path>, args: &ApplyArgs) -> Result<ExitCode, CommandError> {
    let forced: BTreeSet<StepId> = args.rebuild.iter().map(StepId::new).collect();
    let plan = PlanArgs {
        steps: asked_for(args).cloned().collect(),
        which: args.which.clone(),
        offline: false,
        exit_code: false,
        output: args.output,
    };
    plan::show(named, &plan, Some(&forced)).await
}

pub(crate) async fn run(named: Option<&Path>, args: &ApplyArgs) -> Result<ExitCode, CommandError> {
    if args.dry_run {
        return dry_run(named, args).await;
    }
    let config = Arc::new(config_to_act(named)?);
    let mut repositories = repositories(&config, &args.which, Purpose::Follow)?;
    // What is applied is what git says now, not what was fetched some other day.
    for repository in &repositories {
        let _slow = Slow::begins(format!("fetching {}", repository.source.place()));
        tokio::task::block_in_place(|| repository.source.fetch())?;
    }
    restrict(&config, args, &mut repositories)?;
    let options = RunOptions {
        only: asked_for(args).map(StepId::new).collect(),
        forced: args.rebuild.iter().map(StepId::new).collect(),
        elsewhere: all_claims(&config),
        once: true,
    };
    let (wake, wakes) = mpsc::channel(4);
    let asked = on_signals(wake)?;
    let teller = Arc::new(Teller::new(options.only.clone(), args.output));
    let current = tokio::spawn(Arc::clone(&teller).keep_current());
    let only = options.only.clone();
    let began = Instant::now();
    let mut driver = Controller::new(
        Arc::new(RealConnector::default()),
        config,
        repositories,
        options,
        Arc::clone(&teller) as _,
    );
    let report = driver.run(wakes).await;
    current.abort();
    teller.ends();
    if driver.is_building() {
        print::warning(
            &Diagnostic::new("ended on request; running builds go on under their supervisors")
                .hint("the next `apply` or `run` carries them to their records"),
        );
    }
    if let Some(code) = asked.code() {
        return Ok(ExitCode::from(code));
    }
    let left = tell_what_is_left(&report, &only, &teller, args.output)?;
    let is_wrong = report.errors > 0 || driver.is_building() || teller.a_build_has_failed();
    if args.output == Output::Json {
        let plans = report.plans.iter().map(|plan| json_of(plan, &only));
        print::json(&json!({
            "schema": SCHEMA,
            "left": match left {
                _ if is_wrong => "a_failure",
                Remaining::Failure => "a_failure",
                Remaining::PersonsPart => "a_persons_part",
                Remaining::Nothing => "nothing",
            },
            "ended": teller.ended(),
            "plans": plans.collect::<Vec<_>>(),
        }))?;
    } else if let Some(done) = teller.done().filter(|_| !print::is_quiet()) {
        let took = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
        print::text(&format!("Applied: {done} in {}.\n", duration_words(took)))?;
    }
    Ok(exit_code(left, is_wrong))
}

/// The last plan of a workflow, as `plan` prints it.
fn json_of(plan: &Plan, only: &BTreeSet<StepId>) -> Value {
    let selection = Selection::of(&plan.steps, only);
    let around =
        Context { attended: Attended::No, wanted: selection.as_ref(), ..Context::at(plan.at) };
    plan_json::json(plan, &around)
}

/// The exit code of a command that did what it could.
pub(super) fn exit_code(left: Remaining, is_wrong: bool) -> ExitCode {
    match left {
        _ if is_wrong => ExitCode::FAILURE,
        Remaining::Failure => ExitCode::FAILURE,
        Remaining::PersonsPart => ExitCode::from(A_PERSONS_PART),
        Remaining::Nothing => ExitCode::SUCCESS,
    }
}

/// A line for each step that was asked for and is not as git says; what is blocked by the same
/// step, once.
fn tell_what_is_left(
    report: &PassReport,
    only: &BTreeSet<StepId>,
    teller: &Teller,
    output: Output,
) -> Result<Remaining, CommandError> {
    let mut worst = Remaining::Nothing;
    for plan in &report.plans {
        let selection = Selection::of(&plan.steps, only);
        // Nobody is there any more who would try it.
        let around =
            Context { attended: Attended::No, wanted: selection.as_ref(), ..Context::at(plan.at) };
        worst = worst.max(remaining(plan, selection.as_ref()));
        if output == Output::Json {
            continue;
        }
        let mut blocked: BTreeMap<&StepId, Vec<&PlannedStep>> = BTreeMap::new();
        for step in plan.wanted(selection.as_ref()) {
            match &step.decision {
                Decision::Blocked(by) => blocked.entry(&by.root.step).or_default().push(step),
                _ if remaining_of_step(step, selection.as_ref()) == Remaining::Nothing => {}
                _ => {
                    // Once is enough, and a cause may be long.
                    let told = cause(&step.decision)
                        .is_some_and(|why| teller.has_told(&plan.workflow_id, &step.id, &why));
                    let said =
                        if told { without_cause(step, &around) } else { sentence(step, &around) };
                    let mark = mark_of(step, selection.as_ref());
                    print::text(&format!("{mark} {}  {said}\n", step.id))?;
                }
            }
        }
        for steps in blocked.values() {
            let names: Vec<_> = steps.iter().map(|step| step.id.as_str()).collect();
            let names = match names.as_slice() {
                [first, second, third, more @ ..] if !more.is_empty() => {
                    format!("{first}, {second}, {third} and {} more", more.len())
                }
                names => names.join(", "),
            };
            print::text(&format!(
                "{} {names}  {}\n",
                mark_of(steps[0], selection.as_ref()),
                sentence(steps[0], &around)
            ))?;
        }
    }
    Ok(worst)
}

/// What has failed stands out, whatever it waits for.
fn mark_of(step: &PlannedStep, selection: Option<&Selection>) -> char {
    match remaining_of_step(step, selection) {
        Remaining::Failure => '!',
        Remaining::PersonsPart | Remaining::Nothing => mark(step),
    }
}

/// Refuses a step or a workflow that does not exist before anything is done, and leaves only the
/// workflows that are meant: of one whose steps were not asked for, the lease is another's to hold.
fn restrict(
    config: &Config,
    args: &ApplyArgs,
    repositories: &mut Vec<FollowedRepository>,
) -> Result<(), CommandError> {
    let named: Vec<String> = args.steps.iter().chain(&args.rebuild).cloned().collect();
    if named.is_empty() && args.which.workflow.is_none() {
        return Ok(());
    }
    let mut opened = workflows_of(config, &args.which, Purpose::Follow)?;
    let all: Vec<_> = opened.iter().map(|one| one.folders.clone()).collect();
    keep_folders_with(&mut opened, &named)?;
    if args.steps.is_empty() {
        for (one, folders) in opened.iter_mut().zip(all) {
            one.folders = folders;
        }
        if args.which.workflow.is_none() {
            return Ok(());
        }
    }
    repositories.retain_mut(|repository| {
        let of_site = opened.iter().filter(|one| one.repository.name == repository.name);
        repository.roots =
            of_site.flat_map(|one| &one.folders).map(|folder| folder.path.clone()).collect();
        !repository.roots.is_empty()
    });
    Ok(())
}
