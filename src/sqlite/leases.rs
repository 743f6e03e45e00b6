//! Leases as rows. Each change is one write transaction, so what it reads stands until what it
//! writes does.
//!
//! A row may exist before anybody held the lease: it counts the events of the workflow, and has no
//! token then.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use crate::sqlite::SqliteInventory;
use crate::sqlite::error::Fault;
use crate::sqlite::rows::{column, many, nanoseconds, number, text, time};
use reconciler_model::ids::{Revision, WorkflowId};
use reconciler_model::inventory::heartbeat::new_version;
use reconciler_model::inventory::{Fence, InventoryError, Lease, Leases, Malformed};

#[async_trait]
impl Leases for SqliteInventory {
    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError> {
        let workflow = workflow.clone();
        self.read(move |db| read(db, &workflow)).await
    }

    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        let (workflow, holder, seen) = (workflow.clone(), holder.to_owned(), seen.cloned());
        self.change(move |db| {
            let stands = read(db, &workflow)?;
            if !Lease::is_as_seen(stands.as_ref(), seen.as_ref()) {
                return Err(Fault::Conflict(Lease::name(&workflow)));
            }
            put(
                db,
                Lease {
                    workflow_id: workflow,
                    holder: Some(holder),
                    token: stands.map_or(0, |lease| lease.token) + 1,
                    version: new_version(),
                    duration_seconds,
                    renewed_at: now,
                    journal_seq: 0,
                    applied: BTreeMap::new(),
                },
            )
        })
        .await
    }

    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError> {
        let lease = lease.clone();
        self.change(move |db| {
            check(db, &Fence { workflow_id: lease.workflow_id.clone(), token: lease.token })?;
            put(db, Lease { version: new_version(), renewed_at: now, ..lease })
        })
        .await
    }

    /// Doing it twice is as doing it once.
    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        let lease = lease.clone();
        self.change(move |db| match read(db, &lease.workflow_id)? {
            Some(stands) if stands.token == lease.token => {
                put(db, Lease { holder: None, version: new_version(), ..stands }).map(drop)
            }
            _ => Err(Fault::Fenced(lease.workflow_id)),
        })
        .await
    }

    async fn note_applied(
        &self,
        workflow: &WorkflowId,
        reference: &str,
        revision: &Revision,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        let (workflow, fence) = (workflow.clone(), fence.cloned());
        let (reference, revision) = (reference.to_owned(), revision.clone());
        self.change(move |db| {
            if let Some(fence) = &fence {
                check(db, fence)?;
            } else {
                count_event(db, &workflow)?;
                // Where nobody ever held the lease it is one that was given back.
                db.prepare_cached(
                    "UPDATE lease SET token = 0, version = ?2, duration_seconds = 0, \
                     renewed_at = 0 WHERE workflow_id = ?1 AND token IS NULL",
                )?
                .execute([workflow.as_str(), &new_version()])?;
            }
            db.prepare_cached(
                "INSERT INTO applied (workflow_id, reference, revision) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (workflow_id, reference) DO UPDATE SET revision = ?3",
            )?
            .execute([workflow.as_str(), &reference, revision.as_str()])?;
            Ok(())
        })
        .await
    }
}

/// The lease as it stands; none if nobody ever held it.
fn read(db: &Connection, workflow: &WorkflowId) -> Result<Option<Lease>, Fault> {
    let lease = many(
        db,
        "SELECT holder, token, version, duration_seconds, renewed_at, journal_seq FROM lease \
         WHERE workflow_id = ? AND token IS NOT NULL",
        [workflow.as_str()],
        |row| {
            Ok(Lease {
                workflow_id: workflow.clone(),
                holder: column(row, 0, ValueRef::as_str_or_null)?.map(str::to_owned),
                token: number(row, 1)?,
                version: text(row, 2)?.to_owned(),
                duration_seconds: number(row, 3)?,
                renewed_at: time(row, 4)?,
                journal_seq: number(row, 5)?,
                applied: BTreeMap::new(),
            })
        },
        |_, detail| Malformed { step: None, key: format!("lease of {workflow}"), detail },
    )?;
    Ok(match Fault::unless_one(lease)? {
        Some(lease) => Some(Lease { applied: applied(db, workflow)?, ..lease }),
        None => None,
    })
}

/// The commit at which each reference was applied last.
fn applied(
    db: &Connection,
    workflow: &WorkflowId,
) -> Result<BTreeMap<String, Revision>, rusqlite::Error> {
    db.prepare_cached("SELECT reference, revision FROM applied WHERE workflow_id = ?")?
        .query_map([workflow.as_str()], |row| {
            Ok((row.get(0)?, Revision::new(row.get::<_, String>(1)?)))
        })?
        .collect()
}

/// Whether `fence` is the newest and its lease is held.
pub(super) fn check(db: &Connection, fence: &Fence) -> Result<(), Fault> {
    match read(db, &fence.workflow_id)? {
        Some(lease) if lease.is_held_under(fence.token) => Ok(()),
        _ => Err(Fault::Fenced(fence.workflow_id.clone())),
    }
}

/// Counts one more event of the workflow.
pub(super) fn count_event(db: &Connection, workflow: &WorkflowId) -> Result<(), Fault> {
    db.prepare_cached(
        "INSERT INTO lease (workflow_id, journal_seq) VALUES (?, 1) \
         ON CONFLICT (workflow_id) DO UPDATE SET journal_seq = journal_seq + 1",
    )?
    .execute([workflow.as_str()])?;
    Ok(())
}

/// Writes all but the count of events, which only `count_event` changes, and says what stands now.
fn put(db: &Connection, lease: Lease) -> Result<Lease, Fault> {
    let values = params![
        lease.workflow_id.as_str(),
        lease.holder,
        lease.token.cast_signed(),
        lease.version,
        lease.duration_seconds.cast_signed(),
        nanoseconds(lease.renewed_at),
    ];
    let journal_seq: i64 = db
        .prepare_cached(
            "INSERT INTO lease (workflow_id, holder, token, version, duration_seconds, renewed_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (workflow_id) DO UPDATE SET \
             holder = ?2, token = ?3, version = ?4, duration_seconds = ?5, renewed_at = ?6 \
             RETURNING journal_seq",
        )?
        .query_row(values, |row| row.get(0))?;
    let applied = applied(db, &lease.workflow_id)?;
    Ok(Lease { journal_seq: journal_seq.cast_unsigned(), applied, ..lease })
}
