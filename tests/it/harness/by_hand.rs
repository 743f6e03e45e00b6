//! A person who starts an instance by hand, and stops it.

use std::time::Duration;

use aws_sdk_ec2::types::InstanceStateName;

use serde_json::Value;

use super::farm::{Farm, in_runtime};
use super::python_library::run_script;
use super::sshd::Sshd;

/// An instance of this image, which runs.
pub(crate) fn started(farm: &Farm, image: &str) -> String {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let run = ec2.run_instances().image_id(image).min_count(1).max_count(1);
        let started = run.send().await.unwrap();
        started.instances()[0].instance_id.clone().unwrap()
    })
}

/// Stops an instance, and waits until it is.
pub(crate) fn stop(farm: &Farm, instance: &str) {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.stop_instances().instance_ids(instance).send().await.unwrap();
        loop {
            let seen = ec2.describe_instances().instance_ids(instance).send().await.unwrap();
            let state = seen.reservations()[0].instances()[0].state().unwrap().name().cloned();
            if state == Some(InstanceStateName::Stopped) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

/// Starts an instance that was stopped.
pub(crate) fn start_again(farm: &Farm, instance: &str) {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.start_instances().instance_ids(instance).send().await.unwrap();
    });
}

/// Ends an instance for ever.
pub(crate) fn terminate(farm: &Farm, instance: &str) {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.terminate_instances().instance_ids(instance).send().await.unwrap();
    });
}

/// An instance that was started from the current image of a step, and is stopped.
pub(crate) fn prepared(farm: &Farm, step: &str) -> String {
    let instance = started(farm, &farm.image(step));
    stop(farm, &instance);
    instance
}

/// The image of an instance, by EC2's own word alone.
pub(crate) fn image_of(farm: &Farm, instance: &str, name: &str) -> String {
    let made = in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.create_image().instance_id(instance).name(name).send().await.unwrap()
    });
    made.image_id.unwrap()
}

/// An instance of this image on which a person has run a command over SSH, and which is stopped.
pub(crate) fn changed(farm: &Farm, sshd: &Sshd, image: &str, command: &str) -> String {
    let (endpoint, port, region) = (farm.emulator().endpoint(), sshd.port(), farm.region.name);
    let asked = [&endpoint, &port, image, command, "--region", region];
    let said: Value = serde_json::from_str(&run_script("tests/aws/person.py", &asked, "")).unwrap();
    said["instance"].as_str().unwrap().to_owned()
}
