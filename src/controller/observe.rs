//! Reads everything anew and plans: git, records, journal, EC2. Writes nothing.

use reconciler_model::images::FINGERPRINT_TAG;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::Config;
use crate::controller::build_evidence::lost_build_among;
use crate::controller::checkout::{Checkout, Desired};
use crate::controller::connect::Ports;
use crate::controller::error::PassError;
use crate::controller::step_cache::Kept;
use crate::secrets::OpenSecrets;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::images::base_image::{
    BaseQuestion, BaseSearch, ids_to_describe, pin, resolve, search_is_due,
};
use reconciler_core::plan::decision::{Decision, Reason};
use reconciler_core::plan::names::Names;
use reconciler_core::plan::planner::{
    Desires as _, Observation, Outline, PlannedStep, Planner, Repetition,
};
use reconciler_core::plan::repeats;
use reconciler_core::plan::repeats::Wanted;
use reconciler_core::plan::{Orphan, Plan, RecordsFrom, Standing};
use reconciler_core::workflow::RootBase;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, BuildId, StepId, WorkflowId};
use reconciler_model::images::{Image, ImageReader};
use reconciler_model::inventory::journal::{Attempt, Failure};
use reconciler_model::inventory::record::RecordHead;
use reconciler_model::inventory::{Heads, Inventory, InventoryError, Lease, Many};

/// What is asked of a look.
pub struct Request<'a> {
    /// The repository's name.
    pub repository: &'a str,
    /// The branch, tag or revision, for people.
    pub reference: &'a str,
    /// Steps that a person wants built whatever their state.
    pub forced: &'a BTreeSet<StepId>,
    /// For a command that a person typed: the builds that it has tried itself.
    pub tried: Option<&'a BTreeSet<BuildId>>,
    /// What EC2 was last asked for the base image, where that is remembered.
    pub searched: Option<&'a BaseSearch>,
    /// Now.
    pub now: Timestamp,
}

/// A plan, and what it was made from.
pub struct Look {
    /// What is to be done.
    pub plan: Plan,
    /// The newest attempt at each step.
    pub newest: Newest,
    /// What EC2 has last said of the base image's pattern, to be handed to the next look.
    pub searched: Option<BaseSearch>,
    /// What it was made with: what the plan decides is built from it.
    pub desired: Desired,
    /// What the cache is to keep; none if it knows all of it.
    pub to_keep: Option<Kept>,
}

/// The newest attempt at each step, as far as it did not end in a record and a clean account.
#[derive(Clone, Debug, Default)]
pub struct Newest {
    /// Those that can be read.
    pub attempts: BTreeMap<StepId, Attempt>,
    /// Steps of which it cannot: nobody knows whether a build of theirs runs.
    pub unread: Vec<(StepId, String)>,
}

impl Newest {
    fn of(found: Many<Attempt>) -> Self {
        let unread = found.malformed.iter();
        let unread = unread.filter_map(|wrong| Some((wrong.step.clone()?, wrong.detail.clone())));
        let unread = unread.collect();
        let attempts = found.into_iter();
        Self {
            attempts: attempts.map(|attempt| (attempt.step_id.clone(), attempt)).collect(),
            unread,
        }
    }

    /// Whether nothing more will happen to any of them.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.unread.is_empty() && self.attempts.values().all(Attempt::is_settled)
    }
}

/// What is on record of a workflow.
pub struct Recorded {
    /// The records.
    pub heads: Heads,
    /// What was tried.
    pub newest: Newest,
}

/// Reads the records and the journal; not the journal where the caller knows the attempts to be
/// current.
pub async fn recorded(
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
    newest: Option<Newest>,
) -> Result<Recorded, InventoryError> {
    if let Some(newest) = newest {
        let heads = inventory.heads(workflow).await?;
        return Ok(Recorded { heads, newest });
    }
    let (heads, newest) =
        tokio::try_join!(inventory.heads(workflow), newest_attempts(inventory, workflow))?;
    Ok(Recorded { heads, newest })
}

/// Reads the records, the journal and the lease, for a command that shows them.
pub async fn recorded_with_lease(
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
) -> Result<(Recorded, Result<Option<Lease>, InventoryError>), InventoryError> {
    let (heads, (lease, attempts)) =
        tokio::try_join!(inventory.heads(workflow), inventory.lease_and_attempts(workflow))?;
    Ok((Recorded { heads, newest: Newest::of(attempts) }, lease))
}

/// Reads the newest attempts.
pub(super) async fn newest_attempts(
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
) -> Result<Newest, InventoryError> {
    Ok(Newest::of(inventory.unrecorded_attempts(workflow).await?))
}

/// Looks at one workflow, of which this is on record.
pub async fn look(
    config: &Config,
    ports: &Ports,
    checkout: &Arc<Checkout>,
    engine: &Engine,
    request: &Request<'_>,
    recorded: Recorded,
) -> Result<Look, PassError> {
    let Recorded { heads, newest } = recorded;
    let standing = standing(&heads);
    let records_from = RecordsFrom { place: ports.inventory.place(), standing };
    let broken = broken(config, checkout, &ports.inventory.place(), &heads, &newest);
    let records: HashMap<StepId, Arc<RecordHead>> =
        heads.records.into_iter().map(|head| (head.step_id.clone(), Arc::new(head))).collect();
    let seen_at_ec2 = see_at_ec2(ports, checkout, &records, request).await?;
    let base = resolve(&BaseQuestion {
        base: &checkout.params.root_base,
        path: &format!("{}/workflow_param.json", checkout.folder),
        policy: config.base_ami_policy,
        region: &ports.region,
        pinned: seen_at_ec2.pinned.as_ref(),
        images: seen_at_ec2.images.as_ref(),
        newest: seen_at_ec2.searched.as_ref().and_then(|search| search.newest.as_ref()),
    })?;
    let mut desired = Desired::new(checkout, engine, &ports.region, &config.ami_name, &base.image)
        .with_secrets(Arc::new(OpenSecrets::read(&config.secrets)));
    let sound: Cow<'_, [Outline]> = if broken.is_empty() {
        Cow::Borrowed(&checkout.outlines)
    } else {
        let outlines = checkout.outlines.iter();
        let sound = outlines.filter(|step| !broken.contains_key(&step.id));
        Cow::Owned(sound.cloned().collect())
    };
    let seen = Observation {
        workflow_id: &checkout.params.workflow_id,
        revision: &checkout.revision,
        steps: &sound,
        broken: &broken,
        root_base: &base.image,
        base_unusable: base.unusable.as_ref(),
        aws_tags: &checkout.params.aws_tags,
        records: &records,
        images: seen_at_ec2.images.as_ref(),
        attempts: &newest.attempts,
        forced: request.forced,
        tried: request.tried,
        now: request.now,
    };
    let mut steps = decide(config, ports, seen, &mut desired).await?;
    if standing == Standing::NoInventory {
        steps.iter_mut().for_each(without_inventory);
    }
    let to_keep = desired.to_keep();
    let orphans = orphans(&steps, &records);
    let plan = Plan {
        workflow_id: checkout.params.workflow_id.clone(),
        folder: checkout.folder.clone(),
        repository: request.repository.to_owned(),
        reference: request.reference.to_owned(),
        revision: checkout.revision.clone(),
        region: ports.region.clone(),
        root_base: base.image,
        newer_base: base.newer,
        steps,
        orphans,
        warnings: checkout.warnings.iter().cloned().chain(base.warnings).collect(),
        at: request.now,
        looked_at_ec2: seen_at_ec2.images.is_some(),
        records_from,
    };
    Ok(Look { plan, newest, searched: seen_at_ec2.searched, desired, to_keep })
}

/// What the inventory holds of the workflow.
fn standing(heads: &Heads) -> Standing {
    if heads.missing {
        Standing::NoInventory
    } else if heads.records.is_empty() && heads.malformed.is_empty() {
        Standing::Nothing
    } else {
        Standing::Recorded
    }
}

/// Steps of which something cannot be read: their files, their record, their journal.
fn broken(
    config: &Config,
    checkout: &Checkout,
    place: &str,
    heads: &Heads,
    newest: &Newest,
) -> BTreeMap<StepId, Vec<Diagnostic>> {
    let mut broken = checkout.broken.clone();
    for why in broken.values_mut().flatten() {
        *why = config.secrets.marks.blotted(why.clone());
    }
    for (step, detail) in &heads.malformed {
        broken.entry(step.clone()).or_default().push(Diagnostic::new(format!(
            "the record of {step} in {place} cannot be read: {detail}"
        )));
    }
    for (step, detail) in &newest.unread {
        let wrong = Diagnostic::new(format!(
            "what the journal in {place} says last of {step} cannot be read: {detail}"
        ));
        broken.entry(step.clone()).or_default().push(wrong.hint(
            "whether a build of it runs is not known, so none is begun: restore that item, or remove it once no build of the step runs",
        ));
    }
    broken
}

/// What EC2 says of the recorded images and of the base image.
struct Ec2Answers {
    /// The recorded base image, if there is one.
    pinned: Option<SourceImage>,
    /// None: EC2 was not asked.
    images: Option<BTreeMap<AmiId, Image>>,
    /// The last search for a newer base image.
    searched: Option<BaseSearch>,
}

async fn see_at_ec2(
    ports: &Ports,
    checkout: &Checkout,
    records: &HashMap<StepId, Arc<RecordHead>>,
    request: &Request<'_>,
) -> Result<Ec2Answers, PassError> {
    let root_base = &checkout.params.root_base;
    let pinned = pin(root_base, records.values().map(Arc::as_ref));
    let Some(catalog) = ports.catalog.as_deref() else {
        return Ok(Ec2Answers { pinned, images: None, searched: None });
    };
    let mut ids: Vec<AmiId> = records.values().map(|record| record.ami_id.clone()).collect();
    ids.extend(ids_to_describe(root_base, pinned.as_ref(), request.searched).cloned());
    ids.sort();
    ids.dedup();
    let images = catalog.images(&ids).await?;
    let searched = search(catalog, root_base, pinned.as_ref(), &images, request).await?;
    Ok(Ec2Answers { pinned, images: Some(images), searched })
}

/// Has every step decided, and answers what the planner asks: who holds the names that builds want,
/// in what steps differ, and how often what is to be built was built already.
async fn decide(
    config: &Config,
    ports: &Ports,
    seen: Observation<'_>,
    desired: &mut Desired,
) -> Result<Vec<PlannedStep>, PassError> {
    let (inventory, workflow) = (ports.inventory.as_ref(), seen.workflow_id);
    let mut planner = Planner::new(seen);
    loop {
        let questions = planner.decide(desired);
        if questions.is_empty() {
            return Ok(planner.into_steps());
        }
        let answers = &mut planner.answers;
        if let Some(catalog) = ports.catalog.as_deref()
            && !questions.names.is_empty()
        {
            let names = questions.names.into_iter().collect();
            ask_for_names(catalog, inventory, workflow, names, &mut answers.names).await?;
        }
        for step in questions.components {
            let record = inventory.record(workflow, &step).await?;
            answers.components.insert(step, record.and_then(|record| record.components));
        }
        for repetition in questions.repetitions {
            let held = held_back(config, inventory, seen, &repetition, desired).await?;
            answers.repetitions.insert(repetition.step, held);
        }
    }
}

/// Whether what would be built again though nothing changed is to wait.
async fn held_back(
    config: &Config,
    inventory: &dyn Inventory,
    seen: Observation<'_>,
    repetition: &Repetition,
    desired: &mut Desired,
) -> Result<Option<Failure>, PassError> {
    let Repetition { step, fingerprint, source } = repetition;
    let outline = seen.steps.iter().find(|outline| outline.id == *step);
    let components = outline.and_then(|outline| desired.components(outline, source).ok());
    let secrets = components.map(|components| components.secrets).unwrap_or_default();
    let wanted =
        Wanted { fingerprint, revision: seen.revision, source_ami: &source.id, secrets: &secrets };
    let since = seen.now - repeats::HORIZON;
    let events = inventory.events_since(seen.workflow_id, step, since).await?;
    Ok(repeats::held(&repeats::past(&events), wanted, config.retry.person, seen.now))
}

/// The newest match of the base image's pattern: what is remembered of it, or EC2's answer where it
/// is time to ask.
async fn search(
    catalog: &dyn ImageReader,
    base: &RootBase,
    pinned: Option<&SourceImage>,
    images: &BTreeMap<AmiId, Image>,
    request: &Request<'_>,
) -> Result<Option<BaseSearch>, PassError> {
    let RootBase::Pattern { pattern, owner } = base else {
        return Ok(None);
    };
    if !search_is_due(base, pinned, request.searched, images, request.now) {
        return Ok(request.searched.cloned());
    }
    let newest = catalog.newest_image(pattern, owner).await?;
    Ok(Some(BaseSearch {
        base: base.clone(),
        at: request.now,
        newest: newest.map(|image| SourceImage { id: image.id, name: image.name }),
    }))
}

/// Asks EC2 who holds these names.
async fn ask_for_names(
    catalog: &dyn ImageReader,
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
    unasked: Vec<AmiName>,
    names: &mut Names,
) -> Result<(), PassError> {
    let mut found = catalog.own_images_named(&unasked).await?;
    // An image that nobody has tagged may be of a build that was given up.
    let untagged = |image: &&Image| !image.tags.contains_key(FINGERPRINT_TAG);
    if found.values().any(|image| untagged(&image)) {
        let beats = inventory.beats(workflow).await?;
        let lost = found
            .values()
            .filter(untagged)
            .filter(|image| lost_build_among(&beats, &image.name, image).is_some());
        names.of_lost_builds.extend(lost.map(|image| image.id.clone()));
    }
    for name in unasked {
        let image = found.remove(&name);
        names.asked.insert(name, image);
    }
    Ok(())
}

/// Where there is no inventory nobody can say that a step was never built.
fn without_inventory(step: &mut PlannedStep) {
    let reasons = match &mut step.decision {
        Decision::Build(build) => &mut build.reasons,
        Decision::AwaitingManual(manual) => &mut manual.reasons,
        _ => return,
    };
    for reason in reasons {
        if *reason == Reason::NeverBuilt {
            *reason = Reason::NoInventory;
        }
    }
}

fn orphans(steps: &[PlannedStep], records: &HashMap<StepId, Arc<RecordHead>>) -> Vec<Orphan> {
    let known: HashSet<&StepId> = steps.iter().map(|step| &step.id).collect();
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
