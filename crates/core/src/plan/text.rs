//! A plan as people read it: a tree of steps, aligned, one line each, and a last line that sums up.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};

use crate::plan::Plan;
use crate::plan::decision::Decision;
use crate::plan::forecast::Forecast;
use crate::plan::progress::{Medium, Progress};
use crate::plan::sentences::{
    Context, columns, duration_words, mark, padded, sentence, state, totals,
};
use crate::plan::tree::branches;

/// The colour of a step's line.
#[must_use]
pub fn style(decision: &Decision) -> Style {
    let colour = match decision {
        Decision::InSync => AnsiColor::Green,
        Decision::Build(_) | Decision::Building(_) => AnsiColor::Yellow,
        Decision::Update(_) | Decision::TakeOver(_) => AnsiColor::Cyan,
        Decision::Quarantined(_)
        | Decision::Broken(_)
        | Decision::NameTaken(_)
        | Decision::Stopped(_) => AnsiColor::Red,
        Decision::Blocked(_)
        | Decision::AwaitingManual(_)
        | Decision::BackingOff { .. }
        | Decision::Suspended
        | Decision::Unverified => AnsiColor::Magenta,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// The whole plan; styled, for a stream that takes the styles off where they are not wanted.
#[must_use]
pub fn text(plan: &Plan, around: &Context<'_>, medium: Medium) -> String {
    let mut out = String::with_capacity(64 * plan.steps.len());
    let bold = Style::new().bold();
    let _ = writeln!(
        out,
        "{bold}{}{bold:#}  {}@{}",
        plan.workflow_id,
        plan.reference,
        plan.revision.short()
    );
    let rows = branches(&plan.steps);
    let width =
        rows.iter().map(|row| row.indent.len() + columns(row.step.id.as_str())).max().unwrap_or(0);
    let image_width = plan
        .steps
        .iter()
        .filter_map(|s| s.record.as_ref())
        .map(|r| r.ami_id.as_str().len())
        .max()
        .unwrap_or(1);
    for row in rows {
        let step = row.step;
        let wanted = around.wants(&step.id);
        let (style, mark) =
            if wanted { (style(&step.decision), mark(step)) } else { (Style::new().dimmed(), ' ') };
        let name = padded(&format!("{}{}", row.indent, step.id), width);
        let image = step.record.as_ref().map_or("-", |record| record.ami_id.as_str());
        let bar = match medium {
            Medium::Terminal => Progress::of(step, plan.at).and_then(|progress| progress.bar()),
            Medium::Plain => None,
        };
        let said = match bar {
            _ if !wanted => "not asked for".to_owned(),
            Some(bar) => format!("building {bar}"),
            None => sentence(step, around),
        };
        let _ = writeln!(out, "  {style}{mark} {name}{style:#}  {image:image_width$}  {said}");
    }
    for orphan in &plan.orphans {
        let _ = writeln!(
            out,
            "  - {:width$}  {}  orphaned: {}",
            orphan.step_id,
            orphan.ami_id,
            orphan.words()
        );
    }
    if let Some(newer) = &plan.newer_base {
        let _ = writeln!(
            out,
            "Newer base image: {} {} (kept at {}; `base_ami_policy: follow` builds on it)",
            newer.id, newer.name, plan.root_base.id
        );
    }
    if let Some(words) = plan.records_from.words() {
        let _ = writeln!(out, "{words}");
    }
    if !plan.looked_at_ec2 {
        let _ = writeln!(out, "EC2 was not asked: images that are gone or unusable do not show.");
    }
    if let Some(selection) = around.wanted {
        let _ = writeln!(out, "{}", selection.words(&plan.steps));
    }
    let _ = writeln!(out, "{}", summary(plan, around));
    out
}

/// `Plan: 3 to build, 1 in sync. In sync in about 41m (55m if slow).`
#[must_use]
pub fn summary(plan: &Plan, around: &Context<'_>) -> String {
    let selection = around.wanted;
    let states = plan.wanted(selection).map(|step| state(&step.decision));
    let orphans = match selection {
        None => plan.orphans.len(),
        Some(_) => 0,
    };
    let rest = plan.steps.len() - plan.wanted(selection).count();
    let counted = totals(states.chain(std::iter::repeat_n("orphaned", orphans)), rest);
    let forecast = around.outlook.and_then(|outlook| outlook.forecast.as_ref());
    match forecast {
        Some(forecast) => format!("Plan: {counted}. {}", in_sync_words(forecast, around.now)),
        None => format!("Plan: {counted}."),
    }
}

/// `In sync in about 41m (55m if slow).`
#[must_use]
pub fn in_sync_words(forecast: &Forecast, now: Timestamp) -> String {
    let [usual, slow] = forecast
        .from(now)
        .map(|time| duration_words(SignedDuration::try_from(time).unwrap_or_default()));
    let mut notes = Vec::new();
    if slow != usual {
        notes.push(format!("{slow} if slow"));
    }
    match forecast.guessed {
        0 => {}
        1 => notes.push("one was never built: a guess".to_owned()),
        guessed => notes.push(format!("{guessed} were never built: a guess")),
    }
    if notes.is_empty() {
        return format!("In sync in about {usual}.");
    }
    format!("In sync in about {usual} ({}).", notes.join("; "))
}
