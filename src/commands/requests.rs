//! `reconciler requests`: what people have asked of whoever holds the lease, and what came of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Use, connect};
use reconciler::git::trusted::Purpose;
use reconciler_core::status::requests::{SCHEMA, ShownRequest, text};
use reconciler_model::diagnostic::Diagnostic;
use serde_json::json;

use super::open::{config, workflows_of};
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::{Output, RequestsArgs};

pub(crate) async fn run(
    named: Option<&Path>,
    args: &RequestsArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let mut requests = Vec::new();
    let mut places = BTreeSet::new();
    for opened in &workflows_of(&config, &args.which, Purpose::Follow)? {
        for folder in &opened.folders {
            let (params, _) = read_params(opened.tree.as_ref(), folder)?;
            let workflow = &params.workflow_id;
            let _slow = Slow::begins(format!("asking for the requests of {workflow}"));
            let inventory = connect(&config, &params, Use::LookOffline).await?.inventory;
            let standing = inventory.requests(workflow).await?.into_iter();
            requests.extend(standing.map(|one| ShownRequest::new(workflow, one)));
            places.insert(inventory.place());
        }
    }
    requests.retain(|one| !args.open || one.state == "open");
    if let Some(begin) = &args.request {
        requests.retain(|one| one.request_id.as_str().starts_with(begin.as_str()));
        if requests.is_empty() {
            let places = places.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Diagnostic::new(format!("no request `{begin}` is known in {places}"))
                .hint("an answered request is kept for 30 days; `reconciler requests` shows all")
                .into());
        }
    }
    requests.sort_by(|one, other| other.request_id.cmp(&one.request_id));
    match args.output {
        Output::Json => print::json(&json!({ "schema": SCHEMA, "requests": requests }))?,
        Output::Text if requests.is_empty() => {
            let places = places.into_iter().collect::<Vec<_>>().join(", ");
            print::text(&format!("Nothing is asked. Looked in {places}.\n"))?;
        }
        Output::Text => print::text(&text(&requests, Timestamp::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}
