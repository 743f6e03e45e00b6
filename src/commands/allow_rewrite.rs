//! `reconciler allow-rewrite`: accepts a commit in place of the last applied one, whatever was
//! before. The daemon goes on from there.
//!
//! The last applied commit stands beside the lease of each workflow. To be run by somebody who may
//! write leases: it is no request, for who may only ask for something is not who may lift this.

use std::path::Path;
use std::process::ExitCode;

use reconciler::config::{Config, InventoryConfig, Rewrite};
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Use, connect};
use reconciler::controller::main_loop::FollowedRepository;
use reconciler::controller::wake_file::wake;
use reconciler::git::trusted::Purpose;
use reconciler::sqlite::SqliteInventory;
use reconciler_core::workflow::WorkflowParams;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::inventory::Inventory;
use std::sync::Arc;

use super::open::{config, guarded, workflows_of};
use super::{CommandError, print};
use crate::cli::{AllowRewriteArgs, Which};

pub(crate) async fn run(
    named: Option<&Path>,
    args: &AllowRewriteArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let meant = |name: &str| args.repository.as_ref().is_none_or(|wanted| wanted == name);
    let mut repositories = config.repositories.iter().filter(|repository| meant(&repository.name));
    let (Some(repository), None) = (repositories.next(), repositories.next()) else {
        let names: Vec<_> = config.repositories.iter().map(|one| one.name.as_str()).collect();
        return Err(Diagnostic::new("which repository is meant?")
            .hint(format!("give one with --repository: {}", names.join(", ")))
            .into());
    };
    let Some(reference) =
        guarded(repository).filter(|_| repository.trust.rewrite == Rewrite::Refused)
    else {
        return Err(Diagnostic::new(format!(
            "rewritten history is not refused in {}: there is nothing to allow",
            repository.name
        ))
        .hint("`allow_rewrite: false` of the repository refuses it")
        .into());
    };
    let which = Which {
        repository: Some(repository.name.clone()),
        rev: Some(args.rev.clone()),
        ..Which::default()
    };
    let mut accepted = Vec::new();
    for opened in workflows_of(&config, &which, Purpose::Follow)? {
        let revision = opened.tree.revision();
        for folder in &opened.folders {
            let (params, _) = read_params(opened.tree.as_ref(), folder)?;
            let inventory = inventory(&config, &params).await?;
            let place = opened.repository.source.place();
            for id in [FollowedRepository::applied_under(&place), params.workflow_id.clone()] {
                inventory.note_applied(&id, &reference, revision, None).await?;
            }
            accepted.push(format!("{} of {}", revision.short(), params.workflow_id));
        }
    }
    wake(&config.state_dir);
    print::text(&format!(
        "{}: {} counts as applied; what descends from it is accepted\n",
        repository.name,
        accepted.join(", ")
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The inventory of a workflow, to be written to. A file needs no credentials of AWS.
async fn inventory(
    config: &Config,
    params: &WorkflowParams,
) -> Result<Arc<dyn Inventory>, CommandError> {
    let inventory: Arc<dyn Inventory> = match &config.inventory {
        InventoryConfig::Sqlite { path } => Arc::new(SqliteInventory::open(path)?),
        InventoryConfig::DynamoDb { .. } => connect(config, params, Use::Ask).await?.inventory,
    };
    inventory.prepare().await?;
    Ok(inventory)
}
