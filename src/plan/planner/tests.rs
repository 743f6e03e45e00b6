//! Each decision reached by a scripted observation, without a server or a file.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::{BuildId, Region, Revision};
use crate::inventory::journal::{Failure, Intent};

/// Fingerprints by step and source image; a step of `wrong` cannot be rendered.
#[derive(Default)]
struct Scripted {
    wrong: BTreeSet<StepId>,
    salt: HashMap<StepId, u32>,
}

impl Scripted {
    fn of(&self, step: &StepId, source: &str) -> Fingerprint {
        let salt = self.salt.get(step).copied().unwrap_or(0);
        Digest::of(format!("{step} {source} {salt}").as_bytes())
    }
}

impl Desires for Scripted {
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>> {
        if self.wrong.contains(&step.id) {
            return Err(vec![Diagnostic::new("cannot be rendered")]);
        }
        Ok(self.of(&step.id, source.id.as_str()))
    }

    fn components(&mut self, _: &Outline, _: &SourceImage) -> Result<Components, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    fn recorded_components(&mut self, _: &Outline) -> Option<Components> {
        None
    }

    fn ami_name(
        &mut self,
        step: &Outline,
        _: &Fingerprint,
        rebuild: u32,
    ) -> Result<AmiName, Diagnostic> {
        Ok(AmiName::new(format!("{}-r{rebuild}", step.id)))
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
    attempts: HashMap<StepId, Attempt>,
    forced: BTreeSet<StepId>,
    tried: Option<BTreeSet<BuildId>>,
    desires: Scripted,
    aws_tags: BTreeMap<String, String>,
}

impl World {
    /// A chain of steps `s0`, `s1`…, each built and in sync.
    fn in_sync(length: usize) -> Self {
        let mut world = Self {
            workflow: WorkflowId::new("w"),
            steps: Vec::new(),
            base: SourceImage {
                id: AmiId::new("ami-base"),
                name: AmiName::new("base"),
            },
            records: HashMap::new(),
            images: BTreeMap::new(),
            attempts: HashMap::new(),
            forced: BTreeSet::new(),
            tried: None,
            desires: Scripted::default(),
            aws_tags: BTreeMap::new(),
        };
        for number in 0..length {
            world.add(number);
        }
        world
    }

    fn add(&mut self, number: usize) {
        let id = StepId::new(format!("s{number}"));
        let parent = number
            .checked_sub(1)
            .map(|before| StepId::new(format!("s{before}")));
        let source = parent.as_ref().map_or(self.base.id.clone(), |parent| {
            self.records[parent].ami_id.clone()
        });
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
        let source = self
            .steps
            .iter()
            .find(|other| other.id == id)
            .and_then(|other| other.parent.clone());
        let source = source.map_or(self.base.id.clone(), |parent| {
            self.records[&parent].ami_id.clone()
        });
        let failure = Failure {
            class,
            cause: "it broke".into(),
            log: None,
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
            afterwards: crate::desired::hcl::Afterwards::default(),
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
            held: &HashMap::new(),
            now: Timestamp::UNIX_EPOCH + Duration::from_secs(100),
        };
        decide(&seen, &mut self.desires)
            .into_iter()
            .map(|step| step.decision)
            .collect()
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
    assert!(
        World::in_sync(3)
            .plan()
            .iter()
            .all(|decision| *decision == Decision::InSync)
    );
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
    assert_eq!(
        reasons_of(&world.plan()[0]),
        [Reason::ImageGone {
            ami_id: AmiId::new("ami-0")
        }]
    );
    // EC2 shows a deregistered image for a while: its name is free already.
    let shown = |state: ImageState| {
        let mut world = World::in_sync(1);
        world
            .images
            .values_mut()
            .for_each(|image| image.state = state.clone());
        world.plan().remove(0)
    };
    let deregistered = shown(ImageState::Other("deregistered".into()));
    assert!(
        matches!(reasons_of(&deregistered), [Reason::ImageGone { .. }]),
        "{deregistered:?}"
    );
    let disabled = shown(ImageState::Other("disabled".into()));
    assert!(
        matches!(reasons_of(&disabled), [Reason::ImageUnusable { .. }]),
        "{disabled:?}"
    );
    let mut world = World::in_sync(1);
    world
        .images
        .values_mut()
        .for_each(|image| image.state = ImageState::Failed("disk".into()));
    assert!(matches!(
        reasons_of(&world.plan()[0]),
        [Reason::ImageUnusable { .. }]
    ));
}

#[test]
fn tags_are_put_back_without_a_build_and_those_of_others_stay() {
    let mut world = World::in_sync(1);
    for image in world.images.values_mut() {
        image.tags.remove("Name");
        image.tags.insert("theirs".into(), "x".into());
    }
    let Decision::Update(update) = &world.plan()[0] else {
        panic!()
    };
    let change = update.tags.as_ref().unwrap();
    assert_eq!((change.set.len(), change.remove.len()), (1, 0));
    assert!(!update.metadata);
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
            Decision::Build(Build {
                source: BuildSource::Known { attempt: 3, .. },
                ..
            })
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

proptest! {
    #[test]
    fn a_plan_is_total_repeatable_and_nothing_below_a_build_is_in_sync(length in 1usize..8, changed in proptest::collection::vec(0usize..8, 0..4), gone in proptest::collection::vec(0usize..8, 0..3)) {
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
        assert_eq!(
            (blocked.root.state, blocked.root.why),
            ("broken", "is broken")
        );
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
    assert!(
        !builds(plan(FailureClass::Person, Some(&["b2"]))),
        "its own"
    );
    assert!(
        !builds(plan(FailureClass::Transient, Some(&[]))),
        "the wait is short"
    );
}
