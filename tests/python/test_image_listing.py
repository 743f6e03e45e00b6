"""The rules of `tests/aws/image_listing.py` and of accounts, over the SDK: which images an account is shown, and what it can do with them."""

import unittest

from emulated import OTHER, OWN, OnEmulator, name

UNKNOWN = ["ami-0123456789abcdef0", "ami-0fedcba9876543210"]


class Ids(OnEmulator):
    def test_an_unknown_id_among_known_ones_is_an_error_that_names_it_alone(self):
        known = self.image()
        said = self.refused("InvalidAMIID.NotFound", self.ec2.describe_images, ImageIds=[known, UNKNOWN[0]])
        self.assertEqual(said, f"The image id '[{UNKNOWN[0]}]' does not exist")
        said = self.refused("InvalidAMIID.NotFound", self.ec2.describe_images, ImageIds=[UNKNOWN[0], known, UNKNOWN[1]])
        self.assertEqual(said, f"The image ids '[{UNKNOWN[0]}, {UNKNOWN[1]}]' do not exist")
        self.refused("InvalidAMIID.Malformed", self.ec2.describe_images, ImageIds=[known, "image"])

    def test_an_image_that_is_gone_is_left_out_without_a_word(self):
        known, gone = self.image(), self.image()
        self.ec2.deregister_image(ImageId=gone)
        self.assertEqual([one["ImageId"] for one in self.ec2.describe_images(ImageIds=[known, gone])["Images"]], [known])

    def test_filters_count_for_named_images_too(self):
        image = self.image()
        self.assertIsNone(self.described(image, Filters=[{"Name": "state", "Values": ["failed"]}]))
        self.assertIsNotNone(self.described(image, Filters=[{"Name": "state", "Values": ["available"]}]))


class Filters(OnEmulator):
    def found(self, filter_name, value):
        return [one["ImageId"] for one in self.ec2.describe_images(Filters=[{"Name": filter_name, "Values": [value]}])["Images"]]

    def test_images_are_found_by_their_snapshot(self):
        image = self.image()
        self.assertEqual(self.found("block-device-mapping.snapshot-id", self.snapshots(image)[0]), [image])

    def test_images_are_found_by_the_day_of_their_creation(self):
        image = self.aws.tell("base-image", {"name": name(), "created": "2021-09-29T11:04:43Z"})["id"]
        self.assertIn(image, self.found("creation-date", "2021-09-29T*"))
        self.assertNotIn(image, self.found("creation-date", "2021-09-30T*"))

    def test_images_are_found_by_the_image_that_they_were_made_from(self):
        source = self.image()
        made = self.ec2.create_image(InstanceId=self.instance(source), Name=name())["ImageId"]
        self.assertEqual(self.found("source-image-id", source), [made])


class TwoAccounts(OnEmulator):
    def test_keys_are_of_accounts(self):
        who = lambda key: self.aws.client("sts", key=key).get_caller_identity()["Account"]  # noqa: E731
        self.assertEqual((who("AKIAOWN"), who("AKIAOTHER")), (OWN, OTHER))

    def test_a_role_of_another_account_is_in_that_account(self):
        role = self.aws.client("sts").assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/guest", RoleSessionName="me")["Credentials"]
        keys = {"aws_secret_access_key": role["SecretAccessKey"], "aws_session_token": role["SessionToken"]}
        guest = self.aws.client("ec2", key=role["AccessKeyId"], **keys)
        image = self.image(self.other)
        self.assertEqual(self.described(image, guest)["OwnerId"], OTHER)
        self.assertIsNone(self.described(image))

    def test_an_account_sees_what_is_shared_with_it_and_nothing_else(self):
        private, shared, public = self.image(), self.image(), self.image()
        self.share(shared, OTHER)
        self.ec2.modify_image_attribute(ImageId=public, LaunchPermission={"Add": [{"Group": "all"}]})
        seen = [one["ImageId"] for one in self.other.describe_images()["Images"]]
        self.assertEqual([one in seen for one in (private, shared, public)], [False, True, True])
        self.assertIsNone(self.described(private, self.other))
        self.assertEqual(self.described(shared, self.other)["OwnerId"], OWN)
        users = lambda user: [one["ImageId"] for one in self.other.describe_images(ExecutableUsers=[user])["Images"]]  # noqa: E731
        self.assertEqual([one in users("self") for one in (private, shared, public)], [False, True, False])
        self.assertEqual([one in users("all") for one in (private, shared, public)], [False, False, True])
        mine = [one["ImageId"] for one in self.other.describe_images(Owners=["self"])["Images"]]
        self.assertFalse({private, shared, public} & set(mine))

    def test_a_base_image_of_another_owner_is_public(self):
        image = self.aws.tell("base-image", {"name": name(), "owner": "099720109477"})["id"]
        for ec2 in (self.ec2, self.other):
            self.assertTrue(self.described(image, ec2)["Public"])
            ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)

    def test_only_a_shared_image_is_launched(self):
        image = self.image()
        self.refused("AuthFailure", self.other.run_instances, ImageId=image, MinCount=1, MaxCount=1)
        self.share(image, OTHER)
        self.other.run_instances(ImageId=image, MinCount=1, MaxCount=1)

    def test_an_image_is_changed_by_its_owner_only(self):
        image = self.image()
        self.share(image, OTHER)
        self.refused("AuthFailure", self.other.deregister_image, ImageId=image)
        self.refused("AuthFailure", self.other.disable_image, ImageId=image)
        self.refused("AuthFailure", self.other.enable_image_deregistration_protection, ImageId=image)
        self.refused("AuthFailure", self.other.modify_image_attribute, ImageId=image, LaunchPermission={"Add": [{"Group": "all"}]})
        self.refused("AuthFailure", self.other.describe_image_attribute, ImageId=image, Attribute="launchPermission")
        self.assertEqual((self.described(image)["State"], self.shared_with(image)), ("available", [OTHER]))

    def test_tags_are_seen_by_the_account_that_put_them_on(self):
        image = self.image()
        self.ec2.create_tags(Resources=[image], Tags=[{"Key": "team", "Value": "ops"}])
        self.share(image, OTHER)
        self.assertEqual(self.described(image)["Tags"], [{"Key": "team", "Value": "ops"}])
        self.assertFalse(self.described(image, self.other).get("Tags"))

    def test_a_name_is_taken_in_one_account_only(self):
        wanted = name()
        self.ec2.register_image(Name=wanted)
        self.other.register_image(Name=wanted)
        self.refused("InvalidAMIName.Duplicate", self.other.register_image, Name=wanted)


if __name__ == "__main__":
    unittest.main()
