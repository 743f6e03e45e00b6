//! One row: a scene, a failpoint, what happens there, and the promises that hold afterwards.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::by_hand;
use crate::harness::farm::{Farm, HASTY, Store};
use crate::harness::running::{Running, is_aborted};

/// What happens at the failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The process dies on the spot.
    Abort,
    /// The effect fails once, or its answer is lost.
    Error,
    /// The process stands still past its lease, and goes on when another has done its work.
    Stop,
}

/// What the program is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// Build a new step.
    Build,
    /// The same, and Packer leaves its instance behind.
    LeakyBuild,
    /// The same, and the first build fails for want of capacity.
    FailingBuild,
    /// Change a tag of a recorded image.
    Retag,
    /// Take an image over that an earlier commit had made.
    TakeOver,
    /// Build a step whose image's name a person's image takes after the last look before the start.
    Taken,
    /// Adopt a record of the Python library, as a person asks.
    Adopt,
    /// Make the image of a person's instance, as a person asks.
    MakeImage,
    /// Forget the record of a step that left git, as a person asks.
    Forget,
    /// Delete an earlier image, as a person asks.
    Delete,
}

/// One row of the matrix.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) scene: Scene,
    /// With `@N` for the nth time that it is reached.
    pub(super) failpoint: String,
    pub(super) action: Action,
    pub(super) store: Store,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, failpoint, action, store } = self;
        write!(f, "{scene:?} {failpoint} {action:?} {store:?}")
    }
}

impl Row {
    fn order(&self) -> (String, String) {
        let (name, nth) = self.failpoint.split_once('@').unwrap_or((&self.failpoint, "1"));
        let action = match self.action {
            Action::Abort => "abort",
            Action::Error => "error",
            Action::Stop => "stop",
        };
        (format!("{name}={action}@{nth}"), format!("failpoint {name}: {action}"))
    }

    /// Whether it is the supervisor to whom it happens.
    fn is_supervisors(&self) -> bool {
        self.failpoint.starts_with("supervisor.")
    }

    pub(super) fn run(&self) -> Result<(), Vec<String>> {
        let one = |said: String| vec![said];
        let farm = Farm::hasty(self.store);
        let images = self.set_up(&farm).map_err(one)?;
        let instance = (self.scene == Scene::MakeImage).then(|| by_hand::prepared(&farm, "a"));
        let earlier = (self.scene == Scene::Delete).then(|| earlier_image(&farm));
        let (order, said) = self.order();
        let command = self.command(instance.as_deref().or(earlier.as_deref()));
        let mut first = farm.start(&command, &order, "first");
        let mut broken = Vec::new();
        let frozen = if self.is_supervisors() {
            farm.wait_for_words("first", &said).map_err(one)?;
            // It would give the order to its next supervisor as well.
            first.kill();
            false
        } else {
            let frozen = first
                .ended_or_frozen(Duration::from_mins(1))
                .map_err(|late| vec![late, farm.said("first")])?;
            if !farm.said("first").contains(&said) {
                broken.push(format!("`{said}` never happened"));
            }
            frozen
        };
        if self.action == Action::Abort && !self.is_supervisors() {
            let status = first.ended();
            if !status.is_some_and(is_aborted) {
                broken.push(format!("it is not aborted: {status:?}"));
            }
        }
        if self.scene == Scene::Taken {
            broken.extend(is_left_alone(&farm));
            if !broken.is_empty() {
                broken.push(farm.said("first"));
                return Err(broken);
            }
            return Ok(());
        }
        if command != ["apply"]
            && let Err(never) = asked_until_done(&farm, &command)
        {
            broken.push(never);
        }
        if let Some(instance) = &instance {
            by_hand::terminate(&farm, instance);
        }
        if let Err(never) = farm.converge(5) {
            broken.push(never);
        }
        broken.extend(farm.broken_promises(images));
        if frozen {
            broken.extend(wake(&farm, &mut first, images));
        }
        broken.extend(idle(&farm));
        // That one was to go.
        broken.retain(|said| !earlier.as_ref().is_some_and(|image| is_its_loss(said, image)));
        if !broken.is_empty() {
            broken.push(farm.said("first"));
            return Err(broken);
        }
        Ok(())
    }

    /// What meets with the failpoint.
    fn command<'a>(&self, id: Option<&'a str>) -> Vec<&'a str> {
        match (self.scene, id) {
            (Scene::Adopt, _) => vec!["adopt", "a"],
            (Scene::Forget, _) => vec!["forget", "old"],
            (Scene::Delete, Some(image)) => vec!["image", "delete", image, "--yes", "--snapshots"],
            (Scene::MakeImage, Some(instance)) => {
                vec!["image", "create", "--step", "b", "--instance-id", instance]
            }
            _ => vec!["apply"],
        }
    }

    /// Leaves a repository in which there is exactly this to do; how many images there are in the
    /// end.
    fn set_up(&self, farm: &Farm) -> Result<usize, String> {
        farm.step("a", None);
        // A frozen supervisor is ended at its limit.
        if self.is_supervisors() && self.action == Action::Stop {
            farm.configure_packer("timeout: 10s, grace: 1s", HASTY);
        }
        // It is renewed three times in its duration: more than once in the shortest build.
        if self.failpoint.starts_with("lease.renew") {
            farm.reconfigure(|text| text.replace("lease_duration: 4s", "lease_duration: 2s"));
        }
        farm.repo.commit("first");
        match self.scene {
            Scene::Build => Ok(1),
            Scene::LeakyBuild => {
                farm.faults(&json!([packers("TerminateInstances", "denied")]));
                Ok(1)
            }
            Scene::FailingBuild => {
                farm.faults(&json!([packers("RunInstances", "denied")]));
                Ok(1)
            }
            Scene::Retag => {
                farm.converge(3)?;
                farm.workflow(&json!({ "aws_tags": { "env": "production" } }));
                farm.repo.commit("another tag");
                Ok(1)
            }
            Scene::TakeOver => {
                farm.converge(3)?;
                farm.script("a", "echo 2\n");
                farm.repo.commit("second");
                farm.converge(3)?;
                farm.script("a", "echo 1\n");
                farm.repo.commit("back to the first");
                Ok(2)
            }
            Scene::Adopt => {
                farm.converge(3)?;
                farm.forget_what_it_was_made_of("a");
                Ok(1)
            }
            Scene::Forget => {
                farm.step("old", None);
                farm.repo.commit("a step that is going to leave");
                farm.converge(3)?;
                farm.repo.git(&["rm", "-rq", "packer_workspaces/old"]);
                farm.repo.commit("it has left");
                // Its image stays.
                Ok(2)
            }
            Scene::Delete => {
                farm.converge(3)?;
                farm.script("a", "echo 2\n");
                farm.repo.commit("second");
                farm.converge(3)?;
                Ok(1)
            }
            Scene::MakeImage => {
                let params = json!({ "step_id": "b", "previous_step_id": "a" });
                farm.repo.write("packer_workspaces/b/step_param.json", params.to_string());
                farm.repo.commit("a step that a person makes");
                match farm.run(&["apply"]) {
                    ran if ran.code == 3 => Ok(2),
                    ran => Err(format!("{ran:?}")),
                }
            }
            Scene::Taken => {
                let name = &farm.plan(&[])["a"].next_ami_name;
                farm.region.make_image(&json!({
                    "name": name, "id": PERSONS, "created": "2026-01-01T00:00:00.000Z",
                }));
                // The plan looks, and the start looks again.
                farm.faults(&json!([{
                    "operation": "DescribeImagesByName", "kind": "empty", "from": "reconciler", "times": 2,
                }]));
                Ok(1)
            }
        }
    }
}

/// Whether a broken promise is that this image was lost.
fn is_its_loss(said: &str, image: &str) -> bool {
    said.contains("an image was lost") && said.contains(image)
}

/// The image that is there and not the current one.
fn earlier_image(farm: &Farm) -> String {
    let current = farm.image("a");
    let ids = farm.images().into_iter().map(|image| image["id"].as_str().unwrap().to_owned());
    ids.into_iter().find(|id| *id != current).unwrap()
}

/// Asks again until it is done. What was begun and never asked of EC2 is cancelled first, as a
/// person would; what EC2 has is recorded by that.
fn asked_until_done(farm: &Farm, command: &[&str]) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..8 {
        let ran = farm.run(command);
        last = format!("exit {}\n{}\n{}", ran.code, ran.out, ran.err);
        let is_done = ["does not wait for an image that a person makes", "there is no record of"];
        if ran.code == 0 || is_done.iter().any(|done| ran.err.contains(done)) {
            return Ok(());
        }
        // The reservation of a command that died.
        if ran.err.contains("reconciler image release") {
            farm.run(&[&["image", "release"], &command[2..3]].concat());
        }
        if ran.err.contains("under way") {
            farm.run(&["cancel", "b"]);
        }
        std::thread::sleep(Duration::from_millis(700));
    }
    Err(format!("it is never done: {last}"))
}

/// The image of a person.
const PERSONS: &str = "ami-0fedcba9876543210";

/// Whatever happened: a person's image of the wanted name is neither recorded nor tagged nor
/// removed, and the step says why it is not built.
fn is_left_alone(farm: &Farm) -> Vec<String> {
    for _ in 0..3 {
        farm.run(&["apply"]);
        std::thread::sleep(Duration::from_millis(1100));
    }
    let mut broken = Vec::new();
    let images = farm.images();
    let theirs: Vec<_> = images.iter().filter(|image| image["id"] == PERSONS).collect();
    if theirs.len() != 1 || theirs[0]["state"] != "available" || theirs[0]["tags"] != json!({}) {
        broken.push(format!("a person's image was touched: {theirs:?}"));
    }
    if farm.calls("ec2.RunInstances") > 0 {
        broken.push("something was built under a name that is taken".to_owned());
    }
    let step = &farm.status()["a"];
    if step.ami_id.is_some() || step.state == "in-sync" {
        broken.push(format!("a person's image is recorded: {step:?}"));
    }
    if !step.reason.contains("is taken by") {
        broken.push(format!("it does not say why: {step:?}"));
    }
    broken
}

fn packers(operation: &str, kind: &str) -> Value {
    json!({ "operation": operation, "kind": kind, "from": "packer" })
}

/// The frozen process goes on: what it was about to write is stale by now, and must not be written.
fn wake(farm: &Farm, first: &mut Running, images: usize) -> Vec<String> {
    let before = state(farm);
    first.signal(Signal::CONT);
    let mut broken = Vec::new();
    if let Err(late) = first.end(Duration::from_secs(40)) {
        broken.push(format!("woken, it goes on for ever: {late}"));
    }
    let after = state(farm);
    if before != after {
        broken.push(format!("woken, it wrote: {before}\n  became {after}"));
    }
    broken.extend(
        farm.broken_promises(images).into_iter().map(|promise| format!("woken: {promise}")),
    );
    broken
}

/// What is recorded and what is at EC2; tags too.
fn state(farm: &Farm) -> String {
    let status = farm.try_status();
    let steps = status.map(|status| {
        let facts = status.steps.iter().map(|step| (step.state.clone(), step.ami_id.clone()));
        facts.collect::<Vec<_>>()
    });
    format!("{steps:?} {}", Value::from(farm.resources("images")))
}

/// An unchanged repository causes no write, and nothing is said to be left to do.
fn idle(farm: &Farm) -> Vec<String> {
    farm.forget_calls();
    let ran = farm.run(&["apply"]);
    let writes = farm.writes();
    let mut broken = Vec::new();
    if ran.code != 0 {
        broken.push(format!("an idle apply fails: {ran:?}"));
    }
    if writes != json!({}) {
        broken.push(format!("an idle apply writes: {writes}"));
    }
    broken
}
