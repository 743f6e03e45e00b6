//! Parses the command line, starts the asynchronous runtime, and turns the result into an exit
//! code.

mod cli;
mod commands;
mod help;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use reconciler_model::diagnostic::Diagnostic;

use crate::cli::{Cli, Command};

/// Bad usage, as in `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    // Whatever this program or one that it starts writes is for this user only: databases, logs,
    // fetched repositories.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The groups are put together only for whoever reads them.
            let error = help::command().try_get_matches().err().unwrap_or(error);
            // A closed standard error is no reason to fail differently.
            let _ = error.print();
            let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if help { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match &cli.command {
        Command::Supervise { folder } => return commands::supervise::run(folder),
        Command::Fetch => return commands::fetch::run(),
        _ => {}
    }
    if let Some(folder) = &cli.folder
        && let Err(error) = std::env::set_current_dir(folder)
    {
        let wrong = Diagnostic::new(format!("-C {}: {error}", folder.display()));
        return commands::print::failure(&wrong.into());
    }
    let runtime = match runtime(&cli.command) {
        Ok(runtime) => runtime,
        Err(error) => return commands::print::failure(&error.into()),
    };
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(error) => commands::print::failure(&error),
    };
    // A fetch that hangs on a thread of its own does not keep the process.
    runtime.shutdown_background();
    code
}

/// Whoever builds reads git while builds are followed, which takes threads; to look needs none, and
/// is over sooner without.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        Command::Plan(_) | Command::Status(_) | Command::Check(_) => {
            tokio::runtime::Builder::new_current_thread()
        }
        _ => {
            let mut threads = tokio::runtime::Builder::new_multi_thread();
            threads.worker_threads(2);
            threads
        }
    };
    builder.enable_all().build()
}
