"""What `tests/aws/authorization.py` says that a call asks for, shown over the SDK by who may do what and who may not."""

import unittest

from emulated import OnEmulator, name


def document(*statements):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]}


class Images(OnEmulator):
    def held_to(self, *statements):
        self.knob("policies", [{"documents": [document(*statements)], "key": "AKIAHELD"}], [])
        return self.aws.client("ec2", key="AKIAHELD")

    def test_a_copy_asks_for_what_is_made_and_for_its_source_wherever_that_is(self):
        image = self.image(self.aws.client("ec2", "eu-west-1"))
        asked = {"SourceImageId": image, "SourceRegion": "eu-west-1"}
        made = {"Action": "ec2:CopyImage", "Resource": ["arn:aws:ec2:us-east-1::image/*", "arn:aws:ec2:us-east-1::snapshot/*"]}
        source = {"Action": "ec2:CopyImage", "Resource": f"arn:aws:ec2:eu-west-1::image/{image}"}
        for lacking in ([made], [source], [{**made, "Resource": made["Resource"][0]}, source], [{**made, "Resource": made["Resource"][1]}, source]):
            self.refused("UnauthorizedOperation", self.held_to(*lacking).copy_image, Name=name(), **asked)
        self.held_to(made, source).copy_image(Name=name(), **asked)
        tags = [{"ResourceType": kind, "Tags": [{"Key": "for", "Value": kind}]} for kind in ("image", "snapshot")]
        said = self.refused("UnauthorizedOperation", self.held_to(made, source).copy_image, Name=name(), TagSpecifications=tags, **asked)
        self.assertIn("ec2:CreateTags", said)
        tagging = {"Action": "ec2:CreateTags", "Resource": "*", "Condition": {"StringEquals": {"ec2:CreateAction": "CopyImage"}}}
        self.held_to(made, source, tagging).copy_image(Name=name(), TagSpecifications=tags, **asked)

    def test_a_copy_may_hang_on_the_tags_and_the_owner_of_its_source(self):
        image = self.image()
        made = {"Action": "ec2:CopyImage", "Resource": ["arn:aws:ec2:*::image/*", "arn:aws:ec2:*::snapshot/*"]}
        denied = {"Effect": "Deny", "Action": "ec2:CopyImage", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/keep": "here"}}}
        held = self.held_to(made, denied)
        held.copy_image(Name=name(), SourceImageId=image, SourceRegion="us-east-1")
        self.ec2.create_tags(Resources=[image], Tags=[{"Key": "keep", "Value": "here"}])
        self.refused("UnauthorizedOperation", held.copy_image, Name=name(), SourceImageId=image, SourceRegion="us-east-1")

    def test_a_registration_asks_for_the_image_and_its_snapshots(self):
        snapshot = self.snapshots(self.image())[0]
        asked = {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}]}
        image = {"Action": "ec2:RegisterImage", "Resource": "arn:aws:ec2:*::image/*"}
        of = {"Action": "ec2:RegisterImage", "Resource": f"arn:aws:ec2:*::snapshot/{snapshot}"}
        self.refused("UnauthorizedOperation", self.held_to(image).register_image, Name=name(), **asked)
        self.refused("UnauthorizedOperation", self.held_to(of).register_image, Name=name(), **asked)
        self.held_to(image, of).register_image(Name=name(), **asked)
        self.held_to(image).register_image(Name=name())

    def test_an_image_asks_for_the_instance_and_what_is_made(self):
        self.ec2.create_tags(Resources=[instance := self.instance()], Tags=[{"Key": "Name", "Value": "by hand"}])
        made = {"Action": "ec2:CreateImage", "Resource": ["arn:aws:ec2:*::image/*", "arn:aws:ec2:*::snapshot/*"]}
        of = {"Action": "ec2:CreateImage", "Resource": "arn:aws:ec2:*:*:instance/*", "Condition": {"StringEquals": {"aws:ResourceTag/Name": "by hand"}}}
        self.refused("UnauthorizedOperation", self.held_to(made).create_image, InstanceId=instance, Name=name())
        self.refused("UnauthorizedOperation", self.held_to(made, of).create_image, InstanceId=self.instance(), Name=name())
        held = self.held_to(made, of)
        self.refused("DryRunOperation", held.create_image, InstanceId=instance, Name=name(), DryRun=True)
        held.create_image(InstanceId=instance, Name=name())


class Items(OnEmulator):
    """What the credentials of a build can do: to beat for its own workflow, and nothing else in any table."""

    BUILD = {
        "Action": "dynamodb:UpdateItem",
        "Resource": "arn:aws:dynamodb:*:*:table/images_beats",
        "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["a"]}},
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tables = cls.aws.client("dynamodb")
        kinds = [{"AttributeName": one, "AttributeType": "S"} for one in ("workflow_id", "build_id", "step_id")]
        key = [{"AttributeName": "workflow_id", "KeyType": "HASH"}, {"AttributeName": "build_id", "KeyType": "RANGE"}]
        index = {"IndexName": "step_id_index", "KeySchema": [{"AttributeName": "step_id", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
        for table in ("images_beats", "images_builds"):
            more = {"AttributeDefinitions": kinds, "KeySchema": key, "GlobalSecondaryIndexes": [index], "BillingMode": "PAY_PER_REQUEST"}
            cls.tables.create_table(TableName=table, **more)

    def held_to(self, *statements):
        self.knob("policies", [{"documents": [document(*statements)], "key": "AKIAHELD"}], [])
        return self.aws.client("dynamodb", key="AKIAHELD")

    @staticmethod
    def key(workflow, build="1"):
        return {"workflow_id": {"S": workflow}, "build_id": {"S": build}}

    def update(self, table, workflow):
        return {"TableName": table, "Key": self.key(workflow), "UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}

    def test_a_build_beats_for_its_own_workflow_only(self):
        held = self.held_to(self.BUILD)
        held.update_item(**self.update("images_beats", "a"))
        for table, workflow in (("images_beats", "b"), ("images_builds", "a")):
            self.refused("AccessDeniedException", held.update_item, **self.update(table, workflow))

    def test_a_build_overwrites_deletes_and_reads_nothing(self):
        held = self.held_to(self.BUILD)
        for table in ("images_beats", "images_builds"):
            self.refused("AccessDeniedException", held.put_item, TableName=table, Item=self.key("a"))
            self.refused("AccessDeniedException", held.delete_item, TableName=table, Key=self.key("a"))
            self.refused("AccessDeniedException", held.get_item, TableName=table, Key=self.key("a"))
            self.refused("AccessDeniedException", held.scan, TableName=table)
            asked = {"KeyConditionExpression": "workflow_id = :w", "ExpressionAttributeValues": {":w": {"S": "a"}}}
            self.refused("AccessDeniedException", held.query, TableName=table, **asked)

    def test_a_transaction_asks_for_each_of_its_items(self):
        held = self.held_to(self.BUILD)
        own = {"Update": self.update("images_beats", "a")}
        held.transact_write_items(TransactItems=[own])
        others = [
            {"Update": self.update("images_beats", "b")},
            {"Update": self.update("images_builds", "a")},
            {"Put": {"TableName": "images_beats", "Item": self.key("a", "2")}},
            {"Delete": {"TableName": "images_beats", "Key": self.key("a", "2")}},
            {"ConditionCheck": {"TableName": "images_beats", "Key": self.key("a", "2"), "ConditionExpression": "attribute_not_exists(n)"}},
        ]
        for other in others:
            self.refused("AccessDeniedException", held.transact_write_items, TransactItems=[own, other])
            self.refused("AccessDeniedException", held.transact_write_items, TransactItems=[other])

    def test_each_operation_is_narrowed_to_a_workflow(self):
        operations = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")
        table = {**self.BUILD, "Action": [f"dynamodb:{one}" for one in operations], "Resource": "arn:aws:dynamodb:*:*:table/images_builds"}
        held = self.held_to(table)

        def asked(workflow):
            put = {"TableName": "images_builds", "Item": self.key(workflow)}
            keyed = {"TableName": "images_builds", "Key": self.key(workflow)}
            values = {":w": {"S": workflow}, ":b": {"S": "0"}}
            query = {"TableName": "images_builds", "ExpressionAttributeValues": values}
            yield held.put_item, put
            yield held.update_item, self.update("images_builds", workflow)
            yield held.get_item, keyed
            yield held.query, {**query, "KeyConditionExpression": "workflow_id = :w AND build_id >= :b"}
            yield held.query, {**query, "KeyConditionExpression": "build_id = :b AND workflow_id = :w"}
            yield held.query, {**query, "KeyConditionExpression": "#k = :w AND build_id = :b", "ExpressionAttributeNames": {"#k": "workflow_id"}}
            older = {"workflow_id": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": workflow}]}}
            yield held.query, {"TableName": "images_builds", "KeyConditions": older}
            yield held.delete_item, keyed

        for call, parameters in asked("a"):
            call(**parameters)
        for call, parameters in asked("b"):
            self.refused("AccessDeniedException", call, **parameters)

    def test_a_query_of_an_index_leads_with_the_key_of_the_index(self):
        index = {**self.BUILD, "Action": "dynamodb:Query", "Resource": "arn:aws:dynamodb:*:*:table/images_builds/index/*"}
        held = self.held_to(index)
        asked = {"TableName": "images_builds", "IndexName": "step_id_index", "KeyConditionExpression": "step_id = :s"}
        held.query(ExpressionAttributeValues={":s": {"S": "a"}}, **asked)
        self.refused("AccessDeniedException", held.query, ExpressionAttributeValues={":s": {"S": "b"}}, **asked)
        table = {"TableName": "images_builds", "KeyConditionExpression": "workflow_id = :w", "ExpressionAttributeValues": {":w": {"S": "a"}}}
        self.refused("AccessDeniedException", held.query, **table)


if __name__ == "__main__":
    unittest.main()
