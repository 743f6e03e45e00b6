//! What a build comes to: ends that the real Packer does not come to on demand, told by a
//! transcript, each with the decision, the journal, the record and what is left at EC2.

mod ends;
mod leftovers;
mod real;
mod supervised;
mod surroundings;
mod without_image;

use std::path::PathBuf;

use reconciler::packer::process::{ProcessId, Session};
use serde_json::Value;

use crate::harness::fake_packer::FakePacker;
use crate::harness::farm::Farm;

/// What a Packer makes as a rule: key, group, instance, image, and it cleans up.
const WHOLE: &str = "key\ngroup\ninstance\nimage\nterminate\nungroup\nunkey\nartifact\n";

/// The journal of a build that went well.
const RECORDED: [&str; 7] =
    ["intent", "started", "image_seen", "available", "tagged", "recorded", "cleaned"];

/// One step `a` under a Packer that plays this transcript, with quick retries.
fn one_step(transcript: &str) -> (Farm, FakePacker) {
    let packer = FakePacker::new(transcript);
    let farm = Farm::with_packer(&packer.binary());
    farm.step("a", None);
    farm.configure("retry:\n  initial: 1s\n");
    farm.repo.commit("one step");
    (farm, packer)
}

impl Farm {
    /// The folders of builds.
    fn builds(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state().join("builds"));
        let folders = entries.into_iter().flatten().flatten();
        let folders = folders.map(|entry| entry.path());
        folders.filter(|path| path.is_dir()).collect()
    }

    /// The folder of the only build.
    pub(crate) fn only_build(&self) -> PathBuf {
        let mut folders = self.builds();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders.remove(0)
    }

    /// The supervisor of the only build.
    fn supervisor(&self) -> ProcessId {
        let known = std::fs::read(self.only_build().join("supervisor.json")).unwrap();
        let known: Value = serde_json::from_slice(&known).unwrap();
        ProcessId {
            pid: u32::try_from(known["pid"].as_u64().unwrap()).unwrap(),
            start: known["pid_start"].as_u64().unwrap(),
        }
    }

    /// What the supervisor of the only build started.
    fn packer_processes(&self) -> Session {
        let job = std::fs::read(self.only_build().join("job.json")).unwrap();
        let job: Value = serde_json::from_slice(&job).unwrap();
        Session::of(self.supervisor(), job["temporary"].as_str().unwrap().as_ref())
    }

    /// Waits until a step is recorded and what its build left is looked after.
    #[track_caller]
    fn settles(&self, step: &str) {
        self.wait_until("it is recorded and cleaned up", |farm| {
            farm.state_of(step) == "in-sync"
                && farm.stages(step).last().is_some_and(|last| last == "cleaned")
        });
    }

    /// The newest failure that the journal keeps of the step `a` is of this class, and its cause
    /// says this.
    #[track_caller]
    pub(crate) fn failed(&self, class: &str, words: &str) {
        let failure = self.failure("a");
        assert_eq!(failure["class"], class, "{failure}");
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.contains(words), "{words:?} is in the cause: {cause}");
    }

    /// The newest failure that the journal keeps of a step.
    fn failure(&self, step: &str) -> Value {
        let events = self.events(step);
        let failed = events
            .iter()
            .rev()
            .find_map(|event| serde_json::to_value(&event.stage).unwrap().get("failed").cloned());
        failed.unwrap_or_else(|| panic!("no failure: {events:#?}"))
    }
}
