//! The embedded inventory: one `SQLite` file, the default where no table is configured.
//!
//! This file is the adapter itself: which connection a call runs on, and the calls that concern the
//! whole inventory. The others stand in `records`, `journal`, `leases`, `beats` and `requests`; opening
//! the file in `file`. It relies on the caller to run inside a tokio runtime: every call runs on a blocking
//! thread.
//!
//! # Guarantees
//!
//! * A write is one immediate transaction, on disk before the call returns (WAL,
//!   `synchronous = FULL`).
//! * Other processes read at any time, also from a folder that they may not write.

mod beats;
mod error;
mod file;
mod journal;
#[cfg(test)]
mod kept;
mod leases;
mod records;
mod requests;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use error::Fault;
use file::{Identity, Missing, Reader};
use reconciler_model::inventory::journal::Stage;
use reconciler_model::inventory::{Fence, Inventory, InventoryError, OpenWorkflow, Write};

/// Records, journal and leases in one file.
pub struct SqliteInventory {
    store: Arc<Store>,
}

struct Store {
    path: PathBuf,
    /// What a writer has opened; a reader opens anew whatever stands there.
    opened: Option<Identity>,
    connection: Mutex<Access>,
}

/// What the connection may do.
enum Access {
    Writer(Connection),
    Reader(Reader),
}

impl SqliteInventory {
    /// Opens the file for reading and writing; it and its folders are made where they are missing,
    /// the file for its owner alone.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, InventoryError> {
        Self::open_or(path.into(), Missing::Make)
    }

    /// Opens a file that is there for reading and writing.
    pub fn open_existing(path: impl Into<PathBuf>) -> Result<Self, InventoryError> {
        Self::open_or(path.into(), Missing::Refuse)
    }

    fn open_or(path: PathBuf, missing: Missing) -> Result<Self, InventoryError> {
        let (connection, opened) =
            file::open_writer(&path, missing).map_err(|fault| fault.into_inventory_error(&path))?;
        Ok(Self::over(path, opened, Access::Writer(connection)))
    }

    /// Opens the file for reading. A missing file is an empty inventory, and is looked for again at
    /// the next call.
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, InventoryError> {
        let path = path.into();
        let reader = Reader::open(&path).map_err(|fault| fault.into_inventory_error(&path))?;
        Ok(Self::over(path, None, Access::Reader(reader)))
    }

    fn over(path: PathBuf, opened: Option<Identity>, access: Access) -> Self {
        Self { store: Arc::new(Store { path, opened, connection: Mutex::new(access) }) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, InventoryError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || {
            work(&store).map_err(|fault| fault.into_inventory_error(&store.path))
        });
        done.await.map_err(|gone| InventoryError::Failed {
            place: place(&self.store.path),
            detail: format!("the call ended early: {gone}"),
        })?
    }

    /// Reads; an inventory that does not exist yet gives the empty answer.
    async fn read<T: Default + Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, InventoryError> {
        Ok(self.read_if_there(query).await?.unwrap_or_default())
    }

    /// Reads; none if the inventory does not exist yet.
    async fn read_if_there<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Option<T>, InventoryError> {
        self.run(move |store| {
            let mut access = store.lock();
            match &mut *access {
                Access::Writer(connection) => {
                    store.is_still_ours(connection)?;
                    query(connection).map(Some)
                }
                Access::Reader(reader) => reader.connection(&store.path)?.map(query).transpose(),
            }
        })
        .await
    }

    /// Writes, whole or not at all.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, InventoryError> {
        self.run(move |store| {
            let mut access = store.lock();
            let Access::Writer(connection) = &mut *access else {
                return Err(Fault::ReadOnly);
            };
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            store.is_still_ours(&transaction)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }
}

impl Store {
    fn lock(&self) -> std::sync::MutexGuard<'_, Access> {
        // A panic in a call leaves no half transaction behind: it was rolled back when dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file that was deleted or replaced can be written to as before, and nobody else would see
    /// it: two would hold one lease. And a newer program may have changed what the tables mean.
    fn is_still_ours(&self, connection: &Connection) -> Result<(), Fault> {
        if !self.is_in_place() {
            return Err(Fault::Replaced);
        }
        if file::is_ours(connection)? { Ok(()) } else { Err(Fault::Replaced) }
    }

    fn is_in_place(&self) -> bool {
        self.opened.is_none() || self.opened == Identity::of(&self.path)
    }
}

fn place(path: &Path) -> String {
    format!("SQLite {}", path.display())
}

#[async_trait]
impl Inventory for SqliteInventory {
    fn place(&self) -> String {
        place(&self.store.path)
    }

    async fn prepare(&self) -> Result<(), InventoryError> {
        self.run(|store| match &mut *store.lock() {
            Access::Writer(_) if !store.is_in_place() => Err(Fault::Replaced),
            Access::Writer(connection) => file::prepare(connection),
            Access::Reader(_) => Err(Fault::ReadOnly),
        })
        .await
    }

    /// The schema was looked at when the file was opened.
    async fn examine(&self) -> Result<(), InventoryError> {
        self.read(|_| Ok(())).await
    }

    fn is_in_place(&self) -> bool {
        self.store.is_in_place()
    }

    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        let mut open = self
            .read(|db| {
                let mut open = journal::open_workflows(db)?;
                open.extend(beats::open_workflows(db)?);
                Ok(open)
            })
            .await?;
        open.sort();
        open.dedup();
        Ok(open)
    }

    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError> {
        let fence = fence.cloned();
        self.change(move |db| {
            if let Some(fence) = &fence {
                // Seeded bug: fence-dropped-in-sqlite
                leases::check(db, fence)?;
            }
            if let Some(event) = &write.event
                && journal::has(db, event)?
            {
                return Ok(());
            }
            if let Some(answer) = &write.answer
                && !requests::answer(db, answer)?
            {
                return Ok(());
            }
            if let Some((record, expected)) = &write.record {
                records::put(db, record, expected.as_ref())?;
            }
            if let Some(removal) = &write.removal {
                records::remove(db, removal)?;
            }
            if let Some(event) = &write.event {
                journal::append(db, event)?;
                if matches!(event.stage, Stage::CancelRequested { .. }) {
                    beats::ask_to_end(db, &event.workflow_id, &event.build_id)?;
                }
                leases::count_event(db, &event.workflow_id)?;
            }
            if let Some(change) = &write.reservation {
                requests::change_reservation(db, change)?;
            }
            Ok(())
        })
        .await
    }
}
