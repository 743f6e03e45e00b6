//! Reads everything anew and plans: git, records, journal, EC2. Writes nothing.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::catalog::{Image, ImageCatalog};
use crate::config::{BaseAmiPolicy, Config};
use crate::desired::jinja::Engine;
use crate::desired::step::SourceImage;
use crate::diagnostic::Diagnostic;
use crate::ids::{AmiId, AmiName, StepId};
use crate::inventory::journal::Attempt;
use crate::inventory::record::RecordHead;
use crate::plan::decision::{Decision, Reason};
use crate::plan::planner::{Observation, PlannedStep, decide};
use crate::plan::{Orphan, Plan};
use crate::reconcile::checkout::{Checkout, Desired};
use crate::reconcile::error::PassError;
use crate::reconcile::ports::Ports;
use crate::workflow::RootBase;
use crate::workflow::context::WorkflowContext;

/// What is asked of a look.
pub struct Request<'a> {
    /// The repository's name.
    pub repository: &'a str,
    /// The branch, tag or revision, for people.
    pub reference: &'a str,
    /// Steps that a person wants built whatever their state.
    pub forced: &'a BTreeSet<StepId>,
    /// Now.
    pub now: Timestamp,
}

/// A plan, and what it was made from.
pub struct Look {
    /// What is to be done.
    pub plan: Plan,
    /// The newest attempt at each step.
    pub attempts: HashMap<StepId, Attempt>,
}

/// Looks at one workflow. `attempts` are those that the caller knows to be current; without, the journal is read.
pub async fn look(
    config: &Config,
    ports: &Ports,
    checkout: &Checkout,
    engine: &Engine,
    request: &Request<'_>,
    attempts: Option<HashMap<StepId, Attempt>>,
) -> Result<Look, PassError> {
    let workflow = &checkout.params.workflow_id;
    let (heads, attempts) = match attempts {
        Some(attempts) => (ports.inventory.heads(workflow).await?, attempts),
        None => {
            let (heads, read) = tokio::try_join!(
                ports.inventory.heads(workflow),
                ports.inventory.attempts(workflow)
            )?;
            (
                heads,
                read.into_iter()
                    .map(|attempt| (attempt.step_id.clone(), attempt))
                    .collect(),
            )
        }
    };
    let records: HashMap<StepId, RecordHead> = heads
        .records
        .into_iter()
        .map(|head| (head.step_id.clone(), head))
        .collect();
    let catalog = ports.catalog.as_deref();
    let base = resolve_base(
        &checkout.params.root_base,
        config.base_ami_policy,
        &records,
        catalog,
    )
    .await?;
    let images = match catalog {
        None => None,
        Some(catalog) => {
            let mut ids: Vec<AmiId> = records
                .values()
                .map(|record| record.ami_id.clone())
                .collect();
            ids.push(base.used.id.clone());
            ids.sort();
            ids.dedup();
            Some(catalog.images(&ids).await?)
        }
    };
    if let Some(images) = &images {
        check_base(&base.used, images.get(&base.used.id), checkout)?;
    }
    let mut desires = Desired {
        checkout,
        engine,
        region: &ports.region,
        name_template: &config.ami_name,
        root_base: &base.used,
        context: WorkflowContext::new(&checkout.params, ports.region.as_str()),
        recorded: HashMap::new(),
    };
    let mut broken = checkout.broken.clone();
    for (step, detail) in heads.malformed {
        let place = ports.inventory.place();
        broken
            .entry(step.clone())
            .or_default()
            .push(Diagnostic::new(format!(
                "the record of {step} in {place} cannot be read: {detail}"
            )));
    }
    let sound: Vec<_> = checkout
        .outlines
        .iter()
        .filter(|step| !broken.contains_key(&step.id))
        .cloned()
        .collect();
    let seen = Observation {
        workflow_id: workflow,
        steps: &sound,
        broken: &broken,
        root_base: &base.used,
        aws_tags: &checkout.params.aws_tags,
        records: &records,
        images: images.as_ref(),
        attempts: &attempts,
        forced: request.forced,
        now: request.now,
    };
    let mut steps = decide(&seen, &mut desires);
    // Why a step differs stands on its record, which is long: read for those that differ only, and then decided with it.
    for step in steps.iter().filter(|step| wants_components(step)) {
        if let Some(components) = ports
            .inventory
            .record(workflow, &step.id)
            .await?
            .and_then(|record| record.components)
        {
            desires.recorded.insert(step.id.clone(), components);
        }
    }
    if !desires.recorded.is_empty() {
        steps = decide(&seen, &mut desires);
    }
    let orphans = orphans(&steps, &records);
    let plan = Plan {
        workflow_id: workflow.clone(),
        folder: checkout.folder.clone(),
        repository: request.repository.to_owned(),
        reference: request.reference.to_owned(),
        revision: checkout.revision.clone(),
        region: ports.region.clone(),
        root_base: base.used,
        newer_base: base.newer,
        steps,
        orphans,
        warnings: checkout.warnings.clone(),
        at: request.now,
        looked_at_ec2: images.is_some(),
    };
    Ok(Look { plan, attempts })
}

fn wants_components(step: &PlannedStep) -> bool {
    let reasons = match &step.decision {
        Decision::Build(build) => &build.reasons,
        Decision::AwaitingManual(reasons) => reasons,
        _ => return false,
    };
    reasons.contains(&Reason::InputsChanged)
}

fn orphans(steps: &[PlannedStep], records: &HashMap<StepId, RecordHead>) -> Vec<Orphan> {
    let known: BTreeSet<&StepId> = steps.iter().map(|step| &step.id).collect();
    let mut orphans: Vec<_> = records
        .values()
        .filter(|record| !known.contains(&record.step_id))
        .map(|record| Orphan {
            step_id: record.step_id.clone(),
            ami_id: record.ami_id.clone(),
            ami_name: record.ami_name.clone(),
        })
        .collect();
    orphans.sort_by(|a, b| a.step_id.cmp(&b.step_id));
    orphans
}

/// The image that the first steps start from, and a newer one that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedBase {
    /// The one that is used.
    pub used: SourceImage,
    /// A newer one.
    pub newer: Option<SourceImage>,
}

async fn resolve_base(
    base: &RootBase,
    policy: BaseAmiPolicy,
    records: &HashMap<StepId, RecordHead>,
    catalog: Option<&dyn ImageCatalog>,
) -> Result<ResolvedBase, PassError> {
    let (pattern, owner) = match base {
        RootBase::Image { id, name } => {
            return Ok(ResolvedBase {
                used: SourceImage {
                    id: id.clone(),
                    name: AmiName::new(name.clone()),
                },
                newer: None,
            });
        }
        RootBase::Pattern { pattern, owner } => (pattern, owner),
    };
    let newest = match catalog {
        None => None,
        Some(catalog) => catalog
            .newest_image(pattern, owner)
            .await?
            .map(|image| SourceImage {
                id: image.id,
                name: image.name,
            }),
    };
    choose_base(policy, pinned(pattern, records), newest).ok_or_else(|| {
        Diagnostic::new(format!(
            "no available image of owner {owner} matches `{pattern}`"
        ))
        .hint("check `root_base_ami_name` and `root_base_ami_owner_account_id`, and the region")
        .into()
    })
}

/// Pure: a base once recorded stays, unless the policy is to follow.
fn choose_base(
    policy: BaseAmiPolicy,
    pinned: Option<SourceImage>,
    newest: Option<SourceImage>,
) -> Option<ResolvedBase> {
    match (policy, pinned, newest) {
        (BaseAmiPolicy::Pin, Some(used), newest) => {
            let newer = newest.filter(|newest| newest.id != used.id);
            Some(ResolvedBase { used, newer })
        }
        (BaseAmiPolicy::Follow, pinned, newest) => newest
            .or(pinned)
            .map(|used| ResolvedBase { used, newer: None }),
        (BaseAmiPolicy::Pin, None, newest) => newest.map(|used| ResolvedBase { used, newer: None }),
    }
}

/// The base that the newest record of this workflow stands on, if it is one of this pattern.
fn pinned(pattern: &str, records: &HashMap<StepId, RecordHead>) -> Option<SourceImage> {
    let glob = globset::GlobBuilder::new(pattern)
        .literal_separator(false)
        .build()
        .ok()?
        .compile_matcher();
    records
        .values()
        .filter(|record| glob.is_match(record.root_base_ami_name.as_str()))
        .max_by(|a, b| (a.create_at, &a.step_id).cmp(&(b.create_at, &b.step_id)))
        .map(|record| SourceImage {
            id: record.root_base_ami_id.clone(),
            name: record.root_base_ami_name.clone(),
        })
}

fn check_base(
    base: &SourceImage,
    image: Option<&Image>,
    checkout: &Checkout,
) -> Result<(), PassError> {
    use crate::catalog::ImageState;
    let file = format!("{}/workflow_param.json", checkout.folder);
    let wrong = match image.map(|image| &image.state) {
        Some(ImageState::Available) => return Ok(()),
        Some(state) => Diagnostic::new(format!(
            "the root base image {} cannot be used: it is {state:?}",
            base.id
        )),
        None => Diagnostic::new(format!(
            "the root base image {} does not exist in this region, or is not yours to use",
            base.id
        )),
    };
    Err(wrong
        .in_file(file)
        .hint("check `root_base_ami_id` and the region; image ids differ from region to region")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str) -> SourceImage {
        SourceImage {
            id: AmiId::new(id),
            name: AmiName::new("ubuntu-1"),
        }
    }

    #[test]
    fn a_base_once_recorded_stays_and_a_newer_one_is_reported() {
        let kept = choose_base(
            BaseAmiPolicy::Pin,
            Some(image("ami-1")),
            Some(image("ami-2")),
        )
        .unwrap();
        assert_eq!(
            (kept.used, kept.newer),
            (image("ami-1"), Some(image("ami-2")))
        );
        let followed = choose_base(
            BaseAmiPolicy::Follow,
            Some(image("ami-1")),
            Some(image("ami-2")),
        )
        .unwrap();
        assert_eq!((followed.used, followed.newer), (image("ami-2"), None));
        assert_eq!(choose_base(BaseAmiPolicy::Pin, None, None), None);
    }
}
