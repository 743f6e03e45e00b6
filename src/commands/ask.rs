//! Asks whoever holds the lease of a workflow for something, and waits for the answer.
//!
//! The request stands in the inventory from the moment it is asked: Ctrl-C ends the wait and not
//! the request. Where nobody holds the lease, this process takes it and does what the holder would
//! have done, for whoever asked.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reconciler::config::Config;
use reconciler::controller::build_finish::carry;
use reconciler::controller::connect::Ports;
use reconciler::controller::error::PassError;
use reconciler::controller::fenced::LeasedPorts;
use reconciler::controller::lease::{Asked, Held, Watched, ask};
use reconciler::controller::process_sight::holder_of;
use reconciler::controller::requests::{
    PlanOfRequest, answer_by_journal, answer_by_plan, answer_without_git,
};
use reconciler::controller::wake_file::wake;
use reconciler_core::plan::sentences::duration_words;
use reconciler_core::plan::sight::{Process, holder_words};
use reconciler_model::build::Sighting;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{BuildId, RequestId, WorkflowId};
use reconciler_model::inventory::journal::{Attempt, FailureClass};
use reconciler_model::inventory::request::{Answer, Outcome, Request, Wish};
use reconciler_model::inventory::{Fence, InventoryError, Lease};
use tokio::time::Instant;

use super::open::who;
use super::plan::Observed;
use super::{CommandError, print};

/// How often it is looked whether there is an answer.
const LOOK: Duration = Duration::from_millis(300);

/// After so long a person hears what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(2);

/// After so long without an answer the wait ends; the request does not.
const PATIENCE: Duration = Duration::from_mins(15);

/// How often it is looked whether a build is settled.
const SETTLED_LOOK: Duration = Duration::from_millis(500);

/// How soon what failed for something that may go away is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How often a person hears that it is still waited for.
const TELL_EVERY: Duration = Duration::from_mins(5);

/// A workflow of which something is asked.
pub(super) struct Asking<'a> {
    pub(super) config: &'a Config,
    pub(super) ports: &'a Ports,
    pub(super) workflow: &'a WorkflowId,
}

/// What came of a request.
pub(super) struct Answered {
    /// The build that it concerns.
    pub(super) build: BuildId,
    /// Who answered; none: this process did, for nobody held the lease.
    pub(super) holder: Option<String>,
}

impl Asking<'_> {
    /// Asks for something. It stands from here on.
    pub(super) async fn ask(
        &self,
        wish: Wish,
        why: Option<&String>,
    ) -> Result<RequestId, CommandError> {
        let request = Request {
            workflow_id: self.workflow.clone(),
            id: RequestId::generate(),
            by: who(),
            at: Timestamp::now(),
            why: why.cloned(),
            wish,
        };
        match self.ports.inventory.ask(&request).await {
            // The table of requests is younger than the others.
            Err(InventoryError::Schema { .. }) => {
                self.ports.inventory.prepare().await?;
                self.ports.inventory.ask(&request).await?;
            }
            other => other?,
        }
        wake(&self.config.state_dir);
        Ok(request.id)
    }

    /// Waits for the answer; an error if it is a refusal. `look` makes the plan that some requests
    /// need, should this process have to carry them out.
    pub(super) async fn answer(
        &self,
        id: &RequestId,
        look: impl AsyncFn() -> Result<Option<Observed>, CommandError>,
    ) -> Result<Answered, CommandError> {
        self.wait(id, async |held| self.carry_out(held, &look).await).await
    }

    /// Waits for the answer about a workflow that git has no more; an error if it is a refusal.
    pub(super) async fn answer_without_git(
        &self,
        id: &RequestId,
    ) -> Result<Answered, CommandError> {
        self.wait(id, async |held| self.carry_out_without_git(held).await).await
    }

    /// Waits for the answer; `carry_out` does what the holder of the lease would do, should nobody
    /// hold it.
    async fn wait(
        &self,
        id: &RequestId,
        carry_out: impl AsyncFn(&Held) -> Result<(), CommandError>,
    ) -> Result<Answered, CommandError> {
        let (began, mut said) = (Instant::now(), false);
        let mut watched = None;
        loop {
            if let Some(answer) = self.stands(id).await? {
                return answered(answer, None);
            }
            match self.lease(&mut watched).await? {
                Some(Asked::Held(held)) => {
                    let carried_out = carry_out(&held).await;
                    held.release().await;
                    carried_out?;
                    if let Some(answer) = self.stands(id).await? {
                        let own = self.ports.context.holder_name();
                        return answered(answer, Some(&own));
                    }
                }
                Some(Asked::Busy(lease)) if !said && began.elapsed() >= SAY_AFTER => {
                    said = true;
                    print::note(&waiting(id, &lease));
                }
                None if !said && began.elapsed() >= SAY_AFTER => {
                    said = true;
                    print::note(&format!(
                        "waiting for a reconciler to answer request {id}: nobody holds the lease of workflow {}, and you may not take it; Ctrl-C ends the wait, not the request",
                        self.workflow
                    ));
                }
                Some(Asked::Busy(_)) | None => {}
            }
            if began.elapsed() >= PATIENCE {
                return Err(Diagnostic::new(format!("request {id} is not answered yet"))
                    .hint("it stands: `reconciler requests` shows it, and `reconciler status` who holds the lease")
                    .into());
            }
            self.ports.context.sleep(LOOK).await;
        }
    }

    /// The answer, if there is one.
    async fn stands(&self, id: &RequestId) -> Result<Option<Answer>, CommandError> {
        let stands = self.ports.inventory.request(self.workflow, id).await?;
        let Some(stands) = stands else {
            return Err(Diagnostic::new(format!(
                "request {id} is gone from {}: it was removed",
                self.ports.inventory.place()
            ))
            .hint("look with `reconciler status`, and ask again")
            .into());
        };
        Ok(stands.answer)
    }

    /// Asks for the lease; none if this user may not take it.
    async fn lease(&self, watched: &mut Option<Watched>) -> Result<Option<Asked>, CommandError> {
        let duration = self.config.lease_duration;
        let (context, inventory) = (&self.ports.context, &self.ports.inventory);
        match ask(context, inventory, self.workflow, duration, watched).await {
            Ok(asked) => Ok(Some(asked)),
            Err(InventoryError::Denied { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what the holder of the lease would do about all that stands.
    async fn carry_out(
        &self,
        held: &Held,
        look: &impl AsyncFn() -> Result<Option<Observed>, CommandError>,
    ) -> Result<(), CommandError> {
        let (ports, fence) = leased(self.ports, held)?;
        // What may go away by itself is looked at again.
        let found = answer_by_journal(&ports, &fence).await?;
        for request in &found.open {
            let Some(seen) = look().await? else {
                break;
            };
            let by = PlanOfRequest {
                plan: &seen.look.plan,
                desired: &seen.look.desired,
                attempts: &seen.look.newest.attempts,
            };
            answer_by_plan(self.config, &ports, &fence, by, request).await?;
        }
        Ok(())
    }

    /// Does what can be done about all that stands of a workflow that git has no more.
    async fn carry_out_without_git(&self, held: &Held) -> Result<(), CommandError> {
        let (ports, fence) = leased(self.ports, held)?;
        // What may go away by itself is looked at again.
        let found = answer_by_journal(&ports, &fence).await?;
        for request in &found.open {
            answer_without_git(&ports, &fence, request).await?;
        }
        Ok(())
    }

    /// The build once it is settled: by whoever holds the lease, or by this command where nobody
    /// does, or nobody who lives. It is waited for so long.
    pub(super) async fn settled(
        &self,
        asked: Attempt,
        sighting: &Sighting,
        patience: Duration,
    ) -> Result<Attempt, CommandError> {
        let (began, mut told) = (Instant::now(), Instant::now());
        let mut watched = None;
        while began.elapsed() < patience {
            let lease = match self.lease(&mut watched).await? {
                Some(Asked::Held(held)) => Some(held),
                // It is another's, or this user may not take it.
                Some(Asked::Busy(_)) | None => None,
            };
            let attempts = self.ports.inventory.attempts(self.workflow).await?;
            let mut attempts = attempts.into_iter();
            let found = attempts.find(|one| one.build_id == asked.build_id);
            // Where it is not found, a newer build of the step has begun: this one is over.
            let Some(attempt) = found.clone().filter(|found| !found.is_over()) else {
                if let Some(held) = lease {
                    held.release().await;
                }
                return Ok(found.unwrap_or(asked));
            };
            if let Some(held) = lease {
                let (ports, fence) = leased(self.ports, &held)?;
                let carry = carry(self.config, &ports, &fence, attempt, sighting.clone());
                let carried = Box::pin(carry).await;
                held.release().await;
                match carried {
                    Err(error) if error.class() == FailureClass::Transient => {
                        print::note(&format!("{error}; it is tried again"));
                        ports.context.sleep(TRY_AGAIN).await;
                    }
                    carried => return Ok(carried?),
                }
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let waited = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
                print::note(&format!("still waiting, for {} by now", duration_words(waited)));
            }
            self.ports.context.sleep(SETTLED_LOOK).await;
        }
        Err(Diagnostic::new(format!("build {} is not settled yet", asked.build_id))
            .hint("`reconciler status` shows it; a host that is gone is noticed when its signs of life stop")
            .into())
    }
}

/// What this process does under a lease that it has just got, it does through these.
fn leased(ports: &Ports, held: &Held) -> Result<(LeasedPorts, Fence), Diagnostic> {
    let fence = held.fence().ok_or_else(|| Diagnostic::new("the lease was lost at once"))?;
    Ok((LeasedPorts::new(ports.clone(), held.lease_token()), fence))
}

fn answered(answer: Answer, own: Option<&str>) -> Result<Answered, CommandError> {
    match answer.outcome {
        Outcome::Done { build } => {
            let holder = Some(answer.by).filter(|by| own != Some(by));
            Ok(Answered { build, holder })
        }
        Outcome::Refused { why, hint } => {
            let refused = Diagnostic { message: why, place: None, hint };
            Err(CommandError::Pass(PassError::Person(refused)))
        }
    }
}

fn waiting(id: &RequestId, lease: &Lease) -> String {
    let holder = lease.holder.as_deref().map_or_else(|| "another".to_owned(), holder_words);
    let more = match holder_of(Some(lease)) {
        Process::Stopped => "; it is stopped by a signal (SIGSTOP): its lease runs out, or end it",
        Process::Ended => "; it has ended, and its lease runs out",
        _ => "",
    };
    format!(
        "waiting for {holder}, which holds the lease of workflow {}, to answer request {id}{more}; Ctrl-C ends the wait, not the request (`reconciler requests` shows it)",
        lease.workflow_id
    )
}
