//! What went wrong a moment ago is left alone for a while, longer each time. Pure: the clock and
//! the dice are arguments.
//!
//! For what costs no money and is in no journal: a pass that cannot be made, tags that cannot be
//! put on, a build whose end cannot be written down. When a build is started again is decided from
//! the journal, which outlives this process.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowLocation};
use reconciler_core::status::trouble::Trouble;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, Revision, StepId};

/// The first wait.
const FIRST: Duration = Duration::from_secs(5);

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::controller) enum BackoffKey {
    /// A pass over a workflow.
    Workflow(WorkflowLocation),
    /// A folder's workflow id, which is another's as well. It is looked at at every pass.
    SharedId(WorkflowLocation),
    /// Looking after the builds of a workflow that a pass could not act on.
    Tending(WorkflowKey),
    /// Something about a step that is no build.
    Step(WorkflowKey, StepId),
    /// Carrying a build that is over to its record or its failure.
    Build(BuildId),
    /// Looking for builds that nobody looks after.
    AbandonedWorkflows,
    /// Reading what a repository says. It is tried at every pass.
    FollowedRepository(String),
    /// Looking after builds that were given up.
    Sweeping(WorkflowKey),
}

impl BackoffKey {
    /// What is tried, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Workflow(place) | Self::SharedId(place) => {
                format!("workflow {} of {}", place.folder, place.site)
            }
            Self::Tending(key) => {
                format!("looking after the builds of workflow {}", key.inventory.id)
            }
            Self::Step(key, step) => format!("step {step} of workflow {}", key.inventory.id),
            Self::Build(build) => format!("settling build {build}"),
            Self::AbandonedWorkflows => "looking for builds that nobody looks after".to_owned(),
            Self::FollowedRepository(name) => format!("repository {name}"),
            Self::Sweeping(key) => {
                format!("looking after given-up builds of workflow {}", key.inventory.id)
            }
        }
    }
}

/// How long after the time of the next try a matter that was not tried again is taken for one that
/// nobody is concerned with any more.
const STALE: SignedDuration = SignedDuration::from_mins(10);

/// What was tried, how often and until when it is left alone.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) struct Backoffs {
    tried: HashMap<BackoffKey, Tried>,
    pass: u64,
}

#[derive(Clone, Debug)]
struct Tried {
    times: u32,
    since: Timestamp,
    /// When it was tried last.
    last: Timestamp,
    until: Timestamp,
    revision: Option<Revision>,
    cause: Option<Diagnostic>,
    /// The last pass that came to it.
    pass: u64,
}

/// What did not work, once it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Past {
    /// How often it was tried in a row.
    pub(super) times: u32,
    /// Since when.
    pub(super) since: Timestamp,
}

/// A cause without what differs at every try: numbers, and ids of requests.
fn gist(cause: &Diagnostic) -> String {
    let text = cause.one_line();
    let is_id = |word: &str| {
        let long = word.len() >= 8 && word.chars().all(|one| one.is_ascii_hexdigit() || one == '-');
        long || word.chars().all(|one| one.is_ascii_digit())
    };
    let separates = |one: char| !one.is_ascii_alphanumeric() && one != '-';
    text.split(separates)
        .map(|word| if is_id(word) { "#" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

impl Backoffs {
    /// Something was tried, and may have to be tried again. `jitter` from 0 to 1 spreads the second
    /// half of the wait. Returns until when it is left alone.
    pub(in crate::controller) fn note(
        &mut self,
        matter: BackoffKey,
        revision: Option<&Revision>,
        now: Timestamp,
        jitter: f64,
    ) -> Timestamp {
        let tried = self.tried.entry(matter).or_insert(Tried {
            times: 0,
            since: now,
            last: now,
            until: now,
            revision: None,
            cause: None,
            pass: 0,
        });
        tried.pass = self.pass;
        if tried.revision.as_ref() != revision {
            tried.times = 0;
            tried.since = now;
            tried.revision = revision.cloned();
        }
        // Seeded bug: a-wait-never-ends
        let wait = FIRST.saturating_mul(1 << tried.times.min(16)).min(LONGEST);
        tried.times = tried.times.saturating_add(1);
        tried.last = now;
        tried.until = now + wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        tried.until
    }

    /// Why it did not work. Returns whether that is news.
    pub(super) fn record_error(&mut self, matter: &BackoffKey, cause: Diagnostic) -> bool {
        let Some(tried) = self.tried.get_mut(matter) else {
            return false;
        };
        let before = tried.cause.as_ref().map(gist);
        let is_news = before.is_none_or(|before| before != gist(&cause));
        // Seeded bug: trouble-is-told-at-each-pass
        tried.cause = Some(cause);
        is_news
    }

    /// There is nothing to be tried any more. How often it was tried counts until the time of the
    /// next try has come, for what differs again at once is not mended by doing it faster.
    pub(in crate::controller) fn absolve(
        &mut self,
        matter: &BackoffKey,
        revision: Option<&Revision>,
        now: Timestamp,
    ) -> Option<Past> {
        match self.holds(matter, revision, now) {
            Some(_) => self.exonerate(matter),
            None => self.forget(matter),
        }
    }

    /// It did work this time. Returns what did not, if that was told.
    pub(super) fn exonerate(&mut self, matter: &BackoffKey) -> Option<Past> {
        let tried = self.tried.get_mut(matter)?;
        tried.cause.take()?;
        Some(Past { times: tried.times, since: tried.since })
    }

    /// A pass over everything begins: what nobody comes to until it ends is nobody's concern any
    /// more.
    pub(super) fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// The pass has ended: what was neither tried nor found to wait, and what nobody is at, is
    /// forgotten.
    pub(super) fn end_pass(&mut self, is_under_way: impl Fn(&BackoffKey) -> bool) {
        let pass = self.pass;
        self.tried.retain(|matter, tried| tried.pass == pass || is_under_way(matter));
    }

    /// What does not work, and why.
    pub(super) fn troubles(&self, now: Timestamp) -> Vec<Trouble> {
        let of = |(matter, tried): (&BackoffKey, &Tried)| {
            let cause = tried.cause.as_ref()?;
            let stale = tried.until.saturating_add(STALE).unwrap_or(Timestamp::MAX) < now;
            (!stale).then(|| Trouble {
                what: matter.words(),
                cause: cause.one_line(),
                hint: cause.hint.clone(),
                times: tried.times,
                since: tried.since,
                next_try: (!matches!(
                    matter,
                    BackoffKey::FollowedRepository(_) | BackoffKey::SharedId(_)
                ))
                .then_some(tried.until),
            })
        };
        let mut troubles: Vec<_> = self.tried.iter().filter_map(of).collect();
        troubles.sort_by(|a, b| a.what.cmp(&b.what));
        troubles
    }

    /// All is well with it. Returns what was not, if that was told.
    pub(in crate::controller) fn forget(&mut self, matter: &BackoffKey) -> Option<Past> {
        let tried = self.tried.remove(matter)?;
        tried.cause.as_ref()?;
        Some(Past { times: tried.times, since: tried.since })
    }

    /// Until when it is left alone; none: it may be tried. Another commit is another matter. Where
    /// the clock was set back behind the last try, nobody knows how long ago that was: it may be
    /// tried, so a wait is never longer than it was meant to be.
    pub(in crate::controller) fn holds(
        &mut self,
        matter: &BackoffKey,
        revision: Option<&Revision>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let tried = self.tried.get_mut(matter)?;
        tried.pass = self.pass;
        let waits = tried.last <= now && now < tried.until;
        (tried.revision.as_ref() == revision && waits).then_some(tried.until)
    }

    /// How often it was tried in a row.
    pub(super) fn times(&self, matter: &BackoffKey) -> u32 {
        self.tried.get(matter).map_or(0, |tried| tried.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_goes_wrong_again_and_again_is_tried_ever_more_rarely_up_to_a_cap() {
        let mut backoffs = Backoffs::default();
        let matter = BackoffKey::Build(BuildId::new("1"));
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..9 {
            let until = backoffs.note(matter.clone(), None, now, 1.0);
            assert_eq!(backoffs.holds(&matter, None, now), Some(until));
            assert_eq!(backoffs.holds(&matter, None, until), None);
            waits.push(until.duration_since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        backoffs.forget(&matter);
        assert_eq!(backoffs.times(&matter), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_makes_no_wait_longer() {
        let mut backoffs = Backoffs::default();
        let matter = BackoffKey::Build(BuildId::new("1"));
        let hour = 3600;
        for _ in 0..9 {
            backoffs.note(matter.clone(), None, at(10 * hour), 1.0);
        }
        for now in [0, 5 * hour, 10 * hour - 1, 10 * hour + 301, 20 * hour] {
            assert_eq!(backoffs.holds(&matter, None, at(now)), None, "{now}");
        }
        let until = backoffs.note(matter.clone(), None, at(5 * hour), 1.0);
        assert_eq!(until, at(5 * hour + 300), "counted on from what is now");
        assert_eq!(backoffs.holds(&matter, None, at(5 * hour)), Some(until));
    }

    #[test]
    fn what_does_not_work_is_told_until_it_works_or_nobody_tries_it_any_more() {
        let mut backoffs = Backoffs::default();
        let (matter, other) =
            (BackoffKey::Build(BuildId::new("1")), BackoffKey::FollowedRepository("repo".into()));
        backoffs.note(matter.clone(), None, at(0), 1.0);
        backoffs.note(other.clone(), None, at(0), 1.0);
        assert_eq!(backoffs.troubles(at(1)), [], "noted, but not in vain");
        assert!(backoffs.record_error(&matter, Diagnostic::new("no space").hint("make room")));
        assert!(backoffs.record_error(&other, Diagnostic::new("not signed")));
        let told = backoffs.troubles(at(1));
        assert_eq!(
            told.iter().map(|one| (one.what.as_str(), one.next_try)).collect::<Vec<_>>(),
            [("repository repo", None), ("settling build 1", Some(at(5)))]
        );
        assert_eq!(told[1].hint.as_deref(), Some("make room"));
        assert!(backoffs.forget(&other).is_some());
        assert_eq!(backoffs.forget(&other), None);
        assert_eq!(backoffs.troubles(at(1)).len(), 1);
        assert_eq!(backoffs.troubles(at(5 + 601)), []);
    }

    #[test]
    fn a_cause_is_news_once_and_again_only_if_it_is_another() {
        let mut backoffs = Backoffs::default();
        let matter = BackoffKey::FollowedRepository("repo".into());
        let mut record_error = |cause: &str| {
            backoffs.note(matter.clone(), None, at(0), 1.0);
            backoffs.record_error(&matter, Diagnostic::new(cause))
        };
        assert!(record_error("EC2 did not answer (request 0f8e6f2a-1b2c, after 31 s)"));
        assert!(!record_error("EC2 did not answer (request 77aa01de-9c0d, after 30 s)"));
        assert!(record_error("ec2:DescribeImages is denied"));
        assert!(!record_error("ec2:DescribeImages is denied"));
        assert!(record_error("EC2 did not answer (request 77aa01de-9c0d, after 30 s)"));
        let past = backoffs.forget(&matter).unwrap();
        assert_eq!((past.times, past.since), (5, at(0)));
        backoffs.note(matter.clone(), None, at(0), 1.0);
        assert_eq!(backoffs.forget(&matter), None, "it was never in vain");
    }

    #[test]
    fn a_trouble_that_has_passed_is_told_no_more_and_counts_until_its_wait_is_over() {
        let mut backoffs = Backoffs::default();
        let matter = BackoffKey::Build(BuildId::new("1"));
        let until = backoffs.note(matter.clone(), None, at(0), 1.0);
        backoffs.record_error(&matter, Diagnostic::new("throttled"));
        backoffs.absolve(&matter, None, at(1));
        assert_eq!(backoffs.troubles(at(1)), []);
        assert_eq!(backoffs.times(&matter), 1, "what differs again at once waits");
        backoffs.absolve(&matter, None, until);
        assert_eq!(backoffs.times(&matter), 0);
    }

    #[test]
    fn what_a_pass_does_not_come_to_is_nobodys_concern_any_more() {
        let mut backoffs = Backoffs::default();
        let [gone, waits, tried, under_way] =
            ["1", "2", "3", "4"].map(|id| BackoffKey::Build(BuildId::new(id)));
        for matter in [&gone, &waits, &tried, &under_way] {
            backoffs.note(matter.clone(), None, at(0), 1.0);
            backoffs.record_error(matter, Diagnostic::new("no"));
        }
        backoffs.begin_pass();
        assert!(backoffs.holds(&waits, None, at(1)).is_some());
        backoffs.note(tried.clone(), None, at(1), 1.0);
        backoffs.end_pass(|matter| *matter == under_way);
        let times = [&gone, &waits, &tried, &under_way].map(|matter| backoffs.times(matter));
        assert_eq!(times, [0, 1, 2, 1]);
    }

    #[test]
    fn another_commit_is_looked_at_at_once_and_counted_anew() {
        let mut backoffs = Backoffs::default();
        let matter =
            BackoffKey::Workflow(WorkflowLocation { site: "repo".into(), folder: "wf".into() });
        let (one, two) = (Revision::new("1"), Revision::new("2"));
        for _ in 0..5 {
            backoffs.note(matter.clone(), Some(&one), at(0), 0.5);
        }
        assert!(backoffs.holds(&matter, Some(&one), at(0)).is_some());
        assert_eq!(backoffs.holds(&matter, Some(&two), at(0)), None);
        backoffs.note(matter.clone(), Some(&two), at(0), 0.5);
        assert_eq!(backoffs.times(&matter), 1);
    }
}
