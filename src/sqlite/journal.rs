//! The build journal as rows, and beside it the newest attempt at each step, folded at every event.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params, Row, params};

use crate::sqlite::SqliteInventory;
use crate::sqlite::error::Fault;
use crate::sqlite::rows::{column, json, json_text, lossy, many, nanoseconds, text, time};
use reconciler_model::ids::{BuildId, StepId, WorkflowId};
use reconciler_model::inventory::journal::{Attempt, BuildEvent};
use reconciler_model::inventory::{InventoryError, Journal, Malformed, Many, OpenWorkflow};

#[async_trait]
impl Journal for SqliteInventory {
    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError> {
        let workflow = workflow.clone();
        self.read(move |db| attempts(db, &workflow, "attempt WHERE workflow_id = ?1")).await
    }

    async fn unrecorded_attempts(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Attempt>, InventoryError> {
        let workflow = workflow.clone();
        let unrecorded =
            "attempt INDEXED BY attempt_unrecorded WHERE workflow_id = ?1 AND recorded = 0";
        self.read(move |db| attempts(db, &workflow, unrecorded)).await
    }

    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let (workflow, step) = (workflow.clone(), step.cloned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |db| match step {
            Some(step) => {
                let values = params![workflow.as_str(), step.as_str(), limit];
                events(db, &workflow, "AND step_id = ?2", "LIMIT ?3", values)
            }
            None => events(db, &workflow, "", "LIMIT ?2", params![workflow.as_str(), limit]),
        })
        .await
    }

    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let (workflow, build) = (workflow.clone(), build.clone());
        self.read(move |db| {
            let values = [workflow.as_str(), build.as_str()];
            events(db, &workflow, "AND build_id = ?2", "", values)
        })
        .await
    }

    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let (workflow, step, since) = (workflow.clone(), step.clone(), BuildId::earliest(since));
        self.read(move |db| {
            let values = [workflow.as_str(), step.as_str(), since.as_str()];
            events(db, &workflow, "AND step_id = ?2 AND build_id >= ?3", "", values)
        })
        .await
    }
}

/// Appends an event and folds it into the newest attempt at its step.
pub(super) fn append(db: &Connection, event: &BuildEvent) -> Result<(), Fault> {
    let (workflow, step) = (event.workflow_id.as_str(), event.step_id.as_str());
    let added = db
        .prepare_cached("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![
            workflow,
            event.build_id.as_str(),
            event.seq,
            step,
            nanoseconds(event.at),
            json_text(&event.stage)?,
        ])?;
    if added == 0 {
        return Err(Fault::Conflict(event.name()));
    }
    let current = many(
        db,
        "SELECT step_id, attempt FROM attempt WHERE workflow_id = ? AND step_id = ?",
        [workflow, step],
        |row| json(row, 1),
        |row, detail| malformed_attempt(&event.workflow_id, row, detail),
    )?;
    let current = Fault::unless_one(current)?;
    if let Some(attempt) = Attempt::after(current.as_ref(), event) {
        db.prepare_cached("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?)")?.execute(
            params![workflow, step, attempt.is_recorded_and_clean(), json_text(&attempt)?],
        )?;
    }
    Ok(())
}

/// Whether the event is there, word for word.
pub(super) fn has(db: &Connection, event: &BuildEvent) -> Result<bool, Fault> {
    let which = "AND build_id = ?2 AND seq = ?3";
    let values = params![event.workflow_id.as_str(), event.build_id.as_str(), event.seq];
    Ok(events(db, &event.workflow_id, which, "", values)?.contains(event))
}

/// The newest attempt at each step, in step id order.
fn attempts(db: &Connection, workflow: &WorkflowId, from: &str) -> Result<Many<Attempt>, Fault> {
    many(
        db,
        &format!("SELECT step_id, attempt FROM {from} ORDER BY step_id"),
        [workflow.as_str()],
        |row| json(row, 1),
        |row, detail| malformed_attempt(workflow, row, detail),
    )
}

fn malformed_attempt(workflow: &WorkflowId, row: &Row<'_>, detail: String) -> Malformed {
    let step = lossy(row, 0);
    Malformed {
        key: format!("{workflow}: attempt at {step}"),
        step: Some(StepId::new(step)),
        detail,
    }
}

/// The workflows with an attempt that is not settled. One that cannot be read is its own workflow's
/// to tell.
pub(super) fn open_workflows(db: &Connection) -> Result<Vec<OpenWorkflow>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT workflow_id, attempt FROM attempt INDEXED BY attempt_unrecorded WHERE recorded = 0",
    )?;
    let open = statement.query_map([], |row| {
        let workflow = WorkflowId::new(lossy(row, 0));
        Ok(json(row, 1).ok().and_then(|attempt| OpenWorkflow::of_attempt(&workflow, &attempt)))
    })?;
    open.filter_map(|open| open.map_err(Fault::from).transpose()).collect()
}

/// Events of a workflow, newest build first and in a build the newest event first.
fn events(
    db: &Connection,
    workflow: &WorkflowId,
    which: &str,
    limit: &str,
    values: impl Params,
) -> Result<Many<BuildEvent>, Fault> {
    many(
        db,
        &format!(
            "SELECT build_id, seq, step_id, at, stage FROM event WHERE workflow_id = ?1 {which} \
             ORDER BY build_id DESC, seq DESC {limit}"
        ),
        values,
        |row| {
            let seq = column(row, 1, ValueRef::as_i64)?;
            Ok(BuildEvent {
                workflow_id: workflow.clone(),
                build_id: BuildId::new(text(row, 0)?),
                seq: seq.try_into().map_err(|_| format!("{seq} is no place in a build"))?,
                step_id: StepId::new(text(row, 2)?),
                at: time(row, 3)?,
                stage: json(row, 4)?,
            })
        },
        |row, detail| Malformed {
            step: Some(StepId::new(lossy(row, 2))),
            key: format!("{workflow}: event {} of build {}", lossy(row, 1), lossy(row, 0)),
            detail,
        },
    )
}
