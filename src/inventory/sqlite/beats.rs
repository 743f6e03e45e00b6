//! Signs of life as rows. Runs inside the transaction of its caller.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::Fault;
use super::records::json;
use crate::ids::{BuildId, WorkflowId};
use crate::inventory::beat::{Answer, Beat};

/// Puts a supervisor's beat, unless the build was given up.
pub(super) fn put(db: &Connection, beat: &Beat) -> Result<Answer, Fault> {
    let stands: Option<(bool, bool)> = db
        .prepare_cached(
            "INSERT INTO beat (workflow_id, build_id, beat) VALUES (?1, ?2, ?3) \
             ON CONFLICT (workflow_id, build_id) DO UPDATE SET beat = ?3 WHERE NOT given_up \
             RETURNING given_up, cancel",
        )?
        .query_row(
            params![
                beat.workflow_id.as_str(),
                beat.build_id.as_str(),
                json(beat)?
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
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
) -> Result<Vec<Beat>, Fault> {
    // A file of an earlier program that no writer has opened since has no such table.
    let there = db
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'beat'")?
        .exists([])?;
    if !there {
        return Ok(Vec::new());
    }
    let mut statement = db.prepare_cached(
        "SELECT build_id, beat FROM beat WHERE workflow_id = ?1 AND (?2 IS NULL OR build_id = ?2) \
         AND beat IS NOT NULL ORDER BY build_id",
    )?;
    let mut rows = statement.query(params![workflow.as_str(), build.map(BuildId::as_str)])?;
    let mut beats = Vec::new();
    while let Some(row) = rows.next()? {
        let (build, text): (String, String) = (row.get(0)?, row.get(1)?);
        let beat = serde_json::from_str(&text).map_err(|wrong| Fault::Malformed {
            key: format!("{workflow}: the beat of {build}"),
            detail: wrong.to_string(),
        })?;
        beats.push(beat);
    }
    Ok(beats)
}

/// Puts a beat that says that its build was given up, where the beat of the version `seen` stands.
pub(super) fn bury(db: &Connection, beat: &Beat, seen: Option<&str>) -> Result<(), Fault> {
    let stands = read(db, &beat.workflow_id, Some(&beat.build_id))?;
    let stands = stands.first();
    if stands.map(|stands| stands.version.as_str()) != seen && stands != Some(beat) {
        return Err(Fault::Conflict(format!("the beat of {}", beat.build_id)));
    }
    db.prepare_cached(
        "INSERT INTO beat (workflow_id, build_id, beat, given_up) VALUES (?1, ?2, ?3, 1) \
         ON CONFLICT (workflow_id, build_id) DO UPDATE SET beat = ?3, given_up = 1",
    )?
    .execute(params![
        beat.workflow_id.as_str(),
        beat.build_id.as_str(),
        json(beat)?
    ])?;
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
