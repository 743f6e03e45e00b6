//! Waiting for an image: patiently, for a big disk takes an hour, and with few calls.
//!
//! EC2's own waiter gives up after ten minutes and takes throttling for an end. What to do after
//! each look is decided by a pure function; the loop only looks and sleeps.

use reconciler_model::images::NOT_YET_KNOWN;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::ec2::Ec2Catalog;
use reconciler_model::ids::AmiId;
use reconciler_model::images::{CatalogError, Image, ImageReader as _, ImageState};
use tokio::time::Instant;

/// How often is looked, and how long EC2 may not know what it has just made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The first wait; each is half as long again as the one before.
    pub(super) first: Duration,
    /// The longest wait.
    pub(super) longest: Duration,
    /// docs/packer.md: 2.5 minutes.
    pub(super) not_yet_known: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            not_yet_known: NOT_YET_KNOWN,
        }
    }
}

/// What a look showed.
#[derive(Clone, Copy, Debug)]
enum Sight<'a> {
    Image(&'a ImageState),
    /// EC2 does not know the id, for so long.
    Unknown(Duration),
    /// There was no answer.
    Nothing,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Done,
    Wait,
    Failed(String),
}

fn next(sight: Sight<'_>, pace: &Pace) -> Next {
    match sight {
        Sight::Image(ImageState::Available) => Next::Done,
        Sight::Image(ImageState::Failed(reason)) => Next::Failed(reason.clone()),
        // `transient` is EC2's word for an image on its way from one state to another.
        Sight::Image(ImageState::Other(state)) if state != "transient" => {
            Next::Failed(format!("it is {state}"))
        }
        Sight::Unknown(long) if long > pace.not_yet_known => {
            Next::Failed("EC2 does not know it".to_owned())
        }
        Sight::Image(_) | Sight::Unknown(_) | Sight::Nothing => Next::Wait,
    }
}

pub(super) async fn available(
    catalog: &Ec2Catalog,
    id: &AmiId,
    deadline: Timestamp,
) -> Result<Image, CatalogError> {
    let pace = &catalog.pace;
    let mut wait = pace.first;
    // From here on by a clock that nobody sets.
    let left = deadline.duration_since(Timestamp::now());
    let end = Instant::now() + left.max(SignedDuration::ZERO).unsigned_abs();
    let mut known_until = Instant::now();
    loop {
        let found = match catalog.image(id).await {
            Ok(found) => Some(found),
            Err(CatalogError::Unavailable { .. }) => None,
            Err(error) => return Err(error),
        };
        let sight = match &found {
            Some(Some(image)) => {
                known_until = Instant::now();
                Sight::Image(&image.state)
            }
            Some(None) => Sight::Unknown(known_until.elapsed()),
            None => Sight::Nothing,
        };
        match (next(sight, pace), found) {
            (Next::Done, Some(Some(image))) => return Ok(image),
            (Next::Failed(reason), _) => {
                return Err(CatalogError::ImageFailed { id: id.clone(), reason });
            }
            _ => {}
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CatalogError::StillPending { id: id.clone() });
        }
        // The last look is at the deadline itself.
        tokio::time::sleep(jittered(wait).min(left)).await;
        wait = (wait * 3 / 2).min(pace.longest);
    }
}

/// Between four and six fifths, so that builds that end together do not look together.
fn jittered(wait: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 400;
    wait * (800 + u32::try_from(chance).unwrap_or(0)) / 1000
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ec2::scripted::{Answer, Ec2, image_xml};

    /// An EC2 that says one thing after the other, and the last for ever.
    fn saying(script: &'static [&'static str]) -> (Ec2Catalog, Ec2) {
        let at = AtomicUsize::new(0);
        let ec2 = Ec2::answering(move |_| {
            let word = script[at.fetch_add(1, Ordering::SeqCst).min(script.len() - 1)];
            if word.contains("Exceeded") || word.contains('.') || word.contains("Operation") {
                return Answer::error(word, "The image id '[ami-1]' does not exist");
            }
            Answer::images([image_xml("ami-1", "x", word)])
        });
        let mut catalog = Ec2Catalog::new(ec2.client());
        catalog.pace = Pace {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(4),
            not_yet_known: Duration::from_millis(80),
        };
        (catalog, ec2)
    }

    async fn wait(catalog: &Ec2Catalog) -> Result<Image, CatalogError> {
        let soon = Timestamp::now() + Duration::from_millis(400);
        available(catalog, &AmiId::new("ami-1"), soon).await
    }

    #[tokio::test]
    async fn an_available_image_takes_one_look() {
        let (catalog, ec2) = saying(&["available"]);
        assert_eq!(wait(&catalog).await.unwrap().id.as_str(), "ami-1");
        assert_eq!(ec2.calls().len(), 1);
    }

    #[tokio::test]
    async fn throttling_and_an_ec2_that_is_late_are_waited_for() {
        let (catalog, ec2) = saying(&[
            "InvalidAMIID.NotFound",
            "RequestLimitExceeded",
            "pending",
            "RequestLimitExceeded",
            "available",
        ]);
        wait(&catalog).await.unwrap();
        assert_eq!(ec2.calls().len(), 5);
    }

    #[tokio::test]
    async fn a_failed_image_ends_the_wait() {
        let (catalog, _) = saying(&["pending", "failed"]);
        let error = wait(&catalog).await.unwrap_err();
        assert!(matches!(error, CatalogError::ImageFailed { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_image_that_ec2_never_knows_ends_the_wait_before_its_deadline() {
        let (catalog, _) = saying(&["InvalidAMIID.NotFound"]);
        let error = wait(&catalog).await.unwrap_err();
        assert!(error.to_string().contains("EC2 does not know it"), "{error}");
    }

    #[tokio::test]
    async fn the_deadline_ends_the_wait() {
        let (catalog, ec2) = saying(&["pending"]);
        let error = wait(&catalog).await.unwrap_err();
        assert!(matches!(error, CatalogError::StillPending { .. }), "{error}");
        assert!(ec2.calls().len() > 10);
    }

    #[tokio::test]
    async fn no_permission_ends_the_wait_and_names_the_action() {
        let (catalog, _) = saying(&["UnauthorizedOperation"]);
        let error = wait(&catalog).await.unwrap_err();
        assert!(error.to_string().contains("ec2:DescribeImages"), "{error}");
    }

    #[test]
    fn states_are_taken_for_what_they_mean() {
        let pace = Pace::default();
        let of = |state: &str| next(Sight::Image(&ImageState::Other(state.into())), &pace);
        assert_eq!(of("transient"), Next::Wait);
        assert_eq!(of("deregistered"), Next::Failed("it is deregistered".into()));
        assert_eq!(next(Sight::Unknown(Duration::from_secs(149)), &pace), Next::Wait);
    }

    #[test]
    fn waits_differ_by_chance_and_stay_near() {
        let wait = Duration::from_secs(10);
        let waits: Vec<_> = (0..20).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|w| (8..=12).contains(&w.as_secs())));
        assert!(waits.iter().any(|w| *w != waits[0]));
    }
}
