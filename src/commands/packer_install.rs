//! `reconciler packer install`: a verified Packer in the place of the old one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reconciler::config::Config;
use reconciler::packer::install::{From, InstallError, Installed, Order, install};
use reconciler::packer::version;
use reconciler_model::diagnostic::Diagnostic;
use tokio::signal::unix::{SignalKind, signal};

use super::open::config;
use super::slow::Slow;
use super::stop::{INTERRUPTED, TERMINATED};
use super::{CommandError, print};
use crate::cli::PackerInstallArgs;

pub(crate) async fn run(
    named: Option<&Path>,
    args: &PackerInstallArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let target = target(&config, args.to.as_deref())?;
    let from = match &args.from {
        Some(folder) => From::Folder(folder.clone()),
        None => From::Site(config.packer.release_site.clone()),
    };
    let order = Order {
        version: args.version.clone(),
        from,
        target,
        keys: config.packer.release_keys.clone(),
    };
    let slow = Slow::begins("getting Packer".to_owned());
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Whatever was begun goes with the future.
    let done = tokio::select! {
        biased;
        done = install(&order) => done,
        _ = interrupt.recv() => return Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => return Ok(ExitCode::from(TERMINATED)),
    };
    drop(slow);
    print::text(&told(&done.map_err(refused)?, &order.target))?;
    warn_of_another(&config, &order.target);
    Ok(ExitCode::SUCCESS)
}

fn refused(error: InstallError) -> CommandError {
    Diagnostic::from(error).into()
}

/// The file that the program is to be.
fn target(config: &Config, to: Option<&Path>) -> Result<PathBuf, Diagnostic> {
    if let Some(folder) = to {
        return Ok(folder.join("packer"));
    }
    if let Some(binary) = &config.packer.binary {
        return Ok(binary.clone());
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/usr/local/bin/packer"));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| {
        Diagnostic::new("HOME is not set").hint("name the folder for Packer with --to")
    })?;
    Ok(Path::new(&home).join(".local/bin/packer"))
}

fn told(done: &Installed, target: &Path) -> String {
    let before = done.before.map(|before| format!(" (before: {before})")).unwrap_or_default();
    format!(
        "Packer {} is at {}{before}\n  {} of {}\n  SHA-256 {}\n  signed by {}\n",
        done.version,
        target.display(),
        done.file,
        done.place,
        done.sum,
        done.key,
    )
}

/// Builds may go on with another one.
fn warn_of_another(config: &Config, target: &Path) {
    let used = version::locate(config.packer.binary.as_deref());
    let is_used = used.as_ref().is_ok_and(|used| same_file(used, target));
    if !is_used {
        let said = match used {
            Ok(used) => format!("builds go on with {}", used.display()),
            Err(_) => "builds find no Packer yet".to_owned(),
        };
        let hint = format!(
            "put {} first on the PATH, or set `packer.binary` of the configuration to {}",
            target.parent().unwrap_or(target).display(),
            target.display()
        );
        print::warning(&Diagnostic::new(said).hint(hint));
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some() && real(one) == real(other)
}
