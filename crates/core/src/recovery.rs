//! What becomes of an attempt that is not over: the one decision behind *nothing lost, nothing
//! built twice*. Pure.
//!
//! A build of this host is known by its folder and its processes. One of another host, whatever its
//! name, is known by its signs of life only, and is dead when these stood still for their whole
//! silence, or when even its time limit has passed; never before.

use reconciler_model::clock;
use reconciler_model::images::FINGERPRINT_TAG;
use std::time::Duration;

use jiff::Timestamp;

use reconciler_model::images::{Image, ImageState};
use reconciler_model::inventory::journal::Attempt;

/// What is known of an attempt that the journal does not say to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What this host knows of it.
    pub here: Here,
    /// Whether the journal says that its supervisor was started.
    pub told_started: bool,
    /// Its signs of life.
    pub life: Life,
    /// When it is ended by force, by the clock of the host that decided it.
    pub deadline: Timestamp,
    /// Now, by the clock of this host.
    pub now: Timestamp,
}

/// What this host knows of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// It was started here: it runs, or has ended and left its outcome.
    Found,
    /// It was prepared from here, and no supervisor was ever started; none will be.
    NeverStarted,
    /// It was decided on another host.
    Elsewhere,
}

/// The signs of life of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// There is none, and this observer has looked for so long.
    None {
        /// For how long.
        watched: Duration,
        /// How long a supervisor of this configuration may be silent.
        silence: Duration,
    },
    /// The newest stood still for so long.
    Beats {
        /// How long.
        still: Duration,
        /// How long it may.
        silence: Duration,
    },
    /// The last one told how it ended.
    Over,
}

/// What is known of whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its outcome is to be had, now or when it ends: from its folder here.
    Here,
    /// Its outcome is told by its last sign of life.
    Told,
    /// It may run on its host.
    MayRun,
    /// It does not run, or nobody will ever know.
    Gone,
}

/// The image of the build's unique name, as EC2 shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedImage {
    /// There is none.
    None,
    /// It is being made.
    Pending,
    /// It can be used.
    Available,
    /// It will never be.
    Failed,
}

impl NamedImage {
    /// By its state; none: there is no image.
    #[must_use]
    pub fn of(state: Option<&ImageState>) -> Self {
        match state {
            None => Self::None,
            Some(ImageState::Pending) => Self::Pending,
            Some(ImageState::Available) => Self::Available,
            Some(ImageState::Failed(_) | ImageState::Other(_)) => Self::Failed,
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Its outcome is waited for, and judged.
    Follow,
    /// Its host is waited for.
    Wait,
    /// Its image is verified, tagged and recorded.
    Adopt,
    /// What it left is removed, and it has failed for a reason that may pass.
    CleanUp,
}

/// Whether it runs, as far as can be told.
#[must_use]
pub fn state(seen: &Evidence) -> State {
    // Seeded bug: a-limit-is-read-by-another-hosts-clock
    let out_of_time =
        seen.now > seen.deadline.saturating_add(clock::OF_TWO_HOSTS).unwrap_or(Timestamp::MAX);
    match (seen.here, seen.life) {
        (Here::Found, _) => State::Here,
        (_, Life::Over) => State::Told,
        // Also where this host thinks that it was never started: a sign of life says otherwise.
        // Seeded bug: another-hosts-build-is-given-up-by-the-clock
        (_, Life::Beats { still, silence }) if still < silence => State::MayRun,
        (_, Life::Beats { .. }) => State::Gone,
        (Here::NeverStarted, Life::None { .. }) if !seen.told_started => State::Gone,
        // Its host wrote the intent and no more. A supervisor that was started all the same gives a
        // sign at once.
        (Here::Elsewhere, Life::None { watched, silence })
            if !seen.told_started && watched >= silence =>
        {
            State::Gone
        }
        // Started, but its signs of life do not reach the inventory.
        (_, Life::None { .. }) if out_of_time => State::Gone,
        // Seeded bug: a-started-build-is-not-waited-for
        (_, Life::None { .. }) => State::MayRun,
    }
}

/// Whether a build whose outcome nobody knows may have got as far as an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// Packer was never started for it: whatever has its name at EC2 was made by another.
    Never,
    /// It ran, or may have.
    Perhaps,
}

/// Whether an image of a build's name is that build's, or an earlier one's of the same fingerprint:
/// by its tag, by the journal, or because the build ran and the image is not older. A name alone
/// proves nothing: a person can copy an image to it.
#[must_use]
pub fn is_ours(image: &Image, attempt: &Attempt, execution: Execution) -> bool {
    let fingerprint = attempt.intent.fingerprint.to_string();
    image.tags.get(FINGERPRINT_TAG) == Some(&fingerprint)
        || was_found_before(image, attempt)
        // Seeded bug: a-name-proves-whose-an-image-is
        || (execution == Execution::Perhaps && is_young(image, attempt))
}

/// Whether the journal names this image as the build's: an earlier look has found it, and came no
/// further. Its tags tell nothing any more, for they may be this build's by now.
#[must_use]
pub fn was_found_before(image: &Image, attempt: &Attempt) -> bool {
    // Seeded bug: an-image-that-was-found-is-forgotten
    attempt.ami_id.as_ref() == Some(&image.id)
}

/// Whether an image of a build's name that nobody has recorded was made by it, if it ran: the name
/// contains the fingerprint, and one that had been there before would have been seen at the start.
#[must_use]
pub fn made_while_it_ran(image: &Image, attempt: &Attempt) -> bool {
    !image.tags.contains_key(FINGERPRINT_TAG) && is_young(image, attempt)
}

fn is_young(image: &Image, attempt: &Attempt) -> bool {
    is_no_older(image, attempt.started_at)
}

/// Whether an image may have been made after a time of a host's clock; EC2 tells the time of
/// creation in whole seconds, and by its own clock.
#[must_use]
pub fn is_no_older(image: &Image, began: Timestamp) -> bool {
    let made = image.created_at.saturating_add(clock::OF_AWS);
    made.unwrap_or(Timestamp::MAX) >= began
}

/// What is to be done. `image` is asked for only of a build that is gone. `told_to_end`: its Packer
/// may have been told to end, which takes its image away as soon as a host that only stood still
/// goes on.
#[must_use]
pub fn decide(state: State, image: NamedImage, told_to_end: bool) -> Recovery {
    match (state, image) {
        (State::Here | State::Told, _) => Recovery::Follow,
        (State::MayRun, _) => Recovery::Wait,
        // Seeded bug: an-image-that-its-packer-takes-away-is-recorded
        (State::Gone, _) if told_to_end => Recovery::CleanUp,
        // Seeded bug: lost-image-is-thrown-away
        (State::Gone, NamedImage::Available | NamedImage::Pending) => Recovery::Adopt,
        (State::Gone, NamedImage::None | NamedImage::Failed) => Recovery::CleanUp,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::SignedDuration;

    use super::*;
    use reconciler_model::digest::Digest;
    use reconciler_model::ids::{AmiId, AmiName, BuildId, Region, Revision, StepId, WorkflowId};
    use reconciler_model::inventory::journal::{BuildEvent, Intent, Stage};

    const SILENCE: Duration = Duration::from_mins(2);
    const SHORT: Duration = Duration::from_secs(119);

    fn time(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn lives() -> [(&'static str, Life); 5] {
        let none = |watched| Life::None { watched, silence: SILENCE };
        let beats = |still| Life::Beats { still, silence: SILENCE };
        [
            ("none", none(SHORT)),
            ("none for long", none(SILENCE)),
            ("alive", beats(SHORT)),
            ("stood still", beats(SILENCE)),
            ("over", Life::Over),
        ]
    }

    /// The whole table: what this host knows, whether the journal says started, signs of life, in
    /// time or not.
    #[test]
    fn every_case_has_one_answer() {
        use Here::{Elsewhere, Found, NeverStarted};
        use State::{Gone, Here as InFolder, MayRun, Told};
        // For the lives above, in order: within the deadline, then long after it.
        let table = [
            (Found, false, [InFolder; 5], [InFolder; 5]),
            (Found, true, [InFolder; 5], [InFolder; 5]),
            (
                NeverStarted,
                false,
                [Gone, Gone, MayRun, Gone, Told],
                [Gone, Gone, MayRun, Gone, Told],
            ),
            (
                NeverStarted,
                true,
                [MayRun, MayRun, MayRun, Gone, Told],
                [Gone, Gone, MayRun, Gone, Told],
            ),
            (
                Elsewhere,
                false,
                [MayRun, Gone, MayRun, Gone, Told],
                [Gone, Gone, MayRun, Gone, Told],
            ),
            (
                Elsewhere,
                true,
                [MayRun, MayRun, MayRun, Gone, Told],
                [Gone, Gone, MayRun, Gone, Told],
            ),
        ];
        for (here, told_started, in_time, late) in table {
            for (now, expected) in [(time(60), in_time), (time(131), late)] {
                for ((name, life), expected) in lives().into_iter().zip(expected) {
                    let seen = Evidence { here, told_started, life, deadline: time(120), now };
                    assert_eq!(state(&seen), expected, "{name}: {seen:?}");
                }
            }
        }
    }

    #[test]
    fn a_deadline_of_another_clock_has_passed_only_when_no_clock_says_otherwise() {
        let seen = |minutes| Evidence {
            here: Here::Elsewhere,
            told_started: true,
            life: Life::None { watched: Duration::MAX, silence: SILENCE },
            deadline: time(120),
            now: time(minutes),
        };
        assert_eq!(state(&seen(129)), State::MayRun);
        assert_eq!(state(&seen(131)), State::Gone);
        let endless = Evidence { deadline: Timestamp::MAX, ..seen(131) };
        assert_eq!(state(&endless), State::MayRun);
    }

    #[test]
    fn what_is_gone_is_adopted_by_its_image_or_cleaned_up_and_nothing_else_is() {
        use NamedImage::{Available, Failed, None, Pending};
        for image in [None, Pending, Available, Failed] {
            for told_to_end in [false, true] {
                assert_eq!(decide(State::Here, image, told_to_end), Recovery::Follow);
                assert_eq!(decide(State::Told, image, told_to_end), Recovery::Follow);
                assert_eq!(decide(State::MayRun, image, told_to_end), Recovery::Wait);
            }
            let expected = match image {
                Available | Pending => Recovery::Adopt,
                None | Failed => Recovery::CleanUp,
            };
            assert_eq!(decide(State::Gone, image, false), expected);
            assert_eq!(decide(State::Gone, image, true), Recovery::CleanUp);
        }
    }

    pub(crate) fn attempt() -> Attempt {
        let intent = Intent {
            fingerprint: Digest::of(b"x").into(),
            ami_name: AmiName::new("n"),
            revision: Revision::new("r"),
            source_ami: AmiId::new("ami-0"),
            region: Region::new("us-east-1"),
            host: "one".into(),
            prepared_by: None,
            reach: reconciler_model::inventory::journal::Reach::default(),
            afterwards: reconciler_model::afterwards::PostImageSteps::default(),
            maker: reconciler_model::inventory::journal::Maker::Packer,
            deadline: time(120),
            fence: 1,
            attempt: 0,
            promise: None,
        };
        let begun = BuildEvent {
            workflow_id: WorkflowId::new("wf"),
            step_id: StepId::new("a"),
            build_id: BuildId::new("1"),
            seq: 0,
            at: time(60),
            stage: Stage::Intent(intent),
        };
        Attempt::begin(&begun).unwrap()
    }

    fn made_at(minute: i64, tag: Option<&str>) -> Image {
        let tags = tag.map(|value| (FINGERPRINT_TAG.to_owned(), value.to_owned()));
        Image {
            id: AmiId::new("ami-1"),
            name: AmiName::new("n"),
            state: ImageState::Available,
            owner_id: "1".into(),
            created_at: time(minute),
            tags: tags.into_iter().collect(),
            snapshots: vec![],
            details: String::new(),
        }
    }

    #[test]
    fn an_image_of_the_name_is_ours_by_tag_journal_or_age_and_not_by_its_name() {
        let attempt = attempt();
        let own = attempt.intent.fingerprint.to_string();
        let table = [
            ("untagged, older", made_at(50, None), false, false),
            ("untagged, as the clocks allow", made_at(56, None), false, true),
            ("untagged, younger", made_at(70, None), false, true),
            ("of another fingerprint", made_at(50, Some("else")), false, false),
            ("of this fingerprint", made_at(50, Some(&own)), true, true),
        ];
        for (name, image, never, perhaps) in table {
            assert_eq!(is_ours(&image, &attempt, Execution::Never), never, "{name}");
            assert_eq!(is_ours(&image, &attempt, Execution::Perhaps), perhaps, "{name}");
        }
        let mut seen = attempt;
        seen.ami_id = Some(AmiId::new("ami-1"));
        assert!(was_found_before(&made_at(50, Some("else")), &seen));
        assert!(is_ours(&made_at(50, None), &seen, Execution::Never));
    }

    #[test]
    fn a_failed_build_made_what_is_as_young_and_nobody_has_recorded() {
        let attempt = attempt();
        let own = attempt.intent.fingerprint.to_string();
        for (image, made) in [
            (made_at(50, None), false),
            // EC2 cuts the time of creation down to the second.
            (made_at(59, None), true),
            (made_at(70, None), true),
            (made_at(70, Some(&own)), false),
        ] {
            assert_eq!(made_while_it_ran(&image, &attempt), made, "{image:?}");
        }
    }

    #[test]
    fn an_image_is_named_by_its_state() {
        assert_eq!(NamedImage::of(None), NamedImage::None);
        assert_eq!(NamedImage::of(Some(&ImageState::Pending)), NamedImage::Pending);
        assert_eq!(NamedImage::of(Some(&ImageState::Available)), NamedImage::Available);
        for state in [ImageState::Failed("x".into()), ImageState::Other("deregistered".into())] {
            assert_eq!(NamedImage::of(Some(&state)), NamedImage::Failed);
        }
    }
}
