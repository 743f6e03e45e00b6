//! What was worked out of a step's tree before: git has hashed every input already, so an unchanged tree needs no reading, no
//! parsing and no rendering.
//!
//! A row holds for the tree that it was made from; its fingerprint only on the same workflow parameters, settings, included
//! objects and source image. The file can be deleted at any time; what cannot be read or written is worked out anew.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use crate::desired::components::Fingerprint;
use crate::desired::digest::{Digest, Encoder};
use crate::ids::StepId;
use crate::plan::planner::Outline;
use crate::source::{Entry, ObjectId};

/// Part of every key: a program that works things out differently must not trust an older one's rows.
const FORMAT: &str = concat!(
    "reconciler step cache 1, program ",
    env!("CARGO_PKG_VERSION")
);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS steps (
    scope BLOB NOT NULL, name TEXT NOT NULL, tree BLOB NOT NULL,
    id TEXT NOT NULL, parent TEXT, flags INTEGER NOT NULL, metadata BLOB NOT NULL, includes TEXT NOT NULL,
    inputs BLOB, source_ami TEXT, fingerprint BLOB,
    PRIMARY KEY (scope, name)) WITHOUT ROWID";

/// What is known of one step folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The folder's name in its workflow.
    pub name: String,
    /// The tree that this was made from.
    pub tree: ObjectId,
    /// The step; its folder is filled in by the reader.
    pub outline: Outline,
    /// What `include` names.
    pub includes: Vec<String>,
    /// The fingerprint, and on what it holds.
    pub known: Option<Known>,
}

/// A fingerprint and what it was made on, beside the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Workflow parameters, settings and included objects.
    pub inputs: Digest,
    /// The image that the step starts from.
    pub source_ami: String,
    /// The answer.
    pub fingerprint: Fingerprint,
}

/// The file.
pub struct StepCache {
    connection: Connection,
    scope: Digest,
}

impl StepCache {
    /// Opens the cache of one workflow of one repository; none if that cannot be: then all is worked out anew.
    #[must_use]
    pub fn open(state_dir: &Path, place: &str, folder: &str) -> Option<Self> {
        let path = state_dir.join("cache.sqlite");
        let connection = Self::writable(&path).or_else(|| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(&path, flags).ok()
        })?;
        let mut scope = Encoder::new(FORMAT);
        scope.field(place.as_bytes()).field(folder.as_bytes());
        Some(Self {
            connection,
            scope: scope.finish(),
        })
    }

    fn writable(path: &Path) -> Option<Connection> {
        std::fs::create_dir_all(path.parent()?).ok()?;
        let connection = Connection::open(path).ok()?;
        connection
            .busy_timeout(std::time::Duration::from_millis(200))
            .ok()?;
        // Losing the newest rows costs a rendering, no more.
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;";
        connection
            .execute_batch(pragmas)
            .and_then(|()| connection.execute_batch(SCHEMA))
            .ok()?;
        Some(connection)
    }

    /// All rows, by folder name.
    #[must_use]
    pub fn load(&self) -> HashMap<String, Row> {
        self.try_load().unwrap_or_default()
    }

    fn try_load(&self) -> rusqlite::Result<HashMap<String, Row>> {
        let mut query = self.connection.prepare(
            "SELECT name, tree, id, parent, flags, metadata, includes, inputs, source_ami, fingerprint FROM steps WHERE scope = ?1",
        )?;
        let mut rows = query.query([self.scope.as_bytes().as_slice()])?;
        let mut found = HashMap::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let flags: i64 = row.get(4)?;
            let includes: String = row.get(6)?;
            let inputs: Option<[u8; 32]> = row.get(7)?;
            let outline = Outline {
                id: StepId::new(row.get::<_, String>(2)?),
                folder: String::new(),
                parent: row.get::<_, Option<String>>(3)?.map(StepId::new),
                manual: flags & 1 != 0,
                suspend: flags & 2 != 0,
                metadata_digest: Digest::from_bytes(row.get(5)?),
            };
            let known = match inputs {
                None => None,
                Some(inputs) => Some(Known {
                    inputs: Digest::from_bytes(inputs),
                    source_ami: row.get(8)?,
                    fingerprint: Digest::from_bytes(row.get(9)?),
                }),
            };
            let includes = includes.lines().map(str::to_owned).collect();
            found.insert(
                name.clone(),
                Row {
                    name,
                    tree: ObjectId(row.get(1)?),
                    outline,
                    includes,
                    known,
                },
            );
        }
        Ok(found)
    }

    /// Keeps rows; the other rows stay as they are.
    pub fn store(&mut self, rows: &[Row]) {
        // A cache that cannot be written is slow, not wrong.
        let _ = self.try_store(rows);
    }

    fn try_store(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let scope = self.scope;
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare(
                "INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            for row in rows {
                let outline = &row.outline;
                put.execute(params![
                    scope.as_bytes().as_slice(),
                    row.name,
                    row.tree.0.as_slice(),
                    outline.id.as_str(),
                    outline.parent.as_ref().map(StepId::as_str),
                    i64::from(outline.manual) | i64::from(outline.suspend) << 1,
                    outline.metadata_digest.as_bytes().as_slice(),
                    row.includes.join("\n"),
                    row.known
                        .as_ref()
                        .map(|known| known.inputs.as_bytes().to_vec()),
                    row.known.as_ref().map(|known| known.source_ami.as_str()),
                    row.known
                        .as_ref()
                        .map(|known| known.fingerprint.as_bytes().to_vec()),
                ])?;
            }
        }
        transaction.commit()
    }
}

/// The digest of everything beside the step's tree and its source image that its fingerprint depends on.
#[must_use]
pub fn inputs_digest(workflow: &Digest, included: &[Entry]) -> Digest {
    if included.is_empty() {
        return *workflow;
    }
    let mut encoder = Encoder::new("step inputs");
    encoder.field(workflow.as_bytes());
    for entry in included {
        encoder
            .field(entry.name.as_bytes())
            .number(entry.kind as u64)
            .field(&entry.id.0);
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, known: Option<Known>) -> Row {
        let outline = Outline {
            id: StepId::new(name),
            folder: String::new(),
            parent: Some(StepId::new("parent")),
            manual: true,
            suspend: false,
            metadata_digest: Digest::of(b"m"),
        };
        Row {
            name: name.into(),
            tree: ObjectId([7; 20]),
            outline,
            includes: vec!["a/b".into(), "c".into()],
            known,
        }
    }

    #[test]
    fn rows_come_back_as_they_were_and_another_workflow_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known {
            inputs: Digest::of(b"i"),
            source_ami: "ami-1".into(),
            fingerprint: Digest::of(b"f"),
        };
        let rows = [row("a", Some(known)), row("b", None)];
        StepCache::open(folder.path(), "repo", "w")
            .unwrap()
            .store(&rows);
        let read = StepCache::open(folder.path(), "repo", "w").unwrap().load();
        assert_eq!(read.len(), 2);
        assert!(rows.iter().all(|row| read[&row.name] == *row));
        assert!(
            StepCache::open(folder.path(), "repo", "other")
                .unwrap()
                .load()
                .is_empty()
        );
    }

    #[test]
    fn a_damaged_file_is_no_cache_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cache.sqlite"), vec![b'x'; 8192]).unwrap();
        let cache = StepCache::open(folder.path(), "repo", "w");
        assert!(cache.is_none_or(|cache| cache.load().is_empty()));
    }
}
