"""What a call asks IAM for: for each action and each resource one request with its context.

After *Actions, resources, and condition keys* for EC2, DynamoDB, IAM and Auto Scaling in AWS's service authorization reference. What is to be made
has `*` for its id, as there. Tags that a call puts on what it makes need `CreateTags` as well, with `ec2:CreateAction`. An operation that is not
listed here asks for what nobody can allow: it is refused, not guessed.
"""

import json
import re

from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

import images


class Unlisted(Exception):
    """An operation of which this file does not know what it asks for."""


class Ec2:
    """One call of EC2."""

    def __init__(self, account, region, operation, form):
        self.account, self.region, self.operation, self.form = account, region, operation, form
        self.backend = ec2_backends[account][region]
        self.requests = []

    def one(self, key):
        return self.form.get(key, [None])[0]

    def many(self, *names):
        """`InstanceId.1`, `InstanceId.2`, …"""
        pattern = re.compile(rf"({'|'.join(map(re.escape, names))})\.\d+")
        return [values[0] for key, values in self.form.items() if pattern.fullmatch(key)]

    def tags_of(self, prefix):
        """The tags below `Tag.1.Key`, `Tag.1.Value`, …"""
        found = {}
        for key, values in self.form.items():
            if re.fullmatch(re.escape(prefix) + r"Tag\.\d+\.Key", key):
                found[values[0]] = self.one(key.removesuffix("Key") + "Value")
        return found

    def specified_tags(self):
        """Tags for what the call makes, by the kind of the resource."""
        kinds = {}
        for key, values in self.form.items():
            if re.fullmatch(r"TagSpecification\.\d+\.ResourceType", key):
                kinds.setdefault(values[0], {}).update(self.tags_of(key.removesuffix("ResourceType")))
        return kinds

    def arn(self, kind, name):
        owner = "" if kind in ("image", "snapshot") else self.account
        return f"arn:aws:ec2:{self.region}:{owner}:{kind}/{name}"

    def existing(self, kind, name):
        """What EC2 knows of a thing that is there."""
        context, backend = {}, self.backend
        found = {
            "image": lambda: images.find(self.region, name),
            "snapshot": lambda: backend.snapshots.get(name),
            "volume": lambda: backend.volumes.get(name),
            "instance": lambda: next((one for held in backend.reservations.values() for one in held.instances if one.id == name), None),
            "key-pair": lambda: backend.key_pairs.get(name),
            "security-group": lambda: backend.get_security_group_from_id(name),
        }.get(kind, lambda: None)()
        if found is None:
            return context
        for tag in found.get_tags():
            for prefix in ("aws:ResourceTag/", "ec2:ResourceTag/"):
                context[prefix + tag["key"]] = tag["value"]
        if kind == "security-group":
            context["ec2:Vpc"] = self.arn("vpc", found.vpc_id)
        if kind == "image":
            context["ec2:Owner"] = found.owner_id
        if kind == "instance":
            context["ec2:InstanceType"] = found.instance_type
            for held in backend.iam_instance_profile_associations.values():
                if held.instance.id == name:
                    context["ec2:InstanceProfile"] = held.iam_instance_profile.arn
        return context

    def ask(self, kind, name, more=None, action=None):
        tags = {} if action else self.specified_tags().get(kind, {})
        context = {"aws:RequestedRegion": self.region, **(self.existing(kind, name) if name != "*" else {}), **requested(tags), **(more or {})}
        self.requests.append((f"ec2:{action or self.operation}", self.arn(kind, name), context))
        if tags:
            more = {"ec2:CreateAction": self.operation, **requested(tags)}
            self.ask(kind, name, more, "CreateTags")

    def listed(self):
        name, one = self.operation, self.one
        if name == "DescribeImageReferences":
            self.describe_image_references()
        elif name.startswith("Describe") or name == "GetImageAncestry":
            self.requests.append((f"ec2:{name}", "*", {"aws:RequestedRegion": self.region}))
        elif name in ("StartInstances", "StopInstances", "TerminateInstances", "RebootInstances"):
            for instance in self.many("InstanceId"):
                self.ask("instance", instance)
        elif name == "ModifyInstanceAttribute":
            self.ask("instance", one("InstanceId"))
        elif name in ("CreateKeyPair", "ImportKeyPair", "DeleteKeyPair"):
            self.ask("key-pair", one("KeyName"))
        elif name == "CreateSecurityGroup":
            self.ask("security-group", "*", {"ec2:Vpc": self.arn("vpc", one("VpcId"))} if one("VpcId") else None)
            if one("VpcId"):
                self.ask("vpc", one("VpcId"))
        elif name in ("DeleteSecurityGroup", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"):
            self.ask("security-group", one("GroupId") or self.group_named(one("GroupName")))
        elif name == "CreateImage":
            for kind, which in (("image", "*"), ("snapshot", "*"), ("instance", one("InstanceId"))):
                self.ask(kind, which)
        elif name == "CopyImage":
            self.copy_image()
        elif name == "RegisterImage":
            self.ask("image", "*")
            for snapshot in dict.fromkeys(values[0] for key, values in self.form.items() if key.endswith(".Ebs.SnapshotId")):
                self.ask("snapshot", snapshot)
        elif name in IMAGES:
            self.ask("image", one("ImageId"))
        elif name in ("DeleteSnapshot", "ModifySnapshotAttribute"):
            self.ask("snapshot", one("SnapshotId"))
        elif name in ("CreateTags", "DeleteTags"):
            # A call that takes all tags away names none.
            tags = self.tags_of("")
            for resource in self.many("ResourceId"):
                self.ask(KINDS[resource.split("-")[0]], resource, requested(tags), name)
        elif name == "RunInstances":
            self.run_instances()
        else:
            raise Unlisted(f"ec2:{name}")
        return self.requests

    def copy_image(self):
        """What is made, and since October 2024 what it is made of, wherever that is (User Guide, *Grant permissions to copy Amazon EC2 AMIs*)."""
        self.ask("image", "*")
        self.ask("snapshot", "*")
        source = Ec2(self.account, self.one("SourceRegion"), self.operation, {})
        context = {**source.existing("image", self.one("SourceImageId")), "aws:RequestedRegion": self.region}
        self.requests.append(("ec2:CopyImage", source.arn("image", self.one("SourceImageId")), context))

    def describe_image_references(self):
        """EC2 looks with the permissions of the caller, at the kinds of resources that are asked for (User Guide, *Identify your resources
        referencing specified AMIs*)."""
        own, via = {"aws:RequestedRegion": self.region}, {"aws:CalledVia": ["ec2-images.amazonaws.com"]}
        self.requests.append(("ec2:DescribeImageReferences", "*", own))
        asked = {values[0] for key, values in self.form.items() if re.fullmatch(r"ResourceType\.\d+\.ResourceType", key)}
        for kind, actions in REFERENCES.items():
            if kind in asked or self.one("IncludeAllResourceTypes") == "true":
                self.requests += [(action, "*", {**own, **via}) for action in actions]

    def group_named(self, name):
        return next((group.id for groups in self.backend.groups.values() for group in groups.values() if group.name == name), name)

    def run_instances(self):
        one = self.one
        profile = one("IamInstanceProfile.Name")
        own = {"ec2:InstanceType": one("InstanceType")}
        if profile:
            own["ec2:InstanceProfile"] = f"arn:aws:iam::{self.account}:instance-profile/{profile}"
        self.ask("instance", "*", own)
        self.ask("network-interface", "*")
        self.ask("volume", "*")
        self.ask("image", one("ImageId"))
        image = images.find(self.region, one("ImageId"))
        if image is not None:
            for snapshot in image.snapshots:
                self.ask("snapshot", snapshot.id)
        self.ask("subnet", one("SubnetId") or one("NetworkInterface.1.SubnetId") or "subnet-default")
        groups = self.many("SecurityGroupId", "NetworkInterface.1.SecurityGroupId") + [self.group_named(name) for name in self.many("SecurityGroup")]
        for group in groups or ["sg-default"]:
            self.ask("security-group", group)
        if one("KeyName"):
            self.ask("key-pair", one("KeyName"))
        if profile:
            found = iam_backends[self.account]["aws"].instance_profiles
            for role in (role for held in found.values() if held.name == profile for role in held.roles):
                self.requests.append(("iam:PassRole", role.arn, {"iam:PassedToService": "ec2.amazonaws.com"}))


# What is asked of the image that is named.
IMAGES = {
    "DeregisterImage",
    "DisableImage",
    "DisableImageDeprecation",
    "DisableImageDeregistrationProtection",
    "EnableImage",
    "EnableImageDeprecation",
    "EnableImageDeregistrationProtection",
    "ModifyImageAttribute",
}

REFERENCES = {
    "ec2:Instance": ["ec2:DescribeInstances"],
    "ec2:LaunchTemplate": ["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"],
    "ssm:Parameter": ["ssm:DescribeParameters", "ssm:GetParameters"],
    "imagebuilder:ImageRecipe": ["imagebuilder:ListImageRecipes"],
    "imagebuilder:ContainerRecipe": ["imagebuilder:ListContainerRecipes", "imagebuilder:GetContainerRecipe"],
}

KINDS = {
    "ami": "image",
    "snap": "snapshot",
    "i": "instance",
    "vol": "volume",
    "sg": "security-group",
    "eni": "network-interface",
    "key": "key-pair",
    "subnet": "subnet",
    "vpc": "vpc",
}


def requested(tags):
    if not tags:
        return {}
    values = {f"aws:RequestTag/{key}": value for key, value in tags.items() if value is not None}
    return {"aws:TagKeys": list(tags), **values}


def dynamodb(account, region, operation, body):
    backend = dynamodb_backends[account][region]

    def request(action, table, key=None, index=None):
        context = {"aws:RequestedRegion": region}
        name = hash_key(backend.tables.get(table), index)
        if key and name in key:
            context["dynamodb:LeadingKeys"] = list(key[name].values())
        below = f"/index/{index}" if index else ""
        return f"dynamodb:{action}", f"arn:aws:dynamodb:{region}:{account}:table/{table}{below}", context

    if operation == "TransactWriteItems":
        kinds = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
        items = [item for one in body["TransactItems"] for item in one.items()]
        return [request(kinds[kind], one["TableName"], one.get("Item") or one.get("Key")) for kind, one in items]
    if operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem"):
        return [request(operation, body["TableName"], body.get("Item") or body.get("Key"))]
    if operation == "BatchGetItem":
        return [request(operation, table, key) for table, asked in body["RequestItems"].items() for key in asked["Keys"]]
    if operation == "Query":
        return [request(operation, body["TableName"], asked_key(body), body.get("IndexName"))]
    if operation in ("CreateTable", "DescribeTable", "Scan"):
        return [request(operation, body["TableName"], index=body.get("IndexName"))]
    raise Unlisted(f"dynamodb:{operation}")


def hash_key(table, index):
    """The name of the hash key of a table or of its index; none of what is not there."""
    if table is None or index is None:
        return table and table.hash_key_attr
    schema = next((one.schema for one in [*table.global_indexes, *table.indexes] if one.name == index), [])
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), None)


def asked_key(body):
    """The attributes that a query says the value of: one of them is the hash key, in whichever order they stand."""
    names, values = body.get("ExpressionAttributeNames", {}), body.get("ExpressionAttributeValues", {})
    found = re.findall(r"(#?\w+)\s*=\s*(:\w+)", body.get("KeyConditionExpression", ""))
    older = {name: one["AttributeValueList"][0] for name, one in body.get("KeyConditions", {}).items() if one["ComparisonOperator"] == "EQ"}
    return {**older, **{names.get(name, name): values.get(value, {}) for name, value in found}}


def iam(account, operation, form):
    if operation == "GetInstanceProfile":
        name = form.get("InstanceProfileName", ["?"])[0]
        return [("iam:GetInstanceProfile", f"arn:aws:iam::{account}:instance-profile/{name}", {})]
    raise Unlisted(f"iam:{operation}")


def requests(account, region, name, form, body):
    """What the call `name` (`ec2.RunInstances`) asks for: (action, resource, context) each."""
    service, _, operation = name.partition(".")
    if name == "sts.GetCallerIdentity":
        # Nobody can be kept from asking who they are.
        return []
    if service == "ec2":
        return Ec2(account, region, operation, form).listed()
    if service == "dynamodb":
        return dynamodb(account, region, operation, json.loads(body))
    if service == "iam":
        return iam(account, operation, form)
    if service == "autoscaling" and operation.startswith("Describe"):
        return [(f"autoscaling:{operation}", "*", {"aws:RequestedRegion": region})]
    raise Unlisted(f"{service}:{operation}")


def known(action):
    """Whether AWS has such an action, of the services that are spoken of here."""
    from botocore.session import get_session

    from iam import PERMISSIONS

    service, _, name = action.partition(":")
    services = ("autoscaling", "dynamodb", "ec2", "iam", "imagebuilder", "ssm")
    if action in PERMISSIONS:
        return True
    return service in services and name in get_session().get_service_model(service).operation_names
