//! `reconciler diff STEP`: what changed since the recorded image, as a unified diff of parameters,
//! rendered files and scripts.
//!
//! The old side is the commit that the record names, rendered anew with the image that it was built
//! on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use reconciler::config::Config;
use reconciler::controller::checkout::{Checkout, Desired};
use reconciler::controller::connect::Use;
use reconciler::controller::step_cache::Kept;
use reconciler::git::discover::workflows;
use reconciler::git::trusted::Purpose;
use reconciler::secrets::OpenSecrets;
use reconciler_core::desired::inputs::sort_files;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::plan::decision::{BuildSource, Decision};
use reconciler_core::plan::planner::PlannedStep;
use reconciler_core::plan::sentences::{Context, sentence};
use reconciler_core::plan::source::{ShownSource, source_of};
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::source::GitTree;
use serde_json::json;
use similar::TextDiff;

use super::open::{Opened, config, workflows_of};
use super::plan::{Observed, see};
use super::render::{no_such_step, redactor};
use super::{CommandError, print};
use crate::cli::{DiffArgs, Output};

/// Everything of one side, by a name for the header: as it is, which is compared, and as it may be
/// shown.
type Side = BTreeMap<String, Content>;

#[derive(PartialEq)]
struct Content {
    whole: Vec<u8>,
    shown: Vec<u8>,
}

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
            "changes": changes.iter().map(|(name, diff)| json!({ "name": name, "diff": diff })).collect::<Vec<_>>(),
        }))?,
        Output::Text => {
            let mut out = format!("{}: {reason}\n", step.id);
            if changes.is_empty() {
                out.push_str("no difference in parameters, rendered files or scripts\n");
            }
            for (_, diff) in &changes {
                colour(&mut out, diff);
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
    let tree: Arc<dyn GitTree> =
        Arc::from(opened.repository.source.at(&built.revision).map_err(|_| {
            Diagnostic::new(format!(
                "the commit that {} was built from, {}, is no longer in the repository",
                record.ami_id,
                built.revision.short()
            ))
            .hint("history was rewritten, or the clone is shallow")
        })?);
    let folders = workflows(tree.as_ref(), &opened.repository.roots, &opened.repository.exclude)?;
    for folder in folders {
        let checkout = Checkout::read(&tree, &folder, Kept::default())?;
        if checkout.params.workflow_id == seen.checkout.params.workflow_id
            && checkout.step(&step.id).is_some()
        {
            let source =
                SourceImage { id: record.base_ami_id.clone(), name: record.base_ami_name.clone() };
            let base = SourceImage {
                id: record.root_base_ami_id.clone(),
                name: record.root_base_ami_name.clone(),
            };
            let (region, name) = (&built.region, &config.ami_name);
            let old = Desired::new(&Arc::new(checkout), engine, region, name, &base)
                .with_secrets(Arc::new(OpenSecrets::read(&config.secrets)));
            let old = side(&old, &step.id, &source)?;
            return Ok((old, Some(built.revision.to_string())));
        }
    }
    Ok((Side::new(), Some(built.revision.to_string())))
}

fn side(desired: &Desired, id: &StepId, source: &SourceImage) -> Result<Side, CommandError> {
    let content = desired.loaded(id)?.content();
    let name = desired.desire().name_parts(content).without_fingerprint();
    let template = desired.desire().render(content, source, &name)?;
    let secrets = redactor(desired, content, &template);
    let content_of = |whole: Vec<u8>| Content {
        shown: match std::str::from_utf8(&whole) {
            Ok(text) => secrets.text(text).into_bytes(),
            Err(_) => Vec::new(),
        },
        whole,
    };
    let mut side = Side::new();
    for (file, text) in template.texts() {
        side.insert(format!("rendered/{file}"), content_of(text.clone().into_bytes()));
    }
    let mut params = content.step.values.clone();
    params.shift_remove("metadata");
    let masked = desired.secrets.sealed().marks.masked(&params);
    let text = |params| format!("{:#}\n", serde_json::Value::Object(params)).into_bytes();
    side.insert("parameters".to_owned(), Content { whole: text(params), shown: text(masked) });
    for (path, file) in sort_files(content)?.counted {
        side.insert(path.trim_start_matches('/').to_owned(), content_of(file.content.to_vec()));
    }
    Ok(side)
}

fn differences(old: &Side, new: &Side) -> Vec<(String, String)> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |side: &Side, name: &String| {
        side.get(name).map(|content| {
            let shown = String::from_utf8_lossy(&content.shown).into_owned();
            std::str::from_utf8(&content.whole).map(|_| shown)
        })
    };
    let mut changes = Vec::new();
    for name in names {
        if old.get(name) == new.get(name) {
            continue;
        }
        let diff = match (text(old, name).transpose(), text(new, name).transpose()) {
            (Ok(before), Ok(after)) if before == after => format!("a secret in {name} differs\n"),
            (Ok(before), Ok(after)) => {
                let header = |side: &str, there: bool| {
                    if there { format!("{side}/{name}") } else { "/dev/null".to_owned() }
                };
                let (a, b) = (header("a", before.is_some()), header("b", after.is_some()));
                let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
                TextDiff::from_lines(&before, &after).unified_diff().header(&a, &b).to_string()
            }
            _ => format!("binary file {name} differs\n"),
        };
        changes.push((name.clone(), diff));
    }
    changes
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
