//! One decision for every step, from what git says, what is recorded and what EC2 has.
//!
//! Pure: it looks at nothing and asks nobody. Fingerprints come through [`Desires`], which a cache
//! or a renderer answers, since a fingerprint depends on the source image, which is itself a
//! decision about the parent. What costs a call and matters for few steps is not read beforehand:
//! the planner says what it has to know ([`Questions`]), and each step is decided once, when that is
//! answered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::desired::step::SourceImage;
use crate::images::tags::{ImageTags, are_of_another_run, tag_change};
use crate::plan::decision::{
    Blocked, Build, BuildSource, Building, Decision, Manual, NameTaken, Obstacle, Reason, Stopped,
    TakeOver, Update,
};
use crate::plan::names::{Holder, MOST_NAMES, Names, all_taken};
use crate::plan::reasons::reasons;
use crate::plan::repeats::is_of_a_wrong_clock;
use reconciler_model::components::{Components, Fingerprint};
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, AmiName, BuildId, Revision, StepId, WorkflowId};
use reconciler_model::images::{Image, ImageState};
use reconciler_model::inventory::journal::{Attempt, Failure, FailureClass, Progress};
use reconciler_model::inventory::record::{Built, RecordHead};

/// What the planner needs to know of a step in git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its id.
    pub id: StepId,
    /// Its folder.
    pub folder: String,
    /// Whose image it starts from; none: the root base image.
    pub parent: Option<StepId>,
    /// A person makes the image.
    pub manual: bool,
    /// It is left alone.
    pub suspend: bool,
    /// The digest of its metadata.
    pub metadata_digest: Digest,
}

/// Answers what a step's image should be, given what it starts from.
pub trait Desires {
    /// The fingerprint.
    fn fingerprint(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Fingerprint, Vec<Diagnostic>>;

    /// The digests under it; asked only for steps that differ.
    fn components(
        &mut self,
        step: &Outline,
        source: &SourceImage,
    ) -> Result<Components, Vec<Diagnostic>>;

    /// The name for the next image of this fingerprint: the `rebuild`-th of it.
    fn ami_name(
        &mut self,
        step: &Outline,
        fingerprint: &Fingerprint,
        rebuild: u32,
    ) -> Result<AmiName, Diagnostic>;

    /// What an image of a build that was given up lacks of what the step asks for once an image
    /// exists; none if it is whole.
    fn lacks(&mut self, step: &Outline, source: &SourceImage, image: &Image) -> Option<String>;

    /// Which rebuild of the fingerprint a recorded name is.
    fn rebuild_of(
        &mut self,
        step: &Outline,
        fingerprint: &Fingerprint,
        name: &AmiName,
    ) -> Option<u32>;
}

/// All that was read before a plan is made.
#[derive(Clone, Copy)]
pub struct Observation<'a> {
    /// The workflow.
    pub workflow_id: &'a WorkflowId,
    /// The commit.
    pub revision: &'a Revision,
    /// Sound steps, parents before children.
    pub steps: &'a [Outline],
    /// Steps whose files are wrong.
    pub broken: &'a BTreeMap<StepId, Vec<Diagnostic>>,
    /// Where the first steps start.
    pub root_base: &'a SourceImage,
    /// Why nothing can be built on that image now; what was built on it before stands.
    pub base_unusable: Option<&'a Diagnostic>,
    /// Tags for every image.
    pub aws_tags: &'a BTreeMap<String, String>,
    /// What is recorded.
    pub records: &'a HashMap<StepId, Arc<RecordHead>>,
    /// What EC2 has of it; none when it is not asked (`--offline`), for names neither.
    pub images: Option<&'a BTreeMap<AmiId, Image>>,
    /// The newest attempt at each step.
    pub attempts: &'a BTreeMap<StepId, Attempt>,
    /// Steps that a person wants built whatever their state.
    pub forced: &'a BTreeSet<StepId>,
    /// For a command that a person typed: the builds that it has tried itself. What failed before
    /// it, and was a person's turn, is tried at once: the person may have done it. None: nobody
    /// asked just now.
    pub tried: Option<&'a BTreeSet<BuildId>>,
    /// Now.
    pub now: Timestamp,
}

/// One step's line of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step; for a broken one only the id is sure.
    pub id: StepId,
    /// Whose image it starts from.
    pub parent: Option<StepId>,
    /// Its folder.
    pub folder: String,
    /// What is to be done.
    pub decision: Decision,
    /// What git wants, where it is known.
    pub desired: Option<Fingerprint>,
    /// What is recorded.
    pub record: Option<Arc<RecordHead>>,
}

/// What has to be known before the steps that are left can be decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Who holds these names.
    pub names: BTreeSet<AmiName>,
    /// What the records of these steps say of what their images were made from.
    pub components: Vec<StepId>,
    /// How often these were built already.
    pub repetitions: Vec<Repetition>,
}

/// What is to be built though neither git nor the image that it starts from changed since it was
/// built or tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// The step.
    pub step: StepId,
    /// What is to be built.
    pub fingerprint: Fingerprint,
    /// The image that it starts from.
    pub source: SourceImage,
}

impl Questions {
    /// Whether nothing has to be known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.components.is_empty() && self.repetitions.is_empty()
    }
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Who holds names, as far as EC2 was asked.
    pub names: Names,
    /// What records say of what images were made from; `None` where they say nothing.
    pub components: HashMap<StepId, Option<Components>>,
    /// Of builds that would repeat an earlier one, until when they wait, if they do.
    pub repetitions: HashMap<StepId, Option<Failure>>,
}

/// What a step's children stand on.
#[derive(Clone)]
enum Standing {
    Settled(SourceImage),
    WillChange,
    InTheWay(Obstacle),
}

/// A plan in the making.
pub struct Planner<'a> {
    seen: Observation<'a>,
    /// What is known of what it asked.
    pub answers: Answers,
    /// What the children of decided steps stand on.
    standing: HashMap<&'a StepId, Standing>,
    /// In the order of the steps; `None` where a step is not decided.
    planned: Vec<Option<PlannedStep>>,
}

impl<'a> Planner<'a> {
    /// One that has decided nothing.
    #[must_use]
    pub fn new(seen: Observation<'a>) -> Self {
        Self {
            answers: Answers::default(),
            standing: HashMap::with_capacity(seen.steps.len()),
            planned: seen.steps.iter().map(|_| None).collect(),
            seen,
        }
    }

    /// Decides every step that can be decided. Whoever calls it answers the questions and calls it
    /// again, until there are none.
    pub fn decide(&mut self, desires: &mut dyn Desires) -> Questions {
        let mut questions = Questions::default();
        // Steps that wait for an answer, and those that wait for such a step.
        let mut waiting: HashSet<&StepId> = HashSet::new();
        for (step, planned) in self.seen.steps.iter().zip(&mut self.planned) {
            if planned.is_some() {
                continue;
            }
            let source = match &step.parent {
                None => Standing::Settled(self.seen.root_base.clone()),
                Some(parent) => match self.standing.get(parent) {
                    Some(standing) => standing.clone(),
                    None if waiting.contains(parent) => {
                        waiting.insert(&step.id);
                        continue;
                    }
                    None => Standing::InTheWay(obstacle(parent, "broken", "is broken")),
                },
            };
            let mut one = Step {
                seen: &self.seen,
                answers: &self.answers,
                step,
                record: self.seen.records.get(&step.id).map(Arc::as_ref),
                desires,
                unasked: Vec::new(),
            };
            let (decision, desired) = one.decide(&source);
            if one.asks(&decision, &mut questions) {
                waiting.insert(&step.id);
                continue;
            }
            self.standing.insert(&step.id, one.standing(&decision));
            *planned = Some(PlannedStep {
                id: step.id.clone(),
                parent: step.parent.clone(),
                folder: step.folder.clone(),
                decision,
                desired,
                record: self.seen.records.get(&step.id).cloned(),
            });
        }
        questions
    }

    /// What was decided; broken steps come last, in order of their ids.
    #[must_use]
    pub fn into_steps(self) -> Vec<PlannedStep> {
        let Self { seen, planned, .. } = self;
        let broken = seen.broken.iter().map(|(id, why)| PlannedStep {
            id: id.clone(),
            parent: None,
            folder: String::new(),
            decision: Decision::Broken(why.clone()),
            desired: None,
            record: seen.records.get(id).cloned(),
        });
        planned.into_iter().flatten().chain(broken).collect()
    }
}

struct Step<'a, 'b> {
    seen: &'a Observation<'a>,
    answers: &'a Answers,
    step: &'a Outline,
    record: Option<&'a RecordHead>,
    desires: &'b mut dyn Desires,
    /// Names that the decision hangs on and that EC2 was not asked for.
    unasked: Vec<AmiName>,
}

impl Step<'_, '_> {
    /// Whether this decision hangs on something that is not known yet.
    fn asks(&mut self, decision: &Decision, questions: &mut Questions) -> bool {
        if !self.unasked.is_empty() {
            questions.names.extend(self.unasked.drain(..));
            return true;
        }
        let id = &self.step.id;
        let differs = wants_components(decision) && !self.answers.components.contains_key(id);
        if differs {
            questions.components.push(id.clone());
        }
        let again = self.repetition(decision);
        let again = again.filter(|_| !self.answers.repetitions.contains_key(id));
        let repeats = again.is_some();
        questions.repetitions.extend(again);
        differs || repeats
    }

    /// What is to be built though neither git nor the image that it starts from changed since it was
    /// built or tried: the journal has to tell how often that was done.
    fn repetition(&self, decision: &Decision) -> Option<Repetition> {
        let Decision::Build(Build {
            source: BuildSource::Known { source, fingerprint, .. }, ..
        }) = decision
        else {
            return None;
        };
        let revision = self.seen.revision;
        let recorded = self.record.is_some_and(|head| {
            head.built.as_ref().is_some_and(|built| {
                built.fingerprint == *fingerprint
                    || (built.revision == *revision && head.base_ami_id == source.id)
            })
        });
        let tried = self.seen.attempts.get(&self.step.id).is_some_and(|attempt| {
            let intent = &attempt.intent;
            intent.fingerprint != *fingerprint
                && intent.revision == *revision
                && intent.source_ami == source.id
        });
        let (step, fingerprint, source) = (self.step.id.clone(), *fingerprint, source.clone());
        // Seeded bug: vanished-image-is-built-for-ever
        ((recorded || tried) && !self.forced()).then_some(Repetition { step, fingerprint, source })
    }

    fn decide(&mut self, source: &Standing) -> (Decision, Option<Fingerprint>) {
        let parent = self.step.parent.clone();
        if let Some(building) = self.running(source) {
            return building;
        }
        if self.step.suspend {
            return (Decision::Suspended, None);
        }
        match (source, parent) {
            (Standing::InTheWay(root), Some(on)) => {
                let root = root.clone();
                (Decision::Blocked(Blocked { on, root }), None)
            }
            (Standing::WillChange, Some(parent)) => (self.after(parent), None),
            (Standing::Settled(source), _) => self.against(source),
            (Standing::InTheWay(_) | Standing::WillChange, None) => (Decision::Suspended, None),
        }
    }

    /// A build that is not over, whatever git says by now.
    fn running(&mut self, source: &Standing) -> Option<(Decision, Option<Fingerprint>)> {
        let attempt = self.seen.attempts.get(&self.step.id).filter(|attempt| !attempt.is_over())?;
        let desired = match source {
            Standing::Settled(source) => self.desires.fingerprint(self.step, source).ok(),
            _ => None,
        };
        let building = Building {
            build_id: attempt.build_id.clone(),
            fingerprint: attempt.intent.fingerprint,
            since: attempt.started_at,
            superseded: desired != Some(attempt.intent.fingerprint),
        };
        Some((Decision::Building(building), desired))
    }

    fn after(&self, parent: StepId) -> Decision {
        let reasons = match self.record {
            None => vec![Reason::NeverBuilt],
            Some(_) => vec![Reason::SourceImageWillChange { parent: parent.clone() }],
        };
        if self.step.manual {
            return Decision::AwaitingManual(Manual { reasons, source: None });
        }
        Decision::Build(Build { reasons, source: BuildSource::AfterBuild(parent) })
    }

    fn against(&mut self, source: &SourceImage) -> (Decision, Option<Fingerprint>) {
        let fingerprint = match self.desires.fingerprint(self.step, source) {
            Ok(fingerprint) => fingerprint,
            Err(why) => return (Decision::Broken(why), None),
        };
        let decision = match self.record {
            None => self.build(source, fingerprint, vec![Reason::NeverBuilt], 0),
            Some(record) => self.compare(source, fingerprint, record),
        };
        (decision, Some(fingerprint))
    }

    fn compare(
        &mut self,
        source: &SourceImage,
        fingerprint: Fingerprint,
        record: &RecordHead,
    ) -> Decision {
        let image = self.seen.images.map(|images| images.get(&record.ami_id));
        let ami_id = record.ami_id.clone();
        let usable = match image {
            None => Ok(()),
            Some(None) => Err(Reason::ImageGone { ami_id }),
            Some(Some(image)) if image.state.is_gone() => Err(Reason::ImageGone { ami_id }),
            Some(Some(image)) => match &image.state {
                ImageState::Available | ImageState::Pending => Ok(()),
                ImageState::Failed(reason) => {
                    Err(Reason::ImageUnusable { ami_id, state: format!("failed: {reason}") })
                }
                ImageState::Other(state) => {
                    Err(Reason::ImageUnusable { ami_id, state: state.clone() })
                }
            },
        };
        let is_wanted = record.built.as_ref().is_none_or(|built| built.fingerprint == fingerprint);
        // Seeded bug: a-disabled-image-is-built-again
        if is_wanted
            && image.flatten().is_some_and(|image| image.state.is_disabled())
            && !self.forced()
        {
            let (image, ami_name) = (record.ami_id.clone(), record.ami_name.clone());
            return Decision::Stopped(Stopped { image, ami_name, is_current: true });
        }
        let Some(built) = &record.built else {
            return match usable {
                Ok(()) if !self.forced() => Decision::Unverified,
                Ok(()) => self.build(source, fingerprint, vec![Reason::Forced], 0),
                Err(gone) => self.build(source, fingerprint, vec![gone], 0),
            };
        };
        let mut why = Vec::new();
        if built.fingerprint != fingerprint {
            why = self.differences(source);
        }
        // A deregistered image's name is free again; one that cannot be used still holds it.
        let is_name_free = matches!(usable, Err(Reason::ImageGone { .. }));
        why.extend(usable.err());
        if self.forced() {
            why.push(Reason::Forced);
        }
        if why.is_empty() {
            return self.update(record, built, image.flatten());
        }
        let rebuild = if is_name_free || built.fingerprint != fingerprint {
            0
        } else {
            let name = &record.ami_name;
            let made = self.desires.rebuild_of(self.step, &fingerprint, name);
            made.map_or(0, |number| number + 1)
        };
        self.build(source, fingerprint, why, rebuild)
    }

    fn differences(&mut self, source: &SourceImage) -> Vec<Reason> {
        let recorded = self.answers.components.get(&self.step.id);
        if let Some(Some(recorded)) = recorded
            && let Ok(desired) = self.desires.components(self.step, source)
        {
            let found = reasons(recorded, &desired);
            if !found.is_empty() {
                return found;
            }
        }
        vec![Reason::InputsChanged]
    }

    /// Whether the person whose turn it was has asked since: by the command that plans this.
    fn may_be_mended(&self, last: &Attempt, failure: &Failure) -> bool {
        let tried = self.seen.tried;
        failure.class == FailureClass::Person
            // Seeded bug: apply-repeats-its-own-failure
            && tried.is_some_and(|tried| !tried.contains(&last.build_id))
    }

    fn forced(&self) -> bool {
        self.seen.forced.contains(&self.step.id)
    }

    fn update(&self, record: &RecordHead, built: &Built, image: Option<&Image>) -> Decision {
        let tags = ImageTags::of_record(record, built, self.seen.aws_tags);
        let metadata = built.metadata_digest != self.step.metadata_digest;
        if !metadata && is_tagged(&tags, built, image) {
            return Decision::InSync;
        }
        // Seeded bug: two-runs-fight-over-tags
        let update = if are_of_another_run(record, &built.tags) {
            Update { tags: None, metadata, all_tags: (*built.tags).clone() }
        } else {
            let all_tags = tags.tags();
            // Without a look at EC2 the record says what was put on the image.
            let actual = image.map_or(&*built.tags, |image| &image.tags);
            Update { tags: tag_change(&all_tags, actual, &built.tags), metadata, all_tags }
        };
        if update.tags.is_none() && !update.metadata {
            Decision::InSync
        } else {
            Decision::Update(update)
        }
    }

    fn build(
        &mut self,
        source: &SourceImage,
        fingerprint: Fingerprint,
        mut reasons: Vec<Reason>,
        rebuild: u32,
    ) -> Decision {
        if self.step.manual {
            return Decision::AwaitingManual(Manual { reasons, source: Some(source.clone()) });
        }
        if self.step.parent.is_none()
            && let Some(why) = self.seen.base_unusable
        {
            return Decision::Broken(vec![why.clone()]);
        }
        let mut attempt = 0;
        let mut waits = None;
        if let Some(last) = self.seen.attempts.get(&self.step.id)
            && last.intent.fingerprint == fingerprint
            && let Progress::Failed(failure) = &last.progress
        {
            attempt = last.intent.attempt + 1;
            let now = self.seen.now;
            let is_early = failure
                .retry_at
                .is_none_or(|at| at > now && !is_of_a_wrong_clock(last.updated_at, now));
            if let Some(asked) = &last.retry_requested {
                let by = asked.by.clone();
                reasons.insert(0, Reason::RetryRequested { by });
            } else if is_early && !self.forced() && !self.may_be_mended(last, failure) {
                waits = Some(put_off(failure.clone()));
            }
        }
        if waits.is_none()
            && let Some(Some(failure)) = self.answers.repetitions.get(&self.step.id)
            && let Some(until) = failure.retry_at.filter(|at| *at > self.seen.now)
            && !self.forced()
        {
            let failure = failure.clone();
            waits = Some(Decision::BackingOff { until, failure, repeats: true });
        }
        // What failed by itself, or was ended by a person, is not looked for.
        if let Some(quarantined @ Decision::Quarantined(_)) = waits {
            return quarantined;
        }
        let wanted = Wanted { source, fingerprint, reasons, attempt };
        let named = self.named(wanted, rebuild);
        match (named, waits) {
            (Decision::Build(_), Some(waits)) => waits,
            (named, _) => named,
        }
    }

    /// What comes of the wish for an image by who holds its name. One that is built anew on
    /// purpose, because a person asks or the last one cannot be used, goes on to the next name that
    /// is free.
    fn named(&mut self, wanted: Wanted<'_>, rebuild: u32) -> Decision {
        let Wanted { source, fingerprint, reasons, attempt } = wanted;
        let seen = self.seen;
        // What the last try left may hold the name until it is removed.
        let settled = seen.attempts.get(&self.step.id).is_none_or(Attempt::is_settled);
        for number in rebuild..rebuild.saturating_add(MOST_NAMES) {
            let ami_name = match self.desires.ami_name(self.step, &fingerprint, number) {
                Ok(name) => name,
                Err(why) => return Decision::Broken(vec![why]),
            };
            match self.answers.names.holder(&ami_name, &fingerprint) {
                Holder::Unknown if seen.images.is_some() => self.unasked.push(ami_name.clone()),
                Holder::Wanted { image, ready, lost }
                    // Seeded bug: plan-announces-what-is-there
                    if settled && !self.forced() && !(lost && self.is_part(source, &ami_name)) =>
                {
                    return Decision::TakeOver(TakeOver {
                        reasons,
                        source: source.clone(),
                        fingerprint,
                        image,
                        ami_name,
                        ready,
                        attempt,
                    });
                }
                Holder::Wanted { .. } | Holder::Disabled { .. } | Holder::Other { .. }
                    if settled && (self.forced() || number > 0) =>
                {
                    continue;
                }
                Holder::Disabled { image } if settled => {
                    return Decision::Stopped(Stopped { image, ami_name, is_current: false });
                }
                Holder::Other { image, why } if settled => {
                    return Decision::NameTaken(NameTaken {
                        ami_name,
                        image,
                        why,
                    });
                }
                Holder::Unknown
                | Holder::Nobody
                | Holder::Wanted { .. }
                | Holder::Disabled { .. }
                | Holder::Other { .. } => {}
            }
            let source =
                BuildSource::Known { source: source.clone(), fingerprint, ami_name, attempt };
            return Decision::Build(Build { reasons, source });
        }
        Decision::Broken(vec![all_taken(&self.step.id, MOST_NAMES)])
    }

    /// Whether the image of a name, which a build that was given up has made, lacks something.
    fn is_part(&mut self, source: &SourceImage, name: &AmiName) -> bool {
        match self.answers.names.asked.get(name) {
            Some(Some(image)) => self.desires.lacks(self.step, source, image).is_some(),
            _ => false,
        }
    }

    /// What this step's children stand on, after its own decision.
    fn standing(&self, decision: &Decision) -> Standing {
        let recorded = self
            .record
            .map(|record| SourceImage { id: record.ami_id.clone(), name: record.ami_name.clone() });
        let in_the_way = |state, why| Standing::InTheWay(obstacle(&self.step.id, state, why));
        let waits = |state, why| {
            let obstacle = obstacle(&self.step.id, state, why);
            Standing::InTheWay(Obstacle { waits_for_a_person: true, ..obstacle })
        };
        match (decision, recorded) {
            (Decision::InSync | Decision::Update(_) | Decision::Suspended, Some(image)) => {
                Standing::Settled(image)
            }
            (Decision::TakeOver(taken), _) if taken.ready => Standing::Settled(SourceImage {
                id: taken.image.clone(),
                name: taken.ami_name.clone(),
            }),
            (Decision::Build(_) | Decision::Building(_) | Decision::TakeOver(_), _) => {
                Standing::WillChange
            }
            (Decision::NameTaken(_), _) => {
                in_the_way("name-taken", "cannot have the name of its image")
            }
            (Decision::Stopped(_), _) => waits("stopped", "is stopped: its image is disabled"),
            (Decision::Suspended, None) => waits("suspended", "is suspended and has no image"),
            (Decision::Blocked(blocked), _) => Standing::InTheWay(blocked.root.clone()),
            (Decision::AwaitingManual(_), _) => {
                waits("awaiting-manual", "waits for a person to make its image")
            }
            (Decision::BackingOff { .. }, _) => {
                in_the_way("backing-off", "has failed and waits to be tried again")
            }
            (Decision::Quarantined(_), _) => in_the_way("quarantined", "is quarantined"),
            (Decision::Unverified, _) => waits("unverified", "is unverified"),
            (Decision::Broken(_) | Decision::InSync | Decision::Update(_), _) => {
                in_the_way("broken", "is broken")
            }
        }
    }
}

fn obstacle(step: &StepId, state: &'static str, why: &'static str) -> Obstacle {
    Obstacle { step: step.clone(), state, why, waits_for_a_person: false }
}

/// An image that is wanted.
struct Wanted<'a> {
    source: &'a SourceImage,
    fingerprint: Fingerprint,
    reasons: Vec<Reason>,
    attempt: u32,
}

/// Whether a decision says no more than that something differs: in what, the record may tell.
fn wants_components(decision: &Decision) -> bool {
    decision.reasons().contains(&Reason::InputsChanged)
}

/// What a failure comes to whose time has not come.
fn put_off(failure: Failure) -> Decision {
    match (failure.class, failure.retry_at) {
        (FailureClass::Step, _) | (_, None) => Decision::Quarantined(failure),
        (_, Some(until)) => Decision::BackingOff { until, failure, repeats: false },
    }
}

/// Whether the record says that these tags were put on, and the image, where it was looked at,
/// carries them: so it is for all but a few of ten thousand steps, and nothing is copied to tell.
fn is_tagged(tags: &ImageTags<'_>, built: &Built, image: Option<&Image>) -> bool {
    let fingerprint = built.fingerprint.to_string();
    let pairs = tags.pairs(&fingerprint);
    built.tags.are(pairs.iter().copied())
        && image.is_none_or(|image| {
            pairs.iter().all(|(key, value)| image.tags.get(*key).is_some_and(|tag| tag == value))
        })
}

#[cfg(test)]
mod tests;
