//! The network and AWS at their worst: every kind of fault on every operation that a build uses, of
//! ours and of Packer's, and afterwards the images are recorded, once, and nothing is left.
//!
//! A run takes several faults of the table, each for one operation. Which come together and which
//! call of an operation they hit is drawn from a seed, which is printed; `RECONCILER_FAULT_SEED`
//! draws the same again.

mod budget;
mod table;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::farm::{Farm, Store};
use crate::harness::random_source::Dice;

/// How many runs go on at once: most of a run is waiting.
const WORKERS: usize = 6;

/// How many faults a run meets.
const FAULTS: usize = 5;

/// A run that takes longer is counted and explained.
const LONG: Duration = Duration::from_secs(100);

#[test]
#[ignore = "long: `make soak` runs it"]
fn whatever_aws_and_the_network_do_images_are_recorded_once_and_nothing_is_left() {
    let seed = Dice::seed("RECONCILER_FAULT_SEED");
    let mut random_source = Dice::new(seed);
    let mut faults = table::faults();
    random_source.shuffle(&mut faults);
    let runs: Vec<Vec<Value>> = faults
        .chunks(FAULTS)
        .map(|some| {
            let hit = some.iter().map(|fault| fault.rule(&mut random_source));
            hit.collect()
        })
        .collect();
    println!("seed {seed}: {} faults in {} runs", faults.len(), runs.len());
    let (next, broken) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let (begin, long) = (Instant::now(), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(rules) = runs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let begin = Instant::now();
                    let result = std::panic::catch_unwind(|| run(rules))
                        .unwrap_or_else(|_| Err("it panicked".to_owned()));
                    let took = begin.elapsed();
                    println!("{:.1} s {result:?}", took.as_secs_f32());
                    if took >= LONG {
                        let asks_again = rules.iter().any(makes_packer_ask_for_its_key_again);
                        long.lock().unwrap().push(asks_again);
                    }
                    if let Err(what) = result {
                        let rules = serde_json::to_string(rules).unwrap();
                        broken.lock().unwrap().push(format!("{rules}:\n  {what}"));
                    }
                }
            });
        }
    });
    let (broken, long) = (broken.into_inner().unwrap(), long.into_inner().unwrap());
    println!(
        "figures: seed {seed}, {} faults in {} runs, {} s, {} broken; {} runs took more than {} s, in {} of them Packer asked for nearly three \
         minutes for a key pair that it had",
        faults.len(),
        runs.len(),
        begin.elapsed().as_secs(),
        broken.len(),
        long.len(),
        LONG.as_secs(),
        long.iter().filter(|asks_again| **asks_again).count()
    );
    assert!(broken.is_empty(), "seed {seed}\n{}", broken.join("\n"));
}

/// Two steps, one on the other, through these faults; how many of them were met.
fn run(rules: &[Value]) -> Result<usize, String> {
    let farm = Farm::hasty(Store::DynamoDb);
    farm.step("a", None).step("b", Some("a"));
    farm.repo.commit("two steps");
    farm.faults(&json!(rules));
    farm.converge(12)?;
    let broken: Vec<_> = farm
        .broken_promises(2)
        .into_iter()
        // A build that Packer says has failed leaves an image that is not what was wanted: it goes,
        // and is built anew.
        .filter(|promise| !promise.starts_with("an image was lost"))
        // Where Packer's call takes effect and Packer does not hear of it, Packer repeats it; that
        // EC2 refuses that is what saves us.
        .filter(|promise| !(promise.starts_with("built twice") && rules.iter().any(is_repeated)))
        .collect();
    if !broken.is_empty() {
        return Err(broken.join("\n  "));
    }
    let met = farm.emulator().control_get("/_control/met");
    let met = met.as_object().unwrap().keys().cloned();
    Ok(met.filter(|key| key.starts_with(farm.region.name)).count())
}

/// Whether a fault lets Packer make its key pair and not hear of it. Packer repeats the call, is
/// told each time that there is one of that name, and gives up after two and three quarter minutes.
fn makes_packer_ask_for_its_key_again(rule: &Value) -> bool {
    let kinds = ["duplicate", "truncate", "drop-after"];
    rule["from"] == "packer"
        && rule["operation"] == "CreateKeyPair"
        && kinds.iter().any(|kind| rule["kind"] == *kind)
}

/// Whether a fault makes one `CreateImage` of Packer's two.
fn is_repeated(rule: &Value) -> bool {
    let kinds = ["duplicate", "truncate", "drop-after"];
    rule["from"] == "packer"
        && rule["operation"] == "CreateImage"
        && kinds.iter().any(|kind| rule["kind"] == *kind)
}
