//! `reconciler logs STEP`: what Packer said, of the newest build on this host or of an earlier one.

use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use reconciler::build::packer::log;
use reconciler::build::supervisor::files;
use reconciler::config::Config;
use reconciler::diagnostic::Diagnostic;
use reconciler::ids::StepId;
use reconciler::reconcile::checkout::read_params;
use reconciler::reconcile::ports::{Use, connect};
use reconciler::source::trusted::Purpose;

use super::open::{config, workflows_of};
use super::{CommandError, print};
use crate::cli::LogsArgs;

pub(crate) async fn run(named: Option<&Path>, args: &LogsArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let folder = find(&config, args).await?;
    let path = folder.join(files::LOG);
    let mut offset = 0;
    loop {
        let over = folder.join(files::ENDED).is_file();
        offset = show(&path, offset)?;
        if over || !args.follow {
            show(&folder.join(files::ERRORS), 0).or_else(|error| match error {
                CommandError::Io(_) => Ok(0),
                CommandError::Pass(error) => Err(CommandError::Pass(error)),
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Prints whole lines from an offset on; returns the offset behind the last.
fn show(path: &Path, offset: u64) -> Result<u64, CommandError> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(file);
    let (mut at, mut line) = (offset, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 || line.last() != Some(&b'\n') && read > 0 && !path.ends_with(files::ERRORS) {
            return Ok(at);
        }
        at += read as u64;
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        if let Some(text) = log::text(&line) {
            print::text(&format!("{text}\n"))?;
        }
    }
}

async fn find(config: &Config, args: &LogsArgs) -> Result<PathBuf, CommandError> {
    let step = StepId::new(args.step.clone());
    let mut elsewhere = None;
    for opened in workflows_of(config, &args.which, Purpose::Check)? {
        for folder in &opened.folders {
            let (params, _) = read_params(opened.tree.as_ref(), folder)?;
            let ports = connect(config, &params, Use::LookOffline).await?;
            let events = ports
                .inventory
                .events(&params.workflow_id, Some(&step), 10_000)
                .await?;
            let wanted = |id: &str| {
                args.build
                    .as_ref()
                    .is_none_or(|begin| id.starts_with(begin.as_str()))
            };
            for event in events
                .iter()
                .filter(|event| wanted(event.build_id.as_str()))
            {
                let place = config
                    .state_dir
                    .join("builds")
                    .join(event.build_id.as_str());
                if place.join(files::LOG).is_file() {
                    return Ok(place);
                }
                elsewhere = Some(event.build_id.clone());
            }
        }
    }
    Err(match elsewhere {
        Some(build) => Diagnostic::new(format!("the log of build {build} is not on this host"))
            .hint("logs stay on the host that ran the build"),
        None => Diagnostic::new(format!("no build of step `{}` is known", args.step))
            .hint("`reconciler status` shows every step"),
    }
    .into())
}
