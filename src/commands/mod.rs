//! One file for each command: arguments to the library, results to print. The only folder that
//! prints.

mod adopt;
mod adopt_image;
mod allow_rewrite;
mod apply;
mod ask;
mod base;
mod cancel;
mod check;
mod diff;
pub(crate) mod fetch;
mod forget;
mod history;
mod image;
mod image_create;
mod image_delete;
mod images;
mod lines;
mod log;
mod logs;
mod open;
mod packer_doctor;
mod packer_install;
mod pick;
mod plan;
pub(crate) mod print;
mod render;
mod requests;
mod retry;
mod run;
mod screen;
mod sides;
mod since_good;
mod slow;
mod status;
mod stop;
pub(crate) mod supervise;
mod teller;

use std::process::ExitCode;

use reconciler::controller::error::PassError;

use crate::cli::{BaseCommand, Cli, Command, ImageCommand, PackerCommand};
use crate::telemetry;

/// What stops a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// Something of the library.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Files or the terminal.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<reconciler_model::diagnostic::Diagnostic> for CommandError {
    fn from(diagnostic: reconciler_model::diagnostic::Diagnostic) -> Self {
        Self::Pass(diagnostic.into())
    }
}

macro_rules! from_stage {
    ($($error:ty),*) => { $(impl From<$error> for CommandError {
        fn from(error: $error) -> Self {
            Self::Pass(error.into())
        }
    })* };
}
from_stage!(
    reconciler_model::source::SourceError,
    reconciler_model::inventory::InventoryError,
    reconciler_model::images::CatalogError,
    reconciler_model::build::BuildError,
    reconciler::controller::checkout::CheckoutError
);

/// Runs a command to its exit code.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, CommandError> {
    let config = cli.config.as_deref();
    let loudness = cli.loudness();
    print::be(loudness);
    if !matches!(cli.command, Command::Run(_)) {
        telemetry::start_for_a_command(loudness)?;
    }
    match cli.command {
        Command::Check(args) => check::run(config, &args).await,
        Command::Plan(args) => plan::run(config, &args).await,
        Command::Diff(args) => diff::run(config, &args).await,
        Command::Render(args) => render::run(config, &args).await,
        Command::Status(args) => status::run(config, &args).await,
        Command::Apply(args) => Box::pin(apply::run(config, &args)).await,
        Command::AllowRewrite(args) => allow_rewrite::run(config, &args).await,
        Command::Adopt(args) => Box::pin(adopt::run(config, &args)).await,
        Command::Forget(args) => Box::pin(forget::run(config, &args)).await,
        Command::Logs(args) => logs::run(config, &args).await,
        Command::History(args) => history::run(config, &args).await,
        Command::Images(args) => images::run(config, &args).await,
        Command::Requests(args) => requests::run(config, &args).await,
        Command::Base(BaseCommand::Find(args)) => base::find(config, &args).await,
        Command::Image(ImageCommand::Create(args)) => {
            Box::pin(image_create::run(config, &args)).await
        }
        Command::Image(ImageCommand::Delete(args)) => {
            Box::pin(image_delete::run(config, &args)).await
        }
        Command::Image(ImageCommand::Release(args)) => {
            Box::pin(image_delete::release(config, &args)).await
        }
        Command::Image(ImageCommand::Show(args)) => image::show(config, &args).await,
        Command::Packer(PackerCommand::Install(args)) => packer_install::run(config, &args).await,
        Command::Packer(PackerCommand::Doctor) => packer_doctor::run(config).await,
        Command::Retry(args) => retry::run(config, &args).await,
        Command::Cancel(args) => Box::pin(cancel::run(config, &args)).await,
        Command::Run(args) => Box::pin(run::run(config, &args, loudness)).await,
        Command::Fetch => Ok(fetch::run()),
        Command::Supervise { folder } => Ok(supervise::run(&folder)),
    }
}
