//! Replays the corpus of each target, then mutates it for a while: `RECONCILER_TEST_FUZZ_SECONDS`,
//! one second by default. The seed is printed where something is found, and
//! `RECONCILER_TEST_FUZZ_SEED` runs the same mutations again.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::fuzzing::TARGETS;

/// What the formats are made of, so that mutations get past the first byte.
const WORDS: [&str; 24] = [
    "artifact,0,id,us-east-1:ami-0",
    "ui,error,",
    "%!(PACKER_COMMA)",
    "\\n",
    "\n",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "#",
    "//",
    "/*",
    "\u{feff}",
    "\0",
    "100644 a\0",
    "40000 b\0",
    "gpgsig ",
    "tree ",
    "${file(\"/x\")}",
    "<<EOT\n",
    "%{ if true }",
    "\\u0000",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|_| panic!("{} holds the corpus", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has a corpus");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let upto = (from + random.below(64)).min(other.len());
                bytes.splice(at..end, other[from..upto].iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).unwrap();
                }
            }
        }
    }
    bytes
}

fn hold(name: &str, body: fn(&[u8]), bytes: &[u8], seed: u64) {
    if catch_unwind(|| body(bytes)).is_err() {
        let file = std::env::temp_dir().join(format!("fuzz-{name}-{seed}"));
        std::fs::write(&file, bytes).unwrap();
        panic!(
            "{name} does not hold for {} (seed {seed}); mend it, and keep the file in fuzz/corpus/{name}",
            file.display()
        );
    }
}

/// Runs one target; the number of inputs.
fn run(name: &str) -> u64 {
    let (_, body) = TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let seeds = corpus(name);
    for seed in &seeds {
        hold(name, body, seed, 0);
    }
    let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = number("RECONCILER_TEST_FUZZ_SEED").unwrap_or_else(|| u64::from(clock()) | 1);
    let seconds = number("RECONCILER_TEST_FUZZ_SECONDS").unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(seed);
    let mut inputs = 0;
    // On a host that is busy with other tests a second may pass with nothing done.
    while Instant::now() < until || inputs < 100 {
        hold(name, body, &mutated(&seeds, &mut random), seed);
        inputs += 1;
    }
    inputs
}

macro_rules! targets {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                let inputs = run($name);
                eprintln!("{}: {inputs} inputs", $name);
            }
        )*

        #[test]
        fn every_target_is_run_here_and_by_cargo_fuzz() {
            let here = [$($name),*];
            let all = TARGETS.map(|(name, _)| name);
            assert_eq!(here, all);
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for name in all {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is in fuzz/Cargo.toml");
            }
        }
    };
}

targets! {
    any_output_of_packer_is_read: "machine_output",
    any_parameter_file_is_read_or_refused: "parameters",
    any_configuration_is_read_or_refused: "configuration",
    any_item_is_a_record_or_refused: "record",
    any_git_object_is_read_or_refused: "git_objects",
    different_inputs_have_different_fingerprints: "fingerprint",
    any_hcl_is_looked_through_or_refused: "hcl",
    any_file_of_a_release_is_read_or_refused: "release",
}
