//! The builds of a workflow as its journal tells them, newest first. Pure.
//!
//! As JSON its schema is `reconciler.history/1`, described in `docs/output.md`. Fields are added,
//! never changed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::build::phase_comparison::compared;
use crate::status::changed::Changed;
use reconciler_model::build_phases::BuildPhase;
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId};
use reconciler_model::inventory::journal::{
    Attempt, BuildEvent, Failure, Forgotten, Maker, Progress, Stage, newest_first,
};

/// The version of the JSON form.
pub const SCHEMA: &str = "reconciler.history/1";

/// One build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildStory {
    /// The build.
    pub build_id: BuildId,
    /// Its step.
    pub step_id: StepId,
    /// Whether the step is in git now.
    pub in_git: bool,
    /// `running`, `recorded` or `failed`.
    pub state: Cow<'static, str>,
    /// How many tries at the same fingerprint came before it.
    pub attempt: u32,
    /// What was to be built.
    pub fingerprint: Fingerprint,
    /// The name of its image.
    pub ami_name: AmiName,
    /// Its image, once EC2 showed it.
    pub ami_id: Option<AmiId>,
    /// The commit.
    pub revision: Revision,
    /// The image that it started from.
    pub source_ami: AmiId,
    /// Where.
    pub region: Region,
    /// The host that ran Packer.
    pub host: String,
    /// The fencing token of the reconciler that decided it.
    pub fence: u64,
    /// When it is, or would have been, ended by force.
    pub deadline: Timestamp,
    /// When it was decided.
    pub started_at: Timestamp,
    /// When it was recorded or had failed.
    pub ended_at: Option<Timestamp>,
    /// From the decision to the end, in seconds.
    pub seconds: Option<i64>,
    /// How long Packer took, of a recorded one.
    pub build_seconds: Option<u64>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Where its time went, each phase beside that of the last good build; empty if no Packer ran,
    /// or nobody could tell.
    #[serde(default)]
    pub phases: Vec<BuildPhase>,
    /// The build before it whose image was recorded; none if there was none.
    pub last_good: Option<LastGood>,
    /// What is another since then, of a failed build that was asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
    /// How the phase ended that failed, where its log is on this host; of a build that was asked for
    /// by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_lines: Option<Vec<String>>,
    /// Whether what it left at AWS is known to be gone.
    pub cleaned: bool,
    /// Who made the image: `packer`, `instance` or `adopted`.
    pub maker: Cow<'static, str>,
    /// Every entry, oldest first.
    pub stages: Vec<StageLine>,
}

/// A build whose image was recorded, before one that is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// The build.
    pub build_id: BuildId,
    /// The commit.
    pub revision: Revision,
    /// The image that it started from.
    pub source_ami: AmiId,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageLine {
    /// Its name.
    pub stage: String,
    /// When it was written: after it happened.
    pub at: Timestamp,
    /// What it says beside its name.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// A record that was removed by a person's word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForgottenStory {
    /// The request by which it was asked for.
    pub request_id: BuildId,
    /// The step.
    pub step_id: StepId,
    /// Whether the step is in git now.
    pub in_git: bool,
    /// When.
    pub at: Timestamp,
    /// What the record said, and who asked.
    #[serde(flatten)]
    pub forgotten: Forgotten,
}

/// What a journal tells at one place.
#[derive(Clone, Debug, PartialEq)]
pub enum Story {
    /// A build, or an adoption.
    Build(Box<BuildStory>),
    /// A record that was removed.
    Forgotten(Box<ForgottenStory>),
}

impl Story {
    /// The build; none of a record that was removed.
    #[must_use]
    pub fn build(&self) -> Option<&BuildStory> {
        match self {
            Self::Build(build) => Some(build),
            Self::Forgotten(_) => None,
        }
    }

    /// The record that was removed; none of a build.
    #[must_use]
    pub fn forgotten(&self) -> Option<&ForgottenStory> {
        match self {
            Self::Build(_) => None,
            Self::Forgotten(forgotten) => Some(forgotten),
        }
    }

    /// The id under which the journal tells it.
    #[must_use]
    pub fn id(&self) -> &BuildId {
        match self {
            Self::Build(build) => &build.build_id,
            Self::Forgotten(forgotten) => &forgotten.request_id,
        }
    }

    /// When it began.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        match self {
            Self::Build(build) => build.started_at,
            Self::Forgotten(forgotten) => forgotten.at,
        }
    }
}

/// What `events` tell, which come as the inventory gives them: newest build first, in a build the
/// newest event first. A build whose intent is not among them is left out: the events were cut off
/// there. `in_git` tells whether a step is in git.
#[must_use]
pub fn stories(
    events: &[BuildEvent],
    limit: usize,
    in_git: impl Fn(&StepId) -> bool,
) -> Vec<Story> {
    let told = |events: &[BuildEvent]| match events {
        [BuildEvent { step_id, build_id, at, stage: Stage::Forgotten(forgotten), .. }] => {
            Some(Story::Forgotten(Box::new(ForgottenStory {
                request_id: build_id.clone(),
                step_id: step_id.clone(),
                in_git: in_git(step_id),
                at: *at,
                forgotten: forgotten.clone(),
            })))
        }
        build => story(build, &in_git).map(Box::new).map(Story::Build),
    };
    let builds = newest_first(events);
    let mut told: Vec<_> = builds.iter().copied().filter_map(told).take(limit).collect();
    beside_the_last_good(&mut told, &builds);
    for event in events {
        let Stage::Deleted(deleted) = &event.stage else {
            continue;
        };
        for story in &mut told {
            if let Story::Build(build) = story
                && build.ami_id.as_ref() == Some(&deleted.ami_id)
            {
                build.stages.push(line(event));
            }
        }
    }
    told
}

/// Tells with each build which one of its step was recorded before it, and how long its phases
/// took. `told` are builds of `newest_first`, in the same order.
fn beside_the_last_good(told: &mut [Story], newest_first: &[&[BuildEvent]]) {
    let mut goods: BTreeMap<&StepId, (LastGood, &[BuildPhase])> = BTreeMap::new();
    let mut stories = told.iter_mut().rev().peekable();
    for events in newest_first.iter().rev() {
        let [BuildEvent { step_id, build_id, .. }, ..] = events else {
            continue;
        };
        let own = stories.next_if(|story| story.id() == build_id);
        if let (Some(Story::Build(build)), Some((good, phases))) = (own, goods.get(step_id)) {
            // A failure was compared when it was written down.
            if build.phases.iter().all(|phase| phase.last_seconds.is_none()) {
                build.phases = compared(std::mem::take(&mut build.phases), phases);
            }
            build.last_good = Some(good.clone());
        }
        if let Some(good) = good(events) {
            goods.insert(step_id, good);
        }
    }
}

/// What is told of a build, or an adoption, that ended in a record.
fn good(newest_first: &[BuildEvent]) -> Option<(LastGood, &[BuildPhase])> {
    let begin = newest_first.last()?;
    let intent = begin.stage.intent()?;
    let (recorded_at, phases) = newest_first.iter().find_map(|event| match &event.stage {
        Stage::Recorded { phases, .. } => Some((event.at, phases.as_slice())),
        Stage::Adopted { .. } => Some((event.at, [].as_slice())),
        _ => None,
    })?;
    let good = LastGood {
        build_id: begin.build_id.clone(),
        revision: intent.revision.clone(),
        source_ami: intent.source_ami.clone(),
        recorded_at,
    };
    Some((good, phases))
}

fn story(newest_first: &[BuildEvent], in_git: &impl Fn(&StepId) -> bool) -> Option<BuildStory> {
    let mut attempt = Attempt::begin(newest_first.last()?)?;
    let (mut ended_at, mut phases) = (None, Vec::new());
    for event in newest_first.iter().rev() {
        attempt.apply(event);
        if event.stage.recorded_image().is_some() || matches!(event.stage, Stage::Failed(_)) {
            ended_at = Some(event.at);
        }
        if let Stage::Recorded { phases: kept, .. } | Stage::Failed(Failure { phases: kept, .. }) =
            &event.stage
        {
            phases.clone_from(kept);
        }
    }
    let (state, build_seconds, failure) = match &attempt.progress {
        Progress::Recorded { build_seconds } => ("recorded", Some(*build_seconds), None),
        Progress::Failed(failure) => {
            // They stand with the build.
            ("failed", None, Some(Failure { phases: Vec::new(), ..failure.clone() }))
        }
        _ => ("running", None, None),
    };
    let intent = attempt.intent;
    Some(BuildStory {
        in_git: in_git(&attempt.step_id),
        build_id: attempt.build_id,
        step_id: attempt.step_id,
        state: state.into(),
        attempt: intent.attempt,
        fingerprint: intent.fingerprint,
        ami_name: intent.ami_name,
        ami_id: attempt.ami_id,
        revision: intent.revision,
        source_ami: intent.source_ami,
        region: intent.region,
        host: intent.host,
        fence: intent.fence,
        deadline: intent.deadline,
        started_at: attempt.started_at,
        ended_at,
        seconds: ended_at.map(|at| at.duration_since(attempt.started_at).as_secs()),
        build_seconds,
        failure,
        phases,
        last_good: None,
        changed: None,
        last_lines: None,
        cleaned: attempt.cleaned,
        maker: match intent.maker {
            Maker::Packer => "packer",
            Maker::Instance { .. } => "instance",
            Maker::Adopted { .. } => "adopted",
        }
        .into(),
        stages: newest_first.iter().rev().map(line).collect(),
    })
}

fn line(event: &BuildEvent) -> StageLine {
    // What the intent says stands with the build.
    let (stage, details) = match &event.stage {
        Stage::Intent(intent) => {
            let said = match &intent.maker {
                Maker::Instance { id, by, .. } => {
                    vec![("instance".to_owned(), json!(id)), ("by".to_owned(), json!(by))]
                }
                Maker::Packer | Maker::Adopted { .. } => Vec::new(),
            };
            ("intent".to_owned(), Map::from_iter(said))
        }
        Stage::Adopted { ami_id, intent } => {
            let by = match &intent.maker {
                Maker::Adopted { by } => json!(by),
                _ => Value::Null,
            };
            let said = [("ami_id".to_owned(), json!(ami_id)), ("by".to_owned(), by)];
            ("adopted".to_owned(), Map::from_iter(said))
        }
        Stage::Deleted(deleted) => {
            let said = [
                ("ami_id".to_owned(), json!(deleted.ami_id)),
                ("by".to_owned(), json!(deleted.by)),
                ("snapshots".to_owned(), json!(deleted.snapshots)),
                ("request_id".to_owned(), json!(event.build_id)),
            ];
            ("deleted".to_owned(), Map::from_iter(said))
        }
        stage => match json!(stage) {
            Value::Object(one) => one
                .into_iter()
                .next()
                .map(|(name, said)| {
                    let mut said = said.as_object().cloned().unwrap_or_default();
                    // They stand with the build.
                    said.remove("phases");
                    (name, said)
                })
                .unwrap_or_default(),
            Value::String(name) => (name, Map::new()),
            _ => (String::new(), Map::new()),
        },
    };
    StageLine { stage, at: event.at, details }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use reconciler_model::digest::Digest;
    use reconciler_model::ids::WorkflowId;
    use reconciler_model::inventory::journal::{Deleted, FailureClass, Intent};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// One build's events, newest first.
    pub(crate) fn build(id: &str, step: &str, start: i64, stages: Vec<Stage>) -> Vec<BuildEvent> {
        let intent = Intent {
            fingerprint: Digest::of(b"x").into(),
            ami_name: AmiName::new("base/wf/a/1a2b3c4d"),
            revision: Revision::new("0123456789abcdef0123456789abcdef01234567"),
            source_ami: AmiId::new("ami-0"),
            region: Region::new("us-east-1"),
            host: "builder-1".into(),
            prepared_by: None,
            reach: reconciler_model::inventory::journal::Reach::default(),
            afterwards: reconciler_model::afterwards::PostImageSteps::default(),
            maker: reconciler_model::inventory::journal::Maker::Packer,
            deadline: at(start + 7200),
            fence: 3,
            attempt: 1,
            promise: None,
        };
        let mut events: Vec<_> = std::iter::once(Stage::Intent(intent))
            .chain(stages)
            .zip(0..)
            .map(|(stage, seq)| BuildEvent {
                workflow_id: WorkflowId::new("wf"),
                step_id: StepId::new(step),
                build_id: BuildId::new(id),
                seq,
                at: at(start + 60 * i64::from(seq)),
                stage,
            })
            .collect();
        events.reverse();
        events
    }

    pub(crate) fn failed() -> Vec<Stage> {
        vec![
            Stage::Started { pid: 7 },
            Stage::Failed(Failure {
                class: FailureClass::Step,
                cause: "Script exited with non-zero exit status: 7".into(),
                details: "Reading package lists...\nE: no such package".into(),
                log: Some("/var/lib/reconciler/builds/2/packer.log".into()),
                phases: vec![],
                changed: String::new(),
                retry_at: None,
            }),
            Stage::Cleaned { removed: vec!["i-1".into()] },
            Stage::RetryRequested { by: "alice@desk".into() },
        ]
    }

    pub(crate) fn recorded() -> Vec<Stage> {
        let ami_id = AmiId::new("ami-1");
        vec![
            Stage::Started { pid: 8 },
            Stage::ImageSeen { ami_id: ami_id.clone() },
            Stage::Available,
            Stage::Tagged,
            Stage::Recorded { ami_id, build_seconds: 150, phases: vec![] },
            Stage::Cleaned { removed: vec![] },
        ]
    }

    #[test]
    fn builds_of_two_hosts_whose_clocks_differ_come_as_the_journal_has_them() {
        let under = |id: &str, token: u64| {
            let mut events = build(id, "a", 0, vec![]);
            if let Some(Stage::Intent(intent)) = events.last_mut().map(|event| &mut event.stage) {
                intent.fence = token;
            }
            events
        };
        // The clock of the host that held the lease last is 200 s behind: its id sorts first.
        let (newest, older, oldest) = (under("1", 9), under("3", 8), under("2", 8));
        let by_id = [older, oldest, newest].concat();
        let told = stories(&by_id, 2, |_| true);
        let ids: Vec<_> = told.iter().map(|one| one.id().as_str()).collect();
        assert_eq!(ids, ["1", "3"]);
    }

    /// A record that was removed, under this id and token.
    pub(crate) fn forgotten(id: &str, fence: u64) -> BuildEvent {
        let forgotten = Forgotten {
            ami_id: AmiId::new("ami-1"),
            ami_name: AmiName::new("base/wf/a/1a2b3c4d"),
            source_ami: AmiId::new("ami-0"),
            fingerprint: None,
            build_id: None,
            revision: None,
            region: Region::new("us-east-1"),
            by: "ada@desk".to_owned(),
            fence,
        };
        BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("gone"),
            build_id: BuildId::new(id),
            seq: 0,
            at: at(7200),
            stage: Stage::Forgotten(forgotten),
        }
    }

    #[test]
    fn a_record_that_was_removed_is_told_among_the_builds_and_is_none() {
        // Its id sorts before that of the build, which came later, under another token.
        let events = [build("2", "a", 3600, failed()), vec![forgotten("3", 2)]].concat();
        let told = stories(&events, 10, |step| step.as_str() == "a");
        assert_eq!(told.iter().map(|one| one.id().as_str()).collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(told.iter().filter_map(Story::build).count(), 1);
        let value = json!(told[1].forgotten());
        assert_eq!((&value["request_id"], &value["ami_id"]), (&json!("3"), &json!("ami-1")));
        assert_eq!((&value["by"], &value["in_git"]), (&json!("ada@desk"), &json!(false)));
    }

    #[test]
    fn a_build_is_told_with_its_end_its_cause_and_every_stage() {
        let mut events = build("3", "gone", 7200, vec![]);
        events.extend(build("2", "a", 3600, failed()));
        events.extend(build("1", "a", 0, recorded()));
        let told = stories(&events, 10, |step| step.as_str() == "a");
        let told: Vec<_> = told.iter().filter_map(Story::build).collect();
        let states: Vec<_> = told.iter().map(|one| (one.state.as_ref(), one.in_git)).collect();
        assert_eq!(states, [("running", false), ("failed", true), ("recorded", true)]);
        let value = json!(told[1]);
        assert_eq!(value["seconds"], 120);
        assert_eq!(value["failure"]["class"], "step");
        assert_eq!(value["stages"][1], json!({ "stage": "started", "at": at(3660), "pid": 7 }));
        assert_eq!(value["stages"][4]["by"], "alice@desk");
        assert_eq!(json!(told[2])["stages"][3]["stage"], "available");
    }

    #[test]
    fn that_its_image_was_taken_away_is_told_with_the_build_that_made_it() {
        let deleted = Deleted {
            ami_id: AmiId::new("ami-1"),
            ami_name: AmiName::new("base/wf/a/1a2b3c4d"),
            region: Region::new("us-east-1"),
            snapshots: vec!["snap-1".into()],
            by: "ada@desk".into(),
            fence: 9,
        };
        let mut event = build("9", "a", 9000, vec![]).remove(0);
        event.stage = Stage::Deleted(deleted);
        let mut events = vec![event];
        events.extend(build("2", "a", 3600, failed()));
        events.extend(build("1", "a", 0, recorded()));
        let told = stories(&events, 10, |_| true);
        let told: Vec<_> = told.iter().filter_map(Story::build).collect();
        let ids: Vec<_> = told.iter().map(|one| one.build_id.as_str()).collect();
        assert_eq!(ids, ["2", "1"], "a deletion is no build");
        let last = json!(told[1].stages.last());
        assert_eq!((&last["stage"], &last["by"]), (&json!("deleted"), &json!("ada@desk")));
        assert_eq!(last["snapshots"], json!(["snap-1"]));
        assert!(told[0].stages.iter().all(|line| line.stage != "deleted"));
    }

    #[test]
    fn a_build_whose_begin_was_cut_off_is_left_out_and_the_limit_counts_builds() {
        let mut events = build("2", "a", 3600, failed());
        events.extend(build("1", "a", 0, recorded()));
        assert_eq!(stories(&events, 1, |_| true).len(), 1);
        events.pop();
        assert_eq!(stories(&events, 10, |_| true).len(), 1);
    }
}
