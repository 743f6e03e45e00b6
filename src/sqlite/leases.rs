//! Leases as rows. Runs inside the write transaction of its caller, so what it reads stands until
//! what it writes does.
//!
//! A row may exist before anybody held the lease: it counts the events of the workflow, and has no
//! token then.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::error::Fault;
use crate::sqlite::records::{column, nanoseconds, timestamp};
use reconciler_model::ids::WorkflowId;
use reconciler_model::inventory::{Fence, Lease};

/// The lease as it stands; none if nobody ever held it.
pub(super) fn read(db: &Connection, workflow: &WorkflowId) -> Result<Option<Lease>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT holder, token, version, duration_seconds, renewed_at, journal_seq FROM lease \
         WHERE workflow_id = ? AND token IS NOT NULL",
    )?;
    let mut rows = statement.query([workflow.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let lease = || -> Result<Lease, String> {
        Ok(Lease {
            workflow_id: workflow.clone(),
            holder: column(row, 0)?,
            token: column::<i64>(row, 1)?.cast_unsigned(),
            version: column(row, 2)?,
            duration_seconds: column::<i64>(row, 3)?.cast_unsigned(),
            renewed_at: timestamp(column(row, 4)?)?,
            journal_seq: column::<i64>(row, 5)?.cast_unsigned(),
        })
    };
    lease()
        .map(Some)
        .map_err(|detail| Fault::Malformed { key: format!("lease of {workflow}"), detail })
}

/// Whether `fence` is the newest and its lease is held.
pub(super) fn check(db: &Connection, fence: &Fence) -> Result<(), Fault> {
    match read(db, &fence.workflow_id)? {
        Some(lease) if lease.token == fence.token && lease.holder.is_some() => Ok(()),
        _ => Err(Fault::Fenced(fence.workflow_id.clone())),
    }
}

/// Takes the lease if it stands as `seen`.
pub(super) fn acquire(
    db: &Connection,
    workflow: &WorkflowId,
    holder: &str,
    duration_seconds: u64,
    seen: Option<&Lease>,
    now: Timestamp,
) -> Result<Lease, Fault> {
    let stands = read(db, workflow)?;
    let mark = |lease: &Lease| (lease.token, lease.version.clone());
    if stands.as_ref().map(mark) != seen.map(mark) {
        return Err(Fault::Conflict(format!("the lease of workflow {workflow}")));
    }
    put(
        db,
        &Lease {
            workflow_id: workflow.clone(),
            holder: Some(holder.to_owned()),
            token: stands.map_or(0, |lease| lease.token) + 1,
            version: uuid::Uuid::now_v7().to_string(),
            duration_seconds,
            renewed_at: now,
            journal_seq: 0,
        },
    )
}

/// A heartbeat.
pub(super) fn renew(db: &Connection, lease: &Lease, now: Timestamp) -> Result<Lease, Fault> {
    check(db, &Fence { workflow_id: lease.workflow_id.clone(), token: lease.token })?;
    put(db, &Lease { version: uuid::Uuid::now_v7().to_string(), renewed_at: now, ..lease.clone() })
}

/// Gives the lease back; doing it twice is as doing it once.
pub(super) fn release(db: &Connection, lease: &Lease) -> Result<(), Fault> {
    match read(db, &lease.workflow_id)? {
        Some(stands) if stands.token == lease.token => {
            put(db, &Lease { holder: None, version: uuid::Uuid::now_v7().to_string(), ..stands })
                .map(drop)
        }
        _ => Err(Fault::Fenced(lease.workflow_id.clone())),
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
fn put(db: &Connection, lease: &Lease) -> Result<Lease, Fault> {
    let journal_seq: Option<i64> = db
        .prepare_cached(
            "INSERT INTO lease (workflow_id, holder, token, version, duration_seconds, renewed_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (workflow_id) DO UPDATE SET \
             holder = ?2, token = ?3, version = ?4, duration_seconds = ?5, renewed_at = ?6 \
             RETURNING journal_seq",
        )?
        .query_row(
            params![
                lease.workflow_id.as_str(),
                lease.holder,
                lease.token.cast_signed(),
                lease.version,
                lease.duration_seconds.cast_signed(),
                nanoseconds(lease.renewed_at),
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(Lease { journal_seq: journal_seq.unwrap_or_default().cast_unsigned(), ..lease.clone() })
}
