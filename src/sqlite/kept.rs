//! For tests: a file as it is written today, as SQL, is read and written to.
//!
//! See `reconciler_model::format_stability`.

use jiff::Timestamp;

use crate::sqlite::SqliteInventory;
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::BuildSignal;
use reconciler_model::inventory::journal::Stage;
use reconciler_model::inventory::{
    Fence, Heartbeats as _, Inventory as _, Journal as _, Leases as _, Records as _, Requests as _,
    Write,
};

/// The tables.
const TABLES: &str = "
CREATE TABLE record (
    workflow_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    ami_id TEXT NOT NULL,
    ami_name TEXT NOT NULL,
    create_at INTEGER NOT NULL,
    base_ami_id TEXT NOT NULL,
    base_ami_name TEXT NOT NULL,
    root_base_ami_id TEXT NOT NULL,
    root_base_ami_name TEXT NOT NULL,
    fingerprint BLOB,
    build_id TEXT,
    revision TEXT,
    region TEXT,
    tags TEXT,
    metadata_digest BLOB,
    build_seconds INTEGER,
    recorded_at INTEGER,
    fence INTEGER,
    PRIMARY KEY (workflow_id, step_id)
) WITHOUT ROWID;
CREATE INDEX record_by_step ON record (step_id, create_at);
CREATE TABLE record_text (
    workflow_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    aws_console_url TEXT NOT NULL,
    details TEXT NOT NULL,
    metadata TEXT NOT NULL,
    components TEXT,
    UNIQUE (workflow_id, step_id)
);
CREATE TABLE event (
    workflow_id TEXT NOT NULL,
    build_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    step_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    stage TEXT NOT NULL,
    PRIMARY KEY (workflow_id, build_id, seq)
) WITHOUT ROWID;
CREATE INDEX event_by_step ON event (workflow_id, step_id, build_id, seq);
CREATE TABLE attempt (
    workflow_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    attempt TEXT NOT NULL,
    PRIMARY KEY (workflow_id, step_id)
) WITHOUT ROWID;
CREATE INDEX attempt_unrecorded ON attempt (workflow_id, step_id) WHERE recorded = 0;
CREATE TABLE lease (
    workflow_id TEXT NOT NULL PRIMARY KEY,
    holder TEXT,
    token INTEGER,
    version TEXT,
    duration_seconds INTEGER,
    renewed_at INTEGER,
    journal_seq INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE beat (
    workflow_id TEXT NOT NULL,
    build_id TEXT NOT NULL,
    beat TEXT,
    given_up INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (workflow_id, build_id)
) WITHOUT ROWID;
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'the journal is never changed'); END;
CREATE TRIGGER event_is_never_removed BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the journal is never changed'); END;
PRAGMA user_version = 1;
";

const ROWS: &str = r#"
INSERT INTO record VALUES ('wf', 'a', 'ami-1', 'base/wf/a/01234567', 1750000000000000000, 'ami-0', 'base', 'ami-0', 'base',
    X'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', '01900000-0000-7000-8000-000000000000', '4f2c1e9', 'us-east-1',
    '{"Name":"x"}', X'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 60, 1750000000000000000, 7);
INSERT INTO record VALUES ('wf', 'old', 'ami-2', 'x', 1750000000000000000, 'ami-0', 'base', 'ami-0', 'base',
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO record_text VALUES ('wf', 'a', 'https://console.aws.amazon.com/', '{}', '{"who":1}', NULL);
INSERT INTO record_text VALUES ('wf', 'old', '', '{}', '{}', NULL);
INSERT INTO event VALUES ('wf', '01900000-0000-7000-8000-000000000000', 1, 'a', 1750000000000000000, '{"started":{"pid":4242}}');
INSERT INTO attempt VALUES ('wf', 'a', 0, '{"step_id":"a","build_id":"01900000-0000-7000-8000-000000000000","intent":{
    "fingerprint":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","ami_name":"n","revision":"r","source_ami":"ami-0",
    "region":"us-east-1","host":"one","deadline":"2026-11-25T02:00:00Z","fence":7,"attempt":0,"promise":null,
    "reach":{"profile":"ci","region":null,"own_keys":false,"hides":false}},
    "started_at":"2026-11-25T00:00:00Z","seq":1,"updated_at":"2026-11-25T00:00:00Z","progress":{"started":{"pid":4242}},"ami_id":null,
    "cleaned":false,"cancel_requested":null,"retry_requested":null}');
INSERT INTO lease VALUES ('wf', 'one/4242/98765', 7, 'v', 30, 1750000000000000000, 9);
INSERT INTO beat VALUES ('wf', '01900000-0000-7000-8000-000000000000', '{"workflow_id":"wf","step_id":"a",
    "build_id":"01900000-0000-7000-8000-000000000000","host":"one","version":"v","silence_seconds":120,"at":"2026-11-25T00:00:00Z",
    "sign":{"running":{"traces":{"instances":["i-1"],"key_pairs":[],"security_groups":[],"images":[],"snapshots":[]}}}}', 0, 0);
"#;

#[tokio::test]
async fn a_file_of_today_is_read_and_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inventory.sqlite");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(TABLES).unwrap();
    file.execute_batch(ROWS).unwrap();
    drop(file);
    let (workflow, step) = (WorkflowId::new("wf"), StepId::new("a"));
    // Who only reads it leaves it as it is.
    let reader = SqliteInventory::open(&path).unwrap();
    assert_eq!(reader.heads(&workflow).await.unwrap().records.len(), 2);
    assert!(reader.record(&workflow, &step).await.unwrap().is_some());
    assert!(reader.requests(&workflow).await.unwrap().is_empty());
    let inventory = SqliteInventory::open(&path).unwrap();
    inventory.prepare().await.unwrap();
    let heads = inventory.heads(&workflow).await.unwrap();
    assert_eq!((heads.records.len(), heads.malformed), (2, vec![]));
    let record = inventory.record(&workflow, &step).await.unwrap().unwrap();
    let built = record.head.built.unwrap();
    assert_eq!((built.fence, built.build_seconds, &*record.metadata), (7, 60, r#"{"who":1}"#));
    assert_eq!(built.times().text(), "60");
    let events = inventory.events(&workflow, Some(&step), 9).await.unwrap();
    assert_eq!(events.len(), 1);
    let attempts = inventory.unrecorded_attempts(&workflow).await.unwrap();
    assert!(attempts[0].is_said_to_run() && attempts[0].intent.prepared_by.is_none());
    let lease = inventory.lease(&workflow).await.unwrap().unwrap();
    assert_eq!((lease.token, lease.duration_seconds, lease.journal_seq), (7, 30, 9));
    let found = inventory.beats(&workflow).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found.iter().all(
        |beat| matches!(&beat.sign, BuildSignal::Running { traces, .. } if traces.instances == ["i-1"])
    ));

    let mut event = events[0].clone();
    (event.seq, event.stage) = (2, Stage::Available);
    let write = Write { event: Some(event), ..Write::default() };
    let fence = Fence { workflow_id: workflow.clone(), token: 7 };
    inventory.write(write, Some(&fence)).await.unwrap();
    let lease = inventory.renew_lease(&lease, Timestamp::now()).await.unwrap();
    assert_eq!(lease.journal_seq, 10);
}
