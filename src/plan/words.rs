//! A decision in words: one mark, one state, one reason that a person can act on. Plan and status say the same.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::ids::StepId;
use crate::plan::decision::{Build, BuildSource, Change, Decision, Reason, Update};
use crate::plan::planner::PlannedStep;
use crate::plan::progress::Progress;

/// How many lines of a file came and went since the recorded image, by step and path as in [`Reason::FileChanged`].
pub type LineCounts = HashMap<(StepId, String), (usize, usize)>;

/// The state of a step, as every output names it.
#[must_use]
pub fn state(decision: &Decision) -> &'static str {
    match decision {
        Decision::InSync => "in-sync",
        Decision::Build(_) => "build",
        Decision::Update(update) if update.tags.is_some() => "retag",
        Decision::Update(_) => "rerecord",
        Decision::Building(_) => "building",
        Decision::Blocked(_) => "blocked",
        Decision::AwaitingManual(_) => "awaiting-manual",
        Decision::BackingOff { .. } => "backing-off",
        Decision::Quarantined(_) => "quarantined",
        Decision::Suspended => "suspended",
        Decision::Unverified => "unverified",
        Decision::Broken(_) => "broken",
    }
}

/// The mark before a step's name.
#[must_use]
pub fn mark(step: &PlannedStep) -> char {
    match &step.decision {
        Decision::InSync => '=',
        Decision::Build(_) if step.record.is_none() => '+',
        Decision::Build(_) => '~',
        Decision::Update(_) => '*',
        Decision::Building(_) => '>',
        Decision::Blocked(_) | Decision::AwaitingManual(_) | Decision::BackingOff { .. } => '.',
        Decision::Quarantined(_) | Decision::Broken(_) => '!',
        Decision::Suspended => '|',
        Decision::Unverified => '?',
    }
}

/// One line: what is to be done and why.
#[must_use]
pub fn sentence(step: &PlannedStep, lines: &LineCounts, now: Timestamp) -> String {
    match &step.decision {
        Decision::InSync => "in sync".to_owned(),
        Decision::Build(build) => build_sentence(step, build, lines),
        Decision::Update(update) => update_sentence(update),
        Decision::Building(building) => {
            let since = duration_words(now.duration_since(building.since));
            let superseded = if building.superseded {
                "; git says something else by now"
            } else {
                ""
            };
            let last = Progress::of(step, now)
                .and_then(|progress| progress.last)
                .map(|last| format!(", the last one took {}", duration_words(last)))
                .unwrap_or_default();
            format!("building for {since}{last}{superseded}")
        }
        Decision::Blocked(blocked) => format!("blocked: {} {}", blocked.on, blocked.why),
        Decision::AwaitingManual(reasons) => {
            format!(
                "a person makes this image: {}",
                reason_list(step, reasons, lines)
            )
        }
        Decision::BackingOff { until, failure } => format!(
            "failed: {}; next try in {}",
            failure.cause,
            duration_words(until.duration_since(now))
        ),
        Decision::Quarantined(failure) => format!(
            "quarantined: {}; waits for a changed input or `reconciler retry {}`",
            failure.cause, step.id
        ),
        Decision::Suspended => "suspended by its parameters".to_owned(),
        Decision::Unverified => format!(
            "unverified: recorded by the Python library; `reconciler adopt {}` takes it over",
            step.id
        ),
        Decision::Broken(why) => {
            let more = if why.len() > 1 {
                format!(" (and {} more)", why.len() - 1)
            } else {
                String::new()
            };
            format!(
                "broken: {}{more}",
                why.first().map(ToString::to_string).unwrap_or_default()
            )
        }
    }
}

fn build_sentence(step: &PlannedStep, build: &Build, lines: &LineCounts) -> String {
    let verb = if step.record.is_some() {
        "rebuild"
    } else {
        "build"
    };
    let reasons = reason_list(step, &build.reasons, lines);
    match &build.source {
        BuildSource::Known { attempt, .. } if *attempt > 0 => {
            format!("{verb} (try {}): {reasons}", attempt + 1)
        }
        BuildSource::AfterBuild(parent) if step.record.is_none() => {
            format!("{verb}: {reasons} (after {parent})")
        }
        _ => format!("{verb}: {reasons}"),
    }
}

fn update_sentence(update: &Update) -> String {
    let mut parts = Vec::new();
    if let Some(tags) = &update.tags {
        let set = tags.set.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<_> = set
            .chain(tags.remove.iter().map(|key| format!("-{key}")))
            .collect();
        parts.push(format!("tags: {}", shorten(&all)));
    }
    if update.metadata {
        parts.push("metadata".to_owned());
    }
    format!("update, no build: {}", parts.join("; "))
}

fn reason_list(step: &PlannedStep, reasons: &[Reason], lines: &LineCounts) -> String {
    shorten(
        &reasons
            .iter()
            .map(|reason| reason_words(step, reason, lines))
            .collect::<Vec<_>>(),
    )
}

fn shorten(parts: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = parts
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if parts.len() > SHOWN {
        text.push_str(&format!(", and {} more", parts.len() - SHOWN));
    }
    text
}

/// One reason in words.
#[must_use]
pub fn reason_words(step: &PlannedStep, reason: &Reason, lines: &LineCounts) -> String {
    match reason {
        Reason::NeverBuilt => "no image yet".to_owned(),
        Reason::ImageGone { ami_id } => format!("{ami_id} is gone from EC2"),
        Reason::ImageUnusable { ami_id, state } => format!("{ami_id} cannot be used: {state}"),
        Reason::SourceImageChanged { from, to } => format!("source image changed: {from} -> {to}"),
        Reason::SourceImageWillChange { parent } => format!("source image will change ({parent})"),
        Reason::IdentityChanged => "workflow id, region or image name changed".to_owned(),
        Reason::ParamChanged { name, change } => {
            format!("parameter {}: {name}", change_word(*change))
        }
        Reason::TemplateChanged { name, change } => {
            format!("rendered file {}: {name}", change_word(*change))
        }
        Reason::FileChanged { path, change } => {
            let counts = lines
                .get(&(step.id.clone(), path.clone()))
                .map(|(added, removed)| format!(" (+{added} \u{2212}{removed})"))
                .unwrap_or_default();
            format!(
                "file {}: {}{counts}",
                change_word(*change),
                path.trim_start_matches('/')
            )
        }
        Reason::SecretChanged { name, change } => {
            format!("secret {}: {name}", change_word(*change))
        }
        Reason::Forced => "asked for".to_owned(),
        Reason::RetryRequested { by } => format!("retry requested by {by}"),
        Reason::InputsChanged => "inputs changed (the record does not say which)".to_owned(),
    }
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
    }
}

/// A duration as people read it: `3h`, `41m`, `12s`, `2d`; two units where the first is small.
#[must_use]
pub fn duration_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 => format!("{minutes}m{:02}s", seconds % 60),
        600..3600 => format!("{minutes}m"),
        3600..36_000 => format!("{hours}h{:02}m", minutes % 60),
        36_000..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// An age: the largest unit only, as in `3h`.
#[must_use]
pub fn age_words(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
