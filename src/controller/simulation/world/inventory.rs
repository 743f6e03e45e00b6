//! The inventory of the model: lease, journal, records and signs of life, with the rules that hold
//! whoever writes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::simulation::world::{Bug, SILENCE, World, workflow};
use reconciler_model::inventory::Lease;
use reconciler_model::inventory::heartbeat::{Answer, Heartbeat};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Stage};
use reconciler_model::inventory::record::RecordHead;

/// How a fenced write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller::simulation) enum Written {
    Done,
    Fenced,
    Conflict,
}

impl World {
    pub(in crate::controller::simulation) fn acquire(
        &mut self,
        holder: String,
        seen: Option<&Lease>,
    ) -> Option<Arc<Lease>> {
        let mark = |lease: &Lease| (lease.token, lease.version.clone());
        if self.lease.as_deref().map(mark) != seen.map(mark) {
            return None;
        }
        self.tokens += 1;
        let lease = Arc::new(Lease {
            workflow_id: workflow(),
            holder: Some(holder),
            token: self.tokens,
            version: self.id().to_string(),
            duration_seconds: 30,
            renewed_at: Timestamp::UNIX_EPOCH,
            journal_seq: 0,
        });
        self.say(|| format!("{:?} holds token {}", lease.holder, lease.token));
        self.lease = Some(Arc::clone(&lease));
        Some(lease)
    }

    pub(in crate::controller::simulation) fn holds(&self, token: u64) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.token == token && lease.holder.is_some())
    }

    pub(in crate::controller::simulation) fn renew(&mut self, token: u64) -> bool {
        let version = self.id().to_string();
        let held = self.holds(token);
        if let Some(lease) = self.lease.as_mut().filter(|_| held) {
            Arc::make_mut(lease).version = version;
        }
        held
    }

    pub(in crate::controller::simulation) fn release(&mut self, token: u64) {
        if self.holds(token)
            && let Some(lease) = &mut self.lease
        {
            Arc::make_mut(lease).holder = None;
        }
    }

    /// Somebody who believes in its lease is about to act at EC2, which asks for no token.
    pub(in crate::controller::simulation) fn acts(&mut self, token: u64) {
        let holds = self.holds(token);
        self.demand(holds, || format!("token {token} acts at EC2, and the lease is another's"));
    }

    /// A supervisor is about to start Packer. Its daemon may have died and another one of the same
    /// host taken the lease, which follows it.
    pub(in crate::controller::simulation) fn starts_packer(&mut self, token: u64, host: usize) {
        let mark = self.mark(host).to_string();
        let holder = self.lease.as_ref().and_then(|lease| lease.holder.as_deref());
        let of_this_host = holder.is_some_and(|holder| holder.ends_with(&format!("-{mark}")));
        if !of_this_host {
            self.acts(token);
        }
    }

    pub(in crate::controller::simulation) fn write(
        &mut self,
        event: &BuildEvent,
        record: Option<&RecordHead>,
        token: u64,
    ) -> Written {
        if !self.holds(token) && !self.has(Bug::NoFence) {
            return Written::Fenced;
        }
        let key = (event.build_id.clone(), event.seq);
        if let Some(there) = self.events.get(&key) {
            return if there == event { Written::Done } else { Written::Conflict };
        }
        self.check_write(event, token);
        self.say(|| format!("token {token} writes {} {:?}", event.build_id, event.stage));
        if let Some(head) = record {
            self.check_record(head);
            let head = Arc::new(head.clone());
            self.records.insert(head.step_id.clone(), head);
        }
        let current = self.attempts.get(&event.step_id);
        if let Some(attempt) = Attempt::after(current, event) {
            self.attempts.insert(event.step_id.clone(), attempt);
        }
        self.events.insert(key, event.clone());
        self.changes += 1;
        Written::Done
    }

    fn check_write(&mut self, event: &BuildEvent, token: u64) {
        let newest = self.tokens;
        self.demand(token == newest, || {
            format!("a stale fence writes: {token} where {newest} is the newest")
        });
        if let Stage::Intent(intent) = &event.stage {
            let open = self.attempts.get(&event.step_id).is_some_and(|attempt| !attempt.is_over());
            self.demand(!open, || "an intent over an open attempt".to_owned());
            *self.intents.entry(intent.fingerprint).or_default() += 1;
            let (begun, failed) = (
                self.intents[&intent.fingerprint],
                *self.failures.get(&intent.fingerprint).unwrap_or(&0),
            );
            let recorded = self.recorded.contains_key(&(event.step_id.clone(), intent.fingerprint));
            self.demand(recorded || begun <= failed + 1, || {
                format!("a hot loop: {begun} intents, {failed} failures")
            });
        }
        if let Stage::Failed(_) = &event.stage
            && let Some(attempt) = self.attempts.get(&event.step_id)
        {
            let fingerprint = attempt.intent.fingerprint;
            *self.failures.entry(fingerprint).or_default() += 1;
        }
    }

    fn check_record(&mut self, head: &RecordHead) {
        let Some(built) = &head.built else { return };
        self.check_image(&head.ami_name, &head.ami_id, built.fingerprint);
        let key = (head.step_id.clone(), built.fingerprint);
        let all = self.recorded.entry(key).or_default();
        all.insert(head.ami_id.clone());
        let count = all.len();
        self.demand(count == 1, || {
            format!("{count} images are recorded for one fingerprint of {}", head.step_id)
        });
    }

    pub(in crate::controller::simulation) fn beat(&mut self, beat: Heartbeat) -> Answer {
        let stands = self.beats.get(&beat.build_id);
        if stands.is_some_and(|stands| stands.sign.is_given_up()) {
            return Answer::GivenUp;
        }
        let now = self.now;
        if let Some(build) = self.builds.get_mut(&beat.build_id) {
            build.last_beat = Some(now);
            build.told = true;
        }
        self.beats.insert(beat.build_id.clone(), beat);
        Answer::GoOn
    }

    pub(in crate::controller::simulation) fn give_up(
        &mut self,
        beat: Heartbeat,
        seen: Option<&str>,
        token: u64,
    ) -> Written {
        if !self.holds(token) {
            return Written::Fenced;
        }
        let stands = self.beats.get(&beat.build_id);
        let moved = stands.map(|stands| stands.version.as_str()) != seen;
        if moved && stands != Some(&beat) && !self.has(Bug::GivesUpBlindly) {
            return Written::Conflict;
        }
        let id = beat.build_id.clone();
        if let Some(build) = self.builds.get(&id).cloned() {
            // Dead by its beat, or never heard of: then by time.
            let silent = build.last_beat.is_none_or(|at| self.now.saturating_sub(at) >= SILENCE);
            let attempt = self.attempts.get(&build.step);
            let mute = self.hosts[build.host].mute;
            let now = Timestamp::UNIX_EPOCH + Duration::from_millis(self.now);
            let late = attempt.is_some_and(|attempt| attempt.intent.deadline <= now);
            // Nobody but its host can know that it runs: docs/reliability.md.
            let unheard = !build.started || attempt.is_some_and(|one| !one.is_said_to_run());
            self.demand(build.outcome.is_some() || (silent && (!mute || late || unheard)), || {
                format!("{id} was given up though it is alive")
            });
        }
        self.say(|| format!("{id} is given up"));
        if self.has(Bug::NeverTold) {
            return Written::Done;
        }
        if let Some(build) = self.builds.get_mut(&id) {
            build.given_up = true;
        }
        self.beats.insert(id, beat);
        Written::Done
    }
}
