//! What the end of a build means: Packer's word and EC2's sight together. Pure; the rules are those
//! of docs/packer.md.
//!
//! Exit 0 is no success and another exit is not nothing: a build has succeeded when EC2 shows one
//! image under its unique name and Packer did not say that it failed before the image was whole.

use crate::build::cause::{FailureText, failure_text, is_targeted, packer_messages};
use crate::build::failure_patterns::{NAME_TAKEN, Turn, class_of, turn};
use reconciler_model::afterwards::PostImageSteps;
use reconciler_model::build::{BuildOutcome, Exit};
use reconciler_model::ids::{AmiId, AmiName, Region};
use reconciler_model::images::{Image, ImageState};
use reconciler_model::inventory::journal::{FailureClass, Progress};

/// What is to be done with a build that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The image is to be verified, tagged and recorded.
    Made(AmiId),
    /// There is nothing to record; what was left is to be cleaned up.
    Failed(Fault),
}

/// Why a build has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its consequence.
    pub class: FailureClass,
    /// Its consequence once it has stayed for a few tries; none: the same.
    pub at_last: Option<FailureClass>,
    /// One line a person can act on.
    pub cause: String,
    /// More of it, for whoever looks closer; empty if the line says all.
    pub details: String,
}

impl Fault {
    /// One that is told in a line.
    #[must_use]
    pub fn new(class: FailureClass, cause: String) -> Self {
        Self { class, at_last: None, cause, details: String::new() }
    }

    fn with_text(turn: Turn, text: FailureText) -> Self {
        let (class, at_last) = turn.classes();
        Self { class, at_last, cause: text.line, details: text.details }
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// What the build was to make.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub region: &'a Region,
    /// Under this name.
    pub name: &'a AmiName,
    /// From this image.
    pub source: &'a AmiId,
    /// What is done to it once it exists.
    pub afterwards: &'a PostImageSteps,
}

/// The images that Packer names in a region.
pub fn artifacts_in<'a>(
    outcome: &'a BuildOutcome,
    region: &'a Region,
) -> impl Iterator<Item = &'a AmiId> {
    let there = outcome.artifacts.iter().filter(move |(place, _)| place == region);
    there.map(|(_, id)| id)
}

/// Says in the cause of a failure what stays: all in other regions, where nothing is cleaned up,
/// and volumes, which nobody may remove here.
fn with_what_stays(verdict: Verdict, outcome: &BuildOutcome, region: &Region) -> Verdict {
    let images = outcome.artifacts.iter().map(|(place, id)| (place, id.as_str()));
    let others = outcome.others.iter().map(|(place, id)| (place, id.as_str()));
    let elsewhere: Vec<_> = images
        .chain(others)
        .filter(|(place, id)| *place != region || id.starts_with("vol-"))
        .map(|(place, id)| format!("{id} in {place}"))
        .collect();
    match verdict {
        Verdict::Failed(mut fault) if !elsewhere.is_empty() => {
            fault.cause = format!(
                "{}; {} stays and is to be removed by hand",
                fault.cause,
                elsewhere.join(", ")
            );
            Verdict::Failed(fault)
        }
        verdict => verdict,
    }
}

/// Whether a build started from the image that was planned, as far as its log says.
#[must_use]
pub fn is_planned_source(sources: &[AmiId], planned: &AmiId) -> bool {
    // Seeded bug: another-source-is-recorded
    sources.is_empty() || sources.contains(planned)
}

/// A build that started from another image than was planned has not made what its record would say,
/// and would not if it were repeated.
#[must_use]
pub fn with_its_source(verdict: Verdict, sources: &[AmiId], planned: &AmiId) -> Verdict {
    let is_planned = is_planned_source(sources, planned);
    match verdict {
        Verdict::Made(_)
        | Verdict::Failed(Fault {
            class: FailureClass::Transient | FailureClass::Person, ..
        }) if !is_planned => {
            let used: Vec<_> = sources.iter().map(ToString::to_string).collect();
            step(format!(
                "Packer started from {}, where git says {}: the template names a source of its own; use `builder.source_ami_id` as `source_ami`",
                used.join(", "),
                planned
            ))
        }
        verdict => verdict,
    }
}

/// Judges a build. `image` is what EC2 shows under the name that only this build gives; where that
/// is nothing and Packer says that it made one, the image of Packer's id, whatever its name: a look
/// by name may be late by minutes.
#[must_use]
// Seeded bug: no-look-after-a-failure
pub fn judge(outcome: &BuildOutcome, wanted: Wanted<'_>, image: Option<&Image>) -> Verdict {
    let verdict = of_its_region(outcome, wanted, image);
    let verdict = with_its_source(verdict, &outcome.sources, wanted.source);
    with_what_stays(verdict, outcome, wanted.region)
}

fn of_its_region(outcome: &BuildOutcome, wanted: Wanted<'_>, image: Option<&Image>) -> Verdict {
    let region = wanted.region;
    let here: Vec<_> = artifacts_in(outcome, region).collect();
    if here.len() > 1 {
        let ids: Vec<_> = here.iter().map(ToString::to_string).collect();
        return step(format!(
            "the template made {} images in {region} where a step makes exactly one: {}",
            ids.len(),
            ids.join(", ")
        ));
    }
    // Seeded bug: exit-code-is-trusted
    match (&known_exit(outcome), image) {
        (Exit::Code(0), Some(image)) if image.name != *wanted.name => step(format!(
            "Packer made {}, but not under the name that it was given; use `builder.output_ami_name` as `ami_name`",
            image.id
        )),
        (Exit::Code(0), None) if !here.is_empty() => Verdict::Failed(Fault {
            at_last: Some(FailureClass::Step),
            ..Fault::new(
                FailureClass::Transient,
                format!(
                    "Packer made {}, and EC2 does not know it: something in the template, or somebody, deregistered it before it was recorded",
                    here[0]
                ),
            )
        }),
        // Seeded bug: another-region-is-transient
        (Exit::Code(0), None) if !outcome.artifacts.is_empty() => {
            let places: Vec<_> =
                outcome.artifacts.iter().map(|(place, _)| place.as_str()).collect();
            step(format!(
                "Packer made an image in {}, but none in {region}, where the step belongs; use `builder.workflow_param.aws_region` as `region`",
                places.join(", ")
            ))
        }
        // Seeded bug: a-killed-packer-quarantines
        // Seeded bug: a-made-nothing-is-repeated
        (Exit::Code(0), None) if outcome.finished => step(made_no_image(outcome)),
        (Exit::Code(0), None) => Fault::new(
            FailureClass::Transient,
            "Packer ended without its last word: it was killed".to_owned(),
        )
        .into(),
        (Exit::Code(0), Some(image)) => made(image),
        // An image under the unique name is complete if EC2 says so, whatever became of Packer
        // afterwards; but not after a failed post-processor or provisioner, which says that the
        // image is not what was wanted.
        // Seeded bug: image-of-a-failed-build-is-taken
        (Exit::Signal(_) | Exit::Unknown, Some(image)) if !has_failed(outcome) => {
            adopted(image, wanted, FailureClass::Transient)
        }
        (Exit::Cancelled, Some(image))
            if image.state == ImageState::Available && !has_failed(outcome) =>
        {
            adopted(image, wanted, FailureClass::Cancelled)
        }
        // Somebody else ended Packer while it cleaned up: the image was whole before that.
        (Exit::Code(_), Some(image))
            if image.state == ImageState::Available && only_cancelled(&outcome.errors) =>
        {
            adopted(image, wanted, FailureClass::Transient)
        }
        (Exit::Code(_), Some(image)) if is_whole_all_the_same(outcome, wanted, image) => {
            made(image)
        }
        (exit, _) => failed(outcome, exit),
    }
}

/// How Packer ended: where its exit status is lost, by its last word, if that tells of no failure.
fn known_exit(outcome: &BuildOutcome) -> Exit {
    match &outcome.exit {
        Exit::Unknown | Exit::Signal(_)
            if outcome.finished
                && outcome.failures.is_empty()
                && outcome.errors.iter().all(|said| is_targeted(said)) =>
        {
            Exit::Code(0)
        }
        exit => exit.clone(),
    }
}

/// Whether EC2 has refused a build its image, for another has the name: one of that name is not
/// this build's, however young it is. A start may not have seen it, for EC2 shows images late. Its
/// end may be known by the journal alone.
#[must_use]
pub fn has_lost_its_name(outcome: Option<&BuildOutcome>, progress: &Progress) -> bool {
    let said = outcome.iter().flat_map(|outcome| outcome.failures.iter().chain(&outcome.errors));
    let written = match progress {
        Progress::Failed(failure) => Some(&failure.cause),
        _ => None,
    };
    // Seeded bug: what-has-the-name-is-removed
    said.chain(written).any(|line| line.contains(NAME_TAKEN))
}

/// Why a build that came to its end has made no image of ours, and would not if it were repeated.
fn made_no_image(outcome: &BuildOutcome) -> String {
    let listed = |ids: Vec<&str>| ids.join(", ");
    let others: Vec<_> = outcome.others.iter().map(|(_, id)| id.as_str()).collect();
    let gone: Vec<_> = outcome.traces.told_images.iter().map(AmiId::as_str).collect();
    if !others.is_empty() {
        return format!(
            "the template makes no image: Packer made {} and came to its end; use a builder that makes an AMI, such as `amazon-ebs`",
            listed(others)
        );
    }
    if !gone.is_empty() {
        return format!(
            "Packer made {}, and came to its end without it: a post-processor took it away; let it keep its input (`keep_input_artifact = true`), or leave it out",
            listed(gone)
        );
    }
    "the template makes no image: Packer came to its end without one; use a builder that makes an AMI, such as `amazon-ebs`, without `skip_create_ami`".to_owned()
}

/// An image whose Packer did not come to its end.
fn adopted(image: &Image, wanted: Wanted<'_>, class: FailureClass) -> Verdict {
    match lacks(image, wanted.afterwards) {
        None => made(image),
        Some(cause) => Fault::new(class, cause).into(),
    }
}

/// Why an image is not what git says, though EC2 shows it: Packer did not come to its end, and was
/// to do more.
#[must_use]
pub fn lacks(image: &Image, afterwards: &PostImageSteps) -> Option<String> {
    let lacking = afterwards.lacking(&image.tags);
    (!lacking.is_empty()).then(|| {
        format!(
            "Packer ended before it had done all that the template asks for once the image exists ({}); {} is removed and built again",
            lacking.join(", "),
            image.id
        )
    })
}

/// Whether a build that Packer says has failed has made its image: Packer had asked EC2 for it
/// after all provisioners, nothing was left to do but to wait, and what went wrong passes. Big
/// disks take longer than Packer waits.
fn is_whole_all_the_same(outcome: &BuildOutcome, wanted: Wanted<'_>, image: &Image) -> bool {
    let said = outcome.failures.join("\n");
    let asked_for = outcome.traces.told_images.contains(&image.id);
    let others = ["rovisioner", "ost-processor"];
    outcome.artifacts.is_empty()
        && matches!(image.state, ImageState::Available | ImageState::Pending)
        && image.name == *wanted.name
        && asked_for
        && wanted.afterwards.lacking(&image.tags).is_empty()
        && class_of(&said, outcome.stage) == FailureClass::Transient
        && !others.iter().any(|words| said.contains(words))
}

/// Whether Packer said that the build failed, before it ended or was ended; that it was cancelled
/// is no failure.
fn has_failed(outcome: &BuildOutcome) -> bool {
    // Seeded bug: a-killed-supervisor-hides-a-failure
    !outcome.failures.is_empty() && !only_cancelled(&outcome.failures)
}

fn only_cancelled(errors: &[String]) -> bool {
    !errors.is_empty() && errors.iter().all(|said| said.to_lowercase().contains("cancel"))
}

fn made(image: &Image) -> Verdict {
    match &image.state {
        ImageState::Available | ImageState::Pending => Verdict::Made(image.id.clone()),
        ImageState::Failed(reason) | ImageState::Other(reason) => Fault::new(
            FailureClass::Transient,
            format!("EC2 could not finish {}: {reason}", image.id),
        )
        .into(),
    }
}

fn step(cause: String) -> Verdict {
    Fault::new(FailureClass::Step, cause).into()
}

/// The exit status of a Go program that panics; Packer has no other use for it.
const CRASHED: i32 = 2;

fn failed(outcome: &BuildOutcome, exit: &Exit) -> Verdict {
    let passes = |cause: &str| Fault::new(FailureClass::Transient, cause.to_owned());
    let fault = match exit {
        Exit::Cancelled => Fault::new(FailureClass::Cancelled, "cancelled".to_owned()),
        Exit::TooLate => passes(
            "Packer was not started: the lease of the reconciler that had decided the build ended first",
        ),
        // Its limit says nothing of the step where Packer could not come to its end.
        Exit::TimedOut if outcome.lost.is_none() => {
            Fault::new(FailureClass::Step, "took longer than its timeout and was ended".to_owned())
        }
        Exit::TimedOut => passes("it was ended"),
        // Only its exit status is lost: it had said how it went.
        Exit::Unknown if has_failed(outcome) => by_its_words(outcome, "Packer failed"),
        Exit::Unknown => passes("Packer and its supervisor were killed"),
        Exit::Signal(signal) => passes(&format!("Packer was killed by signal {signal}")),
        Exit::Code(_) if only_cancelled(&outcome.errors) => passes(
            "Packer was ended from outside (SIGTERM), neither by its time limit nor on request",
        ),
        // As a Go program ends that panics; where one of its plugins was killed at a bad moment,
        // Packer does (docs/packer.md).
        // Seeded bug: a-crash-of-packer-quarantines
        Exit::Code(CRASHED) if failure_text(outcome).is_none() => {
            Fault { at_last: Some(FailureClass::Step), ..passes("Packer crashed (exit status 2)") }
        }
        Exit::Code(code) => {
            by_its_words(outcome, &format!("Packer exited with status {code} and said nothing"))
        }
    };
    with_what_was_lost(fault, outcome).into()
}

/// What Packer said of its failure, and whose turn that makes it.
fn by_its_words(outcome: &BuildOutcome, otherwise: &str) -> Fault {
    let told = failure_text(outcome)
        .unwrap_or_else(|| FailureText { line: otherwise.to_owned(), details: String::new() });
    Fault::with_text(turn(&packer_messages(outcome), outcome.stage), told)
}

/// What a build lost on its host is never the step's doing, and explains what Packer said after
/// that; but a script that had failed had failed.
fn with_what_was_lost(fault: Fault, outcome: &BuildOutcome) -> Fault {
    let Some(lost) = &outcome.lost else {
        return fault;
    };
    let said = packer_messages(outcome);
    let of_a_script = fault.class == FailureClass::Step && said.contains("exit status");
    if of_a_script || fault.class == FailureClass::Cancelled {
        return fault;
    }
    Fault {
        class: FailureClass::Transient,
        at_last: Some(FailureClass::Person),
        cause: format!("{lost}: {}", fault.cause),
        details: fault.details,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use reconciler_model::build::PackerStage;
    use reconciler_model::build_resources::ClaimedResources;
    use reconciler_model::ids::AmiName;
    use reconciler_model::inventory::journal::Failure;

    fn outcome(exit: Exit, artifacts: &[&str], errors: &[&str]) -> BuildOutcome {
        BuildOutcome {
            stage: PackerStage::Build,
            exit,
            artifacts: artifacts.iter().map(|id| (Region::new("r"), AmiId::new(*id))).collect(),
            failures: vec![],
            errors: errors.iter().map(|&e| e.to_owned()).collect(),
            traces: ClaimedResources::default(),
            sources: vec![],
            others: vec![],
            finished: false,
            last_words: vec![],
            lost: None,
            phases: vec![],
            duration: Duration::ZERO,
            log: "packer.log".into(),
        }
    }

    fn judged(outcome: &BuildOutcome, image: Option<&Image>) -> Verdict {
        let wanted = Wanted {
            region: &Region::new("r"),
            name: &AmiName::new("n"),
            source: &AmiId::new("ami-0"),
            afterwards: &PostImageSteps::default(),
        };
        judge(outcome, wanted, image)
    }

    fn asking(outcome: &BuildOutcome, image: &Image) -> Verdict {
        let wanted = Wanted {
            region: &Region::new("r"),
            name: &AmiName::new("n"),
            source: &AmiId::new("ami-0"),
            afterwards: &PostImageSteps {
                steps: ["ami_users".to_owned()].into(),
                tags: [("team".to_owned(), "ops".to_owned())].into(),
            },
        };
        judge(outcome, wanted, Some(image))
    }

    #[test]
    fn an_image_that_lacks_what_the_template_asks_for_afterwards_is_not_adopted() {
        let image = image(ImageState::Available);
        let words = "Cancelling build after receiving terminated";
        let table = [
            (outcome(Exit::Code(0), &["ami-1"], &[]), None),
            (outcome(Exit::Unknown, &[], &[]), Some(FailureClass::Transient)),
            (outcome(Exit::Signal(9), &[], &[]), Some(FailureClass::Transient)),
            (outcome(Exit::Cancelled, &[], &[]), Some(FailureClass::Cancelled)),
            (outcome(Exit::Code(1), &[], &[words]), Some(FailureClass::Transient)),
        ];
        for (ended, expected) in table {
            assert_eq!(judged(&ended, Some(&image)), Verdict::Made(image.id.clone()));
            let class = match asking(&ended, &image) {
                Verdict::Made(_) => None,
                Verdict::Failed(fault) => {
                    assert!(fault.cause.contains("ami_users, tags"), "{fault:?}");
                    Some(fault.class)
                }
            };
            assert_eq!(class, expected, "{:?}", ended.exit);
        }
    }

    #[test]
    fn a_build_has_lost_its_name_where_ec2_says_so_and_nowhere_else() {
        let said = "Error registering AMI: InvalidAMIName.Duplicate: AMI name n is already in use";
        let lost = |outcome: &BuildOutcome| has_lost_its_name(Some(outcome), &Progress::Intended);
        assert!(lost(&outcome(Exit::Code(1), &[], &[said])));
        let mut failed = outcome(Exit::Unknown, &[], &[]);
        failed.failures = vec![said.to_owned()];
        assert!(lost(&failed));
        let other = "InvalidKeyPair.Duplicate: the key pair already exists";
        assert!(!lost(&outcome(Exit::Code(1), &[], &[other])));
        let written = |cause: &str| {
            Progress::Failed(Failure {
                class: FailureClass::Person,
                cause: cause.to_owned(),
                details: String::new(),
                log: None,
                phases: vec![],
                changed: String::new(),
                retry_at: None,
            })
        };
        assert!(has_lost_its_name(None, &written(said)));
        assert!(!has_lost_its_name(None, &written(other)));
    }

    #[test]
    fn an_image_that_packer_did_not_wait_for_long_enough_is_taken_if_nothing_else_was_left_to_do() {
        const LATE: &str = "Error waiting for AMI: ResourceNotReady: exceeded wait attempts";
        let ended = |said: &str, told: bool| {
            let mut ended = outcome(Exit::Code(1), &[], &[said]);
            ended.failures = vec![said.to_owned()];
            let id = AmiId::new("ami-1");
            ended.traces.told_images = told.then_some(id).into_iter().collect();
            ended
        };
        for state in [ImageState::Available, ImageState::Pending] {
            let image = image(state);
            let is_made = |ended: &BuildOutcome| {
                judged(ended, Some(&image)) == Verdict::Made(image.id.clone())
            };
            assert!(is_made(&ended(LATE, true)));
            assert!(!is_made(&ended(LATE, false)), "whose is it?");
            assert!(!is_made(&ended("Script exited with non-zero exit status: 7", true)));
            assert!(!is_made(&ended("Post-processor failed: unexpected EOF", true)));
            let asking = asking(&ended(LATE, true), &image);
            assert!(matches!(asking, Verdict::Failed(_)), "{asking:?}");
        }
        let failed = image(ImageState::Failed("disk".into()));
        let verdict = judged(&ended(LATE, true), Some(&failed));
        assert!(matches!(verdict, Verdict::Failed(_)));
    }

    fn image(state: ImageState) -> Image {
        Image {
            id: AmiId::new("ami-1"),
            name: AmiName::new("n"),
            state,
            owner_id: "1".into(),
            created_at: Timestamp::UNIX_EPOCH,
            tags: BTreeMap::new(),
            snapshots: vec![],
            details: String::new(),
        }
    }

    fn class(outcome: &BuildOutcome, image: Option<&Image>) -> FailureClass {
        match judged(outcome, image) {
            Verdict::Failed(fault) => fault.class,
            made @ Verdict::Made(_) => panic!("{made:?}"),
        }
    }

    #[test]
    fn exit_zero_is_no_success_without_an_image() {
        assert_eq!(class(&outcome(Exit::Code(0), &[], &[]), None), FailureClass::Transient);
    }

    #[test]
    fn an_image_of_packers_is_good_under_its_name_a_fault_under_another_and_lost_if_gone() {
        let ended = outcome(Exit::Code(0), &["ami-1"], &[]);
        let mut image = image(ImageState::Available);
        assert_eq!(judged(&ended, Some(&image)), Verdict::Made(AmiId::new("ami-1")));
        image.name = AmiName::new("another");
        assert_eq!(class(&ended, Some(&image)), FailureClass::Step);
        assert_eq!(class(&ended, None), FailureClass::Transient);
    }

    #[test]
    fn a_whole_image_is_adopted_though_packer_was_killed() {
        let image = image(ImageState::Available);
        for exit in [Exit::Code(0), Exit::Signal(9), Exit::Unknown, Exit::Cancelled] {
            assert_eq!(
                judged(&outcome(exit, &[], &[]), Some(&image)),
                Verdict::Made(AmiId::new("ami-1"))
            );
        }
    }

    #[test]
    fn an_image_after_a_failed_post_processor_is_not_what_was_wanted() {
        let image = image(ImageState::Available);
        let failed = outcome(Exit::Code(1), &["ami-1"], &["Post-processor failed: x"]);
        assert_eq!(class(&failed, Some(&image)), FailureClass::Step);
    }

    #[test]
    fn what_packer_said_of_a_failure_counts_though_its_exit_status_is_lost() {
        let image = image(ImageState::Available);
        let table = [
            (vec![], None),
            (vec!["Cancelling build after receiving terminated"], None),
            (
                vec!["1 error(s) occurred: * Post-processor failed: exit status 3"],
                Some(FailureClass::Step),
            ),
            (vec!["Script exited with non-zero exit status: 7"], Some(FailureClass::Step)),
        ];
        for exit in [Exit::Unknown, Exit::Signal(9), Exit::Cancelled] {
            for (said, expected) in &table {
                let mut ended = outcome(exit.clone(), &[], &[]);
                ended.failures = said.iter().map(|&one| one.to_owned()).collect();
                let judged = judged(&ended, Some(&image));
                let expected = expected.map(|class| match exit {
                    Exit::Unknown => class,
                    Exit::Cancelled => FailureClass::Cancelled,
                    _ => FailureClass::Transient,
                });
                let class = match judged {
                    Verdict::Made(_) => None,
                    Verdict::Failed(fault) => Some(fault.class),
                };
                assert_eq!(class, expected, "{exit:?} {said:?}");
            }
        }
    }

    #[test]
    fn a_step_makes_exactly_one_image() {
        assert_eq!(
            class(&outcome(Exit::Code(0), &["ami-1", "ami-2"], &[]), None),
            FailureClass::Step
        );
    }

    #[test]
    fn a_crash_of_packer_is_tried_again_a_few_times() {
        let judge = |ended: &BuildOutcome| match judged(ended, None) {
            Verdict::Failed(fault) => (fault.class, fault.at_last),
            Verdict::Made(_) => panic!("there is no image"),
        };
        let crash = outcome(Exit::Code(2), &[], &[]);
        assert_eq!(judge(&crash), (FailureClass::Transient, Some(FailureClass::Step)));
        // What it said before is the cause, and another status is no crash.
        let with_words = outcome(Exit::Code(2), &[], &["Unsupported argument"]);
        assert_eq!(judge(&with_words).0, FailureClass::Step);
        assert_eq!(judge(&outcome(Exit::Code(1), &[], &[])).0, FailureClass::Step);
    }

    #[test]
    fn a_packer_that_somebody_else_ended_is_not_the_steps_fault() {
        let said = ["Cancelling build after receiving terminated"];
        let ended = outcome(Exit::Code(1), &[], &said);
        assert_eq!(class(&ended, None), FailureClass::Transient);
        let both = [said[0], "Script exited with non-zero exit status: 7"];
        let failed = outcome(Exit::Code(1), &[], &both);
        assert_eq!(class(&failed, None), FailureClass::Step);
    }

    #[test]
    fn a_failure_says_which_copies_stay_in_other_regions() {
        let mut failed = outcome(Exit::Code(1), &["ami-1", "ami-2"], &["Post-processor failed: x"]);
        failed.artifacts[1].0 = Region::new("elsewhere");
        let Verdict::Failed(Fault { cause, .. }) = judged(&failed, None) else {
            panic!("it has failed");
        };
        assert!(cause.contains("ami-2 in elsewhere stays"), "{cause}");
        assert!(!cause.contains("ami-1 in"), "{cause}");
    }

    #[test]
    fn an_image_in_another_region_only_would_be_made_there_again() {
        let mut elsewhere = outcome(Exit::Code(0), &["ami-1"], &[]);
        elsewhere.artifacts[0].0 = Region::new("elsewhere");
        assert_eq!(class(&elsewhere, None), FailureClass::Step);
    }

    fn fault(outcome: &BuildOutcome, image: Option<&Image>) -> Fault {
        match judged(outcome, image) {
            Verdict::Failed(fault) => fault,
            made @ Verdict::Made(_) => panic!("{made:?}"),
        }
    }

    #[test]
    fn an_orderly_end_without_an_image_is_the_steps_own_and_a_killed_one_is_not() {
        for exit in [Exit::Code(0), Exit::Unknown, Exit::Signal(9)] {
            let mut ended = outcome(exit, &[], &[]);
            assert_eq!(class(&ended, None), FailureClass::Transient);
            ended.finished = true;
            assert_eq!(class(&ended, None), FailureClass::Step);
        }
    }

    #[test]
    fn what_came_of_a_build_without_an_image_is_said_with_what_to_do() {
        let mut ended = outcome(Exit::Code(0), &[], &[]);
        ended.finished = true;
        let said = |ended: &BuildOutcome| fault(ended, None).cause;
        assert!(said(&ended).contains("skip_create_ami"));
        ended.traces.told_images = vec![AmiId::new("ami-7")];
        assert!(
            said(&ended).contains("made ami-7") && said(&ended).contains("keep_input_artifact")
        );
        ended.others = vec![
            (Region::new("r"), "vol-1".to_owned()),
            (Region::new("elsewhere"), "vol-2".to_owned()),
        ];
        assert!(said(&ended).contains("made vol-1, vol-2") && said(&ended).contains("amazon-ebs"));
        let stays = "; vol-1 in r, vol-2 in elsewhere stays and is to be removed by hand";
        assert!(said(&ended).ends_with(stays), "{}", said(&ended));
    }

    #[test]
    fn an_image_that_is_told_and_gone_each_time_is_the_steps_own_in_the_end() {
        let fault = fault(&outcome(Exit::Code(0), &["ami-1"], &[]), None);
        assert_eq!(fault.class, FailureClass::Transient);
        assert_eq!(fault.at_last, Some(FailureClass::Step));
    }

    #[test]
    fn a_build_on_another_source_than_planned_is_recorded_by_nobody() {
        let image = image(ImageState::Available);
        let mut ended = outcome(Exit::Code(0), &["ami-1"], &[]);
        ended.sources = vec![AmiId::new("ami-0")];
        assert_eq!(judged(&ended, Some(&image)), Verdict::Made(image.id.clone()));
        ended.sources = vec![AmiId::new("ami-9")];
        let fault_of_made = fault(&ended, Some(&image));
        assert_eq!(fault_of_made.class, FailureClass::Step);
        assert!(
            fault_of_made.cause.contains("started from ami-9, where git says ami-0")
                && fault_of_made.cause.contains("builder.source_ami_id"),
            "{fault_of_made:?}"
        );
        // It would start from there again, whatever became of it this time.
        ended.exit = Exit::Signal(9);
        assert_eq!(fault(&ended, None).class, FailureClass::Step);
        ended.exit = Exit::Cancelled;
        assert_eq!(fault(&ended, None).class, FailureClass::Cancelled);
    }

    #[test]
    fn what_was_lost_on_the_host_is_never_the_steps_fault_but_a_script_that_failed_is() {
        let lost = Some("a process of Packer's was killed (packer-plugin-amazon)".to_owned());
        let table = [
            (Exit::Code(1), "something that nobody has ever read", FailureClass::Transient),
            (Exit::Code(1), "msgpack encode error: broken pipe", FailureClass::Transient),
            (Exit::Code(1), "Script exited with non-zero exit status: 7", FailureClass::Step),
            (Exit::TimedOut, "", FailureClass::Transient),
            (Exit::Cancelled, "", FailureClass::Cancelled),
        ];
        for (exit, said, class) in table {
            let mut ended = outcome(exit, &[], &[]);
            ended.failures = vec![said.to_owned()];
            ended.lost.clone_from(&lost);
            assert_eq!(fault(&ended, None).class, class, "{said}");
        }
    }
}
