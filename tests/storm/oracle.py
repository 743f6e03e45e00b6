"""Whether what must hold holds, read from EC2, the tables and /proc only: nothing here asks the program or reads what it says.

What is still to come is told apart from what can never be right again: the first is waited for, the second ends the round.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Callable

from aws import REGION, Emulator, Tables
from git import BASE, Model, Workflow

# What a build made so shortly before its host was lost with its disk, and that no sign of life told of yet, stays: docs/reliability.md.
UNTOLD_SECONDS = 5.0

# A daemon stays below these.
MOST_FILES, MOST_PACKS, MOST_MEMORY_MIB = 64, 40, 200


@dataclass(frozen=True)
class Loss:
    """A moment at which a host lost its power."""

    at: float
    host: str
    # Nobody will ever read there what the last second made.
    disk_is_gone: bool

    def covers(self, made_at: float) -> bool:
        return self.at - UNTOLD_SECONDS <= made_at <= self.at + 1.0


@dataclass
class Look:
    """What one look came to."""

    waiting: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    # All that was seen; the same twice means that nothing changes.
    seen: Any = None


@dataclass
class Seen:
    """EC2 at one moment."""

    images: dict[str, Any]
    instances: dict[str, Any]
    keys: set[str]
    groups: dict[str, str]
    volumes: dict[str, str]
    snapshots: dict[str, str]


class Oracle:
    """Knows what was there before the program, what was ever recorded, and what git says."""

    def __init__(self, emulator: Emulator, tables: Callable[[], Tables], region: str = REGION):
        self.emulator, self.tables, self.region = emulator, tables, region
        self.ec2 = emulator.client("ec2", region)
        self.ever_recorded: set[str] = set()
        self.untold = 0
        # Power losses whose last second nobody can have told of yet.
        self.losses: list[Loss] = []
        self.foreign = self._plant()
        self.before = self._facts_of_foreign(self.see())

    # What is another's

    def _plant(self) -> set[str]:
        """Things of other people that look like ours."""
        ec2 = self.ec2
        key = ec2.create_key_pair(KeyName="packer_foreign")["KeyName"]
        group = ec2.create_security_group(GroupName="packer_foreign", Description="Temporary group for Packer")["GroupId"]
        tags = [{"Key": "Name", "Value": "Packer Builder"}]
        launched = ec2.run_instances(
            ImageId=BASE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            KeyName=key,
            SecurityGroupIds=[group],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        instance = launched["Instances"][0]["InstanceId"]
        images = [ec2.create_image(InstanceId=instance, Name=name)["ImageId"] for name in ("base/w1-1/a/00000000", "base/w1-1/a")]
        volume = ec2.create_volume(AvailabilityZone=f"{self.region}a", Size=1, TagSpecifications=[{"ResourceType": "volume", "Tags": tags}])["VolumeId"]
        snapshot = ec2.create_snapshot(VolumeId=volume, Description="Created by CreateImage(i-0) for ami-0")["SnapshotId"]
        root_volumes = [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]]
        return {key, group, instance, volume, snapshot, BASE, *images, *root_volumes}

    def _facts_of_foreign(self, seen: Seen) -> dict[str, Any]:
        everything = {**seen.images, **seen.instances, **seen.groups, **seen.volumes, **seen.snapshots, **dict.fromkeys(seen.keys, "key")}
        return {name: everything.get(name) for name in self.foreign}

    # Looking

    def see(self) -> Seen:
        ec2 = self.ec2
        instances = [one for part in ec2.describe_instances()["Reservations"] for one in part["Instances"]]
        return Seen(
            images={one["ImageId"]: (one["State"], one["Name"], tags_of(one)) for one in ec2.describe_images(Owners=["self"])["Images"]},
            instances={one["InstanceId"]: (one["State"]["Name"], tags_of(one)) for one in instances},
            keys={one["KeyName"] for one in ec2.describe_key_pairs()["KeyPairs"]},
            groups={one["GroupId"]: one["GroupName"] for one in ec2.describe_security_groups()["SecurityGroups"] if one["GroupName"] != "default"},
            volumes={one["VolumeId"]: one["State"] for one in ec2.describe_volumes()["Volumes"]},
            snapshots={one["SnapshotId"]: one["State"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]},
        )

    def look(self, model: Model, processes: list[str]) -> Look:
        """Everything at once. `processes` are those of builds that run on any host."""
        tables, seen, made = self.tables(), self.see(), self.made()
        look = Look()
        for images in tables.recorded().values():
            self.ever_recorded |= images
        self.ever_recorded |= set(tables.records.values())
        for workflow in model.values():
            self._look_at_workflow(workflow, tables, seen, made, look)
        self._look_at_images(tables, seen, made, look)
        left = self.left(seen)
        look.waiting += [f"left: {what}" for what in left]
        look.waiting += [f"not settled: {workflow}/{step}" for workflow, step in tables.open()]
        look.waiting += [f"still runs: {process}" for process in processes]
        now = self._facts_of_foreign(seen)
        look.wrong += [f"another's {name} was {self.before[name]} and is {now[name]}" for name in self.before if now[name] != self.before[name]]
        look.seen = (sorted(tables.records.items()), len(tables.events), sorted(seen.images), left, processes)
        return look

    def made(self) -> dict[str, Any]:
        """What the emulator noted of every image when it was made: name, source, and the tags of its instance."""
        return {one["id"]: one for one in self.emulator.ask("images") if one["event"] == "made"}

    def _look_at_workflow(self, workflow: Workflow, tables: Tables, seen: Seen, made: dict[str, Any], look: Look) -> None:
        """Every step that can be built has a record, whose image is there and was built from what the commit says."""
        for name, step in workflow.steps.items():
            if not workflow.buildable(name):
                continue
            where = f"{workflow.workflow_id}/{name}"
            image = tables.records.get((workflow.workflow_id, name))
            if image is None:
                look.waiting.append(f"{where} has no record")
                continue
            state, _, tags = seen.images.get(image, ("gone", "", {}))
            of = made.get(image, {})
            content = of.get("of", {}).get("content")
            parent = tables.records.get((workflow.workflow_id, step.parent)) if step.parent else BASE
            if state != "available":
                look.waiting.append(f"{where} is {image}, which is {state}")
            if content != workflow.content(name):
                look.waiting.append(f"{where} is {image}, built from {content} and not from {workflow.content(name)}")
            if of.get("source") != parent:
                look.waiting.append(f"{where} is {image}, built on {of.get('source')} and not on {parent}")
            wanted = {"env": workflow.env, "reconciler:workflow-id": workflow.workflow_id, "reconciler:step-id": name}
            for tag, value in wanted.items():
                if tags.get(tag) != value:
                    look.waiting.append(f"{where} is {image}, whose tag {tag} is {tags.get(tag)} and not {value}")

    def _look_at_images(self, tables: Tables, seen: Seen, made: dict[str, Any], look: Look) -> None:
        for image in self.ever_recorded - set(seen.images):
            look.wrong.append(f"LOST: {image} was recorded, and is gone")
        for fingerprint, images in tables.recorded().items():
            if len(images) > 1:
                look.wrong.append(f"DOUBLED: {fingerprint} was recorded as {sorted(images)}")
        by_fingerprint: dict[str, list[str]] = {}
        for image, (_, _, tags) in seen.images.items():
            if image in self.ever_recorded and "reconciler:fingerprint" in tags:
                by_fingerprint.setdefault(tags["reconciler:fingerprint"], []).append(image)
        for fingerprint, tagged in by_fingerprint.items():
            if len(tagged) > 1:
                look.wrong.append(f"DOUBLED: {sorted(tagged)} bear the fingerprint {fingerprint}")
        for (workflow, step), image in tables.records.items():
            content = made.get(image, {}).get("of", {}).get("content", "")
            if not content.startswith(f"{workflow.partition('-')[0]}-{step}-"):
                look.wrong.append(f"{workflow}/{step} is recorded as {image}, which was built from {content!r}")

    def left(self, seen: Seen) -> list[str]:
        """What is nobody's: neither another's nor of an image that was recorded."""
        excused = self.foreign | (self.untold_of(self.losses) if self.losses else set())
        of_images = {one for image in self.emulator.ask("resources")["images"] for one in image["snapshots"]}
        images = {name: f"{name} {state} {text}" for name, (state, text, _) in seen.images.items() if name not in self.ever_recorded}
        running = {name: f"{name} {state}" for name, (state, _) in seen.instances.items() if state not in ("terminated", "shutting-down")}
        groups = {name: f"{name} {group}" for name, group in seen.groups.items()}
        others = {name: name for name in [*seen.keys, *seen.volumes, *(set(seen.snapshots) - of_images)]}
        return sorted(text for name, text in {**images, **running, **groups, **others}.items() if name not in excused)

    # What nobody can know of

    def untold_of(self, losses: list[Loss]) -> set[str]:
        """What was made just before one of these."""
        return {name for at, _, name in self.emulator.ask("created") if any(loss.covers(at) for loss in losses)} - self.foreign

    def host_is_back(self, host: str) -> None:
        """From now on it has to clean up what it finds in its own folders."""
        self.losses = [loss for loss in self.losses if loss.disk_is_gone or loss.host != host]

    def remove_untold(self) -> None:
        """Removes what a host made just before it was lost with its disk."""
        untold = self.untold_of([loss for loss in self.losses if loss.disk_is_gone])
        if not untold:
            return
        seen = self.see()
        for name, (state, _) in seen.instances.items():
            if name in untold and state not in ("terminated", "shutting-down"):
                self.ec2.terminate_instances(InstanceIds=[name])
                self.untold += 1
        for name in seen.keys & untold:
            self.ec2.delete_key_pair(KeyName=name)
            self.untold += 1
        for name in set(seen.groups) & untold:
            self.ec2.delete_security_group(GroupId=name)
            self.untold += 1


def tags_of(thing: Any) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in thing.get("Tags", [])}


def wait_for_rest(look: Callable[[], Look], seconds: float, still: float = 2.0) -> tuple[bool, Look]:
    """Looks until all is as it should be and nothing has changed for a while; false with the last look if that does not come."""
    end, last, since = time.monotonic() + seconds, look(), time.monotonic()
    while True:
        time.sleep(1.0)
        now = look()
        if now.wrong:
            return False, now
        if now.waiting or now.seen != last.seen:
            since = time.monotonic()
        elif time.monotonic() - since >= still:
            return True, now
        if time.monotonic() > end:
            return False, now
        last = now
