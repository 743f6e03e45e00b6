"""How the emulator answers what it does not do, over the SDK: unknown operations, dry runs, and what documents do not allow.

What the documents themselves mean is tested by `tests/it/trust/evaluator.rs`.
"""

import unittest

from emulated import OnEmulator, name


def document(*actions):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


class UnknownOperations(OnEmulator):
    def test_an_operation_that_nobody_has_is_refused_at_once_in_the_words_of_each_service(self):
        self.refused("InvalidAction", self.ec2.describe_locked_snapshots)
        self.refused("InvalidAction", self.ec2.reset_image_attribute, ImageId=self.image(), Attribute="launchPermission")
        self.refused("InvalidAction", self.ec2.describe_locked_snapshots, DryRun=True)
        forecast = {"AutoScalingGroupName": "g", "PolicyName": "p", "StartTime": "2030-01-01", "EndTime": "2030-01-02"}
        self.refused("InvalidAction", self.aws.client("autoscaling").get_predictive_scaling_forecast, **forecast)
        self.refused("UnknownOperationException", self.aws.client("ssm").describe_inventory_deletions)
        self.refused("UnknownOperationException", self.aws.client("imagebuilder").list_image_recipes)


class Permissions(OnEmulator):
    def held_to(self, *actions):
        """Somebody's key, to which these actions are allowed and no others."""
        self.knob("policies", [{"documents": [document(*actions)], "key": "AKIAHELD"}], [])
        return self.aws.client("ec2", key="AKIAHELD")

    def test_a_dry_run_says_whether_the_call_is_allowed_and_does_nothing(self):
        image = self.image()
        held = self.held_to("ec2:DeregisterImage")
        self.refused("DryRunOperation", held.deregister_image, ImageId=image, DryRun=True)
        self.refused("UnauthorizedOperation", held.disable_image, ImageId=image, DryRun=True)
        self.refused("UnauthorizedOperation", held.disable_image, ImageId=image)
        self.assertEqual(self.described(image)["State"], "available")
        held.deregister_image(ImageId=image)

    def test_a_dry_run_of_anything_does_nothing(self):
        image = self.image()
        instance = self.instance(image)
        volume = self.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        for operation, parameters in {
            "create_image": {"InstanceId": instance, "Name": name()},
            "copy_image": {"SourceImageId": image, "SourceRegion": "us-east-1", "Name": name()},
            "register_image": {"Name": name()},
            "run_instances": {"ImageId": image, "MinCount": 1, "MaxCount": 1},
            "create_tags": {"Resources": [image], "Tags": [{"Key": "a", "Value": "b"}]},
            "delete_snapshot": {"SnapshotId": self.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]},
            "modify_image_attribute": {"ImageId": image, "LaunchPermission": {"Add": [{"Group": "all"}]}},
            "enable_image_deprecation": {"ImageId": image, "DeprecateAt": "2033-01-01T00:00:00Z"},
            "describe_image_references": {"ImageIds": [image], "IncludeAllResourceTypes": True},
            "describe_image_attribute": {"ImageId": image, "Attribute": "launchPermission"},
            "describe_images": {},
        }.items():
            with self.subTest(operation):
                before = self.aws.ask("resources")
                self.refused("DryRunOperation", getattr(self.ec2, operation), DryRun=True, **parameters)
                self.assertEqual(self.aws.ask("resources"), before)

    def test_a_dry_run_of_what_would_be_refused_is_refused(self):
        self.refused("InvalidAMIID.NotFound", self.ec2.run_instances, ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, DryRun=True)

    def test_a_key_that_no_document_speaks_of_is_held_to_nothing(self):
        self.held_to("ec2:DescribeInstances")
        self.image()

    def test_services_refuse_in_their_own_words(self):
        self.held_to("ec2:DescribeInstances")
        client = lambda service: self.aws.client(service, key="AKIAHELD")  # noqa: E731
        self.refused("AccessDenied", client("iam").get_instance_profile, InstanceProfileName="builder")
        self.refused("AccessDenied", client("autoscaling").describe_auto_scaling_groups)
        self.refused("AccessDeniedException", client("dynamodb").describe_table, TableName="builds")
        self.refused("AccessDeniedException", client("ssm").get_parameter, Name="/golden")

    def test_references_ask_for_what_they_look_at_as_well(self):
        image = self.image()
        asked = {"ImageIds": [image], "IncludeAllResourceTypes": True}
        self.refused("UnauthorizedOperation", self.held_to("ec2:DescribeImageReferences").describe_image_references, **asked)
        ec2 = ["ec2:DescribeImageReferences", "ec2:DescribeInstances", "ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"]
        held = self.held_to(*ec2)
        said = self.refused("UnauthorizedOperation", held.describe_image_references, **asked)
        self.assertIn("ssm:DescribeParameters", said)
        held.describe_image_references(ImageIds=[image], ResourceTypes=[{"ResourceType": "ec2:Instance"}, {"ResourceType": "ec2:LaunchTemplate"}])
        builder = ["imagebuilder:ListImageRecipes", "imagebuilder:ListContainerRecipes", "imagebuilder:GetContainerRecipe"]
        self.held_to(*ec2, "ssm:DescribeParameters", "ssm:GetParameters", *builder).describe_image_references(**asked)

    def test_permissions_for_references_can_be_given_for_that_use_only(self):
        via = {"ForAnyValue:StringEquals": {"aws:CalledVia": ["ec2-images.amazonaws.com"]}}
        allowed = document("ec2:DescribeImageReferences")
        allowed["Statement"].append({"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*", "Condition": via})
        self.knob("policies", [{"documents": [allowed], "key": "AKIAHELD"}], [])
        held = self.aws.client("ec2", key="AKIAHELD")
        held.describe_image_references(ImageIds=[self.image()], ResourceTypes=[{"ResourceType": "ec2:Instance"}])
        self.refused("UnauthorizedOperation", held.describe_instances)


if __name__ == "__main__":
    unittest.main()
