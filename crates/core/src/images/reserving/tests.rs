use jiff::SignedDuration;

use super::*;
use crate::images::lineage::tests::{build, record};
use reconciler_model::ids::{AmiName, RequestId, StepId};
use reconciler_model::images::ImageState;
use reconciler_model::inventory::Malformed;

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn id(text: &str) -> AmiId {
    AmiId::new(text)
}

/// A workflow whose step `a` has `ami-a2` now and had `ami-a1`, and whose images EC2 shows.
struct Known {
    heads: Heads,
    attempts: Many<Attempt>,
    reservations: Vec<Reservation>,
    run: bool,
}

impl Known {
    fn new() -> Self {
        let records = vec![record("wf", "a", "ami-a2", "ami-root")];
        let heads = Heads { records, ..Heads::default() };
        Self { heads, attempts: Many::default(), reservations: Vec::new(), run: false }
    }

    /// What keeps these images from being reserved.
    fn words(&self, images: &[&str]) -> Option<String> {
        let images: Vec<AmiId> = images.iter().map(|one| id(one)).collect();
        let image = |id: &AmiId| Image {
            id: id.clone(),
            name: AmiName::new(format!("name of {id}")),
            state: ImageState::Available,
            owner_id: "1".into(),
            created_at: Timestamp::UNIX_EPOCH,
            tags: BTreeMap::new(),
            snapshots: vec![],
            details: String::new(),
        };
        let seen = images.iter().map(|id| (id.clone(), image(id))).collect();
        let refused = may_reserve(&ReserveQuestion {
            workflow: &WorkflowId::new("wf"),
            images: &images,
            run: self.run,
            heads: &self.heads,
            attempts: &self.attempts,
            reservations: &self.reservations,
            seen: &seen,
            plan: None,
            now: now(),
        });
        refused.err().map(|why| why.one_line())
    }

    fn with_build(mut self, image: &str, source: &str, change: impl Fn(&mut Attempt)) -> Self {
        let events = build("1", "b", image, source);
        let mut attempt = Attempt::begin(events.last().unwrap()).unwrap();
        change(&mut attempt);
        self.attempts.sound.push(attempt);
        self
    }

    fn reserved(mut self, minutes_ago: i64) -> Self {
        self.reservations.push(Reservation {
            workflow_id: WorkflowId::new("wf"),
            id: RequestId::generate(),
            by: "ada@desk".into(),
            at: now() - SignedDuration::from_mins(minutes_ago),
            images: vec![id("ami-a1")],
            run: false,
        });
        self
    }
}

#[test]
fn an_earlier_image_may_be_reserved_and_a_current_one_may_not() {
    assert_eq!(Known::new().words(&["ami-a1"]), None);
    let refused = Known::new().words(&["ami-a1", "ami-a2"]).unwrap();
    assert!(refused.contains("ami-a2 is the current image of step a"), "{refused}");
}

#[test]
fn what_is_reserved_is_not_reserved_again_until_that_ends() {
    let refused = Known::new().reserved(59).words(&["ami-a1"]).unwrap();
    assert!(refused.contains("reserved for deletion by ada@desk"), "{refused}");
    assert_eq!(Known::new().reserved(59).words(&["ami-a0"]), None, "another image");
    assert_eq!(Known::new().reserved(60).words(&["ami-a1"]), None, "an hour later");
}

#[test]
fn what_a_build_needs_that_is_not_settled_is_not_reserved() {
    let starts = Known::new().with_build("ami-b", "ami-a1", |_| {});
    assert!(starts.words(&["ami-a1"]).unwrap().contains("is not settled"));
    assert_eq!(starts.words(&["ami-a0"]), None);
    let makes = Known::new().with_build("ami-b", "ami-0", |one| one.ami_id = Some(id("ami-a1")));
    assert!(makes.words(&["ami-a1"]).is_some());
    let takes_over = Known::new().with_build("ami-b", "ami-0", |one| {
        one.intent.ami_name = AmiName::new("name of ami-a1");
    });
    assert!(takes_over.words(&["ami-a1"]).is_some());
    let settled = Known::new().with_build("ami-b", "ami-a1", |one| {
        one.progress =
            reconciler_model::inventory::journal::Progress::Recorded { build_seconds: 1 };
        one.cleaned = true;
    });
    assert_eq!(settled.words(&["ami-a1"]), None);
}

#[test]
fn what_cannot_be_read_is_in_the_way() {
    let mut known = Known::new();
    known.heads.malformed.push((StepId::new("c"), "no text".into()));
    assert!(known.words(&["ami-a1"]).unwrap().contains("cannot be read"));
    let mut known = Known::new();
    let key = "wf: @step/c".to_owned();
    known.attempts.malformed.push(Malformed { step: None, key, detail: "no JSON".into() });
    assert!(known.words(&["ami-a1"]).unwrap().contains("cannot be read"));
}

#[test]
fn a_run_goes_whole_with_what_its_records_name_and_while_nothing_is_under_way() {
    let mut known = Known::new();
    known.run = true;
    assert_eq!(known.words(&["ami-a1", "ami-a2"]), None);
    let refused = known.words(&["ami-a1"]).unwrap();
    assert!(refused.contains("names ami-a2 by now"), "{refused}");
    let mut known = Known::new().with_build("ami-b", "ami-0", |_| {});
    known.run = true;
    assert!(known.words(&["ami-a1", "ami-a2"]).unwrap().contains("is not settled"));
}
