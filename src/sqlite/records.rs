//! Records as rows. The head stands in columns of its own, so that a plan reads ten thousand of
//! them without parsing JSON; the long texts stand in a table beside it.

use std::borrow::Borrow;

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::sqlite::SqliteInventory;
use crate::sqlite::error::Fault;
use crate::sqlite::rows::{
    column, digest, json_text, lossy, many, nanoseconds, number, text, time,
};
use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::record::{Built, Record, RecordHead};
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{
    Expected, Heads, InventoryError, Malformed, Many, Records, Removal,
};

/// Columns 0 to 18.
const HEAD: &str = "r.workflow_id, r.step_id, r.ami_id, r.ami_name, r.create_at, r.base_ami_id, r.base_ami_name, \
    r.root_base_ami_id, r.root_base_ami_name, r.fingerprint, r.build_id, r.revision, r.region, r.tags, \
    r.metadata_digest, r.build_seconds, r.recorded_at, r.fence, \
    r.build_times";

/// Columns 19 to 22.
const TEXTS: &str = "t.aws_console_url, t.details, t.metadata, t.components";

#[async_trait]
impl Records for SqliteInventory {
    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError> {
        let workflow = workflow.clone();
        let heads = self.read_if_there(move |db| heads(db, &workflow)).await?;
        Ok(heads.unwrap_or_else(|| Heads { missing: true, ..Heads::default() }))
    }

    async fn record(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Option<Record>, InventoryError> {
        let (workflow, step) = (workflow.clone(), step.clone());
        self.read(move |db| {
            let key = [workflow.as_str(), step.as_str()];
            Fault::unless_one(whole(db, "r.workflow_id = ?1 AND r.step_id = ?2", key)?)
        })
        .await
    }

    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError> {
        let step = step.clone();
        let which = "r.step_id = ?1 ORDER BY r.create_at DESC, r.workflow_id DESC";
        self.read(move |db| whole(db, which, [step.as_str()])).await
    }

    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError> {
        let workflow = workflow.clone();
        let which = "r.workflow_id = ?1 ORDER BY r.create_at DESC, r.step_id DESC";
        self.read(move |db| whole(db, which, [workflow.as_str()])).await
    }
}

fn heads(db: &Connection, workflow: &WorkflowId) -> Result<Heads, Fault> {
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

fn whole(db: &Connection, which: &str, values: impl Params) -> Result<Many<Record>, Fault> {
    many(
        db,
        &format!(
            "SELECT {HEAD}, {TEXTS} FROM record r LEFT JOIN record_text t USING (workflow_id, step_id) WHERE {which}"
        ),
        values,
        record,
        |row, detail| Malformed {
            step: Some(StepId::new(lossy(row, 1))),
            key: format!("{}/{}", lossy(row, 0), lossy(row, 1)),
            detail,
        },
    )
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
        if !expected.is_met_by(stands.as_deref()) {
            return Err(Fault::Conflict(head.name()));
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
            record.components.as_ref().map(json_text).transpose()?,
        ],
    )?;
    Ok(())
}

/// Removes a record that names the image it is said to name.
pub(super) fn remove(db: &Connection, removal: &Removal) -> Result<(), Fault> {
    let key = [removal.workflow_id.as_str(), removal.step_id.as_str()];
    let removed = db
        // Seeded bug: any-record-is-removed-in-sqlite
        .prepare_cached("DELETE FROM record WHERE workflow_id = ? AND step_id = ? AND ami_id = ?")?
        .execute([key[0], key[1], removal.image.as_str()])?;
    if removed == 0 {
        return Err(Fault::Conflict(removal.name()));
    }
    db.prepare_cached("DELETE FROM record_text WHERE workflow_id = ? AND step_id = ?")?
        .execute(key)?;
    Ok(())
}

fn put_head(db: &Connection, head: &RecordHead) -> Result<(), Fault> {
    let built = head.built.as_ref();
    db.prepare_cached(
        "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        built.map(|built| built.build_times.text()),
    ])?;
    Ok(())
}

/// The long texts may be missing: nobody decides by them.
fn record(row: &Row<'_>) -> Result<Record, String> {
    let long = |at: usize| text(row, at).ok();
    Ok(Record {
        head: head(row, &mut Last::default())?,
        aws_console_url: long(19).unwrap_or_default().to_owned(),
        details: long(20).unwrap_or("{}").to_owned(),
        metadata: long(21).unwrap_or("{}").to_owned(),
        // They say why a step differs, in words.
        components: long(22).and_then(|text| serde_json::from_str(text).ok()),
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
        workflow_id: shared(&mut last.workflow, text(row, 0)?),
        step_id: StepId::new(text(row, 1)?),
        ami_id: AmiId::new(text(row, 2)?),
        ami_name: AmiName::new(text(row, 3)?),
        create_at: time(row, 4)?,
        base_ami_id: AmiId::new(text(row, 5)?),
        base_ami_name: AmiName::new(text(row, 6)?),
        root_base_ami_id: shared(&mut last.root_id, text(row, 7)?),
        root_base_ami_name: shared(&mut last.root_name, text(row, 8)?),
        built: match column(row, 9, ValueRef::as_blob_or_null)? {
            None => None,
            Some(_) => Some(built(row, last)?),
        },
    })
}

fn built(row: &Row<'_>, last: &mut Last) -> Result<Built, String> {
    Ok(Built {
        fingerprint: digest(row, 9)?.into(),
        build_id: BuildId::new(text(row, 10)?),
        revision: shared(&mut last.revision, text(row, 11)?),
        region: shared(&mut last.region, text(row, 12)?),
        tags: Tags::stored(text(row, 13)?),
        metadata_digest: digest(row, 14)?,
        build_seconds: number(row, 15)?,
        recorded_at: time(row, 16)?,
        fence: number(row, 17)?,
        // Not there on what an earlier version wrote.
        build_times: BuildTimes::stored(text(row, 18).unwrap_or_default()),
    })
}
