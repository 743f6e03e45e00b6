"""Puts one mistake after the other into an emulated EC2 and the tables, and looks that the oracle of the storm tells each.

What is sound must be sound for the oracle too; each mistake gets a region of its own.
"""

import copy
import sys
from pathlib import Path
from typing import Any, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))

from aws import Emulator, Tables  # noqa: E402
from git import BASE, Model, Step, Workflow  # noqa: E402
from oracle import Oracle  # noqa: E402


class World:
    """A workflow of two steps that is as git says, without a program."""

    def __init__(self, emulator: Emulator, region: str):
        self.tables, self.processes, self.zone = Tables(), [], f"{region}a"
        emulator.tell("base-image", {"name": "base", "id": BASE, "region": region})
        self.oracle = Oracle(emulator, lambda: copy.deepcopy(self.tables), region)
        self.ec2 = self.oracle.ec2
        steps = {"a": Step("s01", None, 1), "b": Step("s02", "a", 2)}
        self.model: Model = {"w1": Workflow("w1", "w1", "w1-1", steps=steps)}
        self.a = self.build("a", "w1-a-1", BASE, "f1")
        self.b = self.build("b", "w1-b-2", self.a, "f2")

    def image(self, content: str, source: str, name: str) -> str:
        tags = [{"Key": "content", "Value": content}]
        launch = {"ImageId": source, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
        instance = self.ec2.run_instances(**launch, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])["Instances"][0]["InstanceId"]
        image = self.ec2.create_image(InstanceId=instance, Name=name)["ImageId"]
        self.ec2.terminate_instances(InstanceIds=[instance])
        return image

    def build(self, step: str, content: str, source: str, fingerprint: str, name: str = "") -> str:
        image = self.image(content, source, name or f"base/w1-1/{step}/{fingerprint}")
        tags = {"env": "test", "reconciler:workflow-id": "w1-1", "reconciler:step-id": step, "reconciler:fingerprint": fingerprint}
        self.tag(image, tags)
        build = f"build-{len(self.tables.events)}"
        self.tables.records["w1-1", step] = image
        self.tables.events += [
            ("w1-1", step, build, 0, {"intent": {"fingerprint": fingerprint}}),
            ("w1-1", step, build, 1, {"recorded": {"ami_id": image}}),
        ]
        self.tables.attempts["w1-1", step] = {"progress": {"recorded": {}}}
        return image

    def tag(self, image: str, tags: dict[str, str]) -> None:
        self.ec2.create_tags(Resources=[image], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])

    def said(self) -> list[str]:
        look = self.oracle.look(self.model, self.processes)
        return look.waiting + look.wrong


def launch(world: World) -> None:
    world.ec2.run_instances(ImageId=BASE, MinCount=1, MaxCount=1)


def record_an_older_image(world: World) -> None:
    world.model["w1"].steps["b"].serial = 3


def lose_an_image(world: World) -> None:
    world.said()
    world.ec2.deregister_image(ImageId=world.b)


def lose_an_old_image(world: World) -> None:
    """One whose place in the record another has taken."""
    world.said()
    record_an_older_image(world)
    world.build("b", "w1-b-3", world.a, "f3")
    world.ec2.deregister_image(ImageId=world.b)


def leave_a_volume(world: World) -> None:
    world.ec2.create_volume(AvailabilityZone=world.zone, Size=1)


def leave_a_snapshot(world: World) -> None:
    volume = world.ec2.create_volume(AvailabilityZone=world.zone, Size=1)["VolumeId"]
    world.ec2.create_snapshot(VolumeId=volume)
    world.ec2.delete_volume(VolumeId=volume)


def touch_a_stranger(world: World) -> None:
    stranger = next(name for name in world.oracle.foreign if name.startswith("ami-") and name != BASE)
    world.tag(stranger, {"reconciler:step-id": "a"})


# What is done wrong, and words that the oracle must find for it.
MISTAKES: list[tuple[str, Callable[[World], Any], str]] = [
    ("a step without a record", lambda world: world.tables.records.pop(("w1-1", "a")), "w1-1/a has no record"),
    ("an older image is recorded", record_an_older_image, "built from w1-b-2 and not from w1-b-3"),
    ("an image on another source", lambda world: world.build("b", "w1-b-2", BASE, "f4"), f"built on {BASE}"),
    ("another step's image is recorded", lambda world: world.tables.records.update({("w1-1", "b"): world.a}), "w1-1/b is recorded as"),
    ("a recorded image is gone", lose_an_image, "LOST"),
    ("an image that was recorded once is gone", lose_an_old_image, "LOST"),
    ("a fingerprint recorded twice", lambda world: world.build("b", "w1-b-2", world.a, "f2", "base/w1-1/b/f2-2"), "DOUBLED"),
    ("an image without a record", lambda world: world.image("w1-a-1", BASE, "base/w1-1/a/f9"), "left: ami-"),
    ("a tag of the workflow is missing", lambda world: world.tag(world.b, {"env": "other"}), "whose tag env is other"),
    ("a running instance", launch, "left: i-"),
    ("a key pair", lambda world: world.ec2.create_key_pair(KeyName="packer_1"), "left: packer_1"),
    ("a security group", lambda world: world.ec2.create_security_group(GroupName="packer_2", Description="-"), "packer_2"),
    ("a volume", leave_a_volume, "left: vol-"),
    ("a snapshot", leave_a_snapshot, "left: snap-"),
    ("a stranger's key pair is gone", lambda world: world.ec2.delete_key_pair(KeyName="packer_foreign"), "another's packer_foreign"),
    ("a stranger's image was tagged", touch_a_stranger, "another's ami-"),
    ("a build that is not settled", lambda world: world.tables.attempts.update({("w1-1", "a"): {"progress": {"started": {}}}}), "not settled: w1-1/a"),
    ("a process", lambda world: world.processes.append("supervisor 1 on h1"), "still runs: supervisor"),
]


REGIONS = """us-east-2 us-west-1 us-west-2 eu-central-1 eu-west-1 eu-west-2 eu-west-3 eu-north-1 ap-south-1 sa-east-1 ca-central-1
    ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-southeast-1 ap-southeast-2 eu-south-1 me-south-1 af-south-1""".split()


def main() -> int:
    missed, emulator = 0, Emulator()
    for region, (what, mistake, words) in zip(REGIONS, [("nothing", lambda _: None, ""), *MISTAKES], strict=True):
        world = World(emulator, region)
        mistake(world)
        said = world.said()
        told = any(words in line for line in said) if words else not said
        missed += not told
        print(f"{'told' if told else 'MISSED':6} {what}: {'; '.join(said)}", flush=True)
    emulator.stop()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
