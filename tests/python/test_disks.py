"""The rules of `tests/aws/disks.py` and `addresses.py`, over the SDK and SSH: what is on an instance, and who reaches it when."""

import json
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

from emulated import EMULATOR, name
from machines import OnMachines
from person import Person


class Disks(OnMachines):
    def test_an_image_holds_what_a_person_did_to_the_instance(self):
        instance = self.person.changed(self.image(), "mkdir -p tools && echo by hand > tools/note && chmod 750 tools && ln -s tools/note link")
        image = self.made_of(instance)
        later = self.person.start(image)
        self.assertEqual(self.said(later, "cat link && stat -c %a tools"), "by hand\n750")

    def test_a_command_makes_what_a_person_would(self):
        words = [sys.executable, EMULATOR.parent / "person.py", self.aws.endpoint, str(self.sshd["port"]), self.image(), "echo by command > note"]
        instance = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)["instance"]
        found = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        self.assertEqual(found["State"]["Name"], "stopped")
        self.assertEqual([one["KeyName"] for one in self.ec2.describe_key_pairs()["KeyPairs"]], [self.person.key_name])
        self.assertEqual(self.said(self.person.start(self.made_of(instance)), "cat note"), "by command")

    def test_a_new_instance_of_a_base_image_has_nothing(self):
        self.assertEqual(self.said(self.person.start(self.image()), "ls -A"), "")

    def test_instances_of_one_image_and_key_have_a_disk_and_an_address_each(self):
        first, second = (self.person.start(self.made_of(self.person.changed(self.image(), "echo old > note"))) for _ in range(2))
        self.assertNotEqual(self.person.address(first), self.person.address(second))
        self.person.run(first, "echo new > note")
        self.assertEqual((self.said(first, "cat note"), self.said(second, "cat note")), ("new", "old"))

    def test_an_image_does_not_change_any_more(self):
        instance = self.person.start(self.image())
        self.person.run(instance, "echo early > note")
        image = self.made_of(instance)
        self.person.run(instance, "echo late > note")
        self.assertEqual(self.said(self.person.start(image), "cat note"), "early")
        later = self.person.start(image)
        self.person.run(later, "echo other > note")
        self.assertEqual(self.said(self.person.start(image), "cat note"), "early")

    def test_a_home_is_in_the_same_place_on_every_instance(self):
        if os.geteuid() != 0:
            self.skipTest("only root has folders mounted")
        first = self.person.changed(self.image(), "echo $HOME > home")
        later = self.person.start(self.made_of(first))
        self.assertEqual(self.said(later, "cat home; echo $HOME; pwd"), "\n".join([str(self.folder / "home")] * 3))

    def test_a_copy_and_an_image_of_the_same_snapshot_hold_the_same(self):
        image = self.made_of(self.person.changed(self.image(), "echo kept > note"))
        west = Person(self.aws.endpoint, self.sshd["port"], "us-west-2")
        self.addCleanup(west.end)
        copy = west.ec2.copy_image(Name=name(), SourceImageId=image, SourceRegion="us-east-1")["ImageId"]
        snapshot = self.snapshots(image)[0]
        mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}]
        registered = self.ec2.register_image(Name=name(), BlockDeviceMappings=mapping)["ImageId"]
        self.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
        self.assertEqual(self.said(self.person.start(registered), "cat note"), "kept")
        self.assertEqual(west.run(west.start(copy), "cat note").stdout, "kept\n")

    def test_another_account_finds_what_is_on_a_shared_image(self):
        image = self.made_of(self.person.changed(self.image(), "echo shared > note"))
        other = Person(self.aws.endpoint, self.sshd["port"], name="AKIAOTHER")
        self.addCleanup(other.end)
        self.share(image, "111122223333")
        self.assertEqual(other.run(other.start(image), "cat note").stdout, "shared\n")

    def test_a_disk_goes_with_its_snapshot(self):
        image = self.made_of(self.person.changed(self.image(), "true"))
        snapshot = self.snapshots(image)[0]
        self.assertIn(snapshot, self.disks())
        self.ec2.deregister_image(ImageId=image)
        self.assertIn(snapshot, self.disks())
        self.ec2.delete_snapshot(SnapshotId=snapshot)
        self.assertNotIn(snapshot, self.disks())
        image = self.made_of(self.person.changed(self.image(), "true"))
        snapshot = self.snapshots(image)[0]
        self.refused("InvalidSnapshot.InUse", self.ec2.delete_snapshot, SnapshotId=snapshot)
        self.assertIn(snapshot, self.disks())
        self.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
        self.assertNotIn(snapshot, self.disks())

    def test_a_reboot_for_an_image_ends_what_runs(self):
        instance = self.person.start(self.image())
        self.person.run(instance, "(while true; do echo x >> log; done) > /dev/null 2>&1 &")
        self.made_of(instance)
        self.assertNotEqual(self.said(instance, "wc -c < log; sleep 0.2; wc -c < log").split()[0], self.said(instance, "wc -c < log"), "it runs on")
        image = self.ec2.create_image(InstanceId=instance, Name=name())["ImageId"]
        size = self.said(instance, "wc -c < log")
        self.assertEqual(self.said(instance, "sleep 0.2; wc -c < log"), size)
        self.assertEqual(self.said(self.person.start(image), "wc -c < log"), size)


class Sessions(OnMachines):
    def direct(self, key, command):
        """A login at 127.0.0.1, as of a build whose source names that host."""
        return subprocess.run([*self.person.ssh("127.0.0.1", key), command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def test_a_stop_ends_what_runs_and_refuses_logins_and_a_start_brings_the_disk_back(self):
        instance = self.person.start(self.image())
        address = self.person.address(instance)
        words = [*self.person.ssh(address), "echo here; exec sleep 600"]
        open_session = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(open_session.stdout.close)
        self.assertEqual(open_session.stdout.readline(), b"here\n")
        self.person.run(instance, "setsid -f sh -c 'echo $$ > daemon; exec sleep 600' > /dev/null 2>&1; while [ ! -s daemon ]; do sleep 0.01; done")
        daemon = Path("/proc") / self.said(instance, "cat daemon")
        self.assertTrue(daemon.exists())
        self.person.stop(instance)
        self.assertEqual(open_session.wait(10), 255)
        self.assertFalse(daemon.exists() and "State:\tZ" not in (daemon / "status").read_text(), "what left its session ended as well")
        self.assertIsNone(self.person.address(instance))
        said = subprocess.run([*self.person.ssh(address), "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.assertEqual(said.returncode, 255)
        self.assertIn("Connection refused", said.stderr)
        self.assertIn("does not run", self.direct(self.person.key, "true").stderr)
        self.person.start_again(instance)
        self.assertEqual(self.said(instance, "test -s daemon && echo back"), "back")

    def test_an_instance_is_reached_in_a_network_of_ones_own_too(self):
        network = self.ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=network, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
        instance = self.person.start(self.image(), SubnetId=subnet)
        self.assertEqual(self.said(instance, "echo in"), "in")
        self.person.stop(instance)
        self.assertIsNone(self.person.address(instance))

    def test_a_session_that_was_open_before_a_stop_stays_ended_after_a_start(self):
        instance = self.person.start(self.image())
        control = self.folder / "control"
        words = [*self.person.ssh(self.person.address(instance)), "-M", "-N", "-f", "-o", f"ControlPath={control}"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(words, check=True, **quiet)
        self.assertTrue(control.exists())
        self.person.stop(instance)
        self.person.start_again(instance)
        end = time.monotonic() + 5
        while control.exists() and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(control.exists(), "its connection was cut")

    def test_an_ended_instance_and_its_disk_are_gone(self):
        instance = self.person.start(self.image())
        self.assertIn(instance, self.disks())
        address = self.person.address(instance)
        self.ec2.terminate_instances(InstanceIds=[instance])
        self.assertNotIn(instance, self.disks())
        self.assertIn("Connection refused", subprocess.run([*self.person.ssh(address), "true"], capture_output=True, text=True).stderr)

    def test_an_instance_lets_in_its_own_key_and_the_one_of_the_base_image(self):
        instance, stranger = self.person.start(self.image()), Person(self.aws.endpoint, self.sshd["port"])
        self.addCleanup(stranger.end)
        stranger.start(self.image())
        said = stranger.run(instance, "echo in", check=False)
        self.assertEqual((said.returncode, said.stdout), (255, ""))
        self.assertIn("Permission denied", said.stderr)
        self.person.key = self.sshd["key"]
        self.assertEqual(self.said(instance, "echo in"), "in")

    def test_at_this_host_itself_the_key_tells_the_instance(self):
        own, stranger = self.person.start(self.image()), Person(self.aws.endpoint, self.sshd["port"])
        self.addCleanup(stranger.end)
        stranger.start(self.image())
        self.person.run(own, "echo own > note")
        self.assertEqual(self.direct(self.person.key, "cat note").stdout, "own\n")
        later = self.person.start(self.image())
        self.assertEqual(self.direct(self.person.key, "cat note").stdout, "")
        self.person.run(later, "echo later > note")
        self.assertEqual(self.direct(self.person.key, "cat note").stdout, "later\n")
        said = self.direct(self.sshd["key"], "true")
        self.assertEqual(said.returncode, 255)
        self.assertIn("This is no instance", said.stderr)

    def test_files_are_copied_both_ways(self):
        instance, file = self.person.start(self.image()), self.folder / "file"
        file.write_text("carried\n")
        for way in ([], ["-O"]):
            words = self.person.ssh(self.person.address(instance))
            port = words.index("-p")
            scp = [str(Path(words[0]).with_name("scp")), *way, *words[1:port], "-P", words[port + 1]]
            subprocess.run([*scp, file, f"{words[-1]}:there{len(way)}"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
            subprocess.run([*scp, f"{words[-1]}:there{len(way)}", self.folder / "back"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
            self.assertEqual((self.folder / "back").read_text(), "carried\n")
        self.assertEqual(self.said(instance, "cat there0 there1"), "carried\ncarried")


if __name__ == "__main__":
    unittest.main()
