"""The rules of `tests/aws/image_references.py`, over the SDK, and the other places that name images."""

import unittest

from emulated import OTHER, OnEmulator, name

INSTANCE, TEMPLATE, PARAMETER = "ec2:Instance", "ec2:LaunchTemplate", "ssm:Parameter"


class References(OnEmulator):
    def found(self, *ids, ec2=None, **more):
        more = more or {"IncludeAllResourceTypes": True}
        answer = (ec2 or self.ec2).describe_image_references(ImageIds=list(ids), **more)
        return {(one["ImageId"], one["ResourceType"], one["Arn"].rpartition(":")[2]) for one in answer["ImageReferences"]}

    def template(self, *versions):
        first, *others = ({"ImageId": image} for image in versions)
        made = self.ec2.create_launch_template(LaunchTemplateName=name(), LaunchTemplateData=first)["LaunchTemplate"]["LaunchTemplateId"]
        for data in others:
            self.ec2.create_launch_template_version(LaunchTemplateId=made, LaunchTemplateData=data)
        return made

    def test_instances_launch_templates_and_parameters_name_an_image(self):
        image, free, ssm = self.image(), self.image(), self.aws.client("ssm")
        instance, template, parameter = self.instance(image), self.template(image), f"/{name()}/golden"
        ssm.put_parameter(Name=parameter, Value=image, Type="String", DataType="aws:ec2:image")
        wanted = {
            (image, INSTANCE, f"instance/{instance}"),
            (image, TEMPLATE, f"launch-template/{template}"),
            (image, PARAMETER, f"parameter{parameter}"),
        }
        self.assertEqual(self.found(image, free), wanted)
        ssm.put_parameter(Name=parameter, Value=free, Type="String", Overwrite=True)
        self.assertEqual(self.found(image, free) - wanted, {(free, PARAMETER, f"parameter{parameter}")})

    def test_only_the_kinds_that_are_asked_for_are_looked_at(self):
        image = self.image()
        self.instance(image), self.template(image)
        self.assertEqual([kind for _, kind, _ in self.found(image, ResourceTypes=[{"ResourceType": TEMPLATE}])], [TEMPLATE])

    def test_an_instance_counts_in_every_state_unless_states_are_named(self):
        image = self.image()
        instance = self.instance(image)
        alive = ["pending", "running", "shutting-down", "stopping", "stopped"]
        options = [{"OptionName": "state-name", "OptionValues": alive}]
        narrow = {"ResourceTypes": [{"ResourceType": INSTANCE, "ResourceTypeOptions": options}]}
        for end in (self.ec2.stop_instances, self.ec2.terminate_instances):
            self.assertEqual(len(self.found(image, **narrow)), 1)
            end(InstanceIds=[instance])
        self.assertEqual(self.found(image, **narrow), set())
        self.assertEqual(len(self.found(image)), 1)
        self.assertEqual(self.found(image, IncludeAllResourceTypes=True, **narrow), set())

    def test_of_a_launch_template_the_newest_versions_count(self):
        old, new = self.image(), self.image()
        self.template(old, *[new] * 10)
        self.assertEqual({image for image, _, _ in self.found(old, new)}, {new})
        options = [{"OptionName": "version-depth", "OptionValues": ["11"]}]
        deep = self.found(old, new, ResourceTypes=[{"ResourceType": TEMPLATE, "ResourceTypeOptions": options}])
        self.assertEqual({image for image, _, _ in deep}, {old, new})

    def test_an_account_sees_its_own_resources_whosever_the_image_is(self):
        image = self.image()
        self.share(image, OTHER)
        theirs = self.other.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        self.assertEqual(self.found(image), set())
        self.assertEqual(self.found(image, ec2=self.other), {(image, INSTANCE, f"instance/{theirs}")})

    def test_references_come_in_pages(self):
        image = self.image()
        made = {one["InstanceId"] for one in self.ec2.run_instances(ImageId=image, MinCount=7, MaxCount=7)["Instances"]}
        asked = {"ImageIds": [image], "IncludeAllResourceTypes": True, "PaginationConfig": {"PageSize": 5}}
        pages = list(self.ec2.get_paginator("describe_image_references").paginate(**asked))
        self.assertEqual([len(page["ImageReferences"]) for page in pages], [5, 2])
        self.assertEqual({one["Arn"].rpartition("/")[2] for page in pages for one in page["ImageReferences"]}, made)

    def test_one_to_ten_images_of_some_kind_of_resource(self):
        ids = [f"ami-{number:017x}" for number in range(11)]
        self.assertEqual(self.found(*ids[:10]), set())
        wrong = self.aws.client("ec2", unchecked=True).describe_image_references
        self.refused("InvalidParameterValue", wrong, ImageIds=[], IncludeAllResourceTypes=True)
        self.refused("InvalidParameterValue", wrong, ImageIds=ids, IncludeAllResourceTypes=True)
        self.refused("MissingParameter", wrong, ImageIds=ids[:1])
        self.refused("InvalidParameterValue", wrong, ImageIds=ids[:1], ResourceTypes=[{"ResourceType": "ec2:Fleet"}])
        deep = [{"OptionName": "version-depth", "OptionValues": ["10001"]}]
        self.refused("InvalidParameterValue", wrong, ImageIds=ids[:1], ResourceTypes=[{"ResourceType": TEMPLATE, "ResourceTypeOptions": deep}])


class Aliases(OnEmulator):
    def alias(self, image, data_type="aws:ec2:image"):
        parameter = f"/{name()}/golden"
        self.aws.client("ssm").put_parameter(Name=parameter, Value=image, Type="String", DataType=data_type)
        return f"resolve:ssm:{parameter}"

    def test_a_parameter_in_the_place_of_an_image_is_resolved_at_the_launch(self):
        image = self.image()
        launch = {"MinCount": 1, "MaxCount": 1}
        made = self.ec2.run_instances(ImageId=self.alias(image), **launch)["Instances"][0]
        self.assertEqual(made["ImageId"], image)
        self.refused("SsmInvalidParameter", self.ec2.run_instances, ImageId="resolve:ssm:/nobody", **launch)
        self.refused("SsmInvalidParameter", self.ec2.run_instances, ImageId=self.alias(image, "text"), **launch)
        alias = self.alias(image)
        self.ec2.deregister_image(ImageId=image)
        self.refused("InvalidAMIID.Unavailable", self.ec2.run_instances, ImageId=alias, **launch)

    def test_a_launch_template_names_the_parameter_unless_it_is_to_be_resolved(self):
        image = self.image()
        alias, template = self.alias(image), {"LaunchTemplateName": name()}
        self.ec2.create_launch_template(**template, LaunchTemplateData={"ImageId": alias})
        shown = lambda **more: [  # noqa: E731
            one["LaunchTemplateData"]["ImageId"] for one in self.ec2.describe_launch_template_versions(**more)["LaunchTemplateVersions"]
        ]
        self.assertEqual(shown(**template), [alias])
        self.assertEqual(shown(**template, Versions=["$Latest"], ResolveAlias=True), [image])
        self.refused("InvalidParameterCombination", self.ec2.describe_launch_template_versions, Versions=["$Latest"], ResolveAlias=True)
        made = self.ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)["Instances"][0]
        self.assertEqual(made["ImageId"], image)


class Autoscaling(OnEmulator):
    def test_groups_configurations_and_overrides_name_images_on_the_same_end_point(self):
        image, other, scaling = self.image(), self.image(), self.aws.client("autoscaling")
        configuration, group = name(), name()
        scaling.create_launch_configuration(LaunchConfigurationName=configuration, ImageId=image, InstanceType="t3.micro")
        found = scaling.describe_launch_configurations(LaunchConfigurationNames=[configuration])["LaunchConfigurations"]
        self.assertEqual([one["ImageId"] for one in found], [image])
        templates = [{"LaunchTemplateName": name(), "Version": "$Latest"} for _ in range(2)]
        for template, of in zip(templates, (image, other)):
            self.ec2.create_launch_template(LaunchTemplateName=template["LaunchTemplateName"], LaunchTemplateData={"ImageId": of})
        overrides = [{"InstanceType": "t3.small", "LaunchTemplateSpecification": templates[1]}]
        policy = {"LaunchTemplate": {"LaunchTemplateSpecification": templates[0], "Overrides": overrides}}
        sizes = {"MinSize": 0, "MaxSize": 0, "AvailabilityZones": ["us-east-1a"]}
        scaling.create_auto_scaling_group(AutoScalingGroupName=group, MixedInstancesPolicy=policy, **sizes)
        found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]
        named = found["MixedInstancesPolicy"]["LaunchTemplate"]
        self.assertEqual(named["LaunchTemplateSpecification"]["LaunchTemplateName"], templates[0]["LaunchTemplateName"])
        self.assertEqual(named["Overrides"][0]["LaunchTemplateSpecification"]["LaunchTemplateName"], templates[1]["LaunchTemplateName"])
        self.assertEqual(self.aws.client("autoscaling", key="AKIAOTHER").describe_auto_scaling_groups()["AutoScalingGroups"], [])


if __name__ == "__main__":
    unittest.main()
