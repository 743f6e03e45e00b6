//! Opens the file, for a writer or a reader, and settles its schema. Knows nothing of what the
//! tables hold.
//!
//! A reader of a WAL file needs its `-shm` file beside it, and makes one where it is missing. In a
//! folder that it may not write it cannot; then there is no writer either (a writer keeps the file
//! there), so the database is read as immutable, anew at every call, for a writer may come at any
//! time.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::atomic_file::make_folder;
use crate::sqlite::error::Fault;

/// The schema that this program writes; kept in `user_version`.
const SCHEMA_VERSION: i64 = 4;

/// How long a call waits for another process's write.
const BUSY: Duration = Duration::from_secs(10);

/// A record's row has about a thousand bytes; in `SQLite`'s own pages of 4 KB each would need one
/// more page for its end.
const PAGE: i64 = 16 * 1024;

/// How much of the file a reader maps, in bytes.
const MAPPED: i64 = 1 << 28;

const SCHEMA: &str = "
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
";

/// What version 2 has beside version 1. What is missing is made for whoever only reads an older
/// file as well, in memory, where `TABLE` is `TEMP TABLE`.
const SINCE_2: &str = "
CREATE TABLE applied (
    workflow_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (workflow_id, reference)
) WITHOUT ROWID;
CREATE TABLE request (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    request TEXT NOT NULL,
    answer TEXT,
    UNIQUE (workflow_id, request_id)
);
";

/// What version 3 has beside version 2.
const SINCE_3: &str = "
CREATE TABLE reservation (
    workflow_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    reservation TEXT NOT NULL,
    PRIMARY KEY (workflow_id, request_id)
) WITHOUT ROWID;
";

/// What version 4 has beside version 3: one more column. Whoever only reads an older file sees it
/// through a view in memory, which goes before the table.
const SINCE_4: &str = "ALTER TABLE record ADD COLUMN build_times TEXT;";
const VIEW_4: &str = "CREATE TEMP VIEW record AS SELECT *, NULL AS build_times FROM main.record;";

/// Which file it is: another one of the same name is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what stands at a place now; none if nothing does, or it cannot be told.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }
}

/// What a missing file leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

/// Opens the file and settles its schema; what is missing is made, if that is wanted.
pub(super) fn open_writer(
    path: &Path,
    missing: Missing,
) -> Result<(Connection, Option<Identity>), Fault> {
    if missing == Missing::Make {
        make_file(path)?;
    } else if !path.exists() {
        return Err(Fault::Schema("there is no such file".to_owned()));
    }
    // Before it is opened: one that takes its place meanwhile is noticed.
    let identity = Identity::of(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Takes effect in a new file only.
    connection.pragma_update(None, "page_size", PAGE)?;
    switch_to_wal(&connection)?;
    connection.pragma_update(None, "synchronous", "full")?;
    prepare(&mut connection)?;
    Ok((connection, identity))
}

/// `SQLite` does not wait here as it does elsewhere: of two that open a new file at once, one is
/// told that it is locked.
fn switch_to_wal(connection: &Connection) -> Result<(), Fault> {
    let give_up = Instant::now() + BUSY;
    loop {
        let switched = connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()));
        match switched {
            Err(error) if is_locked(&error) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return Ok(other?),
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Creates the tables in an empty file; refuses another schema.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), Fault> {
    if version(connection)? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let standing = version(&transaction)?;
    if standing < 1 {
        transaction.execute_batch(SCHEMA)?;
    }
    if standing < 2 {
        transaction.execute_batch(SINCE_2)?;
    }
    if standing < 3 {
        transaction.execute_batch(SINCE_3)?;
    }
    if standing < 4 {
        transaction.execute_batch(SINCE_4)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Whether the tables of this version are there; an error if they are somebody else's.
pub(super) fn is_ours(connection: &Connection) -> Result<bool, Fault> {
    Ok(version(connection)? == SCHEMA_VERSION)
}

/// The version of the tables, 0 if there are none; an error if they are somebody else's.
fn version(connection: &Connection) -> Result<i64, Fault> {
    // In one statement, which sees one moment: another process may be creating them.
    let (version, tables): (i64, i64) = connection.query_row(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match version {
        1..=SCHEMA_VERSION => Ok(version),
        0 if tables == 0 => Ok(0),
        0 => Err(Fault::Schema("it holds tables of another program; name another file".to_owned())),
        newer => Err(Fault::Schema(format!(
            "its version is {newer}, this program knows {SCHEMA_VERSION}; use the reconciler that wrote it, or a newer one"
        ))),
    }
}

fn make_file(path: &Path) -> Result<(), Fault> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder(folder)
            .map_err(|source| Fault::File { action: "create the folder", source })?;
    }
    // SQLite gives its own two files beside it the mode of this one.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| Fault::File { action: "open the file for writing", source })
}

/// Reads a file that may not exist yet.
pub(super) enum Reader {
    /// No file, or one without tables: empty.
    Nothing,
    /// Follows what a writer does, in the file that stood there when it was opened, at the version
    /// that it had then.
    Following(Connection, Option<Identity>, i64),
    /// A snapshot of this one call.
    Immutable(Connection),
}

impl Reader {
    /// Looks for the file.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let identity = Identity::of(path);
        if let Err(source) = fs::File::open(path) {
            return match source.kind() {
                ErrorKind::NotFound => Ok(Self::Nothing),
                _ => Err(Fault::File { action: "read the file", source }),
            };
        }
        let connection = connect(path, "")?;
        match version(&connection) {
            Ok(0) => Ok(Self::Nothing),
            Ok(version) => {
                fill_in(&connection, version)?;
                Ok(Self::Following(connection, identity, version))
            }
            Err(Fault::Sqlite(error)) if needs_a_shm_file(&error) => {
                let connection = connect(path, "&immutable=1")?;
                let version = version(&connection)?;
                if version == 0 {
                    return Ok(Self::Nothing);
                }
                fill_in(&connection, version)?;
                Ok(Self::Immutable(connection))
            }
            Err(fault) => Err(fault),
        }
    }

    /// The connection to read on now; none if there is nothing to read.
    pub(super) fn connection(&mut self, path: &Path) -> Result<Option<&Connection>, Fault> {
        // A file that another has taken the place of tells nothing any more.
        let still_is = match self {
            Self::Following(connection, identity, read_at) => {
                *identity == Identity::of(path)
                    && (*read_at == SCHEMA_VERSION || version(connection)? == *read_at)
            }
            Self::Nothing | Self::Immutable(_) => false,
        };
        if !still_is {
            *self = Self::open(path)?;
        }
        Ok(match self {
            Self::Nothing => None,
            Self::Following(connection, ..) | Self::Immutable(connection) => Some(connection),
        })
    }
}

/// Makes what an older file lacks, empty and in memory: a reader finds nothing there.
fn fill_in(connection: &Connection, version: i64) -> Result<(), Fault> {
    for (since, tables) in [(2, SINCE_2), (3, SINCE_3)] {
        if version < since {
            connection.execute_batch(&tables.replace("CREATE TABLE", "CREATE TEMP TABLE"))?;
        }
    }
    if version < 4 {
        connection.execute_batch(VIEW_4)?;
    }
    Ok(())
}

fn needs_a_shm_file(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn connect(path: &Path, more: &str) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path, more), flags)?;
    connection.busy_timeout(BUSY)?;
    // A plan reads all records once: without the map, each page is copied into a cache first.
    connection.pragma_update(None, "mmap_size", MAPPED)?;
    Ok(connection)
}

/// `file:…?mode=ro` with every byte that means something in a URI escaped.
fn uri(path: &Path, more: &str) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut uri = b"file:".to_vec();
    // Two slashes at the start would read as a host.
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            _ => uri.push(byte),
        }
    }
    uri.extend(b"?mode=ro");
    uri.extend(more.bytes());
    PathBuf::from(std::ffi::OsString::from_vec(uri))
}
