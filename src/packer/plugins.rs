//! Which plugins this host's Packer would find.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::PackerConfig;
use crate::packer::passed_on;
use reconciler_core::packer::plugins::InstalledPlugin;
use reconciler_core::packer::release::Platform;

/// `host/owner/name/file`, and a repository that lies deeper.
const DEEPEST: usize = 8;

/// The folders that Packer looks into, with the environment that builds get: `PACKER_PLUGIN_PATH`,
/// or else a folder of the home folder, an old one before today's.
#[must_use]
pub fn folders(config: &PackerConfig) -> Vec<PathBuf> {
    let environment = passed_on(config);
    let set = |name: &str| {
        let mut values = environment.iter().rev().filter(|(known, _)| known == name);
        values.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    if let Some(path) = set("PACKER_PLUGIN_PATH") {
        return std::env::split_paths(path).collect();
    }
    let Some(home) = set("HOME").map(Path::new) else {
        return Vec::new();
    };
    let old = home.join(".packer.d");
    vec![if old.is_dir() { old.join("plugins") } else { home.join(".config/packer/plugins") }]
}

/// The plugins below some folders, in order. A folder that cannot be read holds none for Packer
/// either.
#[must_use]
pub fn installed(folders: &[PathBuf], platform: Platform) -> Vec<InstalledPlugin> {
    let mut found = Vec::new();
    for folder in folders {
        collect(folder, "", DEEPEST, platform, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn collect(
    folder: &Path,
    above: &str,
    deep: usize,
    platform: Platform,
    found: &mut Vec<InstalledPlugin>,
) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = if above.is_empty() { name } else { format!("{above}/{name}") };
        if entry.path().is_dir() {
            if deep > 0 {
                collect(&entry.path(), &path, deep - 1, platform, found);
            }
        } else {
            found.extend(InstalledPlugin::of(&path, platform));
        }
    }
}
