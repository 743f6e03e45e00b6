//! Tells what happens, and what does not work: once when that begins or has another cause, and once
//! when it is over, however many passes lie between.

use jiff::Timestamp;

use crate::controller::error::PassError;
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::backoff::{BackoffKey, Past};
use crate::controller::main_loop::event::{Event, Failing, Origin};
use crate::controller::main_loop::workflow_pass::{WorkflowKey, WorkflowLocation};
use reconciler_model::ids::Revision;

impl WorkflowKey {
    /// The workflow, as a place where something happens.
    pub(super) fn origin(&self) -> Origin<'_> {
        let WorkflowLocation { site, folder } = &self.location;
        Origin { repository: site, folder: Some(folder), workflow: Some(&self.inventory.id) }
    }
}

impl Controller {
    /// Tells whoever listens.
    pub(super) fn tell(&self, key: &WorkflowKey, event: &Event<'_>) {
        self.observer.notice(&key.origin(), event);
    }

    /// What did not work is left alone for a while, and is told to whoever asks. Returns until
    /// when.
    pub(super) fn put_off(
        &mut self,
        matter: &BackoffKey,
        origin: &Origin<'_>,
        revision: Option<&Revision>,
        error: &PassError,
    ) -> Timestamp {
        let until =
            self.backoffs.note(matter.clone(), revision, self.context.now(), self.context.jitter());
        // Seeded bug: trouble-is-not-told
        if self.backoffs.record_error(matter, error.diagnostic()) {
            let (step, build) = match matter {
                BackoffKey::Step(_, step) => (Some(step), None),
                BackoffKey::Build(build) => (None, Some(build)),
                _ => (None, None),
            };
            let failing = Failing {
                what: matter.words(),
                step,
                build,
                revision,
                error,
                times: self.backoffs.times(matter),
                next_try: until,
            };
            self.observer.notice(origin, &Event::Failing(&failing));
        }
        until
    }

    /// All is well with it; told where it was not.
    pub(super) fn settle(&mut self, matter: &BackoffKey, origin: &Origin<'_>) {
        let past = self.backoffs.forget(matter);
        self.tell_of_past(matter, origin, past);
    }

    /// There is nothing to be tried any more; told where something was not well.
    pub(super) fn absolve(
        &mut self,
        matter: &BackoffKey,
        origin: &Origin<'_>,
        revision: Option<&Revision>,
        now: Timestamp,
    ) {
        let past = self.backoffs.absolve(matter, revision, now);
        self.tell_of_past(matter, origin, past);
    }

    /// Tells that something works again that did not.
    pub(super) fn tell_of_past(
        &self,
        matter: &BackoffKey,
        origin: &Origin<'_>,
        past: Option<Past>,
    ) {
        if let Some(past) = past {
            let event =
                Event::Recovered { what: &matter.words(), times: past.times, since: past.since };
            self.observer.notice(origin, &event);
        }
    }
}
