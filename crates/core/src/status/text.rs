//! A status as people read it: a tree, aligned, one line a step. Pure.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::SignedDuration;

use crate::plan::progress::Medium;
use crate::plan::sentences::{age_words, columns, padded};
use crate::plan::sight::{Process, parts};
use crate::plan::text::in_sync_words;
use crate::status::report::{LeaseReport, Report, StepReport};

fn style(state: &str) -> Style {
    let colour = match state {
        "in-sync" => AnsiColor::Green,
        "build" | "building" => AnsiColor::Yellow,
        "retag" | "rerecord" | "take-over" => AnsiColor::Cyan,
        "quarantined" | "broken" | "name-taken" | "stopped" => AnsiColor::Red,
        _ => AnsiColor::Magenta,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// The whole report; styled, for a stream that takes the styles off where they are not wanted.
#[must_use]
pub fn text(report: &Report, medium: Medium) -> String {
    let mut out = String::with_capacity(96 * report.steps.len());
    let _ = writeln!(out, "{}", header(report));
    for line in lines(report, &report.wanted().collect::<Vec<_>>(), medium) {
        let _ = writeln!(out, "{}", line.text);
    }
    if let Some(words) = report.records_from.words() {
        let _ = writeln!(out, "{words}");
    }
    if !report.looked_at_ec2 {
        let _ = writeln!(out, "EC2 was not asked: images that are gone or unusable do not show.");
    }
    let _ = writeln!(out, "{}", totals(report));
    out
}

/// How many steps are in each state, and when all is in sync.
fn totals(report: &Report) -> String {
    match &report.forecast {
        Some(forecast) => {
            format!("{}. {}", report.totals(), in_sync_words(forecast, report.at))
        }
        None => report.totals(),
    }
}

/// The report in so many rows at most: the header, what runs, what somebody has to look at, as much
/// of the rest as there is room for, and the totals. Steps in sync are only counted; with few rows,
/// what runs comes first.
#[must_use]
pub fn folded(report: &Report, medium: Medium, rows: usize) -> String {
    let steps: Vec<_> = report.wanted().filter(|step| step.state != "in-sync").collect();
    let shown = lines(report, &steps, medium);
    let room = rows.saturating_sub(2);
    let mut out = format!("{}\n", header(report));
    if shown.len() <= room {
        for line in &shown {
            let _ = writeln!(out, "{}", line.text);
        }
    } else {
        // What is most worth a row stays, in the order of the tree.
        let mut by_worth: Vec<usize> = (0..shown.len()).collect();
        by_worth.sort_by_key(|at| shown[*at].rank);
        let mut kept: Vec<usize> = by_worth.into_iter().take(room.saturating_sub(1)).collect();
        kept.sort_unstable();
        for at in &kept {
            let _ = writeln!(out, "{}", shown[*at].text);
        }
        if room > 0 {
            let _ = writeln!(out, "  … {} more", shown.len() - kept.len());
        }
    }
    let _ = writeln!(out, "{}", totals(report));
    out
}

/// One step's line, and how much it is worth a row: the smaller the more.
struct Line {
    rank: u8,
    text: String,
}

fn rank(state: &str) -> u8 {
    match state {
        "building" => 0,
        "broken" | "quarantined" | "name-taken" | "stopped" => 1,
        "backing-off" | "awaiting-manual" | "unverified" => 2,
        "build" | "take-over" | "retag" | "rerecord" => 3,
        "in-sync" => 5,
        _ => 4,
    }
}

fn header(report: &Report) -> String {
    let bold = Style::new().bold();
    let holder = report.lease.as_ref().map_or("no reconciler runs".to_owned(), held_by);
    format!(
        "{bold}{}{bold:#}  {}@{}  {holder}",
        report.workflow_id,
        report.reference,
        report.revision.short()
    )
}

fn lines(report: &Report, steps: &[&StepReport], medium: Medium) -> Vec<Line> {
    let width = |of: fn(&StepReport) -> usize| steps.iter().map(|step| of(step)).max().unwrap_or(1);
    let name_width = width(|step| step.indent.len() + columns(step.step_id.as_str()));
    let state_width = width(|step| step.state.len());
    let image_width = width(|step| step.ami_id.as_ref().map_or(1, |id| id.as_str().len()));
    let line = |step: &&StepReport| {
        let style = style(&step.state);
        let name = padded(&format!("{}{}", step.indent, step.step_id), name_width);
        let image = step.ami_id.as_ref().map_or("-", |id| id.as_str());
        let age =
            step.created_at.map_or("-".to_owned(), |at| age_words(report.at.duration_since(at)));
        let bar = match (medium, &step.build) {
            (Medium::Terminal, Some(build)) if build.seems_to_run() => {
                build.progress().bar().map(|bar| format!("{bar}, {}", build.stage))
            }
            _ => None,
        };
        let reason = match (&bar, step.state.as_ref()) {
            (Some(bar), _) => bar,
            (None, "in-sync") => "",
            _ => &step.reason,
        };
        let text = format!(
            "  {name}  {style}{:state_width$}{style:#}  {image:image_width$}  {age:>4}  {reason}",
            step.state
        );
        Line { rank: rank(&step.state), text: text.trim_end().to_owned() }
    };
    steps.iter().map(line).collect()
}

/// Who acts on the workflow, as far as can be seen from here, and what follows from it.
#[must_use]
pub fn held_by(lease: &LeaseReport) -> String {
    let ago = age_words(SignedDuration::from_secs(lease.renewed_seconds_ago.max(0)));
    let Some((host, pid)) = parts(&lease.holder) else {
        return if lease.overdue {
            format!("held by {}; no heartbeat for {ago}", lease.holder)
        } else {
            format!("held by {}; last heartbeat {ago} ago", lease.holder)
        };
    };
    match (lease.seen, lease.overdue) {
        (Process::Ended, _) => {
            format!("pid {pid} of this host has ended; the next `run` or `apply` takes over")
        }
        (Process::Stopped, _) => format!(
            "pid {pid} of this host is stopped by a signal (SIGSTOP) and does nothing; `kill -CONT {pid}` lets it go on"
        ),
        (Process::Runs, false) => {
            format!("reconciler runs on this host, pid {pid}; last heartbeat {ago} ago")
        }
        (Process::Runs, true) => {
            format!("reconciler runs on this host, pid {pid}, but gave no heartbeat for {ago}")
        }
        (Process::Unknown, false) => {
            format!("reconciler runs on {host}, pid {pid}, as it said {ago} ago")
        }
        (Process::Unknown, true) => {
            format!("reconciler on {host}, pid {pid}: no heartbeat for {ago}, it may be gone")
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use reconciler_model::ids::{AmiId, Revision, StepId, WorkflowId};

    fn step(id: &str, state: &'static str) -> StepReport {
        StepReport {
            step_id: StepId::new(id),
            parent: None,
            indent: String::new(),
            asked_for: true,
            state: state.into(),
            reason: format!("is {state}"),
            ami_id: Some(AmiId::new("ami-1")),
            ami_name: None,
            created_at: None,
            revision: None,
            build: None,
            next_try: None,
            in_sync_at: None,
            place_in_line: None,
        }
    }

    fn of(steps: Vec<StepReport>) -> Report {
        Report {
            workflow_id: WorkflowId::new("wf"),
            repository: "repo".into(),
            folder: "f".into(),
            reference: "main".into(),
            revision: Revision::new("0123456789abcdef"),
            at: Timestamp::UNIX_EPOCH,
            held_by: None,
            lease: None,
            looked_at_ec2: true,
            records_from: crate::plan::RecordsFrom {
                place: "SQLite /s/inventory.sqlite".into(),
                standing: crate::plan::Standing::Recorded,
            },
            steps,
            forecast: None,
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn held(seen: Process, overdue: bool) -> String {
        held_by(&LeaseReport {
            holder: "vm/4242/17-0123456789abcdef".into(),
            token: 1,
            duration_seconds: 30,
            renewed_at: Timestamp::UNIX_EPOCH,
            renewed_seconds_ago: 9,
            overdue,
            seen,
        })
    }

    #[test]
    fn the_holder_is_told_as_it_is_seen_from_here_and_else_as_it_said_itself() {
        let told = [
            held(Process::Ended, false),
            held(Process::Stopped, false),
            held(Process::Runs, false),
            held(Process::Runs, true),
            held(Process::Unknown, false),
            held(Process::Unknown, true),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        pid 4242 of this host has ended; the next `run` or `apply` takes over
        pid 4242 of this host is stopped by a signal (SIGSTOP) and does nothing; `kill -CONT 4242` lets it go on
        reconciler runs on this host, pid 4242; last heartbeat 9s ago
        reconciler runs on this host, pid 4242, but gave no heartbeat for 9s
        reconciler runs on vm, pid 4242, as it said 9s ago
        reconciler on vm, pid 4242: no heartbeat for 9s, it may be gone
        ");
    }

    #[test]
    fn few_rows_keep_the_totals_and_what_runs_and_steps_in_sync_are_only_counted() {
        let mut steps: Vec<_> = (0..20).map(|n| step(&format!("s{n:02}"), "in-sync")).collect();
        steps.insert(3, step("waits", "blocked"));
        steps.insert(7, step("wrong", "broken"));
        steps.insert(9, step("later", "build"));
        steps.push(step("基础", "building"));
        let report = of(steps);
        insta::assert_snapshot!(plain(&folded(&report, Medium::Plain, 24)), @r"
        wf  main@0123456  no reconciler runs
          waits  blocked   ami-1     -  is blocked
          wrong  broken    ami-1     -  is broken
          later  build     ami-1     -  is build
          基础   building  ami-1     -  is building
        1 to build, 1 building, 1 broken, 1 blocked, 20 in sync
        ");
        insta::assert_snapshot!(plain(&folded(&report, Medium::Plain, 5)), @r"
        wf  main@0123456  no reconciler runs
          wrong  broken    ami-1     -  is broken
          基础   building  ami-1     -  is building
          … 2 more
        1 to build, 1 building, 1 broken, 1 blocked, 20 in sync
        ");
        for rows in 2..30 {
            assert!(folded(&report, Medium::Plain, rows).lines().count() <= rows);
        }
    }
}
