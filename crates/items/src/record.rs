//! Records as items of the table, in the very formats of the Python library, and back. Pure.
//!
//! What this program adds has names that begin with `reconciler_`; a record without them was
//! written by the library. `docs/inventory.md` lists every attribute.

use serde::de::IgnoredAny;

use crate::attributes::{
    json, json_value, number, number_value, optional_text, parsed, python_time, read_python_time,
    text, text_value,
};
use crate::{Item, Value};
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::record::{Built, Record, RecordHead};
use reconciler_model::inventory::tags::Tags;

const FINGERPRINT: &str = "reconciler_fingerprint";
const BUILD_TIMES: &str = "reconciler_build_times";

/// The attributes of a head: all but the long texts.
pub const HEAD: [&str; 19] = [
    "workflow_id",
    "step_id",
    "ami_id",
    "ami_name",
    "create_at",
    "base_ami_id",
    "base_ami_name",
    "root_base_ami_id",
    "root_base_ami_name",
    FINGERPRINT,
    "reconciler_build_id",
    "reconciler_git_commit",
    "reconciler_region",
    "reconciler_tags",
    "reconciler_metadata_digest",
    "reconciler_build_seconds",
    BUILD_TIMES,
    "reconciler_recorded_at",
    "reconciler_fence",
];

/// A record as the table holds it; an error if the Python library could not read it.
pub fn to_item(record: &Record) -> Result<Item, String> {
    let head = &record.head;
    let mut item = Item::from(
        [
            ("workflow_id", head.workflow_id.as_str()),
            ("step_id", head.step_id.as_str()),
            ("ami_id", head.ami_id.as_str()),
            ("ami_name", head.ami_name.as_str()),
            ("base_ami_id", head.base_ami_id.as_str()),
            ("base_ami_name", head.base_ami_name.as_str()),
            ("root_base_ami_id", head.root_base_ami_id.as_str()),
            ("root_base_ami_name", head.root_base_ami_name.as_str()),
            ("aws_console_url", record.aws_console_url.as_str()),
            ("details", is_json("details", &record.details)?),
            ("metadata", is_json("metadata", &record.metadata)?),
        ]
        .map(|(name, value)| (name.to_owned(), text_value(value))),
    );
    item.insert("create_at".to_owned(), text_value(python_time(head.create_at)));
    if let Some(built) = &head.built {
        item.extend(built_attributes(built).map(|(name, value)| (name.to_owned(), value)));
        // A text without a letter tells nothing.
        if !built.build_times.text().is_empty() {
            item.insert(BUILD_TIMES.to_owned(), text_value(built.build_times.text()));
        }
    }
    if let Some(components) = &record.components {
        item.insert("reconciler_components".to_owned(), json_value(components)?);
    }
    Ok(item)
}

fn built_attributes(built: &Built) -> [(&'static str, Value); 9] {
    [
        (FINGERPRINT, text_value(built.fingerprint.to_string())),
        ("reconciler_build_id", text_value(built.build_id.as_str())),
        ("reconciler_git_commit", text_value(built.revision.as_str())),
        ("reconciler_region", text_value(built.region.as_str())),
        ("reconciler_tags", text_value(built.tags.text())),
        ("reconciler_metadata_digest", text_value(built.metadata_digest.to_string())),
        ("reconciler_build_seconds", number_value(built.build_seconds)),
        ("reconciler_recorded_at", text_value(built.recorded_at.to_string())),
        ("reconciler_fence", number_value(built.fence)),
    ]
}

fn is_json<'text>(name: &str, text: &'text str) -> Result<&'text str, String> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| text)
        .map_err(|wrong| format!("`{name}` is not JSON: {wrong}"))
}

/// The head of a record, or what is wrong with it.
pub fn head(item: &Item) -> Result<RecordHead, String> {
    Ok(RecordHead {
        workflow_id: WorkflowId::new(text(item, "workflow_id")?),
        step_id: StepId::new(text(item, "step_id")?),
        ami_id: AmiId::new(text(item, "ami_id")?),
        ami_name: AmiName::new(text(item, "ami_name")?),
        create_at: read_python_time(item, "create_at")?,
        base_ami_id: AmiId::new(text(item, "base_ami_id")?),
        base_ami_name: AmiName::new(text(item, "base_ami_name")?),
        root_base_ami_id: AmiId::new(text(item, "root_base_ami_id")?),
        root_base_ami_name: AmiName::new(text(item, "root_base_ami_name")?),
        built: match item.get(FINGERPRINT) {
            None => None,
            Some(_) => Some(built(item)?),
        },
    })
}

fn built(item: &Item) -> Result<Built, String> {
    Ok(Built {
        fingerprint: parsed(item, FINGERPRINT)?,
        build_id: BuildId::new(text(item, "reconciler_build_id")?),
        revision: Revision::new(text(item, "reconciler_git_commit")?),
        region: Region::new(text(item, "reconciler_region")?),
        tags: Tags::stored(text(item, "reconciler_tags")?),
        metadata_digest: parsed(item, "reconciler_metadata_digest")?,
        build_seconds: number(item, "reconciler_build_seconds")?,
        // Not there on what an earlier version wrote.
        build_times: BuildTimes::stored(text(item, BUILD_TIMES).unwrap_or_default()),
        recorded_at: parsed(item, "reconciler_recorded_at")?,
        fence: number(item, "reconciler_fence")?,
    })
}

/// The whole record, or what is wrong with it. The long texts may be missing or unreadable: nobody
/// decides by them.
pub fn record(item: &Item) -> Result<Record, String> {
    let long = |name| optional_text(item, name).ok().flatten();
    Ok(Record {
        head: head(item)?,
        aws_console_url: long("aws_console_url").unwrap_or_default().to_owned(),
        details: long("details").unwrap_or("{}").to_owned(),
        metadata: long("metadata").unwrap_or("{}").to_owned(),
        // They say why a step differs, in words.
        components: json(item, "reconciler_components").ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An item word for word as `packer_ami_workflow` 0.1.2 writes it.
    fn python_item() -> Item {
        [
            ("workflow_id", "acore-ami-2024-06-13-12-00-00"),
            ("step_id", "pyenv"),
            ("ami_id", "ami-1"),
            ("ami_name", "ubuntu/acore/pyenv"),
            ("create_at", "2024-06-13T12:00:00.000000+0000"),
            ("aws_console_url", "https://console.aws.amazon.com/"),
            ("base_ami_id", "ami-0"),
            ("base_ami_name", "ubuntu"),
            ("root_base_ami_id", "ami-0"),
            ("root_base_ami_name", "ubuntu"),
            ("details", r#"{"id": "ami-1", "ena_support": true}"#),
            ("metadata", r#"{"who": "k\u00f6bi"}"#),
        ]
        .map(|(name, value)| (name.to_owned(), text_value(value)))
        .into()
    }

    /// See `format_stability`: a literal is never changed, another one is added.
    #[test]
    fn a_record_that_an_earlier_version_wrote_is_read_and_written_alike() {
        let digest = "0123456789abcdef".repeat(4);
        let components = format!(
            r#"{{"identity":"{digest}","params":{{}},"templates":{{}},"files":{{"a":"{digest}"}},"source_ami":"ami-0"}}"#
        );
        let mut item = python_item();
        item.extend(
            [
                ("reconciler_fingerprint", &*digest),
                ("reconciler_build_id", "01900000-0000-7000-8000-000000000000"),
                ("reconciler_git_commit", "4f2c1e9000000000000000000000000000000000"),
                ("reconciler_region", "us-east-1"),
                ("reconciler_tags", r#"{"Name":"x"}"#),
                ("reconciler_metadata_digest", &*digest),
                ("reconciler_recorded_at", "2026-11-25T00:00:00Z"),
                ("reconciler_components", &*components),
            ]
            .map(|(name, value)| (name.to_owned(), text_value(value))),
        );
        item.insert("reconciler_build_seconds".to_owned(), number_value(60));
        item.insert("reconciler_fence".to_owned(), number_value(7));
        let read = record(&item).unwrap();
        let built = read.head.built.as_ref().unwrap();
        assert_eq!((built.fence, built.build_seconds), (7, 60));
        assert_eq!(read.components.as_ref().unwrap().files.len(), 1);
        assert_eq!(to_item(&read).unwrap(), item);
        assert_eq!(built.times().text(), "60");
        item.insert("reconciler_build_times".to_owned(), text_value("61 59 60"));
        let read = record(&item).unwrap();
        assert_eq!(read.head.built.as_ref().unwrap().times().text(), "61 59 60");
        assert_eq!(to_item(&read).unwrap(), item);
    }

    #[test]
    fn what_the_python_library_wrote_comes_back_word_for_word() {
        let item = python_item();
        let record = record(&item).unwrap();
        assert_eq!(record.head.built, None);
        assert_eq!(record.components, None);
        assert_eq!(record.head.create_at, "2024-06-13T12:00:00Z".parse().unwrap());
        assert_eq!(to_item(&record).unwrap(), item);
    }

    #[test]
    fn a_time_is_written_with_six_digits_and_read_with_any() {
        let wrote = python_time("2024-06-13T12:00:00.123Z".parse().unwrap());
        assert_eq!(wrote, "2024-06-13T12:00:00.123000+0000");
        let mut item = python_item();
        for (text, wanted) in [
            ("2024-06-13T12:00:00.123456+0000", "2024-06-13T12:00:00.123456Z"),
            ("2024-06-13T14:00:00+0200", "2024-06-13T12:00:00Z"),
            ("2024-06-13T12:00:00.12345678+0000", "2024-06-13T12:00:00.123456Z"),
            // What else is ISO 8601 and comes from Python: `isoformat()`, `str()`, a time without a
            // zone, which is UTC as all of these.
            ("2024-06-13T12:00:00Z", "2024-06-13T12:00:00Z"),
            ("2024-06-13T12:00:00.5Z", "2024-06-13T12:00:00.5Z"),
            ("2024-06-13T12:00:00+00:00", "2024-06-13T12:00:00Z"),
            ("2024-06-13T14:00:00.25+02:00", "2024-06-13T12:00:00.25Z"),
            ("2024-06-13 12:00:00+00:00", "2024-06-13T12:00:00Z"),
            ("2024-06-13 12:00:00.000000", "2024-06-13T12:00:00Z"),
            ("2024-06-13T12:00:00", "2024-06-13T12:00:00Z"),
            ("2024-06-13T12:00", "2024-06-13T12:00:00Z"),
            ("2024-06-13", "2024-06-13T00:00:00Z"),
            ("20240613T120000Z", "2024-06-13T12:00:00Z"),
            ("2024-06-13T12:00:00-00:00", "2024-06-13T12:00:00Z"),
        ] {
            item.insert("create_at".to_owned(), text_value(text));
            assert_eq!(head(&item).unwrap().create_at, wanted.parse().unwrap());
        }
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said_by_attribute() {
        for (name, value, said) in [
            (
                "create_at",
                Some(text_value("yesterday")),
                "attribute `create_at`: \"yesterday\" is not a time",
            ),
            ("ami_id", None, "attribute `ami_id` is missing"),
            (
                "ami_name",
                Some(Value::Number("7".to_owned())),
                "attribute `ami_name` is of type N, not S",
            ),
            (
                FINGERPRINT,
                Some(text_value("abc")),
                "attribute `reconciler_fingerprint`: not a digest",
            ),
        ] {
            let mut item = python_item();
            item.remove(name);
            item.extend(value.map(|value| (name.to_owned(), value)));
            let wrong = head(&item).unwrap_err();
            assert!(wrong.starts_with(said), "{wrong}");
        }
    }

    #[test]
    fn long_texts_may_be_missing_null_or_unreadable() {
        let mut item = python_item();
        item.remove("metadata");
        item.insert("details".to_owned(), Value::Null);
        for components in [text_value("{"), text_value(r#"{"identity": 7}"#), number_value(7)] {
            item.insert("aws_console_url".to_owned(), number_value(7));
            item.insert("reconciler_components".to_owned(), components);
            let record = record(&item).unwrap();
            assert_eq!((&*record.metadata, &*record.details), ("{}", "{}"));
            assert_eq!((&*record.aws_console_url, record.components), ("", None));
        }
    }

    #[test]
    fn a_text_that_the_python_library_could_not_read_is_not_written() {
        let mut record = record(&python_item()).unwrap();
        record.metadata = "{'who': 1}".to_owned();
        assert!(to_item(&record).unwrap_err().contains("`metadata` is not JSON"));
    }
}
