//! `reconciler supervise FOLDER`: runs one build; see `reconciler::packer::supervisor`.

use std::path::Path;
use std::process::ExitCode;

use reconciler::packer::supervisor;

/// Runs the job of a build's folder.
pub(crate) fn run(folder: &Path) -> ExitCode {
    match supervisor::run(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::print::failure(&error.into()),
    }
}
