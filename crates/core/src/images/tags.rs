//! Which tags an image carries, and what has to change so that it does (docs/contract.md §4). Pure.

use reconciler_model::images::{BUILD_ID_TAG, FINGERPRINT_TAG, WORKFLOW_ID_TAG};
use std::collections::BTreeMap;

use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Revision, StepId, WorkflowId};
use reconciler_model::images::TagChange;
use reconciler_model::inventory::record::{Built, RecordHead};
use reconciler_model::inventory::tags::Tags;

/// EC2's limit of tags on a resource.
const MOST_TAGS: usize = 50;

/// Everything that an image's tags say.
#[derive(Clone, Copy, Debug)]
pub struct ImageTags<'a> {
    /// The image's name.
    pub name: &'a AmiName,
    /// The image that it was built on.
    pub base_ami_id: &'a AmiId,
    /// That image's name.
    pub base_ami_name: &'a AmiName,
    /// Where the workflow starts.
    pub root_base_ami_id: &'a AmiId,
    /// That image's name.
    pub root_base_ami_name: &'a AmiName,
    /// The users' own tags.
    pub aws_tags: &'a BTreeMap<String, String>,
    /// The workflow.
    pub workflow_id: &'a WorkflowId,
    /// The step.
    pub step_id: &'a StepId,
    /// What it fulfils.
    pub fingerprint: &'a Fingerprint,
    /// What made it.
    pub build_id: &'a BuildId,
    /// The commit.
    pub revision: &'a Revision,
}

impl<'a> ImageTags<'a> {
    /// The tags of a recorded image.
    #[must_use]
    pub fn of_record(
        record: &'a RecordHead,
        built: &'a Built,
        aws_tags: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            name: &record.ami_name,
            base_ami_id: &record.base_ami_id,
            base_ami_name: &record.base_ami_name,
            root_base_ami_id: &record.root_base_ami_id,
            root_base_ami_name: &record.root_base_ami_name,
            aws_tags,
            workflow_id: &record.workflow_id,
            step_id: &record.step_id,
            fingerprint: &built.fingerprint,
            build_id: &built.build_id,
            revision: &built.revision,
        }
    }

    /// All of them: the library's, the users' over those, ours over all.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        let fingerprint = self.fingerprint.to_string();
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        self.pairs(&fingerprint).into_iter().map(owned).collect()
    }

    /// The same in the order of their keys, without a copy of any; `fingerprint` is the text of the
    /// fingerprint.
    #[must_use]
    pub fn pairs<'b>(&'b self, fingerprint: &'b str) -> Vec<(&'b str, &'b str)> {
        let library = [
            ("Name", self.name.as_str()),
            ("packer:base_ami_id", self.base_ami_id.as_str()),
            ("packer:base_ami_name", self.base_ami_name.as_str()),
            ("packer:root_base_ami_id", self.root_base_ami_id.as_str()),
            ("packer:root_base_ami_name", self.root_base_ami_name.as_str()),
        ];
        let ours = [
            (BUILD_ID_TAG, self.build_id.as_str()),
            (FINGERPRINT_TAG, fingerprint),
            ("reconciler:git-commit", self.revision.as_str()),
            ("reconciler:step-id", self.step_id.as_str()),
            (WORKFLOW_ID_TAG, self.workflow_id.as_str()),
        ];
        let users = self.aws_tags;
        let mut pairs: Vec<_> =
            library.into_iter().filter(|(key, _)| !users.contains_key(*key)).collect();
        let is_ours = |wanted: &str| ours.iter().any(|(key, _)| *key == wanted);
        pairs.extend(
            users
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .filter(|(key, _)| !is_ours(key)),
        );
        pairs.extend(ours);
        pairs.sort_unstable_by_key(|(key, _)| *key);
        pairs
    }
}

/// The tags of the image of an earlier run, as the record of a later one has them: that run's, which
/// stay its own. Two runs do not fight over the tags of one image.
#[must_use]
pub fn of_earlier_run(earlier: &RecordHead) -> Tags {
    match &earlier.built {
        Some(built) if built.tags.contains_key(WORKFLOW_ID_TAG) => built.tags.clone(),
        _ => BTreeMap::from([(WORKFLOW_ID_TAG.to_owned(), earlier.workflow_id.to_string())]).into(),
    }
}

/// Whether the tags of a recorded image are those of another run, and are left alone.
#[must_use]
pub fn are_of_another_run(record: &RecordHead, tags: &Tags) -> bool {
    tags.get(WORKFLOW_ID_TAG).is_some_and(|id| id != record.workflow_id.as_str())
}

/// What changes `actual` into `desired`: what differs is set, what this program had set and git no
/// longer wants is taken off, and what others have put there stays. None if nothing is to be done.
#[must_use]
pub fn tag_change(
    desired: &BTreeMap<String, String>,
    actual: &BTreeMap<String, String>,
    set_before: &BTreeMap<String, String>,
) -> Option<TagChange> {
    let set: BTreeMap<_, _> = desired
        .iter()
        .filter(|(key, value)| actual.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let remove: Vec<_> = set_before
        .keys()
        .filter(|key| !desired.contains_key(*key) && actual.contains_key(*key))
        .cloned()
        .collect();
    (!set.is_empty() || !remove.is_empty()).then_some(TagChange { set, remove })
}

/// Refuses tags that EC2 would refuse after an hour of building. `path` is the file that they stand
/// in.
pub fn check_tags(aws_tags: &BTreeMap<String, String>, path: &str) -> Result<(), Diagnostic> {
    const OTHERS: usize = 10;
    let wrong =
        |message: String, hint: &str| Err(Diagnostic::new(message).in_file(path).hint(hint));
    if aws_tags.len() + OTHERS > MOST_TAGS {
        return wrong(
            format!(
                "`aws_tags` has {} tags; with {OTHERS} of the reconciler's own an image would carry more than {MOST_TAGS}",
                aws_tags.len()
            ),
            "EC2 takes 50 tags on an image",
        );
    }
    for (key, value) in aws_tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return wrong(
                format!("the tag `{key}` starts with `aws:`"),
                "AWS keeps that prefix for itself",
            );
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return wrong(
                format!("the tag `{key}` is too long"),
                "EC2 takes keys of 1 to 128 and values of up to 256 characters",
            );
        }
        if key.starts_with("reconciler:") {
            return wrong(
                format!("the tag `{key}` starts with `reconciler:`"),
                "these tags are written by the reconciler",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_others_put_on_an_image_stays_and_what_left_git_goes() {
        let change = tag_change(
            &tags(&[("a", "2"), ("b", "1")]),
            &tags(&[("a", "1"), ("b", "1"), ("old", "x"), ("theirs", "y")]),
            &tags(&[("a", "1"), ("old", "x")]),
        );
        assert_eq!(
            change,
            Some(TagChange { set: tags(&[("a", "2")]), remove: vec!["old".into()] })
        );
        assert_eq!(
            tag_change(&tags(&[("a", "1")]), &tags(&[("a", "1"), ("theirs", "y")]), &tags(&[])),
            None
        );
    }

    #[test]
    fn tags_that_ec2_refuses_are_refused_before_a_build() {
        assert!(check_tags(&tags(&[("aws:x", "1")]), "w").unwrap_err().message.contains("aws:"));
        let many: BTreeMap<_, _> = (0..41).map(|n| (n.to_string(), String::new())).collect();
        assert!(check_tags(&many, "w").unwrap_err().message.contains("more than 50"));
    }

    #[test]
    fn the_users_tags_stand_over_the_librarys_and_ours_over_all() {
        let (workflow_id, step_id) = (WorkflowId::new("wf"), StepId::new("pyenv"));
        let (id, name) = (AmiId::new("ami-0"), AmiName::new("base"));
        let aws_tags = tags(&[("Name", "mine"), ("team", "ops")]);
        let all = ImageTags {
            name: &AmiName::new("base/wf/pyenv/2d711642"),
            base_ami_id: &id,
            base_ami_name: &name,
            root_base_ami_id: &id,
            root_base_ami_name: &name,
            aws_tags: &aws_tags,
            workflow_id: &workflow_id,
            step_id: &step_id,
            fingerprint: &reconciler_model::digest::Digest::of(b"x").into(),
            build_id: &BuildId::new("b-1"),
            revision: &Revision::new("4f2c1e9"),
        }
        .tags();
        let value = |key: &str| all.get(key).map(String::as_str);
        assert_eq!(all.len(), 11);
        assert_eq!(value("Name"), Some("mine"));
        assert_eq!(value("team"), Some("ops"));
        assert_eq!(value("packer:base_ami_id"), Some("ami-0"));
        assert_eq!(value("packer:root_base_ami_name"), Some("base"));
        assert_eq!(value("reconciler:step-id"), Some("pyenv"));
        assert_eq!(value("reconciler:git-commit"), Some("4f2c1e9"));
    }

    #[test]
    fn a_key_or_value_that_is_too_long_or_reserved_is_refused_by_name() {
        for (key, value, said) in [
            ("k".repeat(129), String::new(), "too long"),
            ("k".to_owned(), "v".repeat(257), "`k` is too long"),
            ("AWS:x".to_owned(), String::new(), "`aws:`"),
            ("reconciler:step-id".to_owned(), String::new(), "`reconciler:`"),
        ] {
            let wrong = check_tags(&BTreeMap::from([(key, value)]), "w").unwrap_err();
            assert!(wrong.message.contains(said), "{wrong}");
        }
        let fine = BTreeMap::from([("ключ/+=".to_owned(), "v".repeat(256))]);
        assert!(check_tags(&fine, "w").is_ok(), "EC2 takes any characters");
    }
}
