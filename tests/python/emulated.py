"""The emulated AWS for the tests of its rules, `test_*.py`: one process for all of them, which ends with this one."""

import atexit
import itertools
import json
import subprocess
import sys
import unittest
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

EMULATOR = Path(__file__).parent.parent / "aws/emulator.py"
OWN, OTHER = "123456789012", "111122223333"
NUMBERS = itertools.count(1)


class Emulator:
    """A running emulator, with clients of two accounts."""

    shared = None

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, EMULATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.end)
        self.endpoint = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"
        self.tell("accounts", {"AKIAOTHER": OTHER})

    def end(self):
        self.process.stdin.close()
        self.process.wait()

    def client(self, service, region="us-east-1", key="AKIAOWN", unchecked=False, **more):
        # Nothing is repeated: what a test asks for once happens once. Unchecked parameters are sent as they are.
        config = Config(retries={"total_max_attempts": 1, "mode": "standard"}, parameter_validation=not unchecked)
        more = {"aws_secret_access_key": "secret", **more}
        return boto3.client(service, region_name=region, endpoint_url=self.endpoint, aws_access_key_id=key, config=config, **more)

    def ask(self, page):
        with urllib.request.urlopen(f"{self.endpoint}/_control/{page}") as answer:
            return json.load(answer)

    def tell(self, page, value):
        with urllib.request.urlopen(f"{self.endpoint}/_control/{page}", data=json.dumps(value).encode()) as answer:
            return json.load(answer)


class OnEmulator(unittest.TestCase):
    """A test over the SDK, with what most of them need."""

    @classmethod
    def setUpClass(cls):
        Emulator.shared = Emulator.shared or Emulator()
        cls.aws = Emulator.shared
        cls.ec2, cls.other = cls.aws.client("ec2"), cls.aws.client("ec2", key="AKIAOTHER")

    def refused(self, code, call, **parameters):
        """The message of the refusal, which has this code."""
        with self.assertRaises(ClientError) as caught:
            call(**parameters)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        self.assertLess(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 500)
        return caught.exception.response["Error"]["Message"]

    def knob(self, page, value, back):
        """Tells the emulator something until the end of the test."""
        self.addCleanup(self.aws.tell, page, back)
        self.assertNotIn("refused", self.aws.tell(page, value))

    def image(self, ec2=None):
        """An available image of nobody's instance."""
        return (ec2 or self.ec2).register_image(Name=name())["ImageId"]

    def instance(self, image=None):
        return self.ec2.run_instances(ImageId=image or self.image(), MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]

    def described(self, image, ec2=None, **more):
        """What EC2 shows of an image; nothing if it does not show it."""
        found = (ec2 or self.ec2).describe_images(ImageIds=[image], **more)["Images"]
        return found[0] if found else None

    def snapshots(self, image):
        return [one["Ebs"]["SnapshotId"] for one in self.described(image, IncludeDisabled=True)["BlockDeviceMappings"]]

    def is_there(self, snapshot):
        try:
            return bool(self.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"])
        except ClientError as error:
            self.assertEqual(error.response["Error"]["Code"], "InvalidSnapshot.NotFound")
            return False

    def share(self, image, *accounts):
        self.ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": account} for account in accounts]})

    def shared_with(self, image):
        found = self.ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
        return [one["UserId"] for one in found["LaunchPermissions"]]


def name():
    """A name that no other image has."""
    return f"image-{next(NUMBERS)}"
