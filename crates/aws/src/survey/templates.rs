//! Launch templates, version by version: the images that they name, and those that the parameters
//! mean which they name instead (`resolve:ssm:`). EC2's own list of references does not say the
//! latter of a version or a label of a parameter.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;

use super::uses::{Looked, unread, unresolved};
use crate::ec2::error::fail;
use reconciler_model::ids::AmiId;
use reconciler_model::images::CatalogError;
use reconciler_model::uses::{ImageUser, Sightings, UserKind};

const VERSIONS: &str = "ec2:DescribeLaunchTemplateVersions";

/// A version of a launch template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    template: String,
    number: i64,
}

/// What refers to the images.
pub(super) async fn find(client: &Client, images: &BTreeSet<AmiId>) -> Looked {
    let mut seen = Sightings::default();
    let mut aliases: BTreeMap<String, BTreeSet<Version>> = BTreeMap::new();
    for template in templates(client).await? {
        for (version, image) in versions(client, &template).await? {
            if images.contains(image.as_str()) {
                seen.add(&AmiId::new(&image), ImageUser::new(UserKind::LaunchTemplate, &template));
            } else if unresolved(&template, &image).is_some() {
                aliases.entry(image).or_default().insert(version);
            }
        }
    }
    for (alias, versions) in aliases {
        let Some(one) = versions.first() else { continue };
        match resolved(client, one).await {
            Ok(Some(image)) if !image.starts_with("resolve:") => {
                for version in versions.iter().filter(|_| images.contains(image.as_str())) {
                    let name = format!("{} ({alias})", version.template);
                    let user = ImageUser::new(UserKind::LaunchTemplate, name);
                    seen.add(&AmiId::new(&image), user);
                }
            }
            Ok(_) => seen.unread.extend(unresolved(&one.template, &alias)),
            Err(error) => {
                let mut why = unread(&error);
                why.why = format!("{} names {alias}: {}", one.template, why.why);
                seen.unread.push(why);
            }
        }
    }
    Ok(seen)
}

/// The ids of all launch templates.
async fn templates(client: &Client) -> Result<Vec<String>, CatalogError> {
    let mut pages = client.describe_launch_templates().into_paginator().items().send();
    let mut ids = Vec::new();
    while let Some(template) = pages.next().await {
        let template = template.map_err(|error| fail("ec2:DescribeLaunchTemplates", &error))?;
        ids.extend(template.launch_template_id);
    }
    Ok(ids)
}

/// What each version of a template names as its image.
async fn versions(client: &Client, template: &str) -> Result<Vec<(Version, String)>, CatalogError> {
    let mut pages = client
        .describe_launch_template_versions()
        .launch_template_id(template)
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while let Some(version) = pages.next().await {
        let version = version.map_err(|error| fail(VERSIONS, &error))?;
        if let Some(image) = version.launch_template_data.and_then(|data| data.image_id) {
            let number = version.version_number.unwrap_or_default();
            found.push((Version { template: template.to_owned(), number }, image));
        }
    }
    Ok(found)
}

/// The image that a version means now; EC2 resolves one version at a time.
async fn resolved(client: &Client, version: &Version) -> Result<Option<String>, CatalogError> {
    let answer = client
        .describe_launch_template_versions()
        .launch_template_id(&version.template)
        .versions(version.number.to_string())
        .resolve_alias(true)
        .send()
        .await
        .map_err(|error| fail(VERSIONS, &error))?;
    let versions = answer.launch_template_versions.unwrap_or_default();
    Ok(versions.into_iter().find_map(|version| version.launch_template_data?.image_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::scripted::{Answer, Call, Ec2};

    fn version(number: i64, image: &str) -> String {
        format!(
            "<item><launchTemplateId>lt-1</launchTemplateId><versionNumber>{number}</versionNumber>\
             <launchTemplateData><imageId>{image}</imageId></launchTemplateData></item>"
        )
    }

    /// A template whose first version names `ami-1`, and the later two a parameter.
    fn one_template(resolved: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Ec2 {
        let versions = [
            version(1, "ami-1"),
            version(2, "resolve:ssm:/golden:3"),
            version(3, "resolve:ssm:/golden:3"),
        ]
        .concat();
        Ec2::answering(move |call| match (call.action(), call.get("ResolveAlias")) {
            ("DescribeLaunchTemplates", _) => Answer::ok(
                "<launchTemplates><item><launchTemplateId>lt-1</launchTemplateId></item></launchTemplates>",
            ),
            (_, Some("true")) => resolved(call),
            _ => Answer::ok(&format!(
                "<launchTemplateVersionSet>{versions}</launchTemplateVersionSet>"
            )),
        })
    }

    fn images() -> BTreeSet<AmiId> {
        ["ami-1", "ami-2", "ami-3"].map(AmiId::new).into()
    }

    #[tokio::test]
    async fn every_version_counts_and_a_parameter_is_resolved_once() {
        let ec2 = one_template(|call| {
            assert_eq!(call.list("LaunchTemplateVersion"), ["2"]);
            let resolved = version(2, "ami-2");
            Answer::ok(&format!("<launchTemplateVersionSet>{resolved}</launchTemplateVersionSet>"))
        });
        let seen = find(&ec2.client(), &images()).await.unwrap();
        let users = |image: &str| -> Vec<String> {
            let users = seen.users.get(image).into_iter().flatten();
            users.map(|user| user.name.clone()).collect()
        };
        assert_eq!(users("ami-1"), ["lt-1"]);
        assert_eq!(users("ami-2"), ["lt-1 (resolve:ssm:/golden:3)"]);
        assert!(users("ami-3").is_empty());
        assert_eq!((seen.unread.len(), ec2.calls().len()), (0, 3));
    }

    #[tokio::test]
    async fn a_parameter_that_cannot_be_resolved_may_mean_any_image() {
        let gone = one_template(|_| Answer::error("SsmInvalidParameter", "does not exist"));
        let seen = find(&gone.client(), &images()).await.unwrap();
        assert_eq!(seen.users.len(), 1);
        let why = &seen.unread[0].why;
        assert!(why.starts_with("lt-1 names resolve:ssm:/golden:3: "), "{why}");
        // An EC2 that does not know how to resolve it gives the name back.
        let deaf = one_template(|_| {
            let same = version(2, "resolve:ssm:/golden:3");
            Answer::ok(&format!("<launchTemplateVersionSet>{same}</launchTemplateVersionSet>"))
        });
        let seen = find(&deaf.client(), &images()).await.unwrap();
        assert!(seen.unread[0].why.contains("does not say which image"), "{:?}", seen.unread);
    }
}
