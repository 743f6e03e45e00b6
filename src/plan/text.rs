//! A plan as people read it: a tree of steps, aligned, one line each, and a last line that sums up.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::SignedDuration;

use crate::plan::Plan;
use crate::plan::decision::Decision;
use crate::plan::planner::PlannedStep;
use crate::plan::progress::{Medium, Progress};
use crate::plan::tree::branches;
use crate::plan::words::{LineCounts, duration_words, mark, sentence};

/// The colour of a step's line.
#[must_use]
pub fn style(decision: &Decision) -> Style {
    let colour = match decision {
        Decision::InSync => AnsiColor::Green,
        Decision::Build(_) | Decision::Building(_) => AnsiColor::Yellow,
        Decision::Update(_) => AnsiColor::Cyan,
        Decision::Quarantined(_) | Decision::Broken(_) => AnsiColor::Red,
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
pub fn text(plan: &Plan, lines: &LineCounts, medium: Medium) -> String {
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
    let width = rows
        .iter()
        .map(|row| row.indent.len() + row.step.id.as_str().chars().count())
        .max()
        .unwrap_or(0);
    let image_width = plan
        .steps
        .iter()
        .filter_map(|s| s.record.as_ref())
        .map(|r| r.ami_id.as_str().len())
        .max()
        .unwrap_or(1);
    for row in rows {
        let step = row.step;
        let style = style(&step.decision);
        let name = format!("{}{}", row.indent, step.id);
        let image = step
            .record
            .as_ref()
            .map_or("-", |record| record.ami_id.as_str());
        let bar = match medium {
            Medium::Terminal => Progress::of(step, plan.at).and_then(|progress| progress.bar()),
            Medium::Plain => None,
        };
        let said = match bar {
            Some(bar) => format!("building {bar}"),
            None => sentence(step, lines, plan.at),
        };
        let _ = writeln!(
            out,
            "  {style}{} {name:width$}{style:#}  {image:image_width$}  {said}",
            mark(step),
        );
    }
    for orphan in &plan.orphans {
        let _ = writeln!(
            out,
            "  - {:width$}  {}  orphaned: recorded, but not in git",
            orphan.step_id, orphan.ami_id
        );
    }
    if let Some(newer) = &plan.newer_base {
        let _ = writeln!(
            out,
            "Newer base image: {} {} (kept at {}; `base_ami_policy: follow` builds on it)",
            newer.id, newer.name, plan.root_base.id
        );
    }
    if !plan.looked_at_ec2 {
        let _ = writeln!(
            out,
            "EC2 was not asked: images that are gone or unusable do not show."
        );
    }
    let _ = writeln!(out, "{}", summary(plan));
    out
}

/// `Plan: 3 to build, 1 in sync. Last time these took 41m.`
#[must_use]
pub fn summary(plan: &Plan) -> String {
    let count =
        |test: fn(&Decision) -> bool| plan.steps.iter().filter(|s| test(&s.decision)).count();
    let counted = [
        (count(|d| matches!(d, Decision::Build(_))), "to build"),
        (count(|d| matches!(d, Decision::Building(_))), "building"),
        (count(|d| matches!(d, Decision::Update(_))), "to update"),
        (
            count(|d| matches!(d, Decision::BackingOff { .. })),
            "backing off",
        ),
        (
            count(|d| matches!(d, Decision::Quarantined(_))),
            "quarantined",
        ),
        (count(|d| matches!(d, Decision::Broken(_))), "broken"),
        (count(|d| matches!(d, Decision::Blocked(_))), "blocked"),
        (
            count(|d| matches!(d, Decision::AwaitingManual(_))),
            "awaiting a person",
        ),
        (count(|d| matches!(d, Decision::Unverified)), "unverified"),
        (count(|d| matches!(d, Decision::Suspended)), "suspended"),
        (plan.orphans.len(), "orphaned"),
        (count(|d| matches!(d, Decision::InSync)), "in sync"),
    ];
    let parts: Vec<_> = counted
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    let mut text = format!(
        "Plan: {}.",
        if parts.is_empty() {
            "no steps".to_owned()
        } else {
            parts.join(", ")
        }
    );
    let seconds: u64 = plan.to_build().filter_map(last_seconds).sum();
    if seconds > 0 {
        let took = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let _ = write!(
            text,
            " Last time {} took {}.",
            if plan.to_build().count() == 1 {
                "this"
            } else {
                "these"
            },
            duration_words(took)
        );
    }
    text
}

fn last_seconds(step: &PlannedStep) -> Option<u64> {
    Some(step.record.as_ref()?.built.as_ref()?.build_seconds)
}
