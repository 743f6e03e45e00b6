//! `reconciler history [STEP]`: every build that was tried, from the journal.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Use, connect};
use reconciler::controller::error::PassError;
use reconciler::git::trusted::Purpose;
use reconciler_core::status::history::{SCHEMA, Story, stories};
use reconciler_core::status::history_text::{Detail, text};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::WHOLE_JOURNAL;
use serde_json::json;

use super::open::{
    Opened, config, no_build_of, nothing_found, step_ids, unless_unknown, workflows_of,
};
use super::slow::Slow;
use super::{CommandError, print, since_good};
use crate::cli::{HistoryArgs, Output};

/// A build has about eight entries; one that was asked for much may have more.
const ENTRIES_A_BUILD: usize = 16;

/// How many builds may come between two whose ids sort the other way round.
const CLOCKS_APART: usize = 8;

fn is_meant(story: &Story, args: &HistoryArgs) -> bool {
    let failed = || story.build().is_some_and(|build| build.failure.is_some());
    args.since.is_none_or(|since| story.began_at() >= since)
        && (!args.failed || failed())
        && args.build.as_ref().is_none_or(|begin| story.id().as_str().starts_with(begin))
}

/// How many entries of the journal are read for each workflow.
fn entries(args: &HistoryArgs) -> usize {
    if args.failed || args.since.is_some() || args.build.is_some() {
        return WHOLE_JOURNAL;
    }
    // Ids follow the clocks of hosts: a few more are read, and ordered as the journal has them.
    args.limit.saturating_add(CLOCKS_APART).saturating_mul(ENTRIES_A_BUILD)
}

/// Why it is an error that no build was found: one that was named by its id, or by its step alone.
fn nothing_meant(
    args: &HistoryArgs,
    step: Option<&StepId>,
    opened: &[Opened],
    nothing_in: &[String],
) -> Option<Diagnostic> {
    if let Some(build) = &args.build {
        let wrong = Diagnostic::new(format!("no build whose id begins with `{build}` is known"));
        return Some(wrong.hint("`reconciler history` shows the builds and their ids"));
    }
    let is_narrowed = args.failed || args.since.is_some();
    step.filter(|_| !is_narrowed).map(|step| no_build_of(step, opened, nothing_in))
}

pub(crate) async fn run(
    named: Option<&Path>,
    args: &HistoryArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let step = args.step.as_ref().map(StepId::new);
    let (mut all, mut nothing_in) = (Vec::new(), Vec::new());
    let mut known = 0;
    let detail = if args.build.is_some() { Detail::Whole } else { Detail::Short };
    let opened = workflows_of(&config, &args.which, Purpose::Follow)?;
    for opened in &opened {
        for folder in &opened.folders {
            let (params, _) = read_params(opened.tree.as_ref(), folder)?;
            let _slow = Slow::begins(format!("asking for the builds of {}", params.workflow_id));
            let asked = async {
                let ports = connect(&config, &params, Use::LookOffline).await?;
                let inventory = &ports.inventory;
                let events = inventory.events(&params.workflow_id, step.as_ref(), entries(args));
                let events = events.await?;
                Ok::<_, PassError>((ports, events))
            };
            let (ports, events) = asked.await.map_err(|error| match &step {
                Some(step) => unless_unknown(error, opened, folder, step),
                None => error,
            })?;
            let in_git: BTreeSet<StepId> = step_ids(opened, folder);
            let mut told = stories(&events, usize::MAX, |step| in_git.contains(step));
            told.retain(|story| is_meant(story, args));
            told.truncate(args.limit);
            if args.build.is_some() {
                since_good::add(&config, opened, &params.workflow_id, &events, &mut told);
            }
            known += told.len();
            let place = ports.inventory.place();
            if events.is_empty() {
                nothing_in.push(nothing_found(&ports, &params.workflow_id).await?);
            }
            for wrong in &events.malformed {
                let told = wrong.clone().error(&place).to_string();
                print::warning(&Diagnostic::new(told));
            }
            match args.output {
                Output::Json => all.push(json!({
                    "workflow_id": params.workflow_id,
                    "repository": opened.repository.name,
                    "folder": folder.path,
                    "builds": told.iter().filter_map(Story::build).collect::<Vec<_>>(),
                    "forgotten": told.iter().filter_map(Story::forgotten).collect::<Vec<_>>(),
                })),
                Output::Text if args.build.is_some() && told.is_empty() => {}
                Output::Text if told.is_empty() && !events.is_empty() => {
                    print::text(&format!("{}\nno such build\n", params.workflow_id))?;
                }
                Output::Text if step.is_some() && told.is_empty() => {}
                Output::Text => {
                    let workflow = params.workflow_id.to_string();
                    let zone = TimeZone::system();
                    print::text(&text(&workflow, &told, detail, Timestamp::now(), &zone))?;
                    for nothing in nothing_in.drain(..) {
                        print::text(&format!("{nothing}\n"))?;
                    }
                }
            }
        }
    }
    if known == 0
        && let Some(why) = nothing_meant(args, step.as_ref(), &opened, &nothing_in)
    {
        return Err(why.into());
    }
    if args.output == Output::Json {
        print::json(&json!({ "schema": SCHEMA, "workflows": all }))?;
    }
    Ok(ExitCode::SUCCESS)
}
