"""A person with an instance of their own at the emulator: starts it from an image, changes it over SSH, and stops it.

    person.py ENDPOINT PORT IMAGE COMMAND [--region REGION]

prints the id of the stopped instance, on which COMMAND was run, as JSON: {"instance": "i-…"}. Nothing else is left. PORT is that of the private sshd (`sshd.sh`), of
which the emulator must know (`/_control/authorized-keys`). Tests and the demo take `Person` itself.
"""

import argparse
import getpass
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import boto3

TOOLS = Path(os.environ.get("RECONCILER_TOOLS", Path(__file__).resolve().parent.parent.parent / ".tools"))


class Person:
    """Somebody with a key pair of their own. Whoever makes one ends it, by `end` or `leave`."""

    def __init__(self, endpoint, port, region="us-east-1", name="person"):
        self.port = port
        self.ec2 = boto3.client("ec2", region, endpoint_url=endpoint, aws_access_key_id=name, aws_secret_access_key="secret")
        self.folder = tempfile.TemporaryDirectory(prefix="person-")
        self.key = Path(self.folder.name) / "key"
        self.key_name = f"{name}-{self.key.parent.name}"
        pair = self.ec2.create_key_pair(KeyName=self.key_name)
        self.key.write_text(pair["KeyMaterial"])
        self.key.chmod(0o600)
        self.instances = []

    def start(self, image, **more):
        """A new instance that runs."""
        named = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "by hand"}]}]
        asked = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "KeyName": self.key_name, "TagSpecifications": named, **more}
        instance = self.ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
        self.instances.append(instance)
        self.ec2.get_waiter("instance_running").wait(InstanceIds=[instance])
        return instance

    def start_again(self, instance):
        self.ec2.start_instances(InstanceIds=[instance])
        self.ec2.get_waiter("instance_running").wait(InstanceIds=[instance])

    def stop(self, instance):
        self.ec2.stop_instances(InstanceIds=[instance])
        self.ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})

    def address(self, instance):
        """Its public address; none if it does not run."""
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0].get("PublicIpAddress")

    def ssh(self, address, key=None):
        """The words of a command line that goes there."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes", "LogLevel=ERROR")
        given = [word for option in options for word in ("-o", option)]
        return [ssh(), "-F", "/dev/null", *given, "-i", str(key or self.key), "-p", str(self.port), f"{getpass.getuser()}@{address}"]

    def run(self, instance, command, check=True):
        """What a command on the instance came to."""
        done = subprocess.run([*self.ssh(self.address(instance)), command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"`{command}` on {instance} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def changed(self, image, command):
        """A stopped instance of the image, on which the command was run: what an image is made of by hand."""
        instance = self.start(image)
        self.run(instance, command)
        self.stop(instance)
        return instance

    def end(self):
        """Ends the instances too."""
        if self.instances:
            self.ec2.terminate_instances(InstanceIds=self.instances)
        self.leave()

    def leave(self):
        """Leaves the instances as they are, and nothing else."""
        self.ec2.delete_key_pair(KeyName=self.key_name)
        self.folder.cleanup()


def ssh():
    """The client of this machine, or the one that `make tools` unpacked."""
    found = shutil.which("ssh") or TOOLS / "root/usr/bin/ssh"
    if not Path(found).exists():
        raise SystemExit("person.py: ssh is missing; as root run: apt-get install openssh-client")
    return str(found)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("endpoint")
    arguments.add_argument("port", type=int)
    arguments.add_argument("image")
    arguments.add_argument("command")
    arguments.add_argument("--region", default="us-east-1")
    asked = arguments.parse_args()
    person = Person(asked.endpoint, asked.port, asked.region)
    instance = person.changed(asked.image, asked.command)
    person.leave()
    print(json.dumps({"instance": instance}))


if __name__ == "__main__":
    main()
