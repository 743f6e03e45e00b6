//! What the records pin, what is reported, what is refused.

use crate::images::base_image::*;
use reconciler_model::ids::{StepId, WorkflowId};

const FOCAL: &str = "ubuntu-focal-*";
const CANONICAL: &str = "099720109477";

fn pattern() -> RootBase {
    RootBase::Pattern { pattern: FOCAL.into(), owner: CANONICAL.into() }
}

fn by_id() -> RootBase {
    RootBase::Image { id: AmiId::new("ami-1"), name: "ubuntu-focal-1".into() }
}

fn source(id: &str, name: &str) -> SourceImage {
    SourceImage { id: AmiId::new(id), name: AmiName::new(name) }
}

fn record(step: &str, second: i64, base_id: &str, base_name: &str) -> RecordHead {
    RecordHead {
        workflow_id: WorkflowId::new("wf"),
        step_id: StepId::new(step),
        ami_id: AmiId::new("ami-made"),
        ami_name: AmiName::new("made"),
        create_at: Timestamp::from_second(second).unwrap(),
        base_ami_id: AmiId::new(base_id),
        base_ami_name: AmiName::new(base_name),
        root_base_ami_id: AmiId::new(base_id),
        root_base_ami_name: AmiName::new(base_name),
        built: None,
    }
}

fn at_ec2(id: &str, name: &str, owner: &str, state: ImageState) -> BTreeMap<AmiId, Image> {
    let image = Image {
        id: AmiId::new(id),
        name: AmiName::new(name),
        state,
        owner_id: owner.into(),
        created_at: Timestamp::UNIX_EPOCH,
        tags: BTreeMap::new(),
        snapshots: vec![],
        details: String::new(),
    };
    BTreeMap::from([(image.id.clone(), image)])
}

struct Scene {
    base: RootBase,
    policy: BaseAmiPolicy,
    pinned: Option<SourceImage>,
    images: Option<BTreeMap<AmiId, Image>>,
    newest: Option<SourceImage>,
}

impl Scene {
    /// `ami-1` is pinned and available, `ami-2` is newer.
    fn pinned_and_newer() -> Self {
        Self {
            base: pattern(),
            policy: BaseAmiPolicy::Pin,
            pinned: Some(source("ami-1", "ubuntu-focal-1")),
            images: Some(at_ec2("ami-1", "ubuntu-focal-1", CANONICAL, ImageState::Available)),
            newest: Some(source("ami-2", "ubuntu-focal-2")),
        }
    }

    fn resolve(&self) -> Result<ResolvedBase, Diagnostic> {
        resolve(&BaseQuestion {
            base: &self.base,
            path: "w/workflow_param.json",
            policy: self.policy,
            region: &Region::new("us-east-1"),
            pinned: self.pinned.as_ref(),
            images: self.images.as_ref(),
            newest: self.newest.as_ref(),
        })
    }
}

#[test]
fn a_pattern_is_resolved_once_and_pinned_while_a_newer_image_is_reported() {
    let base = Scene::pinned_and_newer().resolve().unwrap();
    assert_eq!(base.image, source("ami-1", "ubuntu-focal-1"));
    assert_eq!(base.newer, Some(source("ami-2", "ubuntu-focal-2")));
    assert_eq!(base.unusable, None);
}

#[test]
fn a_newer_image_is_taken_under_follow() {
    let scene = Scene { policy: BaseAmiPolicy::Follow, ..Scene::pinned_and_newer() };
    let base = scene.resolve().unwrap();
    assert_eq!(base.image, source("ami-2", "ubuntu-focal-2"));
    assert_eq!(base.newer, None);
}

#[test]
fn without_records_the_newest_match_is_the_base_and_without_a_match_nothing_is() {
    let mut scene = Scene { pinned: None, ..Scene::pinned_and_newer() };
    assert_eq!(scene.resolve().unwrap().image.id.as_str(), "ami-2");
    scene.newest = None;
    let nothing = scene.resolve().unwrap_err();
    assert_eq!(
        nothing.one_line(),
        "w/workflow_param.json: no available image of 099720109477 in us-east-1 is called `ubuntu-focal-*`"
    );
    scene.images = None;
    assert!(scene.resolve().unwrap_err().message.contains("before EC2 was asked"));
}

#[test]
fn an_image_of_the_right_name_and_the_wrong_owner_pins_nothing() {
    let mut scene = Scene::pinned_and_newer();
    scene.images = Some(at_ec2("ami-1", "ubuntu-focal-1", "666666666666", ImageState::Available));
    assert_eq!(scene.resolve().unwrap().image.id.as_str(), "ami-2");
}

#[test]
fn a_pinned_image_that_is_gone_stays_the_base_but_nothing_is_built_on_it() {
    let scene = Scene { images: Some(BTreeMap::new()), ..Scene::pinned_and_newer() };
    let base = scene.resolve().unwrap();
    assert_eq!(base.image.id.as_str(), "ami-1");
    let why = base.unusable.unwrap();
    assert!(why.message.contains("ami-1 does not exist in us-east-1"), "{why}");
    assert!(why.hint.unwrap().contains("ami-2"));
}

#[test]
fn a_base_by_id_that_is_missing_or_not_ours_to_use_is_said_with_its_file() {
    let mut scene =
        Scene { base: by_id(), pinned: None, newest: None, ..Scene::pinned_and_newer() };
    assert_eq!(scene.resolve().unwrap().unusable, None);
    scene.images = Some(BTreeMap::new());
    let why = scene.resolve().unwrap().unusable.unwrap();
    assert!(
        why.one_line().starts_with("w/workflow_param.json: the base image ami-1 does not exist"),
        "{why}"
    );
    scene.images = Some(at_ec2(
        "ami-1",
        "ubuntu-focal-1",
        CANONICAL,
        ImageState::Other("deregistered".into()),
    ));
    let why = scene.resolve().unwrap().unusable.unwrap();
    assert!(why.message.contains("deregistered"));
    scene.images = None;
    assert_eq!(scene.resolve().unwrap().unusable, None, "nobody looked");
}

#[test]
fn a_base_that_ec2_calls_otherwise_is_worth_a_word() {
    let scene = Scene {
        base: by_id(),
        images: Some(at_ec2("ami-1", "debian-12", "1", ImageState::Available)),
        ..Scene::pinned_and_newer()
    };
    let warnings = scene.resolve().unwrap().warnings;
    assert!(warnings[0].message.contains("`debian-12`"), "{warnings:?}");
}

#[test]
fn the_newest_record_whose_base_still_fits_is_the_pin() {
    let records = [
        record("a", 10, "ami-1", "ubuntu-focal-1"),
        record("b", 30, "ami-2", "ubuntu-focal-2"),
        record("c", 99, "ami-9", "ubuntu-jammy-9"),
    ];
    assert_eq!(pin(&pattern(), &records), Some(source("ami-2", "ubuntu-focal-2")));
    assert_eq!(pin(&by_id(), &records), None);
    assert_eq!(pin(&pattern(), &records[2..]), None, "the pattern changed");
}

#[test]
fn a_record_of_the_library_that_carries_the_pattern_pins_and_gets_the_real_name() {
    let pinned = pin(&pattern(), &[record("a", 10, "ami-1", FOCAL)]).unwrap();
    assert_eq!(pinned, source("ami-1", FOCAL));
    let scene = Scene { pinned: Some(pinned), ..Scene::pinned_and_newer() };
    assert_eq!(scene.resolve().unwrap().image, source("ami-1", "ubuntu-focal-1"));
}

#[test]
fn a_newer_match_is_looked_for_from_time_to_time_and_at_once_where_none_is_known() {
    let pinned = source("ami-1", "ubuntu-focal-1");
    let at = |second| Timestamp::from_second(second).unwrap();
    let search = |second, newest: Option<&str>| BaseSearch {
        base: pattern(),
        at: at(second),
        newest: newest.map(|id| source(id, "ubuntu-focal-2")),
    };
    let seen = at_ec2("ami-2", "ubuntu-focal-2", CANONICAL, ImageState::Available);
    let due = |pinned, last: Option<&BaseSearch>| {
        search_is_due(&pattern(), pinned, last, &seen, at(10_000))
    };
    assert!(due(None, Some(&search(9_999, Some("ami-2")))));
    assert!(due(Some(&pinned), None));
    assert!(!due(Some(&pinned), Some(&search(9_000, Some("ami-2")))));
    assert!(!due(Some(&pinned), Some(&search(9_000, None))));
    assert!(due(Some(&pinned), Some(&search(6_400, Some("ami-2")))));
    assert!(due(Some(&pinned), Some(&search(9_999, Some("ami-3")))), "the match is gone");
    let other = BaseSearch {
        base: RootBase::Pattern { pattern: "ubuntu-jammy-*".into(), owner: CANONICAL.into() },
        ..search(9_999, Some("ami-2"))
    };
    assert!(due(Some(&pinned), Some(&other)), "another pattern");
    assert!(!search_is_due(&by_id(), None, None, &seen, at(0)));
}
