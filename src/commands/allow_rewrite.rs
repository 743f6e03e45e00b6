//! `reconciler allow-rewrite`: accepts a commit in place of the last applied one, whatever was
//! before. The daemon goes on from there.
//!
//! To be run as the daemon's user, for the last applied commit is kept in its state directory.

use std::path::Path;
use std::process::ExitCode;

use reconciler::config::Rewrite;
use reconciler::git::trusted::Purpose;
use reconciler::git::{GitSource as _, open_trusted};
use reconciler_model::diagnostic::Diagnostic;

use super::open::config;
use super::{CommandError, print};
use crate::cli::AllowRewriteArgs;

pub(crate) fn run(named: Option<&Path>, args: &AllowRewriteArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let meant = |name: &str| args.repository.as_ref().is_none_or(|wanted| wanted == name);
    let mut repositories = config.repositories.iter().filter(|repository| meant(&repository.name));
    let (Some(repository), None) = (repositories.next(), repositories.next()) else {
        let names: Vec<_> = config.repositories.iter().map(|one| one.name.as_str()).collect();
        return Err(Diagnostic::new("which repository is meant?")
            .hint(format!("give one with --repository: {}", names.join(", ")))
            .into());
    };
    if repository.trust.rewrite == Rewrite::Allowed {
        return Err(Diagnostic::new(format!(
            "rewritten history is not refused in {}: there is nothing to allow",
            repository.name
        ))
        .hint("`allow_rewrite: false` of the repository refuses it")
        .into());
    }
    let source = open_trusted(repository, &config.state_dir, Purpose::Act)?;
    source.fetch()?;
    let revision = source.accept(&args.rev)?;
    print::text(&format!(
        "{}: {} counts as applied; what descends from it is accepted\n",
        repository.name,
        revision.short()
    ))?;
    Ok(ExitCode::SUCCESS)
}
