//! Which image was made from which, by our records and journals. Pure.
//!
//! A record tells of the current image of a step; the journal also of earlier ones, and of images of
//! builds that have failed since. Neither says whether an image is still there.

use std::collections::{BTreeMap, BTreeSet};

use reconciler_model::ids::{AmiId, AmiName, BuildId, StepId, WorkflowId};
use reconciler_model::inventory::journal::{BuildEvent, Stage};
use reconciler_model::inventory::record::RecordHead;
use serde::Serialize;

/// How an image came to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Made {
    /// The image.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// The image that it was made from.
    pub source: AmiId,
    /// The workflow that made it.
    pub workflow_id: WorkflowId,
    /// The step.
    pub step_id: StepId,
    /// The build; none on a record of the Python library.
    pub build_id: Option<BuildId>,
    /// Whether it is the current image of the step.
    pub current: bool,
}

/// An image that another comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ancestor {
    /// The image.
    pub ami_id: AmiId,
    /// Its name, where it is known.
    pub ami_name: Option<AmiName>,
    /// How it came to be; null where nothing is known of that: an image of somebody else's.
    pub made: Option<Made>,
    /// Whether it is not known what stands between it and the one before.
    pub gap: bool,
}

/// All that is known of images and their sources.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    made: BTreeMap<AmiId, BTreeSet<Made>>,
    roots: BTreeMap<AmiId, (AmiId, AmiName)>,
    names: BTreeMap<AmiId, AmiName>,
    deleted: BTreeSet<AmiId>,
}

impl Lineage {
    /// What these records and entries of journals tell. Entries of one build stand together, as the
    /// journal gives them.
    #[must_use]
    pub fn new<'a>(
        records: impl IntoIterator<Item = &'a RecordHead>,
        events: &[BuildEvent],
    ) -> Self {
        let mut known = Self::default();
        for record in records {
            known.take_record(record);
        }
        for build in events.chunk_by(|one, other| one.build_id == other.build_id) {
            known.take_build(build);
        }
        known
    }

    fn take_record(&mut self, record: &RecordHead) {
        let root = (record.root_base_ami_id.clone(), record.root_base_ami_name.clone());
        self.names.insert(root.0.clone(), root.1.clone());
        self.roots.insert(record.ami_id.clone(), root);
        self.names.insert(record.base_ami_id.clone(), record.base_ami_name.clone());
        self.take(Made {
            ami_id: record.ami_id.clone(),
            ami_name: record.ami_name.clone(),
            source: record.base_ami_id.clone(),
            workflow_id: record.workflow_id.clone(),
            step_id: record.step_id.clone(),
            build_id: record.built.as_ref().map(|built| built.build_id.clone()),
            current: true,
        });
    }

    fn take_build(&mut self, build: &[BuildEvent]) {
        self.deleted.extend(build.iter().filter_map(|event| match &event.stage {
            Stage::Deleted(deleted) => Some(deleted.ami_id.clone()),
            _ => None,
        }));
        if let [BuildEvent { stage: Stage::Forgotten(said), workflow_id, step_id, .. }] = build {
            self.take(Made {
                ami_id: said.ami_id.clone(),
                ami_name: said.ami_name.clone(),
                source: said.source_ami.clone(),
                workflow_id: workflow_id.clone(),
                step_id: step_id.clone(),
                build_id: said.build_id.clone(),
                current: false,
            });
            return;
        }
        let intent = build.iter().find_map(|event| event.stage.intent());
        let image = build.iter().find_map(|event| event.stage.shown_image());
        let (Some(intent), Some(image), Some(event)) = (intent, image, build.first()) else {
            return;
        };
        self.take(Made {
            ami_id: image.clone(),
            ami_name: intent.ami_name.clone(),
            source: intent.source_ami.clone(),
            workflow_id: event.workflow_id.clone(),
            step_id: event.step_id.clone(),
            build_id: Some(event.build_id.clone()),
            current: false,
        });
    }

    /// What a record says of a build comes before what the journal says.
    fn take(&mut self, made: Made) {
        self.names.insert(made.ami_id.clone(), made.ami_name.clone());
        let known = self.made.entry(made.ami_id.clone()).or_default();
        let is_known = |one: &Made| {
            one.build_id == made.build_id
                && one.workflow_id == made.workflow_id
                && one.step_id == made.step_id
        };
        if !known.iter().any(is_known) {
            known.insert(made);
        }
    }

    /// How an image came to be: more than once where it was recorded more than once.
    pub fn of(&self, image: &AmiId) -> impl Iterator<Item = &Made> {
        self.made.get(image).into_iter().flatten()
    }

    /// Every image of which something is known.
    pub fn images(&self) -> impl Iterator<Item = &AmiId> {
        self.made.keys()
    }

    /// Whether a journal tells that a person has taken it away.
    #[must_use]
    pub fn is_told_deleted(&self, image: &AmiId) -> bool {
        self.deleted.contains(image)
    }

    /// The name of an image, where it is known.
    #[must_use]
    pub fn name(&self, image: &AmiId) -> Option<&AmiName> {
        self.names.get(image)
    }

    /// What an image was made from, one after the other, to the image that its workflow starts from.
    #[must_use]
    pub fn ancestors(&self, image: &AmiId) -> Vec<Ancestor> {
        let mut found: Vec<Ancestor> = Vec::new();
        let mut seen = BTreeSet::from([image]);
        let mut at = image;
        while let Some(made) = self.of(at).next()
            && seen.insert(&made.source)
        {
            at = &made.source;
            found.push(self.ancestor(at, false));
        }
        if let Some((root, _)) = self.roots.get(image)
            && !seen.contains(root)
        {
            found.push(self.ancestor(root, true));
        }
        found
    }

    fn ancestor(&self, image: &AmiId, gap: bool) -> Ancestor {
        Ancestor {
            ami_id: image.clone(),
            ami_name: self.name(image).cloned(),
            made: self.of(image).next().cloned(),
            gap,
        }
    }

    /// What was made from an image directly.
    pub fn children(&self, image: &AmiId) -> impl Iterator<Item = &Made> {
        self.made.values().flatten().filter(move |made| made.source == *image)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;

    use super::*;

    pub(crate) fn record(workflow: &str, step: &str, image: &str, source: &str) -> RecordHead {
        RecordHead {
            workflow_id: WorkflowId::new(workflow),
            step_id: StepId::new(step),
            ami_id: AmiId::new(image),
            ami_name: AmiName::new(format!("base/{workflow}/{step}")),
            create_at: Timestamp::UNIX_EPOCH,
            base_ami_id: AmiId::new(source),
            base_ami_name: AmiName::new(format!("name of {source}")),
            root_base_ami_id: AmiId::new("ami-root"),
            root_base_ami_name: AmiName::new("ubuntu"),
            built: None,
        }
    }

    /// The entries of a build that made an image, newest first.
    pub(crate) fn build(id: &str, step: &str, image: &str, source: &str) -> Vec<BuildEvent> {
        let intent = format!(
            r#"{{ "intent": {{ "fingerprint": "{0}", "ami_name": "base/wf/{step}", "revision": "4f2c1e9", "source_ami": "{source}",
                "region": "us-east-1", "host": "one", "deadline": "2026-11-25T02:00:00Z", "fence": 7, "attempt": 1, "promise": null,
                "reach": {{ "profile": null, "region": null, "own_keys": false, "hides": false }} }} }}"#,
            "0123456789abcdef".repeat(4)
        );
        let stages = [format!(r#"{{ "image_seen": {{ "ami_id": "{image}" }} }}"#), intent];
        let event = |(seq, stage): (u32, &String)| BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new(step),
            build_id: BuildId::new(id),
            seq,
            at: Timestamp::UNIX_EPOCH,
            stage: serde_json::from_str(stage).unwrap(),
        };
        (0..2).rev().zip(&stages).map(event).collect()
    }

    fn ids(ancestors: &[Ancestor]) -> Vec<(&str, bool)> {
        ancestors.iter().map(|one| (one.ami_id.as_str(), one.gap)).collect()
    }

    #[test]
    fn an_image_is_followed_to_the_root_over_records_and_earlier_builds() {
        // The record of `a` names a later image; the one that `b` stands on is in the journal.
        let records =
            [record("wf", "a", "ami-a2", "ami-root"), record("wf", "b", "ami-b", "ami-a1")];
        let known = Lineage::new(&records, &build("1", "a", "ami-a1", "ami-root"));
        let image = AmiId::new("ami-b");
        let ancestors = known.ancestors(&image);
        assert_eq!(ids(&ancestors), [("ami-a1", false), ("ami-root", false)]);
        assert_eq!(ancestors[0].made.as_ref().unwrap().build_id, Some(BuildId::new("1")));
        assert_eq!(ancestors[1].ami_name, Some(AmiName::new("ubuntu")));
        // Without the journal nobody knows what the base of `b` was made from.
        let known = Lineage::new(&records, &[]);
        assert_eq!(ids(&known.ancestors(&image)), [("ami-a1", false), ("ami-root", true)]);
    }

    #[test]
    fn the_image_of_a_record_that_was_removed_is_still_known_and_once() {
        let forgotten = |image: &str, build: &str| {
            BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new(format!("request about {image}")),
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            stage: serde_json::from_str(&format!(
                r#"{{ "forgotten": {{ "ami_id": "{image}", "ami_name": "n", "source_ami": "ami-root", {build}
                    "region": "us-east-1", "by": "ada@desk", "fence": 7 }} }}"#
            ))
            .unwrap(),
        }
        };
        let mut events = vec![
            forgotten("ami-of-the-library", ""),
            forgotten("ami-built", r#""build_id": "1","#),
        ];
        events.extend(build("1", "a", "ami-built", "ami-root"));
        let known = Lineage::new(&[], &events);
        for image in ["ami-of-the-library", "ami-built"] {
            let made: Vec<_> = known.of(&AmiId::new(image)).cloned().collect();
            assert_eq!(made.len(), 1, "{made:?}");
            assert_eq!((made[0].source.as_str(), made[0].current), ("ami-root", false));
        }
    }

    #[test]
    fn what_was_made_from_an_image_is_told_whether_it_is_current_or_not() {
        let records = [record("wf", "b", "ami-b", "ami-a"), record("other", "c", "ami-c", "ami-a")];
        let events = [build("2", "b", "ami-b0", "ami-a"), build("1", "a", "ami-a", "ami-root")];
        let known = Lineage::new(&records, &events.concat());
        let of = |image: &str| {
            let image = AmiId::new(image);
            let children = known.children(&image);
            children.map(|made| (made.ami_id.to_string(), made.current)).collect::<Vec<_>>()
        };
        let told = |id: &str, current| (id.to_owned(), current);
        assert_eq!(of("ami-a"), [told("ami-b", true), told("ami-b0", false), told("ami-c", true)]);
        assert_eq!(of("ami-root"), [told("ami-a", false)]);
        assert!(of("ami-b").is_empty());
    }

    #[test]
    fn a_circle_ends_and_an_image_that_is_unknown_has_nothing() {
        let records = [record("wf", "a", "ami-a", "ami-b"), record("wf", "b", "ami-b", "ami-a")];
        let known = Lineage::new(&records, &[]);
        let found = known.ancestors(&AmiId::new("ami-a"));
        assert_eq!(ids(&found), [("ami-b", false), ("ami-root", true)]);
        assert!(known.ancestors(&AmiId::new("ami-x")).is_empty());
    }
}
