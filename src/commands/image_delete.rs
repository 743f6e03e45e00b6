//! `reconciler image delete`: images that nothing needs go, with the person's credentials.
//!
//! What goes and what keeps the others is said before anything is asked. Whoever holds the lease then
//! *reserves* the images: from there on nothing is begun with them. What refers to them is looked at
//! anew under the reservation, and once more right before each goes. What became of them is told to
//! the holder of the lease, which ends the reservation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use reconciler::config::Config;
use reconciler::controller::checkout::read_params;
use reconciler::controller::connect::{Ports, Use};
use reconciler::controller::reservations::ReservedImages;
use reconciler::git::discover::WorkflowFolder;
use reconciler::git::trusted::Purpose;
use reconciler_core::images::deletion::{Deletion, DeletionQuestion, Obstacle};
use reconciler_core::images::in_use::in_use;
use reconciler_core::images::lineage::{Lineage, Made};
use reconciler_jinja::Engine;
use reconciler_model::clock::Moment;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, Region, RequestId, WorkflowId};
use reconciler_model::images::{AssociatedSnapshots, Deregistered, Image, SnapshotResult};
use reconciler_model::inventory::request::{DeletedImage, Wish};
use reconciler_model::survey::ImageSurvey;
use tokio::time::Instant;

use super::ask::Asking;
use super::image::Known;
use super::open::{Opened, all_claims, config, workflows_of};
use super::plan::see;
use super::slow::Slow;
use super::{CommandError, print};
use crate::cli::{ImageDeleteArgs, ImageReleaseArgs, Which};

/// How long EC2 may still show an image that it has deregistered.
const TO_BE_GONE: Duration = Duration::from_mins(1);

/// How often it is looked whether it does.
const GONE_LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    named: Option<&Path>,
    args: &ImageDeleteArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let git = Git::open(&config)?;
    let run = args.workflow.as_ref().map(WorkflowId::new);
    let deleting = Deleting { config: &config, git: &git, args, run };
    let seen = deleting.look().await?;
    if seen.is_refused() {
        return Ok(ExitCode::FAILURE);
    }
    seen.print(args)?;
    let goes = seen.goes();
    if goes.is_empty() {
        print::text("nothing is left to delete\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    deleting.confirm(&seen)?;
    deleting.carry_out(&seen, &goes).await
}

/// Ends the reservations of images.
pub(crate) async fn release(
    named: Option<&Path>,
    args: &ImageReleaseArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let git = Git::open(&config)?;
    let wanted: BTreeSet<AmiId> = args.images.iter().map(AmiId::new).collect();
    let mut found = BTreeMap::new();
    for (one, folder) in git.folders() {
        let known = Known::of(&config, one, folder, None, Use::Act).await?;
        for workflow in &known.workflows {
            for stands in known.ports.inventory.reservations(workflow).await? {
                if stands.images.iter().any(|image| wanted.contains(image)) {
                    found.insert(stands.id.clone(), (stands, known.ports.clone()));
                }
            }
        }
    }
    if found.is_empty() {
        return Err(Diagnostic::new("none of these images is reserved")
            .hint(
                "`reconciler requests` shows what was asked, and `reconciler image show` an image",
            )
            .into());
    }
    for (id, (stands, ports)) in found {
        let asking = Asking { config: &config, ports: &ports, workflow: &stands.workflow_id };
        let wish = Wish::Release { reservation: id };
        let asked = asking.ask(wish, args.why.as_ref()).await?;
        asking.answer(&asked, async || Ok(None)).await?;
        let images: Vec<_> = stands.images.iter().map(AmiId::as_str).collect();
        print::text(&format!("{} no longer reserved by {}\n", images.join(" "), stands.by))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All that git has.
struct Git {
    opened: Vec<Opened>,
    ids: BTreeSet<WorkflowId>,
}

impl Git {
    /// A repository that cannot be read stops the command: its workflows would pass for earlier
    /// runs.
    fn open(config: &Config) -> Result<Self, CommandError> {
        let opened = workflows_of(config, &Which::default(), Purpose::Follow)?;
        let ids = all_claims(config).into_iter().map(|claim| claim.id).collect();
        Ok(Self { opened, ids })
    }

    fn folders(&self) -> impl Iterator<Item = (&Opened, &WorkflowFolder)> {
        self.opened.iter().flat_map(|one| one.folders.iter().map(move |folder| (one, folder)))
    }

    /// The folder of a workflow.
    fn folder_of(&self, workflow: &WorkflowId) -> Option<(&Opened, &WorkflowFolder)> {
        self.folders().find(|(one, folder)| {
            read_params(one.tree.as_ref(), folder)
                .is_ok_and(|(params, _)| params.workflow_id == *workflow)
        })
    }
}

struct Deleting<'a> {
    config: &'a Config,
    git: &'a Git,
    args: &'a ImageDeleteArgs,
    /// The earlier run that goes as a whole.
    run: Option<WorkflowId>,
}

/// What is known of the images that are to go.
struct Seen {
    ports: Ports,
    /// The workflow of git under whose inventory they are kept.
    workflow: WorkflowId,
    run: Option<WorkflowId>,
    lineage: Lineage,
    images: BTreeMap<AmiId, Image>,
    deletion: Deletion,
}

/// The images of one workflow under a reservation.
struct Reserved {
    workflow: WorkflowId,
    id: RequestId,
    images: Vec<AmiId>,
}

impl Deleting<'_> {
    /// Reads all that is kept, and looks at AWS.
    async fn look(&self) -> Result<Seen, CommandError> {
        let mut all = Vec::new();
        for (one, folder) in self.git.folders() {
            all.push(Known::of(self.config, one, folder, self.run.as_ref(), Use::Act).await?);
        }
        readable(&all)?;
        let records = all.iter().flat_map(|known| &known.records).map(|record| &record.head);
        let events: Vec<_> = all.iter().flat_map(|known| known.events.clone()).collect();
        let lineage = Lineage::new(records, &events);
        let asked = self.asked(&lineage)?;
        let known = place_of(&all, &asked)?;
        let region = region_of(&all, &asked, &known.ports.region)?;
        let ports = known.ports.in_region(&region);
        let (Some(catalog), Some(survey)) = (&ports.catalog, ports.survey()) else {
            return Err(Diagnostic::new("EC2 is not connected").into());
        };
        let _slow = Slow::begins("asking AWS about the images".to_owned());
        let children = asked.iter().flat_map(|image| lineage.children(image));
        let ids = asked.iter().chain(children.map(|made| &made.ami_id)).cloned();
        let ids: Vec<AmiId> = ids.collect::<BTreeSet<_>>().into_iter().collect();
        let images = catalog.images(&ids).await?;
        let unknown = asked
            .iter()
            .find(|image| !images.contains_key(*image) && lineage.of(image).next().is_none());
        if let Some(image) = unknown {
            let place = ports.inventory.place();
            return Err(Diagnostic::new(format!(
                "no image {image} is known, neither to {place} nor to EC2 in {region}"
            ))
            .hint("`reconciler images --all` shows those that are recorded")
            .into());
        }
        let there: Vec<AmiId> =
            asked.iter().filter(|id| images.contains_key(*id)).cloned().collect();
        let deletion = DeletionQuestion {
            asked: &asked,
            run: self.run.as_ref(),
            in_git: &self.git.ids,
            lineage: &lineage,
            sources: &sources(&all).await?,
            images: &images,
            uses: &survey.uses(&there).await,
        }
        .decide();
        let (workflow, run) = (known.workflow.clone(), self.run.clone());
        Ok(Seen { ports, workflow, run, lineage, images, deletion })
    }

    /// The images that are meant.
    fn asked(&self, lineage: &Lineage) -> Result<BTreeSet<AmiId>, CommandError> {
        let Some(run) = &self.run else {
            if let Some(wrong) = self.args.images.iter().find(|id| !id.starts_with("ami-")) {
                return Err(Diagnostic::new(format!("`{wrong}` is not the id of an image"))
                    .hint("ids begin with ami-: `reconciler images` shows them")
                    .into());
            }
            return Ok(self.args.images.iter().map(AmiId::new).collect());
        };
        if self.git.ids.contains(run) {
            return Err(Diagnostic::new(format!(
                "workflow {run} is in git: only an earlier run goes as a whole"
            ))
            .hint("name the images that are to go")
            .into());
        }
        let of_run = |image: &&AmiId| lineage.of(image).any(|made| made.workflow_id == *run);
        let images: BTreeSet<AmiId> = lineage.images().filter(of_run).cloned().collect();
        if images.is_empty() {
            return Err(Diagnostic::new(format!("nothing is known of a workflow `{run}`"))
                .hint("`reconciler images --all` shows what is recorded")
                .into());
        }
        Ok(images)
    }

    fn confirm(&self, seen: &Seen) -> Result<(), CommandError> {
        if self.args.yes || (seen.deletion.allowed.is_empty() && self.run.is_none()) {
            return Ok(());
        }
        if !print::can_ask() {
            return Err(Diagnostic::new("nothing is deleted without a word")
                .hint("say `--yes`")
                .into());
        }
        if print::confirmed("delete them? They cannot be had back.")? {
            Ok(())
        } else {
            Err(Diagnostic::new("nothing was deleted").into())
        }
    }

    async fn carry_out(&self, seen: &Seen, goes: &[AmiId]) -> Result<ExitCode, CommandError> {
        let began = seen.ports.context.moment();
        let (mut reserved, mut deleted) = (Vec::new(), Vec::new());
        let ended = match self.reserve(seen, goes, &mut reserved).await {
            Ok(()) => self.delete_all(goes, began, &reserved, &mut deleted).await,
            Err(refused) => Err(refused),
        };
        // What is gone is told, whatever went wrong.
        for one in &reserved {
            let told = self.tell(seen, one, &deleted).await;
            match (&ended, told) {
                (Ok(()), told) => told?,
                (Err(_), Err(untold)) if !deleted.is_empty() => {
                    print::failure(&untold);
                }
                (Err(_), _) => {}
            }
        }
        ended.map(|()| ExitCode::SUCCESS)
    }

    /// Has the images reserved, in each of their workflows.
    async fn reserve(
        &self,
        seen: &Seen,
        goes: &[AmiId],
        reserved: &mut Vec<Reserved>,
    ) -> Result<(), CommandError> {
        let mut groups: BTreeMap<WorkflowId, Vec<AmiId>> = BTreeMap::new();
        for image in goes {
            groups.entry(seen.workflow_of(image)).or_default().push(image.clone());
        }
        for (workflow, images) in groups {
            let asking = Asking { config: self.config, ports: &seen.ports, workflow: &workflow };
            let run = self.run.as_ref() == Some(&workflow);
            let wish = Wish::Reserve { images: images.clone(), run };
            let id = asking.ask(wish, self.args.why.as_ref()).await?;
            match self.git.folder_of(&workflow) {
                Some((opened, folder)) => {
                    let engine = Engine::new();
                    let look = async || {
                        see(self.config, opened, folder, &engine, Use::Act).await.map(Some)
                    };
                    asking.answer(&id, look).await?;
                }
                None if self.git.ids.contains(&workflow) => {
                    asking.answer(&id, async || Ok(None)).await?;
                }
                None => {
                    asking.answer_without_git(&id).await?;
                }
            }
            reserved.push(Reserved { workflow, id, images });
        }
        Ok(())
    }

    /// Looks at everything anew, and deletes one image after the other.
    async fn delete_all(
        &self,
        goes: &[AmiId],
        began: Moment,
        reserved: &[Reserved],
        deleted: &mut Vec<(AmiId, Vec<String>)>,
    ) -> Result<(), CommandError> {
        let seen = self.look().await?;
        if seen.is_refused() {
            return Err(Diagnostic::new("something has changed: nothing was deleted").into());
        }
        let Some(survey) = seen.ports.survey() else {
            return Err(Diagnostic::new("EC2 is not connected").into());
        };
        let under = reserved.iter().map(|one| (one.workflow.clone(), one.id.clone())).collect();
        let images = ReservedImages::new(&seen.ports, under, began)?;
        let snapshots = if self.args.snapshots {
            AssociatedSnapshots::Deleted
        } else {
            AssociatedSnapshots::Kept
        };
        for image in seen.deletion.allowed.iter().filter(|image| goes.contains(image)) {
            unused(&survey, image).await?;
            let done = images.deregister(image, snapshots).await?;
            deleted.push((image.clone(), gone_with(image, &done)?));
        }
        // What was gone before is told as well.
        let before = goes.iter().filter(|image| seen.deletion.gone.contains(*image));
        deleted.extend(before.map(|image| (image.clone(), Vec::new())));
        Ok(())
    }

    /// Tells the journal what is gone, and ends the reservation.
    async fn tell(
        &self,
        seen: &Seen,
        reserved: &Reserved,
        deleted: &[(AmiId, Vec<String>)],
    ) -> Result<(), CommandError> {
        let of_it = deleted.iter().filter(|(image, _)| reserved.images.contains(image));
        let images: Vec<DeletedImage> = of_it
            .filter_map(|(image, snapshots)| {
                let made = seen.made_in(image, &reserved.workflow)?;
                Some(DeletedImage {
                    step: made.step_id.clone(),
                    ami_id: image.clone(),
                    ami_name: made.ami_name.clone(),
                    region: seen.ports.region.clone(),
                    snapshots: snapshots.clone(),
                })
            })
            .collect();
        shown_no_more(seen, &images).await?;
        let reservation = reserved.id.clone();
        let wish = if images.is_empty() {
            Wish::Release { reservation }
        } else {
            Wish::Deleted { reservation, images }
        };
        let (config, ports) = (self.config, &seen.ports);
        let asking = Asking { config, ports, workflow: &reserved.workflow };
        let id = asking.ask(wish, self.args.why.as_ref()).await?;
        asking.answer(&id, async || Ok(None)).await?;
        Ok(())
    }
}

impl Seen {
    /// Says what keeps images, each with every reason; whether there is any.
    fn is_refused(&self) -> bool {
        for (image, obstacles) in &self.deletion.refused {
            let why: Vec<_> = obstacles.iter().map(Obstacle::words).collect();
            print::diagnostic(&Diagnostic::new(format!("{image} stays: {}", why.join("; "))));
        }
        let refused = !self.deletion.refused.is_empty();
        if refused {
            print::note("nothing was deleted");
        }
        refused
    }

    /// Says what goes.
    fn print(&self, args: &ImageDeleteArgs) -> Result<(), CommandError> {
        for image in &self.deletion.gone {
            print::text(&format!("  {image}  gone already\n"))?;
        }
        for image in &self.deletion.allowed {
            let seen = self.images.get(image);
            let name = seen.map_or("", |seen| seen.name.as_str());
            let of = match self.lineage.of(image).next() {
                Some(made) => format!("{} of workflow {}", made.step_id, made.workflow_id),
                None => "made by nobody that is known".to_owned(),
            };
            let snapshots = seen.map(|seen| seen.snapshots.join(" ")).unwrap_or_default();
            let kept = if args.snapshots { "with" } else { "without" };
            print::text(&format!("- {image}  {name}  ({of}), {kept} {snapshots}\n"))?;
        }
        if let Some(run) = &self.run {
            print::text(&format!("- the records of workflow {run}\n"))?;
        }
        Ok(())
    }

    /// What there is to do: images that go, and images that are gone and of which no journal tells
    /// it.
    fn goes(&self) -> Vec<AmiId> {
        let untold = self.deletion.gone.iter().filter(|image| {
            let is_recorded = self.lineage.of(image).any(|made| made.current);
            let has_record_that_goes = is_recorded && self.run.is_some();
            let is_told = self.lineage.is_told_deleted(image);
            let is_known = self.lineage.of(image).next().is_some();
            is_known && (has_record_that_goes || (!is_told && !is_recorded))
        });
        self.deletion.allowed.iter().chain(untold).cloned().collect()
    }

    /// The workflow under whose lease an image is reserved.
    fn workflow_of(&self, image: &AmiId) -> WorkflowId {
        if let Some(run) = &self.run {
            return run.clone();
        }
        let made = self.lineage.of(image).next();
        made.map_or_else(|| self.workflow.clone(), |made| made.workflow_id.clone())
    }

    fn made_in(&self, image: &AmiId, workflow: &WorkflowId) -> Option<&Made> {
        self.lineage.of(image).find(|made| made.workflow_id == *workflow)
    }
}

/// What cannot be read may name any of the images.
fn readable(all: &[Known]) -> Result<(), CommandError> {
    for known in all {
        if let Some(wrong) = known.unread.first() {
            let error = wrong.clone().error(&known.ports.inventory.place());
            return Err(Diagnostic::new(format!("{error}; it may name one of the images"))
                .hint("mend it first: what cannot be read counts as in the way")
                .into());
        }
    }
    Ok(())
}

/// Where the images are kept: all in one place.
fn place_of<'a>(all: &'a [Known], asked: &BTreeSet<AmiId>) -> Result<&'a Known, CommandError> {
    let of = |image: &AmiId| {
        let is_own =
            |known: &&Known| known.lineage.of(image).any(|made| made.workflow_id == known.workflow);
        let knows = |known: &&Known| known.lineage.of(image).next().is_some();
        all.iter().find(is_own).or_else(|| all.iter().find(knows)).or(all.first())
    };
    let mut places = asked.iter().filter_map(|image| Some((image, of(image)?)));
    let Some((one, first)) = places.next() else {
        return Err(Diagnostic::new("git has no workflow to look with").into());
    };
    match places.find(|(_, known)| known.workflow != first.workflow) {
        Some((other, known)) => Err(Diagnostic::new(format!(
            "{one} is of workflow {}, and {other} of {}",
            first.workflow, known.workflow
        ))
        .hint("delete the images of one workflow at a time")
        .into()),
        None => Ok(first),
    }
}

/// Where the images are: all in one region.
fn region_of(
    all: &[Known],
    asked: &BTreeSet<AmiId>,
    otherwise: &Region,
) -> Result<Region, CommandError> {
    let mut regions: BTreeMap<&AmiId, &Region> = BTreeMap::new();
    for known in all {
        for build in known.events.chunk_by(|one, other| one.build_id == other.build_id) {
            let region = build.iter().find_map(|event| event.stage.intent());
            let image = build.iter().find_map(|event| event.stage.shown_image());
            regions.extend(image.zip(region.map(|intent| &intent.region)));
        }
        for record in &known.records {
            let built = record.head.built.as_ref();
            regions.extend(built.map(|built| (&record.head.ami_id, &built.region)));
        }
    }
    let of = |image| regions.get(image).copied().unwrap_or(otherwise);
    let found: BTreeSet<&Region> = asked.iter().map(of).collect();
    match found.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => Ok((*only).clone()),
        several => {
            let names: Vec<_> = several.iter().map(|region| region.as_str()).collect();
            Err(Diagnostic::new(format!("the images are in {}", names.join(" and ")))
                .hint("delete those of one region at a time")
                .into())
        }
    }
}

/// The images that builds under way start from.
async fn sources(all: &[Known]) -> Result<BTreeSet<AmiId>, CommandError> {
    let mut sources = BTreeSet::new();
    for known in all {
        for workflow in &known.workflows {
            let attempts = known.ports.inventory.attempts(workflow).await?;
            if let Some(wrong) = attempts.malformed.first() {
                return Err(wrong.clone().error(&known.ports.inventory.place()).into());
            }
            let open = attempts.into_iter().filter(|attempt| !attempt.is_settled());
            sources.extend(open.map(|attempt| attempt.intent.source_ami));
        }
    }
    Ok(sources)
}

/// Waits until EC2 shows none of them any more: whoever holds the lease looks as well.
async fn shown_no_more(seen: &Seen, images: &[DeletedImage]) -> Result<(), CommandError> {
    let ids: Vec<AmiId> = images.iter().map(|image| image.ami_id.clone()).collect();
    let began = Instant::now();
    while let Some(catalog) = &seen.ports.catalog
        && catalog.images(&ids).await?.values().any(|image| !image.state.is_gone())
        && began.elapsed() < TO_BE_GONE
    {
        seen.ports.context.sleep(GONE_LOOK).await;
    }
    Ok(())
}

/// Looks once more, right before an image goes.
async fn unused(survey: &Arc<dyn ImageSurvey>, image: &AmiId) -> Result<(), CommandError> {
    let uses = survey.uses(std::slice::from_ref(image)).await;
    match in_use(&uses, image).first() {
        Some(used) => Err(Diagnostic::new(format!(
            "{image} is in use since it was looked at: {}",
            used.words()
        ))
        .hint("it stays, and what comes after it")
        .into()),
        None => Ok(()),
    }
}

/// Says what became of an image, and gives the snapshots that are gone with it.
fn gone_with(image: &AmiId, done: &Deregistered) -> Result<Vec<String>, CommandError> {
    let Deregistered::Done(snapshots) = done else {
        print::text(&format!("{image} gone already\n"))?;
        return Ok(Vec::new());
    };
    print::text(&format!("{image} deleted\n"))?;
    let mut gone = Vec::new();
    for (snapshot, result) in snapshots {
        let became = match result {
            SnapshotResult::Deleted => {
                gone.push(snapshot.clone());
                "deleted".to_owned()
            }
            SnapshotResult::UsedByAnother => "stays: another image uses it".to_owned(),
            SnapshotResult::Denied => {
                "stays: access denied (needs the permission ec2:DeleteSnapshot)".to_owned()
            }
            SnapshotResult::Failed(why) => format!("stays: {why}"),
        };
        print::text(&format!("  {snapshot} {became}\n"))?;
    }
    Ok(gone)
}
