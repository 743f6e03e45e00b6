//! Where the time of a build went: folds the lines of its log, each with the second in which it was
//! said, into phases. Pure.
//!
//! Packer 1.6 and today's say the same words at the same places, but today's writes what scripts
//! print as it writes its own words. So what a line says counts only where the build can be: phases
//! follow each other in one direction, and a provisioner begins where the template has one
//! ([`PlannedProvisioner`]). Several sources are built at once, each with phases of its own.

mod marks;
mod planned;

use std::collections::VecDeque;

use reconciler_model::build_phases::{
    BuildPhase, LONGEST_NAME, MOST_PHASES, PhaseEnd, PhaseKind, PlannedProvisioner,
};

use self::marks::{Mark, Said, ending, mark, said};
use self::planned::{Place, Planned};
use crate::build::output::Line;

/// How many sources are told apart. A step has one.
const MOST_SOURCES: usize = 8;

/// How many of the last lines of a phase are kept.
const MOST_LINES: usize = 12;

/// So much is kept of one of them, in characters.
const LONGEST_LINE: usize = 1000;

/// The phases of a build, and how the one that failed ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Source by source, in the order in which they happened.
    pub phases: Vec<BuildPhase>,
    /// The last lines of the first phase that failed, as people read them.
    pub last_lines: Vec<String>,
}

/// What becomes of a source whose log does not say how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It was ended at this second.
    Ended(i64),
    /// It goes on.
    GoesOn,
}

/// Reads a log.
#[derive(Debug)]
pub struct PhaseReader {
    provisioners: Option<Vec<PlannedProvisioner>>,
    sources: Vec<Source>,
}

impl PhaseReader {
    /// Nothing was read yet. `provisioners` are those of the template; none where they are not
    /// known: then they are counted as they come.
    #[must_use]
    pub fn new(provisioners: Option<Vec<PlannedProvisioner>>) -> Self {
        Self { provisioners, sources: Vec::new() }
    }

    /// Takes in one more line, said in this second.
    pub fn take(&mut self, second: i64, line: &Line) {
        let Line::Ui(kind, text) = line else {
            return;
        };
        if let Some((name, end)) = ending(text) {
            if let Some(source) = self.sources.iter_mut().find(|source| source.name == name) {
                source.ends(second, end);
            }
            return;
        }
        for one in text.lines() {
            let Some(said) = said(one) else {
                continue;
            };
            if let Some(at) = self.source(second, said.source) {
                self.sources[at].hears(second, kind, &said);
            }
        }
    }

    /// The place of a source among those that were heard of; none if there are too many.
    fn source(&mut self, second: i64, name: &str) -> Option<usize> {
        let known = self.sources.iter().position(|source| source.name == name);
        known.or_else(|| {
            (self.sources.len() < MOST_SOURCES).then(|| {
                let planned = Planned::of(self.provisioners.as_deref(), name);
                self.sources.push(Source::new(name, second, planned));
                self.sources.len() - 1
            })
        })
    }

    /// What was read.
    #[must_use]
    pub fn finish(self, unfinished: Unfinished) -> Phases {
        let several = self.sources.len() > 1;
        let mut all = Phases::default();
        for mut source in self.sources {
            source.settle(unfinished);
            let room = MOST_PHASES - all.phases.len();
            let mut phases = source.phases;
            phases.truncate(room);
            if several {
                for phase in &mut phases {
                    phase.source = Some(source.name.clone());
                }
            }
            if all.last_lines.is_empty() {
                all.last_lines = source.failed_with;
            }
            all.phases.extend(phases);
        }
        all
    }
}

/// One source's way through its build.
#[derive(Debug)]
struct Source {
    name: String,
    planned: Planned,
    phases: Vec<BuildPhase>,
    /// Which phase lasts, and since when.
    current: usize,
    since: i64,
    /// When the newest line was said.
    newest: i64,
    /// A provisioner has failed and is begun again.
    is_retried: bool,
    /// What was said last in the phase that lasts, and which came before the clean-up with what was
    /// said last in it.
    lines: VecDeque<String>,
    before_clean_up: (usize, VecDeque<String>),
    failed_with: Vec<String>,
    is_over: bool,
}

impl Source {
    fn new(name: &str, second: i64, planned: Planned) -> Self {
        Self {
            name: name.chars().take(LONGEST_NAME).collect(),
            planned,
            phases: vec![phase(PhaseKind::Instance, None, "")],
            current: 0,
            since: second,
            newest: second,
            is_retried: false,
            lines: VecDeque::new(),
            before_clean_up: (0, VecDeque::new()),
            failed_with: Vec::new(),
            is_over: false,
        }
    }

    fn kind(&self) -> PhaseKind {
        self.phases[self.current].phase
    }

    fn hears(&mut self, second: i64, kind: &str, said: &Said<'_>) {
        if self.is_over {
            return;
        }
        self.newest = self.newest.max(second);
        let before = (self.current, self.phases.len());
        if kind == "say"
            && said.is_heading
            && let Some(mark) = mark(said.text)
        {
            self.comes_to(second, &mark);
        }
        if (self.current, self.phases.len()) != before {
            // It says no more than that a phase has begun.
            return;
        }
        if self.lines.len() == MOST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(said.text.chars().take(LONGEST_LINE).collect());
    }

    fn comes_to(&mut self, second: i64, mark: &Mark<'_>) {
        match mark {
            Mark::Connecting(name) if self.kind() < PhaseKind::Connection => {
                self.begin(second, phase(PhaseKind::Connection, None, name));
            }
            Mark::Pausing if self.may_provision() => self.planned.pauses_at(second),
            Mark::Retrying if self.kind() == PhaseKind::Provisioner => self.is_retried = true,
            Mark::Provisioner(run) if self.may_provision() => self.provisions(second, run),
            // Seeded bug: a-script-moves-the-phases
            Mark::Stopping if self.kind() < PhaseKind::Image && self.planned.is_through() => {
                self.begin_image(second);
            }
            Mark::Creating if self.kind() < PhaseKind::Image => self.begin_image(second),
            Mark::Copying if self.kind() == PhaseKind::Image => {
                self.begin(second, phase(PhaseKind::Copy, None, ""));
            }
            Mark::ProvisionerFailed if self.kind() == PhaseKind::Provisioner => {
                self.fails();
                self.begin_clean_up(second);
            }
            Mark::CleaningUp if self.kind() < PhaseKind::CleanUp => self.begin_clean_up(second),
            Mark::PostProcessor(name) if self.kind() >= PhaseKind::Image => {
                let before = self.phases.iter().filter(|one| one.phase == PhaseKind::PostProcessor);
                let place = u32::try_from(before.count() + 1).ok();
                self.begin(second, phase(PhaseKind::PostProcessor, place, name));
            }
            _ => {}
        }
    }

    fn may_provision(&self) -> bool {
        self.kind() <= PhaseKind::Provisioner
    }

    fn provisions(&mut self, second: i64, run: &marks::Run<'_>) {
        let retried = self.is_retried;
        let Some(Place { place, name, passed_over, began }) = self.planned.comes_to(run, retried)
        else {
            return;
        };
        self.is_retried = false;
        self.add_names(&passed_over);
        let next = phase(PhaseKind::Provisioner, Some(place), &name);
        let is_same = |one: &BuildPhase| {
            (one.phase, one.place, &one.name) == (next.phase, next.place, &next.name)
        };
        // Each run of it is one more try, and its time is that of all tries.
        // Seeded bug: a-retried-provisioner-is-another
        match self.phases.iter().position(is_same).filter(|_| retried) {
            Some(at) => {
                self.leave(began.unwrap_or(second));
                self.phases[at].tries = self.phases[at].tries.saturating_add(1);
                self.current = at;
            }
            None => self.begin(began.unwrap_or(second), next),
        }
    }

    /// Provisioners of which Packer says nothing are known to have run by the next that it tells of.
    fn add_names(&mut self, names: &[String]) {
        let current = &mut self.phases[self.current];
        for name in names {
            if current.phase == PhaseKind::Provisioner {
                current.name = shortened(&format!("{}, {name}", current.name));
            }
        }
    }

    fn begin_image(&mut self, second: i64) {
        let silent = self.planned.rest();
        self.add_names(&silent);
        self.begin(second, phase(PhaseKind::Image, None, ""));
    }

    fn begin_clean_up(&mut self, second: i64) {
        self.before_clean_up = (self.current, self.lines.clone());
        self.begin(second, phase(PhaseKind::CleanUp, None, ""));
    }

    fn begin(&mut self, second: i64, next: BuildPhase) {
        self.leave(second);
        if self.phases.len() == MOST_PHASES {
            // The last one stands for all that come.
            let last = &mut self.phases[MOST_PHASES - 1];
            if !last.name.ends_with(" and more") {
                last.name.push_str(" and more");
            }
            last.phase = next.phase;
        } else {
            self.phases.push(next);
        }
        self.current = self.phases.len() - 1;
    }

    /// Counts the time of the phase that lasts.
    fn leave(&mut self, second: i64) {
        // A clock that was set back meanwhile says nothing.
        let took = u64::try_from(second.saturating_sub(self.since)).unwrap_or(0);
        let current = &mut self.phases[self.current];
        current.seconds = current.seconds.saturating_add(took);
        self.since = self.since.max(second);
        self.lines.clear();
    }

    /// Notes in which phase it failed: what is cleaned up after comes later.
    fn fails(&mut self) {
        if self.phases.iter().any(|one| one.end == PhaseEnd::Failed) {
            return;
        }
        // Seeded bug: the-clean-up-is-said-to-have-failed
        let (at, lines) = if self.kind() == PhaseKind::CleanUp {
            (self.before_clean_up.0, &self.before_clean_up.1)
        } else {
            (self.current, &self.lines)
        };
        self.phases[at].end = PhaseEnd::Failed;
        self.failed_with = lines.iter().cloned().collect();
    }

    fn ends(&mut self, second: i64, end: PhaseEnd) {
        if self.is_over {
            return;
        }
        if end == PhaseEnd::Failed {
            self.fails();
        }
        self.leave(second);
        self.is_over = true;
    }

    fn settle(&mut self, unfinished: Unfinished) {
        match unfinished {
            Unfinished::Ended(second) => self.ends(second.max(self.newest), PhaseEnd::Failed),
            Unfinished::GoesOn if !self.is_over => self.leave(self.newest),
            Unfinished::GoesOn => {}
        }
    }
}

fn phase(phase: PhaseKind, place: Option<u32>, name: &str) -> BuildPhase {
    BuildPhase {
        phase,
        source: None,
        place,
        name: shortened(name),
        seconds: 0,
        tries: 1,
        end: PhaseEnd::Passed,
        last_seconds: None,
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    let begin: String = name.chars().take(LONGEST_NAME - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests;
