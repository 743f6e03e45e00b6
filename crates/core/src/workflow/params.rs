//! `workflow_param.json`: what all steps of a workflow share.

use crate::secrets::secret_names::AWS_KEYS;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::workflow::jsonc::Document;
use crate::workflow::settings::Settings;
use crate::workflow::{RootBase, WorkflowParams};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, WorkflowId};

/// Reads and checks the file; the second part is what is worth a word.
pub fn read(path: &str, bytes: &[u8]) -> Result<(WorkflowParams, Vec<Diagnostic>), Diagnostic> {
    let document = Document::parse(path, bytes)?;
    let workflow_id = document.string("workflow_id")?;
    let profile = match document.optional_string("profile_name")? {
        Some(profile) => Some(profile),
        None => document.optional_string("aws_profile")?,
    };
    if let Some(value) = document.values.get("is_default_vpc")
        && !matches!(value.as_str(), Some("true" | "false"))
    {
        return Err(document
            .wrong("is_default_vpc", "`is_default_vpc` must be the string \"true\" or \"false\"")
            .hint("it goes into a Packer filter, which takes text"));
    }
    for key in AWS_KEYS {
        match document.values.get(key) {
            None | Some(Value::Null | Value::String(_)) => {}
            Some(other) => return Err(document.wrong_type(key, "a string", other)),
        }
    }
    let params = WorkflowParams {
        workflow_id: WorkflowId::new(workflow_id),
        profile,
        region: document.optional_string("region_name")?,
        root_base: root_base(&document)?,
        aws_tags: aws_tags(&document)?,
        values: document.values.clone(),
        settings: Settings::default(),
    };
    Ok((params, secret_warnings(&document)))
}

fn root_base(document: &Document) -> Result<RootBase, Diagnostic> {
    let name = document.string("root_base_ami_name")?;
    if let Some(id) = document.optional_string("root_base_ami_id")? {
        if !id.starts_with("ami-") {
            return Err(document
                .wrong("root_base_ami_id", format!("{id:?} is no image id"))
                .hint("image ids look like ami-0123456789abcdef0"));
        }
        return Ok(RootBase::Image { id: AmiId::new(id), name });
    }
    let owner = match document.values.get("root_base_ami_owner_account_id") {
        Some(Value::Number(number)) => number.to_string(),
        _ => document.optional_string("root_base_ami_owner_account_id")?.ok_or_else(|| {
            document
                .wrong("root_base_ami_name", "the base image is given by name only")
                .hint("add `root_base_ami_id`, or `root_base_ami_owner_account_id`: anybody can publish an image of this name")
        })?,
    };
    Ok(RootBase::Pattern { pattern: name, owner })
}

fn aws_tags(document: &Document) -> Result<BTreeMap<String, String>, Diagnostic> {
    let tags = match document.values.get("aws_tags") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(tags)) => tags,
        Some(other) => return Err(document.wrong_type("aws_tags", "an object of strings", other)),
    };
    tags.iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key.clone(), text.clone())),
            other => Err(document.wrong_type(&format!("aws_tags.{key}"), "a string", other)),
        })
        .collect()
}

fn secret_warnings(document: &Document) -> Vec<Diagnostic> {
    AWS_KEYS
        .iter()
        .filter(|key| document.values.get(**key).is_some_and(|value| !value.is_null()))
        .map(|key| {
            Diagnostic::new(format!(
                "`{key}` is in git: whoever can read the repository can use it"
            ))
            .in_file(document.path.clone())
            .hint("use a profile or an instance role, and revoke this key")
        })
        .collect()
}
