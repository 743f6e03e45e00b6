//! The build journal as rows, and beside it the newest attempt at each step, folded at every event.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::error::Fault;
use crate::sqlite::records::{column, json, lossy, nanoseconds, timestamp};
use reconciler_model::ids::{BuildId, StepId, WorkflowId};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Reach};
use reconciler_model::inventory::{Malformed, Many, OpenWorkflow};

/// Appends an event and folds it into the newest attempt at its step.
pub(super) fn append(db: &Connection, event: &BuildEvent) -> Result<(), Fault> {
    let added = db
        .prepare_cached("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![
            event.workflow_id.as_str(),
            event.build_id.as_str(),
            event.seq,
            event.step_id.as_str(),
            nanoseconds(event.at),
            json(&event.stage)?,
        ])?;
    if added == 0 {
        return Err(Fault::Conflict(format!("event {} of build {}", event.seq, event.build_id)));
    }
    let current = newest(db, &event.workflow_id, &event.step_id)?;
    if let Some(attempt) = Attempt::after(current.as_ref(), event) {
        db.prepare_cached("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?)")?.execute(
            params![
                event.workflow_id.as_str(),
                event.step_id.as_str(),
                attempt.is_recorded() && attempt.cleaned,
                json(&attempt)?
            ],
        )?;
    }
    Ok(())
}

/// Whether the event is there, word for word.
pub(super) fn has(db: &Connection, event: &BuildEvent) -> Result<bool, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM event WHERE workflow_id = ? AND build_id = ? AND seq = ? AND step_id = ? \
         AND at = ? AND stage = ?",
    )?;
    Ok(statement.exists(params![
        event.workflow_id.as_str(),
        event.build_id.as_str(),
        event.seq,
        event.step_id.as_str(),
        nanoseconds(event.at),
        json(&event.stage)?,
    ])?)
}

fn newest(db: &Connection, workflow: &WorkflowId, step: &StepId) -> Result<Option<Attempt>, Fault> {
    let text: Option<String> = db
        .prepare_cached("SELECT attempt FROM attempt WHERE workflow_id = ? AND step_id = ?")?
        .query_row([workflow.as_str(), step.as_str()], |row| row.get(0))
        .optional()?;
    text.map(|text| parse(workflow, step.as_str(), &text)).transpose()
}

/// Which attempts are asked for.
#[derive(Clone, Copy)]
pub(super) enum Which {
    All,
    Unrecorded,
}

/// The newest attempt at each step, in step id order.
pub(super) fn attempts(
    db: &Connection,
    workflow: &WorkflowId,
    which: Which,
) -> Result<Many<Attempt>, Fault> {
    let mut statement = db.prepare_cached(match which {
        Which::All => "SELECT step_id, attempt FROM attempt WHERE workflow_id = ? ORDER BY step_id",
        Which::Unrecorded => {
            "SELECT step_id, attempt FROM attempt INDEXED BY attempt_unrecorded \
             WHERE workflow_id = ? AND recorded = 0 ORDER BY step_id"
        }
    })?;
    let mut rows = statement.query([workflow.as_str()])?;
    let mut attempts = Many::default();
    while let Some(row) = rows.next()? {
        let read = column::<&str>(row, 1).and_then(|text| {
            serde_json::from_str::<Attempt>(text).map_err(|wrong| wrong.to_string())
        });
        attempts.add(read.map_err(|detail| {
            let step = lossy(row, 0);
            Malformed {
                key: format!("{workflow}: attempt at {step}"),
                step: Some(StepId::new(step)),
                detail,
            }
        }));
    }
    Ok(attempts)
}

/// The workflows with an attempt that is not settled. One that cannot be read is its own workflow's
/// to tell.
pub(super) fn open_workflows(db: &Connection) -> Result<Vec<OpenWorkflow>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT workflow_id, attempt FROM attempt INDEXED BY attempt_unrecorded WHERE recorded = 0",
    )?;
    let mut rows = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(text) = column::<&str>(row, 1) else {
            continue;
        };
        let reach: Option<Reach> = match serde_json::from_str::<Attempt>(text) {
            Ok(attempt) if !attempt.is_settled() => attempt.intent.reach,
            _ => continue,
        };
        open.push(OpenWorkflow { workflow_id: WorkflowId::new(lossy(row, 0)), reach });
    }
    Ok(open)
}

fn parse(workflow: &WorkflowId, step: &str, text: &str) -> Result<Attempt, Fault> {
    serde_json::from_str(text)
        .map_err(|wrong| malformed(workflow, &format!("attempt at {step}"), wrong.to_string()))
}

fn malformed(workflow: &WorkflowId, what: &str, detail: String) -> Fault {
    Fault::Malformed { key: format!("{workflow}: {what}"), detail }
}

/// Events, newest build first and in a build the newest event first.
pub(super) fn events(
    db: &Connection,
    workflow: &WorkflowId,
    step: Option<&StepId>,
    limit: usize,
) -> Result<Many<BuildEvent>, Fault> {
    let which = if step.is_some() { "AND step_id = ?3" } else { "AND ?3 IS NULL" };
    let mut statement = db.prepare_cached(&format!(
        "SELECT build_id, seq, step_id, at, stage FROM event WHERE workflow_id = ?1 {which} \
         ORDER BY build_id DESC, seq DESC LIMIT ?2"
    ))?;
    let rows = statement.query(params![
        workflow.as_str(),
        i64::try_from(limit).unwrap_or(i64::MAX),
        step.map(StepId::as_str)
    ])?;
    collect(rows, workflow)
}

/// One build's events, newest first.
pub(super) fn events_of_build(
    db: &Connection,
    workflow: &WorkflowId,
    build: &BuildId,
) -> Result<Many<BuildEvent>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT build_id, seq, step_id, at, stage FROM event WHERE workflow_id = ?1 AND build_id = ?2 ORDER BY seq DESC",
    )?;
    let rows = statement.query(params![workflow.as_str(), build.as_str()])?;
    collect(rows, workflow)
}

/// The events of a step's builds that began after a time.
pub(super) fn events_since(
    db: &Connection,
    workflow: &WorkflowId,
    step: &StepId,
    since: Timestamp,
) -> Result<Many<BuildEvent>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT build_id, seq, step_id, at, stage FROM event WHERE workflow_id = ?1 AND build_id >= ?2 AND step_id = ?3 \
         ORDER BY build_id DESC, seq DESC",
    )?;
    let since = BuildId::earliest(since);
    let rows = statement.query(params![workflow.as_str(), since, step.as_str()])?;
    collect(rows, workflow)
}

fn collect(mut rows: rusqlite::Rows<'_>, workflow: &WorkflowId) -> Result<Many<BuildEvent>, Fault> {
    let mut events = Many::default();
    while let Some(row) = rows.next()? {
        events.add(event(row, workflow).map_err(|detail| Malformed {
            step: Some(StepId::new(lossy(row, 2))),
            key: format!("{workflow}: event {} of build {}", lossy(row, 1), lossy(row, 0)),
            detail,
        }));
    }
    Ok(events)
}

fn event(row: &rusqlite::Row<'_>, workflow: &WorkflowId) -> Result<BuildEvent, String> {
    Ok(BuildEvent {
        workflow_id: workflow.clone(),
        build_id: BuildId::new(column::<&str>(row, 0)?),
        seq: u32::try_from(column::<i64>(row, 1)?).map_err(|wrong| wrong.to_string())?,
        step_id: StepId::new(column::<&str>(row, 2)?),
        at: timestamp(column(row, 3)?)?,
        stage: serde_json::from_str(column(row, 4)?).map_err(|wrong| wrong.to_string())?,
    })
}
