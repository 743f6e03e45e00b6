//! What people ask for, as rows.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::sqlite::error::Fault;
use crate::sqlite::rows::json_text;
use crate::sqlite::{SqliteInventory, leases};
use reconciler_model::ids::{RequestId, WorkflowId};
use reconciler_model::inventory::request::{Answer, AnswerTo, News, Request, StandingRequest};
use reconciler_model::inventory::reservation::{Reservation, ReservationChange};
use reconciler_model::inventory::{Fence, InventoryError, Requests};

#[async_trait]
impl Requests for SqliteInventory {
    async fn ask(&self, request: &Request) -> Result<(), InventoryError> {
        let request = request.clone();
        self.change(move |db| {
            if let Some(stands) = read(db, &request.workflow_id, &request.id)? {
                return if stands.request.as_ref() == Ok(&request) {
                    Ok(())
                } else {
                    Err(Fault::Conflict(format!("request {}", request.id)))
                };
            }
            db.prepare_cached(
                "INSERT INTO request (workflow_id, request_id, request) VALUES (?, ?, ?)",
            )?
            .execute([
                request.workflow_id.as_str(),
                request.id.as_str(),
                &json_text(&request)?,
            ])?;
            Ok(())
        })
        .await
    }

    async fn request(
        &self,
        workflow: &WorkflowId,
        id: &RequestId,
    ) -> Result<Option<StandingRequest>, InventoryError> {
        let (workflow, id) = (workflow.clone(), id.clone());
        self.read(move |db| read(db, &workflow, &id)).await
    }

    async fn requests(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<StandingRequest>, InventoryError> {
        let workflow = workflow.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(
                "SELECT request_id, request, answer FROM request WHERE workflow_id = ? \
                 ORDER BY request_id",
            )?;
            let rows = statement.query_map([workflow.as_str()], |row| standing(&workflow, row))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn news(&self, workflow: &WorkflowId) -> Result<News, InventoryError> {
        let workflow = workflow.clone();
        self.read(move |db| {
            let newest: Option<i64> = db
                .prepare_cached("SELECT max(number) FROM request WHERE workflow_id = ?")?
                .query_row([workflow.as_str()], |row| row.get(0))?;
            Ok(News { requests: newest.unwrap_or_default().cast_unsigned(), first_beats: 0 })
        })
        .await
    }

    async fn forget_request(&self, id: &RequestId, fence: &Fence) -> Result<(), InventoryError> {
        let (id, fence) = (id.clone(), fence.clone());
        self.change(move |db| {
            leases::check(db, &fence)?;
            db.prepare_cached("DELETE FROM request WHERE workflow_id = ? AND request_id = ?")?
                .execute([fence.workflow_id.as_str(), id.as_str()])?;
            Ok(())
        })
        .await
    }

    async fn reservations(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<Reservation>, InventoryError> {
        let workflow = workflow.clone();
        self.read(move |db| {
            let mut statement = db.prepare_cached(
                "SELECT request_id, reservation FROM reservation WHERE workflow_id = ? \
                 ORDER BY request_id",
            )?;
            let texts = statement.query_map([workflow.as_str()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            texts
                .map(|row| {
                    let (id, text) = row?;
                    serde_json::from_str(&text).map_err(|wrong| Fault::Malformed {
                        key: format!("{workflow}: reservation {id}"),
                        detail: wrong.to_string(),
                    })
                })
                .collect()
        })
        .await
    }
}

/// Puts an answer in its place. False: it stands there already.
pub(super) fn answer(db: &Connection, answer: &AnswerTo) -> Result<bool, Fault> {
    match read(db, &answer.workflow_id, &answer.id)? {
        // Seeded bug: a-request-is-answered-twice-in-sqlite
        Some(StandingRequest { answer: None, .. }) => {}
        Some(stands) if stands.answer.as_ref() == Some(&answer.answer) => return Ok(false),
        _ => return Err(Fault::Conflict(answer.name())),
    }
    db.prepare_cached("UPDATE request SET answer = ?3 WHERE workflow_id = ?1 AND request_id = ?2")?
        .execute(params![
            answer.workflow_id.as_str(),
            answer.id.as_str(),
            json_text(&answer.answer)?
        ])?;
    Ok(true)
}

/// Begins a reservation, or ends one.
pub(super) fn change_reservation(db: &Connection, change: &ReservationChange) -> Result<(), Fault> {
    match change {
        ReservationChange::Begin(begins) => {
            db.prepare_cached(
                "INSERT OR REPLACE INTO reservation (workflow_id, request_id, reservation) \
                 VALUES (?, ?, ?)",
            )?
            .execute([
                begins.workflow_id.as_str(),
                begins.id.as_str(),
                &json_text(begins)?,
            ])?;
        }
        ReservationChange::End { workflow_id, id } => {
            db.prepare_cached("DELETE FROM reservation WHERE workflow_id = ? AND request_id = ?")?
                .execute([workflow_id.as_str(), id.as_str()])?;
        }
    }
    Ok(())
}

fn read(
    db: &Connection,
    workflow: &WorkflowId,
    id: &RequestId,
) -> Result<Option<StandingRequest>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT request_id, request, answer FROM request WHERE workflow_id = ? AND request_id = ?",
    )?;
    Ok(statement
        .query_row([workflow.as_str(), id.as_str()], |row| standing(workflow, row))
        .optional()?)
}

/// An answer that cannot be read is none that this version could give another one for: it stands
/// as a refusal that says so.
fn standing(workflow: &WorkflowId, row: &Row<'_>) -> Result<StandingRequest, rusqlite::Error> {
    let (id, request): (String, String) = (row.get(0)?, row.get(1)?);
    let answer: Option<String> = row.get(2)?;
    let answer = answer.map(|text| Answer::read(&text));
    Ok(StandingRequest::read(workflow, RequestId::new(id), Ok(&request), answer))
}
