//! Which provisioner of the template a log has come to.

use reconciler_model::build_phases::{PlannedProvisioner, PlannedRun};

use super::marks::Run;

/// The types of provisioners that say when they begin, in words that are known here.
const SPEAKING: [&str; 7] = [
    "shell",
    "shell-local",
    "powershell",
    "windows-shell",
    "file",
    "breakpoint",
    "windows-restart",
];

/// The provisioners of one source.
#[derive(Debug)]
pub(super) struct Planned {
    /// What they run, in order; none: it is not known which there are.
    steps: Option<Vec<Step>>,
    /// The one that runs; none: none has begun.
    current: Option<usize>,
    /// How many have begun, where it is not known which there are.
    counted: u32,
    /// Since when the next one waits.
    paused: Option<i64>,
}

/// One thing that a provisioner runs.
#[derive(Debug)]
struct Step {
    place: u32,
    kind: String,
    run: PlannedRun,
}

/// Where a log has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The provisioner's place in the template.
    pub(super) place: u32,
    /// Its name.
    pub(super) name: String,
    /// The names of those before it that have run without a word.
    pub(super) passed_over: Vec<String>,
    /// When it began, if it has waited before it spoke.
    pub(super) began: Option<i64>,
}

impl Planned {
    /// Those of a template that are run for a source.
    pub(super) fn of(provisioners: Option<&[PlannedProvisioner]>, source: &str) -> Self {
        let is_run = |one: &&PlannedProvisioner| {
            one.sources.as_ref().is_none_or(|sources| {
                // The name of a build stands before that of its source.
                sources.iter().any(|name| name == source || source.ends_with(&format!(".{name}")))
            })
        };
        let steps = provisioners.map(|all| {
            let one = |one: &PlannedProvisioner| {
                let (place, kind) = (one.place, one.kind.clone());
                let runs = one.runs.clone().into_iter();
                runs.map(move |run| Step { place, kind: kind.clone(), run }).collect::<Vec<_>>()
            };
            all.iter().filter(is_run).flat_map(one).collect()
        });
        Self { steps, current: None, counted: 0, paused: None }
    }

    /// The next one waits from now on.
    pub(super) fn pauses_at(&mut self, second: i64) {
        self.paused.get_or_insert(second);
    }

    /// Whether none is left that would say that it begins.
    pub(super) fn is_through(&self) -> bool {
        self.left().iter().all(Step::is_silent)
    }

    /// The names of those that are left.
    pub(super) fn rest(&self) -> Vec<String> {
        self.left().iter().map(Step::name).collect()
    }

    fn left(&self) -> &[Step] {
        let next = self.current.map_or(0, |current| current + 1);
        self.steps.as_deref().and_then(|steps| steps.get(next..)).unwrap_or_default()
    }

    /// Where the log has come to by these words; none if they begin nothing that is planned.
    pub(super) fn comes_to(&mut self, run: &Run<'_>, is_retried: bool) -> Option<Place> {
        let Some(steps) = &self.steps else {
            self.counted += u32::from(!is_retried || self.counted == 0);
            return Some(Place {
                place: self.counted,
                name: name_of(run),
                passed_over: Vec::new(),
                began: self.paused.take(),
            });
        };
        let next = match self.current {
            // All that a provisioner runs is run again.
            Some(current) if is_retried => {
                let place = steps[current].place;
                steps[..=current]
                    .iter()
                    .rposition(|step| step.place != place)
                    .map_or(0, |at| at + 1)
            }
            Some(current) => current + 1,
            None => 0,
        };
        let later = steps.get(next..).unwrap_or_default();
        let silent = later.iter().take_while(|step| step.is_silent() && !step.is(run)).count();
        let found = later.get(silent).filter(|step| step.is(run)).map(|_| next + silent);
        let at = match found {
            Some(at) => at,
            // One more of the same, of which nobody could say how many they are.
            None if self.current.is_some_and(|current| steps[current].goes_on_with(run)) => {
                self.current?
            }
            // What stood between is not in the log, which was cut.
            None => next + later.iter().position(|step| step.is_named(run))?,
        };
        let passed = steps.get(next..at).unwrap_or_default().iter();
        let passed_over = passed.filter(|step| step.is_silent()).map(Step::name).collect();
        let step = &steps[at];
        let is_same = self.current == Some(at) && matches!(step.run, PlannedRun::Itself);
        self.current = Some(at);
        let began = self.paused.take();
        (!is_same || is_retried).then(|| Place {
            place: step.place,
            name: match step.run {
                PlannedRun::Scripts => name_of(run),
                _ => step.name(),
            },
            passed_over,
            began,
        })
    }
}

impl Step {
    fn is_silent(&self) -> bool {
        !SPEAKING.contains(&self.kind.as_str())
    }

    /// Whether these are the words with which it begins.
    fn is(&self, run: &Run<'_>) -> bool {
        match (run, &self.run) {
            (Run::Other(kind), _) => self.kind.starts_with(&kind.to_lowercase()),
            (Run::Script { is_local, .. }, planned) => {
                let fits = *is_local == (self.kind == "shell-local") && !self.is_silent();
                fits && match (planned, run.script()) {
                    (PlannedRun::Inline, None) | (PlannedRun::Scripts, _) => true,
                    (PlannedRun::Script(name), Some(script)) => name == script,
                    _ => false,
                }
            }
        }
    }

    fn is_named(&self, run: &Run<'_>) -> bool {
        matches!(self.run, PlannedRun::Script(_)) && self.is(run)
    }

    fn goes_on_with(&self, run: &Run<'_>) -> bool {
        matches!(self.run, PlannedRun::Scripts | PlannedRun::Itself) && self.is(run)
    }

    fn name(&self) -> String {
        match &self.run {
            PlannedRun::Script(name) => name.clone(),
            PlannedRun::Inline | PlannedRun::Scripts => format!("inline {}", self.kind),
            PlannedRun::Itself => self.kind.clone(),
        }
    }
}

/// What is called by its words only.
fn name_of(run: &Run<'_>) -> String {
    match (run, run.script()) {
        (_, Some(script)) => script.to_owned(),
        (Run::Script { is_local: true, .. }, None) => "inline shell-local".to_owned(),
        (Run::Script { .. }, None) => "inline shell".to_owned(),
        (Run::Other(kind), None) => kind.to_lowercase(),
    }
}
