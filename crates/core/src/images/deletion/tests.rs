use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::images::lineage::tests::{build, record};
use reconciler_model::ids::AmiName;
use reconciler_model::images::ImageState;
use reconciler_model::inventory::record::RecordHead;
use reconciler_model::uses::{ImageUser, Look, Sightings, UserKind};

fn id(text: &str) -> AmiId {
    AmiId::new(text)
}

fn image(text: &str) -> (AmiId, Image) {
    let image = Image {
        id: id(text),
        name: AmiName::new(text),
        state: ImageState::Available,
        owner_id: "1".into(),
        created_at: Timestamp::UNIX_EPOCH,
        tags: BTreeMap::new(),
        snapshots: vec![],
        details: String::new(),
    };
    (id(text), image)
}

/// What a test knows: images that are all there, this account's, and used by nothing, unless the
/// test says otherwise.
struct Known {
    asked: BTreeSet<AmiId>,
    run: Option<WorkflowId>,
    in_git: BTreeSet<WorkflowId>,
    lineage: Lineage,
    sources: BTreeSet<AmiId>,
    images: BTreeMap<AmiId, Image>,
    uses: Uses,
}

impl Known {
    fn asking(asked: &[&str], lineage: Lineage) -> Self {
        let asked: BTreeSet<_> = asked.iter().map(|one| id(one)).collect();
        let all = asked.iter().chain(lineage.images()).map(|one| image(one.as_str()));
        let mut uses = Uses::nobody_looked(asked.iter().cloned());
        for look in Look::ALL {
            uses.saw(look, Sightings::default());
        }
        uses.saw_own(Ok(asked.clone()));
        Self {
            images: all.collect(),
            asked,
            run: None,
            in_git: BTreeSet::new(),
            lineage,
            sources: BTreeSet::new(),
            uses,
        }
    }

    fn decide(&self) -> Deletion {
        DeletionQuestion {
            asked: &self.asked,
            run: self.run.as_ref(),
            in_git: &self.in_git,
            lineage: &self.lineage,
            sources: &self.sources,
            images: &self.images,
            uses: &self.uses,
        }
        .decide()
    }

    /// What is in the way of an image, in words.
    fn words(&self, image: &str) -> Vec<String> {
        let decided = self.decide();
        let refused = decided.refused.get(&id(image)).into_iter().flatten();
        refused.map(Obstacle::words).collect()
    }
}

/// `a` was built twice and its child `b` once, on the older image.
fn two_steps() -> Lineage {
    let records = [record("wf", "a", "ami-a2", "ami-0"), record("wf", "b", "ami-b", "ami-a1")];
    Lineage::new(&records, &build("1", "a", "ami-a1", "ami-0"))
}

#[test]
fn an_image_that_nothing_needs_may_go_and_one_that_is_gone_is_gone() {
    let known = Known::asking(&["ami-x"], two_steps());
    assert_eq!(known.decide().allowed, [id("ami-x")]);
    let mut known = Known::asking(&["ami-x", "ami-y"], two_steps());
    known.images.remove(&id("ami-x"));
    let deregistered = ImageState::Other("deregistered".into());
    known.images.get_mut(&id("ami-y")).unwrap().state = deregistered;
    let decided = known.decide();
    assert_eq!(decided.gone, known.asked);
    assert!(decided.allowed.is_empty() && decided.refused.is_empty());
}

#[test]
fn each_reason_is_told_by_itself() {
    let lineage = two_steps;
    let mut cases: Vec<(&str, Known, &str)> = vec![
        (
            "ami-a2",
            Known::asking(&["ami-a2"], lineage()),
            "it is the current image of step a of workflow wf",
        ),
        (
            "ami-a1",
            Known::asking(&["ami-a1"], lineage()),
            "ami-b was built on it (b of workflow wf)",
        ),
    ];
    let mut used = |look: Look, sightings: Sightings, words: &'static str| {
        let mut known = Known::asking(&["ami-x"], lineage());
        known.uses.saw(look, sightings);
        cases.push(("ami-x", known, words));
    };
    let mut seen = Sightings::default();
    seen.add(&id("ami-x"), ImageUser::new(UserKind::Instance, "i-1"));
    used(Look::References, seen, "in use: instance i-1");
    let denied = Unread { why: "access denied".into(), permission: Some("ec2:X".into()) };
    used(
        Look::Fleets,
        Sightings::failed(denied.clone()),
        "unknown whether a fleet names it: access denied (needs the permission ec2:X)",
    );
    let mut known = Known::asking(&["ami-x"], lineage());
    known.uses.saw_own(Ok(BTreeSet::new()));
    cases.push(("ami-x", known, "it is another account's"));
    let mut known = Known::asking(&["ami-x"], lineage());
    known.uses.saw_own(Err(denied));
    let words = "unknown whose it is: access denied (needs the permission ec2:X)";
    cases.push(("ami-x", known, words));
    let mut known = Known::asking(&["ami-x"], lineage());
    known.sources.insert(id("ami-x"));
    cases.push(("ami-x", known, "a build that is under way starts from it"));
    let mut known = Known::asking(&["ami-x"], lineage());
    let tags = &mut known.images.get_mut(&id("ami-x")).unwrap().tags;
    tags.insert(KEEP_TAG.into(), String::new());
    cases.push(("ami-x", known, "it is tagged to stay (reconciler:keep)"));
    for (image, known, words) in cases {
        assert_eq!(known.words(image), [words], "{image}");
        assert!(known.decide().allowed.is_empty(), "{words}");
    }
}

#[test]
fn all_reasons_are_told_together() {
    let lineage = Lineage::new(
        &[record("wf", "a", "ami-a", "ami-0"), record("w2", "b", "ami-b", "ami-a")],
        &[],
    );
    let mut known = Known::asking(&["ami-a"], lineage);
    let mut seen = Sightings::default();
    seen.add(&id("ami-a"), ImageUser::new(UserKind::Account, "2"));
    known.uses.saw(Look::LaunchPermissions, seen);
    assert_eq!(
        known.words("ami-a"),
        [
            "it is the current image of step a of workflow wf",
            "in use: shared with account 2",
            "ami-b was built on it (b of workflow w2)",
        ]
    );
}

#[test]
fn what_was_built_on_an_image_goes_before_it_or_keeps_it() {
    let chain = || {
        let builds = [
            build("1", "a", "ami-a", "ami-0"),
            build("2", "b", "ami-b", "ami-a"),
            build("3", "c", "ami-c", "ami-b"),
        ];
        Lineage::new(&[], &builds.concat())
    };
    let all = ["ami-a", "ami-b", "ami-c"];
    let known = Known::asking(&all, chain());
    assert_eq!(known.decide().allowed, ["ami-c", "ami-b", "ami-a"].map(id));
    // Kept by one thing at the end of the chain, and all the way up.
    let mut known = Known::asking(&all, chain());
    let mut seen = Sightings::default();
    seen.add(&id("ami-c"), ImageUser::new(UserKind::Instance, "i-1"));
    known.uses.saw(Look::References, seen);
    assert_eq!(known.decide().refused.len(), 3);
    assert_eq!(known.words("ami-a"), ["ami-b was built on it (b of workflow wf)"]);
    // A child that is gone keeps nothing.
    let mut known = Known::asking(&["ami-b"], chain());
    known.images.remove(&id("ami-c"));
    assert_eq!(known.decide().allowed, [id("ami-b")]);
}

#[test]
fn an_earlier_run_goes_as_a_whole_with_its_records_and_no_run_of_git() {
    let records = [
        record("old", "a", "ami-a", "ami-0"),
        record("old", "b", "ami-b", "ami-a"),
        record("new", "b", "ami-n", "ami-a"),
    ];
    let mut known = Known::asking(&["ami-a", "ami-b"], Lineage::new(&records, &[]));
    known.run = Some(WorkflowId::new("old"));
    known.in_git = [WorkflowId::new("new")].into();
    let decided = known.decide();
    assert_eq!(decided.allowed, [id("ami-b")], "the newer run stands on the other");
    assert_eq!(known.words("ami-a"), ["ami-n was built on it (b of workflow new)"]);
    known.in_git.insert(WorkflowId::new("old"));
    let words = "workflow old is in git: only an earlier run goes as a whole";
    assert_eq!(known.words("ami-b"), [words]);
    // An image that another workflow records as well is that one's current image.
    let shared = [record("old", "a", "ami-a", "ami-0"), record("new", "a", "ami-a", "ami-0")];
    let mut known = Known::asking(&["ami-a"], Lineage::new(&shared, &[]));
    known.run = Some(WorkflowId::new("old"));
    assert_eq!(known.words("ami-a"), ["it is the current image of step a of workflow new"]);
}

/// Images of a random history: each was made from one of the earlier ones.
fn name(number: usize) -> String {
    format!("ami-{number:02}")
}

#[derive(Clone, Debug)]
struct One {
    source: usize,
    is_record: bool,
    is_asked: bool,
    is_gone: bool,
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Used,
    NotOwn,
}

fn one() -> impl Strategy<Value = One> {
    let trouble = prop_oneof![
        6 => Just(None),
        2 => Just(Some(Trouble::Used)),
        1 => Just(Some(Trouble::NotOwn)),
    ];
    let flags = (any::<bool>(), prop::bool::weighted(0.7), prop::bool::weighted(0.2));
    (any::<prop::sample::Index>(), flags, trouble).prop_map(
        |(source, (is_record, is_asked, is_gone), trouble)| One {
            source: source.index(1000),
            is_record,
            is_asked,
            is_gone,
            trouble,
        },
    )
}

proptest! {
    #[test]
    fn nothing_that_is_referred_to_is_ever_allowed(
        history in proptest::collection::vec(one(), 1..12),
        failed in proptest::option::weighted(0.2, 0..Look::ALL.len()),
    ) {
        let (mut records, mut events): (Vec<RecordHead>, Vec<_>) = Default::default();
        for (at, one) in history.iter().enumerate() {
            let source = if at == 0 { "ami-base".to_owned() } else { name(one.source % at) };
            let step = format!("s{at}");
            if one.is_record {
                records.push(record("wf", &step, &name(at), &source));
            } else {
                events.extend(build(&format!("build-{at}"), &step, &name(at), &source));
            }
        }
        let names = (0..history.len()).map(name);
        let all = || history.iter().zip(names.clone());
        let asked: Vec<_> = all().filter(|(one, _)| one.is_asked).map(|(_, name)| name).collect();
        let asked: Vec<_> = asked.iter().map(String::as_str).collect();
        let mut known = Known::asking(&asked, Lineage::new(&records, &events));
        let mut seen = Sightings::default();
        for (one, name) in all() {
            if one.is_gone {
                known.images.remove(&id(&name));
            }
            if one.trouble == Some(Trouble::Used) {
                seen.add(&id(&name), ImageUser::new(UserKind::Instance, "i-1"));
            }
        }
        known.uses.saw(Look::References, seen);
        let own = all().filter(|(one, _)| one.trouble != Some(Trouble::NotOwn)).map(|(_, name)| id(&name));
        known.uses.saw_own(Ok(own.collect()));
        if let Some(look) = failed {
            known.uses.saw(Look::ALL[look], Sightings::failed(Unread::because("no answer")));
        }

        let decided = known.decide();
        let mut left: BTreeSet<AmiId> = known.images.keys().cloned().collect();
        for image in &decided.allowed {
            let at: usize = image.as_str()[4..].parse().unwrap();
            let one = &history[at];
            prop_assert!(one.is_asked && !one.is_gone && one.trouble.is_none());
            prop_assert!(!one.is_record, "a current image");
            prop_assert!(failed.is_none(), "a look has failed");
            left.remove(image);
            let children: Vec<_> = known.lineage.children(image).collect();
            prop_assert!(children.iter().all(|made| !left.contains(&made.ami_id)), "in this order");
        }
        // Each image has one answer, and what is refused has a reason.
        let answers = decided.allowed.len() + decided.refused.len() + decided.gone.len();
        prop_assert_eq!(answers, known.asked.len());
        prop_assert!(decided.refused.values().all(|why| !why.is_empty()));
        // Done and asked again, it is nothing.
        for image in &decided.allowed {
            known.images.remove(image);
        }
        let again = known.decide();
        prop_assert!(again.allowed.is_empty());
        let gone: BTreeSet<_> = decided.gone.iter().chain(&decided.allowed).cloned().collect();
        prop_assert_eq!(again.gone, gone);
    }
}

/// A workflow of another repository may keep its records in the same table, and nobody here reads
/// them: whether it is that one's current image cannot be told.
#[test]
fn an_image_of_a_workflow_that_nobody_has_read_stays() {
    let mut known = Known::asking(&["ami-b"], Lineage::default());
    assert!(known.words("ami-b").is_empty(), "an image of nobody may go");
    let image = known.images.get_mut(&id("ami-b")).unwrap();
    image.tags.insert(WORKFLOW_ID_TAG.to_owned(), "theirs".to_owned());
    let said = known.words("ami-b").join("; ");
    assert!(said.contains("workflow theirs made it, whose records are not read here"), "{said}");
}
