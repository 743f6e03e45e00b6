//! What is tried when: one queue with a key for everything that the loop tries again or waits for.
//! Pure: the time and what spreads the waits are arguments.
//!
//! What went wrong is left alone for a while, longer each time. What went well and is done now and
//! then has its next time here as well, and so has what others decide: when a step's failed build
//! may be repeated is worked out from the journal, which outlives this process, and only noted
//! here. The loop sleeps until the first of these times.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::controller::main_loop::workflow_state::{WorkflowKey, WorkflowLocation};
use reconciler_core::status::trouble::Trouble;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, Revision, StepId};

/// The first wait of what went wrong.
const FIRST: Duration = Duration::from_secs(5);

/// Its longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// The shortest pause between two passes while something is due: a hot loop is worse than a second.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// So many passes that did something may follow each other at once.
const AT_ONCE: u32 = 8;

/// How long after its time an entry that was not tried again is taken for one that nobody is
/// concerned with any more.
const STALE: SignedDuration = SignedDuration::from_mins(10);

/// What is tried, or waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RetryKey {
    /// Reading what a repository says. It is tried at every pass.
    Repository(String),
    /// A folder's workflow id, which is another's as well. It is looked at at every pass.
    SharedId(WorkflowLocation),
    /// A pass over a workflow.
    Workflow(WorkflowLocation),
    /// The lease of a workflow, which this process does not hold.
    Lease(WorkflowKey),
    /// Something about a step that is no build.
    Step(WorkflowKey, StepId),
    /// The first of a workflow's steps whose last build failed, as the journal says.
    FailedSteps(WorkflowKey),
    /// Carrying a build that is over to its record or its failure.
    Build(BuildId),
    /// Looking after the builds of a workflow that a pass could not act on.
    OpenBuilds(WorkflowKey),
    /// Watching a workflow that nobody seems to look after.
    AbandonedWorkflow(WorkflowKey),
    /// Looking for such workflows.
    AbandonedWorkflows,
    /// Removing what builds left that were given up.
    Garbage(WorkflowKey),
    /// Answering what people ask of a workflow.
    Requests(WorkflowKey),
    /// Removing the folders of old builds.
    OldBuildFolders,
}

impl RetryKey {
    /// What is tried, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Repository(name) => format!("repository {name}"),
            Self::SharedId(place) | Self::Workflow(place) => {
                format!("workflow {} of {}", place.folder, place.repository)
            }
            Self::Lease(key) => format!("the lease of workflow {}", key.inventory.id),
            Self::Step(key, step) => format!("step {step} of workflow {}", key.inventory.id),
            Self::FailedSteps(key) => format!("failed steps of workflow {}", key.inventory.id),
            Self::Build(build) => format!("settling build {build}"),
            Self::OpenBuilds(key) | Self::AbandonedWorkflow(key) => {
                format!("looking after the builds of workflow {}", key.inventory.id)
            }
            Self::AbandonedWorkflows => "looking for builds that nobody looks after".to_owned(),
            Self::Garbage(key) => {
                format!("looking after given-up builds of workflow {}", key.inventory.id)
            }
            Self::Requests(key) => {
                format!("answering what is asked of workflow {}", key.inventory.id)
            }
            Self::OldBuildFolders => "removing the folders of old builds".to_owned(),
        }
    }

    /// Whether it is tried at every pass, whatever its time.
    fn is_tried_at_every_pass(&self) -> bool {
        matches!(self, Self::Repository(_) | Self::SharedId(_))
    }

    /// Whether the loop wakes for it. A command that ends (`once`) waits for builds only: of
    /// anything else that went wrong it says so instead.
    fn wakes(&self, once: bool) -> bool {
        match self {
            Self::Build(_) | Self::FailedSteps(_) => true,
            other => !once && !other.is_tried_at_every_pass(),
        }
    }

    /// Whether it is kept though a pass did not come to it.
    fn outlives_passes(&self) -> bool {
        matches!(self, Self::AbandonedWorkflows | Self::Garbage(_) | Self::OldBuildFolders)
    }
}

/// Under which circumstances something was tried. Under others it may be tried at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Circumstances {
    /// They do not matter.
    #[default]
    Any,
    /// At this commit.
    Commit(Revision),
    /// Under this fencing token, with so many events in the journal.
    Journal {
        /// The token.
        token: u64,
        /// How many events.
        seq: u64,
    },
}

impl From<&Revision> for Circumstances {
    fn from(revision: &Revision) -> Self {
        Self::Commit(revision.clone())
    }
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(super) struct RetryQueue {
    entries: HashMap<RetryKey, Entry>,
    /// How many passes have begun.
    pass: u64,
    /// Passes in a row that did something while no build went on.
    busy_passes: u32,
    /// Whether the loop is one that ends when nothing is left to do.
    once: bool,
}

/// When something is tried next, and what came of it so far.
#[derive(Clone, Debug)]
struct Entry {
    due: Timestamp,
    /// When it was tried last.
    last: Timestamp,
    circumstances: Circumstances,
    /// How often it was tried in vain in a row.
    times: u32,
    /// Since when.
    since: Timestamp,
    /// Why it did not work.
    cause: Option<Diagnostic>,
    /// The last pass that came to it.
    pass: u64,
    /// The last pass that left it to wait. What a pass came to and neither left to wait nor tried
    /// in vain waits for something else, which wakes the loop by itself.
    waits_since_pass: u64,
}

/// What did not work, once it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// How often it was tried in a row.
    pub(super) times: u32,
    /// Since when.
    pub(super) since: Timestamp,
}

/// What a pass came to, as far as the time of the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PassEnd {
    /// Whether it started or changed anything.
    pub(super) acted: bool,
    /// Whether builds are under way: their end wakes the loop.
    pub(super) is_building: bool,
    /// How often a pass is made when nothing happens.
    pub(super) interval: Duration,
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

impl RetryQueue {
    /// An empty queue, of a loop that ends when nothing is left to do or of one that does not.
    pub(super) fn new(once: bool) -> Self {
        Self { once, ..Self::default() }
    }

    /// Something was tried, and may have to be tried again. `jitter` from 0 to 1 spreads the second
    /// half of the wait. Returns until when it is left alone.
    pub(super) fn put_off(
        &mut self,
        key: RetryKey,
        circumstances: Circumstances,
        now: Timestamp,
        jitter: f64,
    ) -> Timestamp {
        let entry = self.entry(key, now);
        if entry.circumstances != circumstances {
            entry.times = 0;
            entry.since = now;
            entry.circumstances = circumstances;
        } else if entry.times == 0 {
            entry.since = now;
        }
        // Seeded bug: a-wait-never-ends
        let wait = FIRST.saturating_mul(1 << entry.times.min(16)).min(LONGEST);
        entry.times = entry.times.saturating_add(1);
        entry.last = now;
        entry.due = now + wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        entry.due
    }

    /// It is tried, or looked at, at this time, and not because it went wrong. Returns what went
    /// wrong with it before, if that was told.
    pub(super) fn schedule(
        &mut self,
        key: RetryKey,
        circumstances: Circumstances,
        now: Timestamp,
        due: Timestamp,
    ) -> Option<Past> {
        let entry = self.entry(key, now);
        let past = entry.take_past();
        entry.circumstances = circumstances;
        entry.times = 0;
        entry.last = now;
        entry.due = due;
        past
    }

    fn entry(&mut self, key: RetryKey, now: Timestamp) -> &mut Entry {
        let entry = self.entries.entry(key).or_insert(Entry {
            due: now,
            last: now,
            circumstances: Circumstances::Any,
            times: 0,
            since: now,
            cause: None,
            pass: 0,
            waits_since_pass: 0,
        });
        entry.pass = self.pass;
        entry.waits_since_pass = self.pass;
        entry
    }

    /// Why it did not work. Returns whether that is news.
    pub(super) fn record_error(&mut self, key: &RetryKey, cause: Diagnostic) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        let before = entry.cause.as_ref().map(gist);
        let is_news = before.is_none_or(|before| before != gist(&cause));
        // Seeded bug: trouble-is-told-at-each-pass
        entry.cause = Some(cause);
        is_news
    }

    /// Until when it is left alone; none: it may be tried. Where the clock was set back behind the
    /// last try, nobody knows how long ago that was: it may be tried, so a wait is never longer
    /// than it was meant to be.
    pub(super) fn waits(
        &mut self,
        key: &RetryKey,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let entry = self.entries.get_mut(key)?;
        entry.pass = self.pass;
        let waits = entry.circumstances == *circumstances && entry.last <= now && now < entry.due;
        if waits {
            entry.waits_since_pass = self.pass;
        }
        waits.then_some(entry.due)
    }

    /// There is nothing to be tried any more. How often it was tried counts until the time of the
    /// next try has come, for what differs again at once is not mended by doing it faster. Returns
    /// what went wrong with it before, if that was told.
    pub(super) fn is_well(
        &mut self,
        key: &RetryKey,
        circumstances: &Circumstances,
        now: Timestamp,
    ) -> Option<Past> {
        match self.waits(key, circumstances, now) {
            Some(_) => self.did_work(key),
            None => self.forget(key),
        }
    }

    /// It did work this time, and its wait goes on. Returns what went wrong with it before, if that
    /// was told.
    pub(super) fn did_work(&mut self, key: &RetryKey) -> Option<Past> {
        self.entries.get_mut(key)?.take_past()
    }

    /// All is well with it, or it is nobody's concern any more. Returns what went wrong with it
    /// before, if that was told.
    pub(super) fn forget(&mut self, key: &RetryKey) -> Option<Past> {
        self.entries.remove(key)?.take_past()
    }

    /// How often it was tried in vain in a row.
    pub(super) fn times(&self, key: &RetryKey) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.times)
    }

    /// A pass over everything begins: what nobody comes to until it ends is nobody's concern any
    /// more.
    pub(super) fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// The pass has ended: what was neither tried nor found to wait, and what nobody is at, is
    /// forgotten.
    pub(super) fn end_pass(&mut self, is_under_way: impl Fn(&BuildId) -> bool) {
        let pass = self.pass;
        self.entries.retain(|key, entry| {
            let is_under_way = matches!(key, RetryKey::Build(build) if is_under_way(build));
            entry.pass == pass || key.outlives_passes() || is_under_way
        });
    }

    /// The first time for which the loop wakes by itself; none: nothing waits for a time. A command
    /// that ends has nothing left to wait for then.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        // Seeded bug: what-may-be-tried-wakes-at-each-second
        let waits = |entry: &Entry| entry.waits_since_pass == self.pass;
        let concerns = |(key, entry): &(&RetryKey, &Entry)| key.wakes(self.once) && waits(entry);
        self.entries.iter().filter(concerns).map(|(_, entry)| entry.due).min()
    }

    /// How long the loop sleeps after a pass unless something wakes it.
    pub(super) fn pause(&mut self, end: PassEnd, now: Timestamp) -> Duration {
        // What a pass did may let the next one do more. Should that never end, it is no hot loop.
        let is_busy = end.acted && !end.is_building;
        self.busy_passes = if is_busy { self.busy_passes + 1 } else { 0 };
        if is_busy {
            let doubled = 1_u64 << self.busy_passes.saturating_sub(AT_ONCE).min(16);
            return match self.busy_passes {
                0..=AT_ONCE => Duration::ZERO,
                _ => Duration::from_secs(doubled).min(end.interval.max(SHORTEST_PAUSE)),
            };
        }
        match self.next_due() {
            Some(at) if at <= now => SHORTEST_PAUSE,
            Some(at) => at.duration_since(now).unsigned_abs().min(end.interval).max(SHORTEST_PAUSE),
            None => end.interval,
        }
    }

    /// Why something does not work; none if it does, or was not tried.
    pub(super) fn why_not(&self, key: &RetryKey) -> Option<&Diagnostic> {
        self.entries.get(key)?.cause.as_ref()
    }

    /// What does not work, and why.
    pub(super) fn troubles(&self, now: Timestamp) -> Vec<Trouble> {
        let of = |(key, entry): (&RetryKey, &Entry)| {
            let cause = entry.cause.as_ref()?;
            let stale = entry.due.saturating_add(STALE).unwrap_or(Timestamp::MAX) < now;
            (!stale).then(|| Trouble {
                what: key.words(),
                cause: cause.one_line(),
                hint: cause.hint.clone(),
                times: entry.times,
                since: entry.since,
                next_try: (!key.is_tried_at_every_pass()).then_some(entry.due),
            })
        };
        let mut troubles: Vec<_> = self.entries.iter().filter_map(of).collect();
        troubles.sort_by(|a, b| a.what.cmp(&b.what));
        troubles
    }
}

impl Entry {
    fn take_past(&mut self) -> Option<Past> {
        self.cause.take()?;
        Some(Past { times: self.times, since: self.since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Circumstances = Circumstances::Any;

    const IDLE: PassEnd =
        PassEnd { acted: false, is_building: false, interval: Duration::from_mins(5) };

    fn build(id: &str) -> RetryKey {
        RetryKey::Build(BuildId::new(id))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_goes_wrong_again_and_again_is_tried_ever_more_rarely_up_to_a_cap() {
        let mut queue = RetryQueue::default();
        let key = build("1");
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..9 {
            let until = queue.put_off(key.clone(), ANY, now, 1.0);
            assert_eq!(queue.waits(&key, &ANY, now), Some(until));
            assert_eq!(queue.waits(&key, &ANY, until), None);
            waits.push(until.duration_since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        queue.forget(&key);
        assert_eq!(queue.times(&key), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_makes_no_wait_longer() {
        let mut queue = RetryQueue::default();
        let key = build("1");
        let hour = 3600;
        for _ in 0..9 {
            queue.put_off(key.clone(), ANY, at(10 * hour), 1.0);
        }
        for now in [0, 5 * hour, 10 * hour - 1, 10 * hour + 301, 20 * hour] {
            assert_eq!(queue.waits(&key, &ANY, at(now)), None, "{now}");
        }
        let until = queue.put_off(key.clone(), ANY, at(5 * hour), 1.0);
        assert_eq!(until, at(5 * hour + 300), "counted on from what is now");
        assert_eq!(queue.waits(&key, &ANY, at(5 * hour)), Some(until));
    }

    #[test]
    fn what_does_not_work_is_told_until_it_works_or_nobody_tries_it_any_more() {
        let mut queue = RetryQueue::default();
        let (key, other) = (build("1"), RetryKey::Repository("repo".into()));
        queue.put_off(key.clone(), ANY, at(0), 1.0);
        queue.put_off(other.clone(), ANY, at(0), 1.0);
        assert_eq!(queue.troubles(at(1)), [], "noted, but not in vain");
        assert!(queue.record_error(&key, Diagnostic::new("no space").hint("make room")));
        assert!(queue.record_error(&other, Diagnostic::new("not signed")));
        let told = queue.troubles(at(1));
        assert_eq!(queue.why_not(&other).map(Diagnostic::one_line).as_deref(), Some("not signed"));
        assert_eq!(queue.why_not(&build("2")), None);
        assert_eq!(
            told.iter().map(|one| (one.what.as_str(), one.next_try)).collect::<Vec<_>>(),
            [("repository repo", None), ("settling build 1", Some(at(5)))]
        );
        assert_eq!(told[1].hint.as_deref(), Some("make room"));
        assert!(queue.forget(&other).is_some());
        assert_eq!(queue.forget(&other), None);
        assert_eq!(queue.why_not(&other), None);
        assert_eq!(queue.troubles(at(1)).len(), 1);
        assert_eq!(queue.troubles(at(5 + 601)), []);
    }

    #[test]
    fn a_cause_is_news_once_and_again_only_if_it_is_another() {
        let mut queue = RetryQueue::default();
        let key = RetryKey::Repository("repo".into());
        let mut record_error = |cause: &str| {
            queue.put_off(key.clone(), ANY, at(0), 1.0);
            queue.record_error(&key, Diagnostic::new(cause))
        };
        assert!(record_error("EC2 did not answer (request 0f8e6f2a-1b2c, after 31 s)"));
        assert!(!record_error("EC2 did not answer (request 77aa01de-9c0d, after 30 s)"));
        assert!(record_error("ec2:DescribeImages is denied"));
        assert!(!record_error("ec2:DescribeImages is denied"));
        assert!(record_error("EC2 did not answer (request 77aa01de-9c0d, after 30 s)"));
        let past = queue.forget(&key).unwrap();
        assert_eq!((past.times, past.since), (5, at(0)));
        queue.put_off(key.clone(), ANY, at(0), 1.0);
        assert_eq!(queue.forget(&key), None, "it was never in vain");
    }

    #[test]
    fn a_trouble_that_has_passed_is_told_no_more_and_counts_until_its_wait_is_over() {
        let mut queue = RetryQueue::default();
        let key = build("1");
        let until = queue.put_off(key.clone(), ANY, at(0), 1.0);
        queue.record_error(&key, Diagnostic::new("throttled"));
        queue.is_well(&key, &ANY, at(1));
        assert_eq!(queue.troubles(at(1)), []);
        assert_eq!(queue.times(&key), 1, "what differs again at once waits");
        queue.is_well(&key, &ANY, until);
        assert_eq!(queue.times(&key), 0);
    }

    #[test]
    fn what_a_pass_does_not_come_to_is_nobodys_concern_any_more() {
        let mut queue = RetryQueue::default();
        let [gone, waits, tried, under_way] = ["1", "2", "3", "4"].map(build);
        for key in [&gone, &waits, &tried, &under_way] {
            queue.put_off(key.clone(), ANY, at(0), 1.0);
            queue.record_error(key, Diagnostic::new("no"));
        }
        queue.begin_pass();
        assert!(queue.waits(&waits, &ANY, at(1)).is_some());
        queue.put_off(tried.clone(), ANY, at(1), 1.0);
        queue.end_pass(|build| build.as_str() == "4");
        let times = [&gone, &waits, &tried, &under_way].map(|key| queue.times(key));
        assert_eq!(times, [0, 1, 2, 1]);
    }

    #[test]
    fn another_commit_is_looked_at_at_once_and_counted_anew() {
        let mut queue = RetryQueue::default();
        let key =
            RetryKey::Workflow(WorkflowLocation { repository: "repo".into(), folder: "wf".into() });
        let (one, two) = (Revision::new("1"), Revision::new("2"));
        for _ in 0..5 {
            queue.put_off(key.clone(), (&one).into(), at(0), 0.5);
        }
        assert!(queue.waits(&key, &(&one).into(), at(0)).is_some());
        assert_eq!(queue.waits(&key, &(&two).into(), at(0)), None);
        queue.put_off(key.clone(), (&two).into(), at(0), 0.5);
        assert_eq!(queue.times(&key), 1);
    }

    #[test]
    fn what_is_done_now_and_then_waits_for_its_time_or_for_other_circumstances() {
        let mut queue = RetryQueue::default();
        let key = RetryKey::OldBuildFolders;
        let journal = |seq| Circumstances::Journal { token: 3, seq };
        assert_eq!(queue.schedule(key.clone(), journal(9), at(0), at(600)), None);
        assert_eq!(queue.waits(&key, &journal(9), at(599)), Some(at(600)));
        assert_eq!(queue.waits(&key, &journal(10), at(599)), None, "the journal has moved");
        assert_eq!(queue.waits(&key, &journal(9), at(600)), None, "its time has come");
        queue.put_off(key.clone(), journal(9), at(600), 1.0);
        queue.record_error(&key, Diagnostic::new("throttled"));
        assert_eq!(queue.waits(&key, &journal(9), at(604)), Some(at(605)), "sooner if in vain");
        let past = queue.schedule(key.clone(), journal(9), at(605), at(1205));
        assert_eq!(past, Some(Past { times: 1, since: at(600) }));
        assert_eq!(queue.times(&key), 0);
        assert_eq!(queue.troubles(at(606)), []);
    }

    #[test]
    fn the_loop_wakes_for_the_first_of_what_the_last_pass_came_to() {
        let mut queue = RetryQueue::default();
        queue.begin_pass();
        assert_eq!(queue.next_due(), None);
        queue.put_off(build("1"), ANY, at(0), 1.0);
        queue.put_off(RetryKey::Repository("r".into()), ANY, at(-60), 1.0);
        assert_eq!(queue.next_due(), Some(at(5)), "a repository is read at every pass");
        queue.schedule(RetryKey::AbandonedWorkflows, ANY, at(0), at(3));
        assert_eq!(queue.next_due(), Some(at(3)));
        queue.begin_pass();
        assert_eq!(queue.next_due(), None, "nobody came to them");
        queue.waits(&build("1"), &ANY, at(1));
        assert_eq!(queue.next_due(), Some(at(5)));
    }

    /// A step that may be tried again, and has to wait for a free slot or for its parent: the end
    /// of that build wakes the loop.
    #[test]
    fn what_may_be_tried_and_is_not_wakes_nobody() {
        let mut queue = RetryQueue::default();
        queue.put_off(build("1"), ANY, at(0), 1.0);
        queue.begin_pass();
        assert_eq!(queue.waits(&build("1"), &ANY, at(6)), None);
        assert_eq!(queue.next_due(), None);
        queue.end_pass(|_| false);
        assert_eq!(queue.times(&build("1")), 1, "how often it was tried still counts");
        queue.put_off(build("1"), ANY, at(6), 1.0);
        assert_eq!(queue.next_due(), Some(at(16)));
    }

    #[test]
    fn a_command_that_ends_waits_for_builds_and_for_nothing_else_that_went_wrong() {
        let mut queue = RetryQueue::new(true);
        let place = WorkflowLocation { repository: "repo".into(), folder: "wf".into() };
        queue.put_off(RetryKey::Workflow(place), ANY, at(0), 1.0);
        queue.schedule(RetryKey::OldBuildFolders, ANY, at(0), at(3600));
        assert_eq!(queue.next_due(), None);
        queue.put_off(build("1"), ANY, at(0), 1.0);
        assert_eq!(queue.next_due(), Some(at(5)));
    }

    #[test]
    fn an_idle_loop_sleeps_for_its_interval() {
        assert_eq!(RetryQueue::default().pause(IDLE, at(0)), IDLE.interval);
    }

    #[test]
    fn what_was_done_is_looked_at_at_once_unless_a_build_will_wake_the_loop() {
        let mut queue = RetryQueue::default();
        let acted = PassEnd { acted: true, ..IDLE };
        assert_eq!(queue.pause(PassEnd { is_building: true, ..acted }, at(0)), IDLE.interval);
        let pauses = [(); 40].map(|()| queue.pause(acted, at(0)).as_secs());
        assert_eq!(pauses[..10], [0, 0, 0, 0, 0, 0, 0, 0, 2, 4]);
        assert_eq!(pauses[39], 300, "work that never ends slows down");
        queue.pause(IDLE, at(0));
        assert_eq!(queue.pause(acted, at(0)), Duration::ZERO);
    }

    #[test]
    fn the_first_time_is_waited_for_but_never_in_a_hot_loop() {
        let after = |due: i64, interval: Duration| {
            let mut queue = RetryQueue::default();
            queue.schedule(build("1"), ANY, at(-20), at(due));
            queue.pause(PassEnd { interval, ..IDLE }, at(0))
        };
        assert_eq!(after(40, IDLE.interval), Duration::from_secs(40));
        assert_eq!(after(4000, IDLE.interval), IDLE.interval);
        assert_eq!(after(-10, IDLE.interval), SHORTEST_PAUSE);
        assert_eq!(after(40, Duration::ZERO), SHORTEST_PAUSE);
    }
}
