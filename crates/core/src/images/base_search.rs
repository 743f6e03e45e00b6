//! Which base images a person looks for, and what is said where there are none. Pure.
//!
//! What is not said on the command line is taken from the workflow's own parameters. An owner has to
//! be known: anybody can publish an image of any name.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::workflow::{RootBase, WorkflowParams};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{Region, WorkflowId};
use reconciler_model::survey::{Architecture, FoundImage, ImageSearch};

/// Owners that have a name beside their ids (EC2 API reference, `DescribeImages`, Owner).
const ALIASES: [&str; 4] = ["self", "amazon", "aws-marketplace", "aws-backup-vault"];

/// How many owners of images of the right name an error lists.
const LISTED: usize = 5;

/// What a person says of the images that are meant.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What their names match.
    pub name: Option<&'a str>,
    /// Who owns them.
    pub owner: Option<&'a str>,
    /// What they run on.
    pub architecture: Architecture,
}

impl Asked<'_> {
    /// The search, with what the workflow's parameters say of the rest. `path` is their file.
    pub fn search(&self, params: &WorkflowParams, path: &str) -> Result<ImageSearch, Diagnostic> {
        let pattern = match (self.name, &params.root_base) {
            (Some(name), _) => name.to_owned(),
            (None, RootBase::Pattern { pattern, .. }) => pattern.clone(),
            (None, RootBase::Image { id, name }) => {
                let message = format!(
                    "workflow {} names its base image by id ({id}), and no pattern to look for",
                    params.workflow_id
                );
                return Err(Diagnostic::new(message)
                    .in_file(path)
                    .hint(format!("say what names to look for: --name '{}'", with_star(name))));
            }
        };
        if pattern.trim().is_empty() {
            return Err(Diagnostic::new("the name to look for is empty").hint(
                "--name takes a name, in which * stands for any text and ? for one character",
            ));
        }
        let of_workflow = match params.values.get("root_base_ami_owner_account_id") {
            Some(Value::String(owner)) => Some(owner.clone()),
            Some(Value::Number(owner)) => Some(owner.to_string()),
            _ => None,
        };
        let owner = self.owner.map(str::to_owned).or(of_workflow).ok_or_else(|| {
            Diagnostic::new(format!("whose images called `{pattern}` are meant is not said"))
                .hint("anybody can publish an image of any name: add --owner with an account id of 12 digits, self, amazon or aws-marketplace")
        })?;
        let is_account = owner.len() == 12 && owner.bytes().all(|byte| byte.is_ascii_digit());
        if !is_account && !ALIASES.contains(&owner.as_str()) {
            return Err(Diagnostic::new(format!("{owner:?} is no owner of images"))
                .hint("an owner is an account id of 12 digits (099720109477 is Canonical), self, amazon or aws-marketplace"));
        }
        Ok(ImageSearch { pattern, owner, architecture: self.architecture })
    }
}

/// A pattern for later images of the same kind: the last long number, mostly a date, is any text.
fn with_star(name: &str) -> String {
    let bytes = name.as_bytes();
    let is_digit = |at: usize| bytes[at].is_ascii_digit();
    let mut end = bytes.len();
    while end > 0 {
        let mut start = end;
        while start > 0 && is_digit(start - 1) {
            start -= 1;
        }
        if end - start >= 6 {
            return format!("{}*", &name[..start]);
        }
        end = if start == end { end - 1 } else { start };
    }
    name.to_owned()
}

/// The images in the order in which they are shown: the newest first.
#[must_use]
pub fn newest_first(mut images: Vec<FoundImage>) -> Vec<FoundImage> {
    images.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    images
}

/// The images without those that this workflow, or another run of it, has made: they were made from
/// its base. Their names begin like the base's, so that a pattern for it finds them too.
#[must_use]
pub fn without_its_own(images: Vec<FoundImage>, params: &WorkflowParams) -> Vec<FoundImage> {
    let id = &params.workflow_id;
    let is_run = |other: &WorkflowId| {
        other == id || params.settings.family.as_ref().is_some_and(|family| family.has(other))
    };
    let is_own = |image: &FoundImage| match &image.workflow_id {
        Some(of) => is_run(of),
        // The Python library tags no workflow: `{base}/{workflow}/{step}`; ours go on with the
        // fingerprint, and of a shared image no tags are seen.
        None => image.name.as_str().rsplit('/').skip(1).take(2).any(|part| part == id.as_str()),
    };
    // Seeded bug: a-workflow-starts-from-its-own-image
    images.into_iter().filter(|image| !is_own(image)).collect()
}

/// Why a search found nothing. `namesakes` are images of the right name, of whatever owner and
/// kind.
#[must_use]
pub fn nothing_found(
    search: &ImageSearch,
    region: &Region,
    namesakes: &[FoundImage],
) -> Diagnostic {
    let ImageSearch { pattern, owner, architecture } = search;
    let wrong = |what: &str| Diagnostic::new(format!("{what} in {region} is called `{pattern}`"));
    if namesakes.is_empty() {
        return wrong("no available image").hint(
            "check the pattern (* stands for any text, ? for one character) and the region: names differ from region to region",
        );
    }
    let of_owner =
        |image: &&FoundImage| image.owner_id == *owner || image.owner_alias.as_ref() == Some(owner);
    let others: Vec<&str> = namesakes
        .iter()
        .filter(of_owner)
        .map(|image| image.architecture.as_str())
        .filter(|other| *other != architecture.as_str())
        .collect();
    if let Some(other) = others.first() {
        return wrong(&format!("no {architecture} image of {owner}"))
            .hint(format!("there are images for {other}: --arch {other}"));
    }
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for image in namesakes {
        *owners.entry(image.owner_id.as_str()).or_default() += 1;
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(owner, images)| (std::cmp::Reverse(*images), *owner));
    let listed = owners.iter().take(LISTED).map(|(owner, images)| format!("{owner} ({images})"));
    let listed = listed.collect::<Vec<_>>().join(", ");
    let more = if owners.len() > LISTED { ", and others" } else { "" };
    wrong(&format!("no {architecture} image of {owner}")).hint(format!(
        "images of this name are of {listed}{more}: anybody can publish one; if it is one of these that you trust, name it by --owner"
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use reconciler_model::ids::{AmiId, AmiName};

    use super::*;
    use crate::workflow::params;
    use crate::workflow::settings::Settings;

    const CANONICAL: &str = "099720109477";

    fn asked(name: Option<&'static str>, owner: Option<&'static str>) -> Asked<'static> {
        Asked { name, owner, architecture: Architecture::X86_64 }
    }

    fn search(asked: &Asked<'_>, base: &str) -> Result<ImageSearch, Diagnostic> {
        let text = format!("{{\"workflow_id\": \"wf\", {base}}}");
        let (params, _) = params::read("w.json", text.as_bytes()).unwrap();
        asked.search(&params, "w.json")
    }

    const PATTERN: &str =
        r#""root_base_ami_name": "ubuntu-*", "root_base_ami_owner_account_id": "099720109477""#;
    const ID: &str =
        r#""root_base_ami_name": "ubuntu-22.04-20261101.1", "root_base_ami_id": "ami-1""#;

    #[test]
    fn what_is_not_said_is_taken_from_the_workflow() {
        let meant = |asked, base| {
            let search = search(&asked, base).unwrap();
            (search.pattern, search.owner)
        };
        let pair = |pattern: &str, owner: &str| (pattern.to_owned(), owner.to_owned());
        assert_eq!(meant(asked(None, None), PATTERN), pair("ubuntu-*", CANONICAL));
        assert_eq!(
            meant(asked(Some("al2023-*"), Some("amazon")), PATTERN),
            pair("al2023-*", "amazon")
        );
        assert_eq!(meant(asked(None, Some("self")), PATTERN), pair("ubuntu-*", "self"));
        let pinned = format!("{ID}, \"root_base_ami_owner_account_id\": 999720109477");
        assert_eq!(meant(asked(Some("u-*"), None), &pinned), pair("u-*", "999720109477"));
    }

    #[test]
    fn what_nobody_says_is_asked_for() {
        let refused = |asked, base| {
            let wrong = search(&asked, base).unwrap_err();
            format!("{}; {}", wrong.message, wrong.hint.unwrap())
        };
        let no_pattern = refused(asked(None, Some("self")), ID);
        assert!(no_pattern.ends_with("--name 'ubuntu-22.04-*'"), "{no_pattern}");
        let no_owner = refused(asked(Some("ubuntu-*"), None), ID);
        assert!(no_owner.contains("--owner"), "{no_owner}");
        let odd = refused(asked(None, Some("canonical")), PATTERN);
        assert!(odd.contains("\"canonical\" is no owner"), "{odd}");
        assert!(refused(asked(Some(" "), None), PATTERN).contains("is empty"));
    }

    fn image(id: &str, owner: &str, architecture: &str, created: i64) -> FoundImage {
        FoundImage {
            id: AmiId::new(id),
            name: AmiName::new("ubuntu-1"),
            owner_id: owner.to_owned(),
            owner_alias: None,
            created_at: Timestamp::from_second(created).unwrap(),
            architecture: architecture.to_owned(),
            is_public: true,
            workflow_id: None,
        }
    }

    #[test]
    fn the_newest_comes_first_and_of_one_moment_the_greater_id() {
        let [old, new, twin] = [("ami-9", 1), ("ami-1", 2), ("ami-2", 2)]
            .map(|(id, at)| image(id, CANONICAL, "x86_64", at));
        assert_eq!(newest_first(vec![old.clone(), new.clone(), twin.clone()]), [twin, new, old]);
    }

    #[test]
    fn images_of_the_workflow_itself_are_nothing_to_start_it_from() {
        let text = format!("{{\"workflow_id\": \"wf-2\", {PATTERN}}}");
        let (mut params, _) = params::read("w.json", text.as_bytes()).unwrap();
        let made = |id: &str, workflow: Option<&str>, name: &str| FoundImage {
            workflow_id: workflow.map(WorkflowId::new),
            name: AmiName::new(name),
            ..image(id, CANONICAL, "x86_64", 1)
        };
        let found = vec![
            made("ami-0", None, "ubuntu-1"),
            made("ami-1", Some("wf-2"), "ubuntu-1/mysql"),
            made("ami-2", Some("wf-1"), "ubuntu-1/wf-1/a/1a2b3c4d"),
            made("ami-3", None, "ubuntu-1/wf-2/a"),
            made("ami-4", None, "ubuntu-1/wf-1/a"),
        ];
        let left = |params: &WorkflowParams| -> Vec<String> {
            let left = without_its_own(found.clone(), params).into_iter();
            left.map(|image| image.id.to_string()).collect()
        };
        assert_eq!(left(&params), ["ami-0", "ami-2", "ami-4"]);
        let family = Settings::read("r.json", br#"{"family": "wf-*"}"#, &params.workflow_id);
        params.settings = family.unwrap();
        assert_eq!(left(&params), ["ami-0", "ami-4"]);
    }

    #[test]
    fn nothing_is_told_with_what_there_is_instead() {
        let search = search(&asked(None, None), PATTERN).unwrap();
        let told = |namesakes: &[FoundImage]| {
            let wrong = nothing_found(&search, &Region::new("us-east-1"), namesakes);
            format!("{}; {}", wrong.message, wrong.hint.unwrap())
        };
        assert!(
            told(&[]).starts_with("no available image in us-east-1 is called `ubuntu-*`; check")
        );
        let arm = told(&[image("ami-1", "1", "x86_64", 1), image("ami-2", CANONICAL, "arm64", 1)]);
        assert!(arm.ends_with("there are images for arm64: --arch arm64"), "{arm}");
        let strangers: Vec<_> =
            (1..=7).map(|n| image("ami", &format!("{n}"), "x86_64", n)).collect();
        let foreign = told(&[strangers, vec![image("ami", "7", "arm64", 1)]].concat());
        assert!(foreign.starts_with("no x86_64 image of 099720109477 in"), "{foreign}");
        assert!(
            foreign.contains("are of 7 (2), 1 (1), 2 (1), 3 (1), 4 (1), and others"),
            "{foreign}"
        );
    }
}
