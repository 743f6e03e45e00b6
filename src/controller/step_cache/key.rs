//! Which sources fingerprints are worked out by: a digest of them marks the program, so that the
//! step cache of another build is never believed. Used by `build.rs`, and by its own tests.
//!
//! The version alone would not do: two commits of one version may render or hash differently.
//! Nothing outside of the workspace is read.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The crate that works fingerprints out. What it depends on in this workspace counts as well.
const CRATE: &str = "core";

/// What of the root package stands between a commit and that crate; the lock file names the
/// template engine.
const BESIDE: [&str; 5] = [
    "Cargo.lock",
    "src/git",
    "src/controller/checkout.rs",
    "src/controller/step_cache.rs",
    "src/controller/step_cache",
];

/// The sources, as paths from the workspace's folder.
pub(crate) fn sources(workspace: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found: BTreeSet<PathBuf> = BESIDE.iter().map(PathBuf::from).collect();
    let mut next = vec![CRATE.to_owned()];
    while let Some(name) = next.pop() {
        let folder = Path::new("crates").join(name);
        if !found.insert(folder.join("src")) {
            continue;
        }
        let manifest = folder.join("Cargo.toml");
        let text = fs::read_to_string(workspace.join(&manifest))?;
        let needed = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
        let needed = needed.lines().take_while(|line| !line.starts_with('['));
        next.extend(needed.filter_map(|line| {
            let (name, _) = line.strip_prefix("reconciler-")?.split_once(['.', ' '])?;
            Some(name.to_owned())
        }));
        found.insert(manifest);
    }
    Ok(found)
}

/// A digest of all that stands there.
pub(crate) fn digest(workspace: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    for source in sources(workspace)? {
        // A packaged crate may come without its lock file.
        if workspace.join(&source).exists() {
            take_in(workspace, &source, &mut hasher)?;
        }
    }
    Ok(hasher.finish())
}

fn take_in(workspace: &Path, path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let place = workspace.join(path);
    if !place.is_dir() {
        path.hash(hasher);
        fs::read(place)?.hash(hasher);
        return Ok(());
    }
    let mut inside: Vec<_> = fs::read_dir(place)?
        .map(|entry| entry.map(|entry| path.join(entry.file_name())))
        .collect::<Result<_, _>>()?;
    inside.sort();
    inside.iter().try_for_each(|path| take_in(workspace, path, hasher))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(from: &Path, to: &Path) {
        if from.is_dir() {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let name = entry.unwrap().file_name();
                copy(&from.join(&name), &to.join(&name));
            }
        } else {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }

    #[test]
    fn a_changed_rule_changes_the_key_and_a_changed_loop_does_not() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path();
        for part in ["Cargo.lock", "crates", "src"] {
            copy(&here.join(part), &workspace.join(part));
        }
        let key = || digest(workspace).unwrap();
        let before = key();
        assert_eq!(before, digest(here).unwrap());
        let changed = |file: &str| {
            let file = workspace.join(file);
            let old = fs::read(&file).unwrap();
            fs::write(&file, [&old[..], b"// another rule\n"].concat()).unwrap();
            let after = key();
            fs::write(&file, old).unwrap();
            after != before
        };
        for rule in [
            "Cargo.lock",
            "crates/core/src/desired/step.rs",
            // How secrets count, which once was not looked at.
            "crates/core/src/secrets/secret_digests.rs",
            "crates/core/src/workflow/params.rs",
            "crates/jinja/src/filters.rs",
            "crates/hcl/src/secret_exposure.rs",
            "crates/model/src/components.rs",
            "crates/model/Cargo.toml",
            "src/git/tree.rs",
            "src/controller/checkout.rs",
            "src/controller/step_cache/format.rs",
        ] {
            assert!(changed(rule), "{rule}");
        }
        for other in [
            "crates/aws/src/ec2/mod.rs",
            "src/controller/main_loop/mod.rs",
            "src/packer/mod.rs",
            "src/commands/plan.rs",
        ] {
            assert!(!changed(other), "{other}");
        }
        assert_eq!(key(), before);
    }
}
