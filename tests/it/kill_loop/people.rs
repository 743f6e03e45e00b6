//! People who ask in the middle of it that a build ends, and then that its step is tried again.
//! Their command may be killed before it hears an answer; the request stands all the same.

use std::time::{Duration, Instant};

use reconciler_model::ids::StepId;
use reconciler_model::inventory::request::Outcome;

use crate::harness::farm::Farm;
use crate::harness::random_source::Dice;
use crate::harness::running::Running;

/// A person asks for the end of the build that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// How long after the build was seen it is asked.
    pause: Duration,
    /// How long after its start the command is killed; none: it hears the answer.
    killed_after: Option<Duration>,
}

impl Question {
    /// A question of a round, and when somebody begins to wait for a build; in every third round
    /// there is none.
    pub(super) fn drawn(dice: &mut Dice) -> Option<(Duration, Self)> {
        if dice.below(3) == 0 {
            return None;
        }
        let moment = Duration::from_millis(dice.below(2500) as u64);
        let pause = Duration::from_millis(dice.below(200) as u64);
        let lived = Duration::from_millis(dice.below(400) as u64);
        let killed_after = (dice.below(2) == 0).then_some(lived);
        Some((moment, Self { pause, killed_after }))
    }
}

/// The people of a farm.
#[derive(Default)]
pub(super) struct People {
    waiting: Vec<Running>,
}

impl People {
    /// Somebody asks, when a build has run for a while.
    pub(super) fn ask(&mut self, farm: &Farm, question: Question) {
        let Some(step) = step_that_runs(farm, Duration::from_secs(10)) else { return };
        std::thread::sleep(question.pause);
        let mut command = farm.start(&["cancel", step.as_str()], "", "people");
        if let Some(pause) = question.killed_after {
            std::thread::sleep(pause);
            command.kill();
        } else {
            self.waiting.push(command);
        }
    }

    /// Whether nobody waits for an answer.
    pub(super) fn are_answered(&mut self) -> bool {
        self.waiting.retain_mut(|command| command.ended().is_none());
        self.waiting.is_empty()
    }

    /// A build that somebody has ended waits for somebody, who asks for its step again.
    pub(super) fn ask_again(&mut self, farm: &Farm) {
        if !self.are_answered() {
            return;
        }
        let Ok(status) = farm.try_status() else { return };
        let cancelled = status
            .steps
            .iter()
            .find(|step| step.state == "quarantined" && step.reason.contains("cancelled by"));
        if let Some(step) = cancelled {
            self.waiting.push(farm.start(&["retry", step.step_id.as_str()], "", "people"));
        }
    }
}

/// The step of a build that runs, as soon as there is one.
fn step_that_runs(farm: &Farm, limit: Duration) -> Option<StepId> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let jobs = farm.builds().into_iter().filter(|build| build.ended().is_none());
        let heartbeat = jobs.filter_map(|build| build.job()?.heartbeat).next_back();
        if let Some(heartbeat) = heartbeat {
            return Some(heartbeat.step_id);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Whether every request has its answer: one whose command was killed before it woke anybody is
/// found with a heartbeat.
pub(super) fn all_are_answered(farm: &Farm) -> bool {
    farm.requests().iter().all(|request| request.answer.is_some())
}

/// How many requests were carried out; an error if the journal has more of them, or fewer.
pub(super) fn carried_out(farm: &Farm) -> Result<usize, String> {
    let requests = farm.requests();
    let answers = requests.iter().filter_map(|request| request.answer.as_ref());
    let done = answers.filter(|answer| matches!(answer.outcome, Outcome::Done { .. })).count();
    let steps = ["a", "b", "c"].into_iter();
    let noted = steps.flat_map(|step| farm.events(step));
    let noted = noted.filter(|event| event.stage.is_request()).count();
    if noted == done {
        return Ok(done);
    }
    Err(format!("{done} requests are said to be done, and the journal has {noted}"))
}
