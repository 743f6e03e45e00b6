//! Marks the program with what its fingerprints are worked out by, so that the step cache of
//! another build is never believed.
//!
//! The version alone would not do: two commits of one version may render or hash differently.
//! Nothing outside of the package is read.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;
use std::{fs, io};

/// Everything between a commit and a fingerprint; the lock file names the template engine.
const SOURCES: [&str; 5] =
    ["Cargo.lock", "src/desired", "src/reconcile", "src/source", "src/workflow"];

fn main() -> io::Result<()> {
    let mut hasher = DefaultHasher::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        let path = Path::new(source);
        // A packaged crate may come without its lock file.
        if path.exists() {
            take_in(path, &mut hasher)?;
        }
    }
    println!("cargo::rustc-env=RECONCILER_LOGIC={:016x}", hasher.finish());
    Ok(())
}

fn take_in(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    if !path.is_dir() {
        path.hash(hasher);
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let mut inside: Vec<_> = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    inside.sort();
    inside.iter().try_for_each(|path| take_in(path, hasher))
}
