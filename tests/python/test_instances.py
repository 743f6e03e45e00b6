"""The rules of `tests/aws/instances.py`, over the SDK: what EC2 says of an instance, and which state it goes to from which."""

import re
import time
import unittest

from emulated import OWN, OnEmulator, name

UNKNOWN = "i-0123456789abcdef0"


class States(OnEmulator):
    def shown(self, instance, ec2=None):
        """The reservation and the instance as EC2 shows them."""
        found = (ec2 or self.ec2).describe_instances(InstanceIds=[instance])["Reservations"][0]
        return found, found["Instances"][0]

    def state(self, instance):
        return self.shown(instance)[1]["State"]["Name"]

    def test_an_instance_tells_its_image_owner_and_place(self):
        image = self.image()
        reservation, instance = self.shown(self.instance(image))
        self.assertEqual((instance["ImageId"], reservation["OwnerId"]), (image, OWN))
        self.assertEqual((instance["Placement"]["AvailabilityZone"], instance["State"]), ("us-east-1a", {"Code": 16, "Name": "running"}))
        west = self.aws.client("ec2", "eu-west-1")
        there = west.run_instances(ImageId=self.image(west), MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        self.assertEqual(self.shown(there, west)[1]["Placement"]["AvailabilityZone"], "eu-west-1a")

    def test_it_tells_when_it_was_stopped_and_when_it_was_started_last(self):
        instance = self.instance()
        self.assertEqual(self.shown(instance)[1]["StateTransitionReason"], "")
        self.ec2.stop_instances(InstanceIds=[instance])
        reason = self.shown(instance)[1]["StateTransitionReason"]
        self.assertRegex(reason, r"^User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)$")
        launched = self.shown(instance)[1]["LaunchTime"]
        time.sleep(1.1)
        answer = self.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
        self.assertEqual(answer["PreviousState"]["Name"], "stopped")
        self.assertEqual(self.shown(instance)[1]["StateTransitionReason"], reason, "it had stopped already")
        self.assertEqual(self.shown(instance)[1]["LaunchTime"], launched)
        self.ec2.start_instances(InstanceIds=[instance])
        self.assertEqual(self.shown(instance)[1]["StateTransitionReason"], "")
        self.assertGreater(self.shown(instance)[1]["LaunchTime"], launched)
        self.ec2.stop_instances(InstanceIds=[instance])
        self.assertNotEqual(self.shown(instance)[1]["StateTransitionReason"], reason)

    def test_a_stop_takes_its_time(self):
        self.knob("stopping", {"seconds": 0.5}, {"seconds": 0})
        instance = self.instance()
        self.ec2.stop_instances(InstanceIds=[instance])
        self.assertEqual(self.shown(instance)[1]["State"], {"Code": 64, "Name": "stopping"})
        self.refused("IncorrectInstanceState", self.ec2.start_instances, InstanceIds=[instance])
        self.ec2.stop_instances(InstanceIds=[instance])
        self.ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1, "MaxAttempts": 5})
        self.assertEqual(self.shown(instance)[1]["State"], {"Code": 80, "Name": "stopped"})

    def test_an_instance_that_is_ended_while_it_stops_stays_ended(self):
        self.knob("stopping", {"seconds": 0.2}, {"seconds": 0})
        instance = self.instance()
        self.ec2.stop_instances(InstanceIds=[instance])
        self.ec2.terminate_instances(InstanceIds=[instance])
        time.sleep(0.4)
        self.assertEqual(self.state(instance), "terminated")

    def test_an_image_of_an_instance_that_is_being_stopped_is_made(self):
        self.knob("stopping", {"seconds": 30}, {"seconds": 0})
        instance = self.instance()
        self.ec2.stop_instances(InstanceIds=[instance])
        self.ec2.create_image(InstanceId=instance, Name=name(), NoReboot=True)
        self.assertNotIn(instance, [one["instance"] for one in self.aws.ask("reboots")])

    def test_what_is_not_in_the_right_state_is_neither_started_nor_stopped_nor_rebooted(self):
        instance = self.instance()
        self.ec2.stop_instances(InstanceIds=[instance])
        said = self.refused("IncorrectInstanceState", self.ec2.reboot_instances, InstanceIds=[instance])
        self.assertIn(instance, said)
        self.assertEqual(self.state(instance), "stopped")
        self.ec2.terminate_instances(InstanceIds=[instance])
        said = self.refused("IncorrectInstanceState", self.ec2.start_instances, InstanceIds=[instance])
        self.assertEqual(said, f"The instance '{instance}' is not in a state from which it can be started.")
        self.refused("IncorrectInstanceState", self.ec2.stop_instances, InstanceIds=[instance])
        self.ec2.terminate_instances(InstanceIds=[instance])
        self.assertEqual(self.state(instance), "terminated")


class Names(OnEmulator):
    def calls(self, ec2):
        """Every call that names an instance."""
        several = ("describe_instances", "start_instances", "stop_instances", "reboot_instances", "terminate_instances")
        yield from ((getattr(ec2, call), "InstanceIds") for call in several)
        yield (lambda InstanceIds: ec2.create_image(InstanceId=InstanceIds[0], Name=name())), "InstanceIds"

    def test_what_is_no_id_is_said_to_be_none(self):
        for wrong in ("web", "i-", "i-12345", "ami-0123456789abcdef0", UNKNOWN + " ", UNKNOWN.upper()):
            for call, key in self.calls(self.ec2):
                self.assertEqual(self.refused("InvalidInstanceID.Malformed", call, **{key: [wrong]}), f'Invalid id: "{wrong}"')
        good = self.instance()
        self.refused("InvalidInstanceID.Malformed", self.ec2.stop_instances, InstanceIds=[good, "web"])
        self.assertEqual(self.ec2.describe_instances(InstanceIds=[good])["Reservations"][0]["Instances"][0]["State"]["Name"], "running")

    def test_an_unknown_instance_and_one_of_another_region_or_account_are_not_there(self):
        instance = self.instance()
        for ec2, which in ((self.ec2, UNKNOWN), (self.ec2, "i-12345678"), (self.aws.client("ec2", "eu-west-1"), instance), (self.other, instance)):
            for call, key in self.calls(ec2):
                said = self.refused("InvalidInstanceID.NotFound", call, **{key: [which]})
                self.assertTrue(re.search(f"'{which}' does ?n[o']t exist", said), said)
        self.assertEqual(self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"], "running")

    def test_an_image_gives_tags_to_itself_and_its_snapshots_only(self):
        wrong = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
        wanted = name()
        said = self.refused("InvalidParameterValue", self.ec2.create_image, InstanceId=self.instance(), Name=wanted, TagSpecifications=wrong)
        self.assertIn("'instance'", said)
        self.assertEqual(self.ec2.describe_images(Filters=[{"Name": "name", "Values": [wanted]}])["Images"], [])

    def test_an_image_is_pending_for_a_while(self):
        instance = self.instance()
        self.knob("pending", {"seconds": 0.4}, {"seconds": 0})
        self.ec2.stop_instances(InstanceIds=[instance])
        image = self.ec2.create_image(InstanceId=instance, Name=name(), NoReboot=True)["ImageId"]
        self.assertEqual(self.described(image)["State"], "pending")
        self.refused("InvalidAMIID.Unavailable", self.ec2.run_instances, ImageId=image, MinCount=1, MaxCount=1)
        self.ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1, "MaxAttempts": 5})


if __name__ == "__main__":
    unittest.main()
