//! When everything that git asks for will be there: the builds that are left, on so many slots, by
//! how long the newest builds of each step took. Pure; time is an argument.
//!
//! The order in which builds get their slots is decided here as well ([`build_order`]), so that
//! what is foretold is what is done: the longest chain of builds goes first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::plan::decision::{BuildSource, Decision};
use crate::plan::planner::PlannedStep;
use crate::plan::selection::Selection;
use reconciler_model::ids::StepId;
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::record::Built;

/// How many builds may run at once, and how many of these run that no plan shows: of a workflow
/// that git has no more, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildSlots {
    /// How many there are.
    pub limit: usize,
    /// How many are taken by what no plan shows; when those end nobody knows.
    pub taken: usize,
}

impl BuildSlots {
    /// None of them is taken by what no plan shows.
    #[must_use]
    pub fn of(limit: usize) -> Self {
        Self { limit, taken: 0 }
    }

    /// How many there are for what the plans show: something always goes on.
    fn shared(self) -> usize {
        self.limit.saturating_sub(self.taken).max(1)
    }
}

/// When all that waits for nobody is in sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// If each build takes as long as it usually does: half of the time it is sooner.
    pub in_sync_at: Timestamp,
    /// If each build takes as long as the slow one of ten.
    pub in_sync_at_if_slow: Timestamp,
    /// How many builds are left, those that run included.
    pub builds_left: usize,
    /// How many of them are of a step that was never built here: the median of the others is taken
    /// for their time.
    pub guessed: usize,
    /// The chain of steps that the end hangs on, first the first to end; each waits for the one
    /// before it, as its source or for its slot.
    pub critical_path: Vec<StepId>,
}

impl Forecast {
    /// How long it is until then, usually and if each build is slow.
    #[must_use]
    pub fn from(&self, now: Timestamp) -> [Duration; 2] {
        [self.in_sync_at, self.in_sync_at_if_slow]
            .map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }
}

/// What is foretold of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepForecast {
    /// When it is in sync, usually; none where nobody knows how long a build takes.
    pub ends_at: Option<Timestamp>,
    /// Its place in the line of those that could start, were there a slot: the first is 1. None: it
    /// runs, or something else keeps it from starting.
    pub place: Option<usize>,
}

/// What is foretold of one workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// How many builds may run at once.
    pub slots: usize,
    /// When it is in sync; none where nothing is left to build, or nobody knows how long a build
    /// takes.
    pub forecast: Option<Forecast>,
    steps: HashMap<StepId, StepForecast>,
}

impl Outlook {
    /// What is foretold of a step; none of one that is not going to be built, as far as is known.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<StepForecast> {
        self.steps.get(id).copied()
    }

    /// Of several workflows that share the slots, in the order in which a pass looks at them.
    #[must_use]
    pub fn of(
        plans: &[(&Plan, Option<&Selection>)],
        slots: BuildSlots,
        now: Timestamp,
    ) -> Vec<Self> {
        let mut jobs = Vec::new();
        let owned = plans.iter().enumerate();
        let ranges: Vec<_> = owned
            .map(|(number, (plan, wanted))| {
                let begin = jobs.len();
                add_jobs(&mut jobs, number, plan, *wanted, now);
                begin..jobs.len()
            })
            .collect();
        let is_known = fill_in_guesses(&mut jobs);
        let shared = slots.shared();
        let behind = behind(&jobs);
        let usual = schedule(&jobs, &behind, shared, |times| times.usual);
        let slow = schedule(&jobs, &behind, shared, |times| times.slow);
        let places = places(&jobs, &behind, shared);
        let outlooks = ranges.into_iter().map(|range| {
            let builds = || range.clone().filter(|job| !jobs[*job].is_free);
            let last = builds().filter(|_| is_known).max_by_key(|job| usual[*job].end);
            let forecast = last.map(|last| Forecast {
                in_sync_at: later(now, usual[last].end),
                in_sync_at_if_slow: later(
                    now,
                    range.clone().map(|job| slow[job].end).max().unwrap_or_default(),
                ),
                builds_left: builds().count(),
                guessed: jobs[range.clone()].iter().filter(|job| job.is_guessed).count(),
                critical_path: chain(&jobs, &usual, last),
            });
            let steps = range.map(|job| {
                let step = StepForecast {
                    ends_at: is_known.then(|| later(now, usual[job].end)),
                    place: places.get(&job).copied(),
                };
                (jobs[job].step.id.clone(), step)
            });
            Self { slots: slots.limit, forecast, steps: steps.collect() }
        });
        outlooks.collect()
    }
}

fn later(now: Timestamp, millis: u64) -> Timestamp {
    now.saturating_add(Duration::from_millis(millis)).unwrap_or(Timestamp::MAX)
}

/// The steps of a plan in the order in which their builds get slots: first the one with the longest
/// chain of builds behind it, by their usual times; of equals, the one that stands first.
#[must_use]
pub fn build_order<'a>(plan: &'a Plan, selection: Option<&'a Selection>) -> Vec<&'a PlannedStep> {
    let mut jobs = Vec::new();
    add_jobs(&mut jobs, 0, plan, selection, plan.at);
    fill_in_guesses(&mut jobs);
    let behind = behind(&jobs);
    let weight: HashMap<&StepId, u64> =
        jobs.iter().zip(&behind).map(|(job, behind)| (&job.step.id, *behind)).collect();
    let mut steps: Vec<_> = plan.wanted(selection).collect();
    // Seeded bug: the-first-step-starts-first
    steps.sort_by_key(|step| Reverse(weight.get(&step.id).copied().unwrap_or(0)));
    steps
}

/// How long a build takes from now on, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    usual: u64,
    slow: u64,
}

/// One build that is left.
#[derive(Clone, Debug)]
struct Job<'a> {
    step: &'a PlannedStep,
    /// Of which plan.
    plan: usize,
    /// The job whose image it starts from.
    after: Option<usize>,
    times: Times,
    is_guessed: bool,
    /// It holds a slot already.
    runs: bool,
    /// It takes no slot: its image exists.
    is_free: bool,
    /// How long it is held back, in milliseconds from now.
    held_back: u64,
}

fn add_jobs<'a>(
    jobs: &mut Vec<Job<'a>>,
    number: usize,
    plan: &'a Plan,
    wanted: Option<&Selection>,
    now: Timestamp,
) {
    let mut known: HashMap<&StepId, usize> = HashMap::new();
    let wants = |step: &&PlannedStep| wanted.is_none_or(|wanted| wanted.wants(&step.id));
    for step in plan.steps.iter().filter(wants) {
        let after = step.parent.as_ref().and_then(|parent| known.get(parent)).copied();
        let mut job = Job {
            step,
            plan: number,
            after,
            times: Times::default(),
            is_guessed: false,
            runs: false,
            is_free: false,
            held_back: 0,
        };
        match &step.decision {
            Decision::Build(_) => {}
            Decision::TakeOver(_) => job.is_free = true,
            Decision::Building(_) => (job.runs, job.after) = (true, None),
            Decision::BackingOff { until, .. } => {
                let held_back = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                job.held_back = millis(held_back);
            }
            // What is in the way goes by itself; it is built after it.
            Decision::Blocked(_) if after.is_some() => {}
            _ => continue,
        }
        let built = step.record.as_ref().and_then(|record| record.built.as_ref());
        let times = built.map(Built::times).unwrap_or_default();
        (job.times, job.is_guessed) = expected(&job, &times, now);
        known.insert(&step.id, jobs.len());
        jobs.push(job.clone());
        if let Decision::Building(building) = &step.decision
            && building.superseded
            && (after.is_some() || is_settled(plan, step.parent.as_ref()))
        {
            // It is built once more: after its parent, if that is built first, and after itself.
            let first = jobs.len() - 1;
            let held_back = if after.is_some() { job.times.usual } else { 0 };
            let again = Job { after: after.or(Some(first)), runs: false, held_back, ..job };
            let (times, is_guessed) = expected(&again, &times, now);
            known.insert(&step.id, jobs.len());
            jobs.push(Job { times, is_guessed, ..again });
        }
    }
}

/// Whether what stands on a step can be built on the image that it has; of no step: the base is
/// there.
fn is_settled(plan: &Plan, id: Option<&StepId>) -> bool {
    let step = plan.steps.iter().find(|step| Some(&step.id) == id);
    step.is_none_or(|step| matches!(step.decision, Decision::InSync | Decision::Update(_)))
}

/// How long a job takes from now on, and whether nobody knows.
fn expected(job: &Job<'_>, times: &BuildTimes, now: Timestamp) -> (Times, bool) {
    if job.is_free {
        return (Times::default(), false);
    }
    let (Some(usual), Some(slow)) = (times.usual(), times.slow()) else {
        return (Times::default(), true);
    };
    let times = Times { usual: millis(usual), slow: millis(slow) };
    match &job.step.decision {
        Decision::Building(building) if job.runs => {
            let elapsed = now.duration_since(building.since);
            let elapsed = millis(Duration::try_from(elapsed).unwrap_or_default());
            (left_of(times, elapsed), false)
        }
        _ => (times, false),
    }
}

/// What is left of a build that has run for so long. One that takes longer than usual takes half of
/// what is left to the slow one of ten; one that is slower still, a tenth of what it took.
fn left_of(times: Times, elapsed: u64) -> Times {
    let slow = match times.slow.saturating_sub(elapsed) {
        0 => elapsed / 10,
        left => left,
    };
    let usual = match times.usual.saturating_sub(elapsed) {
        0 => slow / 2,
        left => left,
    };
    Times { usual, slow }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Gives builds of which nobody knows how long they take the median of the others. False if nothing
/// is known of any: then each counts alike.
fn fill_in_guesses(jobs: &mut [Job<'_>]) -> bool {
    let known = || jobs.iter().filter(|job| !job.is_guessed && !job.is_free && !job.runs);
    let median = |of: fn(&Times) -> u64| {
        let mut times: Vec<_> = known().map(|job| of(&job.times)).collect();
        times.sort_unstable();
        times.get(times.len().saturating_sub(1) / 2).copied()
    };
    let guess = median(|times| times.usual).zip(median(|times| times.slow));
    let are_known = jobs.iter().all(|job| !job.is_guessed);
    let running = jobs.iter().filter(|job| job.runs && !job.is_guessed);
    let guess = guess.or_else(|| {
        // Only what runs is known: by what is left of it.
        running.map(|job| (job.times.usual, job.times.slow)).max()
    });
    let (usual, slow) = guess.unwrap_or((1, 1));
    for job in jobs.iter_mut().filter(|job| job.is_guessed) {
        job.times = Times { usual, slow };
    }
    guess.is_some() || are_known
}

/// How long the longest chain of builds is that begins with each job, by their usual times.
fn behind(jobs: &[Job<'_>]) -> Vec<u64> {
    let mut behind: Vec<u64> = jobs.iter().map(|job| job.times.usual).collect();
    // Parents stand before their children.
    for number in (0..jobs.len()).rev() {
        if let Some(parent) = jobs[number].after {
            let through = jobs[parent].times.usual.saturating_add(behind[number]);
            behind[parent] = behind[parent].max(through);
        }
    }
    behind
}

/// When a job ends, in milliseconds from now, and what it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scheduled {
    end: u64,
    /// The job whose end it waited for last: its source's, or one whose slot it got.
    waited_for: Option<usize>,
}

/// What becomes of the jobs on so many slots: whenever a slot is free, of those that can start the
/// first by plan gets it, then the one with the longest chain behind it.
fn schedule(
    jobs: &[Job<'_>],
    behind: &[u64],
    slots: usize,
    time: fn(&Times) -> u64,
) -> Vec<Scheduled> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); jobs.len()];
    for (number, job) in jobs.iter().enumerate() {
        if let Some(parent) = job.after {
            children[parent].push(number);
        }
    }
    let mut done = vec![Scheduled::default(); jobs.len()];
    let mut ready = BinaryHeap::new();
    // Ends of what runs, and moments at which something can start.
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut released: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut taken = 0;
    for (number, job) in jobs.iter().enumerate() {
        if job.runs {
            // Seeded bug: what-runs-holds-no-slot
            taken += 1;
            ends.push(Reverse((time(&job.times), number)));
        } else if job.after.is_none() {
            released.push(Reverse((job.held_back, number)));
        }
    }
    let (mut now, mut freed_by) = (0, None);
    loop {
        let mut start = |number: usize, freed_by: Option<usize>, ends: &mut BinaryHeap<_>| {
            let own_source = jobs[number].after.filter(|parent| done[*parent].end == now);
            done[number].waited_for = own_source.or(freed_by).or(jobs[number].after);
            ends.push(Reverse((now.saturating_add(time(&jobs[number].times)), number)));
        };
        while let Some(Reverse((at, number))) = released.peek().copied()
            && at <= now
        {
            released.pop();
            if jobs[number].is_free {
                start(number, None, &mut ends);
            } else {
                ready.push((Reverse(jobs[number].plan), behind[number], Reverse(number)));
            }
        }
        while taken < slots
            && let Some((.., Reverse(number))) = ready.pop()
        {
            taken += 1;
            start(number, freed_by, &mut ends);
        }
        let end = ends.peek().map(|Reverse((at, _))| *at);
        let release = released.peek().map(|Reverse((at, _))| *at);
        match (end, release) {
            (Some(end), release) if release.is_none_or(|release| end <= release) => {
                let Some(Reverse((at, number))) = ends.pop() else { break };
                now = at;
                done[number].end = at;
                freed_by = (!jobs[number].is_free).then_some(number);
                taken -= usize::from(!jobs[number].is_free);
                for child in &children[number] {
                    released.push(Reverse((at.max(jobs[*child].held_back), *child)));
                }
            }
            (_, Some(release)) => {
                now = release;
                freed_by = None;
            }
            (_, None) => break,
        }
    }
    done
}

/// The chain of waits that ends with a job, first the first.
fn chain(jobs: &[Job<'_>], done: &[Scheduled], last: usize) -> Vec<StepId> {
    let mut chain = vec![last];
    let mut at = last;
    while let Some(before) = done[at].waited_for.filter(|_| chain.len() <= jobs.len()) {
        chain.push(before);
        at = before;
    }
    chain.iter().rev().map(|job| jobs[*job].step.id.clone()).collect()
}

/// The places in the line of those that could start now, were there a slot.
fn places(jobs: &[Job<'_>], behind: &[u64], slots: usize) -> HashMap<usize, usize> {
    let running = jobs.iter().filter(|job| job.runs).count();
    let can_start = |job: &Job<'_>| matches!(&job.step.decision, Decision::Build(build) if matches!(build.source, BuildSource::Known { .. }));
    let mut line: Vec<_> = (0..jobs.len()).filter(|number| can_start(&jobs[*number])).collect();
    line.sort_by_key(|number| (jobs[*number].plan, Reverse(behind[*number]), *number));
    let free = slots.saturating_sub(running);
    line.into_iter().skip(free).zip(1..).collect()
}

#[cfg(test)]
mod tests;
