"""One call to the emulator, as a value: who asks for what, where, and with which parameters.

Only calls of the protocols that the SDKs speak to the emulated services are understood: a form with an `Action`, or a body in JSON with a target
in its header. Nothing is judged here.
"""

import re
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs

# What the thread that answers a call has in hand, for what moto asks of an image on the way: see `images` and `image_listing`.
CURRENT = threading.local()


@dataclass(frozen=True)
class Call:
    """`ec2.DescribeImages` of an account, in a region, by a key and by "packer", "reconciler" or "other"."""

    name: str
    region: str
    account: str
    key: str
    caller: str
    form: dict
    body: bytes

    @property
    def service(self):
        return self.name.partition(".")[0]

    @property
    def operation(self):
        return self.name.partition(".")[2]

    def one(self, key, default=None):
        return self.form.get(key, [default])[0]

    def flag(self, key):
        return self.one(key, "false").lower() == "true"

    def many(self, name):
        """`ImageId.1`, `ImageId.2`, … in their order."""
        numbers = sorted(int(key[len(name) + 1 :]) for key in self.form if re.fullmatch(re.escape(name) + r"\.\d+", key))
        return [self.one(f"{name}.{number}") for number in numbers]

    def structures(self, name):
        """The prefixes of a list of structures in their order: `TagSpecification.1.`, `TagSpecification.2.`, …"""
        found = (re.match(re.escape(name) + r"\.(\d+)\.", key) for key in self.form)
        return [f"{name}.{number}." for number in sorted({int(one[1]) for one in found if one})]

    def tags_below(self, prefix):
        """The tags `Tag.1.Key`, `Tag.1.Value`, … below a prefix."""
        below = self.structures(prefix + "Tag")
        return {self.one(tag + "Key"): self.one(tag + "Value", "") for tag in below}

    def specified_tags(self):
        """The tags for what the call makes, by the kind of the resource."""
        kinds = {}
        for prefix in self.structures("TagSpecification"):
            kinds.setdefault(self.one(prefix + "ResourceType"), {}).update(self.tags_below(prefix))
        return kinds


def caller_of(environ):
    agent = environ.get("HTTP_USER_AGENT", "").lower()
    return "packer" if "packer" in agent or "aws-sdk-go" in agent else "reconciler" if "aws-sdk-rust" in agent else "other"


def read(environ, body, account_of):
    """The call that a request makes; `account_of` knows whose a key is."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split(",")[0].split("/")
    key, region, service = (scope[0], scope[2], scope[3]) if len(scope) > 4 else (scope[0], "us-east-1", "unknown")
    target = environ.get("HTTP_X_AMZ_TARGET")
    form = {} if target else parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    operation = target.split(".")[-1] if target else form.get("Action", ["?"])[0]
    return Call(f"{service}.{operation}", region, account_of(key), key, caller_of(environ), form, body)
