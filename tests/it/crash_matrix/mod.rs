//! The crash matrix: at every failpoint the program dies, fails or stands still; then another one
//! starts, and whatever happened, nothing is lost, nothing is built twice, nothing is left, and an
//! unchanged repository causes no write.
//!
//! The rows are in `rows`; a row runs in a region of its own of an emulator that rows share, with
//! real Packer. `make soak` runs all of them; `make test` runs a part that holds every failpoint
//! (`rows::of_test`).

mod release;
mod row;
mod rows;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use row::Row;

/// How many rows run at once: most of a row is waiting.
const WORKERS: usize = 6;

#[test]
fn whatever_dies_fails_or_freezes_wherever_nothing_is_lost_built_twice_or_left() {
    let rows = match std::env::var("RECONCILER_CRASH_ROWS") {
        Ok(which) => rows::matching(&which),
        Err(_) => rows::of_test(),
    };
    assert!(!rows.is_empty());
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::SeqCst)) {
                    run(row, &broken);
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    println!(
        "figures: {} rows in {} s, {} broken",
        rows.len(),
        begin.elapsed().as_secs(),
        broken.len()
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[expect(clippy::print_stdout, reason = "a long test says how far it is")]
fn run(row: &Row, broken: &Mutex<Vec<String>>) {
    let begin = Instant::now();
    // A row whose set-up panics is a broken row, and keeps no other.
    let result = std::panic::catch_unwind(|| row.run())
        .unwrap_or_else(|_| Err(vec!["it panicked".to_owned()]));
    println!(
        "{row}: {} ({:.1} s)",
        if result.is_ok() { "ok" } else { "broken" },
        begin.elapsed().as_secs_f32()
    );
    if let Err(promises) = result {
        let said = format!("{row}:\n  {}", promises.join("\n  "));
        println!("{said}");
        broken.lock().unwrap().push(said);
    }
}
