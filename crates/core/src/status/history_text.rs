//! A history as people read it: a build a paragraph, a stage a line. Pure.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reconciler_model::build_phases::PhaseEnd;
use serde_json::Value;

use crate::build::phase_comparison::{failed_phase, line, name, took};
use crate::plan::sentences::{age_words, duration_words, padded, printable};
use crate::status::history::{BuildStory, ForgottenStory, StageLine, Story};

/// How many commits are listed, and how many lines of a difference.
const MOST_COMMITS: usize = 10;
const MOST_LINES: usize = 40;

/// How much is told of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// It is one of many.
    Short,
    /// It was asked for by its id.
    Whole,
}

/// What the journal of one workflow tells; styled, for a stream that takes the styles off where they
/// are not wanted.
#[must_use]
pub fn text(
    workflow: &str,
    stories: &[Story],
    detail: Detail,
    now: Timestamp,
    zone: &TimeZone,
) -> String {
    let bold = Style::new().bold();
    let mut out = format!("{bold}{workflow}{bold:#}\n");
    for story in stories {
        match story {
            Story::Build(build) => one(&mut out, build, detail, now, zone),
            Story::Forgotten(story) => forgotten(&mut out, story, now, zone),
        }
    }
    if stories.is_empty() {
        out.push_str("no build yet\n");
    }
    out
}

fn one(out: &mut String, build: &BuildStory, detail: Detail, now: Timestamp, zone: &TimeZone) {
    let colour = match build.state.as_ref() {
        "recorded" => AnsiColor::Green,
        "failed" => AnsiColor::Red,
        _ => AnsiColor::Yellow,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let image = build.ami_id.as_ref().map_or("-", |id| id.as_str());
    let is_adopted = build.maker == "adopted";
    let took = match build.seconds {
        // Nothing was built.
        _ if is_adopted => String::new(),
        Some(seconds) => format!(", took {}", duration_words(SignedDuration::from_secs(seconds))),
        None => String::new(),
    };
    let gone = if build.in_git { "" } else { "  (no longer in git)" };
    let _ = writeln!(
        out,
        "\n  {}  {style}{}{style:#}  {image}  {} ago{took}{gone}",
        build.step_id,
        build.state,
        age_words(now.duration_since(build.started_at)),
    );
    let tried = if is_adopted { String::new() } else { format!("  try {}", build.attempt + 1) };
    let _ = writeln!(
        out,
        "    build {}  commit {}{tried}  on {}",
        build.build_id,
        build.revision.short(),
        build.host
    );
    let _ = writeln!(out, "    image {} from {}", build.ami_name, build.source_ami);
    for stage in &build.stages {
        let _ = writeln!(out, "    {}  {}", time_words(stage.at, zone), words(stage, zone));
        if let ("failed", Some(Value::String(details))) =
            (stage.stage.as_str(), stage.details.get("details"))
        {
            let shown = build.last_lines.as_deref().unwrap_or_default();
            // They are among the last lines of the phase, which come below.
            let is_repeated =
                |line: &str| shown.iter().any(|one| one.trim_end() == line.trim_end());
            if !details.lines().all(is_repeated) {
                quote(out, details.lines());
            }
        }
    }
    match detail {
        Detail::Whole => {
            phase_table(out, build, zone);
            what_changed(out, build, zone);
            last_lines(out, build);
        }
        Detail::Short if build.failure.is_some() && !build.phases.is_empty() => {
            let _ = writeln!(out, "    time: {}", line(&build.phases));
        }
        Detail::Short => {}
    }
    if let Some(log) = build.failure.as_ref().and_then(|failure| failure.log.as_ref()) {
        let _ = writeln!(out, "    log: {log} (on {})", build.host);
    }
}

fn quote<'a>(out: &mut String, lines: impl Iterator<Item = &'a str>) {
    for line in lines {
        let _ = writeln!(out, "      | {}", printable(line));
    }
}

/// Where the time of a build went, a phase a line.
fn phase_table(out: &mut String, build: &BuildStory, zone: &TimeZone) {
    if build.phases.is_empty() {
        return;
    }
    let is_compared = build.phases.iter().any(|phase| phase.last_seconds.is_some());
    let _ = match build.last_good.as_ref().filter(|_| is_compared) {
        Some(good) => {
            let when = time_words(good.recorded_at, zone);
            writeln!(out, "    time, beside that of build {}, recorded {when}:", good.build_id)
        }
        None => writeln!(out, "    time:"),
    };
    let mut source = None;
    for phase in &build.phases {
        if source != phase.source.as_ref() {
            source = phase.source.as_ref();
            let _ = writeln!(out, "      {}:", source.map_or("", String::as_str));
        }
        let tries =
            if phase.tries > 1 { format!(", {} tries", phase.tries) } else { String::new() };
        let failed = if phase.end == PhaseEnd::Failed { ", failed" } else { "" };
        let name = padded(&printable(&name(phase)), 24);
        let _ = writeln!(out, "      {name}  {}{tries}{failed}", took(phase));
    }
}

/// What is another in a failed build than in the last good one.
fn what_changed(out: &mut String, build: &BuildStory, zone: &TimeZone) {
    let (Some(changed), Some(good)) = (&build.changed, &build.last_good) else {
        return;
    };
    let _ = writeln!(
        out,
        "    changed since build {} (commit {}) was recorded {}:",
        good.build_id,
        good.revision.short(),
        time_words(good.recorded_at, zone)
    );
    if changed.reason_texts.is_empty() {
        out.push_str("      nothing: its inputs are the same\n");
    }
    for text in &changed.reason_texts {
        let _ = writeln!(out, "      {}", printable(text));
    }
    for commit in changed.commits.iter().take(MOST_COMMITS) {
        let said = format!("{}, {}", commit.subject, commit.author);
        let when = time_words(commit.time, zone);
        let _ =
            writeln!(out, "      commit {}  {when}  {}", commit.revision.short(), printable(&said));
    }
    if let Some(more) = changed.commits.len().checked_sub(MOST_COMMITS).filter(|more| *more > 0) {
        let _ = writeln!(out, "      and {more} more commits");
    }
    if let Some(why) = &changed.unread {
        let _ = writeln!(out, "      lines are not known: {}", printable(why));
    }
    let lines = || changed.changes.iter().flat_map(|change| change.diff.lines());
    quote(out, lines().take(MOST_LINES));
    if let Some(more) = lines().count().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        let _ = writeln!(out, "      | … {more} more lines, with `--output json`");
    }
}

/// How the phase ended that failed.
fn last_lines(out: &mut String, build: &BuildStory) {
    let Some(lines) = build.last_lines.as_ref().filter(|lines| !lines.is_empty()) else {
        return;
    };
    let phase = failed_phase(&build.phases).map_or("the build".to_owned(), name);
    let _ = writeln!(out, "    last lines of {}:", printable(&phase));
    quote(out, lines.iter().map(String::as_str));
}

fn forgotten(out: &mut String, story: &ForgottenStory, now: Timestamp, zone: &TimeZone) {
    let said = &story.forgotten;
    let gone = if story.in_git { "" } else { "  (no longer in git)" };
    let age = age_words(now.duration_since(story.at));
    let _ = writeln!(out, "\n  {}  forgotten  {}  {age} ago{gone}", story.step_id, said.ami_id);
    let commit = said.revision.as_ref().map(|revision| format!("  commit {}", revision.short()));
    let _ = writeln!(out, "    request {}{}", story.request_id, commit.unwrap_or_default());
    let _ = writeln!(out, "    image {} from {}", said.ami_name, said.source_ami);
    let when = time_words(story.at, zone);
    let _ = writeln!(out, "    {when}  record removed by {}; its image stays", said.by);
}

/// A time as people read it: by their own clocks, with the zone that it is in.
#[must_use]
pub fn time_words(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%F %T %Z").to_string()
}

fn words(line: &StageLine, zone: &TimeZone) -> String {
    let said = |name: &str| match line.details.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    match line.stage.as_str() {
        "intent" if line.details.contains_key("instance") => {
            format!("decided: the image of {}, by {}", said("instance"), said("by"))
        }
        "intent" => "decided".to_owned(),
        "started" => format!("Packer started (supervisor {})", said("pid")),
        "image_seen" => format!("image seen: {}", said("ami_id")),
        "available" => "image available".to_owned(),
        "tagged" => "tagged".to_owned(),
        "recorded" => format!("recorded: {}", said("ami_id")),
        "failed" => {
            let next = match line.details.get("retry_at") {
                Some(Value::String(at)) => match at.parse() {
                    Ok(at) => format!("; next try not before {}", time_words(at, zone)),
                    Err(_) => format!("; next try not before {at}"),
                },
                _ => String::new(),
            };
            format!("failed ({}): {}{next}", said("class"), said("cause"))
        }
        "cleaned" => cleaned(line),
        "adopted" => format!("{} adopted by {}", said("ami_id"), said("by")),
        "deleted" => {
            let snapshots = line.details.get("snapshots").and_then(Value::as_array);
            let snapshots = snapshots.into_iter().flatten().filter_map(Value::as_str);
            let gone = snapshots.collect::<Vec<_>>().join(", ");
            let with = if gone.is_empty() { gone } else { format!(" with {gone}") };
            format!("{}{with} deleted by {}", said("ami_id"), said("by"))
        }
        "retry_requested" => format!("retry requested by {}", said("by")),
        "cancel_requested" => format!("cancel requested by {}", said("by")),
        other => other.replace('_', " "),
    }
}

fn cleaned(line: &StageLine) -> String {
    let removed = line.details.get("removed").and_then(Value::as_array);
    let ids: Vec<_> = removed.into_iter().flatten().filter_map(Value::as_str).collect();
    if ids.is_empty() {
        "cleaned up: nothing was left".to_owned()
    } else {
        format!("cleaned up: {}", ids.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::phase_comparison::tests::phase;
    use crate::status::changed::{Changed, ChangedFile, CommitLine};
    use crate::status::history::stories;
    use crate::status::history::tests::{build, failed, forgotten, recorded};
    use reconciler_model::build_phases::PhaseKind;
    use reconciler_model::ids::Revision;
    use reconciler_model::inventory::journal::Stage;

    #[test]
    fn a_failed_build_is_told_beside_the_last_good_one() {
        let of = |seconds: [u64; 3]| {
            vec![
                phase(PhaseKind::Instance, None, "", seconds[0]),
                phase(PhaseKind::Connection, None, "SSH", seconds[1]),
                phase(PhaseKind::Provisioner, Some(2), "setup.sh", seconds[2]),
            ]
        };
        let mut bad = failed();
        if let Stage::Failed(failure) = &mut bad[1] {
            failure.phases = of([41, 12, 842]);
            failure.phases[2].end = PhaseEnd::Failed;
            failure.phases[2].tries = 2;
        }
        let mut good = recorded();
        if let Stage::Recorded { phases, .. } = &mut good[4] {
            *phases = of([40, 12, 302]);
        }
        let mut events = build("4", "other", 9000, recorded());
        events.extend(build("3", "a", 7200, bad));
        events.extend(build("2", "other", 3600, recorded()));
        events.extend(build("1", "a", 0, good));
        let mut told = stories(&events, 10, |_| true);
        let Story::Build(build) = &mut told[1] else { panic!("{told:?}") };
        let good = build.last_good.clone().unwrap();
        assert_eq!(good.build_id.as_str(), "1", "of the same step, and before it");
        assert_eq!(serde_json::json!(build.stages[2])["phases"], Value::Null, "once is enough");
        build.last_lines = Some(vec!["about to fail".into(), "E: no such\u{1b} package".into()]);
        build.changed = Some(Changed {
            reasons: None,
            reason_texts: vec!["file changed: setup.sh (+1 \u{2212}1)".into()],
            commits: vec![CommitLine {
                revision: Revision::new("4f2c1e9000"),
                author: "Ada".into(),
                time: Timestamp::from_second(1_700_003_600).unwrap(),
                subject: "Use another mirror".into(),
            }],
            changes: vec![ChangedFile {
                name: "setup.sh".into(),
                diff: "--- a/setup.sh\n+++ b/setup.sh\n@@ -1 +1 @@\n-a\n+b\n".into(),
            }],
            unread: None,
        });
        let now = Timestamp::from_second(1_700_009_000).unwrap();
        let shown = |detail, told: &[Story]| {
            let text = text("wf", told, detail, now, &TimeZone::UTC);
            anstream::adapter::strip_str(&text).to_string()
        };
        let whole = shown(Detail::Whole, &told[1..2]);
        insta::assert_snapshot!(whole, @r"
        wf

          a  failed  -  30m ago, took 2m00s
            build 3  commit 0123456  try 2  on builder-1
            image base/wf/a/1a2b3c4d from ami-0
            2023-11-15 00:13:20 UTC  decided
            2023-11-15 00:14:20 UTC  Packer started (supervisor 7)
            2023-11-15 00:15:20 UTC  failed (step): Script exited with non-zero exit status: 7
              | Reading package lists...
              | E: no such package
            2023-11-15 00:16:20 UTC  cleaned up: i-1
            2023-11-15 00:17:20 UTC  retry requested by alice@desk
            time, beside that of build 1, recorded 2023-11-14 22:18:20 UTC:
              instance up               41s
              SSH                       12s
              2 setup.sh                14m02s (+9m), 2 tries, failed
            changed since build 1 (commit 0123456) was recorded 2023-11-14 22:18:20 UTC:
              file changed: setup.sh (+1 −1)
              commit 4f2c1e9  2023-11-14 23:13:20 UTC  Use another mirror, Ada
              | --- a/setup.sh
              | +++ b/setup.sh
              | @@ -1 +1 @@
              | -a
              | +b
            last lines of 2 setup.sh:
              | about to fail
              | E: no such  package
            log: /var/lib/reconciler/builds/2/packer.log (on builder-1)
        ");
        let short = shown(Detail::Short, &told[1..2]);
        let line = "    time: instance up 41s, SSH 12s, 2 setup.sh 14m02s (+9m) failed\n";
        assert!(short.contains(line) && !short.contains("last lines"), "{short}");
    }

    #[test]
    fn a_person_reads_when_what_happened_and_where_the_log_is() {
        let mut events = build("2", "a", 3600, failed());
        events.extend(build("1", "gone", 0, recorded()));
        events.push(forgotten("0", 1));
        let told = stories(&events, 10, |step| step.as_str() == "a");
        let now = Timestamp::from_second(1_700_000_000 + 7200).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let shown =
            anstream::adapter::strip_str(&text("wf", &told, Detail::Short, now, &zone)).to_string();
        for words in [
            "2023-11-14 23:13:20 +01  decided",
            "a  failed  -  1h ago, took 2m00s",
            "failed (step): Script exited with non-zero exit status: 7",
            "      | Reading package lists...\n      | E: no such package\n",
            "log: /var/lib/reconciler/builds/2/packer.log (on builder-1)",
            "cleaned up: i-1",
            "retry requested by alice@desk",
            "gone  recorded  ami-1  2h ago, took 5m00s  (no longer in git)",
            "gone  forgotten  ami-1  0s ago  (no longer in git)",
            "record removed by ada@desk; its image stays",
            "commit 0123456",
        ] {
            assert!(shown.contains(words), "{words:?} in\n{shown}");
        }
    }
}
