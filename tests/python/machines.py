"""An emulator whose instances have disks and are reached over SSH, for the tests of these; ends with the class of tests that asks for it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from emulated import EMULATOR, Emulator, OnEmulator, name

sys.path.insert(0, str(EMULATOR.parent))
from person import Person  # noqa: E402


class OnMachines(OnEmulator):
    """A test with an emulator and an sshd of its class."""

    @classmethod
    def setUpClass(cls):
        cls.aws = Emulator()
        cls.addClassCleanup(cls.aws.end)
        cls.ec2, cls.other = cls.aws.client("ec2"), cls.aws.client("ec2", key="AKIAOTHER")
        folder = tempfile.TemporaryDirectory(prefix="sshd-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name).resolve()
        sshd = subprocess.Popen([EMULATOR.parent / "sshd.sh", cls.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        cls.addClassCleanup(end, sshd)
        cls.sshd = json.loads(sshd.stdout.readline())
        cls.aws.tell("authorized-keys", str(cls.folder / "authorized_keys"))

    def setUp(self):
        self.person = Person(self.aws.endpoint, self.sshd["port"])
        self.addCleanup(self.person.end)

    def said(self, instance, command):
        return self.person.run(instance, command).stdout.strip()

    def made_of(self, instance, **more):
        """An image of the instance."""
        return self.ec2.create_image(InstanceId=instance, Name=name(), NoReboot=True, **more)["ImageId"]

    def disks(self):
        """Whose disks there are."""
        return {one.name for one in (self.folder / "disks").iterdir()}


def end(process):
    process.stdin.close()
    process.wait()
    process.stdout.close()
