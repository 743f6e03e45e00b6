//! Base images that were found, as people and programs read them. Pure.

use std::fmt::Write as _;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use crate::images::console_url::console_link;
use crate::plan::sentences::age_words;
use crate::workflow::{RootBase, WorkflowParams};
use reconciler_model::ids::{AmiId, AmiName, Region, WorkflowId};
use reconciler_model::survey::{FoundImage, ImageSearch};

/// The form of the JSON output (docs/output.md).
pub const SCHEMA: &str = "reconciler.base/1";

/// What was looked for for a workflow, and what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaseReport {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// Where it was looked.
    pub region: Region,
    /// What the names match.
    pub pattern: String,
    /// Who owns the images.
    pub owner: String,
    /// What they run on.
    pub architecture: String,
    /// How many there are; `images` may have fewer.
    pub found: usize,
    /// The newest, newest first.
    pub images: Vec<BaseImage>,
    /// The file that names the newest now, if it was written.
    pub written: Option<String>,
}

/// One of the images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BaseImage {
    /// Its id.
    pub ami_id: AmiId,
    /// Its name.
    pub ami_name: AmiName,
    /// The account that owns it.
    pub owner_id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether everybody may use it.
    pub public: bool,
    /// Whether the workflow names it as its base, by its id.
    pub is_base: bool,
    /// Where the AWS console shows it; none where nobody knows the console's address.
    pub aws_console_url: Option<String>,
}

impl BaseReport {
    /// Of what was found, newest first, at most `limit` images are told.
    #[must_use]
    pub fn new(
        params: &WorkflowParams,
        region: &Region,
        search: &ImageSearch,
        found: &[FoundImage],
        limit: usize,
    ) -> Self {
        let base = match &params.root_base {
            RootBase::Image { id, .. } => Some(id),
            RootBase::Pattern { .. } => None,
        };
        let images = found.iter().take(limit).map(|image| BaseImage {
            ami_id: image.id.clone(),
            ami_name: image.name.clone(),
            owner_id: image.owner_id.clone(),
            created_at: image.created_at,
            public: image.is_public,
            is_base: base == Some(&image.id),
            aws_console_url: console_link(region, &image.id),
        });
        Self {
            workflow_id: params.workflow_id.clone(),
            region: region.clone(),
            pattern: search.pattern.clone(),
            owner: search.owner.clone(),
            architecture: search.architecture.to_string(),
            found: found.len(),
            images: images.collect(),
            written: None,
        }
    }
}

/// A line for each image, below what was looked for; styled, for a stream that takes the styles off
/// where they are not wanted.
#[must_use]
pub fn text(report: &BaseReport, now: Timestamp) -> String {
    let bold = Style::new().bold();
    let mut out = format!(
        "{}  {} images of {} in {} called `{}`\n",
        report.workflow_id, report.architecture, report.owner, report.region, report.pattern
    );
    let width = report.images.iter().map(|image| image.ami_id.as_str().len()).max().unwrap_or(0);
    for image in &report.images {
        let id = image.ami_id.as_str();
        let age = age_words(now.duration_since(image.created_at));
        let base = if image.is_base { "  (the base of this workflow)" } else { "" };
        let _ = writeln!(
            out,
            "  {bold}{id:width$}{bold:#}  {age} ago  {}  of {}{base}",
            image.ami_name, image.owner_id
        );
    }
    let more = report.found.saturating_sub(report.images.len());
    if more > 0 {
        let _ = writeln!(out, "  and {more} older");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::params;
    use reconciler_model::survey::Architecture;

    #[test]
    fn the_newest_are_told_with_the_one_that_the_workflow_names() {
        let text_of =
            r#"{"workflow_id": "wf", "root_base_ami_id": "ami-1", "root_base_ami_name": "u"}"#;
        let (params, _) = params::read("w", text_of.as_bytes()).unwrap();
        let search = ImageSearch {
            pattern: "u-*".into(),
            owner: "1".into(),
            architecture: Architecture::X86_64,
        };
        let image = |at: i64| FoundImage {
            id: AmiId::new(format!("ami-{at}")),
            name: AmiName::new(format!("u-{at}")),
            owner_id: "1".into(),
            owner_alias: None,
            created_at: Timestamp::from_second(at).unwrap(),
            architecture: "x86_64".into(),
            is_public: true,
            workflow_id: None,
        };
        let found = [image(10), image(1), image(0)];
        let report = BaseReport::new(&params, &Region::new("us-east-1"), &search, &found, 2);
        let told = text(&report, Timestamp::from_second(70).unwrap());
        insta::assert_snapshot!(anstream::adapter::strip_str(&told).to_string(), @"
        wf  x86_64 images of 1 in us-east-1 called `u-*`
          ami-10  1m ago  u-10  of 1
          ami-1   1m ago  u-1  of 1  (the base of this workflow)
          and 1 older
        ");
    }
}
