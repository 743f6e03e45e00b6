//! For tests: random histories of builds, adoptions, images that people make, uses and deletions, as
//! the rules allow them, and what holds after each of their moments.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, RequestId, StepId, WorkflowId};
use reconciler_model::images::{Image, ImageState};
use reconciler_model::inventory::journal::{BuildEvent, Deleted, Maker, Stage};
use reconciler_model::inventory::record::RecordHead;
use reconciler_model::inventory::reservation::Reservation;
use reconciler_model::inventory::{Heads, Many};
use reconciler_model::uses::{ImageUser, Look, Sightings, Unread, UserKind, Uses};

use super::deletion::{Deletion, DeletionQuestion};
use super::lineage::Lineage;
use super::lineage::tests::{build, record};
use super::reserving::{ReserveQuestion, first_reserved, may_reserve};

const ROOT: &str = "ami-root";

/// Each step stands on the one before it.
const STEPS: [&str; 3] = ["a", "b", "c"];

/// Something that happens. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Moment {
    Build(usize),
    Manual(usize),
    Adopt(usize, usize),
    Use(usize),
    EndUse(usize),
    LookFails(bool),
    /// A person has images reserved.
    Reserve(Vec<usize>),
    /// The person's process goes on, after whatever happened meanwhile.
    Delete,
    /// It dies.
    Die,
    Minutes(i64),
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Moment::Build),
        1 => (0..3_usize).prop_map(Moment::Manual),
        2 => (0..3_usize, any::<usize>()).prop_map(|(step, image)| Moment::Adopt(step, image)),
        1 => any::<usize>().prop_map(Moment::Use),
        1 => any::<usize>().prop_map(Moment::EndUse),
        1 => any::<bool>().prop_map(Moment::LookFails),
        4 => prop::collection::vec(any::<usize>(), 1..4).prop_map(Moment::Reserve),
        4 => Just(Moment::Delete),
        1 => Just(Moment::Die),
        1 => (1..90_i64).prop_map(Moment::Minutes),
    ]
}

struct World {
    now: Timestamp,
    records: BTreeMap<&'static str, RecordHead>,
    /// One build after the other.
    events: Vec<BuildEvent>,
    images: BTreeMap<AmiId, Image>,
    used: BTreeSet<AmiId>,
    look_fails: bool,
    reservations: Vec<Reservation>,
    /// What a person's process is about to delete.
    deleting: Option<RequestId>,
    ever_recorded: BTreeSet<AmiId>,
    made: usize,
}

impl World {
    fn new() -> Self {
        Self {
            now: "2026-11-25T00:00:00Z".parse().unwrap(),
            records: BTreeMap::new(),
            events: Vec::new(),
            images: BTreeMap::new(),
            used: BTreeSet::new(),
            look_fails: false,
            reservations: Vec::new(),
            deleting: None,
            ever_recorded: BTreeSet::new(),
            made: 0,
        }
    }

    fn lineage(&self) -> Lineage {
        Lineage::new(self.records.values(), &self.events)
    }

    /// The image that a step is built on; none while its parent has none.
    fn source(&self, step: usize) -> Option<AmiId> {
        match step.checked_sub(1) {
            None => Some(AmiId::new(ROOT)),
            Some(parent) => self.records.get(STEPS[parent]).map(|record| record.ami_id.clone()),
        }
    }

    fn is_reserved(&self, images: &[&AmiId]) -> bool {
        let images = images.iter().copied().collect();
        first_reserved(&self.reservations, &images, self.now).is_some()
    }

    fn chosen(&self, number: usize) -> Option<AmiId> {
        let count = self.images.len();
        (count > 0).then(|| self.images.keys().nth(number % count).unwrap().clone())
    }

    fn make(&mut self, step: usize, maker: &Maker) {
        let Some(source) = self.source(step).filter(|source| !self.is_reserved(&[source])) else {
            return;
        };
        self.made += 1;
        let image = AmiId::new(format!("ami-{}", self.made));
        let seen = Image {
            id: image.clone(),
            name: AmiName::new(image.as_str()),
            state: ImageState::Available,
            owner_id: "1".into(),
            created_at: self.now,
            tags: BTreeMap::new(),
            snapshots: vec![],
            details: String::new(),
        };
        self.images.insert(image.clone(), seen);
        self.record(step, &image, &source, maker);
    }

    /// The journal tells of an image, and it is the current one from here on.
    fn record(&mut self, step: usize, image: &AmiId, source: &AmiId, maker: &Maker) {
        let id = format!("{:04}", self.events.len());
        let mut events = build(&id, STEPS[step], image.as_str(), source.as_str());
        if let Some(Stage::Intent(intent)) = events.last_mut().map(|event| &mut event.stage) {
            intent.maker = maker.clone();
        }
        self.events.extend(events);
        let head = record("wf", STEPS[step], image.as_str(), source.as_str());
        self.records.insert(STEPS[step], head);
        self.ever_recorded.insert(image.clone());
    }

    fn adopt(&mut self, step: usize, number: usize) {
        let Some((image, source)) = self.chosen(number).zip(self.source(step)) else {
            return;
        };
        let stands_on_parent = self.lineage().of(&image).any(|made| made.source == source);
        if stands_on_parent && !self.is_reserved(&[&image, &source]) {
            self.record(step, &image, &source, &Maker::Adopted { by: "ada@desk".into() });
        }
    }

    fn uses(&self, asked: &BTreeSet<AmiId>) -> Uses {
        let mut uses = Uses::nobody_looked(asked.iter().cloned());
        for look in Look::ALL {
            uses.saw(look, Sightings::default());
        }
        let mut seen = Sightings::default();
        for image in &self.used {
            seen.add(image, ImageUser::new(UserKind::Instance, "i-1"));
        }
        // What the look would have shown is not known then.
        let failed = || Sightings::failed(Unread::because("denied"));
        uses.saw(Look::References, if self.look_fails { failed() } else { seen });
        uses.saw_own(Ok(asked.clone()));
        uses
    }

    fn decide(&self, asked: &BTreeSet<AmiId>) -> Deletion {
        DeletionQuestion {
            asked,
            run: None,
            in_git: &[WorkflowId::new("wf")].into(),
            lineage: &self.lineage(),
            sources: &BTreeSet::new(),
            images: &self.images,
            uses: &self.uses(asked),
        }
        .decide()
    }

    fn reserve(&mut self, numbers: &[usize]) {
        let asked: BTreeSet<_> = numbers.iter().filter_map(|number| self.chosen(*number)).collect();
        let decided = self.decide(&asked);
        if self.deleting.is_some() || !decided.refused.is_empty() || decided.allowed.is_empty() {
            return;
        }
        let heads = Heads { records: self.records.values().cloned().collect(), ..Heads::default() };
        let granted = may_reserve(&ReserveQuestion {
            workflow: &WorkflowId::new("wf"),
            images: &decided.allowed,
            run: false,
            heads: &heads,
            attempts: &Many::default(),
            reservations: &self.reservations,
            seen: &self.images,
            plan: None,
            now: self.now,
        });
        if granted.is_ok() {
            let id = RequestId::generate();
            self.deleting = Some(id.clone());
            self.reservations.push(Reservation {
                workflow_id: WorkflowId::new("wf"),
                id,
                by: "ada@desk".into(),
                at: self.now,
                images: decided.allowed,
                run: false,
            });
        }
    }

    /// What is reserved goes, if it may still.
    fn delete(&mut self) {
        let Some(id) = self.deleting.take() else {
            return;
        };
        let place = self.reservations.iter().position(|one| one.id == id).unwrap();
        let reservation = self.reservations.remove(place);
        if reservation.has_ended(self.now) {
            return;
        }
        let asked = reservation.images.iter().cloned().collect();
        let decided = self.decide(&asked);
        if !decided.refused.is_empty() {
            return;
        }
        for image in decided.allowed {
            self.images.remove(&image).unwrap();
            self.events.push(BuildEvent {
                workflow_id: WorkflowId::new("wf"),
                step_id: StepId::new("a"),
                build_id: BuildId::new(format!("{:04}", self.events.len())),
                seq: 0,
                at: self.now,
                stage: Stage::Deleted(Deleted {
                    ami_name: AmiName::new(image.as_str()),
                    ami_id: image,
                    region: Region::new("us-east-1"),
                    snapshots: vec![],
                    by: "ada@desk".into(),
                    fence: 1,
                }),
            });
        }
        let again = self.decide(&asked);
        assert_eq!(again.gone, asked, "a deletion done twice is nothing");
        assert!(again.allowed.is_empty() && again.refused.is_empty(), "{again:?}");
    }

    fn happens(&mut self, moment: &Moment) {
        match moment {
            Moment::Build(step) => self.make(*step, &Maker::Packer),
            Moment::Manual(step) => {
                let (id, stopped) = ("i-1".to_owned(), "User initiated".to_owned());
                self.make(*step, &Maker::Instance { id, stopped, by: "ada@desk".into() });
            }
            Moment::Adopt(step, image) => self.adopt(*step, *image),
            Moment::Use(image) => self.used.extend(self.chosen(*image)),
            Moment::EndUse(image) => {
                if let Some(image) = self.chosen(*image) {
                    self.used.remove(&image);
                }
            }
            Moment::LookFails(fails) => self.look_fails = *fails,
            Moment::Reserve(images) => self.reserve(images),
            Moment::Delete => self.delete(),
            Moment::Die => self.deleting = None,
            Moment::Minutes(minutes) => self.now += SignedDuration::from_mins(*minutes),
        }
    }

    fn holds(&self) {
        for (step, record) in &self.records {
            assert!(self.images.contains_key(&record.ami_id), "{step} has lost {}", record.ami_id);
        }
        for image in &self.used {
            assert!(self.images.contains_key(image), "{image} is referred to and gone");
        }
        let lineage = self.lineage();
        let listed: BTreeSet<_> = lineage.images().cloned().collect();
        assert!(listed.is_superset(&self.ever_recorded), "{listed:?}");
        for image in self.images.keys() {
            for made in lineage.of(image).filter(|made| made.source.as_str() != ROOT) {
                assert!(self.images.contains_key(&made.source), "{image} has lost its source");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_image_goes_that_is_needed_and_none_is_forgotten(
        history in prop::collection::vec(moment(), 1..60),
    ) {
        let mut world = World::new();
        for moment in &history {
            world.happens(moment);
            world.holds();
        }
    }
}

/// The histories above come to deletions: without them they would show nothing.
#[test]
fn an_earlier_image_goes_and_a_reserved_one_is_not_adopted() {
    let mut world = World::new();
    for moment in [Moment::Build(0), Moment::Build(0), Moment::Reserve(vec![0])] {
        world.happens(&moment);
    }
    world.happens(&Moment::Adopt(0, 0));
    assert_eq!(world.records["a"].ami_id, AmiId::new("ami-2"));
    world.happens(&Moment::Delete);
    assert_eq!(world.images.keys().map(AmiId::as_str).collect::<Vec<_>>(), ["ami-2"]);
    world.holds();
}
