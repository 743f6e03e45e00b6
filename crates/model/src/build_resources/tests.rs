//! Nothing that another build or a person made is ever named.

use std::collections::BTreeMap;

use std::time::Duration;

use super::*;

const KEY: &str = "packer_6743a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f";
const OTHER_KEY: &str = "packer_6743ffff-0000-8d9c-5b5e-0a1b2c3d4e5f";
const NAME: &str = "ubuntu/wf/pyenv/2d711642";

struct Scene {
    build: BuildId,
    name: AmiName,
    told: ClaimedResources,
    unwanted: Vec<AmiId>,
    sight: VisibleResources,
}

impl Scene {
    /// A build that began now and told of nothing.
    fn new() -> Self {
        Self {
            build: BuildId::generate(),
            name: AmiName::new(NAME),
            told: ClaimedResources::default(),
            unwanted: vec![],
            sight: VisibleResources::default(),
        }
    }

    fn owned(&self) -> OwnedResources {
        let images = RemovableImages::ButRecorded {
            unwanted: self.unwanted.clone(),
            recorded: BTreeSet::new(),
        };
        self.owned_but(images)
    }

    fn owned_but(&self, images: RemovableImages) -> OwnedResources {
        let claimed = self.told.clone();
        ResourceSearch { build: &self.build, image_name: Some(&self.name), claimed, images }
            .owned(&self.sight)
    }

    fn owns(&self, kind: ResourceKind) -> Vec<String> {
        self.owned().ids(kind).into_iter().map(str::to_owned).collect()
    }
}

/// When a build was made that begins now.
fn now() -> Timestamp {
    BuildId::generate().made_at().unwrap()
}

fn yesterday() -> Timestamp {
    now() - Duration::from_hours(24)
}

fn instance(id: &str, key: Option<&str>, groups: &[&str], launched: Timestamp) -> Instance {
    Instance {
        id: id.into(),
        key: key.map(str::to_owned),
        groups: groups.iter().map(|&g| g.to_owned()).collect(),
        launched: Some(launched),
    }
}

fn image(id: &str, name: &str, state: ImageState) -> Image {
    Image {
        id: AmiId::new(id),
        name: AmiName::new(name),
        state,
        owner_id: "1".into(),
        created_at: now(),
        tags: BTreeMap::new(),
        snapshots: vec![format!("snap-of-{id}")],
        details: String::new(),
    }
}

fn snapshot(id: &str, description: &str) -> Snapshot {
    Snapshot { id: id.into(), description: description.into(), started: Some(now()), tagged: false }
}

#[test]
fn instances_under_the_builds_own_key_or_group_are_its_own() {
    let mut scene = Scene::new();
    scene.told.key_pairs = vec![KEY.into()];
    scene.told.security_groups = vec![KEY.into()];
    scene.sight.instances = vec![
        instance("i-by-key", Some(KEY), &["default"], now()),
        instance("i-by-group", Some("ops"), &["default", KEY], now()),
        instance("i-other-build", Some(OTHER_KEY), &[OTHER_KEY], now()),
        instance("i-person", Some("ops"), &["default"], now()),
    ];
    assert_eq!(scene.owns(ResourceKind::Instance), ["i-by-group", "i-by-key"]);
}

#[test]
fn an_instance_that_a_forged_log_names_is_not_believed() {
    let mut scene = Scene::new();
    scene.told.instances = vec!["i-person".into(), "i-other-build".into(), "i-own".into()];
    scene.sight.instances = vec![
        instance("i-person", Some("ops"), &["default"], yesterday()),
        instance("i-other-build", Some(OTHER_KEY), &[], now()),
        // The template names a key and a group of the user's own.
        instance("i-own", Some("ops"), &["build"], now()),
    ];
    assert_eq!(scene.owns(ResourceKind::Instance), ["i-own"]);
}

#[test]
fn keys_and_groups_of_people_are_never_named_whatever_a_log_says() {
    let mut scene = Scene::new();
    let names = ["ops", "packer_", "packer_laptop", KEY, OTHER_KEY];
    scene.told.key_pairs = ["ops", "packer_laptop", KEY].map(str::to_owned).to_vec();
    scene.told.security_groups = scene.told.key_pairs.clone();
    scene.sight.key_pairs =
        names.map(|name| KeyPair { name: name.into(), created: Some(now()) }).to_vec();
    scene.sight.security_groups = names.map(str::to_owned).to_vec();
    assert_eq!(scene.owns(ResourceKind::KeyPair), [KEY]);
    assert_eq!(scene.owns(ResourceKind::SecurityGroup), [KEY]);
}

#[test]
fn an_unfinished_image_of_the_builds_name_goes_with_its_snapshots_and_a_finished_one_stays() {
    let mut scene = Scene::new();
    scene.sight.images = vec![
        image("ami-half", NAME, ImageState::Pending),
        image("ami-failed", NAME, ImageState::Failed("disk".into())),
        image("ami-good", NAME, ImageState::Available),
        image("ami-else", "another", ImageState::Pending),
    ];
    let owned = scene.owned();
    assert_eq!(owned.ids(ResourceKind::Image), ["ami-half", "ami-failed"]);
    assert_eq!(owned.ids(ResourceKind::Snapshot), ["snap-of-ami-failed", "snap-of-ami-half"]);
}

#[test]
fn a_finished_image_goes_only_if_asked_for_and_never_if_another_build_made_it() {
    let mut scene = Scene::new();
    scene.unwanted = vec![AmiId::new("ami-1"), AmiId::new("ami-2"), AmiId::new("ami-3")];
    let mut of_another = image("ami-2", NAME, ImageState::Available);
    of_another.tags = BTreeMap::from([(BUILD_ID_TAG.to_owned(), "another".to_owned())]);
    let mut old = image("ami-3", "golden", ImageState::Available);
    old.created_at = yesterday();
    scene.sight.images = vec![image("ami-1", "second", ImageState::Available), of_another, old];
    assert_eq!(scene.owns(ResourceKind::Image), ["ami-1"]);
}

#[test]
fn an_image_on_the_way_to_the_wanted_one_goes_and_none_that_a_forged_log_names() {
    let mut scene = Scene::new();
    let ids = ["ami-way", "ami-named", "ami-else", "ami-old", "ami-tagged"];
    scene.told.told_images = ids.map(AmiId::new).to_vec();
    scene.told.instances = vec!["i-1".into()];
    let mut old = image("ami-old", "aB3dE5f", ImageState::Available);
    old.created_at = yesterday();
    let mut tagged = image("ami-tagged", "aB3dE5f", ImageState::Available);
    tagged.tags = BTreeMap::from([(BUILD_ID_TAG.to_owned(), "another".to_owned())]);
    scene.sight.images = vec![
        image("ami-way", "aB3dE5f", ImageState::Available),
        image("ami-named", "golden-image", ImageState::Available),
        image("ami-else", "aB3dE5f", ImageState::Available),
        image("ami-untold", "aB3dE5f", ImageState::Available),
        old,
        tagged,
    ];
    scene.sight.snapshots = ["way", "named", "old", "tagged", "untold"]
        .map(|id| {
            let made = format!("Created by CreateImage(i-1) for ami-{id}");
            snapshot(&format!("snap-of-ami-{id}"), &made)
        })
        .to_vec();
    let else_ = "Created by CreateImage(i-2) for ami-else";
    scene.sight.snapshots.push(snapshot("snap-of-ami-else", else_));
    let owned = scene.owned();
    assert_eq!(owned.ids(ResourceKind::Image), ["ami-way"]);
    assert_eq!(owned.ids(ResourceKind::Snapshot), ["snap-of-ami-way"]);
}

#[test]
fn a_snapshot_goes_if_the_image_it_was_made_for_is_gone_or_goes() {
    let mut scene = Scene::new();
    scene.sight.images = vec![
        image("ami-half", NAME, ImageState::Pending),
        image("ami-good", NAME, ImageState::Available),
    ];
    let mut old = snapshot("snap-backup", "Created by CreateImage(i-1) for ami-gone");
    old.started = Some(yesterday());
    let mut tagged = snapshot("snap-tagged", "Created by CreateImage(i-1) for ami-gone");
    tagged.tagged = true;
    scene.sight.snapshots = vec![
        snapshot("snap-1", "Created by CreateImage(i-1) for ami-gone"),
        snapshot("snap-2", "Created by CreateImage(i-1) for ami-half from vol-1"),
        snapshot("snap-3", "Created by CreateImage(i-1) for ami-good"),
        snapshot("snap-4", "backup of i-1"),
        old,
        tagged,
    ];
    assert_eq!(scene.owns(ResourceKind::Snapshot), ["snap-1", "snap-2", "snap-of-ami-half"]);
}

#[test]
fn a_build_that_told_nothing_and_left_nothing_owns_nothing() {
    let mut scene = Scene::new();
    scene.sight.instances = vec![instance("i-person", Some("ops"), &["default"], now())];
    scene.sight.images = vec![image("ami-good", NAME, ImageState::Available)];
    assert_eq!(scene.owned(), OwnedResources::default());
}

#[test]
fn a_recorded_image_stays_with_its_snapshots_and_where_images_stay_all_snapshots_do() {
    let mut scene = Scene::new();
    scene.told.instances = vec!["i-1".into()];
    scene.told.snapshots = vec!["snap-of-ami-recorded".into(), "snap-told".into()];
    scene.sight.instances = vec![instance("i-1", None, &[], now())];
    scene.sight.images = vec![
        image("ami-recorded", NAME, ImageState::Failed("disk".into())),
        image("ami-other", NAME, ImageState::Failed("disk".into())),
    ];
    scene.sight.snapshots =
        vec![snapshot("snap-of-ami-recorded", "backup"), snapshot("snap-told", "backup")];
    let ids = ["ami-recorded", "ami-other"].map(AmiId::new);
    let owned = scene.owned_but(RemovableImages::ButRecorded {
        unwanted: ids.to_vec(),
        recorded: BTreeSet::from([ids[0].clone()]),
    });
    assert_eq!(owned.ids(ResourceKind::Image), ["ami-other"]);
    assert_eq!(owned.ids(ResourceKind::Snapshot), ["snap-of-ami-other", "snap-told"]);
    let owned = scene.owned_but(RemovableImages::None);
    let one_by_one: Vec<_> = owned.iter().map(|one| (one.kind(), one.id())).collect();
    assert_eq!(one_by_one, [(ResourceKind::Instance, "i-1")]);
}
