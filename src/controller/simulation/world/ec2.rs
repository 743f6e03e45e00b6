//! EC2 and the builds that run against it, as a god sees them.

use std::collections::BTreeSet;

use crate::controller::simulation::world::{Bug, World};
use reconciler_core::recovery::Named;
use reconciler_model::components::Fingerprint;
use reconciler_model::ids::{AmiId, AmiName, BuildId, StepId};

/// One image at EC2.
#[derive(Clone, Debug)]
pub(in crate::controller::simulation) struct ModelImage {
    pub(in crate::controller::simulation) id: AmiId,
    pub(in crate::controller::simulation) ready_at: u64,
    pub(in crate::controller::simulation) tagged: bool,
    pub(in crate::controller::simulation) fingerprint: Fingerprint,
    /// The build that made it; none: a stranger.
    pub(in crate::controller::simulation) by: Option<BuildId>,
}

/// One build, as a god sees it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(in crate::controller::simulation) struct ModelBuild {
    pub(in crate::controller::simulation) step: StepId,
    pub(in crate::controller::simulation) fingerprint: Fingerprint,
    pub(in crate::controller::simulation) name: AmiName,
    pub(in crate::controller::simulation) host: usize,
    pub(in crate::controller::simulation) started: bool,
    pub(in crate::controller::simulation) instance: bool,
    /// Whether its key is known to anybody but its host.
    pub(in crate::controller::simulation) told: bool,
    pub(in crate::controller::simulation) ending: Option<Ending>,
    pub(in crate::controller::simulation) outcome: Option<Outcome>,
    pub(in crate::controller::simulation) last_beat: Option<u64>,
    pub(in crate::controller::simulation) given_up: bool,
}

impl ModelBuild {
    pub(in crate::controller::simulation) fn new(
        step: StepId,
        fingerprint: Fingerprint,
        name: AmiName,
        host: usize,
    ) -> Self {
        Self {
            step,
            fingerprint,
            name,
            host,
            started: false,
            instance: false,
            told: false,
            ending: None,
            outcome: None,
            last_beat: None,
            given_up: false,
        }
    }
}

/// How a supervisor ends its Packer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller::simulation) enum Ending {
    /// By SIGTERM: Packer removes what it made.
    Asked,
    /// By SIGKILL: all of it stays.
    Killed,
}

/// How Packer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller::simulation) enum Outcome {
    Made,
    Failed,
    NameTaken,
    /// Nobody knows: its host was lost.
    Unknown,
}

/// EC2 does not let it.
#[derive(Debug)]
pub(in crate::controller::simulation) struct Denied;

impl World {
    /// Packer starts: the moment at which money is spent.
    pub(in crate::controller::simulation) fn start(&mut self, id: &BuildId) {
        let build = self.builds[id].clone();
        self.demand(!build.given_up, || format!("{id} starts though it was given up"));
        let same = |(other, one): (&BuildId, &ModelBuild)| {
            let runs = one.started && one.outcome.is_none() && !one.given_up;
            (other != id && one.fingerprint == build.fingerprint && runs).then(|| other.clone())
        };
        let alive: Vec<_> = self.builds.iter().filter_map(same).collect();
        self.demand(alive.is_empty(), || format!("{id} starts while {alive:?} builds the same"));
        self.say(|| format!("{id} starts on host {}", build.host));
        if let Some(build) = self.builds.get_mut(id) {
            build.started = true;
        }
    }

    pub(in crate::controller::simulation) fn end(&mut self, id: &BuildId, outcome: Outcome) {
        self.say(|| format!("{id} ends: {outcome:?}"));
        let denied = self.is_denied();
        if let Some(build) = self.builds.get_mut(id) {
            build.outcome = Some(outcome);
            // A power loss leaves the instance; so does EC2 where it does not let Packer end it,
            // and Packer says nothing of that.
            build.instance &= outcome == Outcome::Unknown || denied;
        }
    }

    /// EC2 keeps names unique.
    pub(in crate::controller::simulation) fn create_image(
        &mut self,
        id: &BuildId,
        takes: u64,
    ) -> bool {
        let build = self.builds[id].clone();
        if self.images.contains_key(&build.name) {
            return false;
        }
        let image = ModelImage {
            id: AmiId::new(format!("ami-{}", self.id())),
            ready_at: self.now + takes,
            tagged: false,
            fingerprint: build.fingerprint,
            by: Some(id.clone()),
        };
        self.say(|| format!("{id} asks for {}", image.id));
        self.images.insert(build.name, image);
        true
    }

    /// A stranger makes an image of this name.
    pub(in crate::controller::simulation) fn strangers_image(
        &mut self,
        name: AmiName,
        fingerprint: Fingerprint,
    ) {
        let image = ModelImage {
            id: AmiId::new(format!("ami-{}", self.id())),
            ready_at: self.now,
            tagged: false,
            fingerprint,
            by: None,
        };
        self.say(|| format!("a stranger makes {} of the wanted name", image.id));
        self.images.entry(name).or_insert(image);
    }

    pub(in crate::controller::simulation) fn tag(&mut self, name: &AmiName) {
        let strange = self.images.get(name).is_some_and(|one| one.by.is_none());
        self.demand(!strange, || format!("{name} is a stranger's image and is tagged"));
        if let Some(image) = self.images.get_mut(name) {
            image.tagged = true;
        }
    }

    /// Removes an image by its id; another one of that name is another.
    pub(in crate::controller::simulation) fn remove_image(
        &mut self,
        name: &AmiName,
        id: &AmiId,
        who: &str,
    ) {
        if self.images.get(name).is_none_or(|image| image.id != *id) {
            return;
        }
        let Some(image) = self.images.remove(name) else {
            return;
        };
        self.say(|| format!("{who} removes {}", image.id));
        let recorded = self.recorded.values().any(|ids| ids.contains(&image.id));
        self.demand(!recorded, || format!("{who} removes {}, which is recorded", image.id));
        self.demand(image.by.is_some(), || {
            format!("{who} removes {}, which is a stranger's", image.id)
        });
    }

    fn is_denied(&self) -> bool {
        self.faults && self.now < self.denied_until
    }

    /// Ends the instance of a build.
    pub(in crate::controller::simulation) fn terminate(
        &mut self,
        id: &BuildId,
    ) -> Result<(), Denied> {
        let denied = self.is_denied();
        let Some(build) = self.builds.get_mut(id).filter(|build| build.instance) else {
            return Ok(());
        };
        if denied {
            return Err(Denied);
        }
        build.instance = false;
        Ok(())
    }

    /// The image of a name, as far as it counts for a build that is gone.
    pub(in crate::controller::simulation) fn named(&self, name: &AmiName) -> Named {
        match self.images.get(name) {
            None => Named::None,
            Some(image) if image.ready_at <= self.now => Named::Available,
            Some(_) => Named::Pending,
        }
    }

    /// Whoever made an image of our name takes it away again.
    pub(in crate::controller::simulation) fn strangers_leave(&mut self) {
        self.images.retain(|_, image| image.by.is_some());
    }

    pub(super) fn check_image(&mut self, name: &AmiName, id: &AmiId, fingerprint: Fingerprint) {
        let sound = self.images.get(name).is_some_and(|image| {
            image.id == *id
                && image.ready_at <= self.now
                && image.tagged
                && image.by.is_some()
                && image.fingerprint == fingerprint
        });
        self.demand(sound, || format!("the record of {name} names no whole, tagged image"));
    }

    /// What is left at EC2 that nobody needs, or is not there though it is recorded.
    pub(super) fn is_tidy(&self) -> Result<(), String> {
        for (id, build) in &self.builds {
            // Lost in the second before its key was told, with its host: nobody can know of it.
            if build.instance && build.told {
                return Err(format!("the instance of {id} is left"));
            }
        }
        if let Some((name, _)) = self.images.iter().find(|(_, image)| !image.tagged) {
            return Err(format!("the image {name} is left"));
        }
        let there: BTreeSet<_> = self.images.values().map(|image| &image.id).collect();
        let recorded = self.recorded.values().flatten();
        match recorded.into_iter().find(|id| !there.contains(id)) {
            Some(id) => Err(format!("{id} is recorded and gone")),
            None => Ok(()),
        }
    }

    pub(in crate::controller::simulation) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
