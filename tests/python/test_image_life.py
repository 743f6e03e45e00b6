"""The rules of `tests/aws/image_life.py`, over the SDK: which state an image is in, and what can be done with it."""

import time
import unittest
from datetime import datetime, timedelta, timezone

from emulated import OTHER, OnEmulator, name

UNKNOWN = "ami-0123456789abcdef0"


class ImagesOfInstances(OnEmulator):
    def reboots(self, instance):
        return [one["image"] for one in self.aws.ask("reboots") if one["instance"] == instance]

    def test_a_running_instance_is_rebooted_for_its_image_unless_that_is_forbidden(self):
        instance = self.instance()
        self.ec2.create_image(InstanceId=instance, Name=name(), NoReboot=True)
        self.assertEqual(self.reboots(instance), [])
        image = self.ec2.create_image(InstanceId=instance, Name=name())["ImageId"]
        self.assertEqual(self.reboots(instance), [image])

    def test_a_stopped_instance_is_imaged_as_it_is(self):
        instance = self.instance()
        self.ec2.stop_instances(InstanceIds=[instance])
        self.ec2.create_image(InstanceId=instance, Name=name())
        self.assertEqual(self.reboots(instance), [])

    def test_an_instance_that_neither_runs_nor_is_stopped_is_not_imaged(self):
        instance, wanted = self.instance(), name()
        for state in ("pending", "shutting-down"):
            self.aws.tell("instance-state", {"id": instance, "state": state})
            self.refused("InvalidParameterValue", self.ec2.create_image, InstanceId=instance, Name=wanted)
        self.ec2.terminate_instances(InstanceIds=[instance])
        said = self.refused("InvalidParameterValue", self.ec2.create_image, InstanceId=instance, Name=wanted, NoReboot=True)
        self.assertIn(instance, said)
        self.assertEqual(self.ec2.describe_images(Filters=[{"Name": "name", "Values": [wanted]}])["Images"], [])

    def test_an_image_tells_of_which_instance_and_image_it_was_made_and_has_its_tags_from_birth(self):
        source = self.image()
        instance = self.instance(source)
        tags = [{"ResourceType": kind, "Tags": [{"Key": "for", "Value": kind}, {"Key": "empty", "Value": ""}]} for kind in ("image", "snapshot")]
        image = self.described(self.ec2.create_image(InstanceId=instance, Name=name(), TagSpecifications=tags)["ImageId"])
        self.assertEqual((image["SourceInstanceId"], image["SourceImageId"], image["SourceImageRegion"]), (instance, source, "us-east-1"))
        self.assertEqual({one["Key"]: one["Value"] for one in image["Tags"]}, {"for": "image", "empty": ""})
        snapshot = self.ec2.describe_snapshots(SnapshotIds=self.snapshots(image["ImageId"]))["Snapshots"][0]
        self.assertEqual({one["Key"]: one["Value"] for one in snapshot["Tags"]}, {"for": "snapshot", "empty": ""})


class Deregistration(OnEmulator):
    def registered_with(self, snapshot):
        mapping = [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}]
        return self.ec2.register_image(Name=name(), BlockDeviceMappings=mapping, RootDeviceName="/dev/sda1")["ImageId"]

    def test_snapshots_stay_unless_they_are_to_go(self):
        image = self.image()
        snapshot = self.snapshots(image)[0]
        answer = self.ec2.deregister_image(ImageId=image)
        self.assertEqual((answer["Return"], answer.get("DeleteSnapshotResults")), (True, None))
        self.assertTrue(self.is_there(snapshot))
        self.ec2.delete_snapshot(SnapshotId=snapshot)
        self.assertFalse(self.is_there(snapshot))

    def test_snapshots_go_with_the_image_but_for_those_of_another_image(self):
        first = self.image()
        snapshot = self.snapshots(first)[0]
        second = self.registered_with(snapshot)
        self.assertEqual(self.snapshots(second), [snapshot])
        answer = self.ec2.deregister_image(ImageId=first, DeleteAssociatedSnapshots=True)
        self.assertEqual(answer["DeleteSnapshotResults"], [{"SnapshotId": snapshot, "ReturnCode": "skipped"}])
        self.assertTrue(self.is_there(snapshot))
        answer = self.ec2.deregister_image(ImageId=second, DeleteAssociatedSnapshots=True)
        self.assertEqual(answer["DeleteSnapshotResults"], [{"SnapshotId": snapshot, "ReturnCode": "success"}])
        self.assertFalse(self.is_there(snapshot))

    def test_a_snapshot_that_is_not_there_makes_no_image(self):
        self.refused("InvalidSnapshot.NotFound", self.registered_with, snapshot="snap-0123456789abcdef0")

    def test_the_image_goes_and_its_snapshot_stays_where_only_the_one_is_permitted(self):
        image = self.image()
        snapshot = self.snapshots(image)[0]
        allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:DeregisterImage", "Resource": "*"}]}
        self.knob("policies", [{"documents": [allowed], "key": "AKIACAREFUL"}], [])
        answer = self.aws.client("ec2", key="AKIACAREFUL").deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
        self.assertEqual(answer["DeleteSnapshotResults"], [{"SnapshotId": snapshot, "ReturnCode": "missing-permissions"}])
        self.assertTrue(self.is_there(snapshot))

    def test_a_snapshot_of_any_image_is_not_deleted(self):
        first = self.image()
        snapshot = self.snapshots(first)[0]
        self.refused("InvalidSnapshot.InUse", self.ec2.delete_snapshot, SnapshotId=snapshot)
        second = self.registered_with(snapshot)
        self.ec2.deregister_image(ImageId=first)
        self.ec2.disable_image(ImageId=second)
        self.assertIn(second, self.refused("InvalidSnapshot.InUse", self.ec2.delete_snapshot, SnapshotId=snapshot))

    def test_what_is_gone_or_was_never_there_is_told_apart(self):
        image = self.image()
        self.ec2.deregister_image(ImageId=image)
        self.refused("InvalidAMIID.Unavailable", self.ec2.deregister_image, ImageId=image)
        self.refused("InvalidAMIID.NotFound", self.ec2.deregister_image, ImageId=UNKNOWN)
        self.refused("InvalidAMIID.Malformed", self.ec2.deregister_image, ImageId="image")

    def test_a_protected_image_stays(self):
        image = self.image()
        self.assertEqual(self.described(image)["DeregistrationProtection"], "disabled")
        self.assertEqual(self.ec2.enable_image_deregistration_protection(ImageId=image)["Return"], "true")
        self.assertEqual(self.described(image)["DeregistrationProtection"], "enabled-without-cooldown")
        self.refused("OperationNotPermitted", self.ec2.deregister_image, ImageId=image, DeleteAssociatedSnapshots=True)
        self.assertTrue(self.is_there(self.snapshots(image)[0]))
        self.ec2.disable_image_deregistration_protection(ImageId=image)
        self.ec2.deregister_image(ImageId=image)
        self.assertIsNone(self.described(image))

    def test_a_protection_with_a_cooldown_lasts_longer(self):
        image = self.image()
        self.ec2.enable_image_deregistration_protection(ImageId=image, WithCooldown=True)
        self.assertEqual(self.described(image)["DeregistrationProtection"], "enabled-with-cooldown")
        self.ec2.disable_image_deregistration_protection(ImageId=image)
        self.assertRegex(self.described(image)["DeregistrationProtection"], r"^disabled after 2\d{3}-")
        self.refused("OperationNotPermitted", self.ec2.deregister_image, ImageId=image)
        self.knob("cooldown", {"seconds": 0.2}, {"seconds": 24 * 3600})
        self.ec2.enable_image_deregistration_protection(ImageId=image, WithCooldown=True)
        self.ec2.disable_image_deregistration_protection(ImageId=image)
        self.refused("OperationNotPermitted", self.ec2.deregister_image, ImageId=image)
        time.sleep(0.3)
        self.ec2.deregister_image(ImageId=image)


class Deprecation(OnEmulator):
    def test_the_time_is_shown_to_the_minute_and_taken_back(self):
        image, year = self.image(), datetime.now().year + 2
        self.ec2.enable_image_deprecation(ImageId=image, DeprecateAt=f"{year}-01-01T00:00:40Z")
        self.assertEqual(self.described(image)["DeprecationTime"], f"{year}-01-01T00:01:00.000Z")
        self.ec2.disable_image_deprecation(ImageId=image)
        self.assertNotIn("DeprecationTime", self.described(image))

    def test_neither_the_past_nor_a_time_after_ten_years_is_taken(self):
        image, now = self.image(), datetime.now(timezone.utc)
        for wrong in (now - timedelta(minutes=2), now + timedelta(days=4000)):
            self.refused("InvalidParameterValue", self.ec2.enable_image_deprecation, ImageId=image, DeprecateAt=wrong)
        self.assertNotIn("DeprecationTime", self.described(image))

    def test_who_uses_a_deprecated_image_of_another_must_ask_for_it(self):
        image = self.image()
        self.share(image, OTHER)
        listed = lambda ec2, **more: image in [one["ImageId"] for one in ec2.describe_images(**more)["Images"]]  # noqa: E731
        self.assertTrue(listed(self.other))
        self.aws.tell("deprecated-at", {"id": image, "at": "2020-01-01T00:00:00Z"})
        self.assertFalse(listed(self.other))
        self.assertTrue(listed(self.other, IncludeDeprecated=True))
        self.assertTrue(listed(self.other, ImageIds=[image]))
        self.assertTrue(listed(self.ec2), "its owner sees it all the same")
        self.other.run_instances(ImageId=image, MinCount=1, MaxCount=1)


class DisabledImages(OnEmulator):
    def test_launch_permissions_go_and_do_not_come_back(self):
        image = self.image()
        self.share(image, OTHER)
        self.assertEqual(self.shared_with(image), [OTHER])
        self.ec2.disable_image(ImageId=image)
        self.assertEqual(self.shared_with(image), [])
        self.refused("InvalidAMIID.Unavailable", self.ec2.modify_image_attribute, ImageId=image, LaunchPermission={"Add": [{"UserId": OTHER}]})
        self.ec2.enable_image(ImageId=image)
        self.assertEqual((self.shared_with(image), self.described(image)["State"]), ([], "available"))
        self.assertIsNone(self.described(image, self.other))

    def test_a_disabled_image_is_shown_to_who_asks_for_it(self):
        image = self.image()
        self.ec2.disable_image(ImageId=image)
        self.assertIsNone(self.described(image))
        self.assertEqual(self.described(image, IncludeDisabled=True)["State"], "disabled")
        self.assertNotIn(image, [one["ImageId"] for one in self.ec2.describe_images(Owners=["self"])["Images"]])
        disabled = [{"Name": "state", "Values": ["disabled"]}]
        self.refused("InvalidParameter", self.ec2.describe_images, Filters=disabled)
        self.assertIn(image, [one["ImageId"] for one in self.ec2.describe_images(Filters=disabled, IncludeDisabled=True)["Images"]])

    def test_what_is_pending_or_failed_is_neither_disabled_nor_enabled(self):
        for state in ("pending", "failed"):
            image = self.aws.tell("base-image", {"name": name(), "state": state})["id"]
            self.refused("InvalidAMIID.Unavailable", self.ec2.disable_image, ImageId=image)
            self.refused("InvalidAMIID.Unavailable", self.ec2.enable_image, ImageId=image)
            self.assertEqual(self.described(image)["State"], state)


class Launches(OnEmulator):
    def test_only_an_available_image_is_launched(self):
        launch = {"MinCount": 1, "MaxCount": 1}
        self.refused("InvalidAMIID.NotFound", self.ec2.run_instances, ImageId=UNKNOWN, **launch)
        self.refused("InvalidAMIID.Malformed", self.ec2.run_instances, ImageId="ubuntu", **launch)
        for state in ("pending", "failed", "disabled"):
            image = self.aws.tell("base-image", {"name": name(), "state": state})["id"]
            self.refused("InvalidAMIID.Unavailable", self.ec2.run_instances, ImageId=image, **launch)
        gone = self.image()
        self.ec2.deregister_image(ImageId=gone)
        self.refused("InvalidAMIID.Unavailable", self.ec2.run_instances, ImageId=gone, **launch)
        self.refused("MissingParameter", self.ec2.run_instances, **launch)

    def test_the_image_of_a_launch_template_is_looked_at_as_well(self):
        good, gone = self.image(), self.image()
        template = self.ec2.create_launch_template(LaunchTemplateName=name(), LaunchTemplateData={"ImageId": gone})["LaunchTemplate"]
        template = {"LaunchTemplateName": template["LaunchTemplateName"]}
        self.ec2.create_launch_template_version(**template, LaunchTemplateData={"ImageId": good})
        self.ec2.deregister_image(ImageId=gone)
        self.refused("InvalidAMIID.Unavailable", self.ec2.run_instances, LaunchTemplate=template, MinCount=1, MaxCount=1)
        made = self.ec2.run_instances(LaunchTemplate={**template, "Version": "$Latest"}, MinCount=1, MaxCount=1)["Instances"][0]
        self.assertEqual(made["ImageId"], good)


if __name__ == "__main__":
    unittest.main()
