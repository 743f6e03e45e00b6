//! `reconciler fetch`: fetches one repository; see `reconciler::git::fetcher`.

use std::process::ExitCode;

use reconciler::git::fetcher;

/// Takes the job from standard input. The process ends at once afterwards, whatever still hangs in
/// it.
pub(crate) fn run() -> ExitCode {
    match fetcher::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::print::failure(&error.into()),
    }
}
