//! `reconciler diff STEP`: what changed since the recorded image, as a unified diff of parameters,
//! rendered files and scripts.
//!
//! The old side is the commit that the record names, rendered anew with the image that it was built
//! on.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use reconciler::config::Config;
use reconciler::controller::connect::Use;
use reconciler::git::trusted::Purpose;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::plan::decision::{BuildSource, Decision};
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::plan::sentences::{Context, sentence};
use reconciler_core::plan::source::{ShownSource, source_of};
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, StepId};
use serde_json::json;

use super::open::{Opened, config, workflows_of};
use super::plan::{Observed, see};
use super::render::no_such_step;
use super::sides::{MadeFrom, Side, differences, no_such_commit, past_side, side};
use super::{CommandError, print};
use crate::cli::{DiffArgs, Output};

pub(crate) async fn run(named: Option<&Path>, args: &DiffArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let id = StepId::new(args.step.clone());
    let mut known = Vec::new();
    for opened in workflows_of(&config, &args.which, Purpose::Follow)? {
        let notes = opened.begin_notes(&args.which, usize::MAX);
        for folder in &opened.folders {
            let seen = see(&config, &opened, folder, &engine, Use::LookOffline).await?;
            known.extend(seen.look.plan.steps.iter().map(|step| step.id.to_string()));
            if let Some(step) = seen.look.plan.steps.iter().find(|step| step.id == id) {
                let shown = show(&config, &opened, &seen, step, &engine, args);
                notes.print();
                return shown;
            }
        }
    }
    Err(no_such_step(&args.step, &known).into())
}

fn show(
    config: &Config,
    opened: &Opened,
    seen: &Observed,
    step: &PlannedStep,
    engine: &Engine,
    args: &DiffArgs,
) -> Result<ExitCode, CommandError> {
    let shown = source_shown(seen, step);
    if let Some(parent) = &shown.stands_for {
        super::render::warn_of_stand_in(parent, &shown.image);
    }
    let source = shown.image;
    let new = side(&seen.look.desired, &step.id, &source)?;
    let (old, from) = old_side(config, opened, seen, step, engine)?;
    let changes = differences(&old, &new);
    let reason = sentence(step, &Context::at(seen.look.plan.at));
    match args.output {
        Output::Json => print::json(&json!({
            "schema": "reconciler.diff/1",
            "step_id": step.id,
            "from": from,
            "to": seen.checkout.revision,
            "reason": reason,
            "source_ami": source.id,
            "source_stands_for": shown.stands_for,
            "changes": changes,
        }))?,
        Output::Text => {
            let mut out = format!("{}: {reason}\n", step.id);
            if changes.is_empty() {
                out.push_str("no difference in parameters, rendered files or scripts\n");
            }
            for change in &changes {
                colour(&mut out, &change.diff);
            }
            print::text(&out)?;
        }
    }
    Ok(if args.exit_code && !changes.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// The image that the new side starts from.
fn source_shown(seen: &Observed, step: &PlannedStep) -> ShownSource {
    let mut shown = source_of(&seen.look.plan, &step.id);
    // A source image that is not known yet is no difference that a person could read.
    if let Decision::Build(build) = &step.decision
        && let BuildSource::AfterBuild(_) = &build.source
        && let Some(record) = &step.record
    {
        shown.stands_for = None;
        shown.image =
            SourceImage { id: record.base_ami_id.clone(), name: record.base_ami_name.clone() };
    }
    shown
}

fn old_side(
    config: &Config,
    opened: &Opened,
    seen: &Observed,
    step: &PlannedStep,
    engine: &Engine,
) -> Result<(Side, Option<String>), CommandError> {
    let Some(record) = &step.record else {
        return Ok((Side::new(), None));
    };
    let Some(built) = &record.built else {
        return Err(Diagnostic::new(format!(
            "the record of {} was written by the Python library and names no commit",
            step.id
        ))
        .hint(format!("`reconciler adopt {}` takes it over", step.id))
        .into());
    };
    if opened.repository.source.at(&built.revision).is_err() {
        return Err(no_such_commit(record.ami_id.as_str(), &built.revision).into());
    }
    let image = |id: &AmiId, name: &AmiName| SourceImage { id: id.clone(), name: name.clone() };
    let made = MadeFrom {
        workflow: &seen.checkout.params.workflow_id,
        step: &step.id,
        revision: &built.revision,
        region: &built.region,
        source: image(&record.base_ami_id, &record.base_ami_name),
        root_base: image(&record.root_base_ami_id, &record.root_base_ami_name),
    };
    let old = past_side(config, opened, engine, &made)?;
    Ok((old.side, Some(built.revision.to_string())))
}

fn colour(out: &mut String, diff: &str) {
    for line in diff.lines() {
        let colour = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => None,
            [b'+', ..] => Some(AnsiColor::Green),
            [b'-', ..] => Some(AnsiColor::Red),
            [b'@', ..] => Some(AnsiColor::Cyan),
            _ => None,
        };
        let style = Style::new().fg_color(colour.map(Into::into));
        let _ = writeln!(out, "{style}{line}{style:#}");
    }
}
