"""What becomes of an instance: its states, with its disk and its address in step.

moto makes every instance as an `Instance` of this file, whoever starts it. The rules say where they come from as in `image_life`.
"""

import copy
import re
import threading

from moto.core.utils import utcnow
from moto.ec2.models import instances

import disks
import images
from addresses import ADDRESSES
from answers import refusal
from state import STATE

WELL_FORMED = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")


class Instance(instances.Instance):
    """An instance with a disk, where there is an sshd that people can reach it by."""

    # moto keeps account of its things by the module that they are in.
    __module__ = instances.__name__

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        # An instance that was there before the sshd has no disk. The public key is put on it when it starts for the first time.
        self.has_disk, pair = STATE.sshd is not None, self.ec2_backend.key_pairs.get(self.key_name)
        self.public_key = disks.name_of(pair.public_key) if pair else "none"
        if self.has_disk:
            image = images.find(self.ec2_backend.region_name, self.image_id)
            disks.begin(self.id, image and image.snapshots[0].id)
            self.go_on_line()

    def go_on_line(self):
        if self.has_disk:
            disks.open_to(self.id, self.public_key)
            self.nics[0].public_ip = ADDRESSES.give(self.id, STATE.sshd)

    def go_off_line(self):
        """Its public address is given up (User Guide, *Amazon EC2 instance IP addressing*), and what runs ends."""
        if self.has_disk:
            ADDRESSES.take(self.id)
            self.nics[0].public_ip = None
            disks.close(self.id)

    def start(self):
        if self.state == "running":
            return copy.copy(self._state)
        previous = super().start()
        # When it was last launched, not first (API reference, Instance, LaunchTime).
        self.launch_time = utcnow()
        self.go_on_line()
        return previous

    def stop(self):
        """Stops what runs; what has stopped stays as it is, with the time at which it did."""
        if self.state in ("stopping", "stopped"):
            return copy.copy(self._state)
        self.go_off_line()
        previous = super().stop()
        self.tell_why()
        if STATE.stopping_seconds > 0:
            self._state.name, self._state.code = "stopping", 64
            timer = threading.Timer(STATE.stopping_seconds, self.end_of_stopping)
            timer.daemon = True
            timer.start()
        return previous

    def end_of_stopping(self):
        if self.state == "stopping":
            self._state.name, self._state.code = "stopped", 80

    def terminate(self):
        if self.state == "terminated":
            return copy.copy(self._state)
        self.go_off_line()
        previous = super().terminate()
        self.tell_why()
        disks.free(self.id)
        return previous

    def tell_why(self):
        """Measured in cloud-custodian/cloud-custodian#6924; moto has `UTC`."""
        self._reason = f"User initiated ({utcnow().strftime('%Y-%m-%d %H:%M:%S')} GMT)"

    def reboot(self):
        """What runs ends; address and disk stay (User Guide, *Reboot your instance*)."""
        super().reboot()
        if self.has_disk:
            disks.close(self.id)
            disks.open_to(self.id, self.public_key)


instances.Instance = Instance


def named(call):
    """The instances that a call names."""
    return [*call.many("InstanceId"), *([call.one("InstanceId")] if call.one("InstanceId") else [])]


def malformed(call):
    """Measured in ClusterLabs/cluster-glue#29, for StopInstances and DescribeInstances."""
    for instance_id in named(call):
        if not WELL_FORMED.fullmatch(instance_id):
            return refusal("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
    return None


# The states from which an instance is started, stopped and rebooted (User Guide, *Amazon EC2 instance state changes*).
STATES = {
    "StartInstances": ("pending", "running", "stopped"),
    "StopInstances": ("running", "stopping", "stopped"),
    "RebootInstances": ("running",),
}


def wrong_state(call):
    """The code is measured in cloud-custodian/cloud-custodian#6014, the words in burstable-ai/burst#42 (those for other operations likewise)."""
    verb = {"StartInstances": "started", "StopInstances": "stopped", "RebootInstances": "rebooted"}[call.operation]
    for held in list(images.ec2_backends[call.account][call.region].reservations.values()):
        for instance in held.instances:
            if instance.id in named(call) and instance.state not in STATES[call.operation]:
                return refusal("IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can be {verb}.")
    return None
