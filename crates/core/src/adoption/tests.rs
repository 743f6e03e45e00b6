//! What is refused, what is in doubt, and what goes without a word.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::plan::{RecordsFrom, Standing};
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiName, BuildId, Region, Revision};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::record::Built;

fn source(id: &str) -> SourceImage {
    SourceImage { id: AmiId::new(id), name: AmiName::new(format!("name of {id}")) }
}

fn fingerprint(of: &str) -> Fingerprint {
    Digest::of(of.as_bytes()).into()
}

fn image(told: Option<&str>, tagged: Option<&str>) -> Image {
    let mut details = json!({ "data": { "ImageId": "ami-new" } });
    if let Some(told) = told {
        details["data"]["SourceImageId"] = json!(told);
    }
    let tags = tagged.map(|id| (BASE_TAG.to_owned(), id.to_owned()));
    Image {
        id: AmiId::new("ami-new"),
        name: AmiName::new("new"),
        state: ImageState::Available,
        owner_id: "111122223333".into(),
        created_at: Timestamp::UNIX_EPOCH,
        tags: tags.into_iter().collect(),
        snapshots: Vec::new(),
        details: details.to_string(),
    }
}

/// A record of the step `s` of a workflow, made from this.
fn record(workflow: &str, image: &str, base: &str, made_from: Option<&str>) -> RecordHead {
    let built = made_from.map(|of| Built {
        fingerprint: fingerprint(of),
        build_id: BuildId::new("b"),
        revision: Revision::new("r"),
        region: Region::new("us-east-1"),
        tags: BTreeMap::new().into(),
        metadata_digest: Digest::of(b"m"),
        build_seconds: 1,
        build_times: BuildTimes::default().with(1),
        recorded_at: Timestamp::UNIX_EPOCH,
        fence: 1,
    });
    RecordHead {
        workflow_id: WorkflowId::new(workflow),
        step_id: StepId::new("s"),
        ami_id: AmiId::new(image),
        ami_name: AmiName::new("n"),
        create_at: Timestamp::UNIX_EPOCH,
        base_ami_id: AmiId::new(base),
        base_ami_name: AmiName::new("b"),
        root_base_ami_id: AmiId::new("ami-root"),
        root_base_ami_name: AmiName::new("root"),
        built,
    }
}

fn planned(id: &str, parent: Option<&str>, record: Option<RecordHead>) -> PlannedStep {
    PlannedStep {
        id: StepId::new(id),
        parent: parent.map(StepId::new),
        folder: id.to_owned(),
        decision: Decision::InSync,
        desired: None,
        record: record.map(Arc::new),
    }
}

fn plan(steps: Vec<PlannedStep>) -> Plan {
    Plan {
        workflow_id: WorkflowId::new("w"),
        folder: String::new(),
        repository: String::new(),
        reference: String::new(),
        revision: Revision::new("r"),
        region: Region::new("us-east-1"),
        root_base: source("ami-root"),
        newer_base: None,
        steps,
        orphans: Vec::new(),
        warnings: Vec::new(),
        at: Timestamp::UNIX_EPOCH,
        looked_at_ec2: true,
        records_from: RecordsFrom { place: "memory".into(), standing: Standing::Recorded },
    }
}

/// What is known of an image that fits: all tests change one thing of it.
fn known(image: &Image) -> Known<'_> {
    Known {
        image,
        is_own: true,
        recorded_is_gone: false,
        named_by: None,
        earlier: None,
        differs: &[],
        desired: fingerprint("git"),
    }
}

fn wanted(replaces: Option<&str>, sure: bool) -> ImageToAdopt {
    ImageToAdopt {
        step: StepId::new("s"),
        image: AmiId::new("ami-new"),
        replaces: replaces.map(AmiId::new),
        from: None,
        sure,
    }
}

fn judged(record: Option<RecordHead>, sure: bool, known: &Known<'_>) -> Result<(), String> {
    let replaces = record.as_ref().map(|record| record.ami_id.to_string());
    let wanted = wanted(replaces.as_deref(), sure);
    let step = planned("s", None, record);
    may_adopt_image(&step, &source("ami-base"), &wanted, known).map_err(|why| why.message)
}

#[test]
fn an_image_on_what_git_asks_for_is_adopted_where_nothing_stands_that_can_be_used() {
    let told = image(Some("ami-base"), None);
    let fits = known(&told);
    assert_eq!(judged(None, false, &fits), Ok(()));
    assert_eq!(judged(Some(record("w", "ami-old", "ami-base", None)), false, &fits), Ok(()));
    let gone = Known { recorded_is_gone: true, ..fits };
    assert_eq!(judged(Some(record("w", "ami-old", "ami-base", Some("x"))), false, &gone), Ok(()));
}

#[test]
fn what_no_word_mends_is_refused_however_sure_the_person_is() {
    let told = image(Some("ami-base"), None);
    let other = image(Some("ami-other"), None);
    let by_tag = image(None, Some("ami-other"));
    let disabled = Image { state: ImageState::Other("disabled".into()), ..told.clone() };
    let pending = Image { state: ImageState::Pending, ..told.clone() };
    let elsewhere = record("w2", "ami-new", "ami-base", None);
    let stands = record("w", "ami-new", "ami-base", Some("git"));
    for (known, words) in [
        (Known { is_own: false, ..known(&told) }, "is of another account, 111122223333"),
        (known(&disabled), "is disabled"),
        (known(&pending), "is not available: pending"),
        (known(&other), "was built on ami-other, but git asks for one on ami-base"),
        (known(&by_tag), "was built on ami-other, but git asks for one on ami-base"),
        (Known { named_by: Some(&elsewhere), ..known(&told) }, "for step s of workflow w2"),
    ] {
        let why = judged(None, true, &known).unwrap_err();
        assert!(why.contains(words), "{words:?}: {why}");
    }
    let why = judged(Some(stands.clone()), true, &known(&told)).unwrap_err();
    assert!(why.contains("is its recorded image already"), "{why}");
    // Also where another has asked for it since the person looked.
    let step = planned("s", None, Some(stands));
    let late = may_adopt_image(&step, &source("ami-base"), &wanted(None, true), &known(&told));
    assert!(late.unwrap_err().message.contains("is its recorded image already"));
    let step = planned("s", None, Some(record("w", "ami-newer", "ami-base", None)));
    let late = may_adopt_image(&step, &source("ami-base"), &wanted(None, true), &known(&told));
    assert!(late.unwrap_err().message.contains("the record names ami-newer by now"));
}

#[test]
fn a_doubt_needs_the_persons_word_and_all_doubts_are_told_at_once() {
    let untold = image(None, None);
    let recorded = record("w", "ami-old", "ami-base", Some("x"));
    let differs = [Reason::IdentityChanged];
    let run = record("w-0", "ami-new", "ami-base", Some("x"));
    let of_run = Known { earlier: Some(&run), ..known(&untold) };
    for (record, known, all) in [
        (None, known(&untold), &["EC2 does not tell which image ami-new was made from"][..]),
        (Some(recorded), known(&untold), &["does not tell", "; and ami-old would be replaced"]),
        (
            None,
            Known { differs: &differs, ..of_run },
            &["git has changed since", "workflow id, region or image name changed"],
        ),
        (
            Some(record("w", "ami-new", "ami-base", Some("x"))),
            of_run,
            &["ami-new is recorded as made from other inputs"],
        ),
    ] {
        let why = judged(record.clone(), false, &known).unwrap_err();
        for words in all {
            assert!(why.contains(words), "{words:?}: {why}");
        }
        assert_eq!(judged(record, true, &known), Ok(()));
    }
}

#[test]
fn an_image_of_an_earlier_run_stands_on_what_that_runs_record_says() {
    let untold = image(None, None);
    let fits = record("w-0", "ami-new", "ami-base", None);
    let known = Known { earlier: Some(&fits), ..known(&untold) };
    assert_eq!(judged(None, false, &known), Ok(()));
    let elsewhere = record("w-0", "ami-new", "ami-then", None);
    let why = judged(None, true, &Known { earlier: Some(&elsewhere), ..known }).unwrap_err();
    assert!(why.contains("was built on ami-then, but git asks for one on ami-base"), "{why}");
}

#[test]
fn a_copy_tells_of_the_copied_image_and_its_tag_may_tell_otherwise() {
    let of = |id: &str| MadeFrom::Image(AmiId::new(id));
    for (told, tagged, expected) in [
        (Some("ami-1"), None, of("ami-1")),
        (None, Some("ami-1"), of("ami-1")),
        (Some("ami-1"), Some("ami-1"), of("ami-1")),
        (Some("ami-1"), Some("ami-2"), MadeFrom::Untold),
        (None, None, MadeFrom::Untold),
    ] {
        assert_eq!(made_from(&image(told, tagged)), expected, "{told:?} {tagged:?}");
    }
    let without = Image { details: String::new(), ..image(None, None) };
    assert_eq!(made_from(&without), MadeFrom::Untold);
}

#[test]
fn a_step_starts_from_the_image_that_its_parent_has_or_has_just_got() {
    let parent = record("w", "ami-parent", "ami-root", None);
    let wrong = Decision::Broken(vec![Diagnostic::new("its file is wrong")]);
    let plan = plan(vec![
        planned("s", None, Some(parent)),
        planned("child", Some("s"), None),
        planned("grandchild", Some("child"), None),
        PlannedStep { decision: wrong, ..planned("broken", None, None) },
    ]);
    let nothing = |_: &StepId| None;
    let id = |step: &str, parents: &dyn Fn(&StepId) -> Option<SourceImage>| {
        let started = starts_from(&plan, &StepId::new(step), parents);
        started.map(|(_, source)| source.id.to_string()).map_err(|why| why.message)
    };
    assert_eq!(id("s", &nothing).unwrap(), "ami-root");
    assert_eq!(id("child", &nothing).unwrap(), "ami-parent");
    assert_eq!(id("child", &|_| Some(source("ami-just"))).unwrap(), "ami-just");
    assert!(id("grandchild", &nothing).unwrap_err().contains("parent child has no image yet"));
    assert_eq!(id("broken", &nothing).unwrap_err(), "its file is wrong");
    assert!(id("nowhere", &nothing).unwrap_err().contains("has no step nowhere"));
}
