//! Recorded images as people and programs read them. Pure.

use std::fmt::Write as _;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use crate::plan::sentences::age_words;
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiId, AmiName, Revision, StepId, WorkflowId};
use reconciler_model::inventory::record::Record;

/// The form of the JSON output (docs/output.md).
pub const SCHEMA: &str = "reconciler.images/1";

/// A recorded image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedImage {
    /// The workflow that it is recorded under.
    pub workflow_id: WorkflowId,
    /// The step.
    pub step_id: StepId,
    /// The image.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// When EC2 created it.
    pub created_at: Timestamp,
    /// The image that it was built on.
    pub base_ami_id: AmiId,
    /// That image's name.
    pub base_ami_name: AmiName,
    /// Where the workflow starts.
    pub root_base_ami_id: AmiId,
    /// That image's name.
    pub root_base_ami_name: AmiName,
    /// What it was built from; null on a record of the Python library.
    pub fingerprint: Option<Fingerprint>,
    /// The commit that it was built from; null on a record of the Python library.
    pub revision: Option<Revision>,
    /// Where the AWS console shows it.
    pub aws_console_url: String,
}

impl From<Record> for RecordedImage {
    fn from(record: Record) -> Self {
        let head = record.head;
        let built = head.built.as_ref();
        Self {
            fingerprint: built.map(|built| built.fingerprint),
            revision: built.map(|built| built.revision.clone()),
            workflow_id: head.workflow_id,
            step_id: head.step_id,
            ami_id: head.ami_id,
            ami_name: head.ami_name,
            created_at: head.create_at,
            base_ami_id: head.base_ami_id,
            base_ami_name: head.base_ami_name,
            root_base_ami_id: head.root_base_ami_id,
            root_base_ami_name: head.root_base_ami_name,
            aws_console_url: record.aws_console_url,
        }
    }
}

/// Each image once, newest first, though several workflows of git may have found it in one table.
#[must_use]
pub fn newest_first(mut images: Vec<RecordedImage>) -> Vec<RecordedImage> {
    let key = |image: &RecordedImage| {
        (image.workflow_id.clone(), image.step_id.clone(), image.ami_id.clone())
    };
    images.sort_by_cached_key(|image| (std::cmp::Reverse(image.created_at), key(image)));
    images.dedup_by_key(|image| key(image));
    images
}

/// A line for each image; styled, for a stream that takes the styles off where they are not wanted.
#[must_use]
pub fn text(images: &[RecordedImage], now: Timestamp) -> String {
    let bold = Style::new().bold();
    let width = |of: fn(&RecordedImage) -> &str| {
        images.iter().map(|image| of(image).chars().count()).max().unwrap_or(0)
    };
    let workflow = width(|image| image.workflow_id.as_str());
    let step = width(|image| image.step_id.as_str());
    let id = width(|image| image.ami_id.as_str());
    let mut out = String::new();
    for image in images {
        let by = if image.fingerprint.is_some() { "" } else { "  (not built by the reconciler)" };
        let _ = writeln!(
            out,
            "{:workflow$}  {bold}{:step$}{bold:#}  {:id$}  {} ago  {} on {}{by}",
            image.workflow_id.as_str(),
            image.step_id.as_str(),
            image.ami_id.as_str(),
            age_words(now.duration_since(image.created_at)),
            image.ami_name,
            image.base_ami_id,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(workflow: &str, step: &str, created: i64) -> RecordedImage {
        RecordedImage {
            workflow_id: WorkflowId::new(workflow),
            step_id: StepId::new(step),
            ami_id: AmiId::new(format!("ami-{created}")),
            ami_name: AmiName::new(format!("base/{workflow}/{step}")),
            created_at: Timestamp::from_second(created).unwrap(),
            base_ami_id: AmiId::new("ami-base"),
            base_ami_name: AmiName::new("base"),
            root_base_ami_id: AmiId::new("ami-base"),
            root_base_ami_name: AmiName::new("base"),
            fingerprint: None,
            revision: None,
            aws_console_url: String::new(),
        }
    }

    #[test]
    fn the_newest_comes_first_and_each_once() {
        let [old, new, other] =
            [image("w-1", "a", 10), image("w-2", "a", 30), image("w-1", "b", 20)];
        let found = newest_first(vec![old.clone(), new.clone(), other.clone(), old.clone()]);
        assert_eq!(found, [new, other, old]);
    }

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let images = [image("w-10", "a", 30), image("w", "pyenv", 10)];
        let now = Timestamp::from_second(3630).unwrap();
        let plain = anstream::adapter::strip_str(&text(&images, now)).to_string();
        insta::assert_snapshot!(plain, @"
        w-10  a      ami-30  1h ago  base/w-10/a on ami-base  (not built by the reconciler)
        w     pyenv  ami-10  1h ago  base/w/pyenv on ami-base  (not built by the reconciler)
        ");
    }
}
