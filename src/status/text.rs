//! A status as people read it: a tree, aligned, one line a step. Pure.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::SignedDuration;

use crate::plan::progress::Medium;
use crate::plan::words::age_words;
use crate::status::report::{LeaseReport, Report, StepReport};

fn style(state: &str) -> Style {
    let colour = match state {
        "in-sync" => AnsiColor::Green,
        "build" | "building" => AnsiColor::Yellow,
        "retag" | "rerecord" => AnsiColor::Cyan,
        "quarantined" | "broken" => AnsiColor::Red,
        _ => AnsiColor::Magenta,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// The whole report; styled, for a stream that takes the styles off where they are not wanted.
#[must_use]
pub fn text(report: &Report, medium: Medium) -> String {
    let mut out = String::with_capacity(96 * report.steps.len());
    let bold = Style::new().bold();
    let holder = report
        .lease
        .as_ref()
        .map_or("no reconciler runs".to_owned(), held_by);
    let _ = writeln!(
        out,
        "{bold}{}{bold:#}  {}@{}  {holder}",
        report.workflow_id,
        report.reference,
        report.revision.short()
    );
    let width = |of: fn(&StepReport) -> usize| report.steps.iter().map(of).max().unwrap_or(1);
    let name_width = width(|step| step.indent.len() + step.step_id.as_str().chars().count());
    let state_width = width(|step| step.state.len());
    let image_width = width(|step| step.ami_id.as_ref().map_or(1, |id| id.as_str().len()));
    for step in &report.steps {
        let style = style(step.state);
        let name = format!("{}{}", step.indent, step.step_id);
        let image = step.ami_id.as_ref().map_or("-", |id| id.as_str());
        let age = step
            .created_at
            .map_or("-".to_owned(), |at| age_words(report.at.duration_since(at)));
        let bar = match (medium, &step.build) {
            (Medium::Terminal, Some(build)) => build
                .progress()
                .bar()
                .map(|bar| format!("{bar}, {}", build.stage)),
            _ => None,
        };
        let reason = match (&bar, step.state) {
            (Some(bar), _) => bar,
            (None, "in-sync") => "",
            _ => &step.reason,
        };
        let line = format!(
            "  {name:name_width$}  {style}{:state_width$}{style:#}  {image:image_width$}  {age:>4}  {reason}",
            step.state
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if !report.looked_at_ec2 {
        let _ = writeln!(
            out,
            "EC2 was not asked: images that are gone or unusable do not show."
        );
    }
    let counts: Vec<_> = report
        .counts()
        .into_iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    let _ = writeln!(
        out,
        "{}",
        if counts.is_empty() {
            "no steps".to_owned()
        } else {
            counts.join(", ")
        }
    );
    out
}

/// `host/pid/start-mark`, as people read it; another form as it is.
fn held_by(lease: &LeaseReport) -> String {
    let who = match lease.holder.rsplitn(3, '/').collect::<Vec<_>>().as_slice() {
        [_, pid, host] => format!("reconciler runs on {host}, pid {pid}"),
        _ => format!("held by {}", lease.holder),
    };
    let ago = age_words(SignedDuration::from_secs(lease.renewed_seconds_ago.max(0)));
    if lease.overdue {
        format!("{who}; no heartbeat for {ago}, it may be gone")
    } else {
        format!("{who}; last heartbeat {ago} ago")
    }
}
