//! What goes wrong inside the adapter, and how the port tells it.

use std::path::Path;

use rusqlite::ErrorCode;

use reconciler_model::ids::WorkflowId;
use reconciler_model::inventory::{InventoryError, Malformed, Many};

/// A failure before the file's place is put to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The library's own.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A folder or file cannot be made.
    #[error("{action}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A write through a reader.
    #[error("it was opened for reading only")]
    ReadOnly,
    /// See [`InventoryError::Replaced`].
    #[error("it was deleted or replaced")]
    Replaced,
    /// See [`InventoryError::Schema`].
    #[error("{0}")]
    Schema(String),
    /// See [`InventoryError::Conflict`].
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    /// See [`InventoryError::Fenced`].
    #[error("the lease of {0} is another's")]
    Fenced(WorkflowId),
    /// See [`InventoryError::Malformed`].
    #[error("{key}: {detail}")]
    Malformed {
        /// Which record, attempt or event.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Fault {
    /// The one thing that was asked for, if it is there.
    pub(super) fn unless_one<T>(mut found: Many<T>) -> Result<Option<T>, Self> {
        match found.malformed.pop() {
            Some(Malformed { key, detail, .. }) => Err(Self::Malformed { key, detail }),
            None => Ok(found.sound.pop()),
        }
    }

    /// As the port tells it.
    pub(super) fn into_inventory_error(self, path: &Path) -> InventoryError {
        let place = crate::sqlite::place(path);
        match self {
            Self::Sqlite(error) => sqlite(&error, place),
            Self::File { action, source } => file(action, &source, place),
            Self::Replaced => InventoryError::Replaced { place },
            Self::Schema(detail) => InventoryError::Schema { place, detail },
            Self::Conflict(what) => InventoryError::Conflict { what },
            Self::Fenced(workflow) => InventoryError::Fenced { workflow },
            Self::Malformed { key, detail } => InventoryError::Malformed { place, key, detail },
            Self::ReadOnly => InventoryError::Failed {
                place,
                detail: "it was opened for reading only".to_owned(),
            },
        }
    }
}

fn file(action: &'static str, error: &std::io::Error, place: String) -> InventoryError {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem => {
            InventoryError::Denied { action: action.to_owned(), place }
        }
        StorageFull | QuotaExceeded => {
            InventoryError::Unavailable { place, detail: format!("cannot {action}: {error}") }
        }
        _ => InventoryError::Failed { place, detail: format!("cannot {action}: {error}") },
    }
}

fn sqlite(error: &rusqlite::Error, place: String) -> InventoryError {
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => InventoryError::Unavailable {
            place,
            detail: "another process keeps it locked".to_owned(),
        },
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
            InventoryError::Unavailable { place, detail }
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            InventoryError::Denied { action: "write the file".to_owned(), place }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => InventoryError::Schema {
            place,
            detail: format!("{detail}; move the file away or restore it from a backup"),
        },
        _ => InventoryError::Failed { place, detail },
    }
}
