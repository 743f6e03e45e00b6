//! What becomes of an image that EC2 makes out of a person's instance. Pure: the clock is an
//! argument.
//!
//! Whoever takes up such a build looks for the image by its name and its tags, and never asks for
//! it: that is the part of the person's process. An image of an instance that may have run while
//! it was made is not recorded, for its file systems may be in any state.

use jiff::Timestamp;

use crate::build::verdict::Fault;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::AmiId;
use reconciler_model::images::{
    BUILD_ID_TAG, FINGERPRINT_TAG, Image, ImageState, PreparedInstance,
};
use reconciler_model::inventory::journal::{Attempt, FailureClass};

/// What is to be done about it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceBuild {
    /// EC2 has not been asked yet, or does not show the image yet.
    Wait,
    /// The image is to be recorded, once it is available.
    Made(AmiId),
    /// It has come to nothing.
    Failed(Fault),
}

/// Whether an image may be made of this instance.
pub fn may_be_imaged(id: &str, instance: Option<&PreparedInstance>) -> Result<(), Diagnostic> {
    let Some(instance) = instance else {
        return Err(Diagnostic::new(format!(
            "there is no instance {id} in this account and region"
        ))
        .hint("look at the id, the region and the profile of the workflow: `aws ec2 describe-instances`"));
    };
    // Seeded bug: a-running-instance-is-imaged
    if instance.is_stopped() && instance.transition.contains(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    if instance.is_stopped() {
        return Err(Diagnostic::new(format!(
            "EC2 does not say when instance {id} was stopped, so nobody could tell whether it stayed so"
        ))
        .hint(format!("start it and stop it by EC2: aws ec2 stop-instances --instance-ids {id}")));
    }
    Err(Diagnostic::new(format!(
        "instance {id} is {}, and only the image of a stopped one is whole",
        instance.state
    ))
    .hint(format!("stop it, wait until it is stopped, and try again: aws ec2 stop-instances --instance-ids {id}")))
}

/// What becomes of a build whose maker is an instance. `image` is the one of its name, `instance`
/// what EC2 says of the instance now; `stopped` what it said when the image was allowed.
#[must_use]
pub fn judge(
    attempt: &Attempt,
    (id, stopped): (&str, &str),
    image: Option<&Image>,
    instance: Option<&PreparedInstance>,
    now: Timestamp,
) -> InstanceBuild {
    let person = |cause| InstanceBuild::Failed(Fault::new(FailureClass::Person, cause));
    let Some(image) = image else {
        return if attempt.cancel_requested.is_some() {
            let cancelled = Fault::new(FailureClass::Cancelled, "cancelled".to_owned());
            InstanceBuild::Failed(cancelled)
        } else if now > attempt.intent.deadline {
            person(format!(
                "EC2 shows no image {} of instance {id}: whoever wanted it never asked for it, or was refused; ask again",
                attempt.intent.ami_name
            ))
        } else {
            InstanceBuild::Wait
        };
    };
    if !is_its_own(image, attempt) {
        return person(format!(
            "the name {} is taken by {} ({}), which was not made for this; deregister that image, or ask again",
            image.name, image.id, image.state
        ));
    }
    if let ImageState::Failed(reason) = &image.state {
        return person(format!("EC2 could not make {}: {reason}; ask again", image.id));
    }
    // Once it was found whole, the instance may do what it likes.
    if attempt.ami_id.as_ref() == Some(&image.id) {
        return InstanceBuild::Made(image.id.clone());
    }
    match instance {
        // Seeded bug: a-started-instance-is-recorded
        Some(instance) if instance.is_stopped_since(stopped) => {
            InstanceBuild::Made(image.id.clone())
        }
        Some(instance) => person(format!(
            "instance {id} was started while {} was made of it (it is {}, {}): the image may hold half of what was being written, and is not recorded; stop the instance and ask again, and remove the image",
            image.id, instance.state, instance.transition
        )),
        None => person(format!(
            "instance {id} is gone, and nobody can tell whether it was stopped until {} was made of it: the image is not recorded",
            image.id
        )),
    }
}

/// Whether an image was made for this very build: its tags say so from birth.
fn is_its_own(image: &Image, attempt: &Attempt) -> bool {
    let fingerprint = attempt.intent.fingerprint.to_string();
    image.tags.get(BUILD_ID_TAG).map(String::as_str) == Some(attempt.build_id.as_str())
        && image.tags.get(FINGERPRINT_TAG) == Some(&fingerprint)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::*;
    use crate::recovery::tests::attempt;
    use reconciler_model::ids::AmiName;
    use reconciler_model::inventory::journal::{Asked, Progress};

    const STOPPED: &str = "User initiated (2026-12-01 14:22:33 GMT)";

    fn instance(state: &str, transition: &str) -> PreparedInstance {
        PreparedInstance {
            id: "i-1".to_owned(),
            state: state.to_owned(),
            transition: transition.to_owned(),
            image_id: AmiId::new("ami-0"),
        }
    }

    fn image(of: &Attempt, state: ImageState) -> Image {
        let tags = [
            (BUILD_ID_TAG, of.build_id.to_string()),
            (FINGERPRINT_TAG, of.intent.fingerprint.to_string()),
        ];
        Image {
            id: AmiId::new("ami-1"),
            name: AmiName::new("n"),
            state,
            owner_id: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            tags: tags.map(|(key, value)| (key.to_owned(), value)).into(),
            snapshots: Vec::new(),
            details: String::new(),
        }
    }

    fn judged(
        attempt: &Attempt,
        image: Option<&Image>,
        instance: Option<&PreparedInstance>,
        late: bool,
    ) -> InstanceBuild {
        let second = SignedDuration::from_secs(if late { 1 } else { -1 });
        judge(attempt, ("i-1", STOPPED), image, instance, attempt.intent.deadline + second)
    }

    fn cause(judged: InstanceBuild) -> (FailureClass, String) {
        match judged {
            InstanceBuild::Failed(fault) => (fault.class, fault.cause),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_waited_for_until_somebody_may_have_asked_for_it_and_then_given_up() {
        let mut attempt = attempt();
        let stopped = instance("stopped", STOPPED);
        assert_eq!(judged(&attempt, None, Some(&stopped), false), InstanceBuild::Wait);
        let (class, why) = cause(judged(&attempt, None, Some(&stopped), true));
        assert!(class == FailureClass::Person && why.contains("never asked"), "{why}");
        attempt.cancel_requested = Some(Asked { by: "ada".to_owned(), at: Timestamp::UNIX_EPOCH });
        let (class, _) = cause(judged(&attempt, None, Some(&stopped), false));
        assert_eq!(class, FailureClass::Cancelled);
    }

    #[test]
    fn an_image_is_recorded_only_of_an_instance_that_has_stayed_stopped() {
        let mut attempt = attempt();
        for state in [ImageState::Pending, ImageState::Available] {
            let image = image(&attempt, state);
            let made = InstanceBuild::Made(image.id.clone());
            let stopped = instance("stopped", STOPPED);
            assert_eq!(judged(&attempt, Some(&image), Some(&stopped), true), made);
            for other in [
                instance("running", ""),
                instance("stopped", "User initiated (2026-12-01 14:30:00 GMT)"),
                instance("stopping", STOPPED),
                instance("terminated", STOPPED),
            ] {
                let (class, why) = cause(judged(&attempt, Some(&image), Some(&other), false));
                assert!(class == FailureClass::Person && why.contains("was started"), "{why}");
            }
            let (_, why) = cause(judged(&attempt, Some(&image), None, false));
            assert!(why.contains("is gone"), "{why}");
        }
        // It was found whole before: from then on the instance may be ended.
        let image = image(&attempt, ImageState::Pending);
        attempt.ami_id = Some(image.id.clone());
        attempt.progress = Progress::ImageSeen;
        let made = InstanceBuild::Made(image.id.clone());
        assert_eq!(judged(&attempt, Some(&image), None, true), made);
    }

    #[test]
    fn an_image_of_the_name_that_was_made_for_something_else_is_not_taken() {
        let attempt = attempt();
        let stopped = instance("stopped", STOPPED);
        let own = image(&attempt, ImageState::Available);
        let failed = image(&attempt, ImageState::Failed("no space".to_owned()));
        let (_, why) = cause(judged(&attempt, Some(&failed), Some(&stopped), false));
        assert!(why.contains("no space"), "{why}");
        for missing in [BUILD_ID_TAG, FINGERPRINT_TAG] {
            let mut other = own.clone();
            other.tags.remove(missing);
            let (_, why) = cause(judged(&attempt, Some(&other), Some(&stopped), false));
            assert!(why.contains("is taken by"), "{why}");
        }
        let nobodys = Image { tags: BTreeMap::new(), ..own };
        assert!(!is_its_own(&nobodys, &attempt));
    }

    #[test]
    fn only_a_stopped_instance_is_imaged() {
        let stopped = instance("stopped", STOPPED);
        assert_eq!(may_be_imaged("i-1", Some(&stopped)), Ok(()));
        for state in ["pending", "running", "stopping", "shutting-down", "terminated"] {
            let why = may_be_imaged("i-1", Some(&instance(state, ""))).unwrap_err();
            assert!(why.message.contains(state), "{why}");
        }
        // As one that shut itself down: without a time two stops could not be told apart.
        let why = may_be_imaged("i-1", Some(&instance("stopped", ""))).unwrap_err();
        assert!(why.message.contains("does not say when"), "{why}");
        let why = may_be_imaged("i-1", None).unwrap_err();
        assert!(why.message.contains("there is no instance i-1"), "{why}");
    }
}
