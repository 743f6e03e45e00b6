//! Which Packer a host has.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::atomic_file::write_durably;
use crate::packer::io;
use reconciler_core::packer::version::PackerVersion;
use reconciler_model::build::BuildError;
use reconciler_model::diagnostic::Diagnostic;

/// Finds Packer: the configured binary, or the first on the `PATH`.
pub fn locate(configured: Option<&Path>) -> Result<PathBuf, BuildError> {
    let missing = |message: String| {
        BuildError::Host(
            Diagnostic::new(message)
                .hint("`reconciler packer install` installs it; or name its binary in `packer.binary` of the configuration"),
        )
    };
    if let Some(path) = configured {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(missing(format!("Packer is not at {}", path.display())))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("packer"))
        .find(|file| file.is_file())
        .ok_or_else(|| missing("Packer is not on the PATH".to_owned()))
}

/// Asks a binary for its version, once for each change of the file: the answer is kept in `cache`.
pub async fn ask(binary: &Path, cache: &Path) -> Result<PackerVersion, BuildError> {
    let facts = std::fs::metadata(binary).map_err(io("looking at Packer"))?;
    let changed = facts
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .unwrap_or_default();
    let key = format!("{} {} {}", binary.display(), facts.len(), changed.as_nanos());
    let kept = std::fs::read_to_string(cache).unwrap_or_default();
    if let Some(version) =
        kept.lines().find_map(|line| line.strip_prefix(&key)).and_then(PackerVersion::parse)
    {
        return Ok(version);
    }
    let version = say(binary).await?;
    // Only a shortcut for the next time.
    let _ = write_durably(cache, format!("{key} v{version}\n").as_bytes());
    Ok(version)
}

/// Has a binary say its version.
pub async fn say(binary: &Path) -> Result<PackerVersion, BuildError> {
    let run = tokio::process::Command::new(binary)
        .arg("version")
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), run).await.map_err(|_| {
        BuildError::Host(Diagnostic::new(format!("{} version does not answer", binary.display())))
    })?;
    let output = output.map_err(io("starting Packer"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().find_map(PackerVersion::parse).ok_or_else(|| {
        BuildError::Host(
            Diagnostic::new(format!(
                "{} does not say its version; it printed {:?}",
                binary.display(),
                said.trim()
            ))
            .hint("is it HashiCorp's Packer?"),
        )
    })
}
