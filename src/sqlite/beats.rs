//! Signs of life as rows. Runs inside the transaction of its caller.

use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::error::Fault;
use crate::sqlite::leases;
use crate::sqlite::records::{column, json, lossy};
use reconciler_model::ids::{BuildId, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, BuildSignal, Heartbeat};
use reconciler_model::inventory::{Malformed, Many, OpenWorkflow};

/// Puts a supervisor's beat, unless the build was given up. The first one counts as an event:
/// whoever holds the lease looks whether anybody needs it, for it may come late, of a build that is
/// settled.
pub(super) fn put(db: &Connection, beat: &Heartbeat) -> Result<Answer, Fault> {
    let is_first = !db
        .prepare_cached(
            "SELECT 1 FROM beat WHERE workflow_id = ? AND build_id = ? AND beat IS NOT NULL",
        )?
        .exists([beat.workflow_id.as_str(), beat.build_id.as_str()])?;
    if is_first {
        leases::count_event(db, &beat.workflow_id)?;
    }
    let stands: Option<(bool, bool)> = db
        .prepare_cached(
            "INSERT INTO beat (workflow_id, build_id, beat) VALUES (?1, ?2, ?3) \
             ON CONFLICT (workflow_id, build_id) DO UPDATE SET beat = ?3 WHERE NOT given_up \
             RETURNING given_up, cancel",
        )?
        .query_row(params![beat.workflow_id.as_str(), beat.build_id.as_str(), json(beat)?], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(match stands {
        None | Some((true, _)) => Answer::GivenUp,
        Some((_, true)) => Answer::Cancel,
        Some((_, false)) => Answer::GoOn,
    })
}

/// The newest beat of one build, or of all builds of a workflow.
pub(super) fn read(
    db: &Connection,
    workflow: &WorkflowId,
    build: Option<&BuildId>,
) -> Result<Many<Heartbeat>, Fault> {
    if !is_there(db)? {
        return Ok(Many::default());
    }
    let mut statement = db.prepare_cached(
        "SELECT build_id, beat FROM beat WHERE workflow_id = ?1 AND (?2 IS NULL OR build_id = ?2) \
         AND beat IS NOT NULL ORDER BY build_id",
    )?;
    let mut rows = statement.query(params![workflow.as_str(), build.map(BuildId::as_str)])?;
    let mut beats = Many::default();
    while let Some(row) = rows.next()? {
        let read = column::<&str>(row, 1)
            .and_then(|text| serde_json::from_str(text).map_err(|wrong| wrong.to_string()));
        beats.add(read.map_err(|detail| Malformed {
            step: None,
            key: format!("{workflow}: the beat of {}", lossy(row, 0)),
            detail,
        }));
    }
    Ok(beats)
}

/// A file of an earlier program that no writer has opened since has no such table.
fn is_there(db: &Connection) -> Result<bool, Fault> {
    let mut statement = db.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'beat'")?;
    Ok(statement.exists([])?)
}

/// The workflows with a build that was given up and is still looked after.
pub(super) fn open_workflows(db: &Connection) -> Result<Vec<OpenWorkflow>, Fault> {
    if !is_there(db)? {
        return Ok(Vec::new());
    }
    let mut statement = db.prepare_cached("SELECT beat FROM beat WHERE given_up")?;
    let mut rows = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let beat = column::<&str>(row, 0).ok();
        let beat = beat.and_then(|text| serde_json::from_str::<Heartbeat>(text).ok());
        if let Some(Heartbeat { workflow_id, sign: BuildSignal::GivenUp { reach, .. }, .. }) = beat
        {
            open.push(OpenWorkflow { workflow_id, reach });
        }
    }
    Ok(open)
}

/// Puts a beat that says that its build was given up, where the beat of the version `seen` stands.
pub(super) fn bury(db: &Connection, beat: &Heartbeat, seen: Option<&str>) -> Result<(), Fault> {
    let mut stands = read(db, &beat.workflow_id, Some(&beat.build_id))?;
    if let Some(Malformed { key, detail, .. }) = stands.malformed.pop() {
        return Err(Fault::Malformed { key, detail });
    }
    let stands = stands.first();
    if stands.map(|stands| stands.version.as_str()) != seen && stands != Some(beat) {
        return Err(Fault::Conflict(format!("the beat of {}", beat.build_id)));
    }
    db.prepare_cached(
        "INSERT INTO beat (workflow_id, build_id, beat, given_up) VALUES (?1, ?2, ?3, 1) \
         ON CONFLICT (workflow_id, build_id) DO UPDATE SET beat = ?3, given_up = 1",
    )?
    .execute(params![beat.workflow_id.as_str(), beat.build_id.as_str(), json(beat)?])?;
    Ok(())
}

/// Has the next beat of a build answered with the request to end.
pub(super) fn ask_to_end(
    db: &Connection,
    workflow: &WorkflowId,
    build: &BuildId,
) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO beat (workflow_id, build_id, cancel) VALUES (?, ?, 1) \
         ON CONFLICT (workflow_id, build_id) DO UPDATE SET cancel = 1",
    )?
    .execute([workflow.as_str(), build.as_str()])?;
    Ok(())
}

/// Removes what is known of a build's life.
pub(super) fn forget(db: &Connection, workflow: &WorkflowId, build: &BuildId) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM beat WHERE workflow_id = ? AND build_id = ?")?
        .execute([workflow.as_str(), build.as_str()])?;
    Ok(())
}
