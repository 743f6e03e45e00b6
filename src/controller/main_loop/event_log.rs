//! Tells what happens, and what does not work: once when that begins or has another cause, and once
//! when it is over, however many passes lie between.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::error::PassError;
use crate::controller::main_loop::Controller;
use crate::controller::main_loop::event::{Event, Failing, Origin};
use crate::controller::main_loop::retry_queue::{Circumstances, Past, RetryKey};
use crate::controller::main_loop::workflow_state::WorkflowKey;

impl Controller {
    /// Tells whoever listens.
    pub(super) fn notice(&self, key: &WorkflowKey, event: &Event<'_>) {
        self.services.observer.notice(&key.origin(), event);
    }

    /// What did not work is left alone for a while, and is told to whoever asks. Returns until
    /// when.
    pub(super) fn failed(
        &mut self,
        key: &RetryKey,
        origin: &Origin<'_>,
        circumstances: &Circumstances,
        error: &PassError,
    ) -> Timestamp {
        let (now, jitter) = (self.services.context.now(), self.services.context.jitter());
        let until = self.queue.put_off(key.clone(), circumstances.clone(), now, jitter);
        // Seeded bug: trouble-is-not-told
        if self.queue.record_error(key, error.diagnostic()) {
            let (step, build) = match key {
                RetryKey::Step(_, step) => (Some(step), None),
                RetryKey::Build(build) => (None, Some(build)),
                _ => (None, None),
            };
            let revision = match circumstances {
                Circumstances::Commit(revision) => Some(revision),
                _ => None,
            };
            let failing = Failing {
                what: key.words(),
                step,
                build,
                revision,
                error,
                times: self.queue.times(key),
                next_try: until,
            };
            self.services.observer.notice(origin, &Event::Failing(&failing));
        }
        until
    }

    /// All is well with it; told where it was not.
    pub(super) fn succeeded(&mut self, key: &RetryKey, origin: &Origin<'_>) {
        let past = self.queue.forget(key);
        self.notice_recovery(key, origin, past);
    }

    /// It is done, and is done again after a while, or under other circumstances; told where it did
    /// not work before.
    pub(super) fn done_until(
        &mut self,
        key: &RetryKey,
        origin: &Origin<'_>,
        circumstances: Circumstances,
        pause: Duration,
    ) {
        let now = self.services.context.now();
        let past = self.queue.schedule(key.clone(), circumstances, now, now + pause);
        self.notice_recovery(key, origin, past);
    }

    /// There is nothing to be tried any more; told where something was not well.
    pub(super) fn is_well(
        &mut self,
        key: &RetryKey,
        origin: &Origin<'_>,
        circumstances: &Circumstances,
        now: Timestamp,
    ) {
        let past = self.queue.is_well(key, circumstances, now);
        self.notice_recovery(key, origin, past);
    }

    /// Tells that something works again that did not.
    pub(super) fn notice_recovery(&self, key: &RetryKey, origin: &Origin<'_>, past: Option<Past>) {
        if let Some(past) = past {
            let event =
                Event::Recovered { what: &key.words(), times: past.times, since: past.since };
            self.services.observer.notice(origin, &event);
        }
    }
}
