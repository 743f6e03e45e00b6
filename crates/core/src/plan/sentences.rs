//! A decision in words: one mark, one state, one reason that a person can act on. Plan and status
//! say the same.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use unicode_width::UnicodeWidthStr;

use crate::build::phase_comparison::failed_in;
use crate::plan::decision::{
    Build, BuildSource, Building, Change, Decision, Manual, NameTaken, Reason, Stopped, TakeOver,
    Update,
};
use crate::plan::forecast::Outlook;
use crate::plan::names::Hindrance;
use crate::plan::planner::PlannedStep;
use crate::plan::progress::Progress;
use crate::plan::selection::Selection;
use crate::plan::sight::{Attended, BuildProcess, BuildSight, Sights};
use reconciler_model::ids::StepId;
use reconciler_model::inventory::journal::{Failure, FailureClass};

/// How many lines of a file came and went since the recorded image, by step and path as in
/// [`Reason::FileChanged`].
pub type LineCounts = HashMap<(StepId, String), (usize, usize)>;

/// What a sentence is said in view of.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Timestamp,
    /// How many lines came and went, where that was counted.
    pub lines: Option<&'a LineCounts>,
    /// What can be seen of processes, where that was looked at.
    pub sights: Option<&'a Sights>,
    /// Whether somebody acts on the workflow.
    pub attended: Attended,
    /// The steps that are meant; none: all.
    pub wanted: Option<&'a Selection>,
    /// What is foretold, where that was worked out.
    pub outlook: Option<&'a Outlook>,
}

impl Context<'_> {
    /// Nothing is known but the time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            lines: None,
            sights: None,
            attended: Attended::Unknown,
            wanted: None,
            outlook: None,
        }
    }

    /// Whether a step is meant.
    #[must_use]
    pub fn wants(&self, step: &StepId) -> bool {
        self.wanted.is_none_or(|wanted| wanted.wants(step))
    }
}

/// The state of a step, as every output names it.
#[must_use]
pub fn state(decision: &Decision) -> &'static str {
    match decision {
        Decision::InSync => "in-sync",
        Decision::Build(_) => "build",
        Decision::TakeOver(_) => "take-over",
        Decision::NameTaken(_) => "name-taken",
        Decision::Update(update) if update.tags.is_some() => "retag",
        Decision::Update(_) => "rerecord",
        Decision::Building(_) => "building",
        Decision::Blocked(_) => "blocked",
        Decision::AwaitingManual(_) => "awaiting-manual",
        Decision::BackingOff { .. } => "backing-off",
        Decision::Quarantined(_) => "quarantined",
        Decision::Suspended => "suspended",
        Decision::Stopped(_) => "stopped",
        Decision::Unverified => "unverified",
        Decision::Broken(_) => "broken",
    }
}

/// All words of [`state`], and that of a record whose step is not in git.
pub const STATES: [&str; 16] = [
    "in-sync",
    "build",
    "take-over",
    "name-taken",
    "retag",
    "rerecord",
    "building",
    "blocked",
    "awaiting-manual",
    "backing-off",
    "quarantined",
    "suspended",
    "stopped",
    "unverified",
    "broken",
    "orphaned",
];

/// The mark before a step's name.
#[must_use]
pub fn mark(step: &PlannedStep) -> char {
    match &step.decision {
        Decision::InSync => '=',
        Decision::Build(_) if step.record.is_none() => '+',
        Decision::Build(_) => '~',
        Decision::Update(_) => '*',
        Decision::TakeOver(_) => '<',
        Decision::Building(_) => '>',
        Decision::Blocked(_) | Decision::AwaitingManual(_) | Decision::BackingOff { .. } => '.',
        Decision::Quarantined(_)
        | Decision::Broken(_)
        | Decision::NameTaken(_)
        | Decision::Stopped(_) => '!',
        Decision::Suspended => '|',
        Decision::Unverified => '?',
    }
}

/// One line: what is to be done and why.
#[must_use]
pub fn sentence(step: &PlannedStep, around: &Context<'_>) -> String {
    let said = decided(step, around);
    printable(&said).into_owned()
}

fn decided(step: &PlannedStep, around: &Context<'_>) -> String {
    let lines = around.lines;
    match &step.decision {
        Decision::InSync => "in sync".to_owned(),
        Decision::Build(build) => match slot_words(step, around) {
            Some(waits) => format!("{waits} to {}", build_sentence(step, build, lines)),
            None => build_sentence(step, build, lines),
        },
        Decision::TakeOver(taken) => take_over_sentence(step, taken, lines),
        Decision::NameTaken(taken) => name_taken_sentence(step, taken),
        Decision::Update(update) => update_sentence(update),
        Decision::Building(building) => building_sentence(step, building, around),
        Decision::Blocked(blocked) => {
            format!("blocked: {} {}", blocked.root.step, blocked.root.why)
        }
        Decision::AwaitingManual(manual) => manual_sentence(step, manual, lines),
        Decision::BackingOff { until, failure, repeats } => {
            let what = if *repeats { "held back" } else { "failed" };
            let next = next_try(&step.id, *until, failure, *repeats, around);
            format!("{what}: {}{}; {next}", failure.cause, where_it_failed(failure))
        }
        Decision::Quarantined(failure) => format!(
            "quarantined: {}{}; waits for a changed input or `reconciler retry {}`",
            failure.cause,
            where_it_failed(failure),
            step.id
        ),
        Decision::Suspended => "suspended by its parameters".to_owned(),
        Decision::Stopped(stopped) => stopped_sentence(step, stopped),
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
            format!("broken: {}{more}", why.first().map(ToString::to_string).unwrap_or_default())
        }
    }
}

/// That a step waits for a build slot, if somebody acts and every slot is taken: `waits for one of
/// 2 build slots, third in line,`.
fn slot_words(step: &PlannedStep, around: &Context<'_>) -> Option<String> {
    let outlook = around.outlook.filter(|_| around.attended == Attended::Yes)?;
    let place = outlook.step(&step.id)?.place?;
    let slots = match outlook.slots {
        1 => "the one build slot".to_owned(),
        slots => format!("one of {slots} build slots"),
    };
    Some(format!("waits for {slots}, {} in line,", ordinal(place)))
}

/// `first` to `tenth`, then `11th`.
fn ordinal(number: usize) -> String {
    const FIRST: [&str; 10] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
        "tenth",
    ];
    if let Some(word) = number.checked_sub(1).and_then(|at| FIRST.get(at)) {
        return (*word).to_owned();
    }
    let end = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

fn building_sentence(step: &PlannedStep, building: &Building, around: &Context<'_>) -> String {
    let since = duration_words(around.now.duration_since(building.since));
    let last = Progress::of(step, around.now)
        .and_then(|progress| progress.last)
        .map(|last| format!(", the last one took {}", duration_words(last)))
        .unwrap_or_default();
    let superseded = if building.superseded { "; git says something else by now" } else { "" };
    let seen = around
        .sights
        .map(|sights| sights.of(&building.build_id))
        .and_then(|sight| sight_words(sight, around.now))
        .map(|seen| format!("; {seen}"))
        .unwrap_or_default();
    format!("building for {since}{last}{seen}{superseded}")
}

/// Why a step is not as git says, where that is a sentence of its own.
#[must_use]
pub fn cause(decision: &Decision) -> Option<String> {
    match decision {
        Decision::BackingOff { failure, .. } | Decision::Quarantined(failure) => {
            Some(failure.cause.clone())
        }
        Decision::Broken(why) => why.first().map(ToString::to_string),
        _ => None,
    }
}

/// A step's line where its cause was told a moment ago: `quarantined; waits for …`.
#[must_use]
pub fn without_cause(step: &PlannedStep, around: &Context<'_>) -> String {
    let said = sentence(step, around);
    let Some(cause) = cause(&step.decision) else {
        return said;
    };
    let told = match &step.decision {
        Decision::BackingOff { failure, .. } | Decision::Quarantined(failure) => {
            cause + &where_it_failed(failure)
        }
        _ => cause,
    };
    said.replacen(&format!(": {}", printable(&told)), "", 1)
}

/// What is seen of a build, where that says more than that it runs.
#[must_use]
pub fn sight_words(sight: BuildSight, now: Timestamp) -> Option<String> {
    let ago = |at| age_words(now.duration_since(at));
    Some(match (sight.seen, sight.ended_at) {
        (BuildProcess::Unknown, _) => format!("last sign of life {} ago", ago(sight.last_sign_at?)),
        (BuildProcess::Starting | BuildProcess::Runs, _) => return None,
        (BuildProcess::Stopped, _) => {
            "it is stopped by a signal (SIGSTOP) and does nothing".to_owned()
        }
        (BuildProcess::Unsupervised, _) => {
            "its supervisor has ended, Packer runs without it".to_owned()
        }
        (BuildProcess::Ended, Some(at)) => {
            format!("Packer has ended {} ago, not recorded yet", ago(at))
        }
        (BuildProcess::Ended, None) => "Packer has ended, not recorded yet".to_owned(),
        (BuildProcess::Gone, _) => {
            "Packer and its supervisor have ended without a word, not settled yet".to_owned()
        }
        (BuildProcess::NeverStarted, _) => "it never started, not settled yet".to_owned(),
    })
}

/// When a step is tried again, and what a person can do for it to be sooner.
fn next_try(
    step: &StepId,
    until: Timestamp,
    failure: &Failure,
    repeats: bool,
    around: &Context<'_>,
) -> String {
    let wait = until.duration_since(around.now);
    let when =
        if wait.is_positive() { format!("in {}", duration_words(wait)) } else { "now".to_owned() };
    let nobody = "no reconciler runs";
    match (around.attended, failure.class, repeats) {
        (Attended::No, _, true) => format!(
            "{nobody}: `reconciler apply` builds it again {when}, after `reconciler retry {step}` at once"
        ),
        (Attended::No, FailureClass::Person, false) => {
            format!("{nobody}: `reconciler apply` tries it at once, when that is mended")
        }
        (Attended::No, ..) => format!("{nobody}: `reconciler apply` tries it {when}"),
        _ => format!("next try {when}, or at once by `reconciler retry {step}`"),
    }
}

/// A text that comes from elsewhere, in one line and without what a terminal would obey.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
    } else {
        Cow::Borrowed(text)
    }
}

/// How many columns of a terminal a text takes.
#[must_use]
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// A text with spaces behind it, so that it takes so many columns.
#[must_use]
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Every state with what is said where steps are counted, in the order in which that is said.
const COUNTED: [(&str, &str); 16] = [
    ("build", "to build"),
    ("take-over", "to take over"),
    ("building", "building"),
    ("retag", "to update"),
    ("rerecord", "to update"),
    ("backing-off", "backing off"),
    ("quarantined", "quarantined"),
    ("name-taken", "without a name"),
    ("broken", "broken"),
    ("blocked", "blocked"),
    ("awaiting-manual", "awaiting a person"),
    ("unverified", "unverified"),
    ("stopped", "stopped"),
    ("suspended", "suspended"),
    ("orphaned", "orphaned"),
    ("in-sync", "in sync"),
];

/// `3 to build, 1 in sync`: steps counted by their states, and those that were not asked for.
#[must_use]
pub fn totals<'a>(states: impl Iterator<Item = &'a str>, not_asked_for: usize) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (_, words) in COUNTED {
        if counts.last().is_none_or(|(last, _)| *last != words) {
            counts.push((words, 0));
        }
    }
    for state in states {
        let known = COUNTED.iter().find(|(name, _)| *name == state);
        let words = known.map_or(state, |(_, words)| words);
        match counts.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => counts.push((words, 1)),
        }
    }
    counts.push(("not asked for", not_asked_for));
    let parts: Vec<_> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(words, count)| format!("{count} {words}"))
        .collect();
    if parts.is_empty() { "no steps".to_owned() } else { parts.join(", ") }
}

fn build_sentence(step: &PlannedStep, build: &Build, lines: Option<&LineCounts>) -> String {
    let verb = if step.record.is_some() { "rebuild" } else { "build" };
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

fn take_over_sentence(step: &PlannedStep, taken: &TakeOver, lines: Option<&LineCounts>) -> String {
    let waits = if taken.ready { "" } else { ", once it is ready" };
    format!(
        "take over {} of an earlier build{waits}: {}",
        taken.image,
        reason_list(step, &taken.reasons, lines)
    )
}

/// In which phase a build failed, after how long, and what is another since it last worked, as a
/// part of a sentence.
fn where_it_failed(failure: &Failure) -> String {
    let phase = failed_in(&failure.phases).map(|phase| format!("; {phase}"));
    let changed = (!failure.changed.is_empty())
        .then(|| format!("; since it last worked: {}", failure.changed));
    phase.into_iter().chain(changed).collect()
}

/// What a person is to do about an image that no template makes.
fn manual_sentence(step: &PlannedStep, manual: &Manual, lines: Option<&LineCounts>) -> String {
    let why = reason_list(step, &manual.reasons, lines);
    match &manual.source {
        Some(source) => format!(
            "a person makes this image: {why}; start an instance from {}, change it, stop it, then: {}",
            source.id,
            manual_command(&step.id)
        ),
        None => format!("a person makes this image, once its parent is built: {why}"),
    }
}

/// The command that has the image of a manual step made.
#[must_use]
pub fn manual_command(step: &StepId) -> String {
    format!("reconciler image create --step {step} --instance-id i-…")
}

fn name_taken_sentence(step: &PlannedStep, taken: &NameTaken) -> String {
    let (image, name, id) = (&taken.image, &taken.ami_name, &step.id);
    match &taken.why {
        Hindrance::Unusable(state) => format!(
            "the name {name} is taken by {image}, which cannot be used ({state}): deregister it, or build under another name with `reconciler apply --rebuild {id}`"
        ),
        Hindrance::OfAnother => format!(
            "the name {name} is taken by {image}, which was not made for this fingerprint: deregister it, or build under another name with `reconciler apply --rebuild {id}`"
        ),
    }
}

fn stopped_sentence(step: &PlannedStep, stopped: &Stopped) -> String {
    let (image, id) = (&stopped.image, &step.id);
    let what = if stopped.is_current {
        format!("its image {image} is disabled")
    } else {
        format!("its image {image} of an earlier build is disabled")
    };
    format!(
        "{what}: enable it at EC2 (`aws ec2 enable-image --image-id {image}`), or build another with `reconciler apply --rebuild {id}`"
    )
}

fn update_sentence(update: &Update) -> String {
    let mut parts = Vec::new();
    if let Some(tags) = &update.tags {
        let set = tags.set.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<_> = set.chain(tags.remove.iter().map(|key| format!("-{key}"))).collect();
        parts.push(format!("tags: {}", shorten(&all)));
    }
    if update.metadata {
        parts.push("metadata".to_owned());
    }
    format!("update, no build: {}", parts.join("; "))
}

fn reason_list(step: &PlannedStep, reasons: &[Reason], lines: Option<&LineCounts>) -> String {
    reasons_in_short(&step.id, reasons, lines)
}

/// The first reasons in words, and how many there are beside them.
#[must_use]
pub fn reasons_in_short(step: &StepId, reasons: &[Reason], lines: Option<&LineCounts>) -> String {
    shorten(&reasons.iter().map(|reason| reason_words(step, reason, lines)).collect::<Vec<_>>())
}

fn shorten(parts: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = parts.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if parts.len() > SHOWN {
        text.push_str(&format!(", and {} more", parts.len() - SHOWN));
    }
    text
}

/// One reason in words.
#[must_use]
pub fn reason_words(step: &StepId, reason: &Reason, lines: Option<&LineCounts>) -> String {
    match reason {
        Reason::NeverBuilt => "no image yet".to_owned(),
        Reason::NoInventory => "no inventory yet".to_owned(),
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
                .and_then(|lines| lines.get(&(step.clone(), path.clone())))
                .map(|(added, removed)| format!(" (+{added} \u{2212}{removed})"))
                .unwrap_or_default();
            format!("file {}: {}{counts}", change_word(*change), path.trim_start_matches('/'))
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
