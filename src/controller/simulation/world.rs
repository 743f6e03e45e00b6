//! What all hosts share, as a god sees it: EC2, the builds, and what git says. It keeps the rules of
//! safety and says which was broken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};

use crate::controller::simulation::executor::{Dice, Executor, Kind, Owner, Sleep};
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiId, AmiName, BuildId, HostMark, StepId, WorkflowId};
use reconciler_model::inventory::journal::{Attempt, BuildEvent, Progress, Stage};
use reconciler_model::inventory::record::Record;
use reconciler_model::memory::MemoryInventory;

/// Mistakes of the world around the program, which the rules must find: the inventory does not do
/// what its port promises, or the supervisor does not. Mistakes of the program itself are put in as
/// seeded bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The inventory does not hold a write against the fence.
    NoFence,
    /// A supervisor is not told that its build was given up.
    NeverTold,
    /// A Packer whose build was given up is asked to end when its image is there already: it
    /// removes that.
    AsksThePackerOfALostBuild,
    /// A supervisor starts Packer however late it is.
    StartsLate,
    /// Whoever bears the same name is taken for the same host.
    TrustsTheName,
}

impl Mistake {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [
        Self::NoFence,
        Self::NeverTold,
        Self::AsksThePackerOfALostBuild,
        Self::StartsLate,
        Self::TrustsTheName,
    ];
}

/// How long a build may be silent: `connect::silence` of the configuration.
pub(super) const SILENCE: u64 = 120_000;

/// Who removes what it has made itself.
pub(super) const PACKER: &str = "Packer";

/// How far a clock may be off, in milliseconds.
const FARTHEST: i64 = 270_000;

/// How late EC2 may show what was made, at most.
const LATEST: u64 = 150_000;

/// For how long after a build was given up its supervisor is told so, whatever the clocks say that
/// differ by nine minutes: the controller does so for at least fifteen.
const TOLD_FOR: u64 = 5 * 60 * 1000;

/// How long a build may take: the limit of the configuration.
pub(super) const LIMIT: u64 = 600_000;

pub(super) fn workflow() -> WorkflowId {
    WorkflowId::new("wf")
}

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
    /// How often its disk was lost.
    pub(super) disks: u32,
    /// Its supervisors reach no inventory.
    pub(super) mute: bool,
    /// Until when its disk is full.
    pub(super) full_until: u64,
}

/// One image at EC2.
#[derive(Clone, Debug)]
pub(super) struct ModelImage {
    pub(super) id: AmiId,
    pub(super) created_at: u64,
    pub(super) ready_at: u64,
    /// From when on EC2 shows it; its name is taken at once.
    pub(super) shown_at: u64,
    pub(super) tags: BTreeMap<String, String>,
    /// What EC2 shows as its tags until it shows those that were put on last.
    pub(super) earlier_tags: BTreeMap<String, String>,
    pub(super) tags_shown_at: u64,
    /// The build that made it; `None`: a stranger.
    pub(super) by: Option<BuildId>,
}

impl ModelImage {
    /// The image that the first step starts from, which was always there.
    pub(super) fn base(id: &AmiId) -> Self {
        Self {
            id: id.clone(),
            created_at: 0,
            ready_at: 0,
            shown_at: 0,
            tags: BTreeMap::new(),
            earlier_tags: BTreeMap::new(),
            tags_shown_at: 0,
            by: None,
        }
    }

    /// The tags that EC2 shows.
    pub(super) fn shown_tags(&self, now: u64) -> &BTreeMap<String, String> {
        if now < self.tags_shown_at { &self.earlier_tags } else { &self.tags }
    }
}

/// How a supervisor ends its Packer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By SIGTERM: Packer removes what it made.
    Asked,
    /// By SIGKILL: all of it stays.
    Killed,
}

/// How Packer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Made,
    Failed,
    NameTaken,
    Cancelled,
    /// Its lease had ended before it was started.
    TooLate,
    /// Nobody knows: its host was lost.
    Unknown,
}

/// One build, as a god sees it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(super) struct ModelBuild {
    pub(super) step: StepId,
    pub(super) fingerprint: Fingerprint,
    pub(super) name: AmiName,
    pub(super) source: AmiId,
    /// What git said when it was decided.
    pub(super) wanted: u64,
    pub(super) host: usize,
    /// Which disk of its host its folder is on.
    pub(super) disk: u32,
    pub(super) started: bool,
    pub(super) instance: bool,
    pub(super) launched_at: Option<u64>,
    /// Whether its key is known to anybody but its host.
    pub(super) told: bool,
    pub(super) ending: Option<Ending>,
    pub(super) outcome: Option<Outcome>,
    pub(super) last_beat: Option<u64>,
    pub(super) given_up: bool,
    pub(super) given_up_at: Option<u64>,
    pub(super) accounted: bool,
}

impl ModelBuild {
    pub(super) fn is_running(&self) -> bool {
        self.started && self.outcome.is_none()
    }
}

pub(super) struct World {
    pub(super) executor: Executor,
    pub(super) dice: Dice,
    pub(super) faults: bool,
    /// What git says: a number that every push counts up.
    pub(super) wanted: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) images: BTreeMap<AmiName, ModelImage>,
    pub(super) builds: BTreeMap<BuildId, ModelBuild>,
    pub(super) inventory: Arc<MemoryInventory>,
    pub(super) mistake: Option<Mistake>,
    pub(super) broken: Option<String>,
    pub(super) story: Vec<String>,
    pub(super) tracing: bool,
    /// Until when EC2 ends no instance.
    pub(super) denied_until: u64,
    /// A stranger is about to make an image of the next name that is asked for.
    pub(super) stranger_comes: bool,
    /// The names that images of builds were to have.
    decided: BTreeMap<BuildId, AmiName>,
    /// Since when each host has seen the same last sign of life of a build.
    watched: BTreeMap<(usize, BuildId), (Option<u64>, u64)>,
    ids: u64,
    pub(super) attempts: BTreeMap<StepId, Attempt>,
    newest_token: u64,
    recorded: BTreeMap<(StepId, Fingerprint), BTreeSet<AmiId>>,
    intents: BTreeMap<(StepId, Fingerprint), u32>,
    failures: BTreeMap<(StepId, Fingerprint), u32>,
}

impl World {
    pub(super) fn new(seed: u64, executor: Executor, tracing: bool) -> Self {
        let mut dice = Dice::new(seed);
        let hosts = (0..dice.between(2, 4))
            .map(|_| Host { skew: skew(&mut dice), mute: dice.one_in(6), ..Host::default() })
            .collect();
        Self {
            executor,
            dice,
            faults: true,
            wanted: 0,
            hosts,
            images: BTreeMap::new(),
            builds: BTreeMap::new(),
            inventory: Arc::default(),
            mistake: None,
            broken: None,
            story: Vec::new(),
            tracing,
            denied_until: 0,
            stranger_comes: false,
            decided: BTreeMap::new(),
            watched: BTreeMap::new(),
            ids: 0,
            attempts: BTreeMap::new(),
            newest_token: 0,
            recorded: BTreeMap::new(),
            intents: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.executor.now()
    }

    pub(super) fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.tracing {
            let (at, what) = (self.now(), what());
            self.story.push(format!("{at:>9} {what}"));
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

    pub(super) fn stopped_until(&self, owner: Owner) -> u64 {
        let host = &self.hosts[owner.host];
        match owner.kind {
            Kind::Daemon => host.frozen_until.max(host.daemon_frozen_until),
            Kind::Supervisor => host.frozen_until,
        }
    }

    /// The time by the clock of AWS, which is right.
    pub(super) fn time(at: u64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
            + SignedDuration::from_millis(i64::try_from(at).unwrap())
    }

    /// The wall clock of a host.
    pub(super) fn wall(&self, host: usize) -> Timestamp {
        Self::time(self.now()) + SignedDuration::from_millis(self.hosts[host].skew)
    }

    /// What tells a host from others: all of them bear one name.
    pub(super) fn mark(&self, host: usize) -> HostMark {
        let Host { boots, disks, .. } = self.hosts[host];
        HostMark::new(format!("{host}.{boots}.{disks}"))
    }

    /// A process of a host, as the holder of a lease.
    pub(super) fn holder(&self, host: usize) -> String {
        format!("localhost/{}-{}", self.hosts[host].life, self.mark(host))
    }

    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Packer starts: the moment at which money is spent.
    pub(super) fn start(&mut self, id: &BuildId) {
        let build = self.builds[id].clone();
        self.demand(!build.given_up, || format!("{id} starts though it was given up"));
        let same = |(other, one): (&BuildId, &ModelBuild)| {
            let is_same = one.fingerprint == build.fingerprint && one.step == build.step;
            (other != id && is_same && one.is_running() && !one.given_up).then(|| other.clone())
        };
        let alive: Vec<_> = self.builds.iter().filter_map(same).collect();
        self.demand(alive.is_empty(), || format!("{id} starts while {alive:?} builds the same"));
        self.say(|| format!("{id} starts on host {}", build.host));
        self.build(id).started = true;
    }

    pub(super) fn build(&mut self, id: &BuildId) -> &mut ModelBuild {
        self.builds.get_mut(id).unwrap()
    }

    pub(super) fn end(&mut self, id: &BuildId, outcome: Outcome) {
        self.say(|| format!("{id} ends: {outcome:?}"));
        let denied = self.is_denied();
        if outcome != Outcome::NameTaken {
            self.strangers_yield_to(id);
        }
        let build = self.build(id);
        build.outcome = Some(outcome);
        // A power loss leaves the instance; so does EC2 where it does not let Packer end it, and
        // Packer says nothing of that.
        build.instance &= outcome == Outcome::Unknown || denied;
    }

    /// EC2 keeps names unique.
    pub(super) fn create_image(&mut self, id: &BuildId, takes: u64) -> bool {
        let name = self.builds[id].name.clone();
        if self.images.contains_key(&name) {
            return false;
        }
        self.make_image(name, Some(id.clone()), takes);
        true
    }

    fn make_image(&mut self, name: AmiName, by: Option<BuildId>, takes: u64) {
        let now = self.now();
        let image = ModelImage {
            id: AmiId::new(format!("ami-{}", self.id())),
            created_at: now,
            ready_at: now + takes,
            shown_at: self.shown_at(),
            tags_shown_at: now,
            by,
            ..ModelImage::base(&AmiId::new(""))
        };
        self.say(|| {
            let ModelImage { by, id, shown_at, .. } = &image;
            format!("{by:?} makes {id} {name}, shown from {shown_at} on")
        });
        self.images.insert(name, image);
    }

    /// From when on EC2 shows what is made now: as a rule at once.
    fn shown_at(&mut self) -> u64 {
        let late = if self.misfortune(4) { self.dice.between(1_000, LATEST) } else { 0 };
        self.now() + late
    }

    /// Somebody looks for an image by this name. A stranger may have made one, if no build of that
    /// name was ever begun: what a stranger makes meanwhile nobody could tell from the build's own.
    pub(super) fn asked_for(&mut self, name: &AmiName) {
        let is_new = !self.images.contains_key(name)
            && !self.decided.values().any(|decided| decided == name);
        // Now, or between two looks.
        if self.faults && self.stranger_comes && is_new && self.dice.one_in(2) {
            self.stranger_comes = false;
            self.make_image(name.clone(), None, 0);
        }
    }

    /// Whoever made an image of our name takes it away again.
    pub(super) fn strangers_leave(&mut self) {
        self.stranger_comes = false;
        self.images.retain(|_, image| image.by.is_some());
    }

    pub(super) fn image(&self, id: &AmiId) -> Option<(&AmiName, &ModelImage)> {
        self.images.iter().find(|(_, image)| image.id == *id)
    }

    pub(super) fn tag(
        &mut self,
        id: &AmiId,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> bool {
        let (now, shown_at) = (self.now(), self.shown_at());
        let Some((name, image)) = self.images.iter_mut().find(|(_, image)| image.id == *id) else {
            return false;
        };
        image.earlier_tags = image.shown_tags(now).clone();
        image.tags_shown_at = shown_at;
        image.tags.extend(set.clone());
        image.tags.retain(|key, _| !remove.contains(key));
        let (name, strange) = (name.clone(), image.by.is_none());
        self.demand(!strange, || format!("{name} is a stranger's image and is tagged"));
        self.say(|| format!("{id} is tagged"));
        true
    }

    /// Removes an image by its id; another one of that name is another.
    pub(super) fn remove_image(&mut self, id: &AmiId, who: &str) {
        let Some((name, image)) = self.image(id).map(|(name, image)| (name.clone(), image.clone()))
        else {
            return;
        };
        self.images.remove(&name);
        self.say(|| format!("{who} removes {id}"));
        let recorded = self.recorded.values().any(|ids| ids.contains(id));
        self.demand(!recorded, || format!("{who} removes {id}, which is recorded"));
        self.demand(image.by.is_some(), || format!("{who} removes {id}, which is a stranger's"));
        let open = self.attempts.values().find(|attempt| {
            image.by.as_ref() == Some(&attempt.build_id) && !attempt.is_over() && who != PACKER
        });
        let open = open.map(|attempt| attempt.build_id.clone());
        self.demand(open.is_none(), || format!("{who} removes {id}, and {open:?} is not over"));
    }

    /// A build whose end nobody can tell any more: a stranger's image of its name that came too
    /// late for its start could not be told from its own, and goes before anybody looks.
    fn strangers_yield_to(&mut self, id: &BuildId) {
        if let Some(name) = self.decided.get(id)
            && self.images.get(name).is_some_and(|image| image.by.is_none())
        {
            self.images.remove(name);
        }
    }

    pub(super) fn is_denied(&self) -> bool {
        self.faults && self.now() < self.denied_until
    }

    /// A daemon is about to change something at EC2, which asks for no token.
    pub(super) fn acts(&mut self, host: usize) {
        let lease = self.lease_holder();
        let own = self.holder(host);
        self.demand(lease.as_deref() == Some(own.as_str()), || {
            format!("{own} acts at EC2, and the lease is held by {lease:?}")
        });
    }

    fn lease_holder(&self) -> Option<String> {
        use reconciler_model::inventory::Leases as _;
        let lease = super::ports::at_once(self.inventory.lease(&workflow())).unwrap();
        lease.and_then(|lease| lease.holder)
    }

    /// A supervisor is about to start Packer. Its daemon may have died and another one of the same
    /// host taken the lease, which follows it.
    pub(super) fn starts_packer(&mut self, host: usize) {
        let (holder, mark) = (self.lease_holder(), self.mark(host));
        let of_this_host =
            holder.as_ref().is_some_and(|holder| holder.ends_with(&format!("-{mark}")));
        self.demand(of_this_host, || {
            format!("a supervisor of host {host} starts, and the lease is held by {holder:?}")
        });
    }

    /// A holder took the lease.
    pub(super) fn took_lease(&mut self, token: u64, holder: &str) {
        self.newest_token = self.newest_token.max(token);
        self.say(|| format!("{holder} holds token {token}"));
    }

    /// Before an event is written for the first time, whose write is going to succeed.
    pub(super) fn writes(&mut self, event: &BuildEvent, record: Option<&Record>, token: u64) {
        let newest = self.newest_token;
        self.demand(token == newest, || {
            format!("a stale fence writes: {token} where {newest} is the newest")
        });
        self.say(|| format!("token {token} writes {} {}", event.build_id, words(&event.stage)));
        let stands = self.attempts.get(&event.step_id).cloned();
        match &event.stage {
            Stage::Intent(intent) => {
                let open = stands.is_some_and(|attempt| !attempt.is_settled());
                self.demand(!open, || "an intent over an open attempt".to_owned());
                self.decided.insert(event.build_id.clone(), intent.ami_name.clone());
                let key = (event.step_id.clone(), intent.fingerprint);
                let begun = self.intents.entry(key.clone()).or_default();
                *begun += 1;
                let (begun, failed) = (*begun, self.failures.get(&key).copied().unwrap_or(0));
                let recorded = self.recorded.contains_key(&key);
                self.demand(recorded || begun <= failed + 1, || {
                    format!("a hot loop: {begun} intents, {failed} failures")
                });
            }
            Stage::Failed(_) => {
                if let Some(attempt) = stands {
                    let key = (event.step_id.clone(), attempt.intent.fingerprint);
                    *self.failures.entry(key).or_default() += 1;
                }
            }
            _ => {}
        }
        if let Some(record) = record {
            self.check_record(record);
        }
        let current = self.attempts.get(&event.step_id);
        if let Some(attempt) = Attempt::after(current, event) {
            self.attempts.insert(event.step_id.clone(), attempt);
        }
    }

    fn check_record(&mut self, record: &Record) {
        let head = &record.head;
        let Some(built) = &head.built else { return };
        let now = self.now();
        let image = self.image(&head.ami_id).map(|(name, image)| (name.clone(), image.clone()));
        let made_for = image.as_ref().and_then(|(_, image)| image.by.as_ref());
        let made_for = made_for.map(|build| self.builds[build].fingerprint);
        let sound = image.is_some_and(|(name, image)| {
            name == head.ami_name
                && image.ready_at <= now
                && built.tags.are(image.tags.iter().map(|(key, value)| (&**key, &**value)))
                && made_for == Some(built.fingerprint)
        });
        let id = head.ami_id.clone();
        self.demand(sound, || format!("the record of {id} names no whole, tagged image of ours"));
        let all = self.recorded.entry((head.step_id.clone(), built.fingerprint)).or_default();
        all.insert(head.ami_id.clone());
        let count = all.len();
        self.demand(count == 1, || {
            format!("{count} images are recorded for one fingerprint of {}", head.step_id)
        });
    }

    /// A build is given up: it must be dead, by its signs of life or by time.
    pub(super) fn gives_up(&mut self, id: &BuildId) {
        self.say(|| format!("{id} is given up"));
        self.strangers_yield_to(id);
        let Some(build) = self.builds.get(id).cloned() else { return };
        let silent = build.last_beat.is_none_or(|at| self.now().saturating_sub(at) >= SILENCE);
        let attempt = self.attempts.get(&build.step);
        let now = Self::time(self.now());
        let late = attempt.is_some_and(|attempt| attempt.intent.deadline <= now);
        // Nobody but its host can know that it runs: docs/reliability.md.
        let unheard = !build.started || attempt.is_some_and(|one| !one.is_said_to_run());
        let mute = self.hosts[build.host].mute;
        self.demand(build.outcome.is_some() || (silent && (!mute || late || unheard)), || {
            format!("{id} was given up though it is alive")
        });
        let (now, is_told) = (self.now(), !self.has(Mistake::NeverTold));
        let build = self.build(id);
        build.given_up = is_told;
        build.given_up_at = Some(now);
    }

    /// A host looks for signs of life of a build. The build's host, which stood still for as long
    /// as it may, may wake right then: before the build is given up, or after.
    pub(super) fn looks_for_life(&mut self, observer: usize, id: &BuildId) {
        let now = self.now();
        let Some(build) = self.builds.get(id).filter(|build| build.is_running()) else { return };
        let (host, last) = (build.host, build.last_beat);
        let watched = self.watched.entry((observer, id.clone())).or_insert((last, now));
        if watched.0 != last {
            *watched = (last, now);
        }
        let is_gone = now - watched.1 >= SILENCE;
        if is_gone && self.hosts[host].frozen_until > now && self.misfortune(2) {
            let until = now + self.dice.between(0, 40);
            self.say(|| format!("host {host} wakes at {until}"));
            self.hosts[host].frozen_until = until;
            self.executor.look_again(host);
        }
    }

    /// A daemon stops while the answer to its renewal is on the way, at times.
    pub(super) fn renews(&mut self, host: usize) {
        if self.misfortune(100) {
            let until = self.now() + self.dice.between(20_000, 2 * SILENCE);
            self.say(|| format!("the daemon of host {host} stops until {until}"));
            self.hosts[host].daemon_frozen_until = until;
        }
    }

    /// A person takes the tags off an image that was recorded.
    pub(super) fn untag_one(&mut self) {
        let recorded: BTreeSet<_> = self.recorded.values().flatten().cloned().collect();
        let which = self.dice.between(0, u64::try_from(recorded.len()).unwrap());
        let Some(id) = recorded.into_iter().nth(usize::try_from(which).unwrap()) else { return };
        if let Some(image) = self.images.values_mut().find(|image| image.id == id) {
            image.tags.clear();
            image.earlier_tags.clear();
            self.say(|| format!("a person takes the tags off {id}"));
        }
    }

    /// A supervisor gives a sign of life. One whose build was given up is to hear so: its Packer
    /// would go on, and nobody would look after what it makes.
    pub(super) fn beats(&mut self, id: &BuildId, is_told: bool) {
        let now = self.now();
        let Some(build) = self.builds.get_mut(id) else { return };
        let since = build.given_up_at.filter(|at| now - at < TOLD_FOR);
        if !is_told {
            build.last_beat = Some(now);
            build.told = true;
        }
        let over = build.outcome.is_some();
        self.demand(since.is_none() || is_told || over, || {
            format!("the supervisor of {id} is not told that it was given up")
        });
    }

    /// What must be so when all faults are over and some time has passed.
    pub(super) fn settled(&self) -> Result<(), String> {
        use reconciler_model::inventory::Records as _;
        let mut source = super::ports::git::BASE.to_owned();
        for step in ["a", "b"].map(StepId::new) {
            let record = super::ports::at_once(self.inventory.record(&workflow(), &step)).unwrap();
            let stands = self.attempts.get(&step).map(|attempt| &attempt.progress);
            let image = record.as_ref().map(|record| &record.head.ami_id);
            let by = image.and_then(|id| self.image(id)).and_then(|(_, image)| image.by.as_ref());
            let build = by.map(|build| &self.builds[build]);
            if build.is_none_or(|one| one.wanted != self.wanted || one.source.as_str() != source) {
                return Err(format!("{step} is not what git says; its attempt: {stands:?}"));
            }
            source = image.unwrap().to_string();
            if let Some(attempt) = self.attempts.get(&step)
                && !(attempt.cleaned && matches!(attempt.progress, Progress::Recorded { .. }))
            {
                return Err(format!("the attempt at {step} is not settled: {stands:?}"));
            }
        }
        self.is_answered()?;
        self.is_tidy()
    }

    /// Whether all that people have asked is answered, and as often done as the journal has it.
    fn is_answered(&self) -> Result<(), String> {
        use reconciler_model::inventory::request::Outcome;
        use reconciler_model::inventory::{Journal as _, Requests as _};
        let requests = super::ports::at_once(self.inventory.requests(&workflow())).unwrap();
        if let Some(open) = requests.iter().find(|request| request.answer.is_none()) {
            return Err(format!("{:?} is not answered", open.request));
        }
        let answers = requests.iter().filter_map(|request| request.answer.as_ref());
        let done = answers.filter(|answer| matches!(answer.outcome, Outcome::Done { .. })).count();
        let workflow = workflow();
        let events = self.inventory.events(&workflow, None, usize::MAX);
        let events = super::ports::at_once(events).unwrap();
        let noted = events.iter().filter(|event| event.stage.is_request()).count();
        if noted == done {
            return Ok(());
        }
        Err(format!("{done} requests are said to be done, and the journal has {noted}"))
    }

    /// What is left at EC2 that nobody needs, or is not there though it is recorded.
    fn is_tidy(&self) -> Result<(), String> {
        for (id, build) in &self.builds {
            // Lost in the second before its key was told, with its host: nobody can know of it.
            if build.instance && build.told {
                return Err(format!("the instance of {id} is left"));
            }
        }
        let recorded: BTreeSet<_> = self.recorded.values().flatten().collect();
        let left = self.images.values().find(|image| !recorded.contains(&image.id));
        if let Some(image) = left {
            return Err(format!("the image {} is left", image.id));
        }
        let there: BTreeSet<_> = self.images.values().map(|image| &image.id).collect();
        match recorded.into_iter().find(|id| !there.contains(id)) {
            Some(id) => Err(format!("{id} is recorded and gone")),
            None => Ok(()),
        }
    }
}

/// How far the clock of a host is off: often as far as AWS still listens to it.
fn skew(dice: &mut Dice) -> i64 {
    match dice.between(0, 4) {
        0 => FARTHEST,
        1 => -FARTHEST,
        _ => i64::try_from(dice.between(0, 540_000)).unwrap() - FARTHEST,
    }
}

fn words(stage: &Stage) -> String {
    match stage {
        Stage::Intent(intent) => format!("intent for {}", intent.fingerprint),
        other => format!("{other:?}"),
    }
}

/// A task's way to the world and to time.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) owner: Owner,
    pub(super) executor: Executor,
    pub(super) world: Arc<Mutex<World>>,
}

/// A call whose answer did not come; it may have had its effect.
#[derive(Debug)]
pub(super) struct Lost;

impl Handle {
    pub(super) fn host(&self) -> usize {
        self.owner.host
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The same host's, of another kind.
    pub(super) fn of(&self, kind: Kind) -> Self {
        Self { owner: Owner { kind, ..self.owner }, ..self.clone() }
    }

    pub(super) fn sleep(&self, millis: u64) -> Sleep {
        self.executor.sleep(millis)
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> u64 {
        self.executor.spawn(self.owner, future)
    }

    /// Asks a service: the effect comes some time after the question, the answer some time after
    /// the effect, and either may not.
    pub(super) async fn call<T>(
        &self,
        effect: impl FnOnce(&mut World) -> T + Send,
    ) -> Result<T, Lost> {
        self.latency().await;
        if self.world().misfortune(40) {
            return Err(Lost);
        }
        let answer = effect(&mut self.world());
        self.latency().await;
        if self.world().misfortune(40) {
            return Err(Lost);
        }
        Ok(answer)
    }

    async fn latency(&self) {
        let millis = {
            let mut world = self.world();
            if world.misfortune(30) {
                world.dice.between(1_000, 20_000)
            } else {
                world.dice.between(1, 80)
            }
        };
        self.sleep(millis).await;
    }
}
