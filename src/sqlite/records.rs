//! Records as rows. The head stands in columns of its own, so that a plan reads ten thousand of
//! them without parsing JSON; the long texts stand in a table beside it.

use std::borrow::Borrow;

use jiff::Timestamp;
use rusqlite::types::{FromSql, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::sqlite::error::Fault;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
use reconciler_model::inventory::record::{Built, Record, RecordHead};
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{Expected, Heads, Malformed, Many};

/// Columns 0 to 17.
const HEAD: &str = "r.workflow_id, r.step_id, r.ami_id, r.ami_name, r.create_at, r.base_ami_id, r.base_ami_name, \
    r.root_base_ami_id, r.root_base_ami_name, r.fingerprint, r.build_id, r.revision, r.region, r.tags, \
    r.metadata_digest, r.build_seconds, r.recorded_at, r.fence";

/// Columns 18 to 21.
const TEXTS: &str = "t.aws_console_url, t.details, t.metadata, t.components";

pub(super) fn heads(db: &Connection, workflow: &WorkflowId) -> Result<Heads, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {HEAD} FROM record r WHERE workflow_id = ? ORDER BY step_id"
    ))?;
    let mut rows = statement.query([workflow.as_str()])?;
    let mut heads = Heads::default();
    let mut last = Last::default();
    while let Some(row) = rows.next()? {
        match head(row, &mut last) {
            Ok(head) => heads.records.push(head),
            Err(detail) => heads.malformed.push((StepId::new(lossy(row, 1)), detail)),
        }
    }
    Ok(heads)
}

pub(super) fn one(
    db: &Connection,
    workflow: &WorkflowId,
    step: &StepId,
) -> Result<Option<Record>, Fault> {
    let mut found =
        whole(db, "r.workflow_id = ?1 AND r.step_id = ?2", &[workflow.as_str(), step.as_str()])?;
    match found.malformed.pop() {
        Some(Malformed { key, detail, .. }) => Err(Fault::Malformed { key, detail }),
        None => Ok(found.sound.pop()),
    }
}

pub(super) fn of_step(db: &Connection, step: &StepId) -> Result<Many<Record>, Fault> {
    whole(db, "r.step_id = ?1 ORDER BY r.create_at DESC, r.workflow_id DESC", &[step.as_str()])
}

pub(super) fn of_workflow(db: &Connection, workflow: &WorkflowId) -> Result<Many<Record>, Fault> {
    whole(db, "r.workflow_id = ?1 ORDER BY r.create_at DESC, r.step_id DESC", &[workflow.as_str()])
}

/// The long texts may be missing: nobody decides by them.
fn whole(db: &Connection, which: &str, values: &[&str]) -> Result<Many<Record>, Fault> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {HEAD}, {TEXTS} FROM record r LEFT JOIN record_text t USING (workflow_id, step_id) WHERE {which}"
    ))?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut records = Many::default();
    while let Some(row) = rows.next()? {
        records.add(record(row).map_err(|detail| Malformed {
            step: Some(StepId::new(lossy(row, 1))),
            key: format!("{}/{}", lossy(row, 0), lossy(row, 1)),
            detail,
        }));
    }
    Ok(records)
}

/// Puts a record where `expected` stands now.
pub(super) fn put(
    db: &Connection,
    record: &Record,
    expected: Option<&Expected>,
) -> Result<(), Fault> {
    let head = &record.head;
    if let Some(expected) = expected {
        let stands: Option<String> = db
            .prepare_cached("SELECT ami_id FROM record WHERE workflow_id = ? AND step_id = ?")?
            .query_row([head.workflow_id.as_str(), head.step_id.as_str()], |row| row.get(0))
            .optional()?;
        let wanted = match expected {
            Expected::Absent => None,
            Expected::Image(ami_id) => Some(ami_id.as_str()),
        };
        if stands.as_deref() != wanted {
            return Err(Fault::Conflict(format!("record {}/{}", head.workflow_id, head.step_id)));
        }
    }
    put_head(db, head)?;
    db.prepare_cached("INSERT OR REPLACE INTO record_text VALUES (?, ?, ?, ?, ?, ?)")?.execute(
        params![
            head.workflow_id.as_str(),
            head.step_id.as_str(),
            record.aws_console_url,
            record.details,
            record.metadata,
            record.components.as_ref().map(json).transpose()?,
        ],
    )?;
    Ok(())
}

fn put_head(db: &Connection, head: &RecordHead) -> Result<(), Fault> {
    let built = head.built.as_ref();
    db.prepare_cached(
        "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        head.workflow_id.as_str(),
        head.step_id.as_str(),
        head.ami_id.as_str(),
        head.ami_name.as_str(),
        nanoseconds(head.create_at),
        head.base_ami_id.as_str(),
        head.base_ami_name.as_str(),
        head.root_base_ami_id.as_str(),
        head.root_base_ami_name.as_str(),
        built.map(|built| built.fingerprint.as_bytes()),
        built.map(|built| built.build_id.as_str()),
        built.map(|built| built.revision.as_str()),
        built.map(|built| built.region.as_str()),
        built.map(|built| built.tags.text()),
        built.map(|built| built.metadata_digest.as_bytes()),
        built.map(|built| built.build_seconds.cast_signed()),
        built.map(|built| nanoseconds(built.recorded_at)),
        built.map(|built| built.fence.cast_signed()),
    ])?;
    Ok(())
}

fn record(row: &Row<'_>) -> Result<Record, String> {
    let long = |at: usize| column::<Option<&str>>(row, at).ok().flatten();
    Ok(Record {
        head: head(row, &mut Last::default())?,
        aws_console_url: long(18).unwrap_or_default().to_owned(),
        details: long(19).unwrap_or("{}").to_owned(),
        metadata: long(20).unwrap_or("{}").to_owned(),
        // They say why a step differs, in words.
        components: long(21).and_then(|text| serde_json::from_str(text).ok()),
    })
}

/// The texts of the row before that most rows of a workflow share: a copy is taken of those.
#[derive(Default)]
struct Last {
    workflow: Option<WorkflowId>,
    root_id: Option<AmiId>,
    root_name: Option<AmiName>,
    revision: Option<Revision>,
    region: Option<Region>,
}

fn shared<'a, T: Borrow<str> + Clone + From<&'a str>>(last: &mut Option<T>, text: &'a str) -> T {
    if let Some(last) = last
        && (*last).borrow() == text
    {
        return last.clone();
    }
    last.insert(T::from(text)).clone()
}

fn head(row: &Row<'_>, last: &mut Last) -> Result<RecordHead, String> {
    Ok(RecordHead {
        workflow_id: shared(&mut last.workflow, column(row, 0)?),
        step_id: StepId::new(column::<&str>(row, 1)?),
        ami_id: AmiId::new(column::<&str>(row, 2)?),
        ami_name: AmiName::new(column::<&str>(row, 3)?),
        create_at: timestamp(column(row, 4)?)?,
        base_ami_id: AmiId::new(column::<&str>(row, 5)?),
        base_ami_name: AmiName::new(column::<&str>(row, 6)?),
        root_base_ami_id: shared(&mut last.root_id, column(row, 7)?),
        root_base_ami_name: shared(&mut last.root_name, column(row, 8)?),
        built: match column::<Option<&[u8]>>(row, 9)? {
            None => None,
            Some(fingerprint) => Some(built(row, fingerprint, last)?),
        },
    })
}

fn built(row: &Row<'_>, fingerprint: &[u8], last: &mut Last) -> Result<Built, String> {
    Ok(Built {
        fingerprint: digest(fingerprint)?.into(),
        build_id: BuildId::new(column::<&str>(row, 10)?),
        revision: shared(&mut last.revision, column(row, 11)?),
        region: shared(&mut last.region, column(row, 12)?),
        tags: Tags::stored(column(row, 13)?),
        metadata_digest: digest(column(row, 14)?)?,
        build_seconds: column::<i64>(row, 15)?.cast_unsigned(),
        recorded_at: timestamp(column(row, 16)?)?,
        fence: column::<i64>(row, 17)?.cast_unsigned(),
    })
}

fn digest(bytes: &[u8]) -> Result<Digest, String> {
    let bytes =
        bytes.try_into().map_err(|_| format!("a digest has {} bytes, not 32", bytes.len()))?;
    Ok(Digest::from_bytes(bytes))
}

/// A column's value, or what is wrong with it by the column's name.
pub(super) fn column<'row, T: FromColumn<'row>>(
    row: &'row Row<'_>,
    at: usize,
) -> Result<T, String> {
    let value = row.get_ref(at).map_err(|wrong| wrong.to_string())?;
    T::from_column(value).ok_or_else(|| {
        let name = row.as_ref().column_name(at).unwrap_or("?");
        format!("{name}: unexpected {}", value.data_type())
    })
}

/// As `FromSql`, but a text is borrowed from the row.
pub(super) trait FromColumn<'row>: Sized {
    fn from_column(value: ValueRef<'row>) -> Option<Self>;
}

impl<'row> FromColumn<'row> for &'row str {
    fn from_column(value: ValueRef<'row>) -> Option<Self> {
        value.as_str().ok()
    }
}

impl<'row> FromColumn<'row> for &'row [u8] {
    fn from_column(value: ValueRef<'row>) -> Option<Self> {
        value.as_blob().ok()
    }
}

impl FromColumn<'_> for String {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        value.as_str().ok().map(str::to_owned)
    }
}

impl FromColumn<'_> for i64 {
    fn from_column(value: ValueRef<'_>) -> Option<Self> {
        Self::column_result(value).ok()
    }
}

impl<'row, T: FromColumn<'row>> FromColumn<'row> for Option<T> {
    fn from_column(value: ValueRef<'row>) -> Option<Self> {
        match value {
            ValueRef::Null => Some(None),
            value => T::from_column(value).map(Some),
        }
    }
}

/// A column's value for people, whatever its type.
pub(super) fn lossy(row: &Row<'_>, at: usize) -> String {
    match row.get_ref(at) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Real(number)) => number.to_string(),
        _ => "?".to_owned(),
    }
}

/// Nanoseconds since 1970, which 64 bits hold until the year 2262; a time beyond is held at the
/// end.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 {
        i64::MIN
    } else {
        i64::MAX
    })
}

pub(super) fn timestamp(nanoseconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_nanosecond(nanoseconds.into()).map_err(|wrong| wrong.to_string())
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|wrong| Fault::Malformed {
        key: "a value to be written".to_owned(),
        detail: wrong.to_string(),
    })
}
