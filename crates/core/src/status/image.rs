//! All that is known of one image, as people and programs read it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::images::console_url::console_link;
use crate::images::in_use::{InUse, user_words};
use crate::images::lineage::{Ancestor, Lineage, Made};
use crate::plan::sentences::age_words;
use crate::status::images::RecordedImage;
use reconciler_model::ids::{AmiId, AmiName, Region};
use reconciler_model::images::Image;
use reconciler_model::survey::SourceOf;
use reconciler_model::uses::{ImageUser, Look, Ownership, Unread, Uses};

/// The form of the JSON output (docs/output.md).
pub const SCHEMA: &str = "reconciler.image/1";

/// What is asked of AWS about an image, as far as there was an answer.
#[derive(Clone, Copy, Debug)]
pub struct AtAws<'a> {
    /// What EC2 shows of it; none if it shows nothing.
    pub image: Option<&'a Image>,
    /// What refers to it.
    pub uses: &'a Uses,
    /// Where it comes from, by EC2's own word, or why there is none.
    pub ancestry: Result<&'a [SourceOf], &'a str>,
}

/// All that is known of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageReport {
    /// Its id.
    pub ami_id: AmiId,
    /// Its name, where it is known.
    pub ami_name: Option<AmiName>,
    /// Where it was looked for.
    pub region: Region,
    /// Its state by EC2's word; null if EC2 shows nothing of it.
    pub state: Option<String>,
    /// The account that owns it.
    pub owner_id: Option<String>,
    /// Whether that is this account; null if nobody could tell.
    pub own: Option<bool>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// What EC2 says of it beside that.
    pub facts: Facts,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Where the AWS console shows it; null where nobody knows the console's address.
    pub aws_console_url: Option<String>,
    /// The records that name it: it is the current image of their steps.
    pub records: Vec<RecordedImage>,
    /// How it came to be, by records and journals.
    pub made: Vec<Made>,
    /// What it was made from, by records and journals, to the image that its workflow starts from.
    pub ancestry: Vec<Ancestor>,
    /// The same by EC2's word, to the image of which EC2 knows no source; null where EC2 does not
    /// say.
    pub ec2_ancestry: Option<Vec<SourceOf>>,
    /// Why EC2 does not say.
    pub ec2_ancestry_unknown: Option<String>,
    /// What was built on it, by records and journals.
    pub built_on_it: Vec<Made>,
    /// What refers to it at AWS.
    pub used_by: Vec<ImageUser>,
    /// Where it could not be looked at; it may be in use there.
    pub not_looked_at: Vec<NotLookedAt>,
}

/// What EC2 says of an image in its description.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// What it runs on.
    pub architecture: Option<String>,
    /// Whether everybody may use it.
    pub public: Option<bool>,
    /// From when on it is deprecated.
    pub deprecated_at: Option<String>,
    /// When an instance was last started from it; EC2 is a day behind.
    pub last_launched_at: Option<String>,
    /// The size of its volumes together.
    pub size_gib: Option<u64>,
    /// Its snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// A snapshot of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Its id.
    pub snapshot_id: String,
    /// The size of its volume.
    pub size_gib: Option<u64>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
}

/// A look that could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotLookedAt {
    /// Which.
    pub look: Look,
    /// Why, and which permission is missing.
    #[serde(flatten)]
    pub unread: Unread,
}

impl ImageReport {
    /// Puts together what is known.
    #[must_use]
    pub fn new(
        id: &AmiId,
        region: &Region,
        lineage: &Lineage,
        records: Vec<RecordedImage>,
        aws: &AtAws<'_>,
    ) -> Self {
        let seen = aws.image;
        let uses = aws.uses.of(id);
        let looks = uses.unread.into_iter();
        Self {
            ami_id: id.clone(),
            ami_name: seen.map(|seen| &seen.name).or_else(|| lineage.name(id)).cloned(),
            region: region.clone(),
            state: seen.map(|seen| seen.state.to_string()),
            owner_id: seen.map(|seen| seen.owner_id.clone()),
            own: match aws.uses.ownership(id) {
                _ if seen.is_none() => None,
                Ownership::Own => Some(true),
                Ownership::NotOwn => Some(false),
                Ownership::Unknown(_) => None,
            },
            created_at: seen.map(|seen| seen.created_at),
            facts: seen.map(|seen| Facts::read(&seen.details)).unwrap_or_default(),
            tags: seen.map(|seen| seen.tags.clone()).unwrap_or_default(),
            aws_console_url: console_link(region, id),
            records,
            made: lineage.of(id).cloned().collect(),
            ancestry: lineage.ancestors(id),
            ec2_ancestry: aws.ancestry.ok().map(<[_]>::to_vec),
            ec2_ancestry_unknown: aws.ancestry.err().map(str::to_owned),
            built_on_it: lineage.children(id).cloned().collect(),
            used_by: uses.users.into_iter().collect(),
            not_looked_at: looks.map(|(look, unread)| NotLookedAt { look, unread }).collect(),
        }
    }

    /// Whether EC2 and our records say the same of where the image comes from, as far as both say
    /// something; none where one of them says nothing.
    #[must_use]
    pub fn ancestries_agree(&self) -> Option<bool> {
        let ours = self.ancestry.iter().take_while(|one| !one.gap).map(|one| &one.ami_id);
        let theirs = self.ec2_ancestry.as_ref()?.iter().filter_map(|one| one.source.as_ref());
        let pairs: Vec<_> = ours.zip(theirs).collect();
        (!pairs.is_empty()).then(|| pairs.iter().all(|(ours, theirs)| ours == theirs))
    }
}

impl Facts {
    /// Reads the description that a record keeps (`Image::details`).
    fn read(details: &str) -> Self {
        let description: Value = serde_json::from_str(details).unwrap_or_default();
        let data = &description["data"];
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        let devices = data["BlockDeviceMappings"].as_array();
        let volumes = devices.into_iter().flatten().map(|device| &device["Ebs"]);
        let snapshots: Vec<Snapshot> = volumes
            .filter_map(|volume| {
                Some(Snapshot {
                    snapshot_id: volume["SnapshotId"].as_str()?.to_owned(),
                    size_gib: volume["VolumeSize"].as_u64(),
                    encrypted: volume["Encrypted"].as_bool(),
                })
            })
            .collect();
        Self {
            architecture: text("Architecture"),
            public: data["Public"].as_bool(),
            deprecated_at: text("DeprecationTime"),
            last_launched_at: text("LastLaunchedTime"),
            size_gib: snapshots.iter().map(|one| one.size_gib).sum(),
            snapshots,
        }
    }
}

/// A paragraph for people; styled, for a stream that takes the styles off where they are not wanted.
#[must_use]
pub fn text(report: &ImageReport, now: Timestamp) -> String {
    let bold = Style::new().bold();
    let name = report.ami_name.as_ref().map_or("(no name is known)", AmiName::as_str);
    let state = report.state.as_deref().unwrap_or("not at EC2");
    let mut out =
        format!("{bold}{}{bold:#}  {name}  {state} in {}\n", report.ami_id, report.region);
    let mut line = |title: &str, text: &str| {
        let _ = writeln!(out, "  {title:<13}{text}");
    };
    let made = report.made.iter().map(made_words);
    rows(&mut line, "step", made, "of no step that is recorded here");
    if let Some(created) = report.created_at {
        let whose = match report.own {
            Some(true) => " (yours)",
            Some(false) => " (not yours)",
            None => "",
        };
        let owner = report.owner_id.as_deref().unwrap_or_default();
        line("made", &format!("{} ago, of {owner}{whose}", age_words(now.duration_since(created))));
    }
    facts(&mut line, &report.facts);
    let ancestry = report.ancestry.iter().map(ancestor_words);
    rows(&mut line, "comes from", ancestry, "nobody knows: it is in no record and no journal");
    line("EC2 says", &second_opinion(report));
    rows(&mut line, "built on it", report.built_on_it.iter().map(child_words), "nothing");
    let used = report.used_by.iter().map(user_words);
    let unknown = report.not_looked_at.iter();
    let unknown = unknown.map(|one| InUse::Unknown(one.look, one.unread.clone()).words());
    rows(&mut line, "used by", used.chain(unknown), "nothing that EC2 knows of");
    let tags = report.tags.iter().map(|(key, value)| format!("{key} = {value}"));
    rows(&mut line, "tags", tags, "none");
    if let Some(url) = &report.aws_console_url {
        line("console", url);
    }
    out
}

/// A line for each, the first with the title.
fn rows(
    line: &mut impl FnMut(&str, &str),
    title: &str,
    all: impl Iterator<Item = String>,
    nothing: &str,
) {
    let mut title = Some(title);
    for text in all {
        line(title.take().unwrap_or_default(), &text);
    }
    if let Some(title) = title {
        line(title, nothing);
    }
}

fn facts(line: &mut impl FnMut(&str, &str), facts: &Facts) {
    if let (Some(size), Some(first)) = (facts.size_gib, facts.snapshots.first()) {
        let more = match facts.snapshots.len() {
            1 => first.snapshot_id.clone(),
            count => format!("{} and {} more", first.snapshot_id, count - 1),
        };
        let on = facts.architecture.as_ref().map(|one| format!(", {one}")).unwrap_or_default();
        line("size", &format!("{size} GiB ({more}){on}"));
    }
    if let Some(at) = &facts.deprecated_at {
        line("deprecated", at);
    }
    if let Some(at) = &facts.last_launched_at {
        line("launched", &format!("last at {at}"));
    }
}

fn made_words(made: &Made) -> String {
    let current = if made.current { ", current" } else { "" };
    let build = made.build_id.as_ref().map_or_else(
        || ", not built by the reconciler".to_owned(),
        |build| format!(", build {build}"),
    );
    format!("{} of workflow {}{current}{build}", made.step_id, made.workflow_id)
}

fn ancestor_words(ancestor: &Ancestor) -> String {
    let gap = if ancestor.gap { "(what is between is not known) " } else { "" };
    let name = ancestor.ami_name.as_ref().map(|name| format!("  {name}")).unwrap_or_default();
    let made = ancestor.made.as_ref();
    let made = made.map(|made| format!("  ({} of workflow {})", made.step_id, made.workflow_id));
    format!("{gap}{}{name}{}", ancestor.ami_id, made.unwrap_or_default())
}

fn child_words(made: &Made) -> String {
    let current = if made.current { ", current" } else { "" };
    format!(
        "{}  {}  ({} of workflow {}{current})",
        made.ami_id, made.ami_name, made.step_id, made.workflow_id
    )
}

/// What EC2 says of where an image comes from, beside what we know.
fn second_opinion(report: &ImageReport) -> String {
    let Some(theirs) = &report.ec2_ancestry else {
        let why = report.ec2_ancestry_unknown.as_deref().unwrap_or("it was not asked");
        return format!("nothing of where it comes from: {why}");
    };
    let sources: Vec<_> =
        theirs.iter().filter_map(|one| one.source.as_ref().map(AmiId::as_str)).collect();
    let chain = sources.join(", from ");
    match report.ancestries_agree() {
        _ if sources.is_empty() => "that it does not know what it was made from".to_owned(),
        Some(true) => format!("the same: from {chain}"),
        Some(false) => format!("otherwise: from {chain}"),
        None => format!("from {chain}"),
    }
}

#[cfg(test)]
mod tests {
    use reconciler_model::images::ImageState;
    use reconciler_model::uses::{Sightings, UserKind};

    use super::*;
    use crate::images::lineage::tests::{build, record};

    fn image() -> Image {
        let details = r#"{"data": {"Architecture": "x86_64", "Public": false, "BlockDeviceMappings": [
            {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "snap-1", "VolumeSize": 8, "Encrypted": true}},
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": "snap-2", "VolumeSize": 20}},
            {"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"}]}}"#;
        Image {
            id: AmiId::new("ami-a1"),
            name: AmiName::new("base/wf/a"),
            state: ImageState::Available,
            owner_id: "123456789012".into(),
            created_at: Timestamp::UNIX_EPOCH,
            tags: [("env".to_owned(), "test".to_owned())].into(),
            snapshots: vec!["snap-1".into(), "snap-2".into()],
            details: details.into(),
        }
    }

    fn from(image: &str, source: Option<&str>) -> SourceOf {
        SourceOf { image: AmiId::new(image), source: source.map(AmiId::new), region: None }
    }

    fn report(ancestry: Result<&[SourceOf], &str>) -> ImageReport {
        let records = [record("wf", "b", "ami-b", "ami-a1")];
        let lineage = Lineage::new(&records, &build("b-1", "a", "ami-a1", "ami-root"));
        let id = AmiId::new("ami-a1");
        let mut uses = Uses::nobody_looked([id.clone()]);
        for look in Look::ALL {
            uses.saw(look, Sightings::default());
        }
        let mut seen = Sightings::failed(Unread::because("no answer"));
        seen.add(&id, ImageUser::new(UserKind::Fleet, "fleet-1"));
        uses.saw(Look::Fleets, seen);
        uses.saw_own(Ok([id.clone()].into()));
        let image = image();
        let aws = AtAws { image: Some(&image), uses: &uses, ancestry };
        ImageReport::new(&id, &Region::new("us-east-1"), &lineage, vec![], &aws)
    }

    #[test]
    fn all_that_is_known_is_told() {
        let ec2 = [from("ami-a1", Some("ami-root")), from("ami-root", Some("ami-older"))];
        let told = text(&report(Ok(&ec2)), Timestamp::from_second(60).unwrap());
        insta::assert_snapshot!(anstream::adapter::strip_str(&told).to_string(), @"
        ami-a1  base/wf/a  available in us-east-1
          step         a of workflow wf, build b-1
          made         1m ago, of 123456789012 (yours)
          size         28 GiB (snap-1 and 1 more), x86_64
          comes from   ami-root  ubuntu
          EC2 says     the same: from ami-root, from ami-older
          built on it  ami-b  base/wf/b  (b of workflow wf, current)
          used by      fleet fleet-1
                       unknown whether a fleet names it: no answer
          tags         env = test
          console      https://us-east-1.console.aws.amazon.com/ec2/home?region=us-east-1#ImageDetails:imageId=ami-a1
        ");
    }

    #[test]
    fn ec2_may_agree_know_more_or_less_or_say_otherwise() {
        let said = |sources: &[SourceOf]| {
            let report = report(Ok(sources));
            (report.ancestries_agree(), second_opinion(&report))
        };
        let same = said(&[from("ami-a1", Some("ami-root")), from("ami-root", None)]);
        assert_eq!(same, (Some(true), "the same: from ami-root".to_owned()));
        let other = said(&[from("ami-a1", Some("ami-x")), from("ami-x", None)]);
        assert_eq!(other, (Some(false), "otherwise: from ami-x".to_owned()));
        let nothing = said(&[from("ami-a1", None)]);
        assert_eq!(nothing.0, None);
        assert!(nothing.1.contains("does not know"), "{}", nothing.1);
        let silent = report(Err("EC2 does not know GetImageAncestry here"));
        assert_eq!(silent.ancestries_agree(), None);
        assert!(second_opinion(&silent).ends_with("EC2 does not know GetImageAncestry here"));
    }

    #[test]
    fn an_image_that_ec2_does_not_show_is_told_by_what_we_know() {
        let lineage = Lineage::new(&[record("wf", "b", "ami-b", "ami-a")], &[]);
        let (id, uses) = (AmiId::new("ami-b"), Uses::nobody_looked([]));
        let aws = AtAws { image: None, uses: &uses, ancestry: Err("it is gone") };
        let report = ImageReport::new(&id, &Region::new("us-east-1"), &lineage, vec![], &aws);
        assert_eq!((report.state.as_deref(), report.own), (None, None));
        let told = text(&report, Timestamp::UNIX_EPOCH);
        let told = anstream::adapter::strip_str(&told).to_string();
        assert!(told.starts_with("ami-b  base/wf/b  not at EC2 in us-east-1\n"), "{told}");
        assert!(told.contains("comes from   ami-a  name of ami-a"), "{told}");
        assert_eq!(report.not_looked_at.len(), Look::ALL.len());
    }
}
