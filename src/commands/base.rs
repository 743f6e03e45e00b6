//! `reconciler base find`: images that a workflow can start from, and the newest of them into its
//! parameters.

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Use, connect};
use reconciler::git::discover::{WORKFLOW_PARAM, WorkflowFolder};
use reconciler::git::snapshot::Snapshot;
use reconciler::git::trusted::Purpose;
use reconciler::parameter_file::ParameterFile;
use reconciler_core::images::base_search::{Asked, newest_first, nothing_found, without_its_own};
use reconciler_core::status::base::{BaseReport, SCHEMA, text};
use reconciler_core::workflow::base_edit::with_base_image;
use reconciler_core::workflow::{RootBase, WorkflowParams, params};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::Region;
use reconciler_model::survey::{FoundImage, ImageSearch};
use serde_json::json;

use super::open::{Opened, Uncommitted, config, snapshots_of, workflows_of};
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::{BaseFindArgs, Output};

pub(crate) async fn find(
    named: Option<&Path>,
    args: &BaseFindArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let opened = opened(&config, args)?;
    let folders = || opened.iter().flat_map(|one| one.folders.iter().map(move |of| (one, of)));
    if args.write {
        refuse_several(&folders().collect::<Vec<_>>())?;
    }
    let (mut reports, mut refused) = (Vec::new(), Vec::new());
    for (one, folder) in folders() {
        match report(&config, one, folder, args).await {
            Ok(report) => reports.push(report),
            Err(error) => refused.push(error),
        }
    }
    match args.output {
        Output::Json if reports.is_empty() => {}
        Output::Json => print::json(&json!({ "schema": SCHEMA, "workflows": reports }))?,
        Output::Text => {
            for report in &reports {
                print::text(&text(report, Timestamp::now()))?;
            }
        }
    }
    for error in &refused {
        let _ = print::failure(error);
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workflows that are meant, as their files lie in front of whoever asks.
fn opened(config: &Config, args: &BaseFindArgs) -> Result<Vec<Opened>, CommandError> {
    if args.which.rev.is_some() {
        return workflows_of(config, &args.which, Purpose::Follow);
    }
    snapshots_of(config, &args.which, &Uncommitted { what: Snapshot::WorkTree, only: None })
}

fn refuse_several(folders: &[(&Opened, &WorkflowFolder)]) -> Result<(), CommandError> {
    if folders.len() < 2 {
        return Ok(());
    }
    let paths: Vec<_> = folders.iter().map(|(_, folder)| folder.path.as_str()).collect();
    Err(Diagnostic::new("--write is for one workflow, and there are several")
        .hint(format!("name it by --workflow; their folders: {}", paths.join(", ")))
        .into())
}

/// What there is for one workflow; written into its parameters where that is asked for.
async fn report(
    config: &Config,
    opened: &Opened,
    folder: &WorkflowFolder,
    args: &BaseFindArgs,
) -> Result<BaseReport, CommandError> {
    let (params, _) = read_params(opened.tree.as_ref(), folder)?;
    let path = format!("{}/{WORKFLOW_PARAM}", folder.path);
    let path = path.trim_start_matches('/');
    let file = if args.write { Some(file_to_write(opened, &params, path)?) } else { None };
    let asked = Asked {
        name: args.name.as_deref(),
        owner: args.owner.as_deref(),
        architecture: args.arch.into(),
    };
    let search = asked.search(&params, path)?;
    let (region, found) = look(config, &params, &search).await?;
    let mut report = BaseReport::new(&params, &region, &search, &found, args.limit);
    if let (Some(file), Some(newest)) = (file, found.first()) {
        write(&file, path, newest)?;
        report.written = Some(path.to_owned());
    }
    Ok(report)
}

/// What EC2 has, newest first; at least one image.
async fn look(
    config: &Config,
    params: &WorkflowParams,
    search: &ImageSearch,
) -> Result<(Region, Vec<FoundImage>), CommandError> {
    let _slow = Slow::begins(format!("looking for images called {}", search.pattern));
    let ports = connect(config, params, Use::Look).await?;
    let Some(survey) = ports.survey() else {
        return Err(Diagnostic::new("EC2 was not to be asked").into());
    };
    let found = survey.search(search).await?;
    let all = found.len();
    let found = newest_first(without_its_own(found, params));
    if found.is_empty() && all > 0 {
        let id = &params.workflow_id;
        let message =
            format!("all {all} images called `{}` were made by {id} itself", search.pattern);
        return Err(Diagnostic::new(message)
            .hint("a workflow does not start from its own images: name the base more exactly")
            .into());
    }
    if found.is_empty() {
        let namesakes = survey.namesakes(&search.pattern).await?;
        return Err(nothing_found(search, &ports.region, &namesakes).into());
    }
    Ok((ports.region.clone(), found))
}

/// The file in the work tree, which has to be that of the workflow that was looked for.
fn file_to_write(
    opened: &Opened,
    meant: &WorkflowParams,
    path: &str,
) -> Result<ParameterFile, CommandError> {
    let repository = &opened.repository;
    let Some(folder) = repository.source.work_tree() else {
        let place = repository.source.place();
        return Err(Diagnostic::new(format!("{place} has no work tree here to write into"))
            .hint("ask without --write, or in a clone, and commit what is written there")
            .into());
    };
    let file = ParameterFile::read(&folder.join(path))?;
    let (params, _) = params::read(path, file.bytes())?;
    if params.workflow_id != meant.workflow_id {
        let is = format!("is of workflow {} in the work tree", params.workflow_id);
        return Err(Diagnostic::new(is).in_file(path).into());
    }
    Ok(file)
}

fn write(file: &ParameterFile, path: &str, newest: &FoundImage) -> Result<(), CommandError> {
    let (id, name) = (&newest.id, &newest.name);
    let edited = with_base_image(path, file.bytes(), id, name)?;
    if edited == file.bytes() {
        print::note(&format!("{path} names {id} already: nothing was written"));
        return Ok(());
    }
    let (before, _) = params::read(path, file.bytes())?;
    file.replace(&edited)?;
    let instead = match before.root_base {
        RootBase::Image { id, name } => format!("{id} ({name})"),
        RootBase::Pattern { pattern, .. } => format!(
            "the newest `{pattern}`: from now on the base is this image, until somebody writes another"
        ),
    };
    print::note(&format!("{path} names {id} ({name}) now instead of {instead}"));
    print::note("a commit of it makes new images of all steps; `reconciler plan` says which");
    Ok(())
}
