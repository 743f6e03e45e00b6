//! `reconciler logs STEP`: what Packer said, of the newest build on this host or of an earlier one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use reconciler::build::packer::log::{Follower, LastLine};
use reconciler::build::packer::redact;
use reconciler::build::supervisor::files::{self, Job};
use reconciler::config::Config;
use reconciler::diagnostic::Diagnostic;
use reconciler::ids::StepId;
use reconciler::inventory::journal::Stage;
use reconciler::reconcile::checkout::read_params;
use reconciler::reconcile::ports::{Use, connect};
use reconciler::secrets::Redactor;
use reconciler::source::trusted::Purpose;

use super::open::{config, workflows_of};
use super::{CommandError, print};
use crate::cli::LogsArgs;

pub(crate) async fn run(named: Option<&Path>, args: &LogsArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let folder = find(&config, args).await?;
    let mut follower = Follower::new(&folder.join(files::LOG), secrets(&folder)?);
    loop {
        let over = folder.join(files::ENDED).is_file();
        follower.read(
            if over {
                LastLine::IsWhole
            } else {
                LastLine::Grows
            },
            show,
        )?;
        if over || !args.follow {
            Follower::new(&folder.join(files::ERRORS), secrets(&folder)?)
                .read(LastLine::IsWhole, show)?;
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Between two looks at a growing log.
const PAUSE: Duration = Duration::from_millis(200);

/// What is not to be shown of a build, running or over. Where the job is not there yet, no Packer has written to the log.
fn secrets(folder: &Path) -> Result<Redactor, CommandError> {
    let Some(job) = files::read::<Job>(folder, files::JOB) else {
        return Ok(Redactor::default());
    };
    Ok(redact::of_build(folder, &job, [])?)
}

fn show(line: &str) -> Result<(), CommandError> {
    print::text(&format!("{line}\n"))
}

async fn find(config: &Config, args: &LogsArgs) -> Result<PathBuf, CommandError> {
    let step = StepId::new(args.step.clone());
    let (mut elsewhere, mut never_started) = (None, None);
    for opened in workflows_of(config, &args.which, Purpose::Look)? {
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
                if let Stage::Failed(failure) = &event.stage
                    && failure.log.is_none()
                {
                    never_started
                        .get_or_insert_with(|| (event.build_id.clone(), failure.cause.clone()));
                }
                elsewhere = Some(event.build_id.clone());
            }
        }
    }
    if let Some((build, cause)) = never_started {
        return Err(
            Diagnostic::new(format!("build {build} has no log: {cause}"))
                .hint("Packer was not started for it")
                .into(),
        );
    }
    Err(match elsewhere {
        Some(build) => Diagnostic::new(format!("the log of build {build} is not on this host"))
            .hint("logs stay on the host that ran the build"),
        None => Diagnostic::new(format!("no build of step `{}` is known", args.step))
            .hint("`reconciler status` shows every step"),
    }
    .into())
}
