//! The world that the simulated daemons share: inventory, EC2, hosts. It keeps the rules of safety and says which was broken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clockwork::{Dice, Kind};
use crate::desired::components::Fingerprint;
use crate::ids::{AmiId, AmiName, BuildId, StepId, WorkflowId};
use crate::inventory::Lease;
use crate::inventory::beat::{Answer, Beat};
use crate::inventory::journal::{Attempt, BuildEvent, Progress, Stage};
use crate::inventory::record::RecordHead;

/// One image at EC2.
#[derive(Clone, Debug)]
pub(super) struct ModelImage {
    pub(super) id: AmiId,
    pub(super) ready_at: u64,
    pub(super) tagged: bool,
    pub(super) fingerprint: Fingerprint,
}

/// One build, as a god sees it.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
pub(super) struct ModelBuild {
    pub(super) step: StepId,
    pub(super) fingerprint: Fingerprint,
    pub(super) name: AmiName,
    pub(super) host: usize,
    pub(super) started: bool,
    pub(super) instance: bool,
    /// Whether its key is known to anybody but its host.
    pub(super) told: bool,
    pub(super) cancelled: bool,
    pub(super) outcome: Option<Outcome>,
    pub(super) last_beat: Option<u64>,
    pub(super) given_up: bool,
}

/// How Packer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Made,
    Failed,
    NameTaken,
    Unknown,
}

/// A host, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// How far its wall clock is off, in milliseconds.
    pub(super) skew: i64,
    pub(super) frozen_until: u64,
    pub(super) daemon_frozen_until: u64,
    /// How often its daemon was started: its holder's name.
    pub(super) life: u32,
    /// Its supervisors reach no inventory.
    pub(super) mute: bool,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) dice: Dice,
    pub(super) faults: bool,
    pub(super) wanted: u8,
    pub(super) hosts: Vec<Host>,
    pub(super) lease: Option<Lease>,
    pub(super) tokens: u64,
    pub(super) events: HashMap<(BuildId, u32), BuildEvent>,
    pub(super) attempts: HashMap<StepId, Attempt>,
    pub(super) records: HashMap<StepId, RecordHead>,
    pub(super) beats: BTreeMap<BuildId, Beat>,
    pub(super) images: HashMap<AmiName, ModelImage>,
    pub(super) builds: BTreeMap<BuildId, ModelBuild>,
    pub(super) ids: u64,
    pub(super) broken: Option<String>,
    pub(super) trace: Vec<String>,
    pub(super) tracing: bool,
    pub(super) bug: Option<Bug>,
    recorded: HashMap<(StepId, Fingerprint), BTreeSet<AmiId>>,
    intents: HashMap<Fingerprint, u32>,
    failures: HashMap<Fingerprint, u32>,
}

/// A mistake that the code might make: the simulation must find each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A write is not held against the fence.
    NoFence,
    /// A build of another host is taken for dead at once.
    NeverWaits,
    /// A build is taken for dead in half of the time.
    Impatient,
    /// A build is given up without a look whether it has given a sign of life at the last moment.
    GivesUpBlindly,
    /// A build that is given up is not told so.
    NeverTold,
    /// A record is written before the tags are on the image.
    RecordsBeforeTags,
    /// An image is looked for only where Packer says that it was made.
    TrustsTheExit,
    /// What a failed build left is not removed.
    LeavesThings,
    /// Only builds of this process are followed.
    NeverResumes,
    /// The look whether the lease still holds is left out where a build starts.
    StartsWithoutLease,
}

/// How a fenced write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    Fenced,
    Conflict,
}

pub(super) const SILENCE: u64 = 120_000;

pub(super) fn workflow() -> WorkflowId {
    WorkflowId::new("wf")
}

impl World {
    pub(super) fn new(seed: u64, tracing: bool) -> Self {
        let mut dice = Dice::new(seed);
        let hosts = (0..dice.between(2, 4))
            .map(|_| Host {
                skew: i64::try_from(dice.between(0, 600_000)).unwrap() - 300_000,
                mute: dice.one_in(12),
                ..Host::default()
            })
            .collect();
        Self {
            now: 1_000_000,
            dice,
            faults: true,
            wanted: 0,
            hosts,
            lease: None,
            tokens: 0,
            events: HashMap::new(),
            attempts: HashMap::new(),
            records: HashMap::new(),
            beats: BTreeMap::new(),
            images: HashMap::new(),
            builds: BTreeMap::new(),
            ids: 0,
            broken: None,
            trace: Vec::new(),
            tracing,
            bug: None,
            recorded: HashMap::new(),
            intents: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.tracing {
            let at = self.now;
            let what = what();
            self.trace.push(format!("{at:>9} {what}"));
        }
    }

    pub(super) fn demand(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            let why = otherwise();
            self.say(|| format!("BROKEN: {why}"));
            self.broken = Some(why);
        }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn misfortune(&mut self, one_in: u64) -> bool {
        self.faults && self.dice.one_in(one_in)
    }

    pub(super) fn stopped_until(&self, host: usize, kind: Kind) -> u64 {
        let host = &self.hosts[host];
        match kind {
            Kind::Daemon => host.frozen_until.max(host.daemon_frozen_until),
            Kind::Supervisor => host.frozen_until,
        }
    }

    /// The wall clock of a host.
    pub(super) fn wall(&self, host: usize) -> Timestamp {
        let now = i64::try_from(self.now).unwrap() + self.hosts[host].skew;
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(now)
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    // The lease.

    pub(super) fn acquire(&mut self, holder: String, seen: Option<&Lease>) -> Option<Lease> {
        let mark = |lease: &Lease| (lease.token, lease.version.clone());
        if self.lease.as_ref().map(mark) != seen.map(mark) {
            return None;
        }
        self.tokens += 1;
        let lease = Lease {
            workflow_id: workflow(),
            holder: Some(holder),
            token: self.tokens,
            version: self.id().to_string(),
            duration_seconds: 30,
            renewed_at: Timestamp::UNIX_EPOCH,
            journal_seq: 0,
        };
        self.say(|| format!("{:?} holds token {}", lease.holder, lease.token));
        self.lease = Some(lease.clone());
        Some(lease)
    }

    pub(super) fn holds(&self, token: u64) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.token == token && lease.holder.is_some())
    }

    pub(super) fn renew(&mut self, token: u64) -> bool {
        let version = self.id().to_string();
        let held = self.holds(token);
        if let Some(lease) = self.lease.as_mut().filter(|_| held) {
            lease.version = version;
        }
        held
    }

    pub(super) fn release(&mut self, token: u64) {
        if self.holds(token)
            && let Some(lease) = &mut self.lease
        {
            lease.holder = None;
        }
    }

    // The journal.

    pub(super) fn write(
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
            return if there == event {
                Written::Done
            } else {
                Written::Conflict
            };
        }
        self.check_write(event, token);
        self.say(|| format!("token {token} writes {} {:?}", event.build_id, event.stage));
        if let Some(head) = record {
            self.check_record(head);
            self.records.insert(head.step_id.clone(), head.clone());
        }
        let current = self.attempts.get(&event.step_id);
        if let Some(attempt) = Attempt::after(current, event) {
            self.attempts.insert(event.step_id.clone(), attempt);
        }
        self.events.insert(key, event.clone());
        Written::Done
    }

    fn check_write(&mut self, event: &BuildEvent, token: u64) {
        let newest = self.tokens;
        self.demand(token == newest, || {
            format!("a stale fence writes: {token} where {newest} is the newest")
        });
        if let Stage::Intent(intent) = &event.stage {
            let open = self
                .attempts
                .get(&event.step_id)
                .is_some_and(|attempt| !attempt.is_over());
            self.demand(!open, || "an intent over an open attempt".to_owned());
            *self.intents.entry(intent.fingerprint).or_default() += 1;
            let (begun, failed) = (
                self.intents[&intent.fingerprint],
                *self.failures.get(&intent.fingerprint).unwrap_or(&0),
            );
            let recorded = self
                .recorded
                .contains_key(&(event.step_id.clone(), intent.fingerprint));
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
        let image = self.images.get(&head.ami_name).cloned();
        let sound = image.is_some_and(|image| {
            image.id == head.ami_id
                && image.ready_at <= self.now
                && image.tagged
                && image.fingerprint == built.fingerprint
        });
        self.demand(sound, || {
            format!(
                "the record of {} names no whole, tagged image",
                head.step_id
            )
        });
        let key = (head.step_id.clone(), built.fingerprint);
        let all = self.recorded.entry(key).or_default();
        all.insert(head.ami_id.clone());
        let count = all.len();
        self.demand(count == 1, || {
            format!(
                "{count} images are recorded for one fingerprint of {}",
                head.step_id
            )
        });
    }

    // Signs of life.

    pub(super) fn beat(&mut self, beat: Beat) -> Answer {
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

    pub(super) fn give_up(&mut self, beat: Beat, seen: Option<&str>, token: u64) -> Written {
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
            let silent = build
                .last_beat
                .is_none_or(|at| self.now.saturating_sub(at) >= SILENCE);
            let deadline = self.attempts.get(&build.step).map(|a| a.intent.deadline);
            let mute = self.hosts[build.host].mute;
            let late = deadline.is_some_and(|deadline| {
                deadline <= Timestamp::UNIX_EPOCH + Duration::from_millis(self.now)
            });
            self.demand(
                build.outcome.is_some() || (silent && (!mute || late || !build.started)),
                || format!("{id} was given up though it is alive"),
            );
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

    // Builds.

    /// Packer starts: the moment at which money is spent.
    pub(super) fn start(&mut self, id: &BuildId) {
        let build = self.builds[id].clone();
        self.demand(!build.given_up, || {
            format!("{id} starts though it was given up")
        });
        let alive: Vec<_> = self
            .builds
            .iter()
            .filter(|(other, one)| {
                *other != id
                    && one.fingerprint == build.fingerprint
                    && one.started
                    && one.outcome.is_none()
                    && !one.given_up
            })
            .map(|(other, _)| other.clone())
            .collect();
        self.demand(alive.is_empty(), || {
            format!("{id} starts while {alive:?} builds the same")
        });
        self.say(|| format!("{id} starts on host {}", build.host));
        if let Some(build) = self.builds.get_mut(id) {
            build.started = true;
        }
    }

    pub(super) fn end(&mut self, id: &BuildId, outcome: Outcome) {
        self.say(|| format!("{id} ends: {outcome:?}"));
        if let Some(build) = self.builds.get_mut(id) {
            build.outcome = Some(outcome);
            // A power loss leaves the instance.
            build.instance &= outcome == Outcome::Unknown;
        }
    }

    /// EC2 keeps names unique.
    pub(super) fn create_image(&mut self, id: &BuildId, takes: u64) -> bool {
        let build = self.builds[id].clone();
        if self.images.contains_key(&build.name) {
            return false;
        }
        let image = ModelImage {
            id: AmiId::new(format!("ami-{}", self.id())),
            ready_at: self.now + takes,
            tagged: false,
            fingerprint: build.fingerprint,
        };
        self.say(|| format!("{id} asks for {}", image.id));
        self.images.insert(build.name, image);
        true
    }

    /// What must be so when all faults are over and some time has passed.
    pub(super) fn settled(
        &self,
        wanted: &dyn Fn(&StepId, &Self) -> Option<Fingerprint>,
    ) -> Result<(), String> {
        for step in ["a", "b"].map(StepId::new) {
            let head = self.records.get(&step).and_then(|head| head.built.as_ref());
            if head.map(|built| built.fingerprint) != wanted(&step, self) {
                let stands = self.attempts.get(&step).map(|attempt| &attempt.progress);
                return Err(format!(
                    "{step} is not what git says; its attempt: {stands:?}"
                ));
            }
            if let Some(attempt) = self.attempts.get(&step)
                && !(attempt.cleaned && matches!(attempt.progress, Progress::Recorded { .. }))
            {
                return Err(format!(
                    "the attempt at {step} is not settled: {:?}",
                    attempt.progress
                ));
            }
        }
        for (id, build) in &self.builds {
            // Lost in the second before its key was told, with its host: nobody can know of it.
            if build.instance && build.told {
                return Err(format!("the instance of {id} is left"));
            }
        }
        for (name, image) in &self.images {
            if !image.tagged {
                return Err(format!("the image {name} is left"));
            }
        }
        Ok(())
    }
}
