//! Each decision reached by a scripted observation, without a server or a file.

use std::time::Duration;

use proptest::prelude::*;

use crate::images::tags::of_earlier_run;
use crate::plan::names::Hindrance;
use crate::plan::planner::*;
use reconciler_model::ids::{BuildId, Region, Revision};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::journal::{Failure, Intent};

/// Fingerprints by step and source image; a step of `wrong` cannot be rendered.
#[derive(Default)]
struct Scripted {
    wrong: BTreeSet<StepId>,
    salt: HashMap<StepId, u32>,
    /// The steps whose fingerprint was asked for.
    asked: Vec<StepId>,
}

impl Scripted {
    fn of(&self, step: &StepId, source: &str) -> Fingerprint {
        let salt = self.salt.get(step).copied().unwrap_or(0);
        Digest::of(format!("{step} {source} {salt}").as_bytes()).into()
    }
}

impl Desires for Scripted {
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>> {
        self.asked.push(step.id.clone());
        if self.wrong.contains(&step.id) {
            return Err(vec![Diagnostic::new("cannot be rendered")]);
        }
        Ok(self.of(&step.id, source.id.as_str()))
    }

    fn components(&mut self, _: &Outline, _: &SourceImage) -> Result<Components, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    fn ami_name(
        &mut self,
        step: &Outline,
        _: &Fingerprint,
        rebuild: u32,
    ) -> Result<AmiName, Diagnostic> {
        Ok(AmiName::new(format!("{}-r{rebuild}", step.id)))
    }

    fn lacks(&mut self, _: &Outline, _: &SourceImage, image: &Image) -> Option<String> {
        image.tags.contains_key("part").then(|| "tags".to_owned())
    }

    fn rebuild_of(&mut self, _: &Outline, _: &Fingerprint, _: &AmiName) -> Option<u32> {
        Some(0)
    }
}

/// A world that tests change before they plan it.
struct World {
    workflow: WorkflowId,
    steps: Vec<Outline>,
    base: SourceImage,
    records: HashMap<StepId, Arc<RecordHead>>,
    images: BTreeMap<AmiId, Image>,
    attempts: BTreeMap<StepId, Attempt>,
    forced: BTreeSet<StepId>,
    tried: Option<BTreeSet<BuildId>>,
    desires: Scripted,
    names: Names,
    aws_tags: BTreeMap<String, String>,
}

impl World {
    /// A chain of steps `s0`, `s1`…, each built and in sync.
    fn in_sync(length: usize) -> Self {
        let mut world = Self {
            workflow: WorkflowId::new("w"),
            steps: Vec::new(),
            base: SourceImage { id: AmiId::new("ami-base"), name: AmiName::new("base") },
            records: HashMap::new(),
            images: BTreeMap::new(),
            attempts: BTreeMap::new(),
            forced: BTreeSet::new(),
            tried: None,
            desires: Scripted::default(),
            names: Names::default(),
            aws_tags: BTreeMap::new(),
        };
        for number in 0..length {
            world.add(number);
        }
        world
    }

    fn add(&mut self, number: usize) {
        let id = StepId::new(format!("s{number}"));
        let parent = number.checked_sub(1).map(|before| StepId::new(format!("s{before}")));
        let source = parent
            .as_ref()
            .map_or(self.base.id.clone(), |parent| self.records[parent].ami_id.clone());
        let ami_id = AmiId::new(format!("ami-{number}"));
        let mut head = RecordHead {
            workflow_id: self.workflow.clone(),
            step_id: id.clone(),
            ami_id: ami_id.clone(),
            ami_name: AmiName::new(format!("{id}-r0")),
            create_at: Timestamp::UNIX_EPOCH,
            base_ami_id: source.clone(),
            base_ami_name: AmiName::new("x"),
            root_base_ami_id: self.base.id.clone(),
            root_base_ami_name: self.base.name.clone(),
            built: None,
        };
        let mut built = Built {
            fingerprint: self.desires.of(&id, source.as_str()),
            build_id: BuildId::new("b"),
            revision: Revision::new("r"),
            region: Region::new("us-east-1"),
            tags: BTreeMap::new().into(),
            metadata_digest: Digest::of(b"m"),
            build_seconds: 1,
            build_times: BuildTimes::default().with(1),
            recorded_at: Timestamp::UNIX_EPOCH,
            fence: 1,
        };
        let tags = ImageTags::of_record(&head, &built, &self.aws_tags).tags();
        built.tags = tags.clone().into();
        head.built = Some(built);
        self.images.insert(
            ami_id.clone(),
            Image {
                id: ami_id,
                name: head.ami_name.clone(),
                state: ImageState::Available,
                owner_id: "1".into(),
                created_at: Timestamp::UNIX_EPOCH,
                tags,
                snapshots: Vec::new(),
                details: String::new(),
            },
        );
        self.records.insert(id.clone(), Arc::new(head));
        self.steps.push(Outline {
            id,
            folder: "f".into(),
            parent,
            manual: false,
            suspend: false,
            metadata_digest: Digest::of(b"m"),
        });
    }

    fn failed(&mut self, step: &str, class: FailureClass, retry_at: Option<Timestamp>) {
        let id = StepId::new(step);
        let source =
            self.steps.iter().find(|other| other.id == id).and_then(|other| other.parent.clone());
        let source =
            source.map_or(self.base.id.clone(), |parent| self.records[&parent].ami_id.clone());
        let failure = Failure {
            class,
            cause: "it broke".into(),
            details: String::new(),
            log: None,
            phases: vec![],
            changed: String::new(),
            retry_at,
        };
        let intent = Intent {
            fingerprint: self.desires.of(&id, source.as_str()),
            ami_name: AmiName::new("n"),
            revision: Revision::new("r"),
            source_ami: source,
            region: Region::new("us-east-1"),
            host: "h".into(),
            prepared_by: None,
            reach: reconciler_model::inventory::journal::Reach::default(),
            afterwards: reconciler_model::afterwards::PostImageSteps::default(),
            maker: reconciler_model::inventory::journal::Maker::Packer,
            deadline: Timestamp::UNIX_EPOCH,
            fence: 1,
            attempt: 2,
            promise: None,
        };
        let attempt = Attempt {
            step_id: id.clone(),
            build_id: BuildId::new("b2"),
            intent,
            started_at: Timestamp::UNIX_EPOCH,
            seq: 2,
            updated_at: Timestamp::UNIX_EPOCH,
            progress: Progress::Failed(failure),
            ami_id: None,
            cleaned: true,
            cancel_requested: None,
            retry_requested: None,
        };
        self.attempts.insert(id, attempt);
    }

    fn change(&mut self, step: &str) {
        self.desires.salt.insert(StepId::new(step), 1);
    }

    fn plan(&mut self) -> Vec<Decision> {
        let seen = Observation {
            workflow_id: &self.workflow,
            revision: &Revision::new("other"),
            steps: &self.steps,
            broken: &BTreeMap::new(),
            root_base: &self.base,
            base_unusable: None,
            aws_tags: &self.aws_tags,
            records: &self.records,
            images: Some(&self.images),
            attempts: &self.attempts,
            forced: &self.forced,
            tried: self.tried.as_ref(),
            now: Timestamp::UNIX_EPOCH + Duration::from_secs(100),
        };
        let mut planner = Planner::new(seen);
        planner.answers.names = self.names.clone();
        loop {
            let Questions { names, components, repetitions } = planner.decide(&mut self.desires);
            if names.is_empty() && components.is_empty() && repetitions.is_empty() {
                return planner.into_steps().into_iter().map(|step| step.decision).collect();
            }
            let answers = &mut planner.answers;
            answers.names.asked.extend(names.into_iter().map(|name| (name, None)));
            answers.components.extend(components.into_iter().map(|step| (step, None)));
            let steps = repetitions.into_iter().map(|repetition| (repetition.step, None));
            answers.repetitions.extend(steps);
        }
    }
}

fn is_after(decision: &Decision, parent: &str) -> bool {
    matches!(decision, Decision::Build(Build { source: BuildSource::AfterBuild(id), .. }) if id.as_str() == parent)
}

fn reasons_of(decision: &Decision) -> &[Reason] {
    match decision {
        Decision::Build(build) => &build.reasons,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_as_git_says_is_left_alone() {
    assert!(World::in_sync(3).plan().iter().all(|decision| *decision == Decision::InSync));
}

#[test]
fn a_changed_step_is_built_and_its_descendants_after_it() {
    let mut world = World::in_sync(4);
    world.change("s1");
    let plan = world.plan();
    assert_eq!(plan[0], Decision::InSync);
    assert_eq!(reasons_of(&plan[1]), [Reason::InputsChanged]);
    assert!(is_after(&plan[2], "s1") && is_after(&plan[3], "s2"));
}

#[test]
fn an_image_that_is_gone_or_unusable_is_built_again() {
    let mut world = World::in_sync(1);
    world.images.clear();
    assert_eq!(reasons_of(&world.plan()[0]), [Reason::ImageGone { ami_id: AmiId::new("ami-0") }]);
    // EC2 shows a deregistered image for a while: its name is free already.
    let shown = |state: ImageState| {
        let mut world = World::in_sync(1);
        world.images.values_mut().for_each(|image| image.state = state.clone());
        world.plan().remove(0)
    };
    let deregistered = shown(ImageState::Other("deregistered".into()));
    assert!(matches!(reasons_of(&deregistered), [Reason::ImageGone { .. }]), "{deregistered:?}");
    let invalid = shown(ImageState::Other("invalid".into()));
    assert!(matches!(reasons_of(&invalid), [Reason::ImageUnusable { .. }]), "{invalid:?}");
    let mut world = World::in_sync(1);
    world.images.values_mut().for_each(|image| image.state = ImageState::Failed("disk".into()));
    assert!(matches!(reasons_of(&world.plan()[0]), [Reason::ImageUnusable { .. }]));
}

#[test]
fn a_disabled_image_is_not_built_again_until_an_input_changes_or_a_person_asks() {
    let disabled = |world: &mut World| {
        let state = ImageState::Other("disabled".into());
        world.images.get_mut(&AmiId::new("ami-0")).unwrap().state = state;
    };
    let mut world = World::in_sync(3);
    disabled(&mut world);
    let plan = world.plan();
    let Decision::Stopped(stopped) = &plan[0] else { panic!("{plan:?}") };
    assert!(stopped.is_current && stopped.image.as_str() == "ami-0");
    let Decision::Blocked(blocked) = &plan[2] else { panic!("{plan:?}") };
    assert!(blocked.root.waits_for_a_person && blocked.root.step.as_str() == "s0");
    world.forced.insert(StepId::new("s0"));
    assert!(matches!(&world.plan()[0], Decision::Build(_)), "a person asks");
    world.forced.clear();
    world.change("s0");
    assert_eq!(reasons_of(&world.plan()[0])[0], Reason::InputsChanged);
    let mut world = World::in_sync(1);
    disabled(&mut world);
    for record in world.records.values_mut() {
        let mut head = RecordHead::clone(record);
        head.built = None;
        *record = Arc::new(head);
    }
    assert!(matches!(&world.plan()[0], Decision::Stopped(_)), "of the Python library");
}

#[test]
fn tags_are_put_back_without_a_build_and_those_of_others_stay() {
    let mut world = World::in_sync(1);
    for image in world.images.values_mut() {
        image.tags.remove("Name");
        image.tags.insert("theirs".into(), "x".into());
    }
    let Decision::Update(update) = &world.plan()[0] else { panic!() };
    let change = update.tags.as_ref().unwrap();
    assert_eq!((change.set.len(), change.remove.len()), (1, 0));
    assert!(!update.metadata);
}

/// Of an earlier run, say, whose image this run has adopted.
#[test]
fn tags_of_another_run_are_left_alone_whatever_git_wants_on_its_own_images() {
    let mut world = World::in_sync(2);
    let first = StepId::new("s0");
    let mut head = RecordHead::clone(&world.records[&first]);
    let earlier = RecordHead { workflow_id: WorkflowId::new("w-0"), ..head.clone() };
    head.built.as_mut().unwrap().tags = of_earlier_run(&RecordHead { built: None, ..earlier });
    world.records.insert(first, Arc::new(head));
    world.aws_tags.insert("team".into(), "ops".into());
    let plan = world.plan();
    assert_eq!(plan[0], Decision::InSync);
    let Decision::Update(own) = &plan[1] else { panic!("{:?}", plan[1]) };
    assert_eq!(own.tags.as_ref().unwrap().set.len(), 1);
    world.steps[0].metadata_digest = Digest::of(b"other");
    let Decision::Update(update) = &world.plan()[0] else { panic!() };
    let other = BTreeMap::from([("reconciler:workflow-id".to_owned(), "w-0".to_owned())]);
    assert_eq!((&update.tags, update.metadata, &update.all_tags), (&None, true, &other));
}

#[test]
fn a_steps_own_failure_is_quarantined_until_an_input_changes() {
    let mut world = World::in_sync(2);
    world.records.clear();
    world.failed_first(FailureClass::Step);
    let plan = world.plan();
    assert!(matches!(plan[0], Decision::Quarantined(_)));
    assert!(matches!(&plan[1], Decision::Blocked(blocked) if blocked.on.as_str() == "s0"));
    world.change("s0");
    assert!(matches!(world.plan()[0], Decision::Build(_)));
}

#[test]
fn a_failure_that_a_wrong_clock_wrote_down_is_not_waited_for() {
    let mut world = World::in_sync(1);
    world.records.clear();
    let ahead = Timestamp::UNIX_EPOCH + Duration::from_hours(10);
    let later = ahead + Duration::from_secs(200);
    world.failed("s0", FailureClass::Transient, Some(later));
    let attempt = world.attempts.get_mut("s0").unwrap();
    attempt.updated_at = ahead;
    assert!(matches!(world.plan()[0], Decision::Build(_)));
    world.failed("s0", FailureClass::Step, None);
    let attempt = world.attempts.get_mut("s0").unwrap();
    attempt.updated_at = ahead;
    assert!(matches!(world.plan()[0], Decision::Quarantined(_)));
}

#[test]
fn a_transient_failure_waits_for_its_time_and_is_then_tried_again() {
    let mut world = World::in_sync(1);
    world.records.clear();
    let later = Timestamp::UNIX_EPOCH + Duration::from_secs(200);
    world.failed("s0", FailureClass::Transient, Some(later));
    assert!(matches!(world.plan()[0], Decision::BackingOff { until, .. } if until == later));
    world.failed("s0", FailureClass::Transient, Some(Timestamp::UNIX_EPOCH));
    let plan = world.plan();
    assert!(
        matches!(
            &plan[0],
            Decision::Build(Build { source: BuildSource::Known { attempt: 3, .. }, .. })
        ),
        "{plan:?}"
    );
}

#[test]
fn a_record_of_the_library_is_unverified_and_blocks_its_descendants() {
    let mut world = World::in_sync(2);
    Arc::make_mut(world.records.get_mut("s0").unwrap()).built = None;
    let plan = world.plan();
    assert_eq!(plan[0], Decision::Unverified);
    assert!(matches!(&plan[1], Decision::Blocked(_)));
}

#[test]
fn a_suspended_step_is_left_alone_and_its_image_serves() {
    let mut world = World::in_sync(2);
    world.steps[0].suspend = true;
    world.change("s0");
    assert_eq!(world.plan(), [Decision::Suspended, Decision::InSync]);
}

#[test]
fn a_manual_step_waits_for_a_person() {
    let mut world = World::in_sync(2);
    world.steps[0].manual = true;
    world.change("s0");
    let plan = world.plan();
    assert!(matches!(plan[0], Decision::AwaitingManual(_)));
    assert!(matches!(plan[1], Decision::Blocked(_)));
}

#[test]
fn what_a_person_asks_for_is_built_under_a_name_of_its_own() {
    let mut world = World::in_sync(1);
    world.forced.insert(StepId::new("s0"));
    let plan = world.plan();
    assert_eq!(reasons_of(&plan[0]), [Reason::Forced]);
    assert!(
        matches!(&plan[0], Decision::Build(Build { source: BuildSource::Known { ami_name, .. }, .. }) if ami_name.as_str() == "s0-r1")
    );
}

#[test]
fn a_step_that_cannot_be_rendered_is_broken_and_stops_its_descendants_only() {
    let mut world = World::in_sync(3);
    world.desires.wrong.insert(StepId::new("s1"));
    let plan = world.plan();
    assert_eq!(plan[0], Decision::InSync);
    assert!(matches!(plan[1], Decision::Broken(_)));
    assert!(matches!(plan[2], Decision::Blocked(_)));
}

impl World {
    fn failed_first(&mut self, class: FailureClass) {
        self.failed("s0", class, None);
    }
}

/// An image that bears a name, made for a step's desired state on a source image.
fn image_for(world: &World, step: &str, source: &str, name: &str, state: ImageState) -> Image {
    let fingerprint = world.desires.of(&StepId::new(step), source);
    let tag = ("reconciler:fingerprint".to_owned(), fingerprint.to_string());
    Image {
        id: AmiId::new(format!("ami-{name}")),
        name: AmiName::new(name),
        state,
        owner_id: "1".into(),
        created_at: Timestamp::UNIX_EPOCH,
        tags: BTreeMap::from([tag]),
        snapshots: Vec::new(),
        details: String::new(),
    }
}

impl World {
    /// EC2 was asked for the first three names of every step, and these hold some of them.
    fn asked(&mut self, found: impl IntoIterator<Item = Image>) {
        let names = self
            .steps
            .iter()
            .flat_map(|step| (0..3).map(|number| AmiName::new(format!("{}-r{number}", step.id))));
        self.names.asked = names.map(|name| (name, None)).collect();
        let found = found.into_iter().map(|image| (image.name.clone(), Some(image)));
        self.names.asked.extend(found);
    }
}

#[test]
fn a_wanted_image_that_exists_is_taken_over_and_its_descendants_are_planned_on_it() {
    let mut world = World::in_sync(3);
    world.change("s0");
    let first = image_for(&world, "s0", "ami-base", "s0-r0", ImageState::Available);
    let second = image_for(&world, "s1", "ami-s0-r0", "s1-r0", ImageState::Available);
    world.asked([first, second]);
    let plan = world.plan();
    for (at, parent) in [(0, "ami-base"), (1, "ami-s0-r0")] {
        let Decision::TakeOver(taken) = &plan[at] else { panic!("{plan:?}") };
        assert_eq!(taken.image.as_str(), format!("ami-s{at}-r0"));
        assert_eq!(taken.source.id.as_str(), parent);
    }
    let Decision::Build(Build { source: BuildSource::Known { source, .. }, .. }) = &plan[2] else {
        panic!("{plan:?}")
    };
    assert_eq!(source.id.as_str(), "ami-s1-r0", "its source is known already");
}

#[test]
fn every_state_and_every_maker_of_an_image_that_has_the_wanted_name_has_its_decision() {
    let other = |state: &str| ImageState::Other(state.to_owned());
    let failed = ImageState::Failed("no space".into());
    let states = [
        (ImageState::Available, "take over"),
        (ImageState::Pending, "take over later"),
        (other("disabled"), "disabled"),
        (failed.clone(), "failed: no space"),
        (other("error"), "error"),
        (other("invalid"), "invalid"),
    ];
    let said = |world: &mut World| match world.plan().remove(0) {
        Decision::TakeOver(taken) if taken.ready => "take over".to_owned(),
        Decision::TakeOver(_) => "take over later".to_owned(),
        Decision::Stopped(stopped) => {
            assert!(!stopped.is_current);
            "disabled".to_owned()
        }
        Decision::NameTaken(taken) => match taken.why {
            Hindrance::Unusable(state) => state,
            Hindrance::OfAnother => "of another".to_owned(),
        },
        Decision::Build(Build { source: BuildSource::Known { ami_name, .. }, .. }) => {
            format!("build {ami_name}")
        }
        other => format!("{other:?}"),
    };
    for (state, expected) in states {
        let mut world = World::in_sync(1);
        world.change("s0");
        let mut image = image_for(&world, "s0", "ami-base", "s0-r0", state.clone());
        world.asked([image.clone()]);
        assert_eq!(said(&mut world), expected);
        // A person who asks for a new image gets one, under a name that is free.
        world.forced.insert(StepId::new("s0"));
        assert_eq!(said(&mut world), "build s0-r1", "{state}");
        let next = image_for(&world, "s0", "ami-base", "s0-r1", other("disabled"));
        world.asked([image.clone(), next]);
        assert_eq!(said(&mut world), "build s0-r2", "{state}");
        world.forced.clear();
        // Whatever its state, it is somebody else's.
        for tags in [
            BTreeMap::new(),
            BTreeMap::from([("reconciler:fingerprint".to_owned(), "1a2b".to_owned())]),
        ] {
            image.tags = tags;
            world.asked([image.clone()]);
            assert_eq!(said(&mut world), "of another", "{state}");
        }
        // Unless a build made it that was given up, and made it whole.
        image.tags.clear();
        world.asked([image.clone()]);
        world.names.of_lost_builds.push(image.id.clone());
        assert_eq!(said(&mut world), expected, "of a lost build");
        image.tags.insert("part".into(), String::new());
        world.asked([image.clone()]);
        if matches!(state, ImageState::Available | ImageState::Pending) {
            assert_eq!(said(&mut world), "build s0-r0", "it is removed first");
        }
    }
}

#[test]
fn an_unusable_record_goes_on_to_the_next_name_and_takes_over_what_it_finds_there() {
    let mut world = World::in_sync(1);
    let disabled = ImageState::Other("disabled".into());
    let invalid = ImageState::Other("invalid".into());
    world.images.values_mut().for_each(|image| image.state = invalid.clone());
    let next = image_for(&world, "s0", "ami-base", "s0-r1", ImageState::Available);
    world.asked([next]);
    assert!(
        matches!(&world.plan()[0], Decision::TakeOver(taken) if taken.ami_name.as_str() == "s0-r1")
    );
    let next = image_for(&world, "s0", "ami-base", "s0-r1", disabled);
    world.asked([next]);
    assert!(
        matches!(&world.plan()[0], Decision::Build(Build { source: BuildSource::Known { ami_name, .. }, .. }) if ami_name.as_str() == "s0-r2")
    );
}

#[test]
fn only_a_step_whose_question_is_open_is_looked_at_again() {
    let mut world = World::in_sync(4);
    world.change("s1");
    let plan = world.plan();
    assert_eq!(plan[0], Decision::InSync);
    assert!(is_after(&plan[2], "s1") && is_after(&plan[3], "s2"));
    // s1 asks who holds its name, then what its record says.
    let asked: Vec<&str> = world.desires.asked.iter().map(StepId::as_str).collect();
    assert_eq!(asked, ["s0", "s1", "s1", "s1"]);
}

#[test]
fn names_are_asked_for_only_where_something_is_to_be_built_and_once() {
    let unasked = |world: &mut World| -> Vec<String> {
        let seen = Observation {
            workflow_id: &world.workflow,
            revision: &Revision::new("other"),
            steps: &world.steps,
            broken: &BTreeMap::new(),
            root_base: &world.base,
            base_unusable: None,
            aws_tags: &world.aws_tags,
            records: &world.records,
            images: Some(&world.images),
            attempts: &world.attempts,
            forced: &world.forced,
            tried: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let mut planner = Planner::new(seen);
        planner.answers.names = world.names.clone();
        let unasked = planner.decide(&mut world.desires).names;
        unasked.iter().map(ToString::to_string).collect()
    };
    let mut world = World::in_sync(3);
    assert_eq!(unasked(&mut world), Vec::<String>::new());
    world.change("s1");
    assert_eq!(unasked(&mut world), ["s1-r0"]);
    world.asked([]);
    assert_eq!(unasked(&mut world), Vec::<String>::new());
}

#[test]
fn what_waits_for_a_try_is_taken_over_once_its_image_is_there_and_what_is_quarantined_not() {
    let later = Some(Timestamp::UNIX_EPOCH + Duration::from_secs(200));
    for (class, taken) in [
        (FailureClass::Person, true),
        (FailureClass::Transient, true),
        (FailureClass::Step, false),
        (FailureClass::Cancelled, false),
    ] {
        let mut world = World::in_sync(1);
        world.records.clear();
        let when = later.filter(|_| class != FailureClass::Cancelled);
        world.failed("s0", class, when);
        let image = image_for(&world, "s0", "ami-base", "s0-r0", ImageState::Available);
        world.asked([]);
        assert!(!matches!(world.plan()[0], Decision::TakeOver(_) | Decision::Build(_)));
        world.asked([image]);
        let plan = world.plan();
        assert_eq!(matches!(plan[0], Decision::TakeOver(_)), taken, "{plan:?}");
        // What a failed build left holds its name until it is removed.
        world.attempts.get_mut("s0").unwrap().cleaned = false;
        assert!(!matches!(world.plan()[0], Decision::TakeOver(_) | Decision::NameTaken(_)));
    }
}

proptest! {
    #[test]
    fn a_plan_is_total_and_repeatable(length in 1usize..8, changed in proptest::collection::vec(0usize..8, 0..4), gone in proptest::collection::vec(0usize..8, 0..3)) {
        let mut world = World::in_sync(length);
        for step in changed {
            world.change(&format!("s{step}"));
        }
        for image in gone {
            world.images.remove(&AmiId::new(format!("ami-{image}")));
        }
        let plan = world.plan();
        prop_assert_eq!(plan.len(), length);
        prop_assert_eq!(&plan, &world.plan());
        let first = plan.iter().position(|decision| matches!(decision, Decision::Build(_)));
        if let Some(first) = first {
            prop_assert!(plan[first..].iter().all(|decision| matches!(decision, Decision::Build(_))));
            prop_assert!(plan[..first].iter().all(|decision| *decision == Decision::InSync));
        }
    }
}

#[test]
fn what_is_blocked_names_the_step_that_is_in_the_way_however_many_lie_between() {
    let mut world = World::in_sync(4);
    world.desires.wrong.insert(StepId::new("s0"));
    let plan = world.plan();
    assert!(matches!(plan[0], Decision::Broken(_)));
    for (at, decision) in plan.iter().enumerate().skip(1) {
        let Decision::Blocked(blocked) = decision else {
            panic!("{decision:?}");
        };
        assert_eq!(blocked.on.as_str(), format!("s{}", at - 1));
        assert_eq!(blocked.root.step.as_str(), "s0");
        assert_eq!((blocked.root.state, blocked.root.why), ("broken", "is broken"));
        assert!(!blocked.root.waits_for_a_person);
    }
}

#[test]
fn what_waits_for_a_person_is_told_from_what_has_failed_for_those_behind_it() {
    let mut world = World::in_sync(3);
    world.steps[0].manual = true;
    world.change("s0");
    let waits = |decision: &Decision| match decision {
        Decision::Blocked(blocked) => Some((blocked.root.state, blocked.root.waits_for_a_person)),
        _ => None,
    };
    let plan = world.plan();
    assert!(matches!(plan[0], Decision::AwaitingManual(_)));
    assert_eq!(waits(&plan[2]), Some(("awaiting-manual", true)));
    let mut world = World::in_sync(3);
    world.records.remove(&StepId::new("s0"));
    world.failed("s0", FailureClass::Step, None);
    assert_eq!(waits(&world.plan()[2]), Some(("quarantined", false)));
}

#[test]
fn a_command_tries_at_once_what_was_a_persons_turn_and_does_not_try_its_own_failure_again() {
    let later = Timestamp::UNIX_EPOCH + Duration::from_hours(1);
    let plan = |class, tried: Option<&[&str]>| {
        let mut world = World::in_sync(1);
        world.records.remove(&StepId::new("s0"));
        world.failed("s0", class, Some(later));
        world.tried = tried.map(|ids| ids.iter().map(BuildId::new).collect());
        world.plan().remove(0)
    };
    let builds = |decision: Decision| matches!(decision, Decision::Build(_));
    assert!(!builds(plan(FailureClass::Person, None)), "a daemon waits");
    assert!(builds(plan(FailureClass::Person, Some(&[]))));
    assert!(builds(plan(FailureClass::Person, Some(&["another"]))));
    assert!(!builds(plan(FailureClass::Person, Some(&["b2"]))), "its own");
    assert!(!builds(plan(FailureClass::Transient, Some(&[]))), "the wait is short");
}
