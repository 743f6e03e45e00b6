//! What became of a build in the model, as `controller::build_evidence` finds out. What it means is
//! decided by the real `recovery`.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::simulation::clockwork::Handle;
use crate::controller::simulation::daemon::Stopped;
use crate::controller::simulation::daemon::lease::Held;
use crate::controller::simulation::supervisor::of_told;
use crate::controller::simulation::world::{Bug, Outcome, SILENCE, Written, workflow};
use reconciler_core::lease_rules::UnchangedSince;
use reconciler_core::recovery;
use reconciler_core::recovery::{Evidence, Here, Life, State};
use reconciler_model::ids::AmiName;
use reconciler_model::images::Leftovers;
use reconciler_model::inventory::heartbeat::{BuildSignal, Heartbeat};
use reconciler_model::inventory::journal::Attempt;

/// Waits until a build runs no more. None: it is gone.
pub(super) async fn await_end(
    at: &Handle,
    held: &Held,
    attempt: &Attempt,
) -> Result<Option<Outcome>, Stopped> {
    let (since, mut still, mut silence) = (at.now(), None, Duration::from_millis(SILENCE));
    loop {
        if !held.holds(at) {
            return Err(Stopped);
        }
        let found = at.world().builds.get(&attempt.build_id).cloned();
        let own = at.world().mark(at.host);
        let here = attempt.intent.prepared_by == Some(own) || at.world().has(Bug::TrustsTheName);
        if let Some(build) = found.filter(|build| build.host == at.host) {
            if build.outcome.is_some() {
                return Ok(build.outcome);
            }
            at.sleep(Duration::from_secs(5)).await;
            continue;
        }
        let (asked, id) = (at.now(), attempt.build_id.clone());
        let beat = at.call(move |world| world.beats.get(&id).cloned()).await?;
        let life = match &beat {
            None => Life::None { watched: asked.saturating_sub(since), silence },
            Some(beat) => {
                silence = Duration::from_secs(beat.silence_seconds);
                match &beat.sign {
                    BuildSignal::Over { .. } => Life::Over,
                    BuildSignal::GivenUp { .. } => Life::Beats { still: silence, silence },
                    BuildSignal::Running { .. } => Life::Beats {
                        still: UnchangedSince::observe(&mut still, &beat.version, asked, at.now()),
                        silence,
                    },
                }
            }
        };
        let seen = Evidence {
            here: if here { Here::NeverStarted } else { Here::Elsewhere },
            told_started: attempt.is_said_to_run(),
            life,
            deadline: attempt.intent.deadline,
            now: at.world().wall(at.host),
        };
        let stood = beat.as_ref().map(|beat| beat.version.clone());
        let mut state = recovery::state(&seen);
        if state == State::MayRun
            && (at.world().has(Bug::NeverWaits)
                || (at.world().has(Bug::Impatient)
                    && matches!(life, Life::Beats { still, .. } if still > silence / 8)))
        {
            state = State::Gone;
        }
        match (state, beat.map(|beat| beat.sign)) {
            (State::Told, Some(BuildSignal::Over { outcome })) => {
                return Ok(Some(of_told(&outcome)));
            }
            (State::Gone, beat) => {
                let claimed = here && at.world().has(Bug::TrustsTheName);
                if !claimed
                    && !at.world().taken.contains_key(&attempt.build_id)
                    && !beat.is_some_and(|sign| sign.is_given_up())
                    && !give_up(at, held, attempt, stood).await?
                {
                    continue;
                }
                return Ok(None);
            }
            _ => at.sleep(silence / 8).await,
        }
    }
}

/// Whether it was given up: not if it has given a sign of life since.
async fn give_up(
    at: &Handle,
    held: &Held,
    attempt: &Attempt,
    stood: Option<String>,
) -> Result<bool, Stopped> {
    let version = at.world().id().to_string();
    let beat = Heartbeat {
        workflow_id: workflow(),
        step_id: attempt.step_id.clone(),
        build_id: attempt.build_id.clone(),
        host: attempt.intent.host.clone(),
        version,
        silence_seconds: SILENCE / 1000,
        at: Timestamp::UNIX_EPOCH,
        sign: BuildSignal::GivenUp {
            ami_name: attempt.intent.ami_name.clone(),
            traces: Leftovers::default(),
            unplanned_sources: vec![],
            until: attempt.intent.deadline + Duration::from_mins(15),
            region: None,
            reach: None,
        },
    };
    let token = held.token;
    match at.call(move |world| world.give_up(beat, stood.as_deref(), token)).await? {
        Written::Done => Ok(true),
        Written::Conflict => Ok(false),
        Written::Fenced => Err(Stopped),
    }
}

/// Whether a build that was given up may have made the image of this name.
pub(super) async fn is_of_a_lost_build(at: &Handle, name: &AmiName) -> Result<bool, Stopped> {
    let name = name.clone();
    Ok(at
        .call(move |world| {
            world.beats.values().any(
                |beat| matches!(&beat.sign, BuildSignal::GivenUp { ami_name, .. } if *ami_name == name),
            )
        })
        .await?)
}
