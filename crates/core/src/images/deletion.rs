//! Which of the images that a person wants to delete may go, and for each that may not every reason.
//! Pure.
//!
//! An image may go only if it is known to be this account's, of no step's current images, and known
//! to be referred to by nothing; and only together with, or after, what was built on it. Whatever
//! could not be looked at counts as in the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::images::in_use::{InUse, in_use};
use crate::images::lineage::{Lineage, Made};
use reconciler_model::ids::{AmiId, StepId, WorkflowId};
use reconciler_model::images::{Image, WORKFLOW_ID_TAG};
use reconciler_model::uses::{Ownership, Unread, Uses};

/// The tag by which a person says that an image stays, whatever its value.
pub const KEEP_TAG: &str = "reconciler:keep";

/// What is wanted, and what is known.
#[derive(Clone, Copy, Debug)]
pub struct DeletionQuestion<'a> {
    /// The images that are to go.
    pub asked: &'a BTreeSet<AmiId>,
    /// Whose records go with them: an earlier run as a whole. None: no record goes.
    pub run: Option<&'a WorkflowId>,
    /// The workflows that git has.
    pub in_git: &'a BTreeSet<WorkflowId>,
    /// All images of records and journals: of every workflow that keeps them in the same place.
    pub lineage: &'a Lineage,
    /// Images that a build under way starts from.
    pub sources: &'a BTreeSet<AmiId>,
    /// What EC2 shows of the images that are to go and of those that were built on them; one that is
    /// not among them is gone.
    pub images: &'a BTreeMap<AmiId, Image>,
    /// What refers to the images that are to go.
    pub uses: &'a Uses,
}

/// Why an image may not go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is the current image of a step.
    Current(WorkflowId, StepId),
    /// The run that is to go is one that git has.
    RunInGit(WorkflowId),
    /// A build that is under way starts from it.
    SourceOfBuild,
    /// Another image was built on it, and stays.
    BuiltOn(Box<Made>),
    /// It is in use, or may be.
    InUse(InUse),
    /// It is another account's.
    NotOwn,
    /// Nobody could tell whose it is.
    OwnerUnknown(Unread),
    /// It is tagged to stay.
    Kept,
    /// Its tags say that a workflow made it of which nothing is read here.
    OfUnreadWorkflow(String),
}

/// What becomes of the images that are to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// They may go, in this order: what was built on an image goes before it.
    pub allowed: Vec<AmiId>,
    /// They may not, each for all of these reasons.
    pub refused: BTreeMap<AmiId, Vec<Obstacle>>,
    /// They are gone already.
    pub gone: BTreeSet<AmiId>,
}

impl DeletionQuestion<'_> {
    /// Decides.
    #[must_use]
    pub fn decide(&self) -> Deletion {
        let (there, gone): (BTreeSet<_>, BTreeSet<_>) =
            self.asked.iter().cloned().partition(|image| self.is_there(image));
        let mut refused: BTreeMap<AmiId, Vec<Obstacle>> = BTreeMap::new();
        for image in &there {
            let obstacles = self.obstacles(image);
            if !obstacles.is_empty() {
                refused.insert(image.clone(), obstacles);
            }
        }
        // What was built on an image keeps it as long as it stays, and that keeps what it was built
        // on in turn.
        loop {
            let stays = |made: &&Made| {
                self.is_there(&made.ami_id)
                    && (!there.contains(&made.ami_id) || refused.contains_key(&made.ami_id))
            };
            let kept: Vec<(AmiId, Vec<Obstacle>)> = there
                .iter()
                .filter_map(|image| {
                    let children = self.lineage.children(image).filter(stays);
                    let built = children.map(|made| Obstacle::BuiltOn(Box::new(made.clone())));
                    let known = refused.get(image);
                    let new = built.filter(|one| !known.is_some_and(|known| known.contains(one)));
                    let new: Vec<_> = new.collect();
                    (!new.is_empty()).then(|| (image.clone(), new))
                })
                .collect();
            if kept.is_empty() {
                break;
            }
            for (image, obstacles) in kept {
                refused.entry(image).or_default().extend(obstacles);
            }
        }
        let allowed = there.into_iter().filter(|image| !refused.contains_key(image)).collect();
        Deletion { allowed: self.children_first(allowed), refused, gone }
    }

    fn is_there(&self, image: &AmiId) -> bool {
        self.images.get(image).is_some_and(|seen| !seen.state.is_gone())
    }

    /// What stands in an image's way by itself.
    fn obstacles(&self, image: &AmiId) -> Vec<Obstacle> {
        let mut found = Vec::new();
        match self.uses.ownership(image) {
            Ownership::Own => {}
            Ownership::NotOwn => found.push(Obstacle::NotOwn),
            Ownership::Unknown(why) => found.push(Obstacle::OwnerUnknown(why)),
        }
        for made in self.lineage.of(image).filter(|made| made.current) {
            match self.run {
                Some(run) if made.workflow_id == *run && self.in_git.contains(run) => {
                    found.push(Obstacle::RunInGit(run.clone()));
                }
                Some(run) if made.workflow_id == *run => {}
                _ => found.push(Obstacle::Current(made.workflow_id.clone(), made.step_id.clone())),
            }
        }
        // Seeded bug: an-image-of-a-workflow-that-was-not-read-goes
        if self.lineage.of(image).next().is_none()
            && let Some(seen) = self.images.get(image)
            && let Some(workflow) = seen.tags.get(WORKFLOW_ID_TAG)
        {
            found.push(Obstacle::OfUnreadWorkflow(workflow.clone()));
        }
        if self.sources.contains(image) {
            found.push(Obstacle::SourceOfBuild);
        }
        if self.images.get(image).is_some_and(|seen| seen.tags.contains_key(KEEP_TAG)) {
            found.push(Obstacle::Kept);
        }
        // Seeded bug: deleting-with-a-failed-look
        let uses = in_use(self.uses, image).into_iter();
        found.extend(uses.map(Obstacle::InUse));
        found
    }

    /// The images in an order in which nothing goes before what was built on it.
    fn children_first(&self, mut images: BTreeSet<AmiId>) -> Vec<AmiId> {
        let mut ordered = Vec::new();
        while !images.is_empty() {
            let has_child = |image: &AmiId| {
                self.lineage.children(image).any(|made| images.contains(&made.ami_id))
            };
            let leaves: Vec<_> = images.iter().filter(|image| !has_child(image)).cloned().collect();
            if leaves.is_empty() {
                // A circle of records: no order is better than another.
                ordered.extend(images);
                break;
            }
            for leaf in leaves {
                images.remove(&leaf);
                ordered.push(leaf);
            }
        }
        ordered
    }
}

impl Obstacle {
    /// It in words, with what to do where that is known.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Current(workflow, step) => {
                format!("it is the current image of step {step} of workflow {workflow}")
            }
            Self::RunInGit(workflow) => {
                format!("workflow {workflow} is in git: only an earlier run goes as a whole")
            }
            Self::SourceOfBuild => "a build that is under way starts from it".to_owned(),
            Self::BuiltOn(made) => format!(
                "{} was built on it ({} of workflow {})",
                made.ami_id, made.step_id, made.workflow_id
            ),
            Self::InUse(InUse::By(user)) => {
                format!("in use: {}", crate::images::in_use::user_words(user))
            }
            Self::InUse(unknown) => unknown.words(),
            Self::NotOwn => "it is another account's".to_owned(),
            Self::OwnerUnknown(why) => {
                format!("unknown whose it is: {}", crate::images::in_use::unread_words(why))
            }
            Self::Kept => format!("it is tagged to stay ({KEEP_TAG})"),
            Self::OfUnreadWorkflow(workflow) => format!(
                "its tags say that workflow {workflow} made it, whose records are not read here: delete it where that workflow is in git, or with `--workflow {workflow}`"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
