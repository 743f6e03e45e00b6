"""The rules of `tests/aws/image_copies.py`, over the SDK: CopyImage."""

import time
import unittest

from emulated import OTHER, OnEmulator, name


class Copies(OnEmulator):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.west = cls.aws.client("ec2", region="us-west-2")

    def copy(self, source, ec2=None, **more):
        parameters = {"Name": name(), "SourceImageId": source, "SourceRegion": "us-east-1", **more}
        return (ec2 or self.west).copy_image(**parameters)["ImageId"]

    def snapshot(self, image):
        wanted = self.described(image, self.west)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        return self.west.describe_snapshots(SnapshotIds=[wanted])["Snapshots"][0]

    def test_a_copy_tells_where_it_comes_from_and_has_a_snapshot_of_its_own(self):
        source = self.image()
        image = self.copy(source)
        shown = self.described(image, self.west)
        self.assertEqual((shown["SourceImageId"], shown["SourceImageRegion"], shown["State"]), (source, "us-east-1", "available"))
        self.assertIn(f"from SourceAmi {source}", self.snapshot(image)["Description"])
        self.assertNotEqual(self.snapshot(image)["SnapshotId"], self.snapshots(source)[0])
        self.ec2.deregister_image(ImageId=source, DeleteAssociatedSnapshots=True)
        self.assertEqual(self.described(image, self.west)["State"], "available")

    def test_tags_are_copied_on_request_and_others_put_on_image_and_snapshots(self):
        source = self.image()
        self.ec2.create_tags(Resources=[source], Tags=[{"Key": "team", "Value": "ops"}])
        self.assertFalse(self.described(self.copy(source), self.west).get("Tags"))
        own = [{"ResourceType": kind, "Tags": [{"Key": "kind", "Value": kind}]} for kind in ("image", "snapshot")]
        image = self.copy(source, CopyImageTags=True, TagSpecifications=own)
        self.assertEqual({one["Key"]: one["Value"] for one in self.described(image, self.west)["Tags"]}, {"team": "ops", "kind": "image"})
        self.assertEqual(self.snapshot(image)["Tags"], [{"Key": "kind", "Value": "snapshot"}])
        instance = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
        self.refused("InvalidParameterValue", self.copy, source=source, TagSpecifications=instance)

    def test_a_copy_is_encrypted_with_the_key_that_is_named_or_with_the_default_one(self):
        source, kms = self.image(), self.aws.client("kms", region="us-west-2")
        key = kms.create_key()["KeyMetadata"]
        kms.create_alias(AliasName="alias/images", TargetKeyId=key["KeyId"])
        self.assertFalse(self.snapshot(self.copy(source))["Encrypted"])
        default = self.copy(source, Encrypted=True)
        aws_ebs = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
        self.assertEqual((self.snapshot(default)["Encrypted"], self.snapshot(default)["KmsKeyId"]), (True, aws_ebs))
        self.assertTrue(self.described(default, self.west)["BlockDeviceMappings"][0]["Ebs"]["Encrypted"])
        for named in (key["KeyId"], key["Arn"], "alias/images"):
            self.assertEqual(self.snapshot(self.copy(source, Encrypted=True, KmsKeyId=named))["KmsKeyId"], key["Arn"])
        again = self.copy(default, SourceRegion="us-west-2")
        self.assertTrue(self.snapshot(again)["Encrypted"], "a copy of an encrypted image is encrypted")

    def test_a_key_wants_encryption_and_one_that_is_not_there_fails_the_copy_later(self):
        source = self.image()
        self.refused("InvalidParameterDependency", self.copy, source=source, KmsKeyId="alias/nobody")
        for key in ("alias/nobody", "1234abcd-12ab-34cd-56ef-1234567890ab"):
            self.assertEqual(self.described(self.copy(source, Encrypted=True, KmsKeyId=key), self.west)["State"], "failed")

    def test_the_same_client_token_gives_the_same_image(self):
        source, asked = self.image(), {"Name": name(), "ClientToken": name()}
        image = self.copy(source, **asked)
        self.assertEqual(self.copy(source, **asked), image)
        self.refused("IdempotentParameterMismatch", self.copy, source=self.image(), **asked)
        self.assertEqual(len(self.west.describe_images(Filters=[{"Name": "name", "Values": [asked["Name"]]}])["Images"]), 1)
        self.refused("InvalidAMIName.Duplicate", self.copy, source=source, Name=asked["Name"])
        self.assertEqual(len([one for one in self.aws.ask("images") if one.get("id") == image]), 1)

    def test_a_copy_is_pending_for_a_while(self):
        source = self.image()
        self.knob("pending", {"seconds": 0.5}, {"seconds": 0})
        image = self.copy(source)
        self.assertEqual(self.described(image, self.west)["State"], "pending")
        time.sleep(0.7)
        self.assertEqual(self.described(image, self.west)["State"], "available")

    def test_what_is_not_there_or_not_available_is_not_copied(self):
        self.refused("InvalidAMIID.NotFound", self.copy, source="ami-0123456789abcdef0")
        self.refused("InvalidAMIID.NotFound", self.copy, source=self.image(), SourceRegion="eu-west-1")
        self.refused("InvalidParameterValue", self.copy, source=self.image(), SourceRegion="nowhere-1")
        disabled = self.image()
        self.ec2.disable_image(ImageId=disabled)
        self.refused("InvalidAMIID.Unavailable", self.copy, source=disabled)

    def test_an_image_of_another_account_is_copied_only_with_its_snapshots(self):
        source, west = self.image(), self.aws.client("ec2", region="us-west-2", key="AKIAOTHER")
        self.ec2.create_tags(Resources=[source], Tags=[{"Key": "team", "Value": "ops"}])
        self.refused("InvalidAMIID.NotFound", self.copy, source=source, ec2=west)
        self.share(source, OTHER)
        self.refused("InvalidRequest", self.copy, source=source, ec2=west)
        self.ec2.modify_snapshot_attribute(
            SnapshotId=self.snapshots(source)[0], Attribute="createVolumePermission", OperationType="add", UserIds=[OTHER]
        )
        image = self.described(self.copy(source, ec2=west, CopyImageTags=True), west)
        self.assertEqual((image["OwnerId"], image["SourceImageId"]), (OTHER, source))
        self.assertFalse(image.get("Tags"), "another account's tags are not copied")
        self.assertIsNone(self.described(image["ImageId"], self.west))

    def test_an_image_is_traced_over_instances_and_copies_to_the_one_of_which_no_source_is_known(self):
        root = self.image()
        made = self.ec2.create_image(InstanceId=self.instance(root), Name=name())["ImageId"]
        copy = self.aws.client("ec2", "eu-west-1").copy_image(SourceImageId=made, SourceRegion="us-east-1", Name=name())["ImageId"]
        chain = self.aws.client("ec2", "eu-west-1").get_image_ancestry(ImageId=copy)["ImageAncestryEntries"]
        told = [(one["ImageId"], one.get("SourceImageId"), one.get("SourceImageRegion")) for one in chain]
        self.assertEqual(told, [(copy, made, "us-east-1"), (made, root, "us-east-1"), (root, None, None)])
        self.refused("InvalidAMIID.NotFound", self.ec2.get_image_ancestry, ImageId="ami-00000000000000000")
        self.refused("InvalidAMIID.NotFound", self.other.get_image_ancestry, ImageId=made)


if __name__ == "__main__":
    unittest.main()
