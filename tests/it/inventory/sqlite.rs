//! What is particular to the `SQLite` adapter: the file, who may read it, and other processes
//! beside it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reconciler::sqlite::SqliteInventory;
use reconciler_model::inventory::{
    Inventory, InventoryError, Journal as _, Leases as _, Records as _,
};
use rusqlite::Connection;

use super::tables::runtime;
use super::values::{Build, failed, minute, of_event, of_record, record, step, workflow};

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("state/deep/inventory.sqlite")
}

fn put(inventory: &SqliteInventory, step_id: &str) {
    let write = of_record(record(step_id, "ami-1", minute(0)));
    runtime().block_on(inventory.write(write, None)).unwrap();
}

fn steps(inventory: &SqliteInventory) -> Vec<String> {
    let heads = runtime().block_on(inventory.heads(&workflow())).unwrap();
    heads.records.iter().map(|head| head.step_id.to_string()).collect()
}

#[test]
fn the_file_and_its_companions_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = SqliteInventory::open(file(&folder)).unwrap();
    put(&inventory, "pyenv");
    let state = file(&folder).parent().unwrap().to_owned();
    let mut seen = 0;
    for entry in std::fs::read_dir(&state).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        seen += 1;
    }
    assert_eq!(seen, 3, "database, -wal and -shm");
    let mode = std::fs::metadata(state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_reader_finds_nothing_then_what_a_writer_makes() {
    let folder = tempfile::tempdir().unwrap();
    let reader = SqliteInventory::open_read_only(file(&folder)).unwrap();
    assert!(steps(&reader).is_empty());
    assert!(!file(&folder).exists());
    let writer = SqliteInventory::open(file(&folder)).unwrap();
    put(&writer, "pyenv");
    assert_eq!(steps(&reader), ["pyenv"]);
    put(&writer, "mysql");
    assert_eq!(steps(&reader), ["mysql", "pyenv"]);
    drop(writer);
    assert_eq!(steps(&reader), ["mysql", "pyenv"]);
}

#[test]
fn a_reader_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteInventory::open(file(&folder)).unwrap());
    let reader = SqliteInventory::open_read_only(file(&folder)).unwrap();
    let write = of_record(record("pyenv", "ami-1", minute(0)));
    let refused = runtime().block_on(reader.write(write, None)).unwrap_err();
    assert!(refused.to_string().contains("reading only"), "{refused}");
    assert!(runtime().block_on(reader.prepare()).is_err());
}

/// The part of the next test that runs in a process of its own, as another user where that is
/// possible.
#[test]
#[ignore = "run by the test below"]
fn child_that_reads() {
    let path = std::env::var_os("INVENTORY_TO_READ").unwrap();
    let reader = SqliteInventory::open_read_only(PathBuf::from(path)).unwrap();
    println!("read {:?}", steps(&reader));
}

#[test]
fn another_user_reads_in_a_folder_that_only_the_owner_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inventory.sqlite");
    let writer = SqliteInventory::open(&path).unwrap();
    put(&writer, "pyenv");
    open_to_all(folder.path(), 0o755);
    open_to_all(&path, 0o644);
    let beside_a_writer = read_as_somebody_else(folder.path(), &path);
    assert!(beside_a_writer.contains(r#"read ["pyenv"]"#), "{beside_a_writer}");
    put(&writer, "mysql");
    drop(writer);
    assert!(!folder.path().join("inventory.sqlite-shm").exists());
    open_to_all(folder.path(), 0o555);
    let after_a_clean_close = read_as_somebody_else(folder.path(), &path);
    assert!(after_a_clean_close.contains(r#"read ["mysql", "pyenv"]"#), "{after_a_clean_close}");
    open_to_all(folder.path(), 0o755);
}

/// The database's companions have their own modes once it was opened.
fn open_to_all(path: &Path, mode: u32) {
    let companions = ["-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    for path in companions.iter().map(PathBuf::as_path).chain([path]) {
        if path.exists() {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn read_as_somebody_else(folder: &Path, path: &Path) -> String {
    use std::os::unix::process::CommandExt as _;
    // Where this binary lies may be closed to others.
    let program = tempfile::tempdir().unwrap();
    open_to_all(program.path(), 0o755);
    let copy = program.path().join("it");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    open_to_all(&copy, 0o755);
    let mut child = Command::new(copy);
    child
        .args(["--exact", "inventory::sqlite::child_that_reads"])
        .args(["--ignored", "--nocapture"])
        .env("INVENTORY_TO_READ", path)
        .current_dir(folder);
    if rustix::process::geteuid().is_root() {
        // `nobody`: root would not be stopped by a mode.
        child.uid(65534).gid(65534);
    }
    let output = child.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Makes a file something else than an inventory.
type Spoil = fn(&Path);

#[test]
fn files_that_are_not_ours_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inventory.sqlite");
    let cases: [(Spoil, &str); 3] = [
        (
            |path| std::fs::write(path, "not a database, but long enough to be looked at").unwrap(),
            "not a database",
        ),
        (
            |path| {
                Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
            },
            "tables of another program",
        ),
        (
            |path| {
                drop(SqliteInventory::open(path).unwrap());
                Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
            },
            "its version is 99",
        ),
    ];
    for (spoil, said) in cases {
        let _ = std::fs::remove_file(&path);
        spoil(&path);
        for opened in [SqliteInventory::open(&path), SqliteInventory::open_read_only(&path)] {
            match opened.map(drop) {
                Err(error @ InventoryError::Schema { .. }) => {
                    assert!(error.to_string().contains(said), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_path_with_signs_that_mean_something_in_a_uri_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("50% ?#&.sqlite");
    put(&SqliteInventory::open(&path).unwrap(), "pyenv");
    let reader = SqliteInventory::open_read_only(&path).unwrap();
    assert_eq!(steps(&reader), ["pyenv"]);
}

#[test]
fn a_row_that_cannot_be_read_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = SqliteInventory::open(file(&folder)).unwrap();
    for name in ["pyenv", "mysql", "core"] {
        put(&inventory, name);
    }
    Connection::open(file(&folder))
        .unwrap()
        .execute_batch(
            "UPDATE record SET fingerprint = x'00' WHERE step_id = 'pyenv'; \
             UPDATE record SET create_at = 'yesterday' WHERE step_id = 'core'",
        )
        .unwrap();
    assert_eq!(steps(&inventory), ["mysql"]);
    let heads = runtime().block_on(inventory.heads(&workflow())).unwrap();
    let broken: Vec<_> = heads.malformed.iter().map(|(step, _)| step).collect();
    assert_eq!(broken, [&step("core"), &step("pyenv")]);
    assert!(heads.malformed[1].1.contains("1 bytes"), "{:?}", heads.malformed);
}

#[test]
fn several_open_a_new_file_at_once() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let path = file(&folder);
                std::thread::spawn(move || {
                    let inventory = SqliteInventory::open(path).unwrap();
                    put(&inventory, &format!("step-{number}"));
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let reader = SqliteInventory::open_read_only(file(&folder)).unwrap();
        assert_eq!(steps(&reader).len(), 8);
    }
}

#[test]
fn a_file_locked_by_another_process_is_unavailable_not_broken() {
    let folder = tempfile::tempdir().unwrap();
    let error = {
        let other = {
            drop(SqliteInventory::open(file(&folder)).unwrap());
            Connection::open(file(&folder)).unwrap()
        };
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let inventory = SqliteInventory::open(file(&folder)).unwrap();
        let write = of_record(record("pyenv", "ami-1", minute(0)));
        runtime().block_on(inventory.write(write, None)).unwrap_err()
    };
    assert!(matches!(error, InventoryError::Unavailable { .. }), "{error:?}");
}

#[test]
fn an_entry_of_the_journal_is_neither_changed_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = SqliteInventory::open(file(&folder)).unwrap();
    let mut build = Build::of("pyenv");
    let intent = of_event(build.intent());
    runtime().block_on(inventory.write(intent, None)).unwrap();
    let by_hand = Connection::open(file(&folder)).unwrap();
    for change in ["UPDATE event SET stage = '{}'", "DELETE FROM event"] {
        let refused = by_hand.execute_batch(change).unwrap_err().to_string();
        assert!(refused.contains("never changed"), "{change}: {refused}");
    }
}

/// Puts something else into a column, as somebody with an editor would.
fn spoil(folder: &tempfile::TempDir, change: &str) {
    let db = Connection::open(file(folder)).unwrap();
    assert!(db.execute(change, []).unwrap() > 0, "{change}");
}

#[test]
fn a_row_that_cannot_be_read_hides_no_other_and_long_texts_hide_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = SqliteInventory::open(file(&folder)).unwrap();
    let mut ids = Vec::new();
    for name in ["bad", "good"] {
        put(&inventory, name);
        let mut build = Build::of(name);
        ids.push(build.id().clone());
        for event in [build.intent(), build.next(failed())] {
            runtime().block_on(inventory.write(of_event(event), None)).unwrap();
        }
    }
    for change in [
        "UPDATE attempt SET attempt = '{' WHERE step_id = 'bad'",
        "UPDATE record_text SET components = '[7]', metadata = x'00ff', details = 7 WHERE step_id = 'bad'",
        "DROP TRIGGER event_is_never_changed",
        "UPDATE event SET stage = '\"unheard-of\"' WHERE step_id = 'bad' AND seq = 1",
        "UPDATE record SET fingerprint = 'x' WHERE step_id = 'good'",
    ] {
        if change.starts_with("DROP") {
            Connection::open(file(&folder)).unwrap().execute(change, []).unwrap();
        } else {
            spoil(&folder, change);
        }
    }
    let workflow = workflow();
    let attempts = runtime().block_on(inventory.attempts(&workflow)).unwrap();
    assert_eq!(attempts.len(), 1);
    assert!(attempts.malformed_of(&step("bad")).is_some(), "{attempts:?}");
    let events = runtime().block_on(inventory.events(&workflow, None, 9)).unwrap();
    assert_eq!((events.len(), events.malformed.len()), (3, 1));
    assert!(events.malformed[0].key.contains(ids[0].as_str()), "{events:?}");
    let read = runtime().block_on(inventory.record(&workflow, &step("bad"))).unwrap();
    let read = read.unwrap();
    assert_eq!((&*read.metadata, &*read.details, read.components), ("{}", "7", None));
    let heads = runtime().block_on(inventory.heads(&workflow)).unwrap();
    assert_eq!((heads.records.len(), heads.malformed.len()), (1, 1));
    let all = runtime().block_on(inventory.records_of_workflow(&workflow)).unwrap();
    assert_eq!((all.len(), all.malformed.len()), (1, 1));
}

#[test]
fn a_file_that_is_deleted_or_replaced_is_noticed_by_writers_and_followed_by_readers() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (file(&folder), folder.path().join("two.sqlite"));
    let writer = SqliteInventory::open(&one).unwrap();
    put(&writer, "pyenv");
    let reader = SqliteInventory::open_read_only(&one).unwrap();
    assert_eq!(steps(&reader), ["pyenv"]);
    let other = SqliteInventory::open(&two).unwrap();
    put(&other, "mysql");
    drop(other);
    assert!(writer.is_in_place());
    for replace in [None, Some(&two)] {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", one.display()));
        }
        if let Some(other) = replace {
            std::fs::rename(other, &one).unwrap();
        }
        assert!(!writer.is_in_place());
        let write = of_record(record("late", "ami-1", minute(0)));
        for refused in [
            runtime().block_on(writer.write(write, None)).err(),
            runtime().block_on(writer.lease(&workflow())).err(),
            runtime().block_on(writer.prepare()).err(),
        ] {
            let replaced = matches!(refused, Some(InventoryError::Replaced { .. }));
            assert!(replaced, "{refused:?}");
        }
    }
    assert_eq!(steps(&reader), ["mysql"], "what stands there now");
    assert!(SqliteInventory::open_existing(folder.path().join("none")).is_err());
}

#[test]
fn what_another_version_made_of_the_file_meanwhile_is_refused_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = SqliteInventory::open(file(&folder)).unwrap();
    put(&inventory, "pyenv");
    let db = Connection::open(file(&folder)).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let refused = runtime().block_on(inventory.heads(&workflow())).unwrap_err();
    assert!(matches!(refused, InventoryError::Schema { .. }), "{refused:?}");
    let write = of_record(record("late", "ami-1", minute(0)));
    assert!(runtime().block_on(inventory.write(write, None)).is_err());
}
