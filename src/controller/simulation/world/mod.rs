//! The world that the simulated daemons share: hosts and their clocks here, EC2 and the inventory
//! beside. It keeps the rules of safety and says which was broken.

mod bug;
mod ec2;
mod inventory;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::controller::simulation::clockwork::{Dice, Kind};
pub(super) use bug::Bug;
pub(super) use ec2::{Denied, Ending, ModelBuild, ModelImage, Outcome};
pub(super) use inventory::Written;
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiId, AmiName, BuildId, HostMark, StepId, WorkflowId};
use reconciler_model::inventory::Lease;
use reconciler_model::inventory::heartbeat::Heartbeat;
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Progress};
use reconciler_model::inventory::record::RecordHead;

/// A host, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// How far its wall clock is off, in milliseconds.
    pub(super) skew: i64,
    pub(super) frozen_until: u64,
    pub(super) daemon_frozen_until: u64,
    /// How often its daemon was started: its process.
    pub(super) life: u32,
    /// How often it was switched on.
    pub(super) boots: u32,
    /// Its supervisors reach no inventory.
    pub(super) mute: bool,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) dice: Dice,
    pub(super) faults: bool,
    pub(super) wanted: u8,
    pub(super) hosts: Vec<Host>,
    pub(super) lease: Option<Arc<Lease>>,
    pub(super) tokens: u64,
    pub(super) events: HashMap<(BuildId, u32), BuildEvent>,
    pub(super) attempts: BTreeMap<StepId, Attempt>,
    pub(super) records: HashMap<StepId, Arc<RecordHead>>,
    pub(super) beats: BTreeMap<BuildId, Heartbeat>,
    pub(super) images: HashMap<AmiName, ModelImage>,
    pub(super) builds: BTreeMap<BuildId, ModelBuild>,
    pub(super) ids: u64,
    /// Images of others that had the name of a build when it was decided.
    pub(super) taken: HashMap<BuildId, AmiId>,
    /// Grows with everything that a pass looks at.
    pub(super) changes: u64,
    /// Until when EC2 ends no instance.
    pub(super) denied_until: u64,
    pub(super) broken: Option<String>,
    pub(super) trace: Vec<String>,
    pub(super) tracing: bool,
    pub(super) bug: Option<Bug>,
    recorded: HashMap<(StepId, Fingerprint), BTreeSet<AmiId>>,
    intents: HashMap<Fingerprint, u32>,
    failures: HashMap<Fingerprint, u32>,
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
            attempts: BTreeMap::new(),
            records: HashMap::new(),
            beats: BTreeMap::new(),
            images: HashMap::new(),
            builds: BTreeMap::new(),
            ids: 0,
            taken: HashMap::new(),
            changes: 0,
            denied_until: 0,
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

    /// What tells a host from others: all of them bear one name.
    pub(super) fn mark(&self, host: usize) -> HostMark {
        HostMark::new(format!("{host}.{}", self.hosts[host].boots))
    }

    /// Somebody pushes.
    pub(super) fn change(&mut self) {
        self.wanted += 1;
        self.changes += 1;
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
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
                return Err(format!("{step} is not what git says; its attempt: {stands:?}"));
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
        self.is_tidy()
    }
}
