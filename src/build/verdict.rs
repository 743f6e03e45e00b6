//! What the end of a build means: Packer's word and EC2's sight together. Pure; the rules are those of packer.md.
//!
//! Exit 0 is no success and another exit is not nothing: a build has succeeded when EC2 shows one image under its unique name and
//! Packer did not say that it failed before the image was whole.

use crate::build::blame::{cause_line, class_of, missing_plugin};
use crate::build::{BuildOutcome, Exit};
use crate::catalog::{Image, ImageState};
use crate::desired::hcl::Afterwards;
use crate::ids::{AmiId, AmiName, Region};
use crate::inventory::journal::FailureClass;

/// What is to be done with a build that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The image is to be verified, tagged and recorded.
    Made(AmiId),
    /// There is nothing to record; what was left is to be cleaned up.
    Failed {
        /// Its consequence.
        class: FailureClass,
        /// One line a person can act on.
        cause: String,
    },
}

/// What the build was to make.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub region: &'a Region,
    /// Under this name.
    pub name: &'a AmiName,
    /// What is done to it once it exists.
    pub afterwards: &'a Afterwards,
}

/// The images that Packer names in a region.
pub fn artifacts_in<'a>(
    outcome: &'a BuildOutcome,
    region: &'a Region,
) -> impl Iterator<Item = &'a AmiId> {
    let there = outcome
        .artifacts
        .iter()
        .filter(move |(place, _)| place == region);
    there.map(|(_, id)| id)
}

/// Says in the cause of a failure which copies stay in other regions, where nothing is cleaned up.
fn with_what_stays(verdict: Verdict, outcome: &BuildOutcome, region: &Region) -> Verdict {
    let elsewhere = outcome
        .artifacts
        .iter()
        .filter(|(place, _)| place != region);
    let copies: Vec<_> = elsewhere
        .map(|(place, id)| format!("{id} in {place}"))
        .collect();
    match verdict {
        Verdict::Failed { class, cause } if !copies.is_empty() => Verdict::Failed {
            class,
            cause: format!(
                "{cause}; {} stays and is to be deregistered by hand",
                copies.join(", ")
            ),
        },
        verdict => verdict,
    }
}

/// Judges a build. `image` is what EC2 shows under the name that only this build gives; where that is nothing and Packer says that it
/// made one, the image of Packer's id, whatever its name: a look by name may be late by minutes.
#[must_use]
pub fn judge(outcome: &BuildOutcome, wanted: Wanted<'_>, image: Option<&Image>) -> Verdict {
    let verdict = of_its_region(outcome, wanted, image);
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
    match (&outcome.exit, image) {
        (Exit::Code(0), Some(image)) if image.name != *wanted.name => step(format!(
            "Packer made {}, but not under the name that it was given; use `builder.output_ami_name` as `ami_name`",
            image.id
        )),
        (Exit::Code(0), None) if !here.is_empty() => Verdict::Failed {
            class: FailureClass::Transient,
            cause: format!(
                "Packer made {}, and EC2 does not know it: it may have been deregistered before it was recorded",
                here[0]
            ),
        },
        (Exit::Code(0), None) if !outcome.artifacts.is_empty() => {
            let places: Vec<_> = outcome
                .artifacts
                .iter()
                .map(|(place, _)| place.as_str())
                .collect();
            step(format!(
                "Packer made an image in {}, but none in {region}, where the step belongs; use `builder.workflow_param.aws_region` as `region`",
                places.join(", ")
            ))
        }
        (Exit::Code(0), None) => Verdict::Failed {
            class: FailureClass::Transient,
            cause: "Packer ended without an error and without an image: it may have been killed"
                .to_owned(),
        },
        (Exit::Code(0), Some(image)) => made(image),
        // An image under the unique name is complete if EC2 says so, whatever became of Packer afterwards; but not after a failed
        // post-processor or provisioner, which says that the image is not what was wanted.
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

/// An image whose Packer did not come to its end.
fn adopted(image: &Image, wanted: Wanted<'_>, class: FailureClass) -> Verdict {
    match lacks(image, wanted.afterwards) {
        None => made(image),
        Some(cause) => Verdict::Failed { class, cause },
    }
}

/// Why an image is not what git says, though EC2 shows it: Packer did not come to its end, and was to do more.
#[must_use]
pub fn lacks(image: &Image, afterwards: &Afterwards) -> Option<String> {
    let lacking = afterwards.lacking(&image.tags);
    (!lacking.is_empty()).then(|| {
        format!(
            "Packer ended before it had done all that the template asks for once the image exists ({}); {} is removed and built again",
            lacking.join(", "),
            image.id
        )
    })
}

/// Whether a build that Packer says has failed has made its image: Packer had asked EC2 for it after all provisioners, nothing was left to
/// do but to wait, and what went wrong passes. Big disks take longer than Packer waits.
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

/// Whether Packer said that the build failed, before it ended or was ended; that it was cancelled is no failure.
fn has_failed(outcome: &BuildOutcome) -> bool {
    !outcome.failures.is_empty() && !only_cancelled(&outcome.failures)
}

fn only_cancelled(errors: &[String]) -> bool {
    !errors.is_empty()
        && errors
            .iter()
            .all(|said| said.to_lowercase().contains("cancel"))
}

fn made(image: &Image) -> Verdict {
    match &image.state {
        ImageState::Available | ImageState::Pending => Verdict::Made(image.id.clone()),
        ImageState::Failed(reason) | ImageState::Other(reason) => Verdict::Failed {
            class: FailureClass::Transient,
            cause: format!("EC2 could not finish {}: {reason}", image.id),
        },
    }
}

fn step(cause: String) -> Verdict {
    Verdict::Failed {
        class: FailureClass::Step,
        cause,
    }
}

fn failed(outcome: &BuildOutcome, exit: &Exit) -> Verdict {
    // What ended the build is without the words of provisioners; where Packer did not come to say it, all that it complained of.
    let said = match outcome.failures.as_slice() {
        [] => outcome.errors.join("\n"),
        failures => failures.join("\n"),
    };
    let (class, cause) = match exit {
        Exit::TimedOut => (
            FailureClass::Step,
            "took longer than its timeout and was ended".to_owned(),
        ),
        Exit::Cancelled => (FailureClass::Cancelled, "cancelled".to_owned()),
        // Only its exit status is lost: it had said how it went.
        Exit::Unknown if has_failed(outcome) => (
            class_of(&said, outcome.stage),
            missing_plugin(&said)
                .or_else(|| cause_line(&outcome.failures))
                .unwrap_or_else(|| said.clone()),
        ),
        Exit::Unknown => (
            FailureClass::Transient,
            "Packer and its supervisor were killed".to_owned(),
        ),
        Exit::TooLate => (
            FailureClass::Transient,
            "Packer was not started: the lease of the reconciler that had decided the build ended first".to_owned(),
        ),
        Exit::Signal(signal) => (
            FailureClass::Transient,
            format!("Packer was killed by signal {signal}"),
        ),
        Exit::Code(_) if only_cancelled(&outcome.errors) => (
            FailureClass::Transient,
            "Packer was ended from outside (SIGTERM), neither by its time limit nor on request"
                .to_owned(),
        ),
        Exit::Code(code) => {
            let cause = missing_plugin(&said)
                .or_else(|| cause_line(&outcome.errors))
                .unwrap_or_else(|| format!("Packer exited with status {code} and said nothing"));
            (class_of(&said, outcome.stage), cause)
        }
    };
    Verdict::Failed { class, cause }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::build::PackerStage;
    use crate::catalog::Leftovers;
    use crate::ids::AmiName;

    fn outcome(exit: Exit, artifacts: &[&str], errors: &[&str]) -> BuildOutcome {
        BuildOutcome {
            stage: PackerStage::Build,
            exit,
            artifacts: artifacts
                .iter()
                .map(|id| (Region::new("r"), AmiId::new(*id)))
                .collect(),
            failures: vec![],
            errors: errors.iter().map(|&e| e.to_owned()).collect(),
            traces: Leftovers::default(),
            duration: Duration::ZERO,
            log: "packer.log".into(),
        }
    }

    fn judged(outcome: &BuildOutcome, image: Option<&Image>) -> Verdict {
        let wanted = Wanted {
            region: &Region::new("r"),
            name: &AmiName::new("n"),
            afterwards: &Afterwards::default(),
        };
        judge(outcome, wanted, image)
    }

    fn asking(outcome: &BuildOutcome, image: &Image) -> Verdict {
        let wanted = Wanted {
            region: &Region::new("r"),
            name: &AmiName::new("n"),
            afterwards: &Afterwards {
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
            (
                outcome(Exit::Unknown, &[], &[]),
                Some(FailureClass::Transient),
            ),
            (
                outcome(Exit::Signal(9), &[], &[]),
                Some(FailureClass::Transient),
            ),
            (
                outcome(Exit::Cancelled, &[], &[]),
                Some(FailureClass::Cancelled),
            ),
            (
                outcome(Exit::Code(1), &[], &[words]),
                Some(FailureClass::Transient),
            ),
        ];
        for (ended, expected) in table {
            assert_eq!(
                judged(&ended, Some(&image)),
                Verdict::Made(image.id.clone())
            );
            let class = match asking(&ended, &image) {
                Verdict::Made(_) => None,
                Verdict::Failed { class, cause } => {
                    assert!(cause.contains("ami_users, tags"), "{cause}");
                    Some(class)
                }
            };
            assert_eq!(class, expected, "{:?}", ended.exit);
        }
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
            assert!(!is_made(&ended(
                "Script exited with non-zero exit status: 7",
                true
            )));
            assert!(!is_made(&ended(
                "Post-processor failed: unexpected EOF",
                true
            )));
            let asking = asking(&ended(LATE, true), &image);
            assert!(matches!(asking, Verdict::Failed { .. }), "{asking:?}");
        }
        let failed = image(ImageState::Failed("disk".into()));
        let verdict = judged(&ended(LATE, true), Some(&failed));
        assert!(matches!(verdict, Verdict::Failed { .. }));
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
            Verdict::Failed { class, .. } => class,
            made @ Verdict::Made(_) => panic!("{made:?}"),
        }
    }

    #[test]
    fn exit_zero_is_no_success_without_an_image() {
        assert_eq!(
            class(&outcome(Exit::Code(0), &[], &[]), None),
            FailureClass::Transient
        );
    }

    #[test]
    fn an_image_that_packer_made_is_good_under_its_name_the_steps_fault_under_another_and_lost_if_gone()
     {
        let ended = outcome(Exit::Code(0), &["ami-1"], &[]);
        let mut image = image(ImageState::Available);
        assert_eq!(
            judged(&ended, Some(&image)),
            Verdict::Made(AmiId::new("ami-1"))
        );
        image.name = AmiName::new("another");
        assert_eq!(class(&ended, Some(&image)), FailureClass::Step);
        assert_eq!(class(&ended, None), FailureClass::Transient);
    }

    #[test]
    fn a_whole_image_is_adopted_though_packer_was_killed() {
        let image = image(ImageState::Available);
        for exit in [
            Exit::Code(0),
            Exit::Signal(9),
            Exit::Unknown,
            Exit::Cancelled,
        ] {
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
            (
                vec!["Script exited with non-zero exit status: 7"],
                Some(FailureClass::Step),
            ),
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
                    Verdict::Failed { class, .. } => Some(class),
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
        let mut failed = outcome(
            Exit::Code(1),
            &["ami-1", "ami-2"],
            &["Post-processor failed: x"],
        );
        failed.artifacts[1].0 = Region::new("elsewhere");
        let Verdict::Failed { cause, .. } = judged(&failed, None) else {
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
}
