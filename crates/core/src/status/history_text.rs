//! A history as people read it: a build a paragraph, a stage a line. Pure.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::plan::sentences::{age_words, duration_words};
use crate::status::history::{BuildStory, ForgottenStory, StageLine, Story};

/// What the journal of one workflow tells; styled, for a stream that takes the styles off where they
/// are not wanted.
#[must_use]
pub fn text(workflow: &str, stories: &[Story], now: Timestamp, zone: &TimeZone) -> String {
    let bold = Style::new().bold();
    let mut out = format!("{bold}{workflow}{bold:#}\n");
    for story in stories {
        match story {
            Story::Build(build) => one(&mut out, build, now, zone),
            Story::Forgotten(story) => forgotten(&mut out, story, now, zone),
        }
    }
    if stories.is_empty() {
        out.push_str("no build yet\n");
    }
    out
}

fn one(out: &mut String, build: &BuildStory, now: Timestamp, zone: &TimeZone) {
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
            for line in details.lines() {
                let _ = writeln!(out, "      | {line}");
            }
        }
    }
    if let Some(log) = build.failure.as_ref().and_then(|failure| failure.log.as_ref()) {
        let _ = writeln!(out, "    log: {log} (on {})", build.host);
    }
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
    use crate::status::history::stories;
    use crate::status::history::tests::{build, failed, forgotten, recorded};

    #[test]
    fn a_person_reads_when_what_happened_and_where_the_log_is() {
        let mut events = build("2", "a", 3600, failed());
        events.extend(build("1", "gone", 0, recorded()));
        events.push(forgotten("0", 1));
        let told = stories(&events, 10, |step| step.as_str() == "a");
        let now = Timestamp::from_second(1_700_000_000 + 7200).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let shown = anstream::adapter::strip_str(&text("wf", &told, now, &zone)).to_string();
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
