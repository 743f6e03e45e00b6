//! `reconciler logs STEP`: what Packer said, of the newest build on this host or of an earlier one.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use reconciler::config::Config;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Use, connect};
use reconciler::controller::error::PassError;
use reconciler::git::trusted::Purpose;
use reconciler::packer::log::{Follower, LastLine};
use reconciler::packer::redact;
use reconciler::packer::supervisor::files;
use reconciler::packer::supervisor::files::Job;
use reconciler_core::secrets::redactor::Redactor;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, StepId};
use reconciler_model::inventory::journal::{Stage, newest_first};

use super::open::{Opened, config, no_build_of, nothing_found, unless_unknown, workflows_of};
use super::pick::pick;
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::LogsArgs;

pub(crate) async fn run(named: Option<&Path>, args: &LogsArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let folder = find(&config, args).await?;
    let mut follower = Follower::new(&folder.join(files::LOG), secrets(&folder)?).since(args.since);
    let mut first = Shown::new(args.tail);
    loop {
        let over = folder.join(files::ENDED).is_file();
        let last = if over { LastLine::IsWhole } else { LastLine::Grows };
        follower.read(last, |line| first.line(line))?;
        let at_end = over || !args.follow;
        if at_end && follower.is_within() {
            Follower::new(&folder.join(files::ERRORS), secrets(&folder)?)
                .read(LastLine::IsWhole, |line| first.line(line))?;
        }
        // What comes from now on is shown as it comes.
        first.flush()?;
        if at_end {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints lines, or keeps the last ones of what is there already.
struct Shown {
    /// How many are kept; none: each is printed at once.
    most: Option<usize>,
    kept: VecDeque<String>,
}

impl Shown {
    fn new(most: Option<usize>) -> Self {
        Self { most, kept: VecDeque::new() }
    }

    fn line(&mut self, line: &str) -> Result<(), CommandError> {
        let Some(most) = self.most else {
            return print::text(&format!("{line}\n"));
        };
        self.kept.push_back(line.to_owned());
        if self.kept.len() > most {
            self.kept.pop_front();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CommandError> {
        self.most = None;
        std::mem::take(&mut self.kept).iter().try_for_each(|line| self.line(line))
    }
}

/// Between two looks at a growing log.
const PAUSE: Duration = Duration::from_millis(200);

/// What is not to be shown of a build, running or over. Where the job is not there yet, no Packer
/// has written to the log.
pub(crate) fn secrets(folder: &Path) -> Result<Redactor, CommandError> {
    let Some(job) = files::read::<Job>(folder, files::JOB) else {
        return Ok(Redactor::default());
    };
    Ok(redact::of_build(folder, &job, [])?)
}

/// A build of the step, as far as its log goes.
struct Known {
    build: BuildId,
    /// Why it failed without a log, if it did.
    no_log: Option<String>,
}

async fn find(config: &Config, args: &LogsArgs) -> Result<PathBuf, CommandError> {
    let opened = workflows_of(config, &args.which, Purpose::Follow)?;
    let (known, nothing_in) = known(config, args, &opened).await?;
    if known.is_empty() {
        let step = StepId::new(&args.step);
        return Err(no_build_of(&step, &opened, &nothing_in).into());
    }
    let place = |build: &BuildId| config.state_dir.join("builds").join(build.as_str());
    let is_here = |known: &&Known| place(&known.build).join(files::LOG).is_file();
    let meant = match &args.build {
        Some(begin) => {
            let ids: Vec<_> = known.iter().map(|one| one.build.clone()).collect();
            let build = pick(begin, &ids, &format!("step {}", args.step))?;
            known.iter().find(|one| one.build == build)
        }
        None => known.iter().find(is_here).or(known.first()),
    };
    let Some(meant) = meant else {
        return Err(Diagnostic::new("no such build").into());
    };
    if is_here(&meant) {
        return Ok(place(&meant.build));
    }
    let build = &meant.build;
    Err(match &meant.no_log {
        Some(cause) => Diagnostic::new(format!("build {build} has no log: {cause}"))
            .hint("Packer was not started for it"),
        None => Diagnostic::new(format!("the log of build {build} is not on this host"))
            .hint("logs stay on the host that ran the build"),
    }
    .into())
}

/// Every build of the step that the journal tells of, newest first; and which inventories know of
/// none.
async fn known(
    config: &Config,
    args: &LogsArgs,
    opened: &[Opened],
) -> Result<(Vec<Known>, Vec<String>), CommandError> {
    let step = StepId::new(args.step.clone());
    let mut nothing_in = Vec::new();
    let mut known: Vec<Known> = Vec::new();
    for opened in opened {
        for folder in &opened.folders {
            let (params, _) = read_params(opened.tree.as_ref(), folder)?;
            let _slow = Slow::begins(format!("asking for the builds of {step}"));
            let asked = async {
                let ports = connect(config, &params, Use::LookOffline).await?;
                let inventory = &ports.inventory;
                let events = inventory.events(&params.workflow_id, Some(&step), 10_000);
                let events = events.await?;
                Ok::<_, PassError>((ports, events))
            };
            let (ports, events) =
                asked.await.map_err(|error| unless_unknown(error, opened, folder, &step))?;
            if events.is_empty() {
                nothing_in.push(nothing_found(&ports, &params.workflow_id).await?);
            }
            // As the journal has them: ids follow the clocks of hosts.
            let builds = newest_first(&events).into_iter().flatten();
            // No log is kept of a record that was removed.
            let builds = builds.filter(|event| !matches!(event.stage, Stage::Forgotten(_)));
            for event in builds.cloned() {
                let no_log = match &event.stage {
                    Stage::Failed(failure) if failure.log.is_none() => Some(failure.cause.clone()),
                    _ => None,
                };
                match known.last_mut().filter(|last| last.build == event.build_id) {
                    Some(last) => last.no_log = last.no_log.take().or(no_log),
                    None => known.push(Known { build: event.build_id, no_log }),
                }
            }
        }
    }
    Ok((known, nothing_in))
}
