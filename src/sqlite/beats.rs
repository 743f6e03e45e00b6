//! Signs of life as rows.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::error::Fault;
use crate::sqlite::rows::{json, json_text, lossy, many};
use crate::sqlite::{SqliteInventory, leases};
use reconciler_model::ids::{BuildId, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, Heartbeat};
use reconciler_model::inventory::{
    Fence, Heartbeats, InventoryError, Malformed, Many, OpenWorkflow,
};

#[async_trait]
impl Heartbeats for SqliteInventory {
    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        let beat = beat.clone();
        self.change(move |db| put(db, &beat)).await
    }

    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        let (workflow, build) = (workflow.clone(), build.clone());
        self.read(move |db| Fault::unless_one(read(db, &workflow, Some(&build))?)).await
    }

    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError> {
        let workflow = workflow.clone();
        self.read(move |db| read(db, &workflow, None)).await
    }

    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let (beat, fence, seen) = (beat.clone(), fence.clone(), seen.map(str::to_owned));
        self.change(move |db| {
            leases::check(db, &fence)?;
            let stands = Fault::unless_one(read(db, &beat.workflow_id, Some(&beat.build_id))?)?;
            if !beat.may_replace(stands.as_ref(), seen.as_deref()) {
                return Err(Fault::Conflict(format!("the beat of {}", beat.build_id)));
            }
            db.prepare_cached(
                "INSERT INTO beat (workflow_id, build_id, beat, given_up) VALUES (?1, ?2, ?3, 1) \
                 ON CONFLICT (workflow_id, build_id) DO UPDATE SET beat = ?3, given_up = 1",
            )?
            .execute(params![
                beat.workflow_id.as_str(),
                beat.build_id.as_str(),
                json_text(&beat)?
            ])?;
            Ok(())
        })
        .await
    }

    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError> {
        let (build, fence) = (build.clone(), fence.clone());
        self.change(move |db| {
            leases::check(db, &fence)?;
            db.prepare_cached("DELETE FROM beat WHERE workflow_id = ? AND build_id = ?")?
                .execute([fence.workflow_id.as_str(), build.as_str()])?;
            Ok(())
        })
        .await
    }
}

/// Puts a supervisor's beat, unless the build was given up. The first one counts as an event:
/// whoever holds the lease looks whether anybody needs it, for it may come late, of a build that is
/// settled.
fn put(db: &Connection, beat: &Heartbeat) -> Result<Answer, Fault> {
    let is_first = !db
        .prepare_cached(
            "SELECT 1 FROM beat WHERE workflow_id = ? AND build_id = ? AND beat IS NOT NULL",
        )?
        .exists([beat.workflow_id.as_str(), beat.build_id.as_str()])?;
    if is_first {
        leases::count_event(db, &beat.workflow_id)?;
    }
    let values = params![beat.workflow_id.as_str(), beat.build_id.as_str(), json_text(beat)?];
    let cancelled: Option<bool> = db
        .prepare_cached(
            "INSERT INTO beat (workflow_id, build_id, beat) VALUES (?1, ?2, ?3) \
             ON CONFLICT (workflow_id, build_id) DO UPDATE SET beat = ?3 WHERE NOT given_up \
             RETURNING cancel",
        )?
        .query_row(values, |row| row.get(0))
        .optional()?;
    Ok(match cancelled {
        None => Answer::GivenUp,
        Some(true) => Answer::Cancel,
        Some(false) => Answer::GoOn,
    })
}

/// The newest beat of one build, or of all builds of a workflow.
fn read(
    db: &Connection,
    workflow: &WorkflowId,
    build: Option<&BuildId>,
) -> Result<Many<Heartbeat>, Fault> {
    many(
        db,
        "SELECT build_id, beat FROM beat WHERE workflow_id = ?1 AND (?2 IS NULL OR build_id = ?2) \
         AND beat IS NOT NULL ORDER BY build_id",
        params![workflow.as_str(), build.map(BuildId::as_str)],
        |row| json(row, 1),
        |row, detail| Malformed {
            step: None,
            key: format!("{workflow}: the beat of {}", lossy(row, 0)),
            detail,
        },
    )
}

/// The workflows with a build that was given up and is still looked after. What cannot be read is
/// its own workflow's to tell.
pub(super) fn open_workflows(db: &Connection) -> Result<Vec<OpenWorkflow>, Fault> {
    let mut statement = db.prepare_cached("SELECT beat FROM beat WHERE given_up")?;
    let beats = statement.query_map([], |row| Ok(json::<Heartbeat>(row, 0).ok()))?;
    let open = beats.map(|beat| Ok(beat?.and_then(|beat| OpenWorkflow::of_beat(&beat))));
    open.filter_map(Result::transpose).collect()
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
